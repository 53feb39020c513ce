//! The state of the indices, of one graph or of all of a pipeline.

use super::routing::Routing;
use crate::model::graph_name::GraphName;

/// The state of the profile's indices.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct IndexReport {
    /// Statements that were run.
    pub made: Vec<String>,
    /// Indices that the profile does not name; they are left alone.
    pub foreign: Vec<String>,
    /// Statements for indices of the source that FalkorDB refuses.
    pub refused: Vec<String>,
    /// Existing indices with which this server answers wrongly.
    #[serde(rename = "unsafe")]
    pub(crate) unsafe_ones: Vec<String>,
    /// Indices of the profile or the source that existed, made the server answer wrongly, and were dropped.
    pub(crate) dropped: Vec<String>,
    /// Indices of the profile or the source that are not made, because this server would answer wrongly with them.
    pub(crate) left_out: Vec<String>,
    /// Constraints of the cache. All are foreign: this service makes none.
    pub(crate) constraints: Vec<String>,
    /// Foreign indices and constraints that a full sync could not make again, each with the reason.
    pub(crate) lost: Vec<String>,
    /// Whether there was no index at all: the graph is new, or differs from the one that was prepared before.
    pub from_nothing: bool,
}

impl IndexReport {
    /// Adds the findings about one of a pipeline's graphs.
    pub(super) fn add(&mut self, routing: &Routing, graph: &GraphName, part: Self) {
        let said = |list: Vec<String>| list.into_iter().map(|what| routing.said_of(graph, what)).collect::<Vec<_>>();
        self.made.extend(part.made);
        self.refused.extend(part.refused);
        self.foreign.extend(said(part.foreign));
        self.unsafe_ones.extend(said(part.unsafe_ones));
        self.dropped.extend(said(part.dropped));
        self.constraints.extend(said(part.constraints));
        self.lost.extend(said(part.lost));
        // Every graph has the same.
        self.left_out = part.left_out;
        self.from_nothing |= part.from_nothing;
    }

    /// The lasting findings; what was done is reported once.
    pub(super) fn lasting(&self) -> Self {
        let (made, dropped, refused) = (Vec::new(), Vec::new(), Vec::new());
        Self { made, dropped, refused, from_nothing: false, ..self.clone() }
    }
}
