//! Loads payloads into a stage graph by GRAPH.BULK.
//!
//! FalkorDB trusts a payload: a relationship between ids that do not exist crashes the server at a later read. The ids are right
//! only on the stage for which they were counted. So each payload is sent in a transaction that happens only if neither the fence
//! nor the stage has changed since the totals of the stage were read and found as expected. A stage that was dropped, restored
//! from an older snapshot or taken over by another process gets nothing. A payload whose reply was lost and that arrives after
//! its successor is refused, not applied twice (`WATCH` sees GRAPH.BULK, and reads do not disturb it: tried on 4.16.3).
//!
//! `BEGIN` is never sent: [`BulkLoader::begin`] makes the stage once, and a payload for a stage that no longer exists is refused.
//! FalkorDB also leaves the word out of what it sends to replicas and to the append-only file.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, Pipeline, Value, cmd};

use super::connection::{COMMAND_TIMEOUT, CacheConnection};
use super::fence::{ATTEMPTS, Ownership, keeps_changing, transaction, unwatch, while_owned};
use super::graph::{self, GraphState, delete, read_failed, read_query, write_query};
use super::graph_set::GraphSet;
use super::keys::{GraphKeys, GraphRole};
use super::{StageSink, reply};
use crate::error::{Error, ErrorKind, Result};
use crate::model::graph_name::GraphName;
use crate::model::id_map::IdMap;
use crate::model::profile::{Profile, RelationshipKind};
use crate::model::stage::StageTotals;
use crate::transform::bulk::BulkPayload;

/// The time limit of a payload: thousands of times what one of the largest takes, so that only a stuck server is given up. The
/// totals then show whether the payload was applied.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Makes a graph that is missing, here and on replicas, and leaves an existing one as it is. A node that was deleted has had an id, so
/// a graph that gets payloads is not made by this.
const TOUCH: &[u8] = b"CREATE (n) DELETE n";

/// The key of a graph that nobody reads: the only kind of key that receives GRAPH.BULK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StageKey {
    graph: String,
    checkpoint: String,
    quarantine: String,
}

impl StageKey {
    /// The stage of a graph.
    fn of(graph: &GraphName) -> Self {
        Self {
            graph: GraphKeys::of(graph).graph(GraphRole::Stage),
            checkpoint: GraphKeys::of(graph).checkpoint(GraphRole::Stage),
            quarantine: GraphKeys::of(graph).quarantine(GraphRole::Stage),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.graph
    }
}

/// The totals of the stage once a payload is applied.
pub(crate) fn after(before: StageTotals, payload: &BulkPayload) -> StageTotals {
    before.with(payload.node_count(), payload.relationship_count())
}

/// A stage graph, and the one connection that loads it.
#[derive(Debug)]
pub struct BulkLoader {
    pub(super) connection: CacheConnection,
    pub(super) stage: StageKey,
    pub(super) ownership: Ownership,
    /// Makes an empty graph, unless it exists.
    make: Vec<Cmd>,
}

impl GraphSet {
    /// Fills the stage by payloads. A payload fills one graph: the graphs of groups are filled by parameters.
    pub fn bulk_loader(&self) -> Option<BulkLoader> {
        (!self.routing.is_by_group()).then(|| BulkLoader::new(self))
    }
}

impl BulkLoader {
    /// The stage of a pipeline's only graph, which this process owns.
    pub(super) fn new(graphs: &GraphSet) -> Self {
        let (connection, stage) = (CacheConnection::new(graphs.address.clone()), StageKey::of(graphs.name()));
        let make = make(stage.as_str(), &graphs.profile);
        Self { connection, stage, ownership: graphs.ownership.clone(), make }
    }

    /// Refuses to continue on a server that was restarted after the first use.
    pub(crate) fn of_one_life(self) -> Self {
        Self { connection: self.connection.of_one_life(), ..self }
    }

    /// Drops an earlier stage with its checkpoint, and makes an empty one.
    pub async fn begin(&mut self) -> Result<StageTotals> {
        let mut unlink = cmd("UNLINK");
        unlink.arg(&self.stage.checkpoint).arg(&self.stage.quarantine);
        // Only an existing graph can be deleted. What is there may have the index already.
        let before = [write_query(&self.stage.graph, TOUCH), delete(&self.stage.graph), unlink];
        let commands: Vec<Cmd> = before.iter().chain(&self.make).cloned().collect();
        self.make(&commands).await?;
        self.totals().await
    }

    /// Returns what the stage holds now. A missing stage is an error.
    pub async fn totals(&mut self) -> Result<StageTotals> {
        totals(&mut self.connection, self.stage.as_str()).await
    }

    /// Applies a payload to a stage that holds `before`, and returns the new totals. The payload is applied at most once for
    /// these totals; after an error, [`StageFill::standing`](crate::model::stage::StageFill::standing) tells whether it was.
    pub async fn load(&mut self, payload: &BulkPayload, before: StageTotals) -> Result<StageTotals> {
        const DOING: &str = "load a payload with GRAPH.BULK";
        for _ in 0..ATTEMPTS {
            self.watch(DOING, before).await?;
            let commands = [command(&self.stage, payload)];
            if let Some(replies) = transaction(&mut self.connection, DOING, commands, LOAD_TIMEOUT).await? {
                let [reply] = &replies[..] else { return Err(reply::unexpected("one reply to GRAPH.BULK")) };
                check_reply(reply, payload)?;
                // The totals are not counted here: they are checked before the next payload is sent and when the filling ends.
                return Ok(after(before, payload));
            }
        }
        Err(keeps_changing(DOING, &self.stage.graph))
    }

    /// Watches the fence and the stage, if the graph is still owned and the stage holds the expected totals: one question.
    async fn watch(&mut self, doing: &str, expected: StageTotals) -> Result<()> {
        let mut pipeline = Pipeline::new();
        pipeline.add_command(cmd("WATCH").arg(&self.ownership.fence).arg(&self.stage.graph).to_owned());
        pipeline.add_command(cmd("GET").arg(&self.ownership.fence).to_owned());
        add_totals(&mut pipeline, self.stage.as_str());
        let mut answers = self.connection.pipeline(doing, &pipeline, COMMAND_TIMEOUT).await?.into_iter();
        let mut next = || answers.next().unwrap_or_else(|| Err(reply::unexpected("an answer to each question")));
        next()?;
        let owner = reply::optional_text(&next()?)?;
        let found = if self.ownership.is_named_by(owner.as_deref()) { Some(read_totals(&mut next)?) } else { None };
        if found == Some(expected) {
            return Ok(());
        }
        unwatch(&mut self.connection, "stop watching the stage", COMMAND_TIMEOUT).await?;
        match found {
            Some(found) => Err(elsewhere(&self.stage, found, expected)),
            None => Err(self.ownership.lost(doing, owner.as_deref())),
        }
    }

    /// Drops an earlier stage and makes an empty one, if the graph is still owned.
    async fn make(&mut self, commands: &[Cmd]) -> Result<()> {
        while_owned(&mut self.connection, "create the stage graph", &self.ownership, commands, LOAD_TIMEOUT).await.map(drop)
    }
}

/// The commands that make an empty graph, here, on replicas and in the append-only file. FalkorDB passes on only queries that change
/// something, and GRAPH.BULK makes no graph: a replica that has not received the graph loses its payloads. An index that is dropped
/// again leaves nothing but the name of a kind.
fn make(graph: &str, profile: &Profile) -> Vec<Cmd> {
    let texts = match profile.nodes.first() {
        Some(kind) => {
            let on = format!("INDEX FOR (n:{}) ON (n.{})", kind.label.quoted(), kind.key.quoted());
            vec![format!("CREATE {on}"), format!("DROP {on}")]
        }
        // A profile without nodes has no payloads.
        None => return vec![write_query(graph, TOUCH)],
    };
    texts.iter().map(|text| write_query(graph, text.as_bytes())).collect()
}

#[async_trait]
impl StageSink for BulkLoader {
    async fn begin(&mut self) -> Result<()> {
        BulkLoader::begin(self).await.map(drop)
    }

    async fn totals(&mut self) -> Result<Option<StageTotals>> {
        match graph::state(&mut self.connection, self.stage.as_str()).await? {
            GraphState::Missing => Ok(None),
            GraphState::Present => BulkLoader::totals(self).await.map(Some),
        }
    }

    async fn load(&mut self, payload: &BulkPayload, before: StageTotals) -> Result<StageTotals> {
        BulkLoader::load(self, payload, before).await
    }

    async fn convert_nodes(&mut self, profile: &Profile, ids: Range<u64>) -> Result<u64> {
        BulkLoader::convert_nodes(self, profile, ids).await
    }

    async fn convert_relationships(&mut self, kind: &RelationshipKind, ids: Range<u64>) -> Result<u64> {
        BulkLoader::convert_relationships(self, kind, ids).await
    }

    async fn ids(&mut self, profile: &Profile) -> Result<IdMap> {
        self.rebuild_ids(profile).await
    }
}

/// The counts of a graph, which FalkorDB keeps and need not compute.
async fn totals(connection: &mut CacheConnection, graph: &str) -> Result<StageTotals> {
    let mut pipeline = Pipeline::new();
    add_totals(&mut pipeline, graph);
    let mut answers = connection.pipeline("count the elements of the stage", &pipeline, COMMAND_TIMEOUT).await?.into_iter();
    read_totals(&mut || answers.next().unwrap_or_else(|| Err(reply::unexpected("two counts"))))
}

fn add_totals(pipeline: &mut Pipeline, graph: &str) {
    for question in ["MATCH (n) RETURN count(n)", "MATCH ()-[e]->() RETURN count(e)"] {
        pipeline.add_command(read_query(graph, question.as_bytes()));
    }
}

fn read_totals(next: &mut impl FnMut() -> Result<Value>) -> Result<StageTotals> {
    let mut count = || reply::single_count(next().map_err(read_failed)?);
    Ok(StageTotals { nodes: count()?, relationships: count()? })
}

fn command(stage: &StageKey, payload: &BulkPayload) -> Cmd {
    let tokens = payload.node_tokens().len() + payload.relationship_tokens().len();
    // Each argument costs its length and two more line ends.
    let mut command = Cmd::with_capacity(6 + tokens, payload.bytes() + 32 * (6 + tokens) + stage.graph.len());
    command.arg("GRAPH.BULK").arg(&stage.graph);
    command.arg(payload.node_count()).arg(payload.relationship_count());
    command.arg(payload.node_tokens().len()).arg(payload.relationship_tokens().len());
    for token in payload.node_tokens().iter().chain(payload.relationship_tokens()) {
        command.arg(&token[..]);
    }
    command
}

/// The reply repeats the counts that were sent; anything else is not a reply of GRAPH.BULK.
fn check_reply(reply: &Value, payload: &BulkPayload) -> Result<()> {
    let wanted = format!("{} nodes created, {} edges created", payload.node_count(), payload.relationship_count());
    if reply::text(reply)? == wanted { Ok(()) } else { Err(reply::unexpected("GRAPH.BULK's reply")) }
}

fn elsewhere(stage: &StageKey, found: StageTotals, expected: StageTotals) -> Error {
    let text = |totals: StageTotals| format!("{} nodes and {} relationships", totals.nodes, totals.relationships);
    let message = format!("{} holds {}, but {} were loaded", stage.graph, text(found), text(expected));
    Error::new(ErrorKind::CacheProtocol, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

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
