//! What a pipeline is doing.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::comparison::ComparisonUnderWay;
use crate::model::leader::Leader;
use crate::model::pass::{Cursor, PassMode, Totals};

/// How a pass learns what changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ChangeDetection {
    /// The pass looks for changes in the source.
    #[default]
    Probe,
    /// The source's transaction log told the changes.
    TransactionLog,
}

/// The present state of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum PipelineState {
    /// Connecting, and deciding what to do first.
    Starting,
    Running {
        mode: PassMode,
        /// The beginning of the pass, by this machine's clock.
        since: DateTime<Utc>,
        /// The results of the pass so far.
        totals: Totals,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<Cursor>,
    },
    /// The pipeline is in step, and waits for the next pass.
    Idle,
    /// An operator has paused the passes.
    Paused,
    /// The pipeline waits before the next attempt.
    BackingOff {
        until: DateTime<Utc>,
    },
    /// Another process leads the pipeline. This one takes over once that process has gone.
    Standby {
        leader: Leader,
        /// The beginning of the standby, by this machine's clock.
        since: DateTime<Utc>,
    },
    /// The pipeline needs an operator; it is retried at long intervals.
    Halted,
    Stopping,
    Stopped,
}

/// The progress of a full sync beside the graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FullSyncStatus {
    /// The beginning of the full sync, by this machine's clock.
    pub since: DateTime<Utc>,
    /// The present pass of its stage: a full pass fills it, incremental passes let it catch up.
    pub pass: PassMode,
    /// The results of that pass so far.
    pub totals: Totals,
    /// The number of the source's elements when it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
}

/// The progress of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ComparisonStatus {
    /// The beginning of the comparison, by this machine's clock.
    pub since: DateTime<Utc>,
    /// The number of elements compared so far.
    pub rows: u64,
    /// The number of the source's elements when it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
    /// The number of differing elements so far.
    pub differences: u64,
}

impl From<ComparisonUnderWay> for ComparisonStatus {
    fn from(comparison: ComparisonUnderWay) -> Self {
        let ComparisonUnderWay { began_at, rows, expected, findings, .. } = comparison;
        Self { since: began_at, rows, expected, differences: findings }
    }
}

/// The rows between reading and acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct InFlight {
    pub batches: usize,
    /// Rows, including those being read.
    pub rows: usize,
    /// Their bytes in memory.
    pub bytes: usize,
}
