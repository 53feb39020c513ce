//! The indices of the cache, as the status shows them.

use serde::{Deserialize, Serialize};

/// Indices of the cache that differ from the profile's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct IndexStatus {
    /// Indices that are neither the profile's nor the source's: they are left alone.
    pub(crate) foreign: Vec<String>,
    /// Indices of the source that FalkorDB cannot express, with the reason.
    pub(crate) inexpressible: Vec<String>,
    /// Existing indices with which FalkorDB answers wrongly.
    #[serde(rename = "unsafe")]
    pub(crate) unsafe_ones: Vec<String>,
    /// Indices of the profile and the source that are not made, because FalkorDB would answer wrongly with them.
    pub(crate) left_out: Vec<String>,
    /// Indices among these that existed, and were dropped in this generation.
    pub(crate) dropped: Vec<String>,
    /// The constraints of the cache. All are foreign.
    pub(crate) constraints: Vec<String>,
    /// Foreign indices and constraints that the last full sync could not make again, each with its reason.
    pub(crate) lost: Vec<String>,
}
