//! The seam between what a value becomes and how that is spelt: the rules stand once, in [`values`](super::values) and
//! [`vectors`](super::vectors), the spellings are FalkorDB's parameter text and the binary form of its bulk load.

use super::literal;

/// Spells the few types that FalkorDB has.
pub trait ValueWriter {
    /// Nothing.
    fn null(&mut self);
    /// `true` or `false`.
    fn boolean(&mut self, boolean: bool);
    /// An integer.
    fn integer(&mut self, integer: i64);
    /// A float, NaN and the infinities included.
    fn float(&mut self, float: f64);
    /// A number of a vector, finite, so that FalkorDB narrows it to exactly this one.
    fn single(&mut self, single: f32);
    /// A string without its NUL, and whether there was one.
    fn string(&mut self, text: &str) -> bool;
    /// A string of which `write` appends the text, and in which there is no NUL, quote or backslash.
    fn plain_text(&mut self, write: impl FnOnce(&mut Vec<u8>));
    /// A list, of which `write_item` writes one item exactly once.
    fn list<T>(&mut self, items: &[T], write_item: impl FnMut(&mut Self, &T));
}

/// FalkorDB's parameter text, appended to a buffer. NaN becomes `null`: see [`literal::write_float`].
pub struct ParameterText<'a>(pub &'a mut Vec<u8>);

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
