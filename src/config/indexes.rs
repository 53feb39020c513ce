//! The treatment of indices with which FalkorDB answers wrongly.

use super::section::Section;
use crate::model::index::UnsafeIndexes;

/// Settings of the cache's indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexesConfig {
    /// The treatment of range indices over text if the server returns wrong results with them.
    pub unsafe_ones: UnsafeIndexes,
}

const CHOICES: [(&str, UnsafeIndexes); 2] = [("drop", UnsafeIndexes::Drop), ("keep", UnsafeIndexes::Keep)];

impl IndexesConfig {
    pub(super) fn read(section: &Section<'_>) -> Self {
        Self { unsafe_ones: section.choice("unsafe", &CHOICES).unwrap_or(UnsafeIndexes::Drop) }
    }
}
