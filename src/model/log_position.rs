//! A place in Neo4j's transaction log, as the checkpoint keeps it.

use serde::{Deserialize, Serialize};

/// What tells one store from another: a copy of it has the same id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StoreId {
    /// When it was created, in milliseconds since 1970.
    pub created_ms: i64,
    /// A random number.
    pub random: i64,
    /// The family of the store's format, `aligned` or `standard`.
    pub format: String,
}

/// A place in a log: after a transaction that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    /// The store that the log belongs to.
    pub store: StoreId,
    /// The number of the file.
    pub file: u64,
    /// Where the last transaction that was read begins in the file; absent where none of the file was read.
    pub start: Option<u64>,
    /// Where the next one begins.
    pub offset: u64,
    /// The id of the last transaction that was read.
    pub transaction: u64,
    /// Its checksum; absent where the log does not hold it any more.
    pub checksum: Option<u32>,
}
