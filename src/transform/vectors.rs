//! Vector properties: the input of `vecf32`, as numbers that it narrows to the same 32-bit floats again.
//!
//! A list of a wrong length, or a list that holds anything but numbers, would break every similarity query on the graph. So it is
//! never written: only this property is quarantined, not the rest of the element.

use thiserror::Error;

use super::writer::ValueWriter;
use crate::model::value::Value;

/// The reason why a value cannot be a vector. Never reveals the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum UnusableVector {
    /// A value of another type.
    #[error("a vector is a list of numbers, but this is a {0}")]
    NotAList(&'static str),
    /// A list that holds something other than numbers.
    #[error("a vector is a list of numbers, but this list contains a {0}")]
    NotNumbers(&'static str),
    /// A list without any number.
    #[error("the vector is empty")]
    Empty,
    /// A number that is NaN or infinity.
    #[error("the vector contains NaN or infinity")]
    NotFinite,
    /// A number beyond the range of a 32-bit float.
    #[error("the vector contains a number beyond the range of a 32-bit float")]
    BeyondRange,
    /// A length that differs from the property's other vectors.
    #[error("the vector has {found} dimensions where {expected} are expected")]
    Dimension {
        /// The dimension of the property's vectors.
        expected: usize,
        /// The dimension of this vector.
        found: usize,
    },
}

/// Checks that a value can be a vector of the expected dimension, or of any dimension if none is known yet.
pub(crate) fn check_vector(value: &Value, dimension: Option<usize>) -> Result<(), UnusableVector> {
    let found = match value {
        Value::Floats(floats) => {
            check_floats(floats)?;
            floats.len()
        }
        Value::List(items) => {
            items.iter().try_for_each(check_item)?;
            items.len()
        }
        other => return Err(UnusableVector::NotAList(other.type_name())),
    };
    match dimension {
        _ if found == 0 => Err(UnusableVector::Empty),
        Some(expected) if expected != found => Err(UnusableVector::Dimension { expected, found }),
        _ => Ok(()),
    }
}

fn check_floats(floats: &[f64]) -> Result<(), UnusableVector> {
    // One pass without a branch: almost every vector is sound.
    if floats.iter().fold(true, |sound, float| sound & (*float as f32).is_finite()) {
        return Ok(());
    }
    floats.iter().try_for_each(|float| check_float(*float))
}

fn check_item(item: &Value) -> Result<(), UnusableVector> {
    match item {
        Value::Integer(_) => Ok(()),
        Value::Float(float) => check_float(*float),
        other => Err(UnusableVector::NotNumbers(other.type_name())),
    }
}

fn check_float(float: f64) -> Result<(), UnusableVector> {
    if !float.is_finite() {
        return Err(UnusableVector::NotFinite);
    }
    if (float as f32).is_finite() { Ok(()) } else { Err(UnusableVector::BeyondRange) }
}

/// Writes the list of a value that passed [`check_vector`], and returns whether a number had to be rounded.
///
/// Graphiti's own vectors are 32-bit floats in Neo4j, too; vectors from other programs may not be.
pub(crate) fn write_vector<W: ValueWriter>(out: &mut W, value: &Value) -> bool {
    let mut narrowed = false;
    match value {
        Value::Floats(floats) => out.list(floats, |out, float| narrowed |= write_float(out, *float)),
        Value::List(items) => out.list(items, |out, item| narrowed |= write_item(out, item)),
        // `check_vector` refuses all other values; null leaves the property out.
        _ => out.null(),
    }
    narrowed
}

fn write_item(out: &mut impl ValueWriter, item: &Value) -> bool {
    match item {
        Value::Integer(integer) => {
            out.single(*integer as f32);
            *integer as f32 as i128 != i128::from(*integer)
        }
        Value::Float(float) => write_float(out, *float),
        _ => {
            out.null();
            false
        }
    }
}

fn write_float(out: &mut impl ValueWriter, float: f64) -> bool {
    out.single(float as f32);
    f64::from(float as f32) != float
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::literal::TWICE_ROUNDED;
    use super::super::writer::ParameterText;
    use super::*;

    fn text(value: &Value) -> String {
        let mut out = Vec::new();
        write_vector(&mut ParameterText(&mut out), value);
        String::from_utf8(out).unwrap()
    }

    /// Reads numbers as FalkorDB does: 64 bits first.
    fn read_back(text: &str) -> Vec<u32> {
        let inner = text.strip_prefix('[').unwrap().strip_suffix(']').unwrap();
        inner.split(',').map(|number| (number.parse::<f64>().unwrap() as f32).to_bits()).collect()
    }

    #[test]
    fn numbers_are_written_as_the_shortest_single_floats() {
        assert_eq!(text(&Value::Floats(vec![f64::from(0.1_f32), -0.0, 1.0, 1e-40, 3e38])), "[0.1,-0.0,1.0,1e-40,3e38]");
        assert_eq!(text(&Value::List(vec![Value::Integer(3), Value::Float(0.5)])), "[3.0,0.5]");
    }

    #[test]
    fn rounding_is_told() {
        let narrowed = |value: &Value| write_vector(&mut ParameterText(&mut Vec::new()), value);
        assert!(narrowed(&Value::Floats(vec![1.0, 0.1])));
        assert!(
            narrowed(&Value::List(vec![Value::Integer(16_777_217)])) && narrowed(&Value::List(vec![Value::Integer(i64::MAX)]))
        );
        assert!(!narrowed(&Value::Floats(vec![1.0, -0.0, f64::from(0.1_f32)])));
        assert!(!narrowed(&Value::List(vec![Value::Integer(i64::MIN), Value::Float(0.5)])));
    }

    #[test]
    fn what_is_no_vector_is_refused_with_its_reason() {
        let list = |items: &[Value]| Value::List(items.to_vec());
        for (value, reason) in [
            (Value::String("x".into()), UnusableVector::NotAList("string")),
            (list(&[Value::Integer(1), Value::Boolean(true)]), UnusableVector::NotNumbers("boolean")),
            (list(&[]), UnusableVector::Empty),
            (Value::Floats(vec![0.0, f64::NAN]), UnusableVector::NotFinite),
            (Value::Floats(vec![f64::NEG_INFINITY, 1.0]), UnusableVector::NotFinite),
            (list(&[Value::Float(f64::INFINITY)]), UnusableVector::NotFinite),
            (Value::Floats(vec![1.0, -3.5e38]), UnusableVector::BeyondRange),
            (Value::Floats(vec![1.0]), UnusableVector::Dimension { expected: 2, found: 1 }),
        ] {
            assert_eq!(check_vector(&value, Some(2)), Err(reason));
        }
        assert_eq!(check_vector(&Value::Floats(vec![1.0]), None), Ok(()));
        assert_eq!(check_vector(&list(&[Value::Integer(i64::MAX), Value::Integer(0)]), Some(2)), Ok(()));
    }

    #[test]
    fn the_float_that_rounds_twice_is_written_in_full() {
        for bits in [TWICE_ROUNDED, TWICE_ROUNDED | 1 << 31] {
            let written = text(&Value::Floats(vec![f64::from(f32::from_bits(bits))]));
            assert_eq!(read_back(&written), [bits], "{written}");
        }
    }

    proptest! {
        #[test]
        fn vectors_read_back_bit_by_bit(bits in prop::collection::vec(any::<u32>(), 1..50)) {
            let singles: Vec<f32> = bits.into_iter().map(f32::from_bits).filter(|single| single.is_finite()).collect();
            prop_assume!(!singles.is_empty());
            let value = Value::Floats(singles.iter().map(|single| f64::from(*single)).collect());
            prop_assert_eq!(check_vector(&value, Some(singles.len())), Ok(()));
            let expected: Vec<u32> = singles.iter().map(|single| single.to_bits()).collect();
            prop_assert_eq!(read_back(&text(&value)), expected);
        }
    }
}
