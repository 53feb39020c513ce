//! The seam between the conversion of a value and its spelling: the rules exist once, in [`values`](super::values) and
//! [`vectors`](super::vectors); the spellings are FalkorDB's parameter text and the binary form of its bulk load.

use super::literal;

/// Writes the few types that FalkorDB has.
pub(crate) trait ValueWriter {
    /// Writes the null value.
    fn null(&mut self);
    /// Writes `true` or `false`.
    fn boolean(&mut self, boolean: bool);
    /// Writes an integer of 64 bits.
    fn integer(&mut self, integer: i64);
    /// Writes a float, including NaN and the infinities.
    fn float(&mut self, float: f64);
    /// Writes a finite number of a vector, so that FalkorDB narrows it to exactly this number.
    fn single(&mut self, single: f32);
    /// Writes a string without NUL, and returns whether it contained one.
    fn string(&mut self, text: &str) -> bool;
    /// Writes a string: `write` appends its text, which has no NUL, quote or backslash.
    fn plain_text(&mut self, write: impl FnOnce(&mut Vec<u8>));
    /// Writes a list: `write_item` writes each item exactly once.
    fn list<T>(&mut self, items: &[T], write_item: impl FnMut(&mut Self, &T));
}

/// FalkorDB's parameter text, appended to a buffer. NaN becomes `null`: see [`literal::write_float`].
pub(crate) struct ParameterText<'a>(pub &'a mut Vec<u8>);

impl ValueWriter for ParameterText<'_> {
    fn null(&mut self) {
        self.0.extend_from_slice(b"null");
    }

    fn boolean(&mut self, boolean: bool) {
        self.0.extend_from_slice(if boolean { b"true" } else { b"false" });
    }

    fn integer(&mut self, integer: i64) {
        literal::write_integer(self.0, integer);
    }

    fn float(&mut self, float: f64) {
        literal::write_float(self.0, float);
    }

    fn single(&mut self, single: f32) {
        literal::write_single(self.0, single);
    }

    fn string(&mut self, text: &str) -> bool {
        literal::write_string(self.0, text)
    }

    fn plain_text(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.0.push(b'"');
        write(self.0);
        self.0.push(b'"');
    }

    fn list<T>(&mut self, items: &[T], mut write_item: impl FnMut(&mut Self, &T)) {
        self.0.push(b'[');
        for (place, item) in items.iter().enumerate() {
            if place > 0 {
                self.0.push(b',');
            }
            write_item(self, item);
        }
        self.0.push(b']');
    }
}
