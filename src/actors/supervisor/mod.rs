//! The supervisor of one pipeline: starts generations, decides which pass runs, restarts after faults, and ends in order.

mod comparison;
mod full_sync;
mod generations;
mod handlers;
mod handover;
mod next_pass;
mod pass_queue;
mod restarts;

use actix::{Actor, Addr, Recipient, SpawnHandle};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use comparison::Comparing;

use super::connection_factory::FittedPipeline;
use super::credit::CreditPool;
use super::generation_actors::{Ending, GenerationActors};
use super::messages::{Shutdown, StatusChanged};
use super::pipeline::{Pipeline, PipelineOutcome, Schedule};
use crate::error::Result;
use crate::model::batch::Generation;
use crate::model::changes::BatchChanges;
use crate::model::guard::HeldDeletes;
use crate::model::leader::Leader;
use crate::model::spread::InstanceId;
use crate::telemetry::status::{PipelineState, PipelineStatus};
use full_sync::FullSyncUnderWay;
use pass_queue::PassQueue;
use restarts::Restarts;

#[cfg(test)]
pub(super) use handlers::StopMember;

pub(crate) struct Supervisor {
    pipeline: Pipeline,
    /// The profile of the generation, and the connections for it.
    fitted: FittedPipeline,
    generation: Generation,
    state: State,
    passes: PassQueue,
    /// The last decision of an operator of this process about a pause; before that, the graph's flag counts.
    pause_said: Option<bool>,
    /// Whether such a decision is being stored.
    pause_changing: bool,
    /// The knowledge of comparisons.
    comparing: Comparing,
    /// The losses by a full sync that wait for an operator's approval.
    swap_held: Vec<HeldDeletes>,
    /// Counts the timers for a next pass: a timer is void once a later one is set.
    pass_number: u64,
    restarts: Restarts,
    /// Whether this process has led the pipeline since it last stood by.
    has_led: bool,
    /// The process that leads the pipeline, while this one stands by.
    leader: Option<Leader>,
    /// The task that looks at the lease while this process stands by, and at the other instances while it leads.
    lease_watch: Option<SpawnHandle>,
    /// Whether this process must stand by once before it may take the lease of a pipeline that instances share.
    is_joining: bool,
    /// The state that is shown from the beginning of a handover until the lease names the leader, so that clients send commands to
    /// the successor: this process would lose them.
    handed_to: Option<PipelineState>,
    /// The instance that this process handed the pipeline over to last, and when.
    handed_over: Option<(InstanceId, Instant)>,
    shutting_down: bool,
    /// Whether full syncs are done beside the graph.
    beside: bool,
    /// Whether a full sync beside the graph has to be done, or is under way.
    full_wanted: bool,
    /// The full sync under way.
    full_sync: Option<FullSyncUnderWay>,
    /// The acknowledged batch that is not shown yet.
    untold: Option<Arc<BatchChanges>>,
    /// The permits of the stage under way, if there is one: they show what is in flight.
    stage_credit: Option<Arc<CreditPool>>,
    /// The address for messages to itself.
    address: Option<Addr<Supervisor>>,
    status: PipelineStatus,
    outcome: Option<oneshot::Sender<PipelineOutcome>>,
}

enum State {
    /// Connecting, in a task of its own.
    Launching,
    Running(GenerationActors),
    /// Members end one after the other; the next step is already decided.
    Ending {
        group: GenerationActors,
        ending: Ending,
        then: Then,
    },
    Waiting,
    Ended,
}

/// The step that follows a generation.
enum Then {
    Restart(Duration),
    /// A generation begins with the configuration that a reload brought.
    Reconfigure,
    /// Another instance leads the pipeline, and this one stands by.
    StandBy,
    /// The kept previous graph replaces the live one, and a generation begins with it.
    RollBack(oneshot::Sender<Result<()>>),
    /// The current quarantine entries are ignored from then on.
    IgnoreQuarantine(oneshot::Sender<Result<usize>>),
    Stop(PipelineOutcome),
}

impl Supervisor {
    /// Creates a supervisor. The receiver gets the outcome once it has ended.
    pub(crate) fn new(pipeline: Pipeline) -> (Self, oneshot::Receiver<PipelineOutcome>) {
        let (outcome, ended) = oneshot::channel();
        let supervisor = Self {
            fitted: pipeline.unfitted(),
            generation: Generation::default(),
            state: State::Waiting,
            passes: PassQueue::new(pipeline.schedule, pipeline.allow_deletes),
            pause_said: None,
            pause_changing: false,
            comparing: Comparing::default(),
            swap_held: Vec::new(),
            pass_number: 0,
            restarts: Restarts::default(),
            has_led: false,
            leader: None,
            lease_watch: None,
            is_joining: true,
            handed_to: None,
            handed_over: None,
            shutting_down: false,
            beside: false,
            full_wanted: false,
            full_sync: None,
            untold: None,
            stage_credit: None,
            address: None,
            status: PipelineStatus::new(&pipeline.name, &pipeline.graph),
            outcome: Some(outcome),
            pipeline,
        };
        (supervisor, ended)
    }

    /// Starts a supervisor. Returns the recipient of a request to stop, and the receiver of the outcome.
    fn start_for(pipeline: Pipeline) -> (Recipient<Shutdown>, oneshot::Receiver<PipelineOutcome>) {
        let (supervisor, ended) = Self::new(pipeline);
        (supervisor.start().recipient(), ended)
    }

    fn is_one_shot(&self) -> bool {
        matches!(self.pipeline.schedule, Schedule::Once(_) | Schedule::Stage(_))
    }

    fn is_stage(&self) -> bool {
        matches!(self.pipeline.schedule, Schedule::Stage(_))
    }

    fn show(&mut self, state: PipelineState) {
        let is_of_running = matches!(state, PipelineState::Idle | PipelineState::Running { .. });
        if is_of_running && !matches!(self.state, State::Running(_)) {
            // Progress may be told after the end of the generation began.
            return self.show_again();
        }
        self.status.state = match (&self.handed_to, state) {
            (Some(standby), _) => standby.clone(),
            (None, PipelineState::Idle) if self.status.paused => PipelineState::Paused,
            (None, state) => state,
        };
        self.show_again();
    }

    fn show_again(&mut self) {
        let credit = match (&self.stage_credit, &self.state) {
            (Some(stage), State::Running(_)) => Some(Arc::clone(stage)),
            (None, State::Running(group)) => Some(Arc::clone(&group.credit)),
            _ => None,
        };
        let changes = self.untold.take();
        self.tell(credit, changes, false);
    }

    fn tell(&self, credit: Option<Arc<CreditPool>>, changes: Option<Arc<BatchChanges>>, staged: bool) {
        self.pipeline.health.do_send(StatusChanged { status: self.status.clone(), credit, changes, staged });
    }
}
