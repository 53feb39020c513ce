//! Converts property values for FalkorDB by the documented rule of their type; a [`ValueWriter`] spells the result.
//!
//! | Neo4j | FalkorDB |
//! |---|---|
//! | string, integer, boolean, float, list | the same; NUL is left out of strings |
//! | datetime, local datetime | string in UTC, nanoseconds cut to microseconds |
//! | date, time, local time, duration | the string that Neo4j's `toString()` prints |
//! | point | string such as `SRID=4326;POINT(12.5 41.9)`, `SRID=4979;POINT Z(12.5 41.9 7.0)` |
//! | byte array | string in base64, standard alphabet, padded |

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use super::literal::{write_display, write_float, write_integer};
use super::temporal;
use super::writer::ValueWriter;
use crate::model::prepared::Conversions;
use crate::model::value::Value;

/// The reason why the cache cannot hold a value. Never reveals the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Unstorable {
    /// The value is outside Neo4j's own ranges: Neo4j cannot have sent it.
    #[error("the date, time or offset is outside the range of Neo4j")]
    OutOfRange,
    /// A list within a list: Neo4j has no such property.
    #[error("a list within a list, which Neo4j cannot hold")]
    NestedList,
}

/// The extent to which parameter text can express a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// The whole value fits.
    Whole,
    /// All except NaN fits; `null` is written for NaN.
    ButForNaN,
}

/// Returns what the cache holds instead of a value if it lacks the exact type; `None` if it has the type.
pub(crate) fn kept_as(value: &Value) -> Option<&'static str> {
    match value {
        Value::Boolean(_) | Value::Integer(_) | Value::Float(_) | Value::String(_) | Value::Floats(_) => None,
        Value::List(items) => items.first().and_then(kept_as),
        Value::Bytes(_) => Some("text in base64"),
        Value::DateTime { .. } | Value::LocalDateTime { .. } => Some("text in UTC, to the microsecond"),
        Value::Date { .. } | Value::LocalTime { .. } | Value::Time { .. } | Value::Duration { .. } => Some("text in ISO 8601"),
        Value::Point { .. } => Some("text with its reference system"),
    }
}

/// Checks whether and how parameter text can express a value. Pass only values that pass this check to [`write_value`].
pub(crate) fn fit(value: &Value) -> Result<Fit, Unstorable> {
    match value {
        Value::List(items) => fit_items(items),
        Value::Floats(floats) => Ok(fit_if(floats.iter().any(|float| float.is_nan()))),
        single => fit_single(single),
    }
}

fn fit_items(items: &[Value]) -> Result<Fit, Unstorable> {
    let mut worst = Fit::Whole;
    for item in items {
        if fit_single(item)? == Fit::ButForNaN {
            worst = Fit::ButForNaN;
        }
    }
    Ok(worst)
}

fn fit_single(value: &Value) -> Result<Fit, Unstorable> {
    let in_range = match value {
        Value::Float(float) => return Ok(fit_if(float.is_nan())),
        Value::List(_) | Value::Floats(_) => return Err(Unstorable::NestedList),
        Value::Date { days } => temporal::is_day(*days),
        Value::LocalTime { nanoseconds } => temporal::is_time_of_day(*nanoseconds),
        Value::Time { nanoseconds, offset_seconds } => {
            temporal::is_time_of_day(*nanoseconds) && temporal::is_offset(*offset_seconds)
        }
        Value::LocalDateTime { seconds, nanoseconds } | Value::DateTime { epoch_seconds: seconds, nanoseconds } => {
            temporal::is_instant(*seconds, *nanoseconds)
        }
        Value::Boolean(_)
        | Value::Integer(_)
        | Value::String(_)
        | Value::Bytes(_)
        | Value::Duration { .. }
        | Value::Point { .. } => true,
    };
    if in_range { Ok(Fit::Whole) } else { Err(Unstorable::OutOfRange) }
}

fn fit_if(holds_nan: bool) -> Fit {
    if holds_nan { Fit::ButForNaN } else { Fit::Whole }
}

/// Writes a value that passed [`fit`], and counts values that lost something on the way.
pub(crate) fn write_value<W: ValueWriter>(out: &mut W, value: &Value, conversions: &mut Conversions) {
    match value {
        Value::List(items) => out.list(items, |out, item| write_single(out, item, conversions)),
        Value::Floats(floats) => out.list(floats, |out, float| out.float(*float)),
        single => write_single(out, single, conversions),
    }
}

fn write_single<W: ValueWriter>(out: &mut W, value: &Value, conversions: &mut Conversions) {
    match value {
        Value::Boolean(boolean) => out.boolean(*boolean),
        Value::Integer(integer) => out.integer(*integer),
        Value::Float(float) => out.float(*float),
        Value::String(text) => conversions.nul_removed += u64::from(out.string(text)),
        // `fit` refuses these values; null would make FalkorDB refuse a list and leave out a property, never store something
        // wrong.
        Value::List(_) | Value::Floats(_) => out.null(),
        converted => write_as_text(out, converted, conversions),
    }
}

/// Writes a value for which FalkorDB has no exact type. None of these texts holds a quote or a backslash.
fn write_as_text(out: &mut impl ValueWriter, value: &Value, conversions: &mut Conversions) {
    let counter = match value {
        Value::LocalDateTime { seconds, nanoseconds } | Value::DateTime { epoch_seconds: seconds, nanoseconds } => {
            out.plain_text(|text| {
                conversions.nanoseconds_cut += u64::from(temporal::write_datetime(text, *seconds, *nanoseconds));
            });
            None
        }
        Value::Bytes(bytes) => {
            out.plain_text(|text| write_display(text, Base64Display::new(bytes, &STANDARD)));
            Some(&mut conversions.became_base64)
        }
        other => {
            out.plain_text(|text| write_iso_or_point(text, other));
            Some(&mut conversions.became_text)
        }
    };
    if let Some(counter) = counter {
        *counter += 1;
    }
}

fn write_iso_or_point(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Date { days } => temporal::write_date(out, *days),
        Value::LocalTime { nanoseconds } => temporal::write_time_of_day(out, *nanoseconds),
        Value::Time { nanoseconds, offset_seconds } => {
            temporal::write_time_of_day(out, *nanoseconds);
            temporal::write_offset(out, *offset_seconds);
        }
        Value::Duration { months, days, seconds, nanoseconds } => {
            temporal::write_duration(out, *months, *days, *seconds, *nanoseconds);
        }
        Value::Point { srid, x, y, z } => write_point(out, *srid, [Some(*x), Some(*y), *z]),
        _ => {}
    }
}

/// Writes well-known text after the reference system, as PostGIS reads it. Neo4j's coordinates are finite.
fn write_point(out: &mut Vec<u8>, srid: i64, coordinates: [Option<f64>; 3]) {
    out.extend_from_slice(b"SRID=");
    write_integer(out, srid);
    out.extend_from_slice(if coordinates[2].is_some() { b";POINT Z(" } else { b";POINT(" });
    for (place, coordinate) in coordinates.into_iter().flatten().enumerate() {
        if place > 0 {
            out.push(b' ');
        }
        write_float(out, coordinate);
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::super::writer::ParameterText;
    use super::*;

    fn text(value: &Value) -> (String, Conversions) {
        let (mut out, mut conversions) = (Vec::new(), Conversions::default());
        write_value(&mut ParameterText(&mut out), value, &mut conversions);
        (String::from_utf8_lossy(&out).into_owned(), conversions)
    }

    #[test]
    fn every_type_has_its_text() {
        for (value, written) in [
            (Value::Boolean(true), "true"),
            (Value::Integer(-7), "-7"),
            (Value::Float(2.0), "2.0"),
            (Value::String("a\"".into()), r#""a\"""#),
            (Value::List(vec![]), "[]"),
            (Value::List(vec![Value::Integer(1), Value::Integer(2)]), "[1,2]"),
            (Value::Floats(vec![1.0, -0.0, f64::INFINITY]), "[1.0,-0.0,1e400]"),
            (Value::Floats(vec![f64::NAN, 1.0]), "[null,1.0]"),
            (Value::Bytes(vec![0, 255, 16, 1]), r#""AP8QAQ==""#),
            (Value::Bytes(vec![]), r#""""#),
            (Value::Date { days: 0 }, r#""1970-01-01""#),
            (Value::Time { nanoseconds: 0, offset_seconds: -3600 }, r#""00:00:00-01:00""#),
            (Value::LocalDateTime { seconds: 0, nanoseconds: 0 }, r#""1970-01-01T00:00:00+00:00""#),
            (Value::Point { srid: 4326, x: 12.5, y: 41.9, z: None }, r#""SRID=4326;POINT(12.5 41.9)""#),
            (Value::Point { srid: 9157, x: -0.0, y: 1e300, z: Some(7.0) }, r#""SRID=9157;POINT Z(-0.0 1e300 7.0)""#),
        ] {
            assert_eq!(text(&value).0, written);
        }
    }

    #[test]
    fn what_loses_something_is_counted() {
        let list = Value::List(vec![
            Value::String("a\0b\0".into()),
            Value::Bytes(vec![1]),
            Value::DateTime { epoch_seconds: 0, nanoseconds: 1 },
            Value::DateTime { epoch_seconds: 0, nanoseconds: 1000 },
            Value::Duration { months: 1, days: 0, seconds: 0, nanoseconds: 0 },
        ]);
        let counted = Conversions { nul_removed: 1, nanoseconds_cut: 1, became_text: 1, became_base64: 1, vectors_narrowed: 0 };
        assert_eq!(text(&list).1, counted);
        assert_eq!(text(&Value::String("plain".into())).1, Conversions::default());
    }

    #[test]
    fn what_cannot_be_stored_is_refused_with_its_reason() {
        assert_eq!(fit(&Value::List(vec![Value::Date { days: i64::MAX }])), Err(Unstorable::OutOfRange));
        assert_eq!(fit(&Value::List(vec![Value::Floats(vec![1.0])])), Err(Unstorable::NestedList));
        for value in [
            Value::Date { days: i64::MAX },
            Value::DateTime { epoch_seconds: i64::MIN, nanoseconds: 0 },
            Value::DateTime { epoch_seconds: 0, nanoseconds: 1_000_000_000 },
            Value::LocalTime { nanoseconds: -1 },
            Value::Time { nanoseconds: 0, offset_seconds: 64_801 },
        ] {
            assert_eq!(fit(&value), Err(Unstorable::OutOfRange), "{value:?}");
        }
    }

    #[test]
    fn only_nan_does_not_fit_whole() {
        for value in [Value::Float(f64::NAN), Value::Floats(vec![0.0, f64::NAN]), Value::List(vec![Value::Float(f64::NAN)])] {
            assert_eq!(fit(&value), Ok(Fit::ButForNaN));
        }
        for value in
            [Value::Float(f64::NEG_INFINITY), Value::Floats(vec![f64::MAX]), Value::List(vec![]), Value::Integer(i64::MIN)]
        {
            assert_eq!(fit(&value), Ok(Fit::Whole));
        }
    }
}
