//! Reasons why a log cannot be followed, in sentences for the operator. None of them stops the pipeline: the probe goes on.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::parse_error::LogParseError;

/// The reason why a log is not followed, or no longer followed.
#[derive(Debug, Error)]
pub(crate) enum LogRefusal {
    /// The directory or a file of it is missing or not readable.
    #[error("cannot read {path}: {source}", path = path.display())]
    Directory {
        /// The path that cannot be read.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// There is no log in the directory.
    #[error("{path} contains no transaction log", path = .0.display())]
    Empty(PathBuf),
    /// A file that was renamed, or copied from elsewhere.
    #[error("the header of {path} names file {number} of the log", path = path.display())]
    Misnamed {
        /// The path of the file.
        path: PathBuf,
        /// The number in its header.
        number: u64,
    },
    /// The log belongs to another database than the service reads.
    #[error("{path} contains the log of another database than the one that neo4j.uri names", path = .0.display())]
    OtherDatabase(PathBuf),
    /// The log belongs to another store than before.
    #[error("the log belongs to another store than before: the database was replaced")]
    OtherStore,
    /// The log does not reach back to the place where reading must go on.
    #[error("the log begins after transaction {last_read}: the first transaction that it still contains is {oldest}")]
    Pruned {
        /// The last transaction that was read.
        last_read: u64,
        /// The first transaction of the oldest file.
        oldest: u64,
    },
    /// A transaction that was read is missing, or another one is in its place.
    #[error(
        "the log no longer contains transaction {0} as it was read: the database was restored, or lost its last transactions"
    )]
    OtherHistory(u64),
    /// The log lacks a file between others.
    #[error("file {0} of the log is missing, but a later file exists")]
    MissingFile(u64),
    /// A log that this program does not know how to read.
    #[error(transparent)]
    Odd(#[from] LogParseError),
}

impl LogRefusal {
    /// Whether the log can no longer tell what was committed since the last transaction that was read.
    pub(crate) fn is_another_history(&self) -> bool {
        match self {
            LogRefusal::OtherStore | LogRefusal::Pruned { .. } | LogRefusal::OtherHistory(_) | LogRefusal::MissingFile(_) => true,
            LogRefusal::Directory { .. }
            | LogRefusal::Empty(_)
            | LogRefusal::Misnamed { .. }
            | LogRefusal::OtherDatabase(_)
            | LogRefusal::Odd(_) => false,
        }
    }

    /// Returns what an operator can do about the refusal.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            LogRefusal::Directory { .. } => "give the user of this program read access to the directory and its files",
            LogRefusal::Empty(_) | LogRefusal::Misnamed { .. } | LogRefusal::OtherDatabase(_) => {
                "set neo4j.transaction_log.directory to data/transactions/<database> of the server that neo4j.uri names"
            }
            LogRefusal::Pruned { .. } | LogRefusal::MissingFile(_) => {
                "set db.tx_log.rotation.retention_policy=2 days in Neo4j, so that it keeps its log for longer"
            }
            LogRefusal::OtherStore | LogRefusal::OtherHistory(_) => "no action needed: a comparison finds the changes",
            LogRefusal::Odd(_) => "update this program: it does not support the log format of this server",
        }
    }
}
