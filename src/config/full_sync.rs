//! The settings for building a graph anew.

use super::section::Section;

/// The settings for building a graph anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FullSyncConfig {
    /// The place where the new graph is built.
    pub strategy: FullSyncStrategy,
    /// Whether the replaced graph is kept for a rollback, at the cost of its memory.
    pub keep_previous: bool,
}

/// The place where a new graph is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FullSyncStrategy {
    /// Beside the live graph, which the new one replaces in one step. Until then both take memory.
    Shadow,
    /// In the live graph itself: this takes no further memory, but readers see an incomplete graph.
    InPlace,
}

const STRATEGIES: [(&str, FullSyncStrategy); 2] = [("shadow", FullSyncStrategy::Shadow), ("in_place", FullSyncStrategy::InPlace)];

impl FullSyncConfig {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let strategy = section.choice("strategy", &STRATEGIES).unwrap_or(FullSyncStrategy::Shadow);
        let keep_previous = section.flag("keep_previous").unwrap_or(false);
        if keep_previous && strategy == FullSyncStrategy::InPlace {
            section.problem("keep_previous", "is not possible with full_sync.strategy in_place, which replaces no graph");
        }
        Self { strategy, keep_previous }
    }
}
