//! The shell of an actor that works in a task of its own: its mailbox, in front of a bounded channel to the task.
//!
//! Extractor, transformer and loader are such actors. They differ in their input, their work, and the way they end.

use actix::{Actor, ActorContext, Addr, Context, Handler, Message};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::member::Member;
use super::messages::{Abandon, Acknowledged, Drain, ExtractedBatch, PreparedBatch, Quit, StartPass};
use super::worker::Worker;
use super::{ExitRecipients, MAILBOX_CAPACITY};
use crate::error::Result;
use crate::model::batch::Generation;

/// The messages that an actor works on.
pub(crate) trait ActorMessage: Message<Result = ()> + Send + 'static {
    /// The generation of the message: messages of other generations are dropped. Absent if only the generation's own supervisor
    /// sends it.
    fn generation(&self) -> Option<Generation>;
}

impl ActorMessage for StartPass {
    fn generation(&self) -> Option<Generation> {
        None
    }
}

impl ActorMessage for ExtractedBatch {
    fn generation(&self) -> Option<Generation> {
        Some(self.generation)
    }
}

impl ActorMessage for PreparedBatch {
    fn generation(&self) -> Option<Generation> {
        Some(self.generation)
    }
}

/// The way in which a task ends after a `Quit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quitting {
    /// At any await point: the task changes nothing outside the process.
    AtOnce,
    /// Only between two requests, so that none is left unfinished.
    BetweenRequests,
}

/// The identity of a shell's actor.
pub(crate) struct Role {
    pub generation: Generation,
    pub member: Member,
    /// The way in which its task ends.
    pub quitting: Quitting,
    /// The most work that may wait in front of the task.
    pub capacity: usize,
}

pub(crate) struct Shell<W> {
    role: Role,
    reports: ExitRecipients,
    work: Option<mpsc::Sender<W>>,
    acknowledged: Option<mpsc::UnboundedSender<Acknowledged>>,
    worker: Worker,
}

impl<W: ActorMessage> Shell<W> {
    /// Starts the actor and its task.
    pub(crate) fn start<F>(
        role: Role,
        reports: ExitRecipients,
        task: impl FnOnce(mpsc::Receiver<W>, CancellationToken) -> F,
    ) -> Addr<Self>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        Self::new(role, reports, None, task).start()
    }

    fn new<F>(
        role: Role,
        reports: ExitRecipients,
        acknowledged: Option<mpsc::UnboundedSender<Acknowledged>>,
        task: impl FnOnce(mpsc::Receiver<W>, CancellationToken) -> F,
    ) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (work, inbound) = mpsc::channel(role.capacity);
        let worker = Worker::spawn(role.generation, role.member, &reports, |quit| task(inbound, quit));
        Self { role, reports, work: Some(work), acknowledged, worker }
    }

    fn quit(&self) {
        match self.role.quitting {
            Quitting::AtOnce => self.worker.abort(),
            Quitting::BetweenRequests => self.worker.quit(),
        }
    }
}

impl Shell<StartPass> {
    /// Starts the actor like [`Shell::start`], for a task that also gets the acknowledgements.
    pub(crate) fn start_told<F>(
        role: Role,
        reports: ExitRecipients,
        task: impl FnOnce(mpsc::Receiver<StartPass>, mpsc::UnboundedReceiver<Acknowledged>) -> F,
    ) -> Addr<Self>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        // The batches in flight bound this channel: each has one acknowledgement.
        let (acknowledged, told) = mpsc::unbounded_channel();
        Self::new(role, reports, Some(acknowledged), |orders, _| task(orders, told)).start()
    }
}

impl<W: ActorMessage> Actor for Shell<W> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_CAPACITY);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.quit();
        self.reports.stopped(self.role.generation, self.role.member);
    }
}

impl<W: ActorMessage> Handler<W> for Shell<W> {
    type Result = ();

    fn handle(&mut self, message: W, ctx: &mut Self::Context) {
        if message.generation().is_some_and(|generation| generation != self.role.generation) {
            return;
        }
        if let Some(work) = &self.work
            && work.try_send(message).is_err()
        {
            ctx.stop();
        }
    }
}

impl Handler<Acknowledged> for Shell<StartPass> {
    type Result = ();

    fn handle(&mut self, message: Acknowledged, _: &mut Self::Context) {
        if let Some(task) = self.acknowledged.as_ref().filter(|_| message.generation == self.role.generation) {
            // A closed channel means that the task has ended, which it reports itself.
            let _ = task.send(message);
        }
    }
}

impl<W: ActorMessage> Handler<Drain> for Shell<W> {
    type Result = ();

    fn handle(&mut self, _: Drain, _: &mut Self::Context) {
        self.work = None;
    }
}

impl<W: ActorMessage> Handler<Quit> for Shell<W> {
    type Result = ();

    fn handle(&mut self, _: Quit, _: &mut Self::Context) {
        self.quit();
    }
}

impl<W: ActorMessage> Handler<Abandon> for Shell<W> {
    type Result = ();

    fn handle(&mut self, _: Abandon, _: &mut Self::Context) {
        self.worker.abort();
    }
}

#[cfg(test)]
impl<W: ActorMessage> Handler<super::StopShell> for Shell<W> {
    type Result = ();

    fn handle(&mut self, _: super::StopShell, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
