//! The numbers of a pipeline since this process began. Field names are an interface.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::changes::{BatchChanges, CacheOperation};
use crate::model::pass::{PassMode, PassSummary, Totals};

/// The numbers of a pipeline since this process began.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Statistics {
    /// Rows read from the source.
    pub rows_read: u64,
    /// Rows that the cache already held.
    pub rows_unchanged: u64,
    pub nodes_written: u64,
    pub relationships_written: u64,
    /// Nodes and relationships deleted.
    pub elements_deleted: u64,
    /// The number of keys transferred from both sides to find what only one of them has.
    #[serde(default)]
    pub keys_listed: u64,
    pub passes: BTreeMap<PassMode, PassCount>,
    /// Rows by label or type, including those of a stage.
    #[serde(default)]
    pub kinds: BTreeMap<String, KindCount>,
    /// Batches that are applied and acknowledged, including those of a stage.
    #[serde(default)]
    pub batches: u64,
    /// Faults by the word for their cause.
    #[serde(default)]
    pub faults: BTreeMap<String, u64>,
    /// Differences that comparisons found although the transaction log had proven equality.
    #[serde(default)]
    pub audit_differences: u64,
    /// The times that commits took from being seen to being readable.
    #[serde(default)]
    pub freshness: Freshness,
}

/// The counts of rows of one label or type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct KindCount {
    /// Rows read from the source.
    pub read: u64,
    /// Rows written to the cache.
    pub written: u64,
    /// Rows deleted from the cache.
    pub deleted: u64,
}

/// The times that commits took to be readable in the cache: from the time in the transaction log, otherwise from when a probe saw
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Freshness {
    /// The number of measured commits: the first of each pass's commits.
    pub count: u64,
    /// The sum of all these times.
    pub seconds: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seconds: Option<f64>,
}

/// Passes of one strategy.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct PassCount {
    pub ended: u64,
    /// Passes that a fault ended early.
    pub failed: u64,
    /// The total duration of the passes that ended.
    pub seconds: f64,
}

impl Statistics {
    /// Counts the progress of a pass between two acknowledgements.
    pub(crate) fn add_progress(&mut self, before: &Totals, now: &Totals) {
        self.rows_read += now.read.saturating_sub(before.read);
        self.rows_unchanged += now.unchanged.saturating_sub(before.unchanged);
        self.nodes_written += now.nodes.saturating_sub(before.nodes);
        self.relationships_written += now.relationships.saturating_sub(before.relationships);
        self.elements_deleted += now.deleted.saturating_sub(before.deleted);
        self.keys_listed += now.keys_listed.saturating_sub(before.keys_listed);
    }

    /// Counts the rows that a batch read and changed.
    pub(crate) fn add_changes(&mut self, changes: &BatchChanges) {
        self.batches += u64::from(!changes.is_empty());
        for (kind, rows) in &changes.read {
            self.kinds.entry(kind.clone()).or_default().read += rows;
        }
        for change in &changes.kinds {
            let count = self.kinds.entry(change.kind.clone()).or_default();
            match change.operation {
                CacheOperation::Written | CacheOperation::Created | CacheOperation::Updated => count.written += change.count,
                CacheOperation::Deleted => count.deleted += change.count,
            }
        }
    }

    pub(crate) fn add_fault(&mut self, cause: &str) {
        *self.faults.entry(cause.to_owned()).or_default() += 1;
    }

    /// Counts a commit that has become readable.
    pub(crate) fn add_freshness(&mut self, seconds: f64) {
        let Freshness { count, seconds: sum, last_seconds } = &mut self.freshness;
        (*count, *sum, *last_seconds) = (*count + 1, *sum + seconds, Some(seconds));
    }

    /// Elements written and deleted, of all kinds.
    pub(crate) fn changed(&self) -> u64 {
        self.kinds.values().map(|count| count.written + count.deleted).sum()
    }

    /// Counts a pass that ended.
    pub(crate) fn add_ended(&mut self, mode: PassMode, took: Duration) {
        let count = self.passes.entry(mode).or_default();
        count.ended += 1;
        count.seconds += took.as_secs_f64();
    }

    /// Counts a pass that a fault ended early.
    pub(crate) fn add_failed(&mut self, mode: PassMode) {
        self.passes.entry(mode).or_default().failed += 1;
    }
}

/// A pass that is over, with either result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PassRecord {
    #[serde(flatten)]
    pub pass: PassSummary,
    /// Whether the pass ended or failed.
    pub result: PassResult,
    /// The error that ended the pass early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The result of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PassResult {
    /// All rows that the pass read are applied.
    Ended,
    /// A fault ended the pass early.
    Failed,
}

impl From<PassSummary> for PassRecord {
    fn from(pass: PassSummary) -> Self {
        Self { pass, result: PassResult::Ended, error: None }
    }
}

/// The speed of a pipeline in one second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct ThroughputSample {
    /// The end of the second.
    pub at: DateTime<Utc>,
    /// Elements written and deleted in the second.
    pub changed_per_second: f64,
    /// Seconds since the first commit was seen that is not applied.
    pub seconds_behind: f64,
    /// Seconds that the last commit took from being seen to being readable. Absent before the first commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freshness_seconds: Option<f64>,
}
