//! The state of the service as it is shown: by the API, by `status`, on the page. Field names are an interface.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::bookmark::Bookmark;
use crate::model::pass::{Cursor, Mode, PassSummary, Totals};
use crate::source::OutsideProfile;

/// The whole service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Each pipeline by name.
    pub pipelines: BTreeMap<String, PipelineStatus>,
}

/// One pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineStatus {
    /// Its name.
    pub name: String,
    /// The graph that it keeps.
    pub graph: String,
    /// What it does now.
    pub state: PipelineState,
    /// The generation of its actors.
    pub generation: u64,
    /// Generations that ended by a fault.
    pub faults: u64,
    /// The last fault, with its remedy; absent once a pass has ended after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_fault: Option<FaultReport>,
    /// The number of the last checkpoint.
    pub checkpoint_sequence: u64,
    /// Changes of the source were read up to here, by its own clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<DateTime<Utc>>,
    /// The source's bookmark at the last look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_bookmark: Option<Bookmark>,
    /// Source and cache were found equal as of this bookmark, in this generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equal_as_of: Option<Bookmark>,
    /// The last pass that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_pass: Option<PassSummary>,
    /// Elements and properties that the cache cannot hold.
    pub quarantined: u64,
    /// What the source holds besides the profile's kinds.
    pub outside_profile: OutsideProfile,
    /// What is between reading and acknowledgement.
    pub in_flight: InFlight,
}

/// What a pipeline does now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum PipelineState {
    /// Connecting, and deciding what to do first.
    Starting,
    /// A pass runs.
    Running {
        /// Its strategy.
        mode: Mode,
        /// Since when, by this machine's clock.
        since: DateTime<Utc>,
        /// What it did so far.
        totals: Totals,
        /// Where it stands.
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<Cursor>,
    },
    /// In step; waiting for the next pass.
    Idle,
    /// Waiting before the next attempt.
    BackingOff {
        /// Until when.
        until: DateTime<Utc>,
    },
    /// Something needs a person; it is tried again at long intervals.
    Halted,
    /// Ending.
    Stopping,
    /// Ended.
    Stopped,
}

/// A fault as an operator reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultReport {
    /// When.
    pub at: DateTime<Utc>,
    /// What, with its causes.
    pub error: String,
    /// What to do.
    pub remedy: String,
}

/// What is between reading and acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InFlight {
    /// Batches.
    pub batches: usize,
    /// Rows, those being read included.
    pub rows: usize,
    /// Their weight in memory.
    pub bytes: usize,
}

impl PipelineStatus {
    /// A pipeline that has not begun.
    pub fn new(name: impl Into<String>, graph: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            graph: graph.into(),
            state: PipelineState::Starting,
            generation: 0,
            faults: 0,
            last_fault: None,
            checkpoint_sequence: 0,
            watermark: None,
            source_bookmark: None,
            equal_as_of: None,
            last_pass: None,
            quarantined: 0,
            outside_profile: OutsideProfile::default(),
            in_flight: InFlight::default(),
        }
    }

    /// Whether readers of the cache can rely on it: it was filled once, nothing is broken, and no full pass tears it.
    pub fn is_in_step(&self) -> bool {
        let working = match &self.state {
            PipelineState::Idle => true,
            PipelineState::Running { mode, .. } => *mode != Mode::Full,
            _ => false,
        };
        working && self.watermark.is_some()
    }

    /// Seconds since the last pass that ended began: nothing older than that is missing.
    pub fn lag_seconds(&self, now: DateTime<Utc>) -> Option<f64> {
        self.last_pass.as_ref().map(|pass| (now - pass.began_at).as_seconds_f64())
    }
}
