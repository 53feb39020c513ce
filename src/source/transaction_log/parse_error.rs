//! What is not as a log is written.

use thiserror::Error;

/// Bytes that are not what the format says. While the server writes them, they can be any prefix of an entry followed by zeros, so
/// an oddity means "not yet" until a bookmark names the transaction; only then it means that the format is unknown or the file
/// damaged.
#[derive(Debug, Error)]
pub enum LogParseError {
    /// The bytes end within a header, an entry or a transaction.
    #[error("the bytes end within an entry")]
    Unfinished,
    /// A file that is not a log of a known format.
    #[error("log format {0} is not known")]
    LogFormat(u8),
    /// A header whose parts do not fit together.
    #[error("the header of the file is not one of a transaction log")]
    Header,
    /// A storage engine other than the one of Community.
    #[error("the storage engine is {0:?}, not \"record\"")]
    Engine(String),
    /// A server that is newer than this program.
    #[error("kernel version {0} is not known")]
    Kernel(u8),
    /// Another kernel version within a transaction.
    #[error("the kernel version changes within a transaction")]
    KernelChanges,
    /// An entry that is not known, or not at its place.
    #[error("log entry {0} is not known, or not expected here")]
    Entry(u8),
    /// A command that is not known.
    #[error("command {0} is not known")]
    Command(u8),
    /// A length below zero, or a count that no record has.
    #[error("a length is {0}")]
    Length(i64),
    /// A kind of value that is not known.
    #[error("value kind {0} is not known")]
    ValueKind(u8),
    /// The bytes are not those that the server wrote.
    #[error("the checksum does not fit")]
    Checksum,
    /// A transaction that does not follow the one before it.
    #[error("transaction {found} follows {last}")]
    Sequence {
        /// The transaction before.
        last: u64,
        /// The transaction that was found.
        found: i64,
    },
    /// The transaction before is not the one that this one follows.
    #[error("the checksum of the transaction before does not fit")]
    PreviousChecksum,
    /// A changed property of which the log does not say to which element it belongs.
    #[error("a property has no owner")]
    Unowned,
    /// The file cannot be read.
    #[error("the log cannot be read: {0}")]
    Io(#[from] std::io::Error),
}
