//! The sharing of pipelines with other instances, from the supervisor's side: announcing this process, handing over, and leaving.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use chrono::Utc;
use tokio::time::Instant;
use tracing::Instrument;

use super::{Ending, State, Supervisor, Then};
use crate::actors::generation_actors;
use crate::actors::spreading::Participant;
use crate::model::batch::Generation;
use crate::model::pass::PassMode;
use crate::model::spread::InstanceId;
use crate::sink::Announced;
use crate::telemetry::status::PipelineState;

/// The time for which a pipeline is not handed over again to the same instance. If this process leads the pipeline again, that
/// instance did not take it or gave it up, and would probably do so again: an older version, for example, cannot read the
/// checkpoint.
const HANDED_OVER_AGAIN_AFTER: Duration = Duration::from_secs(600);

impl Supervisor {
    /// This process as one of the instances that share the pipelines, if they share this one.
    pub(super) fn participant(&self) -> Option<Participant> {
        if self.is_one_shot() { None } else { self.pipeline.connector.participant() }
    }

    /// Counts the pipeline among those that instances share.
    pub(super) fn join_instances(&self) {
        if let Some(participant) = self.participant() {
            participant.join();
        }
    }

    /// Announces this process while it leads, and hands over once another instance should lead.
    pub(super) fn watch_instances(&mut self, ctx: &mut Context<Self>) {
        let Some(participant) = self.participant() else { return };
        let generation = self.generation;
        let span = generation_actors::span(&self.pipeline.name, generation);
        let watch = participant.until_another_should_lead().instrument(span);
        let watch = ctx.spawn(watch.into_actor(self).map(move |successor, supervisor, ctx| {
            supervisor.lease_watch = None;
            supervisor.hand_over(generation, successor, ctx);
        }));
        self.lease_watch = Some(watch);
    }

    pub(super) fn end_lease_watch(&mut self, ctx: &mut Context<Self>) {
        if let Some(watch) = self.lease_watch.take() {
            ctx.cancel_future(watch);
        }
    }

    /// Ends the generation in order: everything that was read is applied before the lease is given back.
    fn hand_over(&mut self, generation: Generation, successor: Announced, ctx: &mut Context<Self>) {
        if generation != self.generation || !matches!(self.state, State::Running(_)) {
            return;
        }
        if !self.may_hand_over(&successor.instance) {
            return self.watch_instances(ctx);
        }
        tracing::info!(pipeline = %self.pipeline.name, generation = generation.0, leader = %successor.process, "handing over");
        self.handed_over = Some((successor.instance, Instant::now()));
        self.handed_to = Some(PipelineState::Standby { leader: successor.process, since: Utc::now() });
        self.show(PipelineState::Starting);
        self.end(Ending::Drained, Then::StandBy, ctx);
    }

    /// Whether nothing would be lost. A pause is no obstacle, because it is kept beside the graph.
    fn may_hand_over(&self, successor: &InstanceId) -> bool {
        let is_filling = self.full_wanted || self.full_sync.is_some() || self.status.watermark.is_none();
        // Only this process knows what an operator ordered or approved.
        let is_full_ordered = self.passes.requested() == Some(PassMode::Full) || !self.swap_held.is_empty();
        let is_awaited =
            is_full_ordered || self.passes.is_approved() || self.pause_changing || self.comparing.is_ordered_here_alone();
        let is_recent = |(before, at): &(InstanceId, Instant)| before == successor && at.elapsed() < HANDED_OVER_AGAIN_AFTER;
        let came_back = self.handed_over.as_ref().is_some_and(is_recent);
        !is_filling && !is_awaited && !came_back
    }

    /// Stands by after a handover, under a number of its own: whatever the ended generation has set a time for is void.
    pub(super) fn stand_by_for_successor(&mut self, ctx: &mut Context<Self>) {
        self.generation = self.generation.next();
        self.status.generation = self.generation.0;
        self.show(PipelineState::Starting);
        self.stand_by(ctx);
    }

    /// Notes that this process no longer leads the pipeline and does not know the leader.
    pub(super) fn forget_leader(&mut self) {
        self.handed_to = None;
        if let Some(participant) = self.participant() {
            participant.forget();
        }
    }

    /// Tells the other instances that this one ends, so that they do not wait for it to take leases.
    pub(super) fn withdraw(&mut self, ctx: &mut Context<Self>) {
        self.end_lease_watch(ctx);
        if let Some(participant) = self.participant() {
            actix::spawn(participant.withdraw());
        }
    }
}
