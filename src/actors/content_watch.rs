//! Notices a graph that lost its content: somebody deleted it, and a client that asked it made it again, empty. Its key, its checkpoint
//! and its server look as before, and a pass that reads what a change feed tells looks at nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::error::{Error, ErrorKind, Result};
use crate::model::checkpoint::Checkpoint;
use crate::model::graph_name::GraphName;
use crate::model::profile::Profile;
use crate::sink::{CheckpointStore, Sink};
use crate::source::Source;

/// The time limit for asking the cache. A server that is busy with other queries answers late, which says nothing, and must not delay
/// the next probe.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// The time limit for asking the source, which happens only if a graph is empty.
const JUDGE_TIMEOUT: Duration = Duration::from_secs(5);

/// The graphs of a pipeline as a generation has seen them.
pub(super) struct ContentWatch {
    source: Arc<dyn Source>,
    profile: Arc<Profile>,
    seen: SeenGraphs,
}

/// Which graphs held nodes.
#[derive(Debug, Default)]
struct SeenGraphs {
    /// Graphs that held nodes at a look.
    filled: BTreeSet<GraphName>,
    /// Those of them that held none at the last look.
    emptied: BTreeSet<GraphName>,
}

impl SeenGraphs {
    /// Notes a look. Returns whether a graph that held nodes was empty at two looks: a pass may delete the last node of a group just
    /// before it removes the graph.
    fn note(&mut self, populated: BTreeMap<GraphName, bool>) -> bool {
        let mut was_emptied = false;
        for (graph, holds_nodes) in populated {
            if holds_nodes {
                self.emptied.remove(&graph);
                self.filled.insert(graph);
            } else if self.filled.contains(&graph) {
                was_emptied |= !self.emptied.insert(graph);
            }
        }
        was_emptied
    }

    /// Notes that the graphs that are empty now are so rightly.
    fn accept(&mut self) {
        let emptied = std::mem::take(&mut self.emptied);
        self.filled.retain(|graph| !emptied.contains(graph));
    }
}

impl ContentWatch {
    pub(super) fn new(source: Arc<dyn Source>, profile: Arc<Profile>) -> Self {
        Self { source, profile, seen: SeenGraphs::default() }
    }

    /// Fails if a graph lost its content. A question without an answer says nothing: other probes report a silent server.
    pub(super) async fn look(&mut self, sink: &mut dyn Sink, store: &mut dyn CheckpointStore) -> Result<()> {
        let Ok(Ok(populated)) = timeout(ASK_TIMEOUT, sink.populated()).await else { return Ok(()) };
        if !self.seen.note(populated) {
            return Ok(());
        }
        match timeout(JUDGE_TIMEOUT, self.should_hold_nodes(store)).await {
            Ok(Ok(Some(true))) => Err(Error::new(ErrorKind::CacheChanged, "a graph of the cache lost its content")),
            Ok(Ok(Some(false))) => {
                self.seen.accept();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether a cache at rest should hold nodes. Absent if it is not at rest: a pass is under way or due.
    async fn should_hold_nodes(&self, store: &mut dyn CheckpointStore) -> Result<Option<bool>> {
        let Some(checkpoint) = store.load().await? else { return Ok(None) };
        let quarantined = store.quarantine().await?.len();
        let has_nodes = has_usable_nodes(self.source.as_ref(), &self.profile, quarantined).await?;
        // This comes last: nothing that was counted is of a later commit.
        let now = self.source.probe().await?;
        let is_applied = checkpoint.bookmark.as_ref().is_some_and(|applied| applied.includes(&now));
        Ok((is_at_rest(&checkpoint) && is_applied).then_some(has_nodes))
    }
}

fn is_at_rest(checkpoint: &Checkpoint) -> bool {
    checkpoint.is_filled() && checkpoint.pass.is_none()
}

/// Whether the source has nodes that the cache can hold, if it cannot hold this many elements.
pub(super) async fn has_usable_nodes(source: &dyn Source, profile: &Profile, quarantined: usize) -> Result<bool> {
    let counts = source.counts().await?;
    let of_nodes = profile.kinds().into_iter().zip(counts).filter(|(kind, _)| kind.is_node());
    Ok(of_nodes.map(|(_, count)| count).sum::<u64>() > quarantined as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_that_was_emptied_is_empty_at_two_looks() {
        let graph = GraphName::new("g").unwrap();
        let mut seen = SeenGraphs::default();
        let mut look = |holds_nodes| seen.note(BTreeMap::from([(graph.clone(), holds_nodes)]));
        assert!(!look(false) && !look(false), "it never held any");
        assert!(!look(true) && !look(false) && !look(true) && !look(false), "one look");
        assert!(look(false) && look(false), "until it is accepted");
        seen.accept();
        let mut look = |holds_nodes| seen.note(BTreeMap::from([(graph.clone(), holds_nodes)]));
        assert!(!look(false) && !look(false));
        assert!(!look(true) && !look(false) && look(false), "it was filled again");
    }
}
