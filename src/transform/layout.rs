//! The place of each property of a row: in its map, in a column of its own, or nowhere.

use thiserror::Error;

use super::literal::{write_display, write_name};
use super::property_names::{MAX_PROPERTY_NAMES, PropertyNames};
use super::values::{Fit, Unstorable, fit, write_value};
use super::vectors::{UnusableVector, check_vector, write_vector};
use super::writer::{ParameterText, ValueWriter};
use crate::model::element::Properties;
use crate::model::name::{PropertyName, UnusableName};
use crate::model::prepared::Conversions;
use crate::model::value::Value;

/// The properties that need a column of their own and therefore a statement that names them, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Columns {
    pub(super) vectors: Vec<PropertyName>,
    pub(super) not_a_number: Vec<PropertyName>,
}

/// A vector property of a kind, and its expected dimension.
#[derive(Debug, Clone)]
pub(super) struct VectorProperty {
    pub(super) name: PropertyName,
    pub(super) dimension: Option<usize>,
}

/// The reason why a property is not written.
#[derive(Debug, Error)]
pub(super) enum PropertyRefusal {
    #[error(transparent)]
    Name(#[from] UnusableName),
    #[error(transparent)]
    Value(#[from] Unstorable),
    #[error(transparent)]
    Vector(#[from] UnusableVector),
    #[error("the profile uses its name for the key of the element")]
    Taken,
    #[error("the graph has {MAX_PROPERTY_NAMES} property names, and FalkorDB cannot distinguish more")]
    TooManyNames,
}

/// The place of one property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ColumnPlace {
    Map,
    Vector,
    NotANumber,
    Nowhere,
}

/// A property to write, and the way to write it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cell<'a> {
    Value(&'a Value),
    Vector(&'a Value),
}

impl Cell<'_> {
    /// Writes the property, and counts values that lost something on the way.
    pub(super) fn write(self, out: &mut impl ValueWriter, conversions: &mut Conversions) {
        match self {
            Cell::Value(value) => write_value(out, value, conversions),
            Cell::Vector(value) => conversions.vectors_narrowed += u64::from(write_vector(out, value)),
        }
    }
}

/// The places of a row's properties; the buffer is reused from row to row.
#[derive(Debug, Default)]
pub(super) struct Layout {
    places: Vec<ColumnPlace>,
}

impl Layout {
    /// Sorts the properties by name, which makes the text of equal content equal, and finds a place for each. Reports properties
    /// without a place by name and reason.
    pub(super) fn arrange(
        &mut self,
        properties: &mut Properties,
        vectors: &[VectorProperty],
        names: &PropertyNames,
        mut refuse: impl FnMut(&str, PropertyRefusal),
    ) -> Columns {
        properties.sort_by(|(left, _), (right, _)| left.cmp(right));
        let mut columns = Columns::default();
        self.places.clear();
        for (index, (name, value)) in properties.iter().enumerate() {
            let repeated = index > 0 && properties[index - 1].0 == *name;
            let placed = if repeated { Err(PropertyRefusal::Taken) } else { place(name, value, vectors, names, &mut columns) };
            self.places.push(placed.unwrap_or_else(|reason| {
                refuse(name, reason);
                ColumnPlace::Nowhere
            }));
        }
        columns
    }

    /// Appends the map and the columns of the last arranged properties, each with a comma before it.
    pub(super) fn write(&self, out: &mut Vec<u8>, properties: &Properties, conversions: &mut Conversions) {
        out.extend_from_slice(b",p:{");
        for (index, (name, value)) in self.at(properties, ColumnPlace::Map).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_name(out, name);
            out.push(b':');
            write_value(&mut ParameterText(out), value, conversions);
        }
        out.push(b'}');
        for (index, (_, value)) in self.at(properties, ColumnPlace::Vector).enumerate() {
            write_column(out, b'v', index);
            conversions.vectors_narrowed += u64::from(write_vector(&mut ParameterText(out), value));
        }
        for (index, (_, value)) in self.at(properties, ColumnPlace::NotANumber).enumerate() {
            write_column(out, b'f', index);
            write_value(&mut ParameterText(out), value, conversions);
        }
    }

    /// Returns the last arranged properties that are to be written, in the order of their names.
    pub(super) fn cells<'a>(&'a self, properties: &'a Properties) -> impl Iterator<Item = (&'a str, Cell<'a>)> {
        properties.iter().zip(&self.places).filter_map(|((name, value), place)| match place {
            ColumnPlace::Map | ColumnPlace::NotANumber => Some((name.as_str(), Cell::Value(value))),
            ColumnPlace::Vector => Some((name.as_str(), Cell::Vector(value))),
            ColumnPlace::Nowhere => None,
        })
    }

    fn at<'a>(&'a self, properties: &'a Properties, wanted: ColumnPlace) -> impl Iterator<Item = &'a (String, Value)> {
        properties.iter().zip(&self.places).filter(move |(_, place)| **place == wanted).map(|(property, _)| property)
    }
}

fn place(
    name: &str,
    value: &Value,
    vectors: &[VectorProperty],
    names: &PropertyNames,
    columns: &mut Columns,
) -> Result<ColumnPlace, PropertyRefusal> {
    if let Some(vector) = vectors.iter().find(|vector| vector.name.as_str() == name) {
        check_vector(value, vector.dimension)?;
        columns.vectors.push(vector.name.clone());
        return Ok(ColumnPlace::Vector);
    }
    PropertyName::check(name)?;
    let fits = fit(value)?;
    if !names.admit(name) {
        return Err(PropertyRefusal::TooManyNames);
    }
    if fits == Fit::Whole {
        return Ok(ColumnPlace::Map);
    }
    columns.not_a_number.push(PropertyName::parse(name)?);
    Ok(ColumnPlace::NotANumber)
}

fn write_column(out: &mut Vec<u8>, letter: u8, index: usize) {
    out.extend_from_slice(&[b',', letter]);
    write_display(out, index);
    out.push(b':');
}
