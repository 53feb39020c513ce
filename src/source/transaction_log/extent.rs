//! The extent of a log, and whether its server keeps enough of it.

use std::time::Duration;

use serde::Serialize;
use tokio::time::timeout;

use super::directory::LogDirectory;
use super::refusal::LogRefusal;
use super::tail::Tail;
use crate::model::log_position::LogPosition;

/// A server with a smaller limit by size keeps hardly more than the file that it writes: a file has 256 MiB by default.
const SMALL: u64 = 1 << 30;

/// The time limit for a look at a file. A directory that hangs, as a network file system may, tells nothing.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// The transactions that a log holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LogRange {
    /// The first transaction that it holds.
    pub(crate) oldest: u64,
    /// The last transaction that it holds.
    pub(crate) newest: u64,
}

impl LogRange {
    /// Reads the extent of the log in a directory. `created_ms` is the creation time of the database's store, if known.
    pub(crate) fn of(directory: &LogDirectory, created_ms: Option<i64>) -> Result<Self, LogRefusal> {
        let files = directory.open_all()?;
        let oldest = files.values().next().ok_or_else(|| LogRefusal::Empty(directory.path().to_owned()))?;
        if created_ms.is_some_and(|expected| expected != oldest.header.store.created_ms) {
            return Err(LogRefusal::OtherDatabase(directory.path().to_owned()));
        }
        let newest = Tail::newest(directory.clone())?.position().transaction;
        Ok(Self { oldest: oldest.header.last_transaction + 1, newest })
    }
}

/// Whether this `db.tx_log.rotation.retention_policy` keeps too little of the log for a service that is down for a while.
pub(crate) fn keeps_too_little(policy: &str) -> bool {
    let mut words = policy.split_whitespace();
    let (amount, unit) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (digits, scale) = amount.split_at(amount.find(|c: char| !c.is_ascii_digit()).unwrap_or(amount.len()));
    let Ok(number) = digits.parse::<u64>() else { return policy.trim() == "keep_none" || policy.trim() == "false" };
    let scale = match scale.to_ascii_lowercase().as_str() {
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => 1,
    };
    match unit {
        "size" => number.saturating_mul(scale) < SMALL,
        "hours" => number < 24,
        _ => false,
    }
}

/// Whether a log still holds everything after a position, as it was read.
pub(crate) async fn reaches(directory: LogDirectory, position: LogPosition) -> bool {
    let opened = tokio::task::spawn_blocking(move || Tail::resume(directory, &position).is_ok());
    matches!(timeout(OPEN_TIMEOUT, opened).await, Ok(Ok(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_docker_image_sets_is_too_little() {
        for (policy, little) in [
            ("100M size", true),
            ("2 days", false),
            ("2 days 2G", false),
            ("2G size", false),
            ("1 hours", true),
            ("48 hours", false),
            ("keep_all", false),
            ("keep_none", true),
        ] {
            assert_eq!(keeps_too_little(policy), little, "{policy}");
        }
    }
}
