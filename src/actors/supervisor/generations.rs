//! The beginning, the faults and the end of a generation, and the steps after it.

use std::sync::Arc;
use std::time::Duration;

use actix::{ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use chrono::Utc;
use tokio::sync::oneshot;
use tracing::Instrument;

use super::restarts::AfterFault;
use super::{Ending, PipelineOutcome, Schedule, State, Supervisor, Then};
use crate::actors::ExitRecipients;
use crate::actors::connection_factory::FittedPipeline;
use crate::actors::generation_actors::{self, GenerationActors};
use crate::actors::ignore_quarantine::ignore_quarantine;
use crate::actors::launch::{LaunchRequest, Launched, PriorGenerations, launch};
use crate::actors::loader;
use crate::actors::member::Member;
use crate::actors::messages::{LeaderFound, WorkerExit};
use crate::actors::prober::Watchers;
use crate::actors::rollback::roll_back;
use crate::actors::standby;
use crate::error::{Directive, Error, ErrorKind, Result};
use crate::model::batch::Generation;
use crate::model::pass::PassMode;
use crate::model::quarantined::Quarantined;
use crate::sync::first_pass::PassReason;
use crate::telemetry::status::{FaultReport, PipelineState};

/// The time that a generation that is cut may take to finish requests under way: longer than any request's timeout.
const CUT_DEADLINE: Duration = Duration::from_secs(150);

impl Supervisor {
    pub(super) fn launch(&mut self, ctx: &mut Context<Self>) {
        self.end_lease_watch(ctx);
        // Another process may have led since and have been paused, so an earlier resume counts no more: it has deleted the flag in the
        // cache, and the launch reads that. A pause is kept, because the cache may have been emptied.
        self.pause_said = self.pause_said.filter(|paused| *paused);
        self.generation = self.generation.next();
        self.state = State::Launching;
        self.status.generation = self.generation.0;
        self.show(PipelineState::Starting);
        let given = self.pipeline.unfitted();
        let intent = LaunchRequest {
            wanted: self.passes.requested(),
            stage: self.is_stage(),
            reads_log: self.pipeline.schedule.reads_log(),
            takes_lease: !self.is_joining || self.participant().is_none(),
        };
        let known = PriorGenerations {
            last_sequence: self.status.checkpoint_sequence,
            // A standby reads the leader's checkpoints from time to time.
            is_last: self.has_led && self.status.checkpoint_sequence > 0,
            last_bookmark: self.status.source_bookmark.clone(),
        };
        let span = generation_actors::span(&self.pipeline.name, self.generation);
        let task = tokio::spawn(launch(given, intent, known).instrument(span));
        let launching = self.generation;
        ctx.spawn(task.into_actor(self).map(move |outcome, supervisor, ctx| {
            let outcome =
                outcome.unwrap_or_else(|error| Err(Error::caused(ErrorKind::Panic, "the start of the pipeline panicked", error)));
            supervisor.launched(launching, outcome, ctx);
        }));
    }

    pub(super) fn launched(
        &mut self,
        generation: Generation,
        outcome: Result<(FittedPipeline, Launched)>,
        ctx: &mut Context<Self>,
    ) {
        if generation != self.generation || !matches!(self.state, State::Launching) {
            return;
        }
        match outcome {
            Ok((_, launched)) if self.shutting_down => {
                self.state = State::Waiting;
                let lease = launched.lease;
                ctx.spawn(async move { lease.release().await }.into_actor(self).map(|_, supervisor, ctx| {
                    supervisor.finish(Ok(None), ctx);
                }));
            }
            Ok((fitted, launched)) => {
                self.fitted = fitted;
                self.begin(launched, ctx);
            }
            Err(error) => self.launch_failed(error, ctx),
        }
    }

    pub(super) fn begin(&mut self, launched: Launched, ctx: &mut Context<Self>) {
        let reason = launched.reason.map(|reason| reason.to_string()).unwrap_or_else(|| "resumed".to_owned());
        let (mode, generation) = (launched.order.mode(), self.generation.0);
        if self.is_stage() {
            tracing::debug!(pipeline = %self.pipeline.name, generation, %mode, reason, "stage pass begins");
        } else if mode == PassMode::Full && launched.beside {
            tracing::info!(pipeline = %self.pipeline.name, generation, reason, "full sync needed");
        } else {
            tracing::info!(pipeline = %self.pipeline.name, generation, %mode, reason, "pass begins");
        }
        if matches!(launched.reason, Some(PassReason::SourceRestored | PassReason::OtherSource)) {
            self.status.forget_source();
        }
        (self.has_led, self.leader, self.is_joining, self.handed_to) = (true, None, false, None);
        self.status.leads = true;
        self.status.expected = launched.expected;
        self.status.log_reach = None;
        self.status.checkpoint_sequence = launched.checkpoint.sequence;
        self.status.watermark = launched.checkpoint.watermark;
        self.status.last_pass = launched.checkpoint.last_pass.clone();
        // What a pass applied and a comparison proved belongs to one generation: the cache may be an older one since, and changes
        // between two generations are unknown.
        self.status.passes_ended = 0;
        self.status.proven_by = 0;
        self.status.equal_as_of = None;
        self.status.excepted = None;
        self.status.foreign.clear();
        self.status.comparison = None;
        self.status.compared_at = launched.checkpoint.compared_at;
        let ordered = launched.checkpoint.comparison.as_ref().is_some_and(|comparison| comparison.ordered);
        self.comparing.begin(ordered && !self.is_one_shot(), launched.checkpoint.compared_at);
        self.show_held(launched.checkpoint.guard.shown());
        self.status.outside_profile = launched.checkpoint.outside_profile.clone();
        self.status.quarantined = Quarantined::count(&launched.quarantine);
        self.status.quarantine = loader::shown(&launched.quarantine);
        if !self.is_stage() {
            // Commits after the cache's last one count as waiting since the time of that one.
            let since = launched.checkpoint.last_commit_at();
            self.status.found(launched.bookmark.clone(), since.unwrap_or_else(Utc::now));
        }
        if self.status.history.is_empty() {
            self.status.history = Arc::new(launched.checkpoint.last_pass.iter().cloned().map(Into::into).collect());
        }
        // It is unknown what an earlier generation wanted to look at again.
        self.status.settled = false;
        self.status.assured = None;
        // Both sides have just answered.
        self.status.failing.clear();
        // An operator requests a one-shot pass. This request outweighs the flag.
        self.status.paused = !self.is_one_shot() && self.pause_said.unwrap_or(launched.paused);
        self.beside = launched.beside;
        self.full_wanted |= self.wants_full_sync(&launched);
        let order = launched.order.clone();
        let address = ctx.address();
        let reports = ExitRecipients {
            exited: address.clone().recipient(),
            stopped: address.clone().recipient(),
            span: generation_actors::span(&self.pipeline.name, self.generation),
        };
        let group = GenerationActors::start(
            self.generation,
            launched,
            &self.fitted.profile,
            self.pipeline.settings,
            address.clone().recipient(),
            Watchers {
                moved: address.clone().recipient(),
                probed: address.clone().recipient(),
                indexed: address.clone().recipient(),
                reached: address.recipient(),
            },
            reports,
        );
        self.state = State::Running(group);
        self.watch_instances(ctx);
        if !self.full_wanted || self.pipeline.schedule != Schedule::Once(PassMode::Full) {
            self.start_pass(order);
        }
        if self.full_wanted {
            self.want_full_sync();
        }
    }

    /// Whether a full sync beside the graph has to be done: because it was requested, because the graph needs it, or because one
    /// was broken off.
    fn wants_full_sync(&mut self, launched: &Launched) -> bool {
        let asked = self.passes.requested() == Some(PassMode::Full);
        if launched.beside && asked {
            self.passes.take_requested();
        }
        let goes_on = launched.stage_under_way && self.pipeline.schedule != Schedule::Once(PassMode::Incremental);
        launched.beside && (asked || goes_on || launched.order.mode() == PassMode::Full)
    }

    pub(super) fn launch_failed(&mut self, error: Error, ctx: &mut Context<Self>) {
        if error.kind() == ErrorKind::LeaseHeld && !self.is_one_shot() {
            return if self.shutting_down { self.finish(Ok(None), ctx) } else { self.stand_by(ctx) };
        }
        self.note_fault(&error);
        self.forget_leader();
        if self.shutting_down {
            return self.finish(Ok(None), ctx);
        }
        let is_command = matches!(self.pipeline.schedule, Schedule::Once(_));
        if is_command && (self.status.faults == 1 || error.directive() == Directive::Halt) {
            // Nothing is done yet, so the person at the terminal learns of the error now.
            return self.finish(Err(error), ctx);
        }
        let then = self.after(error);
        self.state = State::Waiting;
        self.then(then, ctx);
    }

    /// Waits until this process may lead the pipeline, then launches again.
    pub(super) fn stand_by(&mut self, ctx: &mut Context<Self>) {
        self.state = State::Waiting;
        self.is_joining = false;
        self.status.leads = false;
        let participant = self.participant();
        let (generation, connector, found) = (self.generation, Arc::clone(&self.pipeline.connector), ctx.address().recipient());
        let wait = async move {
            let tell = |leader, sequence| found.do_send(LeaderFound { generation, leader, sequence });
            standby::until_free(connector.as_ref(), participant, tell).await
        };
        let watch = ctx.spawn(wait.into_actor(self).map(move |outcome, supervisor, ctx| {
            supervisor.lease_watch = None;
            if supervisor.generation != generation || !matches!(supervisor.state, State::Waiting) {
                return;
            }
            match outcome {
                Ok(()) => supervisor.launch(ctx),
                Err(error) => {
                    // Whoever is first after a fault would take leases that others should have.
                    supervisor.is_joining = true;
                    supervisor.launch_failed(error, ctx);
                }
            }
        }));
        self.lease_watch = Some(watch);
    }

    /// Forgets what this process knew and was asked for as the leader: another one has applied and decided since. A process that
    /// has not led yet keeps what it was started for.
    pub(super) fn forget_leadership(&mut self) {
        // Whatever an operator told this process, the leader has not heard of it.
        self.pause_said = None;
        self.passes.forget_approval();
        if !std::mem::take(&mut self.has_led) {
            return;
        }
        self.full_wanted = false;
        self.swap_held.clear();
        self.passes.forget_requests();
        self.comparing.forget_all();
        self.status.forget_leadership();
    }

    pub(super) fn fault(&mut self, error: Error, ctx: &mut Context<Self>) {
        self.note_fault(&error);
        self.forget_leader();
        if let Some(pass) = self.passes.break_off() {
            let since = Utc::now() - pass.started.elapsed();
            self.status.broken_off(pass.mode, since, self.passes.counted(), error.chain());
        }
        if let State::Running(group) = &self.state
            && group.started.elapsed() >= self.pipeline.timing.quiet
        {
            self.restarts.was_quiet();
        }
        let then = if self.shutting_down { Then::Stop(Ok(None)) } else { self.after(error) };
        self.end(Ending::Cut, then, ctx);
    }

    /// Logs a fault once: its consequences within the generation are no news.
    pub(super) fn note_fault(&mut self, error: &Error) {
        if error.kind() == ErrorKind::SourceOutgrown {
            let (pipeline, generation) = (&self.pipeline.name, self.generation.0);
            tracing::info!(%pipeline, generation, found = %error.chain(), "source has a new kind or vector index");
            return;
        }
        if error.kind() == ErrorKind::LeaseLost {
            self.status.leads = false;
            // It may have been for what the cache held before another process led.
            self.passes.forget_approval();
        }
        self.status.faults += 1;
        self.status.statistics.add_fault(error.kind().word());
        let (chain, remedy) = (error.chain(), error.kind().remedy());
        let generation = self.generation.0;
        if error.directive() == Directive::Halt {
            tracing::error!(pipeline = %self.pipeline.name, generation, error = %chain, remedy, "halted");
        } else {
            tracing::warn!(pipeline = %self.pipeline.name, generation, error = %chain, remedy, "generation failed");
        }
        self.status.last_fault = Some(FaultReport { at: Utc::now(), error: chain, remedy: remedy.to_owned() });
    }

    /// Shows and returns the step after a fault.
    pub(super) fn after(&mut self, error: Error) -> Then {
        let next = self.restarts.after(&error, self.is_one_shot(), &self.pipeline.timing);
        self.show_pause(next);
        match next {
            AfterFault::GiveUp => Then::Stop(Err(error)),
            AfterFault::Again => Then::Restart(Duration::ZERO),
            AfterFault::After(pause) | AfterFault::Halted(pause) => Then::Restart(pause),
        }
    }

    pub(super) fn show_pause(&mut self, next: AfterFault) {
        match next {
            AfterFault::After(pause) => self.show(PipelineState::BackingOff { until: Utc::now() + pause }),
            AfterFault::Halted(_) => self.show(PipelineState::Halted),
            AfterFault::GiveUp | AfterFault::Again => {}
        }
    }

    pub(super) fn end(&mut self, ending: Ending, then: Then, ctx: &mut Context<Self>) {
        let state = std::mem::replace(&mut self.state, State::Waiting);
        let group = match state {
            State::Running(group) => group,
            State::Ending { group, .. } => group,
            other => {
                self.state = other;
                return;
            }
        };
        self.end_lease_watch(ctx);
        self.passes.take_held();
        self.interrupt_full_sync();
        group.end(ending);
        let is_over = group.alive().is_empty() && self.full_sync.is_none();
        self.state = State::Ending { group, ending, then };
        if is_over {
            // The last member that ended did so with an error: there is no other to wait for.
            return self.all_ended(ctx);
        }
        self.set_deadline(ending, ctx);
    }

    pub(super) fn set_deadline(&self, ending: Ending, ctx: &mut Context<Self>) {
        let limit = match ending {
            _ if self.shutting_down => self.pipeline.timing.shutdown,
            Ending::Drained | Ending::Cut => CUT_DEADLINE,
        };
        let generation = self.generation;
        ctx.run_later(limit, move |supervisor, ctx| {
            let State::Ending { group, .. } = &supervisor.state else { return };
            if supervisor.generation == generation {
                tracing::error!(pipeline = %supervisor.pipeline.name, generation = generation.0, still_running = group.names_alive(),
                    "deadline passed, ending without the members that still run");
                group.abandon();
                supervisor.all_ended(ctx);
            }
        });
    }

    pub(super) fn member_ended(&mut self, member: Member, exit: WorkerExit, ctx: &mut Context<Self>) {
        match (&mut self.state, exit) {
            (State::Running(group), exit) => {
                group.ended(member);
                let error = match exit {
                    WorkerExit::Failed(error) => error,
                    WorkerExit::Finished => Error::new(ErrorKind::ActorStopped, format!("the {member} stopped unexpectedly")),
                };
                self.fault(error, ctx);
            }
            (State::Ending { group, ending, .. }, exit) => {
                group.ended(member);
                let ending = *ending;
                if let (Ending::Drained, WorkerExit::Failed(error)) = (ending, exit) {
                    return self.fault(error, ctx);
                }
                group.end(ending);
                if group.alive().is_empty() && self.full_sync.is_none() {
                    self.all_ended(ctx);
                }
            }
            _ => {}
        }
    }

    pub(super) fn all_ended(&mut self, ctx: &mut Context<Self>) {
        self.passes.break_off();
        if let State::Ending { then, .. } = std::mem::replace(&mut self.state, State::Waiting) {
            self.then(then, ctx);
        }
    }

    pub(super) fn then(&mut self, then: Then, ctx: &mut Context<Self>) {
        match then {
            Then::Stop(outcome) => self.finish(outcome, ctx),
            Then::Restart(_) | Then::Reconfigure | Then::StandBy | Then::RollBack(_) | Then::IgnoreQuarantine(_)
                if self.shutting_down =>
            {
                self.finish(Ok(None), ctx);
            }
            Then::StandBy => self.stand_by_for_successor(ctx),
            Then::Reconfigure => {
                // The number may belong to a graph of another server.
                self.status.checkpoint_sequence = 0;
                self.launch(ctx);
            }
            Then::RollBack(answer) => self.roll_back(answer, ctx),
            Then::IgnoreQuarantine(answer) => self.ignore_quarantine(answer, ctx),
            Then::Restart(pause) => {
                let generation = self.generation;
                ctx.run_later(pause, move |supervisor, ctx| {
                    if supervisor.generation == generation && matches!(supervisor.state, State::Waiting) {
                        supervisor.launch(ctx);
                    }
                });
            }
        }
    }

    /// Rolls back. At this point no actor writes or holds the lease.
    fn roll_back(&mut self, answer: oneshot::Sender<Result<()>>, ctx: &mut Context<Self>) {
        self.forget_proofs();
        self.show_again();
        let connector = Arc::clone(&self.pipeline.connector);
        let task = async move { roll_back(connector.as_ref()).await };
        ctx.spawn(task.into_actor(self).map(|outcome, supervisor, ctx| {
            if outcome.is_ok() {
                let generation = supervisor.generation.0;
                tracing::warn!(pipeline = %supervisor.pipeline.name, generation, "rolled back to the previous graph and paused");
                // The number belongs to the other graph.
                supervisor.status.checkpoint_sequence = 0;
                supervisor.pause_said = Some(true);
            }
            // The client may have gone.
            let _ = answer.send(outcome);
            supervisor.launch(ctx);
        }));
    }

    /// Ignores what is quarantined. At this point no actor writes or holds the lease.
    fn ignore_quarantine(&mut self, answer: oneshot::Sender<Result<usize>>, ctx: &mut Context<Self>) {
        let connector = Arc::clone(&self.pipeline.connector);
        let task = async move { ignore_quarantine(connector.as_ref()).await };
        ctx.spawn(task.into_actor(self).map(|outcome, supervisor, ctx| {
            // The client may have gone.
            let _ = answer.send(outcome);
            supervisor.launch(ctx);
        }));
    }

    pub(super) fn finish(&mut self, outcome: PipelineOutcome, ctx: &mut Context<Self>) {
        self.state = State::Ended;
        self.show(PipelineState::Stopped);
        if let Some(sender) = self.outcome.take() {
            // If no receiver waits any more, none needs the outcome.
            let _ = sender.send(outcome);
        }
        ctx.stop();
    }
}
