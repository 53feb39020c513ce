//! Values in the binary form of GRAPH.BULK: a byte for the type, then the value in the server's byte order, which is little
//! endian on every machine that FalkorDB is built for (`src/bulk_insert/bulk_insert.c` of 4.16.3).

use super::super::writer::ValueWriter;

const NULL: u8 = 0;
const BOOLEAN: u8 = 1;
const DOUBLE: u8 = 2;
const STRING: u8 = 3;
const INTEGER: u8 = 4;
const ARRAY: u8 = 5;

/// A writer that appends values to a token.
pub(super) struct Binary<'a>(pub(super) &'a mut Vec<u8>);

impl ValueWriter for Binary<'_> {
    fn null(&mut self) {
        self.0.push(NULL);
    }

    fn boolean(&mut self, boolean: bool) {
        self.0.extend_from_slice(&[BOOLEAN, u8::from(boolean)]);
    }

    fn integer(&mut self, integer: i64) {
        self.0.push(INTEGER);
        self.0.extend_from_slice(&integer.to_le_bytes());
    }

    fn float(&mut self, float: f64) {
        self.0.push(DOUBLE);
        self.0.extend_from_slice(&float.to_le_bytes());
    }

    fn single(&mut self, single: f32) {
        self.float(f64::from(single));
    }

    fn string(&mut self, text: &str) -> bool {
        self.0.push(STRING);
        write_c_string(self.0, text)
    }

    fn plain_text(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.0.push(STRING);
        write(self.0);
        self.0.push(0);
    }

    fn list<T>(&mut self, items: &[T], mut write_item: impl FnMut(&mut Self, &T)) {
        self.0.push(ARRAY);
        // A slice never has more than isize::MAX items.
        self.0.extend_from_slice(&(items.len() as i64).to_le_bytes());
        for item in items {
            write_item(self, item);
        }
    }
}

/// Appends a text and its final NUL; returns whether a NUL within the text had to be left out.
pub(super) fn write_c_string(out: &mut Vec<u8>, text: &str) -> bool {
    let nul = text.as_bytes().contains(&0);
    if nul {
        out.extend(text.bytes().filter(|byte| *byte != 0));
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.push(0);
    nul
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Binary<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut Binary(&mut out));
        out
    }

    #[test]
    fn every_type_has_its_tag() {
        assert_eq!(written(|out| out.null()), [0]);
        assert_eq!(written(|out| out.boolean(true)), [1, 1]);
        assert_eq!(written(|out| out.float(1.0)), [2, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
        assert_eq!(written(|out| assert!(!out.string("aé"))), [3, b'a', 0xc3, 0xa9, 0]);
        assert_eq!(written(|out| out.integer(-2)), [4, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(
            written(|out| out.list(&[true, false], |out, item| out.boolean(*item))),
            [5, 2, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0]
        );
    }

    #[test]
    fn a_string_ends_at_its_only_nul() {
        assert_eq!(written(|out| assert!(out.string("\0a\0"))), [3, b'a', 0]);
    }
}
