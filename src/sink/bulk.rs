//! Loads payloads into a stage graph by GRAPH.BULK.
//!
//! FalkorDB believes what a payload says: a relationship between ids that are not there ends the server at a later read. The
//! ids are right only on the stage that they were counted on. So a payload is sent in a transaction that happens only if, since
//! the totals of the stage were read and found as expected, neither the lease nor the stage has changed. A stage that was
//! dropped, restored from an older snapshot or taken over by another process gets nothing, and a payload whose reply was lost
//! and which arrives later than its successor is refused, not applied twice (`WATCH` sees GRAPH.BULK, and reads do not disturb
//! it: tried on 4.16.3).
//!
//! `BEGIN` is never sent: the stage is made once, by [`BulkLoader::begin`], and a payload for a stage that is gone is refused.

use std::time::Duration;

use redis::{Cmd, Pipeline, Value, cmd};
use serde::{Deserialize, Serialize};

use super::address::CacheAddress;
use super::connection::{COMMAND_TIMEOUT, Connection};
use super::graph::{read_failed, read_query, write_query};
use super::ownership::{ATTEMPTS, Ownership, keeps_changing, require_owned, transaction};
use super::reply;
use crate::error::{Error, ErrorKind, Result};
use crate::model::graph_name::GraphName;
use crate::transform::bulk::BulkPayload;

/// How long a payload may take: thousands of times what one of the largest takes, so that only a server that is stuck is given
/// up. Its fate is told by the totals then.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// The key of a graph that nobody reads: the only kind that GRAPH.BULK is ever sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageKey {
    graph: String,
    checkpoint: String,
}

impl StageKey {
    /// The stage of a graph.
    pub fn of(graph: &GraphName) -> Self {
        Self { graph: graph.stage_key(), checkpoint: graph.stage_checkpoint_key() }
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.graph
    }
}

/// What a stage holds. FalkorDB numbers the nodes of a graph without deletes from 0 on, so `nodes` is also the next id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// All nodes.
    pub nodes: u64,
    /// All relationships.
    pub relationships: u64,
}

impl Totals {
    /// What the stage holds once a payload is applied.
    #[must_use]
    pub fn after(self, payload: &BulkPayload) -> Self {
        Self { nodes: self.nodes + payload.node_count(), relationships: self.relationships + payload.relationship_count() }
    }
}

/// What became of a payload whose reply was never seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It must be sent.
    NotApplied,
    /// It must not be sent again.
    Applied,
    /// The stage is not the one that it was made for: it must be dropped.
    Neither,
}

/// Tells by the totals what became of a payload. They differ before and after, because a payload is never empty.
pub fn standing(found: Totals, before: Totals, after: Totals) -> Standing {
    match found {
        _ if before == after => Standing::Neither,
        _ if found == before => Standing::NotApplied,
        _ if found == after => Standing::Applied,
        _ => Standing::Neither,
    }
}

/// A stage graph, and the one connection that loads it.
#[derive(Debug)]
pub struct BulkLoader {
    pub(super) connection: Connection,
    pub(super) stage: StageKey,
    ownership: Ownership,
}

impl BulkLoader {
    /// The stage of a graph that this process owns.
    pub fn new(address: CacheAddress, stage: StageKey, ownership: Ownership) -> Self {
        Self { connection: Connection::new(address), stage, ownership }
    }

    /// Drops a stage of before, with its checkpoint, and makes an empty one.
    pub async fn begin(&mut self) -> Result<Totals> {
        let mut unlink = cmd("UNLINK");
        unlink.arg(&self.stage.graph).arg(&self.stage.checkpoint);
        // The cheapest query there is; GRAPH.QUERY makes a graph that is not there.
        let make = write_query(&self.stage.graph, b"RETURN 1");
        self.guarded("make the stage graph", &[unlink, make], None).await?;
        self.totals().await
    }

    /// What the stage holds now; a stage that is not there is an error.
    pub async fn totals(&mut self) -> Result<Totals> {
        totals(&mut self.connection, self.stage.as_str()).await
    }

    /// Applies a payload to a stage that holds `before`, and returns what it holds then. It is applied at most once for these
    /// totals; after an error, [`standing`] tells whether it was.
    pub async fn load(&mut self, payload: &BulkPayload, before: Totals) -> Result<Totals> {
        let replies = self.guarded("load in bulk", &[command(&self.stage, payload)], Some(before)).await?;
        let [reply] = &replies[..] else { return Err(reply::unexpected("one reply to GRAPH.BULK")) };
        check_reply(reply, payload)?;
        let found = self.totals().await?;
        if found == before.after(payload) { Ok(found) } else { Err(elsewhere(&self.stage, found, before.after(payload))) }
    }

    /// One transaction, if the graph is still owned and the stage still holds what it should.
    async fn guarded(&mut self, doing: &str, commands: &[Cmd], expected: Option<Totals>) -> Result<Vec<Value>> {
        let watched = [self.stage.graph.clone()];
        for _ in 0..ATTEMPTS {
            require_owned(&mut self.connection, doing, &self.ownership, &watched, COMMAND_TIMEOUT).await?;
            if let Some(expected) = expected {
                self.require(expected).await?;
            }
            if let Some(replies) = transaction(&mut self.connection, doing, commands, LOAD_TIMEOUT).await? {
                return Ok(replies);
            }
        }
        Err(keeps_changing(doing, &self.stage.graph))
    }

    async fn require(&mut self, expected: Totals) -> Result<()> {
        let found = self.totals().await?;
        if found == expected {
            return Ok(());
        }
        self.connection.command("stop watching the stage", &cmd("UNWATCH"), COMMAND_TIMEOUT).await?;
        Err(elsewhere(&self.stage, found, expected))
    }
}

/// Counts of a graph, which FalkorDB keeps and need not count.
async fn totals(connection: &mut Connection, graph: &str) -> Result<Totals> {
    let mut pipeline = Pipeline::new();
    for question in ["MATCH (n) RETURN count(n)", "MATCH ()-[e]->() RETURN count(e)"] {
        pipeline.add_command(read_query(graph, question.as_bytes()));
    }
    let mut counts = Vec::new();
    for answer in connection.pipeline("count what the stage holds", &pipeline, COMMAND_TIMEOUT).await? {
        counts.push(reply::single_count(answer.map_err(read_failed)?)?);
    }
    let [nodes, relationships] = counts[..] else { return Err(reply::unexpected("two counts")) };
    Ok(Totals { nodes, relationships })
}

fn command(stage: &StageKey, payload: &BulkPayload) -> Cmd {
    let tokens = payload.node_tokens().len() + payload.relationship_tokens().len();
    // Each argument costs its length and two line ends besides itself.
    let mut command = Cmd::with_capacity(6 + tokens, payload.bytes() + 32 * (6 + tokens) + stage.graph.len());
    command.arg("GRAPH.BULK").arg(&stage.graph);
    command.arg(payload.node_count()).arg(payload.relationship_count());
    command.arg(payload.node_tokens().len()).arg(payload.relationship_tokens().len());
    for token in payload.node_tokens().iter().chain(payload.relationship_tokens()) {
        command.arg(&token[..]);
    }
    command
}

/// The reply repeats the counts that were sent; anything else is none of GRAPH.BULK's.
fn check_reply(reply: &Value, payload: &BulkPayload) -> Result<()> {
    let wanted = format!("{} nodes created, {} edges created", payload.node_count(), payload.relationship_count());
    if reply::text(reply)? == wanted { Ok(()) } else { Err(reply::unexpected("GRAPH.BULK's reply")) }
}

fn elsewhere(stage: &StageKey, found: Totals, expected: Totals) -> Error {
    let text = |totals: Totals| format!("{} nodes and {} relationships", totals.nodes, totals.relationships);
    let message = format!("{} holds {} where {} were loaded", stage.graph, text(found), text(expected));
    Error::new(ErrorKind::CacheProtocol, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn totals_tell_what_became_of_a_payload() {
        let totals = |nodes, relationships| Totals { nodes, relationships };
        let (before, after) = (totals(5, 2), totals(7, 2));
        assert_eq!(standing(before, before, after), Standing::NotApplied);
        assert_eq!(standing(after, before, after), Standing::Applied);
        for found in [totals(6, 2), totals(7, 3), totals(0, 0)] {
            assert_eq!(standing(found, before, after), Standing::Neither);
        }
        assert_eq!(standing(before, before, before), Standing::Neither);
    }

    #[test]
    fn a_stage_key_ends_in_the_stages_suffix() {
        let stage = StageKey::of(&GraphName::new("g").unwrap());
        assert_eq!((stage.as_str(), stage.checkpoint.as_str()), ("{g}:stage", "{g}:stage:checkpoint"));
    }

    #[test]
    fn the_reply_must_name_the_counts() {
        let payload = BulkPayload::default();
        assert!(check_reply(&Value::SimpleString("0 nodes created, 0 edges created".into()), &payload).is_ok());
        assert!(check_reply(&Value::SimpleString("1 nodes created, 0 edges created".into()), &payload).is_err());
        assert!(check_reply(&Value::Nil, &payload).is_err());
    }
}
