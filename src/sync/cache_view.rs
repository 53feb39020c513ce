//! What the strategies ask of the cache. The sink answers.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;

use async_trait::async_trait;

use crate::error::{Error, Result};
use crate::model::detail::Detail;
use crate::model::element::ElementIdentity;
use crate::model::graph_name::GraphName;
use crate::model::key::KeyPrefixes;
use crate::model::kind::{ElementKind, NodeKindId, RelationshipKindId};
use crate::model::name::Label;
use crate::transform::comparison::Content;

/// The cache, as a strategy reads it.
#[async_trait]
pub(crate) trait CacheView: Send {
    /// How many elements of each kind there are, in the order of [`Profile::kinds`](crate::model::profile::Profile::kinds).
    async fn counts(&mut self) -> Result<Vec<u64>>;

    /// How many nodes carry each label.
    async fn label_counts(&mut self) -> Result<BTreeMap<String, u64>>;

    /// How many of the nodes that carry a label carry each label.
    async fn labels_beside(&mut self, label: &Label) -> Result<BTreeMap<String, u64>>;

    /// How many keys of a kind, or of its nodes with one more label, begin in one of these ways, grouped by their first `length`
    /// characters.
    async fn key_groups(
        &mut self,
        kind: ElementKind,
        with: Option<&Label>,
        beginnings: &KeyPrefixes,
        length: usize,
    ) -> Result<BTreeMap<String, u64>>;

    /// What identifies the elements of a kind, or its nodes with one more label, whose keys begin in one of these ways.
    async fn identities(
        &mut self,
        kind: ElementKind,
        with: Option<&Label>,
        beginnings: &KeyPrefixes,
    ) -> Result<BTreeSet<ElementIdentity>>;

    /// Visits every element of a kind once, in no order; in several graphs, an element that stands in two of them twice.
    async fn scan(&mut self, kind: ElementKind, visit: &mut (dyn FnMut(Keyed) + Send)) -> Result<()> {
        let mut next = Some(ScanPosition::default());
        while let Some(from) = next {
            next = self.scan_part(kind, &from, usize::MAX, visit).await?;
        }
        Ok(())
    }

    /// Goes on with a visit of every element of a kind, and stops after about `elements` of them. Returns where to go on; nothing at
    /// the end.
    async fn scan_part(
        &mut self,
        kind: ElementKind,
        from: &ScanPosition,
        elements: usize,
        visit: &mut (dyn FnMut(Keyed) + Send),
    ) -> Result<Option<ScanPosition>>;

    /// As [`CacheView::scan`], for several kinds that have few elements each, all of nodes or all of relationships.
    async fn scan_bundle(&mut self, kinds: &[ElementKind], visit: &mut (dyn FnMut(ElementKind, Keyed) + Send)) -> Result<()>;

    /// What the elements of a kind with the first of these keys hold: with all of them, or with fewer where the elements are heavy.
    async fn contents(&mut self, kind: ElementKind, detail: Detail, keys: &[String]) -> Result<CacheLookup>;

    /// How many relationships of each kind hang on the nodes with these keys: they go when those are deleted.
    async fn attached(&mut self, kind: NodeKindId, keys: &[String]) -> Result<Attached>;

    /// How many nodes and how many relationships there are, of whatever kind.
    async fn totals(&mut self) -> Result<[u64; 2]>;

    /// What no comparison by key meets, counted by what it is: elements of no kind of the profile, and elements without a key that
    /// an index could find.
    async fn foreign(&mut self) -> Result<BTreeMap<String, u64>>;
}

/// Where a scan goes on. It begins at the default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ScanPosition {
    /// The graph; absent before the first.
    pub graph: Option<GraphName>,
    /// The place in this graph.
    pub place: GraphPlace,
}

/// Where a scan of one graph goes on. It begins at the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct GraphPlace {
    /// FalkorDB's id of the next node, which has the elements, or at which they begin.
    pub node: u64,
    /// How many elements of the range that begins with this node are visited already.
    pub skip: u64,
    /// The last id when the scan began.
    pub last: u64,
}

/// An element of the cache, as a scan sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keyed {
    pub identity: ElementIdentity,
    /// All its labels; of a relationship none.
    pub labels: Vec<String>,
    /// The graph that holds it, where each group has a graph of its own.
    pub graph: Option<GraphName>,
}

/// What the cache holds of elements that were asked for by key.
#[derive(Debug, Default)]
pub(crate) struct CacheLookup {
    /// What each of them holds.
    pub elements: BTreeMap<ElementIdentity, Content>,
    /// How many of the keys, from the first on, they are all elements of; one at least.
    pub keys: usize,
}

/// Relationships by kind that hang on nodes, by the nodes' keys.
pub(crate) type Attached = BTreeMap<String, BTreeMap<RelationshipKindId, u64>>;

/// The cause of an error about a graph that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct MissingGraph(pub String);

/// Whether a read failed because the graph does not exist.
pub(crate) fn is_missing_graph(error: &Error) -> bool {
    error.source().is_some_and(|cause| cause.is::<MissingGraph>())
}
