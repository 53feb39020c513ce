//! Which graphs a pipeline has made for its groups.
//!
//! Two things say so: a set under the pipeline's name lists its graphs, and a marker beside each graph names the pipeline. A graph
//! without our marker is never written, replaced or deleted; an empty one may be taken over, because a mere search of graphiti
//! leaves one behind for a group that it does not find.

use std::collections::{BTreeMap, BTreeSet};

use redis::{Cmd, cmd};

use crate::error::{Error, ErrorKind, Result};
use crate::model::graph_name::GraphName;
use crate::sink::address::CacheAddress;
use crate::sink::connection::{COMMAND_TIMEOUT, Connection};
use crate::sink::graph::{self, GraphState};
use crate::sink::keys::{GraphKeys, GraphRole};
use crate::sink::ownership::{ATTEMPTS, Ownership, keeps_changing, require_owned, transaction, unwatch, while_owned};
use crate::sink::reply;

/// Which of a group's graphs is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The one that is read.
    Live,
    /// The one that is to take its place.
    Stage,
}

impl Place {
    /// The key of the graph.
    pub(super) fn graph_key(self, graph: &GraphName) -> String {
        match self {
            Place::Live => graph.as_str().to_owned(),
            Place::Stage => GraphKeys::of(graph).graph(GraphRole::Stage),
        }
    }

    fn set_key(self, control: &GraphName) -> String {
        match self {
            Place::Live => GraphKeys::of(control).groups(GraphRole::Live),
            Place::Stage => GraphKeys::of(control).groups(GraphRole::Stage),
        }
    }
}

/// The graphs of a pipeline.
#[derive(Debug, Clone)]
pub(super) struct Registry {
    control: GraphName,
    place: Place,
    ownership: Ownership,
}

/// Why a graph cannot be a pipeline's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Foreign {
    #[error("the graph {0} holds what this service did not write")]
    Unmarked(GraphName),
    #[error("the graph {0} is filled by the pipeline {1}")]
    OfAnother(GraphName, String),
    #[error("{0} names a key that is no graph")]
    NoGraph(GraphName),
}

impl Registry {
    pub(super) fn new(control: GraphName, place: Place, ownership: Ownership) -> Self {
        Self { control, place, ownership }
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// What proves that this process may write the pipeline's graphs. One fence is that of all of them, wherever their keys are:
    /// they are on one server.
    pub(super) fn ownership(&self) -> &Ownership {
        &self.ownership
    }

    /// All graphs of the pipeline.
    pub(super) async fn graphs(&self, connection: &mut Connection) -> Result<BTreeSet<GraphName>> {
        listed(connection, &self.place.set_key(&self.control)).await
    }

    /// Makes sure that nobody else has a graph of this name, or says who has.
    pub(super) async fn claim(&self, connection: &mut Connection, graph: &GraphName) -> Result<Result<(), Foreign>> {
        const DOING: &str = "mark a graph";
        if self.place == Place::Stage {
            // It becomes live, and marked, in one step.
            return taken(connection, &self.control, graph).await;
        }
        // Somebody else may take the name between the look and the mark.
        let watched =
            [GraphKeys::of(graph).marker(), GraphKeys::of(graph).checkpoint(GraphRole::Live), graph.as_str().to_owned()];
        for _ in 0..ATTEMPTS {
            require_owned(connection, DOING, &self.ownership, &watched, COMMAND_TIMEOUT).await?;
            if let Err(foreign) = taken(connection, &self.control, graph).await? {
                unwatch(connection, DOING, COMMAND_TIMEOUT).await?;
                return Ok(Err(foreign));
            }
            let mark = mark(graph, &self.control);
            if transaction(connection, DOING, [mark], COMMAND_TIMEOUT).await?.is_some() {
                return Ok(Ok(()));
            }
        }
        Err(keeps_changing(DOING, graph.as_str()))
    }

    /// Lists a graph that was made.
    pub(super) async fn add(&self, connection: &mut Connection, graph: &GraphName) -> Result<()> {
        let command = cmd("SADD").arg(self.place.set_key(&self.control)).arg(graph.as_str()).to_owned();
        while_owned(connection, "list a graph", &self.ownership, &[command], COMMAND_TIMEOUT).await.map(drop)
    }

    /// Deletes a graph with all that says that it is the pipeline's.
    pub(super) async fn remove(&self, connection: &mut Connection, graph: &GraphName) -> Result<()> {
        let key = self.place.graph_key(graph);
        let there = graph::state(connection, &key).await? == GraphState::Present;
        let mut commands: Vec<Cmd> = there.then(|| graph::delete(&key)).into_iter().collect();
        commands.push(cmd("SREM").arg(self.place.set_key(&self.control)).arg(graph.as_str()).to_owned());
        if self.place == Place::Live {
            commands.push(cmd("UNLINK").arg(GraphKeys::of(graph).marker()).to_owned());
        }
        while_owned(connection, "delete a group's graph", &self.ownership, &commands, COMMAND_TIMEOUT).await.map(drop)
    }
}

/// The graphs that a set lists.
pub(super) async fn listed(connection: &mut Connection, set: &str) -> Result<BTreeSet<GraphName>> {
    let answer = connection.command("list the pipeline's graphs", cmd("SMEMBERS").arg(set), COMMAND_TIMEOUT).await?;
    let name = |value| {
        GraphName::new(reply::text(value)?)
            .map_err(|error| Error::caused(ErrorKind::CacheProtocol, format!("{set} lists what cannot be a graph's name"), error))
    };
    reply::array(answer)?.iter().map(name).collect()
}

/// The command that marks a graph as a pipeline's.
pub(super) fn mark(graph: &GraphName, control: &GraphName) -> Cmd {
    cmd("SET").arg(GraphKeys::of(graph).marker()).arg(control.as_str()).to_owned()
}

/// Who has a graph of this name, if it is neither the pipeline nor nobody.
pub(super) async fn taken(connection: &mut Connection, control: &GraphName, graph: &GraphName) -> Result<Result<(), Foreign>> {
    let marker =
        connection.command("look for a graph's marker", cmd("GET").arg(GraphKeys::of(graph).marker()), COMMAND_TIMEOUT).await?;
    match reply::optional_text(&marker)? {
        Some(ours) if ours == control.as_str() => Ok(Ok(())),
        Some(other) => Ok(Err(Foreign::OfAnother(graph.clone(), other))),
        None if graph != control && has_checkpoint(connection, graph).await? => {
            Ok(Err(Foreign::OfAnother(graph.clone(), graph.to_string())))
        }
        None => adoptable(connection, graph).await,
    }
}

/// The names among these under which another program owns a graph, each with its owner.
pub async fn taken_graphs<'a>(
    address: &CacheAddress,
    control: &GraphName,
    names: impl Iterator<Item = &'a str>,
) -> Result<BTreeMap<String, String>> {
    let mut connection = Connection::new(address.clone());
    let mut found = BTreeMap::new();
    for name in names {
        let Ok(graph) = GraphName::new(name) else { continue };
        if let Err(foreign) = taken(&mut connection, control, &graph).await? {
            found.insert(name.to_owned(), foreign.to_string());
        }
    }
    Ok(found)
}

/// Whether a single-graph pipeline fills the graph, which a version before the markers may have done.
async fn has_checkpoint(connection: &mut Connection, graph: &GraphName) -> Result<bool> {
    let command = cmd("TYPE").arg(GraphKeys::of(graph).checkpoint(GraphRole::Live)).to_owned();
    let found = connection.command("look for a graph's checkpoint", &command, COMMAND_TIMEOUT).await?;
    Ok(reply::text(&found)? != "none")
}

/// Whether what stands under a name without a marker is nothing, or an empty graph.
async fn adoptable(connection: &mut Connection, graph: &GraphName) -> Result<Result<(), Foreign>> {
    match graph::state(connection, graph.as_str()).await {
        Ok(GraphState::Missing) => return Ok(Ok(())),
        Ok(GraphState::Present) => {}
        Err(error) if error.kind() == ErrorKind::CacheWrongType => return Ok(Err(Foreign::NoGraph(graph.clone()))),
        Err(error) => return Err(error),
    }
    let nodes = graph::node_count(connection, graph.as_str()).await?;
    Ok(if nodes == 0 { Ok(()) } else { Err(Foreign::Unmarked(graph.clone())) })
}
