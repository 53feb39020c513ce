//! The task behind an actor's shell.
//!
//! actix does not supervise a panic: the actor is gone and no other actor learns of it. So the work runs in a task of its own.
//! Its handle is kept, and the end of the task (a result, an error, a panic, an abort) is reported exactly once.

use std::any::Any;
use std::future::Future;

use tokio::task::{AbortHandle, JoinError};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::ExitRecipients;
use super::member::Member;
use super::messages::{WorkerExit, WorkerExited};
use crate::error::{Error, ErrorKind, Result};
use crate::model::batch::Generation;

#[derive(Debug)]
pub(crate) struct Worker {
    quit: CancellationToken,
    abort: AbortHandle,
}

impl Worker {
    /// Starts the task. `work` gets a token that is cancelled when the worker is asked to quit.
    pub(crate) fn spawn<F>(
        generation: Generation,
        member: Member,
        reports: &ExitRecipients,
        work: impl FnOnce(CancellationToken) -> F,
    ) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let quit = CancellationToken::new();
        let task = tokio::spawn(work(quit.clone()).instrument(reports.span.clone()));
        let supervisor = reports.exited.clone();
        let abort = task.abort_handle();
        tokio::spawn(async move {
            let exit = exit_of(member, task.await);
            supervisor.do_send(WorkerExited { generation, member, exit });
        });
        Self { quit, abort }
    }

    /// Asks the task to end at a point without a request under way.
    pub(crate) fn quit(&self) {
        self.quit.cancel();
    }

    /// Ends the task at any point: for work that changes nothing outside.
    pub(crate) fn abort(&self) {
        self.abort.abort();
    }
}

fn exit_of(member: Member, outcome: Result<Result<()>, JoinError>) -> WorkerExit {
    match outcome {
        Ok(Ok(())) => WorkerExit::Finished,
        Ok(Err(error)) => WorkerExit::Failed(error),
        Err(error) if error.is_panic() => {
            let message = panic_message(error.into_panic().as_ref());
            WorkerExit::Failed(Error::new(ErrorKind::Panic, format!("the {member} panicked: {message}")))
        }
        Err(_) => WorkerExit::Finished,
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}
