//! What became of the indices, of one graph or of all of a pipeline.

use super::routing::Routing;
use crate::model::graph_name::GraphName;

/// What became of the profile's indices.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct IndexReport {
    /// Statements that were run.
    pub made: Vec<String>,
    /// Indices that the profile does not name; they are left alone.
    pub foreign: Vec<String>,
    /// Statements for indices of the source that FalkorDB refuses.
    pub refused: Vec<String>,
    /// Indices that are there, and that this server answers wrongly by.
    #[serde(rename = "unsafe")]
    pub unsafe_ones: Vec<String>,
    /// Indices of the profile or the source that were there, answered wrongly, and were dropped.
    pub dropped: Vec<String>,
    /// Indices of the profile or the source that are not made, because this server would answer wrongly by them.
    pub left_out: Vec<String>,
    /// Constraints of the cache. Each of them is somebody else's: this service makes none.
    pub constraints: Vec<String>,
    /// What a full sync could not make again of what somebody else had made, and why.
    pub lost: Vec<String>,
    /// Whether there was not a single one: the graph is new, or is not the one that was prepared before.
    pub from_nothing: bool,
}

impl IndexReport {
    /// Adds what is found of one of a pipeline's graphs.
    pub(super) fn add(&mut self, routing: &Routing, graph: &GraphName, part: Self) {
        let said = |list: Vec<String>| list.into_iter().map(|what| routing.said_of(graph, what)).collect::<Vec<_>>();
        self.made.extend(part.made);
        self.refused.extend(part.refused);
        self.foreign.extend(said(part.foreign));
        self.unsafe_ones.extend(said(part.unsafe_ones));
        self.dropped.extend(said(part.dropped));
        self.constraints.extend(said(part.constraints));
        self.lost.extend(said(part.lost));
        // The same in each graph.
        self.left_out = part.left_out;
        self.from_nothing |= part.from_nothing;
    }

    /// What stands as long as nobody changes it; what was done is told once.
    pub(super) fn lasting(&self) -> Self {
        let (made, dropped, refused) = (Vec::new(), Vec::new(), Vec::new());
        Self { made, dropped, refused, from_nothing: false, ..self.clone() }
    }
}
