//! Writes that happen only while this process owns the graph.
//!
//! A process that was stopped, or whose bytes waited in the network, continues as if nothing had happened while a successor owns
//! the graph. So each write is a transaction (`MULTI` … `EXEC`) that the server drops if the graph has changed its owner.
//! FalkorDB forbids scripts, so `WATCH` is the only way.
//!
//! Writes watch not the lease but the *fence*, a key beside it that names the process that took the lease last. The fence changes
//! when a process takes a lease that it did not hold before, when the lease is released, and when somebody decides something about
//! the graph while nobody holds the lease:
//! - a renewal of the lease does not break transactions, so a connection can watch the fence before it has anything to write.
//!   Each transaction is followed by the next watch in the same round trip, so a write costs one round trip, as it would without
//!   a fence;
//! - a lease that expired without a successor does not fence its last owner. Nobody else has written since, so its writes do no
//!   harm, and the owner may take the lease again without a change of the fence.
//!
//! Bytes that this process has given up may also arrive late, after those of a newer connection. So the first transaction of each
//! connection rewrites the fence. This breaks whatever the earlier connections have under way, and costs those that still live a
//! repetition.
//!
//! A write whose reply is lost has an unknown outcome; callers make it repeatable and repeat it.

use std::time::Duration;

use redis::{Cmd, Pipeline, Value, cmd};

use super::connection::{CacheConnection, Watch};
use super::reply;
use crate::error::{Error, ErrorKind, Result};
use crate::model::graph_name::GraphName;
use crate::model::leader::Leader;
use crate::model::spread::InstanceId;

/// The most attempts at a transaction that another one broke: each new connection of this process breaks those of the others
/// once, and there are fewer connections than this.
pub(super) const ATTEMPTS: usize = 16;

/// The proof that this process owns a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// The graph, or the name of a pipeline with many graphs.
    pub(super) graph: GraphName,
    /// The key of the lease.
    pub(super) key: String,
    /// The value that this process writes there.
    pub(super) value: String,
    /// The key that every write watches.
    pub(super) fence: String,
    /// Distinguishes this claim from all others.
    pub(super) token: String,
    /// This process, which can have claims on several graphs.
    pub(super) instance: InstanceId,
    /// This process, as others show it.
    pub(super) process: Leader,
}

impl Ownership {
    /// The token that distinguishes this claim from all others. The value of the fence begins with it.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Whether the fence names this process. After the token comes a number that distinguishes one write of the fence from the
    /// next.
    pub(super) fn is_named_by(&self, fence: Option<&str>) -> bool {
        fence.and_then(|text| text.split(':').next()) == Some(self.token.as_str())
    }

    /// Rewrites the fence. This breaks all its watches, even if it names this process already.
    pub(super) fn write_fence(&self) -> Cmd {
        cmd("SET").arg(&self.fence).arg(format!("{}:{:016x}", self.token, rand::random::<u64>())).to_owned()
    }

    /// The error for a graph that this process no longer owns.
    pub(super) fn lost(&self, doing: &str, found: Option<&str>) -> Error {
        let now = if found.is_some() { "another process now holds" } else { "no process holds" };
        Error::new(ErrorKind::LeaseLost, format!("cannot {doing}: {now} {}, and this process no longer does", self.key))
    }
}

/// Carries out commands as one transaction, if the graph is still owned. Returns the reply to each, with error replies as errors
/// in their places: an error of one does not stop the others. Otherwise [`ErrorKind::LeaseLost`], and nothing was carried out.
///
/// The commands are made for each attempt: copies kept beside the transaction would double the memory of a heavy element.
pub(super) async fn fenced(
    connection: &mut CacheConnection,
    doing: &str,
    ownership: &Ownership,
    commands: impl Fn() -> Vec<Cmd>,
    within: Duration,
) -> Result<Vec<Result<Value>>> {
    connection.wake().await;
    for _ in 0..ATTEMPTS {
        let first = connection.watch() == Watch::New;
        if connection.watch() != Watch::Fence {
            require_owned(connection, doing, ownership, &[], within).await?;
        }
        if let Some(replies) = chained_transaction(connection, doing, ownership, commands(), first, within).await? {
            return Ok(replies);
        }
    }
    Err(keeps_changing(doing, &ownership.fence))
}

/// As [`fenced`], for one command.
pub(super) async fn fenced_command(
    connection: &mut CacheConnection,
    doing: &str,
    ownership: &Ownership,
    command: Cmd,
    within: Duration,
) -> Result<Value> {
    let replies = fenced(connection, doing, ownership, || vec![command.clone()], within).await?;
    replies.into_iter().next().unwrap_or_else(|| Err(reply::unexpected("a transaction's reply")))
}

/// As [`fenced`], for commands of which none may fail.
pub(super) async fn while_owned(
    connection: &mut CacheConnection,
    doing: &str,
    ownership: &Ownership,
    commands: &[Cmd],
    within: Duration,
) -> Result<Vec<Value>> {
    fenced(connection, doing, ownership, || commands.to_vec(), within).await?.into_iter().collect()
}

/// The error for a key that changes before every attempt.
pub(super) fn keeps_changing(doing: &str, key: &str) -> Error {
    Error::new(ErrorKind::CacheBusy, format!("cannot {doing}: {key} changes before every attempt"))
}

/// Watches the fence and other keys, and compares the fence. Whatever is read on this connection from now on still holds when a
/// [`transaction`] on it is carried out.
pub(super) async fn require_owned(
    connection: &mut CacheConnection,
    doing: &str,
    ownership: &Ownership,
    others: &[String],
    within: Duration,
) -> Result<()> {
    connection.wake().await;
    let watched: Vec<&str> = std::iter::once(&ownership.fence).chain(others).map(String::as_str).collect();
    let found = watched_value(connection, doing, &watched, &ownership.fence, within).await?;
    if ownership.is_named_by(found.as_deref()) {
        if others.is_empty() {
            connection.note_watch(Watch::Fence);
        } else {
            connection.forget_watch();
        }
        return Ok(());
    }
    // The claim is lost even if the connection is, too.
    let _ = unwatch(connection, doing, within).await;
    Err(ownership.lost(doing, found.as_deref()))
}

/// Watches keys, and reads one of them.
pub(super) async fn watched_value(
    connection: &mut CacheConnection,
    doing: &str,
    watched: &[&str],
    read: &str,
    within: Duration,
) -> Result<Option<String>> {
    let [found] = texts(connection.pipeline(doing, &watch_and_read(watched, &[read]), within).await?)?;
    Ok(found)
}

/// Watches two keys, and reads both.
pub(super) async fn watched_values(
    connection: &mut CacheConnection,
    doing: &str,
    watched: [&str; 2],
    within: Duration,
) -> Result<[Option<String>; 2]> {
    texts(connection.pipeline(doing, &watch_and_read(&watched, &watched), within).await?)
}

fn watch_and_read(watched: &[&str], read: &[&str]) -> Pipeline {
    let mut pipeline = Pipeline::new();
    pipeline.add_command(cmd("WATCH").arg(watched).to_owned());
    for key in read {
        pipeline.add_command(cmd("GET").arg(key).to_owned());
    }
    pipeline
}

/// The values that were read after a watch.
fn texts<const N: usize>(answers: Vec<Result<Value>>) -> Result<[Option<String>; N]> {
    let mut answers = answers.into_iter();
    answers.next().transpose()?;
    let mut found = [const { None }; N];
    for (value, answer) in found.iter_mut().zip(answers) {
        *value = reply::optional_text(&answer?)?;
    }
    Ok(found)
}

/// Forgets the watch of a connection.
pub(super) async fn unwatch(connection: &mut CacheConnection, doing: &str, within: Duration) -> Result<()> {
    connection.forget_watch();
    connection.command(doing, &cmd("UNWATCH"), within).await.map(drop)
}

/// Returns nothing if a watched key changed in between. The server forgets the watch in either case.
///
/// The watch and the transaction use the same connection: if it broke in between, this is an error, because the connection is
/// made again only for the next command.
pub(super) async fn transaction(
    connection: &mut CacheConnection,
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
    connection.forget_watch();
    let answers = connection.pipeline(doing, &pipeline, within).await?;
    executed(doing, answers)?.map(|replies| replies.into_iter().collect()).transpose()
}

/// A transaction, followed by the watch for the next one.
async fn chained_transaction(
    connection: &mut CacheConnection,
    doing: &str,
    ownership: &Ownership,
    commands: Vec<Cmd>,
    first: bool,
    within: Duration,
) -> Result<Option<Vec<Result<Value>>>> {
    let mut pipeline = Pipeline::new();
    pipeline.add_command(cmd("MULTI"));
    if first {
        pipeline.add_command(ownership.write_fence());
    }
    for command in commands {
        pipeline.add_command(command);
    }
    pipeline.add_command(cmd("EXEC"));
    pipeline.add_command(cmd("WATCH").arg(&ownership.fence).to_owned());
    pipeline.add_command(cmd("GET").arg(&ownership.fence).to_owned());
    connection.note_watch(if first { Watch::New } else { Watch::Nothing });
    let mut answers = connection.pipeline(doing, &pipeline, within).await?;
    let (fence, watched) = (answers.pop(), answers.pop());
    let outcome = executed(doing, answers)?;
    let fence = fence.transpose()?.as_ref().map(reply::optional_text).transpose()?.flatten();
    watched.transpose()?;
    // A connection that did not write the fence in its first transaction must still write it.
    let next = if ownership.is_named_by(fence.as_deref()) { Watch::Fence } else { Watch::Nothing };
    connection.note_watch(if first && outcome.is_none() { Watch::New } else { next });
    Ok(outcome.map(|replies| replies.into_iter().skip(usize::from(first)).collect()))
}

/// The result of `EXEC`, from the answers to all commands of a transaction. If a command could not be queued, returns its own
/// error instead of that of `EXEC`.
fn executed(doing: &str, answers: Vec<Result<Value>>) -> Result<Option<Vec<Result<Value>>>> {
    let mut last = Value::Nil;
    for answer in answers {
        last = answer?;
    }
    match last {
        Value::Nil => Ok(None),
        Value::Array(replies) => Ok(Some(replies.into_iter().map(|value| reply::answer(doing, value)).collect())),
        _ => Err(reply::unexpected("a transaction's reply")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_names_its_process_whichever_writing_it_is() {
        let graph = GraphName::new("g").unwrap();
        let (ours, other) = (Ownership::claim(&graph).unwrap(), Ownership::claim(&graph).unwrap());
        assert!(ours.is_named_by(Some(&format!("{}:1", ours.token))));
        assert!(ours.is_named_by(Some(&format!("{}:2", ours.token))));
        assert!(!ours.is_named_by(Some(&format!("{}:1", other.token))));
        assert!(!ours.is_named_by(Some("")) && !ours.is_named_by(None));
        assert_ne!(ours.write_fence().get_packed_command(), ours.write_fence().get_packed_command());
    }

    #[test]
    fn an_error_of_one_command_leaves_the_others_their_replies() {
        let replies = Value::Array(vec![Value::Int(1), Value::Int(2)]);
        let queued = || Ok(Value::SimpleString("QUEUED".to_owned()));
        assert_eq!(executed("", vec![queued(), Ok(replies)]).unwrap().unwrap().len(), 2);
        assert!(executed("", vec![queued(), Ok(Value::Nil)]).unwrap().is_none());
        let refused = Err(Error::new(ErrorKind::CacheOutOfMemory, "OOM"));
        let aborted = Err(Error::new(ErrorKind::CacheProtocol, "EXECABORT"));
        assert_eq!(executed("", vec![refused, aborted]).unwrap_err().kind(), ErrorKind::CacheOutOfMemory);
    }
}
