//! Checks from time to time how far back a log reaches.

use std::time::{Duration, Instant};

use chrono::DateTime;

use super::directory::LogDirectory;
use super::refusal::LogRefusal;
use super::tail::{NextTransaction, Tail};
use crate::model::log_reach::LogReach;

/// The interval between looks. A server prunes its log only after a checkpoint of its store, minutes apart.
const LOOKS_APART: Duration = Duration::from_secs(10);

/// The beginning of a log, as last seen.
#[derive(Debug, Default)]
pub(super) struct ReachWatch {
    /// The number of the oldest file.
    file: Option<u64>,
    known: Option<LogReach>,
    looked: Option<Instant>,
}

impl ReachWatch {
    /// Returns the log's reach if it changed since the last look, and that look is long enough ago. A log that cannot be read is
    /// checked again later: nothing depends on it.
    pub(super) fn look(&mut self, directory: &LogDirectory) -> Option<LogReach> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOKS_APART) {
            return None;
        }
        self.looked = Some(Instant::now());
        let file = *directory.numbers().ok()?.first()?;
        let is_complete = self.known.as_ref().is_some_and(|known| known.oldest_at.is_some());
        if self.file == Some(file) && is_complete {
            return None;
        }
        let reach = reach_of(directory, file).ok().flatten()?;
        self.file = Some(file);
        let is_news = self.known.as_ref() != Some(&reach);
        self.known = Some(reach.clone());
        is_news.then_some(reach)
    }
}

fn reach_of(directory: &LogDirectory, file: u64) -> Result<Option<LogReach>, LogRefusal> {
    let Some(oldest) = directory.open(file)? else { return Ok(None) };
    let before = oldest.header.last_transaction;
    let oldest_at = match Tail::after(directory.clone(), before)?.next(&|_| false)? {
        NextTransaction::Transaction(transaction) => DateTime::from_timestamp_millis(transaction.committed_ms),
        NextTransaction::Nothing | NextTransaction::Unwhole => None,
    };
    Ok(Some(LogReach { oldest: before + 1, oldest_at }))
}
