//! The effect of a batch on the cache.

use crate::model::element::RelationshipIdentity;
use crate::model::quarantined::Quarantined;

/// The effect of a batch on the cache. Every row of the batch is in exactly one of the counts or lists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApplyResult {
    /// Nodes that the cache now holds as the batch has them.
    pub nodes_written: u64,
    /// Relationships that the cache now holds as the batch has them.
    pub relationships_written: u64,
    /// Nodes that were deleted from the cache.
    pub nodes_deleted: u64,
    /// Relationships that were deleted from the cache, including those of deleted nodes.
    pub relationships_deleted: u64,
    /// Labels removed from nodes that no longer carry them in the source.
    pub labels_removed: u64,
    /// Relationships that were not written because an endpoint is not in the cache.
    pub absent_endpoints: Vec<RelationshipIdentity>,
    /// Rows that FalkorDB refuses individually.
    pub refused: Vec<Quarantined>,
}

impl ApplyResult {
    /// Adds the effect of a part of the batch.
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
