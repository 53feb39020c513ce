//! A place in Neo4j's transaction log, as the checkpoint keeps it.

use serde::{Deserialize, Serialize};

/// The identity of a store: a copy of a store has the same id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct StoreId {
    /// The time of its creation, in milliseconds since 1970.
    pub created_ms: i64,
    /// A random number of the store.
    pub random: i64,
    /// The family of the store's format, `aligned` or `standard`.
    pub format: String,
}

/// A place in a log, after a transaction that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogPosition {
    /// The store that the log belongs to.
    pub store: StoreId,
    /// The number of the file.
    pub file: u64,
    /// The offset in the file at which the last transaction that was read begins. Absent if none of the file was read.
    pub start: Option<u64>,
    /// The offset at which the next transaction begins.
    pub offset: u64,
    /// The id of the last transaction that was read.
    pub transaction: u64,
    /// Its checksum. Absent if the log no longer holds the transaction.
    pub checksum: Option<u32>,
}
