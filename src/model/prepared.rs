//! The transformer's output for a batch: rows encoded for FalkorDB, grouped by the query that can take them.

use std::collections::BTreeMap;

use super::element::{NodeIdentity, RelationshipIdentity};
use super::key::Key;
use super::kind::ElementKind;
use super::name::{Label, PropertyName, RelationshipType};
use super::quarantined::Quarantined;

/// Rows encoded as FalkorDB parameter text, each a map literal, in one buffer, so that a refused group can be halved without
/// encoding anything again.
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

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.identities.len()
    }

    /// Whether there are no rows.
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

    /// Keeps only the rows with an index that satisfies the condition.
    pub(crate) fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        let mut kept = Self::default();
        let identities = std::mem::take(&mut self.identities);
        for (index, identity) in identities.into_iter().enumerate().filter(|(index, _)| keep(*index)) {
            let row = self.row(index);
            kept.push(identity, |text| text.extend_from_slice(row));
        }
        *self = kept;
    }

    /// The total bytes of the rows' text.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }
}

/// Nodes that one query writes: the same kind, labels, present vectors and properties that hold NaN.
///
/// A row is `{k:"key",p:{…all other properties…},v0:[…],v1:[…],f0:null,f1:[1.0,null]}`: `v{i}` for the i-th of `vectors`,
/// `f{i}` for the i-th of `not_a_number`.
///
/// The statement must begin with the full replacement `SET n = r.p` and continue with one assignment for each vector and
/// [`not_a_number_expression`] for each property of `not_a_number`. FalkorDB skips a single assignment of a value that it
/// considers equal, and it considers `-0.0` equal to `0.0`, `1` to `1.0`, and vectors equal that differ in the last digits
/// (4.16.3). A full replacement clears first, so nothing is skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeWriteSet {
    /// The group of all its rows, if each group has its own graph.
    pub group: Option<String>,
    /// The identity label of the nodes.
    pub label: Label,
    /// The key property of the nodes.
    pub key: PropertyName,
    /// Labels besides the identity label, sorted.
    pub extra_labels: Vec<Label>,
    /// Vector properties that every row of the group has.
    pub vectors: Vec<PropertyName>,
    /// Properties that hold NaN in every row of the group, alone or within a list.
    pub not_a_number: Vec<PropertyName>,
    /// The rows, by key.
    pub rows: EncodedRows<Key>,
}

/// The Cypher that computes the i-th property of `not_a_number` from column `f{i}` of the row `row`.
///
/// Parameter text cannot express NaN, but query text can, as `0.0/0.0`. A Neo4j list never holds null, so null represents NaN.
pub fn not_a_number_expression(row: &str, index: usize) -> String {
    format!("CASE WHEN {row}.f{index} IS NULL THEN 0.0/0.0 ELSE [x IN {row}.f{index} | coalesce(x, 0.0/0.0)] END")
}

/// One end of a relationship group: the label and key property that find the node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointKind {
    /// The identity label of the node.
    pub label: Label,
    /// The key property of the node.
    pub key: PropertyName,
}

/// Relationships that one query writes: the same type, endpoint kinds, present vectors and properties that hold NaN.
///
/// A row is `{k:"key",s:"start key",e:"end key",p:{…},v0:[…],f0:null}`, its columns as those of [`NodeWriteSet`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationshipWriteSet {
    /// The group of all its rows, if each group has its own graph.
    pub group: Option<String>,
    /// The type of the relationships.
    pub rel_type: RelationshipType,
    /// The key property of the relationships.
    pub key: PropertyName,
    /// The kind of the nodes at which they begin.
    pub start: EndpointKind,
    /// The kind of the nodes at which they end.
    pub end: EndpointKind,
    /// Vector properties that every row of the group has.
    pub vectors: Vec<PropertyName>,
    /// Properties that hold NaN in every row of the group, alone or within a list.
    pub not_a_number: Vec<PropertyName>,
    /// The rows, by identity.
    pub rows: EncodedRows<RelationshipIdentity>,
}

/// All writes of one batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PreparedRows {
    /// Nodes that are written.
    pub nodes: Vec<NodeWriteSet>,
    /// Relationships that are written.
    pub relationships: Vec<RelationshipWriteSet>,
    /// Nodes to delete, together with their relationships.
    pub deleted_nodes: Vec<NodeIdentity>,
    /// Relationships that are deleted.
    pub deleted_relationships: Vec<RelationshipIdentity>,
    /// Elements that cannot be written, with the reason.
    pub quarantined: Vec<Quarantined>,
    /// The counts of values that were converted by rule.
    pub conversions: Conversions,
    /// Elements that share an identity with another one, which was kept instead.
    pub collapsed: u64,
    /// Whether the batch repairs the cache: then the elements that it writes may also be in the wrong graph.
    pub repairs: bool,
    /// The result of a review of unusable elements, only for the quarantine.
    pub review: QuarantineReview,
}

/// The result of a review of the quarantine's elements.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QuarantineReview {
    /// Kind and key of entries for elements that no longer exist in the source, or have another name by now.
    pub released: Vec<(ElementKind, String)>,
    /// By type, the number of relationships that cannot be written because this end of them is in the quarantine. For each type
    /// in the map, the list is complete.
    pub waiting: BTreeMap<RelationshipType, BTreeMap<NodeIdentity, u64>>,
}

impl PreparedRows {
    /// Adds rows of other kinds.
    pub(crate) fn append(&mut self, mut other: PreparedRows) {
        self.nodes.append(&mut other.nodes);
        self.relationships.append(&mut other.relationships);
        self.deleted_nodes.append(&mut other.deleted_nodes);
        self.deleted_relationships.append(&mut other.deleted_relationships);
        self.quarantined.append(&mut other.quarantined);
        self.conversions.add(other.conversions);
        self.collapsed += other.collapsed;
    }

    /// The number of elements to write or delete.
    pub(crate) fn len(&self) -> usize {
        self.nodes.iter().map(|g| g.rows.len()).sum::<usize>()
            + self.relationships.iter().map(|g| g.rows.len()).sum::<usize>()
            + self.deleted_nodes.len()
            + self.deleted_relationships.len()
    }

    /// Whether there is nothing to write or delete.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
/// Values that were converted by a documented rule that loses something, counted (guarantee G5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Conversions {
    /// Strings from which NUL was removed.
    pub nul_removed: u64,
    /// Datetimes with nanoseconds that were cut to microseconds.
    pub nanoseconds_cut: u64,
    /// Dates, times, durations and points that became text.
    pub became_text: u64,
    /// Byte arrays that became base64 text.
    pub became_base64: u64,
    /// Vectors with a number that is not exactly a 32-bit float and was rounded to one.
    pub vectors_narrowed: u64,
}

impl Conversions {
    /// Adds another count to this one.
    pub(crate) fn add(&mut self, other: Conversions) {
        self.nul_removed += other.nul_removed;
        self.nanoseconds_cut += other.nanoseconds_cut;
        self.became_text += other.became_text;
        self.became_base64 += other.became_base64;
        self.vectors_narrowed += other.vectors_narrowed;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
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
