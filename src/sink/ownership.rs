//! Writes that happen only while this process owns the graph: optimistic locking by WATCH, because FalkorDB forbids scripts.

use std::time::Duration;

use redis::{Cmd, Pipeline, Value, cmd};

use super::connection::Connection;
use super::reply;
use crate::error::{Error, ErrorKind, Result};

/// How often a transaction is tried again that the renewal of our own lease broke: it touches the watched key about once a
/// second, so a second time is rare and a third one practically impossible.
pub(super) const ATTEMPTS: usize = 5;

/// What proves that this process owns a graph: the key of the lease and exactly what we put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    pub(super) key: String,
    pub(super) value: String,
}

/// Carries out commands as one transaction, if the graph is still owned, and returns their replies; otherwise
/// [`ErrorKind::LeaseLost`].
pub(super) async fn while_owned(
    connection: &mut Connection,
    doing: &str,
    ownership: &Ownership,
    commands: &[Cmd],
    within: Duration,
) -> Result<Vec<Value>> {
    for _ in 0..ATTEMPTS {
        require_owned(connection, doing, ownership, &[], within).await?;
        if let Some(replies) = transaction(connection, doing, commands.iter().cloned(), within).await? {
            return Ok(replies);
        }
    }
    Err(keeps_changing(doing, &ownership.key))
}

/// The error for a key that is changed before every attempt.
pub(super) fn keeps_changing(doing: &str, key: &str) -> Error {
    Error::new(ErrorKind::CacheBusy, format!("{doing}: {key} keeps changing"))
}

/// Watches the lease, and other keys with it, and compares the lease. What is asked on this connection from now on still holds
/// when a [`transaction`] on it is carried out.
pub(super) async fn require_owned(
    connection: &mut Connection,
    doing: &str,
    ownership: &Ownership,
    others: &[String],
    within: Duration,
) -> Result<()> {
    connection.wake().await;
    let mut pipeline = Pipeline::new();
    pipeline.add_command(cmd("WATCH").arg(&ownership.key).arg(others).to_owned());
    pipeline.add_command(cmd("GET").arg(&ownership.key).to_owned());
    let answers = connection.pipeline(doing, &pipeline, within).await?;
    let mut held = None;
    for answer in answers {
        held = reply::optional_text(&answer?)?;
    }
    if held.as_ref() == Some(&ownership.value) {
        return Ok(());
    }
    connection.command(doing, &cmd("UNWATCH"), within).await?;
    let now = if held.is_some() { "another process holds" } else { "nobody holds" };
    Err(Error::new(ErrorKind::LeaseLost, format!("{doing}: {now} {}, this process does not any more", ownership.key)))
}

/// Nothing when a watched key changed in between. The server forgets what was watched in either case.
///
/// The watch and the transaction are on one connection or not at all: one that broke in between is an error here, because it is
/// made anew only for the command after that.
pub(super) async fn transaction(
    connection: &mut Connection,
    doing: &str,
    commands: impl IntoIterator<Item = Cmd>,
    within: Duration,
) -> Result<Option<Vec<Value>>> {
    let mut pipeline = Pipeline::new();
    pipeline.add_command(cmd("MULTI"));
    for command in commands {
        pipeline.add_command(command);
    }
    pipeline.add_command(cmd("EXEC"));
    let mut last = Value::Nil;
    // A command that cannot be queued fails in its own place, before EXEC fails because of it.
    for answer in connection.pipeline(doing, &pipeline, within).await? {
        last = answer?;
    }
    match last {
        Value::Nil => Ok(None),
        Value::Array(replies) => {
            replies.into_iter().map(|value| super::connection::answer(doing, value)).collect::<Result<_>>().map(Some)
        }
        _ => Err(reply::unexpected("a transaction's reply")),
    }
}
