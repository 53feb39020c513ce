//! Which pass runs next, and when.

use std::time::Duration;

use actix::{AsyncContext, Context};
use chrono::Utc;
use tokio::time::Instant;

use super::pass_queue::Terms;
use super::{Ending, Schedule, State, Supervisor, Then};
use crate::actors::messages::StartPass;
use crate::actors::pass_order::PassOrder;
use crate::actors::pipeline::OneShotResult;
use crate::model::pass::{PassMode, PassSummary};
use crate::model::pass_outcome::PassOutcome;
use crate::sync::READ_AGAIN;
use crate::telemetry::status::{ChangeDetection, PipelineState};

/// The most passes over a stage while its counts differ from the source's. After them the gate of the swap decides.
const MAX_STAGE_PASSES: u64 = 5;

/// The most incremental passes that one command runs until one of them leaves nothing to look at again.
const MAX_ONE_SHOT_PASSES: u64 = 10;

/// The pause before another look at a difference of counts: long enough for a commit between two queries to be over.
const LOOK_AGAIN_SOON: Duration = Duration::from_millis(100);

/// The time between the beginnings of passes while a source is written without a pause: a shorter one would cost the source more
/// and bring a change to the cache hardly earlier.
const PASSES_APART: Duration = Duration::from_millis(100);

impl Supervisor {
    pub(super) fn start_pass(&mut self, order: PassOrder) {
        if !matches!(self.state, State::Running(_)) {
            return;
        }
        if self.beside && order.mode() == PassMode::Full {
            return self.want_full_sync();
        }
        if self.leaves_graph_alone() {
            return;
        }
        if self.status.paused {
            self.passes.hold(order);
            return self.show(PipelineState::Paused);
        }
        let order = if order == PassOrder::Begin(PassMode::Differential) { self.next_slice() } else { order };
        let mode = order.mode();
        let Terms { thorough, allow_deletes } = self.passes.begin(&order);
        self.status.passes_begun = self.passes.begun();
        let start = StartPass { order, watermark: self.status.watermark, thorough, allow_deletes };
        if let State::Running(group) = &self.state {
            group.start_pass(start);
        }
        if mode == PassMode::Full {
            // A full pass empties the graph: until its end there is nothing to rely on.
            self.status.watermark = None;
            self.status.equal_as_of = None;
            self.status.assured = None;
            self.comparing.forget();
        }
        let since = Utc::now();
        self.show(PipelineState::Running { mode, since, totals: Default::default(), cursor: None });
    }

    pub(super) fn pause(&mut self, paused: bool) {
        self.pause_said = Some(paused);
        self.status.paused = paused;
        if !matches!(self.state, State::Running(_)) || !self.passes.is_idle() {
            // The pass under way continues to its end.
            return self.show_again();
        }
        if !paused && self.full_wanted {
            self.want_full_sync();
        }
        let order = if paused { None } else { self.passes.take_held() };
        match order {
            Some(order) => self.start_pass(order),
            None => self.show(PipelineState::Idle),
        }
    }

    /// Runs a pass now, or after the one under way: only one, however often it is requested meanwhile.
    pub(super) fn request(&mut self, mode: PassMode) {
        if self.beside && mode == PassMode::Full {
            return self.want_full_sync();
        }
        if mode == PassMode::Differential {
            return self.order_comparison();
        }
        if matches!(self.state, State::Running(_)) && self.passes.is_idle() {
            return self.start_pass(PassOrder::Begin(mode));
        }
        self.passes.request(mode);
    }

    pub(super) fn pass_ended(&mut self, summary: PassSummary, outcome: PassOutcome, ctx: &mut Context<Self>) {
        if summary.mode == PassMode::Differential {
            return self.comparison_advanced(summary, outcome, ctx);
        }
        let Some(pass) = self.passes.end() else { return };
        self.log_ended(&summary, pass.started.elapsed(), &outcome);
        if pass.approved {
            self.comparing.forget();
        }
        if pass.approved && outcome.more {
            // The operator approved everything that was held, and this pass has not come to all of it.
            self.passes.approve();
        }
        self.status.watermark = Some(summary.began_at);
        self.status.last_fault = None;
        self.status.applied(summary.clone());
        self.status.settled = outcome.is_settled() && !outcome.is_overtaken;
        if summary.mode == PassMode::Incremental {
            self.status.change_source = if outcome.is_told { ChangeDetection::TransactionLog } else { ChangeDetection::Probe };
        }
        if outcome.log_gap.is_some() && outcome.is_settled() && !self.is_stage() {
            self.owe_comparison();
        }
        let is_told_all = outcome.is_told && outcome.log_gap.is_none();
        if outcome.is_settled() && !outcome.is_overtaken && (pass.finds_all() || is_told_all) {
            self.status.assured.clone_from(&summary.bookmark);
        } else if outcome.is_settled() && is_told_all {
            self.status.assured = self.comparing.told_as_of().cloned().or(self.status.assured.take());
        }
        self.status.statistics.add_ended(summary.mode, pass.started.elapsed());
        self.tell_quiet();
        if pass.resumed && !self.is_stage() {
            // The pass read the source as of its beginning, which may be long ago: the changes since then are next.
            let next = self.passes.requested().unwrap_or(PassMode::Incremental);
            return self.start_pass(PassOrder::Begin(next));
        }
        self.passes.count_ended(&outcome, pass.finds_all(), !self.status.held.is_empty());
        self.status.passes_ended = self.passes.ended();
        self.show(PipelineState::Idle);
        match self.pipeline.schedule {
            Schedule::Once(PassMode::Incremental)
                if outcome.look_again_soon && self.status.passes_begun < MAX_ONE_SHOT_PASSES =>
            {
                self.schedule_next(Some(LOOK_AGAIN_SOON), outcome, pass.started, ctx);
            }
            // An incremental pass comes only after any full pass that was needed.
            Schedule::Once(mode) if summary.mode == mode || (mode == PassMode::Full && summary.mode == PassMode::Incremental) => {
                let (held, is_finished) = (self.status.held.clone(), !outcome.more);
                let done = Box::new(OneShotResult { held, is_finished, ..*OneShotResult::of(summary) });
                self.end(Ending::Drained, Then::Stop(Ok(Some(done))), ctx);
            }
            Schedule::Once(mode) => self.start_pass(PassOrder::Begin(mode)),
            Schedule::Stage(_) if outcome.look_again_soon && self.status.passes_begun < MAX_STAGE_PASSES => {
                self.schedule_next(Some(LOOK_AGAIN_SOON), outcome, pass.started, ctx);
            }
            Schedule::Stage(_) => self.end(Ending::Drained, Then::Stop(Ok(Some(OneShotResult::of(summary)))), ctx),
            Schedule::Continuous { interval, .. } => self.schedule_next(interval, outcome, pass.started, ctx),
        }
    }

    fn log_ended(&self, summary: &PassSummary, took: Duration, outcome: &PassOutcome) {
        if self.is_stage() {
            let (seconds, totals) = (took.as_secs_f64(), summary.totals);
            return tracing::info!(
                pipeline = %self.pipeline.name, generation = self.generation.0, mode = %summary.mode, seconds, nodes = totals.nodes,
                relationships = totals.relationships, deleted = totals.deleted, "stage advanced"
            );
        }
        tracing::info!(
            pipeline = %self.pipeline.name, generation = self.generation.0, mode = %summary.mode,
            from_log = outcome.is_told, overtaken = outcome.is_overtaken, seconds = took.as_secs_f64(), read = summary.totals.read,
            nodes = summary.totals.nodes, relationships = summary.totals.relationships, deleted = summary.totals.deleted,
            quarantined = summary.totals.quarantined, collapsed = summary.totals.collapsed, "pass ended"
        );
    }

    pub(super) fn schedule_next(
        &mut self,
        interval: Option<Duration>,
        outcome: PassOutcome,
        started: Instant,
        ctx: &mut Context<Self>,
    ) {
        // If no pass follows this one, a slice delays nothing.
        self.comparing.note_source(outcome.source_moved && interval.is_some());
        if self.is_comparison_starved() {
            // The slice may be the last thing that happens before the next commit.
            self.schedule_pass(interval, outcome, started, ctx);
            return self.start_slice();
        }
        if let Some(mode) = self.passes.take_requested() {
            return self.start_pass(PassOrder::Begin(mode));
        }
        self.schedule_slice(ctx);
        self.schedule_pass(interval, outcome, started, ctx);
    }

    /// Sets the time of the next pass by what the last pass left to check.
    fn schedule_pass(&mut self, interval: Option<Duration>, outcome: PassOutcome, started: Instant, ctx: &mut Context<Self>) {
        // A pass that ended makes earlier timers void.
        self.pass_number += 1;
        let Some(interval) = interval else { return };
        let interval = match outcome {
            PassOutcome { source_moved: true, .. } => PASSES_APART.saturating_sub(started.elapsed()),
            // What is held stays so for a while. A command does not wait for an operator.
            PassOutcome { look_again_soon: true, more: true, .. } if !self.is_one_shot() && !self.status.held.is_empty() => {
                READ_AGAIN
            }
            PassOutcome { look_again_soon: true, .. } => LOOK_AGAIN_SOON,
            PassOutcome { is_overtaken: true, .. } => LOOK_AGAIN_SOON,
            PassOutcome { look_again: true, .. } => READ_AGAIN,
            PassOutcome { is_told: true, .. } => return,
            // A late commit may have been the last one.
            PassOutcome { late_check_in: Some(wait), .. } => wait.min(interval),
            _ => interval,
        };
        let number = self.pass_number;
        let generation = self.generation;
        ctx.run_later(interval, move |supervisor, _| {
            let is_last = supervisor.generation == generation && supervisor.pass_number == number;
            if is_last {
                supervisor.request(PassMode::Incremental);
            }
        });
    }
}
