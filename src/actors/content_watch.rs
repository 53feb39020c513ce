//! Notices a graph that lost its content: somebody deleted it, and a client that asked it made it again, empty. Its key, its checkpoint
//! and its server look as before, and a pass that reads what a change feed tells looks at nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::error::Result;
use crate::model::checkpoint::Checkpoint;
use crate::model::graph_name::GraphName;
use crate::model::profile::Profile;
use crate::sink::{CheckpointStore, Sink, lost_content};
use crate::source::Source;

/// The time limit for asking the cache. A server that is busy with other queries answers late, which says nothing, and must not delay
/// the next probe.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// The time limit for asking the source, which happens only if a graph is empty.
const JUDGE_TIMEOUT: Duration = Duration::from_secs(5);

/// The time between two looks: an idle cache is left alone.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// The graphs of a pipeline as a generation has seen them.
pub(super) struct ContentWatch {
    source: Arc<dyn Source>,
    profile: Arc<Profile>,
    seen: SeenGraphs,
    /// The time of the last look, unless the next one follows at once.
    looked: Option<Instant>,
}

/// Which graphs held nodes.
#[derive(Debug, Default)]
struct SeenGraphs {
    /// Graphs that held nodes at a look.
    filled: BTreeSet<GraphName>,
    /// Those of them that held none at the last look.
    emptied: BTreeSet<GraphName>,
}

/// What a look shows of graphs that held nodes.
#[derive(Debug, PartialEq, Eq)]
enum Sighting {
    Unsuspicious,
    /// One of them is empty since this look: a pass may have deleted the last node of a group and be about to remove the graph.
    JustEmptied,
    /// One of them was empty at two looks.
    Emptied,
}

impl SeenGraphs {
    fn note(&mut self, populated: BTreeMap<GraphName, bool>) -> Sighting {
        let mut found = Sighting::Unsuspicious;
        for (graph, holds_nodes) in populated {
            if holds_nodes {
                self.emptied.remove(&graph);
                self.filled.insert(graph);
            } else if self.filled.contains(&graph) {
                let is_new = self.emptied.insert(graph);
                found = if is_new && found != Sighting::Emptied { Sighting::JustEmptied } else { Sighting::Emptied };
            }
        }
        found
    }

    /// Notes that the graphs that are empty now are so rightly.
    fn accept(&mut self) {
        let emptied = std::mem::take(&mut self.emptied);
        self.filled.retain(|graph| !emptied.contains(graph));
    }
}

impl ContentWatch {
    pub(super) fn new(source: Arc<dyn Source>, profile: Arc<Profile>) -> Self {
        Self { source, profile, seen: SeenGraphs::default(), looked: None }
    }

    /// Fails if a graph lost its content. A question without an answer says nothing: other probes report a silent server.
    pub(super) async fn look(&mut self, sink: &mut dyn Sink, store: &mut dyn CheckpointStore) -> Result<()> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_INTERVAL) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let Ok(Ok(populated)) = timeout(ASK_TIMEOUT, sink.populated()).await else { return Ok(()) };
        match self.seen.note(populated) {
            Sighting::Unsuspicious => return Ok(()),
            Sighting::JustEmptied => {
                self.looked = None;
                return Ok(());
            }
            Sighting::Emptied => {}
        }
        match timeout(JUDGE_TIMEOUT, self.judge(sink, store)).await {
            Ok(Ok(Judgement::Lost)) => return Err(lost_content()),
            Ok(Ok(Judgement::RightlyEmpty)) => self.seen.accept(),
            // The next look asks again.
            Ok(Ok(Judgement::PassIsDue) | Err(_)) | Err(_) => {}
        }
        Ok(())
    }

    /// Says whether a graph is rightly empty.
    async fn judge(&self, sink: &mut dyn Sink, store: &mut dyn CheckpointStore) -> Result<Judgement> {
        let Some(checkpoint) = store.load().await?.filter(is_at_rest) else { return Ok(Judgement::PassIsDue) };
        let is_applied = async || -> Result<bool> {
            let now = self.source.probe().await?;
            Ok(checkpoint.bookmark.as_ref().is_some_and(|applied| applied.includes(&now)))
        };
        if !is_applied().await? {
            return Ok(Judgement::PassIsDue);
        }
        let quarantined = store.quarantine().await?.len();
        if !has_usable_nodes(self.source.as_ref(), &self.profile, quarantined).await? {
            return Ok(Judgement::RightlyEmpty);
        }
        // Nothing that was counted is of a later commit, and no pass has filled the graph meanwhile.
        let is_lost = is_applied().await? && sink.has_empty_graph().await?;
        Ok(if is_lost { Judgement::Lost } else { Judgement::PassIsDue })
    }
}

/// Why a graph that held nodes is empty.
enum Judgement {
    /// Somebody deleted it: the source has nodes.
    Lost,
    /// The source has no nodes that the cache can hold.
    RightlyEmpty,
    /// A pass is under way or due.
    PassIsDue,
}

fn is_at_rest(checkpoint: &Checkpoint) -> bool {
    checkpoint.is_filled() && checkpoint.pass.is_none()
}

/// Whether the source has nodes that the cache can hold, if it cannot hold this many elements. Elements that the quarantine does not list
/// one by one count as usable.
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
        use Sighting::{Emptied, JustEmptied, Unsuspicious};
        let graph = GraphName::new("g").unwrap();
        let mut seen = SeenGraphs::default();
        let mut look = |holds_nodes| seen.note(BTreeMap::from([(graph.clone(), holds_nodes)]));
        assert_eq!([look(false), look(false)], [Unsuspicious, Unsuspicious], "it never held any");
        assert_eq!([look(true), look(false), look(true), look(false)], [Unsuspicious, JustEmptied, Unsuspicious, JustEmptied]);
        assert_eq!([look(false), look(false)], [Emptied, Emptied], "until it is accepted");
        seen.accept();
        let mut look = |holds_nodes| seen.note(BTreeMap::from([(graph.clone(), holds_nodes)]));
        assert_eq!([look(false), look(false)], [Unsuspicious, Unsuspicious]);
        assert_eq!([look(true), look(false), look(false)], [Unsuspicious, JustEmptied, Emptied], "it was filled again");
    }
}
