//! What one GRAPH.BULK takes.

use crate::model::element::NodeIdentity;

/// A payload closes with the row that reaches this size. GRAPH.BULK runs on the server's main thread, and all readers of all
/// graphs wait for it: measured on 4.16.3 with rows of 256 floats, 1 MiB takes 5 ms, 2 MiB 9 ms, 8 MiB 37 ms, 16 MiB 84 ms,
/// and the worst reader waited just as long, while rows a second do not grow beyond 1 MiB.
pub const MAX_PAYLOAD_BYTES: usize = 2 << 20;

/// A payload closes with this row: small rows cost the server by their number and not by their size.
pub const MAX_PAYLOAD_ROWS: usize = 10_000;

/// Tokens for one GRAPH.BULK, with exact counts. There is no way to make one but from rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BulkPayload {
    pub(super) nodes: Vec<NodeIdentity>,
    pub(super) relationships: u64,
    pub(super) node_tokens: Vec<Vec<u8>>,
    pub(super) relationship_tokens: Vec<Vec<u8>>,
}

impl BulkPayload {
    /// How many nodes it creates.
    pub fn node_count(&self) -> u64 {
        self.nodes.len() as u64
    }

    /// How many relationships it creates.
    pub fn relationship_count(&self) -> u64 {
        self.relationships
    }

    /// The nodes that it creates, in the order in which FalkorDB numbers them.
    pub fn nodes(&self) -> &[NodeIdentity] {
        &self.nodes
    }

    /// A token for each set of labels and names.
    pub fn node_tokens(&self) -> &[Vec<u8>] {
        &self.node_tokens
    }

    /// A token for each set of names.
    pub fn relationship_tokens(&self) -> &[Vec<u8>] {
        &self.relationship_tokens
    }

    /// Bytes of all tokens.
    pub fn bytes(&self) -> usize {
        self.node_tokens.iter().chain(&self.relationship_tokens).map(Vec::len).sum()
    }

    /// Whether it creates nothing; such a payload is never made.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.relationships == 0
    }
}
