//! The payload of one GRAPH.BULK.

use crate::model::element::NodeIdentity;

/// The size in bytes at which a payload closes, with the row that reaches it. GRAPH.BULK runs on the server's main thread, and
/// all readers of all graphs wait for it: measured on 4.16.3 with rows of 256 floats, 1 MiB takes 5 ms, 2 MiB 9 ms, 8 MiB 37 ms,
/// 16 MiB 84 ms, and the slowest reader waited just as long, while rows per second do not increase beyond 1 MiB.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 2 << 20;

/// The number of rows at which a payload closes: the cost of small rows to the server depends on their number, not on their size.
pub(crate) const MAX_PAYLOAD_ROWS: usize = 10_000;

/// The tokens for one GRAPH.BULK, with exact counts. A payload can only be made from rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BulkPayload {
    pub(super) nodes: Vec<NodeIdentity>,
    pub(super) relationships: u64,
    pub(super) node_tokens: Vec<Vec<u8>>,
    pub(super) relationship_tokens: Vec<Vec<u8>>,
}

impl BulkPayload {
    /// The number of nodes that it creates.
    pub(crate) fn node_count(&self) -> u64 {
        self.nodes.len() as u64
    }

    /// The number of relationships that it creates.
    pub(crate) fn relationship_count(&self) -> u64 {
        self.relationships
    }

    /// The nodes that it creates, in the order in which FalkorDB numbers them.
    pub fn nodes(&self) -> &[NodeIdentity] {
        &self.nodes
    }

    /// The tokens of nodes: one for each set of labels and names.
    pub(crate) fn node_tokens(&self) -> &[Vec<u8>] {
        &self.node_tokens
    }

    /// The tokens of relationships: one for each set of names.
    pub(crate) fn relationship_tokens(&self) -> &[Vec<u8>] {
        &self.relationship_tokens
    }

    /// The bytes of all tokens.
    pub(crate) fn bytes(&self) -> usize {
        self.node_tokens.iter().chain(&self.relationship_tokens).map(Vec::len).sum()
    }

    /// Whether both payloads together respect the limits, and both hold nodes or both hold relationships.
    pub(super) fn has_room_for(&self, other: &Self) -> bool {
        let alike = self.nodes.is_empty() == other.nodes.is_empty();
        let rows = self.node_count() + self.relationships + other.node_count() + other.relationships;
        alike && rows <= MAX_PAYLOAD_ROWS as u64 && self.bytes() + other.bytes() <= MAX_PAYLOAD_BYTES
    }

    /// Adds the content of another payload after that of this one.
    pub(super) fn append(&mut self, mut other: Self) {
        self.nodes.append(&mut other.nodes);
        self.relationships += other.relationships;
        self.node_tokens.append(&mut other.node_tokens);
        self.relationship_tokens.append(&mut other.relationship_tokens);
    }

    /// Whether the payload creates nothing; such a payload is never made.
    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.relationships == 0
    }
}
