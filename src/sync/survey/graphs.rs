//! The graphs that a full pass would make if each group has one of its own.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::prepared::PreparedRows;
use crate::model::routes::Routes;

/// A graph that a full pass would make.
#[derive(Debug, Default, Serialize)]
pub(crate) struct GraphSurvey {
    /// Nodes of the graph among those looked at.
    pub nodes: u64,
    /// Relationships of the graph among those looked at.
    pub relationships: u64,
    /// The reason why the graph cannot be filled, if a foreign graph has its name.
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
    /// Creates an empty list. Without routes, everything goes to one graph, and nothing is found.
    pub(super) fn new(routes: Option<&'a Routes>) -> Self {
        Self { routes, found: BTreeMap::new() }
    }

    /// Counts these rows for the graphs that a pass would write them to. Rows that cannot have a graph are left out.
    pub(super) fn add(&mut self, rows: &PreparedRows) {
        for group in &rows.nodes {
            if let Some(graph) = self.graph_of(group.group.as_deref()) {
                graph.nodes += group.rows.len() as u64;
            }
        }
        for group in &rows.relationships {
            if let Some(graph) = self.graph_of(group.group.as_deref()) {
                graph.relationships += group.rows.len() as u64;
            }
        }
    }

    fn graph_of(&mut self, group: Option<&str>) -> Option<&mut GraphSurvey> {
        let graph = self.routes?.graph_of(group.unwrap_or_default()).ok()?;
        Some(self.found.entry(graph.to_string()).or_default())
    }
}
