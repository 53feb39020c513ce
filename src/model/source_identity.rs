//! Which database a pipeline reads.

use serde::{Deserialize, Serialize};

/// What tells one source database from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceIdentity {
    /// The store's id.
    pub id: String,
    /// The database's name.
    pub name: String,
}
