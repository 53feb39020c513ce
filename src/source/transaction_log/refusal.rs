//! Why a log cannot be followed, in sentences for the operator. None of them stops the pipeline: the probe goes on.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::parse_error::LogParseError;

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
    /// The log of another database than the one that is read.
    #[error("{path} holds the log of another database than the one that neo4j.uri leads to", path = .0.display())]
    OtherDatabase(PathBuf),
    /// The log is of another store than before.
    #[error("the log belongs to another store than before: the database was replaced")]
    OtherStore,
    /// The log does not reach back to where reading has to go on.
    #[error("the log begins after transaction {last_read}: {oldest} is the first one that it still holds")]
    Pruned {
        /// The last transaction that was read.
        last_read: u64,
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
    Odd(#[from] LogParseError),
}

impl LogRefusal {
    /// Whether what was committed since the last transaction that was read cannot be told any more.
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

    /// What an operator can do about it.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            LogRefusal::Directory { .. } => {
                "let the user of this program read the directory: its files are readable for all unless the server's umask says otherwise"
            }
            LogRefusal::Empty(_) | LogRefusal::Misnamed { .. } | LogRefusal::OtherDatabase(_) => {
                "set neo4j.transaction_log.directory to data/transactions/<database> of the server that neo4j.uri names"
            }
            LogRefusal::Pruned { .. } | LogRefusal::MissingFile(_) => {
                "have the server keep its log for longer: db.tx_log.rotation.retention_policy=2 days"
            }
            LogRefusal::OtherStore | LogRefusal::OtherHistory(_) => "no action needed: a comparison finds what changed",
            LogRefusal::Odd(_) => "update this program: it does not know how this server writes its log",
        }
    }
}
