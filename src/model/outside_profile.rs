//! The content of the source besides the kinds of the profile.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The content of the source besides the profile's kinds, counted by label set and by type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideProfile {
    /// Nodes by their labels, joined by colons.
    pub nodes: BTreeMap<String, u64>,
    /// Relationships by their type.
    pub relationships: BTreeMap<String, u64>,
}
