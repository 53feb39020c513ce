//! Writes the few types of PackStream values in requests.

use chrono::{DateTime, NaiveDateTime, Utc};

use super::packstream::{DecodeError, Decoded};

/// The bytes of a request under construction.
#[derive(Debug, Default)]
pub(super) struct PackStreamWriter {
    bytes: Vec<u8>,
}

impl PackStreamWriter {
    /// Creates a writer that reuses this buffer from its start.
    pub(super) fn reusing(mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        Self { bytes }
    }

    /// Returns the bytes that were written.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Writes the head of a structure.
    pub(super) fn structure(&mut self, fields: u8, tag: u8) {
        self.bytes.extend([0xB0 | (fields & 0x0F), tag]);
    }

    /// Writes the head of a map; its entries follow, each a text and a value.
    pub(super) fn map(&mut self, entries: u8) {
        self.bytes.extend([0xD8, entries]);
    }

    /// Writes the head of a list; its items follow.
    pub(super) fn list(&mut self, items: usize) -> Decoded<()> {
        self.long(0xD6, items)
    }

    /// Writes an integer, in one byte or in nine.
    pub(super) fn integer(&mut self, number: i64) {
        match i8::try_from(number) {
            Ok(small @ -16..) => self.bytes.push(small.cast_unsigned()),
            _ => {
                self.bytes.push(0xCB);
                self.bytes.extend(number.to_be_bytes());
            }
        }
    }

    /// Writes a text with its length.
    pub(super) fn text(&mut self, text: &str) -> Decoded<()> {
        match u8::try_from(text.len()) {
            Ok(short) => self.bytes.extend([0xD0, short]),
            Err(_) => self.long(0xD2, text.len())?,
        }
        self.bytes.extend(text.as_bytes());
        Ok(())
    }

    /// Writes a list of texts.
    pub(super) fn texts(&mut self, texts: &[String]) -> Decoded<()> {
        self.list(texts.len())?;
        texts.iter().try_for_each(|text| self.text(text))
    }

    /// Writes a list of integers.
    pub(super) fn integers(&mut self, numbers: &[i64]) -> Decoded<()> {
        self.list(numbers.len())?;
        numbers.iter().for_each(|number| self.integer(*number));
        Ok(())
    }

    /// Writes an instant at offset zero.
    pub(super) fn instant(&mut self, instant: DateTime<Utc>) {
        self.structure(3, b'I');
        self.integer(instant.timestamp());
        self.integer(i64::from(instant.timestamp_subsec_nanos()));
        self.integer(0);
    }

    /// Writes a date and time without a zone.
    pub(super) fn local_datetime(&mut self, local: NaiveDateTime) {
        let as_if_utc = local.and_utc();
        self.structure(2, b'd');
        self.integer(as_if_utc.timestamp());
        self.integer(i64::from(as_if_utc.timestamp_subsec_nanos()));
    }

    fn long(&mut self, marker: u8, length: usize) -> Decoded<()> {
        let length = u32::try_from(length).map_err(|_| DecodeError::Oversized)?;
        self.bytes.push(marker);
        self.bytes.extend(length.to_be_bytes());
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::packstream::{Decoder, Structure};
    use super::super::value::{texts, value};
    use super::*;
    use crate::model::value::Value;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut PackStreamWriter)) -> Vec<u8> {
        let mut packer = PackStreamWriter::default();
        write(&mut packer);
        packer.into_bytes()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(number in any::<i64>(), small in -20_i64..200, list in proptest::collection::vec(".{0,300}", 0..5)) {
            for number in [number, small] {
                prop_assert_eq!(Decoder::new(&written(|to| to.integer(number))).integer(), Ok(number));
            }
            let bytes = written(|to| to.texts(&list).unwrap());
            prop_assert_eq!(texts(&mut Decoder::new(&bytes)), Ok(list));
        }

        #[test]
        fn datetimes_are_read_back(seconds in -8_000_000_000_000_i64..8_000_000_000_000, nanoseconds in 0_u32..1_000_000_000) {
            let instant = DateTime::from_timestamp(seconds, nanoseconds).unwrap();
            let bytes = written(|to| to.instant(instant));
            prop_assert_eq!(value(&mut Decoder::new(&bytes)), Ok(Some(Value::DateTime { epoch_seconds: seconds, nanoseconds })));
            let bytes = written(|to| to.local_datetime(instant.naive_utc()));
            prop_assert_eq!(value(&mut Decoder::new(&bytes)), Ok(Some(Value::LocalDateTime { seconds, nanoseconds })));
        }
    }

    #[test]
    fn heads_are_those_of_the_specification() {
        let bytes = written(|to| {
            to.structure(1, 0x01);
            to.map(1);
        });
        let mut decoder = Decoder::new(&bytes);
        assert_eq!(decoder.structure(), Ok(Structure { fields: 1, tag: 0x01 }));
        assert_eq!(decoder.map(), Err(DecodeError::Oversized), "an entry has to follow");
        assert_eq!(bytes[2..], [0xD8, 1]);
    }
}
