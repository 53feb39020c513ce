//! Decodes PackStream directly into our values, without a map or tree of another library's values in between.

use super::packstream::{DecodeError, Decoded, Decoder, Structure};
use crate::model::element::Properties;
use crate::model::value::Value;

const NANOSECONDS_OF_A_SECOND: i64 = 1_000_000_000;

/// Reads a value; `None` for a null.
pub(super) fn value(decoder: &mut Decoder<'_>) -> Decoded<Option<Value>> {
    Ok(Some(match decoder.peek()? {
        0xC0 => {
            decoder.null()?;
            return Ok(None);
        }
        0x80..=0x8F | 0xD0..=0xD2 => Value::String(decoder.text()?.to_owned()),
        0xC1 => Value::Float(decoder.float()?),
        0xC2 | 0xC3 => Value::Boolean(decoder.boolean()?),
        0x90..=0x9F | 0xD4..=0xD6 => list(decoder)?,
        0xB0..=0xBF => structure(decoder)?,
        0xCC..=0xCE => Value::Bytes(decoder.bytes()?.to_vec()),
        // Only integers remain; `integer` refuses any other marker by its number.
        _ => Value::Integer(decoder.integer()?),
    }))
}

/// Reads the properties of an element, in the order of the wire. A null is an absent property.
pub(super) fn properties(decoder: &mut Decoder<'_>) -> Decoded<Properties> {
    let entries = decoder.map()?;
    decoder.nested(|inner| {
        let mut properties = Vec::with_capacity(reservation::<(String, Value)>(entries, inner.remaining()));
        for _ in 0..entries {
            let name = inner.text()?.to_owned();
            if let Some(value) = value(inner)? {
                properties.push((name, value));
            }
        }
        Ok(properties)
    })
}

/// Reads a list of texts, such as the labels of a node.
pub(super) fn texts(decoder: &mut Decoder<'_>) -> Decoded<Vec<String>> {
    let items = decoder.list()?;
    let mut texts = Vec::with_capacity(reservation::<String>(items, decoder.remaining()));
    for _ in 0..items {
        texts.push(decoder.text()?.to_owned());
    }
    Ok(texts)
}

/// Returns the number of items to reserve room for: our items are larger than their bytes, and the message may lie.
fn reservation<T>(items: usize, remaining: usize) -> usize {
    items.min(remaining / size_of::<T>() + 1)
}

fn list(decoder: &mut Decoder<'_>) -> Decoded<Value> {
    let items = decoder.list()?;
    if items == 0 {
        return Ok(Value::List(Vec::new()));
    }
    if let Some(floats) = decoder.floats(items) {
        return Ok(Value::Floats(floats));
    }
    decoder.nested(|inner| {
        let mut list = Vec::with_capacity(reservation::<Value>(items, inner.remaining()));
        for _ in 0..items {
            list.push(value(inner)?.ok_or(DecodeError::Missing("item of a list"))?);
        }
        Ok(Value::List(list))
    })
}

/// Reads the structures that a property can be, by tag and number of fields. The legacy datetimes `F` and `f`, which are
/// ambiguous, do not belong to Bolt 5.
fn structure(decoder: &mut Decoder<'_>) -> Decoded<Value> {
    let Structure { fields, tag } = decoder.structure()?;
    Ok(match (tag, fields) {
        (b'D', 1) => Value::Date { days: decoder.integer()? },
        (b'T', 2) => Value::Time { nanoseconds: decoder.integer()?, offset_seconds: offset(decoder)? },
        (b't', 1) => Value::LocalTime { nanoseconds: decoder.integer()? },
        (b'I', 3) => {
            let instant = Value::DateTime { epoch_seconds: decoder.integer()?, nanoseconds: nanoseconds(decoder)? };
            offset(decoder)?;
            instant
        }
        (b'i', 3) => {
            let instant = Value::DateTime { epoch_seconds: decoder.integer()?, nanoseconds: nanoseconds(decoder)? };
            decoder.text()?;
            instant
        }
        (b'd', 2) => Value::LocalDateTime { seconds: decoder.integer()?, nanoseconds: nanoseconds(decoder)? },
        (b'E', 4) => Value::Duration {
            months: decoder.integer()?,
            days: decoder.integer()?,
            seconds: decoder.integer()?,
            nanoseconds: decoder.integer()?,
        },
        (b'X', 3) => Value::Point { srid: decoder.integer()?, x: decoder.float()?, y: decoder.float()?, z: None },
        (b'Y', 4) => {
            Value::Point { srid: decoder.integer()?, x: decoder.float()?, y: decoder.float()?, z: Some(decoder.float()?) }
        }
        _ => return Err(DecodeError::Structure { tag, fields }),
    })
}

fn offset(decoder: &mut Decoder<'_>) -> Decoded<i32> {
    i32::try_from(decoder.integer()?).map_err(|_| DecodeError::Range("an offset of a time zone"))
}

fn nanoseconds(decoder: &mut Decoder<'_>) -> Decoded<u32> {
    let number = decoder.integer()?;
    let in_range = (0..NANOSECONDS_OF_A_SECOND).contains(&number);
    u32::try_from(number).ok().filter(|_| in_range).ok_or(DecodeError::Range("the nanoseconds of a second"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Decoded<Option<Value>> {
        let mut decoder = Decoder::new(bytes);
        let value = value(&mut decoder)?;
        decoder.finish()?;
        Ok(value)
    }

    fn read_structure(tag: u8, fields: &[&[u8]]) -> Decoded<Value> {
        let count = u8::try_from(fields.len()).unwrap();
        let bytes = [&[0xB0 | count, tag], &fields.concat()[..]].concat();
        read(&bytes).map(Option::unwrap)
    }

    const ONE: &[u8] = &[0x01];
    const MINUS_ONE: &[u8] = &[0xFF];
    /// 2024-10-27T02:30+01:00, in the hour that Berlin had twice.
    const OVERLAP: &[u8] = &[0xCA, 0x67, 0x1D, 0x98, 0x08];
    const BERLIN: &[u8] = b"\x8DEurope/Berlin";
    const HOUR: &[u8] = &[0xC9, 0x0E, 0x10];
    const HALF: &[u8] = &[0xC1, 0x3F, 0xE0, 0, 0, 0, 0, 0, 0];
    const WGS_84: &[u8] = &[0xC9, 0x10, 0xE6];

    #[test]
    fn plain_values_are_read() {
        assert_eq!(read(&[0xC0]), Ok(None));
        assert_eq!(read(&[0xC3]), Ok(Some(Value::Boolean(true))));
        assert_eq!(read(&[0xF1]), Ok(Some(Value::Integer(-15))));
        assert_eq!(read(HALF), Ok(Some(Value::Float(0.5))));
        assert_eq!(read(&[0x83, b'a', 0, b'b']), Ok(Some(Value::String("a\0b".to_owned()))));
        assert_eq!(read(&[0xCC, 2, 0xFF, 0]), Ok(Some(Value::Bytes(vec![255, 0]))));
        assert!(matches!(read(&[0xC4]), Err(DecodeError::Unexpected { marker: 0xC4, .. })));
    }

    #[test]
    fn lists_take_the_compact_form_only_for_floats_alone() {
        assert_eq!(read(&[0x90]), Ok(Some(Value::List(vec![]))));
        assert_eq!(read(&[&[0x92], HALF, HALF].concat()), Ok(Some(Value::Floats(vec![0.5, 0.5]))));
        let mixed = Value::List(vec![Value::Float(0.5), Value::Integer(1)]);
        assert_eq!(read(&[&[0x92], HALF, ONE].concat()), Ok(Some(mixed)));
        assert_eq!(read(&[0x91, 0xC0]), Err(DecodeError::Missing("item of a list")));
    }

    #[test]
    fn floats_keep_every_bit() {
        for number in [f64::NAN, -0.0, f64::INFINITY, f64::MIN_POSITIVE / 4.0] {
            let bytes = [&[0x91, 0xC1], &number.to_be_bytes()[..]].concat();
            let Ok(Some(Value::Floats(floats))) = read(&bytes) else { panic!("not floats") };
            assert_eq!(floats[0].to_bits(), number.to_bits());
        }
    }

    #[test]
    fn temporal_values_keep_their_own_numbers() {
        assert_eq!(read_structure(b'D', &[MINUS_ONE]), Ok(Value::Date { days: -1 }));
        assert_eq!(read_structure(b't', &[ONE]), Ok(Value::LocalTime { nanoseconds: 1 }));
        assert_eq!(read_structure(b'T', &[ONE, HOUR]), Ok(Value::Time { nanoseconds: 1, offset_seconds: 3_600 }));
        assert_eq!(read_structure(b'd', &[MINUS_ONE, ONE]), Ok(Value::LocalDateTime { seconds: -1, nanoseconds: 1 }));
        let duration = Value::Duration { months: 1, days: -1, seconds: 3_600, nanoseconds: -1 };
        assert_eq!(read_structure(b'E', &[ONE, MINUS_ONE, HOUR, MINUS_ONE]), Ok(duration));
    }

    #[test]
    fn a_zoned_datetime_is_its_instant() {
        let instant = Value::DateTime { epoch_seconds: 1_729_992_712, nanoseconds: 1 };
        assert_eq!(read_structure(b'I', &[OVERLAP, ONE, HOUR]), Ok(instant.clone()));
        assert_eq!(read_structure(b'i', &[OVERLAP, ONE, BERLIN]), Ok(instant));
        assert_eq!(read_structure(b'I', &[OVERLAP, MINUS_ONE, HOUR]), Err(DecodeError::Range("the nanoseconds of a second")));
    }

    #[test]
    fn points_are_read() {
        let flat = Value::Point { srid: 4_326, x: 0.5, y: 0.5, z: None };
        assert_eq!(read_structure(b'X', &[WGS_84, HALF, HALF]), Ok(flat));
        let high = Value::Point { srid: 4_326, x: 0.5, y: 0.5, z: Some(0.5) };
        assert_eq!(read_structure(b'Y', &[WGS_84, HALF, HALF, HALF]), Ok(high));
    }

    #[test]
    fn structures_of_bolt_4_and_elements_are_refused() {
        for tag in [b'F', b'f', b'N', b'R', b'P', b'?'] {
            assert_eq!(read_structure(tag, &[ONE, ONE, ONE]), Err(DecodeError::Structure { tag, fields: 3 }));
        }
        assert_eq!(read_structure(b'D', &[ONE, ONE]), Err(DecodeError::Structure { tag: b'D', fields: 2 }));
    }

    #[test]
    fn null_properties_are_absent() {
        let bytes = [0xA2, 0x81, b'a', 0xC0, 0x81, b'b', 0x01];
        assert_eq!(properties(&mut Decoder::new(&bytes)), Ok(vec![("b".to_owned(), Value::Integer(1))]));
    }

    /// Tests how much a list of this length makes us allocate, if the message does not have the bytes.
    #[test]
    fn room_is_made_only_for_what_the_message_can_hold() {
        assert_eq!(reservation::<Value>(usize::MAX, 1_000), 1_000 / size_of::<Value>() + 1);
        assert_eq!(reservation::<Value>(3, 1_000), 3);
    }

    fn any_marker() -> impl Strategy<Value = u8> {
        prop_oneof![any::<u8>(), 0x80..=0xDF_u8, Just(0xC1), Just(b'I')]
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_value_or_an_error(bytes in proptest::collection::vec(any_marker(), 0..300)) {
            let held = read(&bytes).ok().flatten().map_or(0, |value| value.weight());
            // Each byte is at most one value.
            prop_assert!(held <= (bytes.len() + 1) * (size_of::<Value>() + 1));
            let _ = properties(&mut Decoder::new(&bytes));
            let _ = texts(&mut Decoder::new(&bytes));
        }
    }
}
