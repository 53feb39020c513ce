//! The rotation in which the graphs of a pipeline are looked at, several at a time: there may be thousands.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::model::graph_name::GraphName;

/// The place in the order of the graphs.
#[derive(Debug, Default)]
pub(super) struct GraphRotation {
    last: Option<GraphName>,
}

impl GraphRotation {
    /// Returns this many of the graphs at most, from the next one on; after the last one, the first.
    pub(super) fn next(&mut self, graphs: &BTreeSet<GraphName>, most: usize) -> Vec<GraphName> {
        let after = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let behind = graphs.range::<GraphName, _>((after, Bound::Unbounded));
        let next: Vec<GraphName> = behind.chain(graphs).take(most.min(graphs.len())).cloned().collect();
        self.last = next.last().cloned().or(self.last.take());
        next
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const AT_ONCE: usize = 8;

    #[test]
    fn every_graph_is_looked_at_in_its_turn() {
        let graphs: BTreeSet<GraphName> = (0..2 * AT_ONCE + 3).map(|n| GraphName::new(format!("g{n:02}")).unwrap()).collect();
        let mut rotation = GraphRotation::default();
        let seen: Vec<GraphName> = (0..3).flat_map(|_| rotation.next(&graphs, AT_ONCE)).collect();
        assert_eq!(seen.len(), 3 * AT_ONCE);
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), graphs.len());
        assert_eq!(seen[graphs.len()], seen[0], "from the beginning again");
        let few: BTreeSet<GraphName> = graphs.iter().take(2).cloned().collect();
        assert_eq!(rotation.next(&few, AT_ONCE).len(), 2);
        assert_eq!(rotation.next(&BTreeSet::new(), AT_ONCE), []);
    }
}
