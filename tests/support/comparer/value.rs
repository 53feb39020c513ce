//! A value as the cache should hold it.

use std::fmt;

use chrono::{DateTime, Utc};

#[derive(Clone, Debug)]
pub enum Value {
    Text(String),
    Integer(i64),
    Real(f64),
    Boolean(bool),
    List(Vec<Value>),
    Vector(Vec<f32>),
    /// A kind that no rule produces, in words: never equal to what a rule does produce.
    Foreign(String),
}

impl Value {
    /// NUL cannot be stored in the cache.
    pub fn text(text: &str) -> Self {
        Self::Text(text.replace('\0', ""))
    }

    /// A point in time as Graphiti writes it to FalkorDB: UTC, six fraction digits or none.
    pub fn moment(moment: DateTime<Utc>) -> Self {
        let micros = moment.timestamp_subsec_micros();
        let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
        Self::Text(format!("{}{fraction}+00:00", moment.format("%Y-%m-%dT%H:%M:%S")))
    }

    /// A list of numbers, as the vector that a vector property should be; anything else as it is.
    pub fn into_vector(self) -> Self {
        let Self::List(items) = self else {
            return self;
        };
        let numbers: Option<Vec<f32>> = items.iter().map(Self::number).collect();
        match numbers {
            Some(numbers) if !numbers.is_empty() => Self::Vector(numbers),
            _ => Self::List(items),
        }
    }

    fn number(&self) -> Option<f32> {
        match self {
            Self::Real(number) => Some(*number as f32),
            Self::Integer(number) => Some(*number as f32),
            _ => None,
        }
    }
}

impl Value {
    /// A text that only equal values have.
    pub fn canonical(&self) -> String {
        match self {
            Self::Real(number) => format!("real {}", digits(*number)),
            Self::List(items) => format!("[{}]", items.iter().map(Self::canonical).collect::<Vec<_>>().join(", ")),
            other => format!("{other:?}"),
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) | (Self::Foreign(a), Self::Foreign(b)) => a == b,
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (Self::Real(a), Self::Real(b)) => digits(*a) == digits(*b),
            (Self::Boolean(a), Self::Boolean(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Vector(a), Self::Vector(b)) => same_vector(a, b),
            _ => false,
        }
    }
}

/// FalkorDB prints doubles with 15 significant digits, so that many are compared.
fn digits(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    format!("{number:.14e}")
}

fn same_vector(a: &[f32], b: &[f32]) -> bool {
    // Slices first: they are equal nearly always, and this is the fast comparison.
    a == b || (a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan())))
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Vector(numbers) => format!("vector of {} {numbers:?}", numbers.len()),
            Self::Foreign(text) => text.clone(),
            Self::Text(text) => format!("{text:?}"),
            Self::Integer(number) => number.to_string(),
            Self::Real(number) => format!("{number:?}"),
            Self::Boolean(truth) => truth.to_string(),
            Self::List(items) => {
                let items: Vec<String> = items.iter().take(8).map(Self::to_string).collect();
                format!("[{}]", items.join(", "))
            }
        };
        let short: String = text.chars().take(120).collect();
        formatter.write_str(&short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(seconds: i64, nanos: u32) -> Value {
        Value::moment(DateTime::from_timestamp(seconds, nanos).unwrap())
    }

    #[test]
    fn datetimes_have_six_digits_or_none() {
        assert_eq!(moment(1_767_225_600, 0), Value::text("2026-01-01T00:00:00+00:00"));
        assert_eq!(moment(1_767_225_600, 999), Value::text("2026-01-01T00:00:00+00:00"));
        assert_eq!(moment(1_767_225_600, 1_000_999), Value::text("2026-01-01T00:00:00.001000+00:00"));
        assert_eq!(moment(-1, 0), Value::text("1969-12-31T23:59:59+00:00"));
    }

    #[test]
    fn fifteen_digits_of_a_double_count() {
        assert_eq!(Value::Real(0.1 + 0.2), Value::Real(0.3));
        assert_eq!(Value::Real(f64::NAN), Value::Real(f64::NAN));
        assert_eq!(Value::Real(0.0), Value::Real(-0.0));
        assert_ne!(Value::Real(f64::INFINITY), Value::Real(f64::MAX));
        assert_ne!(Value::Real(1.000_000_000_001), Value::Real(1.000_000_000_002));
    }

    #[test]
    fn kinds_are_told_apart() {
        assert_ne!(Value::Integer(1), Value::Real(1.0));
        assert_ne!(Value::Integer(1), Value::Boolean(true));
        let list = Value::List(vec![Value::Real(0.5)]);
        assert_ne!(list, Value::Vector(vec![0.5]));
        assert_eq!(list.into_vector(), Value::Vector(vec![0.5]));
    }
}
