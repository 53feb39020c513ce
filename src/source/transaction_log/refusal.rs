//! Why a log cannot be followed, in sentences for the operator. None of them stops the pipeline: the probe goes on.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::oddity::Oddity;

/// Why a log is not followed, or not any more.
#[derive(Debug, Error)]
pub enum LogRefusal {
    /// The directory or a file of it is missing or not readable.
    #[error("cannot read {path}: {source}", path = path.display())]
    Directory {
        /// What cannot be read.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no log in the directory.
    #[error("{path} holds no transaction log of a database", path = .0.display())]
    Empty(PathBuf),
    /// A file that was renamed, or copied from elsewhere.
    #[error("{path} is file {number} of its log by its header", path = path.display())]
    Misnamed {
        /// The file.
        path: PathBuf,
        /// The number in its header.
        number: u64,
    },
    /// The log is of another store than before.
    #[error("the log belongs to another store than before: the database was replaced")]
    OtherStore,
    /// The log does not reach back to where reading has to go on.
    #[error("the log begins after transaction {wanted}: {oldest} is the first one that it still holds")]
    Pruned {
        /// The last transaction that was read.
        wanted: u64,
        /// The first transaction of the oldest file.
        oldest: u64,
    },
    /// What was read once is not there, or something else is.
    #[error("transaction {0} is not in the log as it was read: the database was restored, or lost its last transactions")]
    OtherHistory(u64),
    /// The log has a gap.
    #[error("file {0} of the log is missing, and a later one is there")]
    MissingFile(u64),
    /// A log that this program does not know how to read.
    #[error(transparent)]
    Odd(#[from] Oddity),
}
