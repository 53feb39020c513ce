//! The supervisor of one pipeline: starts generations, decides which pass runs, restarts what failed, and ends in order.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Recipient, ResponseActFuture, WrapFuture};
use chrono::{DateTime, Utc};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Instrument;

use super::Reports;
use super::group::{self, Ending, Group, Settings};
use super::launch::{Connector, Known, Launched, launch};
use super::loader;
use super::messages::{
    Acknowledged, ActorStopped, Cover, Exit, Member, PassOrder, RequestPass, SetPaused, Shutdown, SideProbed, SourceMoved,
    StartPass, StatusChanged, WorkerExited,
};
use super::prober::Watchers;
use crate::error::{Directive, Error, ErrorKind, Result};
use crate::model::batch::Generation;
use crate::model::bookmark::Bookmark;
use crate::model::pass::{Mode, PassSummary, Totals};
use crate::model::profile::{Profile, ProfileFingerprint};
use crate::retry::Backoff;
use crate::sink::LEASE_TTL;
use crate::sync::{PassOutcome, READ_AGAIN};
use crate::telemetry::status::{FaultReport, PipelineState, PipelineStatus};

/// How long a generation that is cut may take to finish what is half done: longer than any request's timeout.
const CUT_DEADLINE: Duration = Duration::from_secs(150);

/// A difference of counts is looked at again after this time: long enough for a commit between two queries to be over.
const LOOK_AGAIN_SOON: Duration = Duration::from_millis(100);

/// The comparison in the background goes on so often: short slices, because a pass waits for the one under way.
const SLICE: Duration = Duration::from_millis(250);
const SLICES_PER_SECOND: usize = 4;

/// Generations in a row of a one-shot command that end without one acknowledged batch before the command gives up.
const FRUITLESS_GENERATIONS: u32 = 4;

/// When passes run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// One pass of this mode, and what must come before it; then the end.
    Once(Mode),
    /// For ever.
    Continuous {
        /// Whether the first pass is a full one even if the cache is in step.
        full_first: bool,
        /// The longest time between two incremental passes; absent where they are turned off.
        interval: Option<Duration>,
    },
}

/// Times of supervision; tests shorten them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Pauses between generations.
    pub backoff: Backoff,
    /// A generation that lived this long without a fault wipes the count of failures.
    pub quiet: Duration,
    /// The pause before something that needs a person is tried again.
    pub halted: Duration,
    /// How long an orderly shutdown may take.
    pub shutdown: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            backoff: Backoff::GENERATION,
            quiet: Duration::from_secs(60),
            halted: Duration::from_secs(30),
            // Containers are killed ten seconds after they are asked to stop.
            shutdown: Duration::from_secs(8),
        }
    }
}

/// All that a supervisor needs.
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// The graph that it keeps.
    pub graph: String,
    /// Makes connections.
    pub connector: Arc<dyn Connector>,
    /// What is kept in step.
    pub profile: Arc<Profile>,
    /// What its generations are told.
    pub settings: Settings,
    /// When passes run.
    pub schedule: Schedule,
    /// Times of supervision.
    pub timing: Timing,
    /// Who shows its state.
    pub health: Recipient<StatusChanged>,
}

/// How a pipeline ended: the last pass, if one ended, or why it failed.
pub type Outcome = Result<Option<PassSummary>>;

/// The actor.
pub struct Supervisor {
    pipeline: Pipeline,
    fingerprint: ProfileFingerprint,
    generation: Generation,
    state: State,
    /// The pass that runs.
    running: Option<Mode>,
    /// Whether that pass was begun by an earlier generation.
    resumed: bool,
    /// When it was begun or went on.
    pass_started: Instant,
    /// How much of what it did is in the statistics.
    pass_counted: Totals,
    /// Whether somebody waits for the next pass that begins.
    awaited: bool,
    /// The number of the last pass that somebody was promised.
    promised: u64,
    /// When a probe first saw a commit after its beginning.
    moved_since: Option<DateTime<Utc>>,
    /// The order that waits for the end of a pause.
    held: Option<PassOrder>,
    /// What an operator of this process said last about a pause; before that, what the graph's flag says counts.
    pause_said: Option<bool>,
    /// Whether such a word is being stored.
    pause_changing: bool,
    /// The pass that somebody asked for and that has not begun.
    requested: Option<Mode>,
    /// When the comparison was last gone on with.
    last_slice: Option<Instant>,
    /// Counts the ends of passes: a timer set after one is void after the next.
    pass_number: u64,
    /// Failures in a row, for the backoff.
    failures: u32,
    /// Generations in a row without an acknowledgement.
    fruitless: u32,
    shutting_down: bool,
    status: PipelineStatus,
    outcome: Option<oneshot::Sender<Outcome>>,
}

enum State {
    /// Connecting, in a task of its own.
    Launching,
    /// At work.
    Running(Group),
    /// Members end one after the other; what comes then is decided.
    Ending { group: Group, ending: Ending, then: Then },
    /// Between two generations.
    Waiting,
    /// Over.
    Ended,
}

/// What follows a generation.
enum Then {
    Restart(Duration),
    Stop(Outcome),
}

impl Supervisor {
    /// Makes it; the receiver gets the outcome once it has ended.
    pub fn new(pipeline: Pipeline) -> (Self, oneshot::Receiver<Outcome>) {
        let (outcome, ended) = oneshot::channel();
        let supervisor = Self {
            fingerprint: pipeline.profile.fingerprint(),
            generation: Generation::default(),
            state: State::Waiting,
            running: None,
            resumed: false,
            pass_started: Instant::now(),
            pass_counted: Totals::default(),
            awaited: false,
            promised: 0,
            moved_since: None,
            held: None,
            pause_said: None,
            pause_changing: false,
            requested: match pipeline.schedule {
                Schedule::Once(mode) => Some(mode),
                Schedule::Continuous { full_first, .. } => full_first.then_some(Mode::Full),
            },
            last_slice: None,
            pass_number: 0,
            failures: 0,
            fruitless: 0,
            shutting_down: false,
            status: PipelineStatus::new(&pipeline.name, &pipeline.graph),
            outcome: Some(outcome),
            pipeline,
        };
        (supervisor, ended)
    }

    fn is_one_shot(&self) -> bool {
        matches!(self.pipeline.schedule, Schedule::Once(_))
    }

    // ---- a generation begins ----

    fn launch(&mut self, ctx: &mut Context<Self>) {
        self.generation = self.generation.next();
        self.state = State::Launching;
        self.status.generation = self.generation.0;
        self.show(PipelineState::Starting);
        let (connector, fingerprint) = (Arc::clone(&self.pipeline.connector), self.fingerprint.clone());
        let wanted = self.requested;
        let known = Known { last_sequence: self.status.checkpoint_sequence, last_bookmark: self.status.source_bookmark.clone() };
        let span = group::span(&self.pipeline.name, self.generation);
        let task = tokio::spawn(async move { launch(connector.as_ref(), &fingerprint, wanted, known).await }.instrument(span));
        let launching = self.generation;
        ctx.spawn(task.into_actor(self).map(move |outcome, supervisor, ctx| {
            let outcome = outcome.unwrap_or_else(|error| Err(Error::caused(ErrorKind::Panic, "starting failed", error)));
            supervisor.launched(launching, outcome, ctx);
        }));
    }

    fn launched(&mut self, generation: Generation, outcome: Result<Launched>, ctx: &mut Context<Self>) {
        if generation != self.generation || !matches!(self.state, State::Launching) {
            return;
        }
        match outcome {
            Ok(launched) if self.shutting_down => {
                self.state = State::Waiting;
                let mut lease = launched.lease;
                ctx.spawn(async move { lease.release().await }.into_actor(self).map(|_, supervisor, ctx| {
                    supervisor.finish(Ok(None), ctx);
                }));
            }
            Ok(launched) => self.begin(launched, ctx),
            Err(error) => self.launch_failed(error, ctx),
        }
    }

    fn begin(&mut self, launched: Launched, ctx: &mut Context<Self>) {
        let reason = launched.reason.map(|reason| reason.to_string()).unwrap_or_else(|| "resumed".to_owned());
        tracing::info!(
            pipeline = %self.pipeline.name, generation = self.generation.0, mode = %launched.order.mode(), reason, "pass begins"
        );
        self.status.checkpoint_sequence = launched.checkpoint.sequence;
        self.status.watermark = launched.checkpoint.watermark;
        self.status.last_pass = launched.checkpoint.last_pass.clone();
        // A proof is of one generation: what happened in between is not known.
        self.status.equal_as_of = None;
        self.status.outside_profile = launched.checkpoint.outside_profile.clone();
        self.status.quarantined = launched.quarantine.len() as u64;
        self.status.quarantine = loader::shown(&launched.quarantine);
        if self.status.history.is_empty() {
            self.status.history = Arc::new(launched.checkpoint.last_pass.iter().cloned().collect());
        }
        // What an earlier generation wanted to look at again is not known.
        self.status.settled = false;
        // Both sides have just answered.
        self.status.failing.clear();
        // A one-shot pass is asked for by a person, who knows better than the flag.
        self.status.paused = !self.is_one_shot() && self.pause_said.unwrap_or(launched.paused);
        let order = launched.order.clone();
        let address = ctx.address();
        let reports = Reports {
            exited: address.clone().recipient(),
            stopped: address.clone().recipient(),
            span: group::span(&self.pipeline.name, self.generation),
        };
        let group = Group::start(
            self.generation,
            launched,
            &self.pipeline.profile,
            self.pipeline.settings,
            address.clone().recipient(),
            Watchers { moved: address.clone().recipient(), probed: address.recipient() },
            reports,
        );
        self.state = State::Running(group);
        self.start_pass(order);
    }

    fn launch_failed(&mut self, error: Error, ctx: &mut Context<Self>) {
        self.note_fault(&error);
        if self.shutting_down {
            return self.finish(Ok(None), ctx);
        }
        if self.is_one_shot() && (self.status.faults == 1 || error.directive() == Directive::Halt) {
            // Nothing is done yet: the person at the terminal learns it now.
            return self.finish(Err(error), ctx);
        }
        let then = self.after(error);
        self.state = State::Waiting;
        self.then(then, ctx);
    }

    // ---- passes ----

    fn start_pass(&mut self, order: PassOrder) {
        let State::Running(group) = &self.state else { return };
        if self.status.paused {
            return self.hold(order);
        }
        let mode = order.mode();
        self.running = Some(mode);
        self.pass_started = Instant::now();
        let mut thorough = false;
        match &order {
            PassOrder::Begin(_) => {
                self.moved_since = None;
                self.resumed = false;
                self.pass_counted = Totals::default();
                self.status.passes_begun += 1;
                thorough = std::mem::take(&mut self.awaited);
            }
            PassOrder::Resume(pass) => {
                self.moved_since = None;
                self.resumed = true;
                self.pass_counted = pass.totals;
            }
            // It covers no commit: whoever waits for one waits for the next pass.
            PassOrder::Compare(_) => {
                self.resumed = false;
                self.pass_counted = Totals::default();
            }
        }
        if self.requested == Some(mode) || mode == Mode::Full {
            self.requested = None;
        }
        group.start_pass(StartPass { order, watermark: self.status.watermark, thorough });
        if mode == Mode::Full {
            // It empties the graph: until its end there is nothing to rely on.
            self.status.watermark = None;
        }
        let since = Utc::now();
        self.show(PipelineState::Running { mode, since, totals: Default::default(), cursor: None });
    }

    /// Keeps an order for the end of the pause. One that does more than an incremental pass is not replaced by one.
    fn hold(&mut self, order: PassOrder) {
        if order == PassOrder::Begin(Mode::Full) {
            // A new generation may begin before the pause ends.
            self.requested = Some(Mode::Full);
        }
        let goes_first = matches!(self.held, Some(PassOrder::Resume(_) | PassOrder::Begin(Mode::Full)));
        if !goes_first || order.mode() == Mode::Full {
            self.held = Some(order);
        }
        self.show(PipelineState::Paused);
    }

    fn pause(&mut self, paused: bool) {
        self.pause_said = Some(paused);
        self.status.paused = paused;
        if !matches!(self.state, State::Running(_)) || self.running.is_some() {
            // What is under way goes on to its end.
            return self.show_again();
        }
        match self.held.take() {
            Some(order) if !paused => self.start_pass(order),
            held => {
                self.held = held;
                self.show(PipelineState::Idle);
            }
        }
    }

    /// Runs a pass now, or once the one under way has ended: one, however often it is asked for meanwhile.
    fn request(&mut self, mode: Mode) {
        if matches!(self.state, State::Running(_)) && self.running.is_none() {
            return self.start_pass(PassOrder::Begin(mode));
        }
        // A full pass covers an incremental one.
        if self.requested != Some(Mode::Full) {
            self.requested = Some(mode);
        }
    }

    fn pass_ended(&mut self, summary: PassSummary, outcome: PassOutcome, ctx: &mut Context<Self>) {
        if summary.mode == Mode::Differential {
            return self.comparison_advanced(summary, outcome, ctx);
        }
        tracing::info!(
            pipeline = %self.pipeline.name, generation = self.generation.0, mode = %summary.mode,
            seconds = (summary.ended_at - summary.began_at).as_seconds_f64(), read = summary.totals.read,
            nodes = summary.totals.nodes, relationships = summary.totals.relationships, deleted = summary.totals.deleted,
            quarantined = summary.totals.quarantined, collapsed = summary.totals.collapsed, "pass ended"
        );
        self.running = None;
        self.status.watermark = Some(summary.began_at);
        self.status.last_fault = None;
        self.status.applied(summary.clone(), self.moved_since);
        self.status.settled = outcome == PassOutcome::default();
        self.status.statistics.add_ended(summary.mode, self.pass_started.elapsed());
        if std::mem::take(&mut self.resumed) {
            // It reads the source as of its beginning, which may be long ago: what changed since is next.
            return self.start_pass(PassOrder::Begin(self.requested.unwrap_or(Mode::Incremental)));
        }
        // A difference that it saw for the first time is acted on by the next one.
        self.status.passes_ended = self.status.passes_begun - u64::from(outcome.look_again_soon);
        if self.status.passes_ended < self.promised {
            self.awaited = true;
            self.requested.get_or_insert(Mode::Incremental);
        }
        self.show(PipelineState::Idle);
        match self.pipeline.schedule {
            // An incremental pass comes only after whatever full pass was needed.
            Schedule::Once(mode) if summary.mode == mode || summary.mode == Mode::Incremental => {
                self.end(Ending::Drained, Then::Stop(Ok(Some(summary))), ctx);
            }
            Schedule::Once(mode) => self.start_pass(PassOrder::Begin(mode)),
            Schedule::Continuous { interval, .. } => self.schedule_next(interval, outcome, ctx),
        }
    }

    /// A slice of the comparison, or all of it, is done.
    fn comparison_advanced(&mut self, summary: PassSummary, outcome: PassOutcome, ctx: &mut Context<Self>) {
        self.running = None;
        self.last_slice = Some(Instant::now());
        if let Some(verdict) = &outcome.verdict {
            let equal_as_of = verdict.equal_as_of.as_ref().map(Bookmark::as_str);
            tracing::info!(
                pipeline = %self.pipeline.name, generation = self.generation.0, rows = verdict.rows, differences = verdict.findings,
                equal_as_of, "comparison ended"
            );
            self.status.equal_as_of.clone_from(&verdict.equal_as_of);
        }
        self.show(PipelineState::Idle);
        match self.pipeline.schedule {
            Schedule::Once(_) => self.end(Ending::Drained, Then::Stop(Ok(Some(summary))), ctx),
            Schedule::Continuous { .. } => {
                if let Some(mode) = self.requested.take() {
                    return self.start_pass(PassOrder::Begin(mode));
                }
                self.schedule_slice(ctx);
            }
        }
    }

    /// Whether something was committed since the two were last found equal.
    fn needs_comparison(&self) -> bool {
        let now = self.status.source_bookmark.as_ref().or(self.status.last_pass.as_ref().and_then(|pass| pass.bookmark.as_ref()));
        self.status.watermark.is_some() && self.status.equal_as_of.as_ref() != now
    }

    /// Has the comparison go on after a pause that keeps its rate. It yields to passes, but never to below a tenth of its rate.
    fn schedule_slice(&mut self, ctx: &mut Context<Self>) {
        if self.slice_rows().is_none() || !self.needs_comparison() {
            return;
        }
        let generation = self.generation;
        ctx.run_later(SLICE, move |supervisor, _| {
            if supervisor.generation == generation && supervisor.running.is_none() {
                supervisor.start_slice();
            }
        });
    }

    fn start_slice(&mut self) {
        if self.status.paused {
            return;
        }
        if let Some(rows) = self.slice_rows().filter(|_| self.needs_comparison()) {
            self.start_pass(PassOrder::Compare(rows));
        }
    }

    fn is_comparison_starved(&self) -> bool {
        let waits = self.last_slice.is_none_or(|at| at.elapsed() >= SLICE * 10);
        waits && !self.status.paused && self.slice_rows().is_some() && self.needs_comparison()
    }

    fn slice_rows(&self) -> Option<usize> {
        let rate = usize::try_from(self.pipeline.settings.scrub_rows_per_second?).unwrap_or(usize::MAX);
        Some((rate / SLICES_PER_SECOND).max(1))
    }

    fn schedule_next(&mut self, interval: Option<Duration>, outcome: PassOutcome, ctx: &mut Context<Self>) {
        if self.is_comparison_starved() {
            return self.start_slice();
        }
        if let Some(mode) = self.requested.take() {
            return self.start_pass(PassOrder::Begin(mode));
        }
        self.schedule_slice(ctx);
        let Some(interval) = interval else { return };
        let interval = match outcome {
            PassOutcome { look_again_soon: true, .. } => LOOK_AGAIN_SOON,
            PassOutcome { look_again: true, .. } => READ_AGAIN,
            _ => interval,
        };
        self.pass_number += 1;
        let number = self.pass_number;
        let generation = self.generation;
        ctx.run_later(interval, move |supervisor, _| {
            let is_last = supervisor.generation == generation && supervisor.pass_number == number;
            if is_last {
                supervisor.request(Mode::Incremental);
            }
        });
    }

    // ---- a generation ends ----

    fn fault(&mut self, error: Error, ctx: &mut Context<Self>) {
        self.note_fault(&error);
        if let Some(mode) = self.running.take() {
            self.status.statistics.add_failed(mode);
        }
        if let State::Running(group) = &self.state
            && group.started.elapsed() >= self.pipeline.timing.quiet
        {
            self.failures = 0;
        }
        let then = if self.shutting_down { Then::Stop(Ok(None)) } else { self.after(error) };
        self.end(Ending::Cut, then, ctx);
    }

    /// Logged once: what follows from a fault within its generation is not news.
    fn note_fault(&mut self, error: &Error) {
        self.status.faults += 1;
        let (chain, remedy) = (error.chain(), error.kind().remedy());
        let generation = self.generation.0;
        if error.directive() == Directive::Halt {
            tracing::error!(pipeline = %self.pipeline.name, generation, error = %chain, remedy, "halted");
        } else {
            tracing::warn!(pipeline = %self.pipeline.name, generation, error = %chain, remedy, "generation failed");
        }
        self.status.last_fault = Some(FaultReport { at: Utc::now(), error: chain, remedy: remedy.to_owned() });
    }

    /// What follows a fault.
    fn after(&mut self, error: Error) -> Then {
        self.failures += 1;
        self.fruitless += 1;
        let halt = error.directive() == Directive::Halt;
        if self.is_one_shot() && (halt || self.fruitless >= FRUITLESS_GENERATIONS) {
            return Then::Stop(Err(error));
        }
        let pause = match error.kind() {
            ErrorKind::LeaseHeld => LEASE_TTL,
            _ if halt => self.pipeline.timing.halted,
            _ => self.pipeline.timing.backoff.pause(self.failures),
        };
        let until = Utc::now() + pause;
        self.show(if halt { PipelineState::Halted } else { PipelineState::BackingOff { until } });
        Then::Restart(pause)
    }

    fn end(&mut self, ending: Ending, then: Then, ctx: &mut Context<Self>) {
        let state = std::mem::replace(&mut self.state, State::Waiting);
        let group = match state {
            State::Running(group) => group,
            State::Ending { group, .. } => group,
            other => {
                self.state = other;
                return;
            }
        };
        self.running = None;
        self.held = None;
        group.end(ending);
        self.state = State::Ending { group, ending, then };
        self.set_deadline(ending, ctx);
    }

    fn set_deadline(&self, ending: Ending, ctx: &mut Context<Self>) {
        let limit = match ending {
            _ if self.shutting_down => self.pipeline.timing.shutdown,
            Ending::Drained | Ending::Cut => CUT_DEADLINE,
        };
        let generation = self.generation;
        ctx.run_later(limit, move |supervisor, ctx| {
            let State::Ending { group, .. } = &supervisor.state else { return };
            if supervisor.generation == generation {
                tracing::error!(pipeline = %supervisor.pipeline.name, generation = generation.0, still_running = group.names_alive(),
                    "deadline passed, ending without them");
                group.abandon();
                supervisor.all_ended(ctx);
            }
        });
    }

    fn member_ended(&mut self, member: Member, exit: Exit, ctx: &mut Context<Self>) {
        match (&mut self.state, exit) {
            (State::Running(group), exit) => {
                group.ended(member);
                let error = match exit {
                    Exit::Failed(error) => error,
                    Exit::Finished => Error::new(ErrorKind::ActorStopped, format!("the {member} ended by itself")),
                };
                self.fault(error, ctx);
            }
            (State::Ending { group, ending, .. }, exit) => {
                group.ended(member);
                let ending = *ending;
                if let (Ending::Drained, Exit::Failed(error)) = (ending, exit) {
                    return self.fault(error, ctx);
                }
                group.end(ending);
                if group.alive().is_empty() {
                    self.all_ended(ctx);
                }
            }
            _ => {}
        }
    }

    fn all_ended(&mut self, ctx: &mut Context<Self>) {
        if let State::Ending { then, .. } = std::mem::replace(&mut self.state, State::Waiting) {
            self.then(then, ctx);
        }
    }

    fn then(&mut self, then: Then, ctx: &mut Context<Self>) {
        match then {
            Then::Stop(outcome) => self.finish(outcome, ctx),
            Then::Restart(_) if self.shutting_down => self.finish(Ok(None), ctx),
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

    fn finish(&mut self, outcome: Outcome, ctx: &mut Context<Self>) {
        self.state = State::Ended;
        self.show(PipelineState::Stopped);
        if let Some(sender) = self.outcome.take() {
            // Nobody may be waiting any more; then nobody needs it.
            let _ = sender.send(outcome);
        }
        ctx.stop();
    }

    fn show(&mut self, state: PipelineState) {
        self.status.state = match state {
            PipelineState::Idle if self.status.paused => PipelineState::Paused,
            state => state,
        };
        self.show_again();
    }

    fn show_again(&self) {
        let credit = match &self.state {
            State::Running(group) => Some(Arc::clone(&group.credit)),
            _ => None,
        };
        self.pipeline.health.do_send(StatusChanged { status: self.status.clone(), credit });
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.launch(ctx);
    }
}

impl Handler<Acknowledged> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: Acknowledged, ctx: &mut Self::Context) {
        if message.generation != self.generation {
            return;
        }
        self.fruitless = 0;
        self.status.checkpoint_sequence = message.sequence;
        self.status.quarantined = message.quarantined;
        if let Some(quarantine) = &message.quarantine {
            self.status.quarantine = Arc::clone(quarantine);
        }
        self.status.statistics.add_progress(&self.pass_counted, &message.totals);
        self.pass_counted = message.totals;
        if let State::Running(group) = &self.state {
            group.acknowledge(message.clone());
        }
        if let Some(summary) = message.ended {
            return self.pass_ended(summary, message.outcome, ctx);
        }
        if let PipelineState::Running { mode, since, .. } = self.status.state {
            self.show(PipelineState::Running { mode, since, totals: message.totals, cursor: message.cursor });
        }
    }
}

impl Handler<WorkerExited> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: WorkerExited, ctx: &mut Self::Context) {
        if message.generation == self.generation {
            self.member_ended(message.member, message.exit, ctx);
        }
    }
}

impl Handler<ActorStopped> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: ActorStopped, ctx: &mut Self::Context) {
        if message.generation == self.generation && matches!(self.state, State::Running(_)) {
            let error = Error::new(ErrorKind::ActorStopped, format!("the {} stopped", message.member));
            self.fault(error, ctx);
        }
    }
}

impl Handler<SourceMoved> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: SourceMoved, _: &mut Self::Context) {
        let current = message.generation == self.generation;
        let follows = matches!(self.pipeline.schedule, Schedule::Continuous { interval: Some(_), .. });
        let now = Utc::now();
        // A commit before the first query of the last pass is in the cache.
        let lacking = self.status.saw(message.bookmark, now);
        if lacking {
            self.moved_since.get_or_insert(now);
        }
        if current && follows && lacking {
            self.request(Mode::Incremental);
        }
        self.show_again();
    }
}

impl Handler<SideProbed> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: SideProbed, _: &mut Self::Context) {
        if message.generation != self.generation {
            return;
        }
        let before = self.status.unreachable().map(|(side, _)| side);
        self.status.probed(message.side, message.failure, Utc::now());
        match (before, self.status.unreachable()) {
            (None, Some((side, failing))) => {
                tracing::warn!(pipeline = %self.pipeline.name, server = %side, error = failing.error, "server does not answer");
            }
            (Some(side), None) => tracing::info!(pipeline = %self.pipeline.name, server = %side, "server answers again"),
            _ => {}
        }
        self.show_again();
    }
}

impl Handler<Cover> for Supervisor {
    type Result = u64;

    fn handle(&mut self, _: Cover, _: &mut Self::Context) -> u64 {
        // The pass under way may have read its bookmark before the commit in question.
        let covering = self.status.passes_begun + 1;
        self.awaited = true;
        self.promised = covering;
        self.request(Mode::Incremental);
        covering
    }
}

impl Handler<SetPaused> for Supervisor {
    type Result = ResponseActFuture<Self, Result<()>>;

    fn handle(&mut self, SetPaused(paused): SetPaused, _: &mut Self::Context) -> Self::Result {
        if std::mem::replace(&mut self.pause_changing, true) {
            let busy = Error::new(ErrorKind::CacheBusy, "another pause or resume is being stored");
            return Box::pin(actix::fut::ready(Err(busy)));
        }
        let connector = Arc::clone(&self.pipeline.connector);
        let store = async move { connector.store().await?.set_paused(paused).await };
        Box::pin(store.into_actor(self).map(move |stored, supervisor, _| {
            supervisor.pause_changing = false;
            stored.map(|()| supervisor.pause(paused))
        }))
    }
}

impl Handler<RequestPass> for Supervisor {
    type Result = ();

    fn handle(&mut self, RequestPass(mode): RequestPass, _: &mut Self::Context) {
        self.request(mode);
    }
}

impl Handler<Shutdown> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        if std::mem::replace(&mut self.shutting_down, true) {
            return;
        }
        self.show(PipelineState::Stopping);
        match &mut self.state {
            State::Running(_) => self.end(Ending::Drained, Then::Stop(Ok(None)), ctx),
            State::Ending { then, ending, .. } => {
                *then = Then::Stop(Ok(None));
                let ending = *ending;
                self.set_deadline(ending, ctx);
            }
            State::Waiting => self.finish(Ok(None), ctx),
            // Every step of launching has a timeout; its end is looked at when it comes.
            State::Launching => {
                let limit = self.pipeline.timing.shutdown;
                ctx.run_later(limit, |supervisor, ctx| {
                    if matches!(supervisor.state, State::Launching) {
                        supervisor.finish(Ok(None), ctx);
                    }
                });
            }
            State::Ended => {}
        }
    }
}

/// Stops one actor's shell from outside, as a defect would.
#[cfg(test)]
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
pub(super) struct StopMember(pub(super) Member);

#[cfg(test)]
impl Handler<StopMember> for Supervisor {
    type Result = ();

    fn handle(&mut self, StopMember(member): StopMember, _: &mut Self::Context) {
        if let State::Running(group) = &self.state {
            group.stop_shell(member);
        }
    }
}
