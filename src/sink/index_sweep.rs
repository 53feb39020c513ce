//! The sweep for unsafe indices through the graphs of a pipeline, several graphs at a time: there may be thousands.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::routing::Routing;
use crate::model::graph_name::GraphName;

/// The most graphs in one look, one after another: a look may take no longer than a few round trips.
const AT_ONCE: usize = 8;

/// The progress and the findings of the sweep.
#[derive(Debug, Default)]
pub(super) struct IndexSweep {
    last: Option<GraphName>,
    found: BTreeMap<GraphName, BTreeSet<String>>,
}

impl IndexSweep {
    /// Returns the next graphs. Forgets the findings of graphs that no longer exist.
    pub(super) fn next(&mut self, graphs: &BTreeSet<GraphName>) -> Vec<GraphName> {
        self.found.retain(|graph, _| graphs.contains(graph));
        let after = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let behind = graphs.range::<GraphName, _>((after, Bound::Unbounded));
        let next: Vec<GraphName> = behind.chain(graphs).take(AT_ONCE.min(graphs.len())).cloned().collect();
        self.last = next.last().cloned().or(self.last.take());
        next
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
    fn every_graph_is_looked_at_in_its_turn() {
        let graphs: BTreeSet<GraphName> = (0..2 * AT_ONCE + 3).map(|n| GraphName::new(format!("g{n:02}")).unwrap()).collect();
        let mut sweep = IndexSweep::default();
        let seen: Vec<GraphName> = (0..3).flat_map(|_| sweep.next(&graphs)).collect();
        assert_eq!(seen.len(), 3 * AT_ONCE);
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), graphs.len());
        assert_eq!(seen[graphs.len()], seen[0], "from the beginning again");
        let few: BTreeSet<GraphName> = graphs.iter().take(2).cloned().collect();
        assert_eq!(sweep.next(&few).len(), 2);
        assert_eq!(sweep.next(&BTreeSet::new()), []);
    }

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
