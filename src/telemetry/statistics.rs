//! What a pipeline did since this process began, in numbers. Field names are an interface.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::changes::{BatchChanges, Operation};
use crate::model::pass::{Mode, PassSummary, Totals};

/// What a pipeline did since this process began.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Statistics {
    /// Rows read from the source.
    pub rows_read: u64,
    /// Rows that stood in the cache already.
    pub rows_unchanged: u64,
    pub nodes_written: u64,
    pub relationships_written: u64,
    /// Nodes and relationships deleted.
    pub elements_deleted: u64,
    /// Keys that travelled, of both sides, to find what only one of them has.
    #[serde(default)]
    pub keys_listed: u64,
    pub passes: BTreeMap<Mode, PassCount>,
    /// Rows by label or type, those of a stage included.
    #[serde(default)]
    pub kinds: BTreeMap<String, KindCount>,
    /// Batches that are applied and acknowledged, those of a stage included.
    #[serde(default)]
    pub batches: u64,
    /// Faults by what went wrong.
    #[serde(default)]
    pub faults: BTreeMap<String, u64>,
    /// Differences that comparisons found where the transaction log had proven equality.
    #[serde(default)]
    pub audit_differences: u64,
    /// How long commits took from being seen to being readable.
    #[serde(default)]
    pub freshness: Freshness,
}

/// What happened to the rows of one label or type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KindCount {
    /// Read from the source.
    pub read: u64,
    /// Written to the cache.
    pub written: u64,
    /// Deleted from the cache.
    pub deleted: u64,
}

/// How long commits took to be readable in the cache: from the time that the transaction log tells, else from being seen by a probe.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Freshness {
    /// How many were measured: the first of those that a pass brought.
    pub count: u64,
    /// All of them together.
    pub seconds: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seconds: Option<f64>,
}

/// Passes of one strategy.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct PassCount {
    pub ended: u64,
    /// Those that a fault broke off.
    pub failed: u64,
    /// How long those that ended took, together.
    pub seconds: f64,
}

impl Statistics {
    /// Counts what a pass did between two acknowledgements.
    pub fn add_progress(&mut self, before: &Totals, now: &Totals) {
        self.rows_read += now.read.saturating_sub(before.read);
        self.rows_unchanged += now.unchanged.saturating_sub(before.unchanged);
        self.nodes_written += now.nodes.saturating_sub(before.nodes);
        self.relationships_written += now.relationships.saturating_sub(before.relationships);
        self.elements_deleted += now.deleted.saturating_sub(before.deleted);
        self.keys_listed += now.keys_listed.saturating_sub(before.keys_listed);
    }

    /// Counts what a batch read and changed.
    pub fn add_changes(&mut self, changes: &BatchChanges) {
        self.batches += u64::from(!changes.is_empty());
        for (kind, rows) in &changes.read {
            self.kinds.entry(kind.clone()).or_default().read += rows;
        }
        for change in &changes.kinds {
            let count = self.kinds.entry(change.kind.clone()).or_default();
            match change.operation {
                Operation::Written | Operation::Created | Operation::Updated => count.written += change.count,
                Operation::Deleted => count.deleted += change.count,
            }
        }
    }

    pub fn add_fault(&mut self, cause: &str) {
        *self.faults.entry(cause.to_owned()).or_default() += 1;
    }

    /// Counts a commit that has become readable.
    pub fn add_freshness(&mut self, seconds: f64) {
        let Freshness { count, seconds: sum, last_seconds } = &mut self.freshness;
        (*count, *sum, *last_seconds) = (*count + 1, *sum + seconds, Some(seconds));
    }

    /// Elements written and deleted, of all kinds.
    pub fn changed(&self) -> u64 {
        self.kinds.values().map(|count| count.written + count.deleted).sum()
    }

    /// Counts a pass that ended.
    pub fn add_ended(&mut self, mode: Mode, took: Duration) {
        let count = self.passes.entry(mode).or_default();
        count.ended += 1;
        count.seconds += took.as_secs_f64();
    }

    /// Counts a pass that a fault broke off.
    pub fn add_failed(&mut self, mode: Mode) {
        self.passes.entry(mode).or_default().failed += 1;
    }
}

/// A pass that is over, whatever way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PassRecord {
    #[serde(flatten)]
    pub pass: PassSummary,
    /// Whether it came to its end.
    pub result: PassResult,
    /// What broke it off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How a pass was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PassResult {
    /// All that it read is applied.
    Ended,
    /// A fault broke it off.
    Failed,
}

impl From<PassSummary> for PassRecord {
    fn from(pass: PassSummary) -> Self {
        Self { pass, result: PassResult::Ended, error: None }
    }
}

/// How fast a pipeline was in one second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The end of that second.
    pub at: DateTime<Utc>,
    /// Elements written and deleted in it.
    pub changed_per_second: f64,
    /// Seconds that a commit has been seen and is not applied.
    pub seconds_behind: f64,
    /// Seconds that the last commit took from being seen to being readable; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freshness_seconds: Option<f64>,
}
