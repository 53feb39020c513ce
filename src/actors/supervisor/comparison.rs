//! The comparison: slices between the passes, in the background at its rate, or as fast as possible while a client waits.

use std::time::Duration;

use actix::{AsyncContext, Context};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::{Ending, Schedule, State, Supervisor, Then};
use crate::actors::pass_order::PassOrder;
use crate::actors::pipeline::OneShotResult;
use crate::model::bookmark::Bookmark;
use crate::model::comparison::{Finding, Verdict};
use crate::model::pass::{PassMode, PassSummary, Totals};
use crate::model::pass_outcome::PassOutcome;
use crate::model::scrub_rate::ScrubRate;
use crate::sync::SliceOrder;
use crate::telemetry::status::{ComparisonStatus, PipelineState};

/// The time between the beginnings of slices. Slices are short, because a pass waits for the one under way.
const SLICE_INTERVAL: Duration = Duration::from_millis(250);

/// The longest time that the rows of one slice make up for.
const MADE_UP_FOR: Duration = Duration::from_millis(500);

/// The time that passes have to themselves after a slice, as a multiple of the slice's time, while commits come without a pause:
/// each slice holds a pass back. It never exceeds [`STARVED`].
const SPARED: u32 = 15;

/// The longest time from one slice to the next, which gives a tenth of the rate.
const STARVED: Duration = Duration::from_millis(2500);

/// The most elements of a slice: some tenths of a second, which a pass may have to wait.
const LARGEST_SLICE: usize = 5000;

/// The rate of a comparison that is due when none runs in the background.
const DUE_RATE: ScrubRate = ScrubRate::RowsPerSecond(2000);

/// The longest time a client waits for a proof.
const PATIENCE: Duration = Duration::from_secs(60);

/// A supervisor's knowledge of comparisons.
#[derive(Debug, Default)]
pub(super) struct Comparing {
    /// Slices ordered so far.
    orders: u64,
    /// Whether a comparison is ordered, by an operator or because the log has a gap, and has not ended.
    ordered: bool,
    /// Whether the checkpoint says so: it does once a slice has ended.
    is_order_stored: bool,
    /// The proof that clients wait for.
    awaited: Option<Awaited>,
    /// The time when the last slice began.
    last_slice: Option<Instant>,
    /// The duration of the last slice.
    last_took: Duration,
    /// Whether commits come without a pause.
    source_moves: bool,
    /// The number of the last slice timer; an older timer is void.
    timer: u64,
    /// The time when this process began or resumed the comparison under way.
    started: Option<Instant>,
    /// The commit as of which the log had proven equality at that time: a comparison that begins with this commit must find nothing.
    audited: Option<Bookmark>,
    /// The totals of the comparison so far.
    totals: Totals,
    /// The beginning and the findings of the last comparison.
    last: Option<(Bookmark, Vec<Finding>)>,
    /// The beginning of the last two comparisons, if both found the same: a third one would not find more.
    futile_at: Option<Bookmark>,
    /// The end of the last comparison.
    ended_at: Option<DateTime<Utc>>,
    /// The commit up to which passes over the log show that the cache holds everything.
    told_as_of: Option<Bookmark>,
    /// Whether the log proves equality: if it told everything since both sides were equal, each pass proves equality anew.
    is_proven_by_log: bool,
}

/// A proof that clients wait for. All clients share one: a comparison that proves equality as of the latest commit that any of
/// them waits for answers all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Awaited {
    /// The latest commit that a client waits for.
    bookmark: Bookmark,
    /// The time when the last client that asked gives up.
    until: Instant,
}

impl Awaited {
    /// Whether a comparison can still bring the awaited proof. Asking again starts none: one that proves equality as of the
    /// commit is enough, and after two in vain only another commit can change the outcome. `source` is the last commit that was
    /// seen.
    fn needs_comparison(&self, proven: Option<&Bookmark>, futile: Option<&Bookmark>, source: Option<&Bookmark>) -> bool {
        let is_proven = proven.is_some_and(|proven| proven.includes(&self.bookmark));
        let is_futile =
            futile.is_some_and(|futile| futile.includes(&self.bookmark) && source.is_none_or(|source| futile.includes(source)));
        !is_proven && !is_futile && Instant::now() < self.until
    }
}

impl Comparing {
    /// Forgets everything but the numbers, which clients compare.
    pub(super) fn forget_all(&mut self) {
        *self = Self { orders: self.orders, timer: self.timer, ..Self::default() };
    }

    /// Starts with the state of a new generation.
    pub(super) fn begin(&mut self, ordered: bool, ended_at: Option<DateTime<Utc>>) {
        self.ordered |= ordered;
        self.is_order_stored = ordered;
        self.ended_at = ended_at.or(self.ended_at);
        self.started = None;
        self.note_told(None, false);
        self.forget();
    }

    /// Whether a successor would not know of an ordered comparison.
    pub(super) fn is_ordered_here_alone(&self) -> bool {
        self.ordered && !self.is_order_stored
    }

    /// Forgets the findings of the last comparisons, which no longer predict those of the next one.
    pub(super) fn forget(&mut self) {
        (self.last, self.futile_at) = (None, None);
    }

    /// Notes the commit up to which passes over the log show that the cache holds everything, and whether they prove equality.
    pub(super) fn note_told(&mut self, told_as_of: Option<Bookmark>, is_proven_by_log: bool) {
        (self.told_as_of, self.is_proven_by_log) = (told_as_of, is_proven_by_log);
    }

    /// Returns the last noted commit.
    pub(super) fn told_as_of(&self) -> Option<&Bookmark> {
        self.told_as_of.as_ref()
    }

    /// Notes whether the source was written while a pass ran.
    pub(super) fn note_source(&mut self, moves: bool) {
        self.source_moves = moves;
    }

    /// Returns the wait before the next slice: the comparison keeps its rate, and leaves time for passes if one follows the
    /// other.
    fn pause(&self, rate: ScrubRate) -> Duration {
        let interval = interval(rate);
        let apart = if self.source_moves { (self.last_took * (SPARED + 1)).clamp(interval, STARVED) } else { interval };
        apart.saturating_sub(self.last_slice.map_or(Duration::ZERO, |at| at.elapsed()))
    }

    fn ended(&mut self, verdict: &Verdict, at: DateTime<Utc>) {
        let now = (verdict.began_at.clone(), verdict.listed.clone());
        let same = verdict.findings > 0 && self.last.as_ref() == Some(&now);
        self.futile_at = same.then(|| verdict.began_at.clone());
        self.last = Some(now);
        self.ordered = false;
        self.started = None;
        self.ended_at = Some(at);
    }
}

/// The time between the beginnings of slices that keeps the rate.
fn interval(rate: ScrubRate) -> Duration {
    match rate {
        ScrubRate::RowsPerSecond(rows) => SLICE_INTERVAL.min(Duration::from_secs(LARGEST_SLICE as u64) / saturated(rows)),
        ScrubRate::Unlimited => Duration::ZERO,
    }
}

/// Returns as many rows as the rate allows for the time since the last slice: a late timer, or a pass that went first,
/// reduces nothing. Longer rests are not made up for, and no slice is longer than a pass may have to wait.
fn slice_rows(rate: ScrubRate, since_last: Duration) -> usize {
    let ScrubRate::RowsPerSecond(rows) = rate else { return LARGEST_SLICE };
    let milliseconds = since_last.clamp(interval(rate), MADE_UP_FOR).as_millis();
    usize::try_from(u128::from(rows) * milliseconds / 1000).unwrap_or(usize::MAX).clamp(1, LARGEST_SLICE)
}

fn saturated(rows: u64) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX).max(1)
}

impl Supervisor {
    /// Handles the end of a slice, or of the whole comparison.
    pub(super) fn comparison_advanced(&mut self, mut summary: PassSummary, outcome: PassOutcome, ctx: &mut Context<Self>) {
        self.passes.compared();
        self.comparing.last_took = self.comparing.last_slice.map_or(Duration::ZERO, |at| at.elapsed());
        let (rows, seconds) = (summary.totals.read, self.comparing.last_took.as_secs_f64());
        tracing::debug!(pipeline = %self.pipeline.name, generation = self.generation.0, rows, seconds, "comparison advanced");
        self.tell_quiet();
        self.comparing.totals.add(&summary.totals);
        self.comparing.is_order_stored = outcome.comparison.as_ref().is_some_and(|comparison| comparison.ordered);
        self.status.comparison = outcome.comparison.clone().map(ComparisonStatus::from);
        if let Some(verdict) = &outcome.verdict {
            summary.totals = std::mem::take(&mut self.comparing.totals);
            self.comparison_ended(verdict, &summary);
        }
        self.show(PipelineState::Idle);
        match self.pipeline.schedule {
            Schedule::Once(_) | Schedule::Stage(_) if outcome.verdict.is_some() => {
                let is_incomplete = outcome.verdict.as_ref().is_some_and(|verdict| verdict.is_incomplete);
                let held = self.status.held.clone();
                let done = OneShotResult { pass: summary, verdict: outcome.verdict, held, is_finished: !is_incomplete };
                self.end(Ending::Drained, Then::Stop(Ok(Some(Box::new(done)))), ctx);
            }
            Schedule::Once(_) | Schedule::Stage(_) => self.start_pass(PassOrder::Begin(PassMode::Differential)),
            Schedule::Continuous { .. } => {
                if self.status.held.is_empty() {
                    self.passes.request_promised();
                }
                if let Some(mode) = self.passes.take_requested() {
                    return self.start_pass(PassOrder::Begin(mode));
                }
                self.schedule_slice(ctx);
            }
        }
    }

    fn comparison_ended(&mut self, verdict: &Verdict, summary: &PassSummary) {
        let equal_as_of = self.status.equal_as_of.as_ref().map(Bookmark::as_str);
        tracing::info!(
            pipeline = %self.pipeline.name, generation = self.generation.0, rows = verdict.rows, differences = verdict.findings,
            equal_as_of, elements_excepted = verdict.excepted.elements, properties_excepted = verdict.excepted.properties,
            collapsed = verdict.excepted.collapsed, foreign = verdict.foreign.values().sum::<u64>(), "comparison ended"
        );
        if let Some(started) = self.comparing.started {
            self.status.statistics.add_ended(PassMode::Differential, started.elapsed());
        }
        // A commit that comes during a slice looks like a difference.
        let is_quiet = self.status.newest_bookmark() == Some(&verdict.began_at);
        let is_audit = self.comparing.audited.as_ref().is_some_and(|proven| proven.includes(&verdict.began_at));
        if is_audit && is_quiet && verdict.findings > 0 {
            self.status.statistics.audit_differences += verdict.findings;
            tracing::error!(
                pipeline = %self.pipeline.name, generation = self.generation.0, differences = verdict.findings,
                "audit found and repaired differences, although the transaction log had proven equality; please report this"
            );
        }
        self.comparing.ended(verdict, summary.ended_at);
        self.status.compared_at = Some(summary.ended_at);
        self.status.excepted = Some(verdict.excepted);
        self.status.foreign.clone_from(&verdict.foreign);
        if self.status.equal_as_of.as_ref().is_some_and(|proven| proven.includes(&verdict.began_at)) {
            self.status.proven_by = verdict.begun_with.unwrap_or(0).max(self.status.proven_by);
            self.forget_held_swap();
        }
    }

    /// Orders a comparison of everything, as soon as the passes allow.
    pub(super) fn order_comparison(&mut self) {
        self.comparing.ordered = true;
        self.go_on_comparing();
    }

    /// Orders a comparison of everything by the slices that follow: changes from before the log began to tell may have left no
    /// trace.
    pub(super) fn owe_comparison(&mut self) {
        if !std::mem::replace(&mut self.comparing.ordered, true) {
            tracing::info!(
                pipeline = %self.pipeline.name, generation = self.generation.0,
                "transaction log does not cover all earlier commits, comparing everything"
            );
        }
    }

    /// Begins the next slice at once, unless a pass runs: then the slice begins when the pass ends.
    pub(super) fn go_on_comparing(&mut self) {
        if matches!(self.state, State::Running(_)) && self.passes.is_idle() && self.is_hurried() {
            self.start_slice();
        }
    }

    /// Requests a proof of equality as of a commit that the source has reached: by the comparison under way if it began with that
    /// commit or a later one, otherwise by the next. Returns the number of the first order that begins after this.
    pub(super) fn prove(&mut self, bookmark: Bookmark) -> u64 {
        let until = Instant::now() + PATIENCE;
        let bookmark = match self.comparing.awaited.take() {
            Some(earlier) if earlier.bookmark.includes(&bookmark) => earlier.bookmark,
            _ => bookmark,
        };
        self.comparing.awaited = Some(Awaited { bookmark, until });
        self.comparing.orders + 1
    }

    /// Returns the order for the next slice.
    pub(super) fn next_slice(&mut self) -> PassOrder {
        let ordered = self.comparing.ordered || self.is_one_shot();
        self.comparing.orders += 1;
        let since_last = self.comparing.last_slice.replace(Instant::now()).map_or(SLICE_INTERVAL, |at| at.elapsed());
        if self.comparing.started.is_none() {
            self.comparing.started = Some(Instant::now());
            self.comparing.audited = self.status.equal_as_of.clone().filter(|_| self.comparing.is_proven_by_log);
        }
        let rows = if self.is_hurried() { LARGEST_SLICE } else { slice_rows(self.scrub_rate(), since_last) };
        PassOrder::Compare(SliceOrder { rows, ordered, number: self.comparing.orders })
    }

    /// Whether a commit followed the last proof of equality, or a client wants a comparison, or the interval is over.
    fn needs_comparison(&self) -> bool {
        // The gate of the swap compares a stage. If the stage were compared while it catches up, the source would run away.
        if self.status.watermark.is_none() || self.is_stage() {
            return false;
        }
        let now = self.status.newest_bookmark();
        let in_doubt =
            self.status.equal_as_of.as_ref() != now && self.comparing.futile_at.as_ref().is_none_or(|at| Some(at) != now);
        let in_background = self.pipeline.settings.scrub_rate.is_some() && in_doubt && !self.comparing.is_proven_by_log;
        in_background || self.is_hurried() || self.is_comparison_due()
    }

    fn is_hurried(&self) -> bool {
        let (proven, futile) = (self.status.equal_as_of.as_ref(), self.comparing.futile_at.as_ref());
        let newest = self.status.newest_bookmark();
        // If the log proves equality, the next pass brings the proof that a client waits for.
        let awaited = |awaited: &Awaited| !self.comparing.is_proven_by_log && awaited.needs_comparison(proven, futile, newest);
        self.comparing.ordered || self.is_one_shot() || self.comparing.awaited.as_ref().is_some_and(awaited)
    }

    fn is_comparison_due(&self) -> bool {
        let Some(interval) = self.pipeline.settings.differential_interval else { return false };
        let interval = TimeDelta::from_std(interval).unwrap_or(TimeDelta::MAX);
        self.comparing.ended_at.is_none_or(|ended| Utc::now() - ended >= interval)
    }

    /// Schedules the next slice. The time between the beginnings of slices keeps the rate. If passes follow one another, the
    /// comparison leaves them nearly all the time, but never falls below a tenth of its rate.
    pub(super) fn schedule_slice(&mut self, ctx: &mut Context<Self>) {
        if !self.needs_comparison() {
            return;
        }
        self.comparing.timer += 1;
        let (generation, timer) = (self.generation, self.comparing.timer);
        let pause = if self.is_hurried() { Duration::ZERO } else { self.comparing.pause(self.scrub_rate()) };
        ctx.run_later(pause, move |supervisor, _| {
            let is_last = supervisor.generation == generation && supervisor.comparing.timer == timer;
            if is_last && supervisor.passes.is_idle() {
                supervisor.start_slice();
            }
        });
    }

    pub(super) fn start_slice(&mut self) {
        if !self.status.paused && self.needs_comparison() {
            let order = self.next_slice();
            self.start_pass(order);
        }
    }

    pub(super) fn is_comparison_starved(&self) -> bool {
        let waits = self.comparing.last_slice.is_none_or(|at| at.elapsed() >= STARVED);
        waits && !self.status.paused && self.needs_comparison()
    }

    fn scrub_rate(&self) -> ScrubRate {
        self.pipeline.settings.scrub_rate.unwrap_or(DUE_RATE)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::model::comparison::{Difference, ProofExceptions};
    use crate::model::element::{ElementIdentity, NodeIdentity};
    use crate::model::key::Key;
    use crate::model::kind::{ElementKind, NodeKindId};
    use crate::model::name::Label;

    fn verdict(keys: &[&str]) -> Verdict {
        let finding = |key: &&str| Finding {
            kind: ElementKind::Node(NodeKindId(0)),
            identity: ElementIdentity::Node(NodeIdentity {
                label: Label::parse("Entity").unwrap(),
                key: Key::parse(key).unwrap(),
            }),
            difference: Difference::Missing,
        };
        Verdict {
            equal_as_of: None,
            began_at: Bookmark::new("b"),
            findings: keys.len() as u64,
            rows: 10,
            begun_with: None,
            is_incomplete: false,
            listed: keys.iter().map(finding).collect(),
            read: 10,
            excepted: ProofExceptions::default(),
            foreign: BTreeMap::new(),
        }
    }

    #[test]
    fn a_comparison_that_finds_something_else_is_followed_by_another() {
        let mut comparing = Comparing::default();
        for keys in [&["a"][..], &["b"], &["b", "c"]] {
            comparing.ended(&verdict(keys), Utc::now());
            assert_eq!(comparing.futile_at, None, "{keys:?}");
        }
        comparing.ended(&verdict(&["b", "c"]), Utc::now());
        assert_eq!(comparing.futile_at, Some(Bookmark::new("b")), "the same once more");
        comparing.ended(&verdict(&[]), Utc::now());
        assert_eq!(comparing.futile_at, None);
    }

    const RATE: ScrubRate = ScrubRate::RowsPerSecond(2000);

    #[test]
    fn a_slice_keeps_the_rate_and_no_pass_waits_long_for_it() {
        for (rate, since_last, rows, apart) in [
            (2000, 0, 500, 250),
            (2000, 300, 600, 250),
            (2000, 60_000, 1000, 250),
            (1, 0, 1, 250),
            (20_000, 0, 5000, 250),
            (100_000, 0, 5000, 50),
            (1_000_000, 60_000, 5000, 5),
        ] {
            let rate = ScrubRate::RowsPerSecond(rate);
            assert_eq!(slice_rows(rate, Duration::from_millis(since_last)), rows, "{rate:?}");
            assert_eq!(interval(rate), Duration::from_millis(apart), "{rate:?}");
        }
        assert_eq!((slice_rows(ScrubRate::Unlimited, SLICE_INTERVAL), interval(ScrubRate::Unlimited)), (5000, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_comparison_leaves_passes_that_follow_one_another_nearly_all_the_time() {
        let mut comparing = Comparing { last_slice: Some(Instant::now()), ..Comparing::default() };
        tokio::time::advance(Duration::from_millis(100)).await;
        comparing.last_took = Duration::from_millis(100);
        assert_eq!(comparing.pause(RATE), SLICE_INTERVAL - Duration::from_millis(100));
        comparing.note_source(true);
        assert_eq!(comparing.pause(RATE), Duration::from_millis(1500));
        comparing.last_took = SLICE_INTERVAL;
        assert_eq!(comparing.pause(RATE), STARVED - Duration::from_millis(100));
        comparing.last_took = Duration::from_millis(1);
        assert_eq!(comparing.pause(RATE), SLICE_INTERVAL - Duration::from_millis(100), "its rate is kept");
        tokio::time::advance(SLICE_INTERVAL).await;
        assert_eq!(comparing.pause(RATE), Duration::ZERO);
    }

    fn commit(transaction: u8) -> Bookmark {
        let bytes = [&[0x91, 0xCC, 0x10], &[0xFB; 16][..], &[transaction, 0x90]].concat();
        Bookmark::new(format!("FB:{}", STANDARD.encode(bytes)))
    }

    #[test]
    fn a_proof_or_two_comparisons_in_vain_end_what_is_waited_for() {
        let awaited = Awaited { bookmark: commit(5), until: Instant::now() + PATIENCE };
        let needs = |proven: Option<u8>, futile: Option<u8>, source: u8| {
            let (proven, futile) = (proven.map(commit), futile.map(commit));
            awaited.needs_comparison(proven.as_ref(), futile.as_ref(), Some(&commit(source)))
        };
        assert!(needs(None, None, 5) && needs(Some(4), Some(4), 5));
        assert!(!needs(Some(5), None, 5) && !needs(Some(7), None, 9), "proven as of the commit or a later one");
        assert!(!needs(None, Some(5), 5) && !needs(Some(4), Some(6), 6), "in vain");
        assert!(needs(None, Some(5), 6), "another commit may have changed what was in vain");
        let over = Awaited { until: Instant::now(), ..awaited.clone() };
        assert!(!over.needs_comparison(None, None, Some(&commit(5))), "nobody waits any longer");
    }
}
