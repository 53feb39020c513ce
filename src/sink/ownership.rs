//! Writes that happen only while this process owns the graph: optimistic locking by WATCH, because FalkorDB forbids scripts.

use std::time::Duration;

use redis::{Cmd, Pipeline, Value, cmd};

use super::connection::Connection;
use super::reply;
use crate::error::{Error, ErrorKind, Result};

/// How often a transaction is tried again that the renewal of our own lease broke: it touches the watched key about once a
/// second, so a second time is rare and a third one practically impossible.
const ATTEMPTS: usize = 5;

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
        require_owned(connection, doing, ownership, within).await?;
        if let Some(replies) = transaction(connection, doing, commands, within).await? {
            return Ok(replies);
        }
    }
    Err(Error::new(ErrorKind::CacheBusy, format!("{doing}: {} keeps changing", ownership.key)))
}

/// Watches the lease and compares it.
async fn require_owned(connection: &mut Connection, doing: &str, ownership: &Ownership, within: Duration) -> Result<()> {
    let mut pipeline = Pipeline::new();
    pipeline.add_command(cmd("WATCH").arg(&ownership.key).to_owned());
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

/// Nothing when the watched key changed in between.
async fn transaction(connection: &mut Connection, doing: &str, commands: &[Cmd], within: Duration) -> Result<Option<Vec<Value>>> {
    let mut pipeline = Pipeline::new();
    pipeline.add_command(cmd("MULTI"));
    for command in commands {
        pipeline.add_command(command.clone());
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
