//! The full sync beside the live graph, from its supervisor's side: its beginning, its status, the quiet for the swap, and its
//! end.

use std::sync::Arc;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use chrono::{DateTime, Utc};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::restarts::AfterFault;
use super::{Ending, Schedule, State, Supervisor, Then};
use crate::actors::full_sync::{Ended, FullSync};
use crate::actors::generation_actors;
use crate::actors::messages::{BeginFullSync, Quiesce, StatusChanged};
use crate::actors::pass_order::PassOrder;
use crate::actors::pipeline::OneShotResult;
use crate::error::{Error, ErrorKind, Result};
use crate::model::guard::HeldDeletes;
use crate::model::pass::{Cursor, PassMode, PassSummary, Totals};
use crate::telemetry::status::{FullSyncStatus, PipelineState};

/// A full sync that runs.
pub(super) struct FullSyncUnderWay {
    quit: CancellationToken,
    started: Instant,
    since: DateTime<Utc>,
    /// Whether the passes must leave the live graph alone.
    wants_quiet: bool,
    /// The full sync's request to learn when no pass runs.
    quiet: Option<oneshot::Sender<u64>>,
}

impl Supervisor {
    /// Requests a full sync beside the live graph, now or when the pause ends.
    pub(super) fn want_full_sync(&mut self) {
        self.full_wanted = true;
        if let Some(address) = &self.address {
            address.do_send(BeginFullSync);
        }
    }

    /// Whether the live graph is left alone for a swap, or cannot be updated at all.
    pub(super) fn leaves_graph_alone(&self) -> bool {
        let unfed = self.beside && self.full_wanted && self.status.watermark.is_none();
        unfed || self.full_sync.as_ref().is_some_and(|full_sync| full_sync.wants_quiet)
    }

    /// Tells a full sync that waits for it that no pass runs any more.
    pub(super) fn tell_quiet(&mut self) {
        let sequence = self.status.checkpoint_sequence;
        if self.passes.is_idle()
            && let Some(quiet) = self.full_sync.as_mut().and_then(|full_sync| full_sync.quiet.take())
        {
            self.forget_proofs();
            self.show_again();
            // The full sync may just have failed and wait no longer.
            let _ = quiet.send(sequence);
        }
    }

    /// Forgets the proofs of the live graph: they do not hold for the graph that replaces it.
    pub(super) fn forget_proofs(&mut self) {
        self.status.assured = None;
        self.status.equal_as_of = None;
    }

    /// Ends the full sync where it is. It resumes with the next generation.
    pub(super) fn interrupt_full_sync(&self) {
        if let Some(full_sync) = &self.full_sync {
            full_sync.quit.cancel();
        }
    }

    fn begin_full_sync(&mut self, ctx: &mut Context<Self>) {
        let is_free = matches!(self.state, State::Running(_)) && self.full_sync.is_none() && !self.status.paused;
        if !self.full_wanted || !is_free {
            return;
        }
        let quit = CancellationToken::new();
        let since = Utc::now();
        self.full_sync =
            Some(FullSyncUnderWay { quit: quit.clone(), started: Instant::now(), since, wants_quiet: false, quiet: None });
        let address = ctx.address();
        let full_sync = FullSync {
            start: Supervisor::start_for,
            name: self.pipeline.name.clone(),
            live: Arc::clone(&self.fitted.connector),
            profile: Arc::clone(&self.fitted.profile),
            settings: self.pipeline.settings,
            timing: self.pipeline.timing,
            progress: address.clone().recipient(),
            live_supervisor: address.recipient(),
            allow_deletes: self.passes.is_approved(),
            quit,
        };
        tracing::info!(pipeline = %self.pipeline.name, generation = self.generation.0, fed = !self.leaves_graph_alone(), "full sync begins");
        self.show_full_sync(PassMode::Full, Totals::default(), None, self.status.expected);
        let span = generation_actors::span(&self.pipeline.name, self.generation);
        let task = actix::spawn(full_sync.run().instrument(span));
        ctx.spawn(task.into_actor(self).map(|outcome, supervisor, ctx| {
            let panicked = |error| Err(Error::caused(ErrorKind::Panic, "the full sync panicked", error));
            supervisor.full_sync_ended(outcome.unwrap_or_else(panicked), ctx);
        }));
    }

    fn show_full_sync(&mut self, pass: PassMode, totals: Totals, cursor: Option<Cursor>, expected: Option<u64>) {
        let Some(full_sync) = &self.full_sync else { return };
        let since = full_sync.since;
        self.status.full_sync = Some(FullSyncStatus { since, pass, totals, expected, cursor: cursor.clone() });
        if self.passes.is_idle() && self.status.watermark.is_none() {
            return self.show(PipelineState::Running { mode: PassMode::Full, since, totals, cursor });
        }
        self.show_again();
    }

    fn full_sync_ended(&mut self, outcome: Result<Ended>, ctx: &mut Context<Self>) {
        let Some(full_sync) = self.full_sync.take() else { return };
        self.status.full_sync = None;
        self.stage_credit = None;
        if let Ok(Ended::Swapped(summary, sequence)) = &outcome {
            // This is noted even if the generation is ending: the next one must not repeat the full sync, and has to find this
            // checkpoint or a later one.
            self.full_wanted = false;
            self.status.checkpoint_sequence = *sequence;
            self.note_swap(summary, full_sync.started.elapsed());
        }
        if let State::Ending { group, .. } = &self.state {
            if group.alive().is_empty() {
                self.all_ended(ctx);
            }
            return;
        }
        match outcome {
            Ok(Ended::Swapped(summary, _)) => self.swapped(summary, ctx),
            Ok(Ended::Refused(reason)) => self.swap_refused(reason, full_sync.since, ctx),
            Ok(Ended::Held(held)) => self.swap_held(held, ctx),
            Err(error) => self.full_sync_failed(error, full_sync.since, ctx),
        }
    }

    fn note_swap(&mut self, summary: &PassSummary, took: Duration) {
        tracing::info!(
            pipeline = %self.pipeline.name, generation = self.generation.0, seconds = took.as_secs_f64(),
            nodes = summary.totals.nodes, relationships = summary.totals.relationships, quarantined = summary.totals.quarantined,
            collapsed = summary.totals.collapsed, "full sync ended"
        );
        self.status.full_sync_refused = None;
        self.swap_held.clear();
        self.passes.use_approval();
        self.status.statistics.add_progress(&Totals::default(), &summary.totals);
        self.status.statistics.add_ended(PassMode::Full, took);
        self.status.applied(summary.clone());
    }

    fn swapped(&mut self, summary: PassSummary, ctx: &mut Context<Self>) {
        let then = match self.pipeline.schedule {
            Schedule::Once(PassMode::Full) => Then::Stop(Ok(Some(OneShotResult::of(summary)))),
            // The new graph has a checkpoint of its own, and no memory of the old graph applies to it.
            _ => Then::Restart(Duration::ZERO),
        };
        self.end(Ending::Drained, then, ctx);
    }

    /// Keeps the new graph until an operator approves it. The live graph continues unchanged.
    fn swap_held(&mut self, held: Vec<HeldDeletes>, ctx: &mut Context<Self>) {
        for HeldDeletes { kind, held } in &held {
            let generation = self.generation.0;
            tracing::warn!(pipeline = %self.pipeline.name, generation, kind, number = held.number, "full sync held: waiting for approval");
        }
        self.swap_held = held;
        self.full_wanted = false;
        self.show_held(self.status.held.clone());
        if self.is_one_shot() {
            let reason = self.status.held_deletes().unwrap_or_default();
            let error = Error::new(ErrorKind::SwapRefused, format!("the full sync would delete {reason}"));
            return self.end(Ending::Cut, Then::Stop(Err(error)), ctx);
        }
        if self.passes.is_idle() && self.status.watermark.is_some() {
            return self.start_pass(PassOrder::Begin(PassMode::Incremental));
        }
        self.show(PipelineState::Idle);
    }

    /// Puts held deletes into the status: those of passes, and those for which the swap of a full sync waits.
    pub(super) fn show_held(&mut self, mut held: Vec<HeldDeletes>) {
        let known: Vec<String> = held.iter().map(|held| held.kind.clone()).collect();
        held.extend(self.swap_held.iter().filter(|held| !known.contains(&held.kind)).cloned());
        self.status.held = held;
    }

    /// Forgets a held swap once the live graph is equal to the source: no approval is needed any more.
    pub(super) fn forget_held_swap(&mut self) {
        let settled = std::mem::take(&mut self.swap_held);
        self.status.held.retain(|held| !settled.iter().any(|settled| settled.kind == held.kind));
    }

    fn swap_refused(&mut self, reason: String, since: DateTime<Utc>, ctx: &mut Context<Self>) {
        let error = Error::new(ErrorKind::SwapRefused, reason.clone());
        self.status.full_sync_refused = Some(reason);
        self.full_wanted = false;
        self.full_sync_failed(error, since, ctx);
    }

    /// Continues with the live graph. The full sync is tried again if nothing else can help.
    fn full_sync_failed(&mut self, error: Error, since: DateTime<Utc>, ctx: &mut Context<Self>) {
        self.note_fault(&error);
        self.status.broken_off(PassMode::Full, since, Totals::default(), error.chain());
        if self.is_one_shot() {
            return self.end(Ending::Cut, Then::Stop(Err(error)), ctx);
        }
        let next = self.restarts.after_full_sync(&error, &self.pipeline.timing);
        if self.status.watermark.is_none() {
            self.full_wanted = true;
            self.show_pause(next);
        } else if self.passes.is_idle() {
            self.start_pass(PassOrder::Begin(PassMode::Incremental));
        }
        if let AfterFault::After(pause) | AfterFault::Halted(pause) = next {
            ctx.run_later(pause, |supervisor, ctx| supervisor.begin_full_sync(ctx));
        }
    }
}

impl Handler<BeginFullSync> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: BeginFullSync, ctx: &mut Self::Context) {
        self.begin_full_sync(ctx);
    }
}

impl Handler<Quiesce> for Supervisor {
    type Result = ();

    fn handle(&mut self, Quiesce(quiet): Quiesce, _: &mut Self::Context) {
        if let Some(full_sync) = &mut self.full_sync {
            full_sync.wants_quiet = true;
            full_sync.quiet = Some(quiet);
            self.tell_quiet();
        }
    }
}

/// Takes over the status of the stage's supervisor.
impl Handler<StatusChanged> for Supervisor {
    type Result = ();

    fn handle(&mut self, StatusChanged { status, changes, credit, .. }: StatusChanged, _: &mut Self::Context) {
        self.stage_credit = credit.filter(|_| self.full_sync.is_some());
        if let Some(changes) = changes {
            self.status.statistics.add_changes(&changes);
            self.tell(self.stage_credit.clone(), Some(changes), true);
        }
        if let PipelineState::Running { mode, totals, cursor, .. } = status.state {
            self.show_full_sync(mode, totals, cursor, status.expected);
        }
    }
}
