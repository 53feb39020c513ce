//! The header of a token, and the records that fit the header.

use super::super::writer::ValueWriter;
use super::binary::{Binary, write_c_string};
use crate::model::name::{Label, RelationshipType};

/// The most properties that one token has columns for. FalkorDB takes fewer than 65,535, and its process ends at more; every
/// absent property costs a byte of every record, so few rows with many different properties must not share a token.
pub(super) const MAX_COLUMNS: usize = 512;

/// The separator of labels in a header; a label that contains it cannot be sent.
const SEPARATOR: char = ':';

/// The common part of a token's records: the labels or the type, and the sorted names of their properties.
pub(super) struct Header<'a> {
    bytes: Vec<u8>,
    names: Vec<&'a str>,
}

/// Whether the binary form can express the name of a label or type. [`Label`] and [`RelationshipType`] hold no NUL.
pub(super) fn can_say(name: &str) -> bool {
    !name.contains(SEPARATOR)
}

impl<'a> Header<'a> {
    /// Creates the header of nodes with these labels, which all must pass [`can_say`]. The names are sorted, without repetition,
    /// at least one and at most [`MAX_COLUMNS`].
    pub(super) fn of_nodes<'l>(labels: impl Iterator<Item = &'l Label>, names: Vec<&'a str>) -> Self {
        let mut joined = String::new();
        for label in labels {
            if !joined.is_empty() {
                joined.push(SEPARATOR);
            }
            joined.push_str(label.as_str());
        }
        Self::new(&joined, names)
    }

    /// Creates the header of relationships of a type; the names as for nodes.
    pub(super) fn of_relationships(rel_type: &RelationshipType, names: Vec<&'a str>) -> Self {
        Self::new(rel_type.as_str(), names)
    }

    fn new(kind: &str, names: Vec<&'a str>) -> Self {
        debug_assert!((1..=MAX_COLUMNS).contains(&names.len()) && names.is_sorted());
        let mut bytes = Vec::new();
        write_c_string(&mut bytes, kind);
        bytes.extend_from_slice(&(names.len() as u32).to_le_bytes());
        for name in &names {
            write_c_string(&mut bytes, name);
        }
        Self { bytes, names }
    }

    /// The bytes of the header at the beginning of a token.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends one value for each name: the cell of that name, or NULL. The cells are sorted by name, and the header has each of
    /// their names.
    pub(super) fn write_record<C>(
        &self,
        out: &mut Vec<u8>,
        cells: impl Iterator<Item = (&'a str, C)>,
        mut write_cell: impl FnMut(&mut Binary<'_>, C),
    ) {
        let mut cells = cells.peekable();
        let mut out = Binary(out);
        for name in &self.names {
            match cells.next_if(|(cell, _)| cell == name) {
                Some((_, cell)) => write_cell(&mut out, cell),
                None => out.null(),
            }
        }
        debug_assert!(cells.peek().is_none(), "a cell without a column");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_a_value_for_every_name() {
        let labels = [Label::parse("A").unwrap(), Label::parse("B").unwrap()];
        let header = Header::of_nodes(labels.iter(), vec!["k", "x", "y"]);
        assert_eq!(header.bytes(), b"A:B\0\x03\0\0\0k\0x\0y\0");
        let mut record = Vec::new();
        header.write_record(&mut record, [("k", true), ("y", false)].into_iter(), |out, cell| out.boolean(cell));
        assert_eq!(record, [1, 1, 0, 1, 0]);
    }

    #[test]
    fn a_colon_cannot_be_said() {
        assert!(can_say("Person") && can_say("größe `x`") && !can_say("a:b"));
    }
}
