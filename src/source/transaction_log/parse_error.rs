//! Errors for bytes that do not form a valid log.

use thiserror::Error;

/// Bytes that do not match the format. While the server writes an entry, any prefix of it can be there, followed by zeros. So an
/// oddity means "not yet" until a bookmark names the transaction; only then does it mean that the format is unknown or the file
/// damaged.
#[derive(Debug, Error)]
pub(crate) enum LogParseError {
    /// The bytes end within a header, an entry or a transaction.
    #[error("the bytes end within an entry")]
    Unfinished,
    /// A file that is not a log of a known format.
    #[error("unknown log format {0}")]
    LogFormat(u8),
    /// A header with parts that do not fit together.
    #[error("the file has no header of a transaction log")]
    Header,
    /// A storage engine other than Community's.
    #[error("the storage engine is {0:?}, not \"record\"")]
    Engine(String),
    /// A server that is newer than this program.
    #[error("unknown kernel version {0}")]
    Kernel(u8),
    /// A kernel version that changes within a transaction.
    #[error("the kernel version changes within a transaction")]
    KernelChanges,
    /// An entry that is unknown or out of place.
    #[error("log entry {0} is unknown or unexpected here")]
    Entry(u8),
    /// A command that is not known.
    #[error("unknown command {0}")]
    Command(u8),
    /// A length below zero, or a count that no record has.
    #[error("invalid length {0}")]
    Length(i64),
    /// A kind of value that is not known.
    #[error("unknown value kind {0}")]
    ValueKind(u8),
    /// The bytes differ from what the server wrote.
    #[error("the checksum does not match")]
    Checksum,
    /// A transaction that does not follow the one before it.
    #[error("transaction {found} follows {last}")]
    Sequence {
        /// The transaction before it.
        last: u64,
        /// The transaction that was found.
        found: i64,
    },
    /// The checksum in this transaction is not that of the transaction before.
    #[error("the checksum of the previous transaction does not match")]
    PreviousChecksum,
    /// A changed property without an element: the log does not name the owner.
    #[error("a property has no owner")]
    Unowned,
    /// The file cannot be read.
    #[error("cannot read the log: {0}")]
    Io(#[from] std::io::Error),
}
