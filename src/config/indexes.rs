//! The treatment of indices with which FalkorDB answers wrongly.

use super::section::Section;
use crate::model::index::UnsafeIndexPolicy;

/// Settings of the cache's indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexesConfig {
    /// The treatment of range indices over text if the server returns wrong results with them.
    pub unsafe_ones: UnsafeIndexPolicy,
}

const CHOICES: [(&str, UnsafeIndexPolicy); 2] = [("drop", UnsafeIndexPolicy::Drop), ("keep", UnsafeIndexPolicy::Keep)];

impl IndexesConfig {
    pub(super) fn read(section: &Section<'_>) -> Self {
        Self { unsafe_ones: section.choice("unsafe", &CHOICES).unwrap_or(UnsafeIndexPolicy::Drop) }
    }
}
