//! The state of the service as the API, `status` and the page show it. Field names are an interface.

mod index_status;
mod side;
mod state;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub(crate) use super::statistics::{PassRecord, PassResult, Statistics, ThroughputSample};
pub(crate) use index_status::IndexStatus;
pub(crate) use side::{FaultReport, Side, SideFailure};
pub(crate) use state::{ChangeDetection, ComparisonStatus, FullSyncStatus, InFlight, PipelineState};

use super::unapplied::UnappliedCommits;
use crate::model::bookmark::Bookmark;
use crate::model::comparison::ProofExceptions;
use crate::model::guard::HeldDeletes;
use crate::model::leader::Leader;
use crate::model::log_reach::LogReach;
use crate::model::outside_profile::OutsideProfile;
use crate::model::pass::{PassMode, PassSummary, Totals};
use crate::model::quarantined::Quarantined;

/// The most passes in the history: with a commit every second or two, the last few minutes; with quiet sources, days.
pub(crate) const HISTORY: usize = 100;

/// The most entries of the quarantine that are shown. If there are more, a rule does not fit the data, and the first entries show
/// which.
pub(crate) const QUARANTINE_SHOWN: usize = 1000;

/// The number of quarantine entries at which the service reports that it is not ready. One poison row is the row's fault; nobody
/// reads this many entries, and their elements are missing in the cache.
pub(crate) const QUARANTINE_ALARM: usize = 10_000;
/// The most samples of each pipeline: five minutes at one a second.
pub(crate) const SAMPLES: usize = 300;

/// The number of consecutive failures after which a side counts as unreachable: a single failure may be temporary.
pub(crate) const UNREACHABLE_FAILURES: u32 = 2;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct ServiceStatus {
    /// The pipelines by name.
    pub pipelines: BTreeMap<String, PipelineStatus>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PipelineStatus {
    pub name: String,
    /// The graph that the pipeline keeps.
    pub graph: String,
    /// The present state of the pipeline.
    pub state: PipelineState,
    /// The generation of its actors.
    pub generation: u64,
    /// Whether this process leads the pipeline, as far as it knows, also between two generations.
    #[serde(skip)]
    pub leads: bool,
    /// Generations that a fault ended.
    pub faults: u64,
    /// The last fault, with its remedy. Absent once a pass has ended after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_fault: Option<FaultReport>,
    /// The number of the last checkpoint.
    pub checkpoint_sequence: u64,
    /// The time up to which changes of the source were read, by its own clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<DateTime<Utc>>,
    /// The source's bookmark when it was last read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_bookmark: Option<Bookmark>,
    /// The bookmark as of which source and cache were found equal, in this generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equal_as_of: Option<Bookmark>,
    /// The exceptions of the last comparison by rule: a proof does not cover them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excepted: Option<ProofExceptions>,
    /// Elements of the cache that the last comparison found without a kind of the profile or a usable key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub foreign: BTreeMap<String, u64>,
    /// The comparison under way. Absent until its first slice in this generation has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<ComparisonStatus>,
    /// The end of the last comparison, by this machine's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared_at: Option<DateTime<Utc>>,
    /// The number of the order that began the last comparison that proved equality; 0 if none did since the generation began.
    #[serde(default)]
    pub proven_by: u64,
    /// Deletes that wait for approval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<HeldDeletes>,
    /// The last pass that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_pass: Option<PassSummary>,
    /// The full sync beside the graph, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_sync: Option<FullSyncStatus>,
    /// The reason why the last full sync did not replace the graph. Absent once a full sync did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_sync_refused: Option<String>,
    /// The number of the source's elements when the generation began, if it reads all of them: the measure of a full pass's
    /// progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
    /// Whether an operator has paused the passes.
    #[serde(default)]
    pub paused: bool,
    /// The number of the last pass that this process began; a pass that resumes from a checkpoint has none.
    #[serde(default)]
    pub passes_begun: u64,
    /// The number of the last pass that ended and left nothing for the next one to act on: every commit before its beginning is
    /// in the cache. It is 0 if none did since the generation began: the cache may be an older one than before.
    #[serde(default)]
    pub passes_ended: u64,
    /// Whether the last pass left nothing to be checked again, and no later commit overtook it.
    #[serde(default)]
    pub settled: bool,
    /// The source of the last incremental pass's changes.
    #[serde(default)]
    pub change_source: ChangeDetection,
    /// The reach of the transaction log, if it is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_reach: Option<LogReach>,
    /// The number of transactions that the log may still lose before it lacks one that is not applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_margin: Option<i64>,
    /// The bookmark of the last thorough pass that left nothing to be checked again, or of the pass before it if later commits overtook
    /// it: the cache holds this commit and all earlier ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assured: Option<Bookmark>,
    /// Commits of the source that are not applied, as far as its bookmarks tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commits_behind: Option<u64>,
    /// The time of the first commit that is not applied, if the log tells it; otherwise the time when it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind_since: Option<DateTime<Utc>>,
    /// The commits that were seen and are not applied.
    #[serde(skip)]
    pub unapplied: UnappliedCommits,
    /// Seconds since that time, as of the answer; 0 when in step.
    #[serde(default)]
    pub seconds_behind: f64,
    /// Sides with failing probes, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failing: BTreeMap<Side, SideFailure>,
    /// The numbers of the pipeline since this process began.
    #[serde(default)]
    pub statistics: Statistics,
    /// The last passes, newest first; at most [`HISTORY`]. Shown separately.
    #[serde(skip)]
    pub history: Arc<VecDeque<PassRecord>>,
    /// The quarantine, at most [`QUARANTINE_SHOWN`] entries. Shown separately.
    #[serde(skip)]
    pub quarantine: Arc<Vec<Quarantined>>,
    /// Elements and properties that the cache cannot hold.
    pub quarantined: u64,
    /// The content of the source besides the profile's kinds.
    pub outside_profile: OutsideProfile,
    /// Indices of the cache that differ from the profile's.
    #[serde(default)]
    pub indexes: IndexStatus,
    /// The rows between reading and acknowledgement.
    pub in_flight: InFlight,
    /// The speed in the last second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<ThroughputSample>,
    /// The last samples, oldest first; at most [`SAMPLES`]. Shown separately.
    #[serde(skip)]
    pub samples: Arc<VecDeque<ThroughputSample>>,
}

/// The pass or the order of a comparison that a client waits for. The promise ends with its generation: the next one may read from
/// another member of a cluster, which has not reached the client's commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Promise {
    /// The generation that reached the commit.
    pub generation: u64,
    /// The number of the pass, or of the order.
    pub number: u64,
}

impl PipelineStatus {
    /// A pipeline that has not begun yet.
    pub(crate) fn new(name: impl Into<String>, graph: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            graph: graph.into(),
            state: PipelineState::Starting,
            generation: 0,
            leads: false,
            faults: 0,
            last_fault: None,
            checkpoint_sequence: 0,
            watermark: None,
            source_bookmark: None,
            equal_as_of: None,
            excepted: None,
            foreign: BTreeMap::new(),
            comparison: None,
            compared_at: None,
            proven_by: 0,
            held: Vec::new(),
            last_pass: None,
            full_sync: None,
            full_sync_refused: None,
            expected: None,
            paused: false,
            passes_begun: 0,
            passes_ended: 0,
            settled: false,
            change_source: ChangeDetection::default(),
            log_reach: None,
            log_margin: None,
            assured: None,
            commits_behind: None,
            behind_since: None,
            unapplied: UnappliedCommits::default(),
            seconds_behind: 0.0,
            failing: BTreeMap::new(),
            statistics: Statistics::default(),
            history: Arc::default(),
            quarantine: Arc::default(),
            quarantined: 0,
            outside_profile: OutsideProfile::default(),
            indexes: IndexStatus::default(),
            in_flight: InFlight::default(),
            sample: None,
            samples: Arc::default(),
        }
    }

    /// Forgets what this process knew as the leader: another one has applied and decided since. The numbers of passes and the
    /// statistics stay.
    pub(crate) fn forget_leadership(&mut self) {
        let kept = Self::new(&self.name, &self.graph);
        *self = Self {
            state: self.state.clone(),
            generation: self.generation,
            faults: self.faults,
            passes_begun: self.passes_begun,
            passes_ended: self.passes_ended,
            proven_by: self.proven_by,
            statistics: self.statistics.clone(),
            history: Arc::clone(&self.history),
            samples: Arc::clone(&self.samples),
            ..kept
        };
    }

    /// The process that leads the pipeline, while this one stands by.
    pub(crate) fn leader(&self) -> Option<&Leader> {
        match &self.state {
            PipelineState::Standby { leader, .. } => Some(leader),
            _ => None,
        }
    }

    /// Whether readers of the cache can rely on it: it was filled once, nothing is broken, and no full pass is rebuilding it.
    pub(crate) fn is_in_step(&self) -> bool {
        let working = match &self.state {
            PipelineState::Idle | PipelineState::Paused => true,
            PipelineState::Running { mode, .. } => *mode != PassMode::Full,
            _ => false,
        };
        working && self.watermark.is_some()
    }

    /// Whether the cache has answered every question: a cache that has not may be another one, or empty, by now.
    fn is_cache_heard(&self) -> bool {
        !self.failing.contains_key(&Side::Cache)
    }

    /// Whether the source has answered every question: one that has not may have been restored to an earlier state, whose later
    /// commits have the numbers of those that the cache knew.
    fn is_source_heard(&self) -> bool {
        !self.failing.contains_key(&Side::Source)
    }

    /// Whether a thorough pass has found that the cache holds the commit of this bookmark.
    pub(crate) fn holds(&self, bookmark: &Bookmark) -> bool {
        let is_heard = self.is_cache_heard() && self.is_source_heard();
        self.is_in_step() && is_heard && self.assured.as_ref().is_some_and(|assured| assured.includes(bookmark))
    }

    /// Whether the promised pass, or a later one, has ended, and no full pass is rebuilding the cache since.
    pub(crate) fn has_ended(&self, pass: Promise) -> bool {
        let is_over = self.generation == pass.generation && self.passes_ended >= pass.number;
        self.is_in_step() && self.is_cache_heard() && is_over
    }

    /// Whether both sides are proven equal as of this bookmark or a later one, or by a comparison that began with the promised
    /// order or a later one.
    pub(crate) fn is_proven(&self, bookmark: &Bookmark, order: Option<Promise>) -> bool {
        let since = order.is_some_and(|order| self.generation == order.generation && self.proven_by >= order.number);
        let includes = |proven: &Bookmark| self.is_source_heard() && proven.includes(bookmark);
        self.is_in_step() && self.is_cache_heard() && (since || self.equal_as_of.as_ref().is_some_and(includes))
    }

    /// The number of deletes that wait for approval, by kind.
    pub(crate) fn held_deletes(&self) -> Option<String> {
        let kinds: Vec<String> = self.held.iter().map(|held| format!("{} of {}", held.held.number, held.kind)).collect();
        (!kinds.is_empty()).then(|| kinds.join(", "))
    }

    /// Notes a bookmark of the source, and when its commit was made or seen. Returns whether the cache lacks the commit. A
    /// bookmark that a newer one has overtaken changes nothing.
    pub(crate) fn saw(&mut self, bookmark: Bookmark, at: DateTime<Utc>) -> bool {
        self.learn(bookmark, |unapplied, bookmark| unapplied.note(bookmark, at))
    }

    /// As [`Self::saw`], for the source's bookmark when a generation begins: its commit was made after this time.
    pub(crate) fn found(&mut self, bookmark: Bookmark, after: DateTime<Utc>) {
        self.learn(bookmark, |unapplied, bookmark| unapplied.note_made_after(bookmark, after));
    }

    fn learn(&mut self, bookmark: Bookmark, note: impl FnOnce(&mut UnappliedCommits, Bookmark)) -> bool {
        let applied = self.applied_bookmark().is_some_and(|applied| applied.includes(&bookmark));
        if self.source_bookmark.as_ref().is_some_and(|known| *known != bookmark && known.includes(&bookmark)) {
            return !applied;
        }
        self.source_bookmark = Some(bookmark.clone());
        if applied {
            // There is no later commit.
            self.unapplied = UnappliedCommits::default();
        } else {
            note(&mut self.unapplied, bookmark);
        }
        self.count_commits();
        !applied
    }

    /// Forgets the bookmarks of a source that was replaced or restored.
    pub(crate) fn forget_source(&mut self) {
        self.source_bookmark = None;
        self.unapplied = UnappliedCommits::default();
        self.behind_since = None;
    }

    /// Notes a pass that ended.
    pub(crate) fn applied(&mut self, pass: PassSummary) {
        self.remember(pass.clone().into());
        let arrived = pass.bookmark.as_ref().and_then(|bookmark| self.unapplied.applied(bookmark));
        // A full pass does not follow a commit, and may take any time.
        if let Some(since) = arrived.filter(|_| pass.mode != PassMode::Full) {
            self.statistics.add_freshness((pass.ended_at - since).as_seconds_f64().max(0.0));
        }
        self.last_pass = Some(pass);
        self.count_commits();
    }

    /// Notes a pass that a fault ended early.
    pub(crate) fn broken_off(&mut self, mode: PassMode, began_at: DateTime<Utc>, totals: Totals, error: String) {
        let pass = PassSummary { mode, began_at, bookmark: None, ended_at: Utc::now(), totals };
        self.remember(PassRecord { pass, result: PassResult::Failed, error: Some(error) });
        self.statistics.add_failed(mode);
    }

    fn remember(&mut self, record: PassRecord) {
        let history = Arc::make_mut(&mut self.history);
        history.truncate(HISTORY - 1);
        history.push_front(record);
    }

    /// The newest bookmark that a probe or a pass has seen.
    pub(crate) fn newest_bookmark(&self) -> Option<&Bookmark> {
        match (self.source_bookmark.as_ref(), self.applied_bookmark()) {
            (Some(seen), Some(applied)) if applied.includes(seen) => Some(applied),
            (seen, applied) => seen.or(applied),
        }
    }

    /// The commit as of which the last pass read the source.
    pub(crate) fn applied_bookmark(&self) -> Option<&Bookmark> {
        self.last_pass.as_ref()?.bookmark.as_ref()
    }

    /// The present value of the field of this name.
    pub(crate) fn log_margin(&self) -> Option<i64> {
        let applied = self.applied_bookmark().and_then(Bookmark::transaction);
        self.log_reach.as_ref().zip(applied).map(|(reach, applied)| reach.margin(applied))
    }

    fn count_commits(&mut self) {
        let number = |bookmark: Option<&Bookmark>| bookmark.and_then(Bookmark::transaction);
        let (seen, applied) = (number(self.source_bookmark.as_ref()), number(self.applied_bookmark()));
        self.behind_since = self.unapplied.since();
        self.commits_behind = seen.zip(applied).map(|(seen, applied)| seen.saturating_sub(applied));
    }

    /// Notes the result of a probe of a side.
    pub(crate) fn probed(&mut self, side: Side, failure: Option<String>, now: DateTime<Utc>) {
        match failure {
            None => {
                self.failing.remove(&side);
            }
            Some(error) => {
                let failing = self.failing.entry(side).or_insert(SideFailure { failures: 0, since: now, error: String::new() });
                failing.failures += 1;
                failing.error = error;
            }
        }
    }

    /// The side that does not answer, and the reason.
    pub(crate) fn unreachable(&self) -> Option<(Side, &SideFailure)> {
        self.failing.iter().find(|(_, failing)| failing.failures >= UNREACHABLE_FAILURES).map(|(side, failing)| (*side, failing))
    }

    /// Seconds since the first commit that was seen and is not applied yet.
    pub(crate) fn lag_seconds(&self, now: DateTime<Utc>) -> f64 {
        self.behind_since.map_or(0.0, |since| (now - since).as_seconds_f64().max(0.0))
    }
}

impl ServiceStatus {
    /// The same status, with the values that depend on the time of the answer.
    pub(crate) fn at(&self, now: DateTime<Utc>) -> Self {
        let mut status = self.clone();
        for pipeline in status.pipelines.values_mut() {
            pipeline.seconds_behind = pipeline.lag_seconds(now);
            pipeline.log_margin = pipeline.log_margin();
        }
        status
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    fn bookmark(transaction: u8) -> Bookmark {
        let bytes = [&[0x91, 0xCC, 0x10], &[7; 16][..], &[transaction, 0x90]].concat();
        Bookmark::new(format!("FB:{}", STANDARD.encode(bytes)))
    }

    fn pass(transaction: u8) -> PassSummary {
        let (began_at, bookmark) = (Utc::now(), Some(bookmark(transaction)));
        PassSummary { mode: PassMode::Incremental, began_at, bookmark, ended_at: began_at, totals: Totals::default() }
    }

    fn promise(number: u64) -> Promise {
        Promise { generation: 0, number }
    }

    #[test]
    fn the_lag_runs_from_the_first_commit_that_is_not_applied() {
        let mut status = PipelineStatus::new("p", "g");
        let at = |seconds| DateTime::UNIX_EPOCH + Duration::from_secs(seconds);
        status.applied(pass(5));
        assert!(!status.saw(bookmark(5), at(0)) && !status.saw(bookmark(4), at(1)));
        assert_eq!((status.lag_seconds(at(100)), status.commits_behind), (0.0, Some(0)));
        assert!(status.saw(bookmark(7), at(100)) && status.saw(bookmark(9), at(104)));
        assert_eq!((status.lag_seconds(at(110)), status.commits_behind), (10.0, Some(4)));
        assert!(status.saw(bookmark(8), at(105)));
        assert_eq!(status.commits_behind, Some(4), "a word that was overtaken");
        // The pass began after the first of the two commits.
        status.applied(pass(7));
        assert_eq!((status.lag_seconds(at(110)), status.commits_behind), (6.0, Some(2)));
        status.applied(pass(10));
        assert_eq!((status.lag_seconds(at(110)), status.commits_behind), (0.0, Some(0)));
    }

    #[test]
    fn a_cache_that_does_not_answer_is_said_to_hold_nothing() {
        let mut status = PipelineStatus::new("p", "g");
        status.state = PipelineState::Idle;
        status.watermark = Some(Utc::now());
        (status.assured, status.equal_as_of) = (Some(bookmark(5)), Some(bookmark(5)));
        (status.passes_begun, status.passes_ended) = (3, 3);
        let said = |status: &PipelineStatus| {
            (status.holds(&bookmark(5)), status.has_ended(promise(3)), status.is_proven(&bookmark(5), None))
        };
        assert_eq!(said(&status), (true, true, true));
        status.probed(Side::Cache, Some("connection refused".to_owned()), Utc::now());
        assert_eq!(said(&status), (false, false, false));
        status.probed(Side::Cache, None, Utc::now());
        assert_eq!(said(&status), (true, true, true));
    }

    /// A source that cannot be seen may be restored, and count its commits anew.
    #[test]
    fn a_commit_of_a_source_that_does_not_answer_may_be_another_one() {
        let mut status = PipelineStatus::new("p", "g");
        (status.state, status.watermark) = (PipelineState::Idle, Some(Utc::now()));
        (status.assured, status.equal_as_of, status.passes_ended) = (Some(bookmark(5)), Some(bookmark(5)), 3);
        status.probed(Side::Source, Some("connection refused".to_owned()), Utc::now());
        assert!(!status.holds(&bookmark(4)) && !status.is_proven(&bookmark(4), None));
        assert!(status.has_ended(promise(3)), "the source has reached the commit since");
        status.probed(Side::Source, None, Utc::now());
        assert!(status.holds(&bookmark(4)) && status.is_proven(&bookmark(4), None));
    }

    /// A leader of a cluster that dies may be the only member that has the commit.
    #[test]
    fn a_promise_ends_with_its_generation() {
        let mut status = PipelineStatus::new("p", "g");
        (status.state, status.watermark) = (PipelineState::Idle, Some(Utc::now()));
        (status.passes_ended, status.proven_by) = (7, 7);
        assert!(status.has_ended(promise(7)) && status.is_proven(&bookmark(5), Some(promise(7))));
        status.generation += 1;
        assert!(!status.has_ended(promise(7)) && !status.is_proven(&bookmark(5), Some(promise(7))));
    }

    #[test]
    fn a_bookmark_of_another_layout_is_compared_by_equality_alone() {
        let mut status = PipelineStatus::new("p", "g");
        status.applied(PassSummary { bookmark: Some(Bookmark::new("one")), ..pass(1) });
        assert!(!status.saw(Bookmark::new("one"), Utc::now()));
        assert!(status.saw(Bookmark::new("two"), Utc::now()));
        assert_eq!(status.commits_behind, None);
    }

    #[test]
    fn the_history_is_bounded_and_newest_first() {
        let mut status = PipelineStatus::new("p", "g");
        for number in 0..HISTORY + 20 {
            let totals = Totals { read: number as u64, ..Totals::default() };
            status.applied(PassSummary { totals, ..pass(1) });
        }
        assert_eq!((status.history.len(), status.history[0].pass.totals.read), (HISTORY, HISTORY as u64 + 19));
    }

    #[test]
    fn a_torn_cache_holds_nothing() {
        let mut status =
            PipelineStatus { state: PipelineState::Idle, watermark: Some(Utc::now()), ..PipelineStatus::new("p", "g") };
        status.applied(pass(3));
        (status.passes_ended, status.settled) = (1, true);
        assert!(!status.holds(&bookmark(3)), "a pass that was not thorough says nothing");
        status.assured = Some(bookmark(3));
        assert!(
            status.holds(&bookmark(3))
                && !status.holds(&bookmark(4))
                && status.has_ended(promise(1))
                && !status.has_ended(promise(2))
        );
        status.watermark = None;
        assert!(!status.holds(&bookmark(3)) && !status.has_ended(promise(1)));
    }

    #[test]
    fn a_side_is_unreachable_after_failures_in_a_row() {
        let mut status = PipelineStatus::new("p", "g");
        status.probed(Side::Cache, Some("refused".to_owned()), Utc::now());
        assert_eq!(status.unreachable(), None);
        status.probed(Side::Cache, Some("refused".to_owned()), Utc::now());
        assert_eq!(status.unreachable().map(|(side, failing)| (side, failing.failures)), Some((Side::Cache, 2)));
        status.probed(Side::Cache, None, Utc::now());
        assert_eq!(status.unreachable(), None);
    }
}
