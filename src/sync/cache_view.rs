//! The questions that the strategies ask about the cache. The sink answers them.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;

use async_trait::async_trait;

use crate::error::{Error, Result};
use crate::model::element::ElementIdentity;
use crate::model::graph_name::GraphName;
use crate::model::key::KeyPrefixes;
use crate::model::kind::{ElementKind, NodeKindId, RelationshipKindId};
use crate::model::name::Label;
use crate::model::projection::Projection;
use crate::transform::comparison::Content;

/// The cache, as a strategy reads it.
#[async_trait]
pub(crate) trait CacheView: Send {
    /// Counts the elements of each kind, in the order of [`Profile::kinds`](crate::model::profile::Profile::kinds).
    async fn counts(&mut self) -> Result<Vec<u64>>;

    /// Counts the nodes that carry each label.
    async fn label_counts(&mut self) -> Result<BTreeMap<String, u64>>;

    /// Counts, among the nodes that carry this label, the nodes that carry each label.
    async fn labels_beside(&mut self, label: &Label) -> Result<BTreeMap<String, u64>>;

    /// Counts the keys of a kind, or of its nodes with one more label, that begin with one of these prefixes, grouped by their
    /// first `length` characters.
    async fn key_groups(
        &mut self,
        kind: ElementKind,
        with: Option<&Label>,
        beginnings: &KeyPrefixes,
        length: usize,
    ) -> Result<BTreeMap<String, u64>>;

    /// Returns the identities of a kind, or of its nodes with one more label, with keys that begin with one of these prefixes.
    async fn identities(
        &mut self,
        kind: ElementKind,
        with: Option<&Label>,
        beginnings: &KeyPrefixes,
    ) -> Result<BTreeSet<ElementIdentity>>;

    /// Visits every element of a kind once, in no order. If there are several graphs, an element in two of them is visited twice.
    async fn scan(&mut self, kind: ElementKind, visit: &mut (dyn FnMut(ScannedElement) + Send)) -> Result<()> {
        let mut next = Some(ScanCursor::default());
        while let Some(from) = next {
            next = self.scan_part(kind, &from, usize::MAX, visit).await?;
        }
        Ok(())
    }

    /// Continues a visit of every element of a kind, and stops after about `elements` of them. Returns where to continue, or
    /// nothing at the end.
    async fn scan_part(
        &mut self,
        kind: ElementKind,
        from: &ScanCursor,
        elements: usize,
        visit: &mut (dyn FnMut(ScannedElement) + Send),
    ) -> Result<Option<ScanCursor>>;

    /// As [`CacheView::scan`], for several small kinds at once: all of them node kinds, or all of them relationship kinds.
    async fn scan_bundle(
        &mut self,
        kinds: &[ElementKind],
        visit: &mut (dyn FnMut(ElementKind, ScannedElement) + Send),
    ) -> Result<()>;

    /// Returns the contents of the elements of a kind with the first of these keys: with all keys, or with fewer if the elements
    /// are heavy.
    async fn contents(&mut self, kind: ElementKind, detail: Projection, keys: &[String]) -> Result<CacheLookup>;

    /// Counts, by kind, the relationships of the nodes with these keys: they go when the nodes are deleted.
    async fn attached(&mut self, kind: NodeKindId, keys: &[String]) -> Result<AttachedCounts>;

    /// Counts all nodes and all relationships, of whatever kind.
    async fn totals(&mut self) -> Result<[u64; 2]>;

    /// Counts what no comparison by key finds: elements of no kind of the profile, and elements without a key that an index could
    /// find.
    async fn foreign(&mut self) -> Result<BTreeMap<String, u64>>;
}

/// The place where a scan continues. A scan begins at the default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ScanCursor {
    /// The graph; absent before the first one.
    pub graph: Option<GraphName>,
    /// The place in this graph.
    pub place: GraphScanCursor,
}

/// The place where a scan of one graph continues. A scan begins at the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct GraphScanCursor {
    /// FalkorDB's id of the next node. The elements are this node or begin at it.
    pub node: u64,
    /// The number of elements already visited in the range that begins with this node.
    pub skip: u64,
    /// The last id at the beginning of the scan.
    pub last: u64,
}

/// An element of the cache, as a scan sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScannedElement {
    pub identity: ElementIdentity,
    /// All labels of a node; empty for a relationship.
    pub labels: Vec<String>,
    /// The graph that holds the element, if each group has a graph of its own.
    pub graph: Option<GraphName>,
}

/// The answer of the cache to a look for elements by key.
#[derive(Debug, Default)]
pub(crate) struct CacheLookup {
    /// The elements with their contents.
    pub elements: BTreeMap<ElementIdentity, Content>,
    /// The number of keys, from the first on, that this answer covers; at least one.
    pub keys: usize,
}

/// Relationships of nodes, counted by kind, by the nodes' keys.
pub(crate) type AttachedCounts = BTreeMap<String, BTreeMap<RelationshipKindId, u64>>;

/// The cause of an error about a graph that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct MissingGraph(pub String);

/// Whether a read failed because the graph does not exist.
pub(crate) fn is_missing_graph(error: &Error) -> bool {
    error.source().is_some_and(|cause| cause.is::<MissingGraph>())
}
