//! PackStream, the binary form of Bolt's values: a reader of untrusted bytes.
//!
//! Nothing here trusts a length: each is compared with the bytes that are left before anything is allocated or skipped for it.
//! Source: the PackStream specification, version 1, which all Bolt 5 versions use.

use thiserror::Error;

/// The deepest nesting of lists and maps. A property is at most a list of values, and a row is a list of maps of properties; the
/// other levels are for the metadata of answers, in which maps nest a few levels.
const MAX_DEPTH: u8 = 16;

/// The fewest bytes of a list's item (one) and of a map's entry (two).
const SMALLEST_ITEM: usize = 1;
const SMALLEST_ENTRY: usize = 2;

/// A float's marker, and the bytes of a float with its marker.
const FLOAT: u8 = 0xC1;
const FLOAT_BYTES: usize = 9;

/// The reason why bytes are not the expected value. Never holds the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The message ends inside a value.
    #[error("the message ends inside a value")]
    Truncated,
    /// A length that the message has no bytes for.
    #[error("a length exceeds the message")]
    Oversized,
    /// A value of another type, by its marker.
    #[error("marker {marker:#04x} instead of {expected}")]
    Unexpected {
        /// The byte that announces the type of the value.
        marker: u8,
        /// The value that was expected.
        expected: &'static str,
    },
    /// A structure that is not a property's value, or that Bolt 5 does not have.
    #[error("structure {tag:#04x} with {fields} fields is not a value of Bolt 5")]
    Structure {
        /// The tag of the structure.
        tag: u8,
        /// The number of its fields.
        fields: u8,
    },
    /// Bytes of a text that are not UTF-8.
    #[error("a string is not valid UTF-8")]
    Text,
    /// A number outside the range of its use.
    #[error("{0} is out of its range")]
    Range(&'static str),
    /// Lists or maps that nest too deep.
    #[error("values are nested more than {MAX_DEPTH} deep")]
    Depth,
    /// Bytes after the end of a message.
    #[error("the message has data after its end")]
    Trailing,
    /// An answer that lacks a part or has one too many.
    #[error("the answer has no usable {0}")]
    Missing(&'static str),
}

/// The result of reading a value.
pub(super) type Decoded<T> = Result<T, DecodeError>;

/// The head of a structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Structure {
    /// The number of its fields.
    pub(crate) fields: u8,
    /// The tag of the structure.
    pub(crate) tag: u8,
}

/// Reads one message from its front. After an error, the rest of the message has no meaning.
#[derive(Debug, Clone)]
pub(crate) struct Decoder<'a> {
    rest: &'a [u8],
    depth: u8,
}

impl<'a> Decoder<'a> {
    /// Creates a decoder of these bytes.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, depth: 0 }
    }

    /// The bytes not read yet.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Checks that the message ends here.
    pub(crate) fn finish(self) -> Decoded<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }

    /// Returns the marker of the next value without reading past it.
    pub(crate) fn peek(&self) -> Decoded<u8> {
        self.rest.first().copied().ok_or(DecodeError::Truncated)
    }

    /// Reads a null, if there is one.
    pub(crate) fn null(&mut self) -> Decoded<bool> {
        let is_null = self.peek()? == 0xC0;
        if is_null {
            self.rest = &self.rest[1..];
        }
        Ok(is_null)
    }

    /// Reads a boolean value.
    pub(crate) fn boolean(&mut self) -> Decoded<bool> {
        match self.byte()? {
            0xC2 => Ok(false),
            0xC3 => Ok(true),
            marker => Err(DecodeError::Unexpected { marker, expected: "a boolean" }),
        }
    }

    /// Reads an integer of any width.
    pub(crate) fn integer(&mut self) -> Decoded<i64> {
        match self.byte()? {
            marker @ (0x00..=0x7F | 0xF0..=0xFF) => Ok(i64::from(marker.cast_signed())),
            0xC8 => Ok(i64::from(i8::from_be_bytes(self.array()?))),
            0xC9 => Ok(i64::from(i16::from_be_bytes(self.array()?))),
            0xCA => Ok(i64::from(i32::from_be_bytes(self.array()?))),
            0xCB => Ok(i64::from_be_bytes(self.array()?)),
            marker => Err(DecodeError::Unexpected { marker, expected: "an integer" }),
        }
    }

    /// Reads a float of 64 bits.
    pub(crate) fn float(&mut self) -> Decoded<f64> {
        match self.byte()? {
            FLOAT => Ok(f64::from_be_bytes(self.array()?)),
            marker => Err(DecodeError::Unexpected { marker, expected: "a float" }),
        }
    }

    /// Reads a text without a copy.
    pub(crate) fn text(&mut self) -> Decoded<&'a str> {
        let length = match self.byte()? {
            marker @ 0x80..=0x8F => usize::from(marker & 0x0F),
            0xD0 => self.length_8()?,
            0xD1 => self.length_16()?,
            0xD2 => self.length_32()?,
            marker => return Err(DecodeError::Unexpected { marker, expected: "a string" }),
        };
        std::str::from_utf8(self.take(length)?).map_err(|_| DecodeError::Text)
    }

    /// Reads a byte array without a copy.
    pub(crate) fn bytes(&mut self) -> Decoded<&'a [u8]> {
        let length = match self.byte()? {
            0xCC => self.length_8()?,
            0xCD => self.length_16()?,
            0xCE => self.length_32()?,
            marker => return Err(DecodeError::Unexpected { marker, expected: "bytes" }),
        };
        self.take(length)
    }

    /// Reads the head of a list and returns its number of items. The message has enough bytes for them.
    pub(crate) fn list(&mut self) -> Decoded<usize> {
        let items = match self.byte()? {
            marker @ 0x90..=0x9F => usize::from(marker & 0x0F),
            0xD4 => self.length_8()?,
            0xD5 => self.length_16()?,
            0xD6 => self.length_32()?,
            marker => return Err(DecodeError::Unexpected { marker, expected: "a list" }),
        };
        self.holds(items, SMALLEST_ITEM)
    }

    /// Reads the head of a map and returns its number of entries. The message has enough bytes for them.
    pub(crate) fn map(&mut self) -> Decoded<usize> {
        let entries = match self.byte()? {
            marker @ 0xA0..=0xAF => usize::from(marker & 0x0F),
            0xD8 => self.length_8()?,
            0xD9 => self.length_16()?,
            0xDA => self.length_32()?,
            marker => return Err(DecodeError::Unexpected { marker, expected: "a map" }),
        };
        self.holds(entries, SMALLEST_ENTRY)
    }

    /// Reads the head of a structure.
    pub(crate) fn structure(&mut self) -> Decoded<Structure> {
        match self.byte()? {
            marker @ 0xB0..=0xBF => Ok(Structure { fields: marker & 0x0F, tag: self.byte()? }),
            marker => Err(DecodeError::Unexpected { marker, expected: "a structure" }),
        }
    }

    /// Reads the next `items` items of a list, if all of them are floats: an embedding is one run of nine bytes for each item.
    pub(crate) fn floats(&mut self, items: usize) -> Option<Vec<f64>> {
        let (run, rest) = self.rest.split_at_checked(items.checked_mul(FLOAT_BYTES)?)?;
        if run.chunks_exact(FLOAT_BYTES).any(|item| item[0] != FLOAT) {
            return None;
        }
        self.rest = rest;
        Some(run.chunks_exact(FLOAT_BYTES).filter_map(|item| item[1..].try_into().ok().map(f64::from_be_bytes)).collect())
    }

    /// Reads the content of a list or a map, one level down.
    pub(crate) fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Decoded<T>) -> Decoded<T> {
        if self.depth == MAX_DEPTH {
            return Err(DecodeError::Depth);
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    /// Skips one value of any kind.
    pub(crate) fn skip(&mut self) -> Decoded<()> {
        match self.peek()? {
            0x00..=0x7F | 0xF0..=0xFF | 0xC8..=0xCB => self.integer().map(drop),
            0xC0 => self.null().map(drop),
            FLOAT => self.float().map(drop),
            0xC2 | 0xC3 => self.boolean().map(drop),
            0x80..=0x8F | 0xD0..=0xD2 => self.text().map(drop),
            0xCC..=0xCE => self.bytes().map(drop),
            0x90..=0x9F | 0xD4..=0xD6 => {
                let items = self.list()?;
                self.skip_all(items)
            }
            0xA0..=0xAF | 0xD8..=0xDA => {
                let entries = self.map()?;
                // A list of a message has fewer items than a message has bytes, so twice that does not overflow.
                self.skip_all(entries * 2)
            }
            0xB0..=0xBF => {
                let Structure { fields, .. } = self.structure()?;
                self.skip_all(usize::from(fields))
            }
            marker => Err(DecodeError::Unexpected { marker, expected: "a value" }),
        }
    }

    fn skip_all(&mut self, values: usize) -> Decoded<()> {
        self.nested(|inner| (0..values).try_for_each(|_| inner.skip()))
    }

    fn holds(&self, count: usize, smallest: usize) -> Decoded<usize> {
        if count > self.rest.len() / smallest { Err(DecodeError::Oversized) } else { Ok(count) }
    }

    fn byte(&mut self) -> Decoded<u8> {
        let (&first, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(first)
    }

    fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Decoded<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Oversized)?;
        self.rest = rest;
        Ok(taken)
    }

    fn length_8(&mut self) -> Decoded<usize> {
        Ok(usize::from(u8::from_be_bytes(self.array()?)))
    }

    fn length_16(&mut self) -> Decoded<usize> {
        Ok(usize::from(u16::from_be_bytes(self.array()?)))
    }

    fn length_32(&mut self) -> Decoded<usize> {
        usize::try_from(u32::from_be_bytes(self.array()?)).map_err(|_| DecodeError::Oversized)
    }
}

/// Reads a map with text names, one entry after the other; each call must read its value.
pub(super) fn for_each_entry<'a>(
    decoder: &mut Decoder<'a>,
    mut read: impl FnMut(&'a str, &mut Decoder<'a>) -> Decoded<()>,
) -> Decoded<()> {
    let entries = decoder.map()?;
    decoder.nested(|inner| {
        (0..entries).try_for_each(|_| {
            let name = inner.text()?;
            read(name, inner)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_of_every_width_are_read() {
        for (bytes, expected) in [
            (&[0x7F_u8] as &[u8], 127),
            (&[0xF0], -16),
            (&[0xC8, 0x80], -128),
            (&[0xC9, 0x80, 0x00], -32_768),
            (&[0xCA, 0x7F, 0xFF, 0xFF, 0xFF], 2_147_483_647),
            (&[0xCB, 0x80, 0, 0, 0, 0, 0, 0, 0], i64::MIN),
        ] {
            assert_eq!(Decoder::new(bytes).integer(), Ok(expected), "{bytes:x?}");
        }
        assert_eq!(Decoder::new(&[0xCB, 1]).integer(), Err(DecodeError::Truncated));
    }

    #[test]
    fn a_length_is_compared_with_what_there_is() {
        assert_eq!(Decoder::new(&[0xD6, 0x80, 0, 0, 0]).list(), Err(DecodeError::Oversized));
        assert_eq!(Decoder::new(&[0xDA, 0xFF, 0xFF, 0xFF, 0xFF]).map(), Err(DecodeError::Oversized));
        assert_eq!(Decoder::new(&[0xA1, 0x81]).map(), Err(DecodeError::Oversized), "an entry has two parts");
        assert_eq!(Decoder::new(&[0xD2, 0x7F, 0xFF, 0xFF, 0xFF, b'a']).text(), Err(DecodeError::Oversized));
        assert_eq!(Decoder::new(&[0xCE, 0, 0, 0, 2, 1]).bytes(), Err(DecodeError::Oversized));
    }

    #[test]
    fn deep_nesting_is_refused_before_the_stack_ends() {
        let nested = vec![0x91; 100_000];
        assert_eq!(Decoder::new(&nested).skip(), Err(DecodeError::Depth));
    }

    #[test]
    fn text_must_be_text() {
        assert_eq!(Decoder::new(&[0x82, 0xC3, 0xBC]).text(), Ok("ü"));
        assert_eq!(Decoder::new(&[0x81, 0xFF]).text(), Err(DecodeError::Text));
    }

    #[test]
    fn a_run_of_floats_is_taken_whole_or_not_at_all() {
        let one = [0xC1, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0];
        let two = [one, one].concat();
        let mut decoder = Decoder::new(&two);
        assert_eq!(decoder.floats(3), None);
        assert_eq!(decoder.floats(2), Some(vec![1.0, 1.0]));
        assert_eq!(decoder.finish(), Ok(()));
        let mixed = [&one[..], &[0x01; 9]].concat();
        assert_eq!(Decoder::new(&mixed).floats(2), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_skipped_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut decoder = Decoder::new(&bytes);
            while decoder.remaining() > 0 && decoder.skip().is_ok() {}
        }
    }
}
