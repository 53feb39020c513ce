//! The graphs that a full pass would make, where each group has one of its own.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::prepared::PreparedRows;
use crate::model::routes::Routes;
use crate::sink::split_by_graph;

/// A graph to come.
#[derive(Debug, Default, Serialize)]
pub struct GraphSurvey {
    /// Nodes for it among those looked at.
    pub nodes: u64,
    /// Relationships for it among those looked at.
    pub relationships: u64,
    /// Why it cannot be filled, where somebody else has a graph of that name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<String>,
}

/// The graphs found so far.
#[derive(Debug)]
pub(super) struct Graphs<'a> {
    routes: Option<&'a Routes>,
    pub(super) found: BTreeMap<String, GraphSurvey>,
}

impl<'a> Graphs<'a> {
    /// Without routes everything goes to one graph, and nothing is found.
    pub(super) fn new(routes: Option<&'a Routes>) -> Self {
        Self { routes, found: BTreeMap::new() }
    }

    /// Sends rows to their graphs as a pass would. Rows that cannot have a graph are none of those that are prepared.
    pub(super) fn add(&mut self, rows: &PreparedRows) {
        let Some(routes) = self.routes else { return };
        for (graph, part) in split_by_graph(rows, routes, &mut Vec::new()) {
            let found = self.found.entry(graph.to_string()).or_default();
            found.nodes += part.nodes.iter().map(|group| group.rows.len() as u64).sum::<u64>();
            found.relationships += part.relationships.iter().map(|group| group.rows.len() as u64).sum::<u64>();
        }
    }
}
