//! Decides whether a single-graph pipeline may fill the graph that already has its name.
//!
//! A graph that this service fills has a marker beside it. A graph with the marker of another pipeline is never filled. A graph
//! without a marker that has content but no checkpoint belongs to somebody else, and is filled only if an operator allows it.

use redis::{Cmd, Pipeline, cmd};

use super::connection::{COMMAND_TIMEOUT, CacheConnection};
use super::graph::{self, GRAPH_TYPE};
use super::keys::{GraphKeys, GraphRole};
use super::reply;
use crate::error::{Error, ErrorKind, Result};
use crate::model::graph_name::GraphName;

/// An operator's decision about a graph that this service did not fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum TakeOver {
    /// The graph is left alone.
    #[default]
    Refused,
    /// The graph may be replaced.
    Allowed,
}

/// The keys that decide whether a graph may be filled.
pub(super) fn watched(graph: &GraphName) -> [String; 3] {
    [GraphKeys::of(graph).marker(), GraphKeys::of(graph).checkpoint(GraphRole::Live), graph.as_str().to_owned()]
}

/// Marks a graph as filled by a single-graph pipeline. No name of a pipeline with many graphs has braces.
pub(super) fn mark(graph: &GraphName) -> Cmd {
    cmd("SET").arg(GraphKeys::of(graph).marker()).arg(own_marker(graph)).to_owned()
}

fn own_marker(graph: &GraphName) -> String {
    format!("{{{graph}}}")
}

/// Returns why a graph may not be filled, or nothing if it may.
pub(super) async fn refusal(connection: &mut CacheConnection, graph: &GraphName, take_over: TakeOver) -> Result<Option<Error>> {
    const DOING: &str = "find the owner of the graph";
    let mut pipeline = Pipeline::new();
    pipeline.add_command(cmd("GET").arg(GraphKeys::of(graph).marker()).to_owned());
    pipeline.add_command(cmd("TYPE").arg(GraphKeys::of(graph).checkpoint(GraphRole::Live)).to_owned());
    pipeline.add_command(cmd("TYPE").arg(graph.as_str()).to_owned());
    let mut answers = connection.pipeline(DOING, &pipeline, COMMAND_TIMEOUT).await?.into_iter();
    let mut next = || answers.next().unwrap_or_else(|| Err(reply::unexpected("three answers")));
    let marker = reply::optional_text(&next()?)?;
    let has_checkpoint = reply::text(&next()?)? != "none";
    let is_graph = reply::text(&next()?)? == GRAPH_TYPE;
    match marker {
        Some(marker) if marker == own_marker(graph) => return Ok(None),
        Some(other) => return Ok(Some(of_another(graph, &other))),
        None => {}
    }
    // A key of another type is refused by the check of the graph's state.
    if has_checkpoint || !is_graph || take_over == TakeOver::Allowed {
        return Ok(None);
    }
    let nodes = graph::node_count(connection, graph.as_str()).await?;
    Ok((nodes > 0).then(|| unmarked(graph, nodes)))
}

fn of_another(graph: &GraphName, pipeline: &str) -> Error {
    let pipeline = pipeline.trim_matches(['{', '}']);
    let message = format!("the graph {graph} is filled by the pipeline {pipeline}: choose another falkordb.database");
    Error::new(ErrorKind::CacheForeign, message)
}

fn unmarked(graph: &GraphName, nodes: u64) -> Error {
    let message = format!(
        "the graph {graph} holds {nodes} nodes that this service did not write: choose another falkordb.database, delete the graph, \
         or allow its replacement with --take-over (falkordb.take_over)"
    );
    Error::new(ErrorKind::CacheForeign, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_own_marker_is_the_name_of_no_pipeline() {
        let graph = GraphName::new("g").unwrap();
        assert_eq!(own_marker(&graph), "{g}");
        assert!(GraphName::new(own_marker(&graph)).is_err());
    }

    #[test]
    fn a_refusal_says_what_is_there_and_what_to_do() {
        let graph = GraphName::new("g").unwrap();
        let text = unmarked(&graph, 500).to_string();
        assert!(text.contains("the graph g holds 500 nodes") && text.contains("--take-over"), "{text}");
        assert!(of_another(&graph, "p").to_string().contains("by the pipeline p:"));
    }
}
