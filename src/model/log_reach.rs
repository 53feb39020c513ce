//! The reach of a transaction log.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The reach of a transaction log: a service that was down for longer finds changes by comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogReach {
    /// The first transaction that the log holds.
    pub oldest: u64,
    /// The time of its commit, by the server's clock. Absent if the oldest file holds no transaction yet.
    pub oldest_at: Option<DateTime<Utc>>,
}

impl LogReach {
    /// The number of its oldest transactions that the log can lose before one after `applied` is missing: the margin of a checkpoint.
    /// Negative if some are missing already.
    pub(crate) fn margin(&self, applied: u64) -> i64 {
        let next = i64::try_from(applied).unwrap_or(i64::MAX).saturating_add(1);
        next.saturating_sub(i64::try_from(self.oldest).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_margin_ends_where_the_log_lacks_the_next_transaction() {
        let reach = LogReach { oldest: 100, oldest_at: None };
        assert_eq!([150, 100, 99, 98].map(|applied| reach.margin(applied)), [51, 1, 0, -1]);
    }
}
