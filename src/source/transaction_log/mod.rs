//! Neo4j's transaction log, read as a change feed: which elements each committed transaction created, updated and deleted.
//!
//! A Neo4j server of Community writes every commit to `data/transactions/<database>/neostore.transaction.db.<N>` before its
//! client hears of it. A process that can read this directory sees all changes, also those that leave no timestamp and no count.
//! This module turns the bytes of these files into [`Transaction`]s. It never writes, and needs no plugin in the server.
//!
//! `header` reads the header of a file, `transaction` one transaction, and `command` the changes of a transaction to the records
//! of the store. `tail` follows a log from file to file, `landmarks` remembers positions that it has read, and `feed` queues what it
//! tells for the passes of a pipeline: it is a [`ChangeFeed`](super::change_feed::ChangeFeed). Everything
//! is parsed from a [`ReadAt`], so the same code reads a file, a slice and a damaged file. No size in a file is trusted: a length
//! is followed byte by byte until the bytes end.
//!
//! Formats: kernel versions 5 to 33 (Neo4j 5.0 to 2026.09), engine `record`, log formats 8 and 9. Anything else is a
//! [`LogParseError`], and the pipeline falls back to the probe.
//!
//! [`Transaction`]: transaction::Transaction
//! [`ReadAt`]: input::ReadAt
//! [`LogParseError`]: parse_error::LogParseError

#[cfg(feature = "fuzzing")]
pub(super) mod arbitrary;
mod command;
mod directory;
mod elements;
mod extent;
mod feed;
mod follower;
mod header;
mod input;
mod kernel;
mod landmarks;
mod parse_error;
mod property;
mod reach_watch;
mod record;
mod refusal;
mod shared_tail;
mod short_string;
mod tail;
mod transaction;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout)]
mod fixture_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tail_tests;

pub(crate) use directory::LogDirectory;
pub(crate) use extent::{LogRange, keeps_too_little, reaches};
pub(crate) use feed::LoggedDatabase;
pub(crate) use follower::{LogEvent, LogFollower, LogStart};
