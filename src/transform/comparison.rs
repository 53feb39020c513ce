//! The content of an element in the cache, in a form that allows source and cache to be compared property by property.
//!
//! Both sides are converted to the text that the transformer writes. FalkorDB prints doubles with fifteen digits, so both sides
//! are compared with fifteen: a difference in the last one or two digits of a double stays unnoticed. Vectors are compared
//! exactly: they hold 32-bit floats, and FalkorDB prints all their digits.

use std::collections::{BTreeMap, BTreeSet};

use super::encoder::Encoder;
use super::layout::VectorProperty;
use super::property_names::PropertyNames;
use super::values::{fit, write_value};
use super::vectors::{check_vector, write_vector};
use super::writer::ParameterText;
use crate::model::element::{
    ElementIdentity, NodeIdentity, Properties, RelationshipIdentity, SourceNode, SourceRelationship, property,
};
use crate::model::key::Key;
use crate::model::kind::{NodeKindId, RelationshipKindId};
use crate::model::kind_rows::KindRows;
use crate::model::name::{Label, PropertyName};
use crate::model::prepared::Conversions;
use crate::model::value::Value;

/// The number of significant digits with which FalkorDB prints a double.
const DIGITS: usize = 15;

/// The prefix of a vector's text: a vector differs from a list of the same numbers.
const VECTOR: u8 = b'v';

/// The name of a difference that is neither in labels nor in properties: more than one element has the identity.
pub(crate) const COPIES: &str = "(copies)";

/// An element's labels and the text of each property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    /// All labels of a node; none for a relationship.
    pub labels: BTreeSet<String>,
    /// The text of each property.
    pub properties: BTreeMap<String, Vec<u8>>,
    /// The number of elements with the identity; elements of the source collapse to one.
    pub copies: usize,
}

/// A property value as the cache holds it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CachedValue {
    /// Any value but a vector.
    Plain(Value),
    /// A vector of floats.
    Vector(Vec<f64>),
}

impl Content {
    /// Returns the names of properties that differ, and the labels that only one side has, with a colon before them.
    pub(crate) fn differences(&self, other: &Content) -> Vec<String> {
        let names: BTreeSet<&String> = self.properties.keys().chain(other.properties.keys()).collect();
        let differs = |name: &&&String| self.properties.get(**name) != other.properties.get(**name);
        let mut found: Vec<String> = names.iter().filter(differs).map(|name| (*name).clone()).collect();
        if self.copies != other.copies {
            found.push(COPIES.to_owned());
        }
        found.extend(self.labels.symmetric_difference(&other.labels).map(|label| format!(":{label}")));
        found
    }

    /// Returns the content of an element in the cache.
    pub(crate) fn of_cache(
        labels: impl IntoIterator<Item = String>,
        properties: impl IntoIterator<Item = (String, CachedValue)>,
    ) -> Self {
        let text = |value: CachedValue| match value {
            CachedValue::Plain(value) => value_text(&value),
            CachedValue::Vector(floats) => vector_text(&Value::Floats(floats)),
        };
        let properties = properties.into_iter().map(|(name, value)| (name, text(value))).collect();
        Self { labels: labels.into_iter().collect(), properties, copies: 1 }
    }
}

impl Encoder {
    /// Returns the content that each element must have in the cache; `None` for an element that is quarantined as a whole.
    pub(crate) fn contents(&self, rows: &KindRows) -> Vec<Option<(ElementIdentity, Content)>> {
        match rows {
            KindRows::Nodes(id, rows) => rows.iter().map(|row| self.node_content(*id, row)).collect(),
            KindRows::Relationships(id, rows) => rows.iter().map(|row| self.relationship_content(*id, row)).collect(),
        }
    }

    fn node_content(&self, id: NodeKindId, node: &SourceNode) -> Option<(ElementIdentity, Content)> {
        let kind = self.profile().node(id);
        let key = Key::from_value(property(&node.properties, kind.key.as_str())).ok()?;
        let labels: Vec<Label> = node.labels.iter().map(|label| Label::parse(label)).collect::<Result<_, _>>().ok()?;
        self.group_of(&node.properties).ok()?;
        let own = self.node_vectors(kind);
        let vectors = self.with_vectors_of(&labels, &own);
        let (labels, properties) = (node.labels.iter().cloned().collect(), texts(&node.properties, &vectors, self.names()));
        let content = Content { labels, properties, copies: 1 };
        Some((ElementIdentity::Node(NodeIdentity { label: kind.label.clone(), key }), content))
    }

    fn relationship_content(
        &self,
        id: RelationshipKindId,
        relationship: &SourceRelationship,
    ) -> Option<(ElementIdentity, Content)> {
        let kind = self.profile().relationship(id);
        let key = Key::from_value(property(&relationship.properties, kind.key.as_str())).ok()?;
        let end = |endpoint| self.endpoint_identity(endpoint).ok();
        let (start, end) = (end(&relationship.start)?, end(&relationship.end)?);
        self.group_of_relationship(relationship).ok()?;
        let properties = texts(&relationship.properties, &self.relationship_vectors(kind), self.names());
        let identity = RelationshipIdentity { rel_type: kind.rel_type.clone(), key, start, end };
        Some((ElementIdentity::Relationship(identity), Content { labels: BTreeSet::new(), properties, copies: 1 }))
    }
}

/// Returns the text of each property. Omits properties that are quarantined alone: the cache does not have them.
fn texts(properties: &Properties, vectors: &[VectorProperty], names: &PropertyNames) -> BTreeMap<String, Vec<u8>> {
    let text = |(name, value): &(String, Value)| {
        PropertyName::parse(name).ok()?;
        let text = match vectors.iter().find(|vector| vector.name.as_str() == name) {
            Some(vector) => check_vector(value, vector.dimension).ok().map(|()| vector_text(value))?,
            None => fit(value).ok().filter(|_| names.admit(name)).map(|_| value_text(value))?,
        };
        Some((name.clone(), text))
    };
    // Of two properties with one name, the first counts, because it identifies the element.
    properties.iter().rev().filter_map(text).collect()
}

fn value_text(value: &Value) -> Vec<u8> {
    let mut text = Vec::new();
    write_value(&mut ParameterText(&mut text), &rounded(value), &mut Conversions::default());
    text
}

fn vector_text(value: &Value) -> Vec<u8> {
    let mut text = vec![VECTOR];
    write_vector(&mut ParameterText(&mut text), value);
    text
}

fn rounded(value: &Value) -> Value {
    match value {
        Value::Float(float) => Value::Float(round(*float)),
        Value::Floats(floats) => Value::Floats(floats.iter().copied().map(round).collect()),
        Value::List(items) => Value::List(items.iter().map(rounded).collect()),
        other => other.clone(),
    }
}

fn round(float: f64) -> f64 {
    if float.is_finite() { format!("{float:.*e}", DIGITS - 1).parse().unwrap_or(float) } else { float }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::element::ElementNumber;
    use crate::model::profile::Profile;
    use crate::transform::VectorDimensions;

    fn transformer() -> Encoder {
        Encoder::new(Arc::new(Profile::graphiti().unwrap()), VectorDimensions::default())
    }

    fn node(properties: Vec<(&str, Value)>) -> SourceNode {
        let mut all = vec![("uuid".to_owned(), Value::String("a".to_owned()))];
        all.extend(properties.into_iter().map(|(name, value)| (name.to_owned(), value)));
        SourceNode { number: ElementNumber(1), labels: vec!["Entity".to_owned()], properties: all }
    }

    fn cached(properties: Vec<(&str, CachedValue)>) -> Content {
        let uuid = ("uuid".to_owned(), CachedValue::Plain(Value::String("a".to_owned())));
        let others = properties.into_iter().map(|(name, value)| (name.to_owned(), value));
        Content::of_cache(["Entity".to_owned()], std::iter::once(uuid).chain(others))
    }

    fn differences(source: Vec<(&str, Value)>, cache: Vec<(&str, CachedValue)>) -> Vec<String> {
        let (_, content) = transformer().node_content(NodeKindId(0), &node(source)).unwrap();
        content.differences(&cached(cache))
    }

    #[test]
    fn what_the_rules_make_of_a_value_is_equal_to_it() {
        let source = vec![
            ("at", Value::DateTime { epoch_seconds: 0, nanoseconds: 0 }),
            ("third", Value::Float(0.1 + 0.2)),
            ("name_embedding", Value::Floats(vec![1.5, 0.1])),
            ("nan", Value::Float(f64::NAN)),
        ];
        let cache = vec![
            ("at", CachedValue::Plain(Value::String("1970-01-01T00:00:00+00:00".to_owned()))),
            ("third", CachedValue::Plain(Value::Float(0.3))),
            ("name_embedding", CachedValue::Vector(vec![1.5, f64::from(0.1_f32)])),
            ("nan", CachedValue::Plain(Value::Float(f64::NAN))),
        ];
        assert_eq!(differences(source, cache), Vec::<String>::new());
    }

    #[test]
    fn doubles_that_agree_in_fifteen_digits_are_equal() {
        let cached = |float| vec![("f", CachedValue::Plain(Value::Float(float)))];
        let source = || vec![("f", Value::Float(0.1 + 0.2))];
        assert_eq!(differences(source(), cached(0.3)), Vec::<String>::new());
        assert_eq!(differences(source(), cached(0.300_000_000_000_01)), ["f"]);
    }

    #[test]
    fn every_difference_is_named() {
        let source = vec![("a", Value::Integer(1)), ("b", Value::Integer(1)), ("name_embedding", Value::Floats(vec![1.5, 0.5]))];
        let list = |floats: &[f64]| CachedValue::Plain(Value::Floats(floats.to_vec()));
        let cache =
            vec![("a", CachedValue::Plain(Value::Float(1.0))), ("c", list(&[1.0])), ("name_embedding", list(&[1.5, 0.5]))];
        assert_eq!(differences(source, cache), ["a", "b", "c", "name_embedding"]);
        let labels = |names: &[&str]| Content::of_cache(names.iter().map(|name| (*name).to_owned()), []);
        assert_eq!(labels(&["A", "B"]).differences(&labels(&["B", "C"])), [":A", ":C"]);
        assert_eq!(labels(&[]).differences(&Content { copies: 2, ..labels(&[]) }), [COPIES]);
        let near = vec![("name_embedding", CachedValue::Vector(vec![1.5, f64::from(0.500_000_06_f32)]))];
        assert_eq!(differences(vec![("name_embedding", Value::Floats(vec![1.5, 0.5]))], near), ["name_embedding"]);
    }
}
