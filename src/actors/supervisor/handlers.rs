//! The reactions of a supervisor to each message.

use std::sync::Arc;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, ResponseActFuture, ResponseFuture, WrapFuture};
use chrono::Utc;
use tokio::sync::oneshot;

use super::{Ending, State, Supervisor, Then};
#[cfg(test)]
use crate::actors::member::Member;
use crate::actors::messages::{
    Acknowledged, ActorStopped, Approve, AwaitApplied, AwaitVerified, BeginFullSync, IgnoreQuarantine, IndexMade, LeaderFound,
    LogReached, RequestPass, RollBack, SetPaused, Shutdown, SideProbed, SourceMoved, WorkerExited,
};
use crate::actors::pipeline::Reconfigure;
use crate::error::{Error, ErrorKind, Result};
use crate::model::bookmark::Bookmark;
use crate::model::pass::PassMode;
use crate::telemetry::status::{PipelineState, Promise};

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.address = Some(ctx.address());
        self.join_instances();
        self.launch(ctx);
    }
}

impl Handler<Acknowledged> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: Acknowledged, ctx: &mut Self::Context) {
        if message.generation != self.generation {
            return;
        }
        self.restarts.acknowledged();
        self.status.checkpoint_sequence = message.sequence;
        self.status.quarantined = message.quarantined;
        self.show_held(message.held.clone());
        if let Some(quarantine) = &message.quarantine {
            self.status.quarantine = Arc::clone(quarantine);
        }
        if let Some(indexes) = &message.indexes {
            self.status.indexes.clone_from(indexes);
        }
        let counted = self.passes.count(message.totals);
        self.status.statistics.add_progress(&counted, &message.totals);
        self.status.statistics.add_changes(&message.changes);
        self.untold = Some(Arc::clone(&message.changes));
        if let State::Running(group) = &self.state {
            group.acknowledge(message.clone());
        }
        let proves = message.outcome.is_told || message.outcome.verdict.is_some();
        if message.ended.is_some() && (proves || message.equal_as_of.is_none()) {
            self.status.equal_as_of.clone_from(&message.equal_as_of);
        }
        if message.ended.is_some() {
            self.comparing.note_told(message.told_as_of, message.is_proven_by_log);
        }
        if let Some(summary) = message.ended {
            return self.pass_ended(summary, message.outcome, ctx);
        }
        if let PipelineState::Running { mode, since, .. } = self.status.state {
            self.show(PipelineState::Running { mode, since, totals: message.totals, cursor: message.cursor });
        } else {
            self.show_again();
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
            let error = Error::new(ErrorKind::ActorStopped, format!("the {} stopped unexpectedly", message.member));
            self.fault(error, ctx);
        }
    }
}

impl Handler<SourceMoved> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: SourceMoved, ctx: &mut Self::Context) {
        let current = message.generation == self.generation;
        let follows = self.pipeline.schedule.follows();
        // A commit before the first query of the last pass is in the cache.
        let lacking = self.status.saw(message.bookmark, message.committed_at.unwrap_or_else(Utc::now));
        if current && follows && lacking {
            self.request(PassMode::Incremental);
        } else if current && follows && self.passes.is_idle() {
            // A pass was faster than the probe: the commit is applied, and not compared yet.
            self.schedule_slice(ctx);
        }
        self.show_again();
    }
}

impl Handler<LogReached> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: LogReached, _: &mut Self::Context) {
        if message.generation == self.generation {
            self.status.log_reach = message.reach;
            self.show_again();
        }
    }
}

impl Handler<LeaderFound> for Supervisor {
    type Result = ();

    /// Logs a leader once: that another standby was faster is no news while the leader stays.
    fn handle(&mut self, LeaderFound { generation, leader, sequence }: LeaderFound, _: &mut Self::Context) {
        if generation != self.generation || !matches!(self.state, State::Waiting) || self.shutting_down {
            return;
        }
        let is_news = self.leader.replace(leader.clone()).as_ref() != Some(&leader);
        let since = match self.status.state {
            PipelineState::Standby { since, .. } => since,
            _ => Utc::now(),
        };
        self.handed_to = None;
        self.forget_leadership();
        self.restarts.was_quiet();
        if let Some(sequence) = sequence {
            self.status.checkpoint_sequence = sequence;
        }
        self.show(PipelineState::Standby { leader: leader.clone(), since });
        if is_news {
            tracing::info!(pipeline = %self.pipeline.name, generation = generation.0, %leader, "standing by");
        }
    }
}

impl Handler<IndexMade> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: IndexMade, _: &mut Self::Context) {
        let follows = self.pipeline.schedule.follows();
        if message.generation == self.generation && follows {
            self.request(PassMode::Incremental);
        }
    }
}

impl Handler<SideProbed> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: SideProbed, ctx: &mut Self::Context) {
        if message.generation != self.generation {
            return;
        }
        let (pipeline, generation) = (&self.pipeline.name, self.generation.0);
        let before = self.status.unreachable().map(|(side, _)| side);
        self.status.probed(message.side, message.failure, Utc::now());
        match (before, self.status.unreachable()) {
            (None, Some((side, failing))) => {
                tracing::warn!(pipeline, generation, server = %side, error = failing.error, "server does not answer");
            }
            (Some(side), None) => {
                tracing::info!(pipeline, generation, server = %side, "server answers again");
                // A full sync that failed because of this server need not wait any longer.
                ctx.notify(BeginFullSync);
            }
            _ => {}
        }
        self.show_again();
    }
}

impl Handler<AwaitApplied> for Supervisor {
    type Result = ResponseActFuture<Self, Result<Promise>>;

    fn handle(&mut self, AwaitApplied(bookmark): AwaitApplied, _: &mut Self::Context) -> Self::Result {
        self.once_reached(bookmark, |supervisor| {
            let covering = supervisor.passes.promise();
            supervisor.request(PassMode::Incremental);
            covering
        })
    }
}

impl Handler<AwaitVerified> for Supervisor {
    type Result = ResponseActFuture<Self, Result<Promise>>;

    fn handle(&mut self, AwaitVerified(bookmark): AwaitVerified, _: &mut Self::Context) -> Self::Result {
        self.once_reached(bookmark.clone(), |supervisor| {
            let applied = supervisor.status.applied_bookmark().is_some_and(|applied| applied.includes(&bookmark));
            let number = supervisor.prove(bookmark);
            if applied {
                supervisor.go_on_comparing();
            } else {
                // A pass finds and mends such changes sooner, and a comparison that mends proves nothing.
                supervisor.request(PassMode::Incremental);
            }
            number
        })
    }
}

impl Supervisor {
    /// Runs `then` once the source of this generation has reached a commit. It returns the number that is promised.
    fn once_reached(
        &self,
        bookmark: Bookmark,
        then: impl FnOnce(&mut Self) -> u64 + 'static,
    ) -> ResponseActFuture<Self, Result<Promise>> {
        let not_running = || Error::new(ErrorKind::ActorStopped, "the pipeline is starting or stopping");
        let State::Running(group) = &self.state else { return Box::pin(actix::fut::ready(Err(not_running()))) };
        let generation = self.generation;
        Box::pin(group.reach(bookmark).into_actor(self).map(move |reached, supervisor, _| {
            // Another generation reads by another connection, which does not know of the commit.
            if supervisor.generation != generation {
                return Err(not_running());
            }
            reached?;
            Ok(Promise { generation: generation.0, number: then(supervisor) })
        }))
    }
}

impl Handler<Approve> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: Approve, _: &mut Self::Context) {
        self.passes.approve();
        let mode = if self.swap_held.is_empty() { PassMode::Incremental } else { PassMode::Full };
        self.request(mode);
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

impl Handler<RollBack> for Supervisor {
    type Result = ResponseFuture<Result<()>>;

    fn handle(&mut self, _: RollBack, ctx: &mut Self::Context) -> Self::Result {
        if !matches!(self.state, State::Running(_)) || self.full_sync.is_some() {
            let busy = Error::new(ErrorKind::CacheBusy, "the pipeline is starting, stopping, or running a full sync");
            return Box::pin(async { Err(busy) });
        }
        let (answer, answered) = oneshot::channel();
        self.show(PipelineState::Starting);
        self.end(Ending::Drained, Then::RollBack(answer), ctx);
        Box::pin(async {
            answered.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::ActorStopped, "the rollback was interrupted")))
        })
    }
}

impl Handler<IgnoreQuarantine> for Supervisor {
    type Result = ResponseFuture<Result<usize>>;

    fn handle(&mut self, _: IgnoreQuarantine, ctx: &mut Self::Context) -> Self::Result {
        if !matches!(self.state, State::Running(_)) || self.full_sync.is_some() {
            let busy = Error::new(ErrorKind::CacheBusy, "the pipeline is starting, stopping, or running a full sync");
            return Box::pin(async { Err(busy) });
        }
        let (answer, answered) = oneshot::channel();
        self.show(PipelineState::Starting);
        self.end(Ending::Drained, Then::IgnoreQuarantine(answer), ctx);
        Box::pin(async {
            answered.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::ActorStopped, "the command was interrupted")))
        })
    }
}

impl Handler<Reconfigure> for Supervisor {
    type Result = Result<bool>;

    fn handle(&mut self, Reconfigure { pipeline, changed }: Reconfigure, ctx: &mut Self::Context) -> Result<bool> {
        if !changed && pipeline.profile.fingerprint() == self.pipeline.profile.fingerprint() {
            return Ok(false);
        }
        let waits = matches!(self.state, State::Waiting) && !self.shutting_down;
        let works = matches!(self.state, State::Running(_)) && self.full_sync.is_none();
        if !waits && !works {
            let busy = "the pipeline is starting, stopping, or running a full sync: try again";
            return Err(Error::new(ErrorKind::CacheBusy, busy));
        }
        let before = self.participant();
        self.pipeline = *pipeline;
        self.fitted = self.pipeline.unfitted();
        match (self.participant(), before) {
            (Some(participant), _) => participant.join(),
            (None, Some(before)) => before.leave(),
            (None, None) => {}
        }
        if waits {
            // The new configuration may mend the cause of the wait.
            self.is_joining = true;
            // The number may belong to a graph of another server.
            self.status.checkpoint_sequence = 0;
            self.launch(ctx);
        } else {
            // What was proven is true of the servers of the former configuration.
            self.forget_proofs();
            self.show(PipelineState::Starting);
            self.end(Ending::Drained, Then::Reconfigure, ctx);
        }
        Ok(true)
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
        self.handed_to = None;
        self.show(PipelineState::Stopping);
        self.withdraw(ctx);
        match &mut self.state {
            State::Running(_) => self.end(Ending::Drained, Then::Stop(Ok(None)), ctx),
            State::Ending { then, ending, .. } => {
                *then = Then::Stop(Ok(None));
                let ending = *ending;
                self.set_deadline(ending, ctx);
            }
            State::Waiting => self.finish(Ok(None), ctx),
            // Every step of launching has a timeout; the shutdown is checked when the launch ends.
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
pub(in crate::actors) struct StopMember(pub(in crate::actors) Member);

#[cfg(test)]
impl Handler<StopMember> for Supervisor {
    type Result = ();

    fn handle(&mut self, StopMember(member): StopMember, _: &mut Self::Context) {
        if let State::Running(group) = &self.state {
            group.stop_shell(member);
        }
    }
}
