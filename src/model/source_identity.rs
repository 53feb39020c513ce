//! The identity of the database that a pipeline reads.

use serde::{Deserialize, Serialize};

/// The identity of a source database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceIdentity {
    /// The id of the store.
    pub id: String,
    /// The name of the database.
    pub name: String,
}
