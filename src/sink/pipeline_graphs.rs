//! Decides which graphs belong to a pipeline.
//!
//! The only graph of a pipeline is known by its name. The graphs of groups have two signs: a set under the pipeline's name lists
//! them, and a marker beside each graph names the pipeline. A graph without our marker is never written, replaced or deleted. An
//! empty graph may be taken over, because a mere search of graphiti leaves one behind for a group that it does not find.

use std::collections::{BTreeMap, BTreeSet};

use redis::{Cmd, Pipeline, cmd};

use super::address::CacheAddress;
use super::connection::{COMMAND_TIMEOUT, CacheConnection};
use super::fence::{ATTEMPTS, Ownership, keeps_changing, require_owned, transaction, unwatch, while_owned};
use super::graph::{self, GraphState};
use super::graph_set::GraphSet;
use super::keys::{GraphKeys, GraphRole};
use super::reply;
use super::routing::Routing;
use crate::error::{Error, ErrorKind, Result};
use crate::model::graph_name::GraphName;

/// The graphs of a pipeline in one role.
#[derive(Debug, Clone)]
pub(super) struct PipelineGraphs {
    routing: Routing,
    role: GraphRole,
    ownership: Ownership,
}

/// The reason why a graph cannot belong to a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Foreign {
    #[error("the graph {0} holds data that this service did not write")]
    Unmarked(GraphName),
    #[error("the graph {0} is filled by the pipeline {1}")]
    OfAnother(GraphName, String),
    #[error("the key {0} is not a graph")]
    NoGraph(GraphName),
}

impl PipelineGraphs {
    pub(super) fn new(graphs: &GraphSet, role: GraphRole) -> Self {
        Self { routing: graphs.routing.clone(), role, ownership: graphs.ownership.clone() }
    }

    /// The key of a graph in this role.
    pub(super) fn key(&self, graph: &GraphName) -> String {
        GraphKeys::of(graph).graph(self.role)
    }

    /// The graphs of the pipeline in this role.
    pub(super) async fn all(&self, connection: &mut CacheConnection) -> Result<BTreeSet<GraphName>> {
        match self.routing {
            Routing::OnlyGraph(_) => Ok(self.routing.known()),
            Routing::ByGroup(_) => listed(connection, &self.list()).await,
        }
    }

    /// Returns the given graphs that do not exist.
    pub(super) async fn gone(
        &self,
        connection: &mut CacheConnection,
        graphs: &BTreeSet<GraphName>,
    ) -> Result<BTreeSet<GraphName>> {
        let keys: Vec<String> = graphs.iter().map(|graph| self.key(graph)).collect();
        let mut pipeline = Pipeline::new();
        for key in &keys {
            pipeline.add_command(cmd("TYPE").arg(key).to_owned());
        }
        let answers = connection.pipeline("find the graph", &pipeline, COMMAND_TIMEOUT).await?;
        let mut gone = BTreeSet::new();
        for ((graph, key), answer) in graphs.iter().zip(&keys).zip(answers) {
            if graph::state_of(key, &answer?)? == GraphState::Missing {
                gone.insert(graph.clone());
            }
        }
        Ok(gone)
    }

    /// Claims the name of a group's graph. The inner error names the program that owns it already.
    pub(super) async fn claim(&self, connection: &mut CacheConnection, graph: &GraphName) -> Result<Result<(), Foreign>> {
        const DOING: &str = "mark a graph";
        let pipeline = &self.ownership.graph;
        if self.role == GraphRole::Stage {
            // The stage becomes live and gets its marker in one step.
            return taken(connection, pipeline, graph).await;
        }
        // Somebody else may take the name between this look and the mark.
        let keys = GraphKeys::of(graph);
        let watched = [keys.marker(), keys.checkpoint(GraphRole::Live), keys.graph(GraphRole::Live)];
        for _ in 0..ATTEMPTS {
            require_owned(connection, DOING, &self.ownership, &watched, COMMAND_TIMEOUT).await?;
            if let Err(foreign) = taken(connection, pipeline, graph).await? {
                unwatch(connection, DOING, COMMAND_TIMEOUT).await?;
                return Ok(Err(foreign));
            }
            if transaction(connection, DOING, [mark(graph, pipeline)], COMMAND_TIMEOUT).await?.is_some() {
                return Ok(Ok(()));
            }
        }
        Err(keeps_changing(DOING, graph.as_str()))
    }

    /// Lists a graph that was made for a group.
    pub(super) async fn add(&self, connection: &mut CacheConnection, graph: &GraphName) -> Result<()> {
        let command = cmd("SADD").arg(self.list()).arg(graph.as_str()).to_owned();
        while_owned(connection, "list a graph", &self.ownership, &[command], COMMAND_TIMEOUT).await.map(drop)
    }

    /// Deletes a graph, and also its marker and its entry in the list if it is a group's. Returns whether the graph existed.
    pub(super) async fn remove(&self, connection: &mut CacheConnection, graph: &GraphName) -> Result<bool> {
        let key = self.key(graph);
        let is_there = graph::state(connection, &key).await? == GraphState::Present;
        let mut commands: Vec<Cmd> = is_there.then(|| graph::delete(&key)).into_iter().collect();
        if self.routing.is_by_group() {
            commands.push(cmd("SREM").arg(self.list()).arg(graph.as_str()).to_owned());
            if self.role == GraphRole::Live {
                commands.push(cmd("UNLINK").arg(GraphKeys::of(graph).marker()).to_owned());
            }
        }
        if !commands.is_empty() {
            while_owned(connection, "delete the graph", &self.ownership, &commands, graph::DELETE_TIMEOUT).await?;
        }
        Ok(is_there)
    }

    fn list(&self) -> String {
        GraphKeys::of(&self.ownership.graph).groups(self.role)
    }
}

/// The graphs that a set lists.
pub(super) async fn listed(connection: &mut CacheConnection, set: &str) -> Result<BTreeSet<GraphName>> {
    let answer = connection.command("list the pipeline's graphs", cmd("SMEMBERS").arg(set), COMMAND_TIMEOUT).await?;
    let name = |value| {
        GraphName::new(reply::text(value)?)
            .map_err(|error| Error::caused(ErrorKind::CacheProtocol, format!("{set} lists an invalid graph name"), error))
    };
    reply::array(answer)?.iter().map(name).collect()
}

/// The command that marks a group's graph as a pipeline's.
pub(super) fn mark(graph: &GraphName, pipeline: &GraphName) -> Cmd {
    cmd("SET").arg(GraphKeys::of(graph).marker()).arg(pipeline.as_str()).to_owned()
}

/// Returns the owner of the graph with this name, if it is another program.
pub(super) async fn taken(
    connection: &mut CacheConnection,
    pipeline: &GraphName,
    graph: &GraphName,
) -> Result<Result<(), Foreign>> {
    let ask = cmd("GET").arg(GraphKeys::of(graph).marker()).to_owned();
    let marker = connection.command("read the marker of a graph", &ask, COMMAND_TIMEOUT).await?;
    match reply::optional_text(&marker)? {
        Some(ours) if ours == pipeline.as_str() => Ok(Ok(())),
        Some(other) => Ok(Err(Foreign::OfAnother(graph.clone(), other))),
        None if graph != pipeline && has_checkpoint(connection, graph).await? => {
            Ok(Err(Foreign::OfAnother(graph.clone(), graph.to_string())))
        }
        None => adoptable(connection, graph).await,
    }
}

impl GraphSet {
    /// Returns the given names under which another program owns a graph, each with its owner.
    pub(crate) async fn taken<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<BTreeMap<String, String>> {
        taken_graphs(&self.address, self.name(), names).await
    }
}

/// Returns the names under which another program owns a graph, each with its owner.
pub(super) async fn taken_graphs<'a>(
    address: &CacheAddress,
    pipeline: &GraphName,
    names: impl Iterator<Item = &'a str>,
) -> Result<BTreeMap<String, String>> {
    let mut connection = CacheConnection::new(address.clone());
    let mut found = BTreeMap::new();
    for name in names {
        let Ok(graph) = GraphName::new(name) else { continue };
        if let Err(foreign) = taken(&mut connection, pipeline, &graph).await? {
            found.insert(name.to_owned(), foreign.to_string());
        }
    }
    Ok(found)
}

/// Whether a single-graph pipeline fills the graph, perhaps by a version older than the markers.
async fn has_checkpoint(connection: &mut CacheConnection, graph: &GraphName) -> Result<bool> {
    let command = cmd("TYPE").arg(GraphKeys::of(graph).checkpoint(GraphRole::Live)).to_owned();
    let found = connection.command("find the checkpoint of a graph", &command, COMMAND_TIMEOUT).await?;
    Ok(reply::text(&found)? != "none")
}

/// Whether a name without a marker is free or has an empty graph.
async fn adoptable(connection: &mut CacheConnection, graph: &GraphName) -> Result<Result<(), Foreign>> {
    match graph::state(connection, graph.as_str()).await {
        Ok(GraphState::Missing) => return Ok(Ok(())),
        Ok(GraphState::Present) => {}
        Err(error) if error.kind() == ErrorKind::CacheWrongType => return Ok(Err(Foreign::NoGraph(graph.clone()))),
        Err(error) => return Err(error),
    }
    let nodes = graph::node_count(connection, graph.as_str()).await?;
    Ok(if nodes == 0 { Ok(()) } else { Err(Foreign::Unmarked(graph.clone())) })
}
