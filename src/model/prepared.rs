//! What the transformer makes of a batch: rows encoded for FalkorDB, grouped by the one query that can take them.

use super::element::{NodeIdentity, RelationshipIdentity};
use super::key::Key;
use super::name::{Label, PropertyName, RelationshipType};

/// Rows encoded as FalkorDB parameter text, each a map literal, side by side in one buffer, so that a refused group can be
/// halved without encoding anything again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedRows<I> {
    identities: Vec<I>,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl<I> Default for EncodedRows<I> {
    fn default() -> Self {
        Self { identities: Vec::new(), text: Vec::new(), ends: Vec::new() }
    }
}

impl<I> EncodedRows<I> {
    /// Appends a row; `encode` writes its text.
    pub fn push(&mut self, identity: I, encode: impl FnOnce(&mut Vec<u8>)) {
        encode(&mut self.text);
        self.ends.push(self.text.len());
        self.identities.push(identity);
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.identities.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.identities.is_empty()
    }

    /// The rows' identities, in order.
    pub fn identities(&self) -> &[I] {
        &self.identities
    }

    /// The text of the row at `index`.
    pub fn row(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.text[start..self.ends[index]]
    }

    /// Bytes of all rows' text.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }
}

/// Nodes that one query writes: the same kind, labels and present vectors.
///
/// A row is `{k:"key",p:{…all properties but the vectors…},v0:[…],v1:[…]}`, `v{i}` for the i-th of `vectors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeGroup {
    /// The identity label.
    pub label: Label,
    /// The key property.
    pub key: PropertyName,
    /// Labels besides the identity label, sorted.
    pub extra_labels: Vec<Label>,
    /// Vector properties that every row of the group has.
    pub vectors: Vec<PropertyName>,
    /// The rows, by key.
    pub rows: EncodedRows<Key>,
}

/// One end of a relationship group: which label and key property find the node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointKind {
    /// The identity label.
    pub label: Label,
    /// The key property.
    pub key: PropertyName,
}

/// Relationships that one query writes: the same type, endpoint kinds and present vectors.
///
/// A row is `{k:"key",s:"start key",e:"end key",p:{…},v0:[…]}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationshipGroup {
    /// The type.
    pub rel_type: RelationshipType,
    /// The key property.
    pub key: PropertyName,
    /// The kind that it begins at.
    pub start: EndpointKind,
    /// The kind that it ends at.
    pub end: EndpointKind,
    /// Vector properties that every row of the group has.
    pub vectors: Vec<PropertyName>,
    /// The rows.
    pub rows: EncodedRows<RelationshipIdentity>,
}

/// All that one batch writes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PreparedRows {
    /// Nodes to write.
    pub nodes: Vec<NodeGroup>,
    /// Relationships to write.
    pub relationships: Vec<RelationshipGroup>,
    /// Nodes to delete, with their relationships.
    pub deleted_nodes: Vec<NodeIdentity>,
    /// Relationships to delete.
    pub deleted_relationships: Vec<RelationshipIdentity>,
    /// Elements that cannot be written, with the reason.
    pub quarantined: Vec<Quarantined>,
    /// What was converted by rule, counted.
    pub conversions: Conversions,
    /// Elements that share an identity with another one and gave way to it.
    pub collapsed: u64,
}

impl PreparedRows {
    /// How many elements this writes or deletes.
    pub fn len(&self) -> usize {
        self.nodes.iter().map(|g| g.rows.len()).sum::<usize>()
            + self.relationships.iter().map(|g| g.rows.len()).sum::<usize>()
            + self.deleted_nodes.len()
            + self.deleted_relationships.len()
    }

    /// Whether there is nothing to write or delete.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An element or one of its properties that the cache cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Quarantined {
    /// Label or type.
    pub kind: String,
    /// The key where there is a usable one, else the element's number in the source.
    pub key: String,
    /// The property, when the rest of the element was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<String>,
    /// Why, for a person; never holds the value.
    pub reason: String,
}

/// Values that were converted by a documented rule that loses something, counted (guarantee G5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Conversions {
    /// Strings from which NUL was removed.
    pub nul_removed: u64,
    /// Datetimes whose nanoseconds were cut to microseconds.
    pub nanoseconds_cut: u64,
    /// Dates, times, durations and points that became text.
    pub became_text: u64,
    /// Byte arrays that became base64 text.
    pub became_base64: u64,
}

impl Conversions {
    /// Adds another count to this one.
    pub fn add(&mut self, other: Conversions) {
        self.nul_removed += other.nul_removed;
        self.nanoseconds_cut += other.nanoseconds_cut;
        self.became_text += other.became_text;
        self.became_base64 += other.became_base64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_again_one_by_one() {
        let mut rows = EncodedRows::default();
        rows.push(1, |text| text.extend_from_slice(b"{a:1}"));
        rows.push(2, |text| text.extend_from_slice(b"{}"));
        assert_eq!((rows.row(0), rows.row(1)), (&b"{a:1}"[..], &b"{}"[..]));
        assert_eq!((rows.len(), rows.bytes()), (2, 7));
    }
}
