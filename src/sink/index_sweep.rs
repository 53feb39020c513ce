//! The sweep for unsafe indices through the graphs of a pipeline.

use std::collections::{BTreeMap, BTreeSet};

use super::graph_rotation::GraphRotation;
use super::routing::Routing;
use crate::model::graph_name::GraphName;

/// The most graphs in one look, one after another: a look may take no longer than a few round trips.
const AT_ONCE: usize = 8;

/// The progress and the findings of the sweep.
#[derive(Debug, Default)]
pub(super) struct IndexSweep {
    rotation: GraphRotation,
    found: BTreeMap<GraphName, BTreeSet<String>>,
}

impl IndexSweep {
    /// Returns the next graphs. Forgets the findings of graphs that no longer exist.
    pub(super) fn next(&mut self, graphs: &BTreeSet<GraphName>) -> Vec<GraphName> {
        self.found.retain(|graph, _| graphs.contains(graph));
        self.rotation.next(graphs, AT_ONCE)
    }

    /// Records which indices were found in a graph.
    pub(super) fn note(&mut self, graph: GraphName, found: BTreeSet<String>) {
        self.found.insert(graph, found);
    }

    /// The findings of the last look at each graph.
    pub(super) fn found(&self, routing: &Routing) -> BTreeSet<String> {
        let said = |(graph, found): (&GraphName, &BTreeSet<String>)| {
            found.iter().map(|index| routing.said_of(graph, index.clone())).collect::<Vec<_>>()
        };
        self.found.iter().flat_map(said).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::routes::Routes;

    #[test]
    fn what_was_found_goes_with_its_graph() {
        let graph = GraphName::new("g").unwrap();
        let (only, by_group) = (Routing::OnlyGraph(graph.clone()), Routing::ByGroup(Routes::new(graph.clone())));
        let found = BTreeSet::from(["range (:A).name".to_owned()]);
        let mut sweep = IndexSweep::default();
        sweep.note(graph, found);
        assert_eq!(sweep.found(&by_group), BTreeSet::from(["g: range (:A).name".to_owned()]));
        assert_eq!(sweep.found(&only), BTreeSet::from(["range (:A).name".to_owned()]), "which graph it is goes without saying");
        sweep.next(&BTreeSet::new());
        assert!(sweep.found(&by_group).is_empty());
    }
}
