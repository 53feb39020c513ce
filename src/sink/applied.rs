//! What a batch did to the cache.

use crate::model::element::RelationshipIdentity;
use crate::model::prepared::Quarantined;

/// What a batch did to the cache. Every row of it is in exactly one of the counts or lists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// Nodes that now stand in the cache as the batch has them.
    pub nodes_written: u64,
    /// Relationships that now stand in the cache as the batch has them.
    pub relationships_written: u64,
    /// Nodes that were there and are not any more.
    pub nodes_deleted: u64,
    /// Relationships that were there and are not any more, those of deleted nodes included.
    pub relationships_deleted: u64,
    /// Labels taken off nodes that no longer carry them in the source.
    pub labels_removed: u64,
    /// Relationships that were not written because an endpoint is not in the cache.
    pub absent_endpoints: Vec<RelationshipIdentity>,
    /// Rows that FalkorDB refuses, each alone.
    pub refused: Vec<Quarantined>,
}

impl Applied {
    /// Adds what a part of the batch did.
    pub(super) fn add(&mut self, part: Self) {
        self.nodes_written += part.nodes_written;
        self.relationships_written += part.relationships_written;
        self.nodes_deleted += part.nodes_deleted;
        self.relationships_deleted += part.relationships_deleted;
        self.labels_removed += part.labels_removed;
        self.absent_endpoints.extend(part.absent_endpoints);
        self.refused.extend(part.refused);
    }
}
