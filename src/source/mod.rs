//! Neo4j: only ever read. A trait stands here because tests put faults at this seam, and because other change sources
//! (an exact change feed) can take its place.

mod adapt;
mod address;
pub mod bolt;
mod bolt_source;
mod bookmarked_reader;
mod bundles;
mod census;
mod changed;
mod codes;
mod columns;
mod control_plane;
mod expressions;
mod found;
mod graph_source;
mod new_kinds;
mod numbered;
mod paging;
mod portions;
pub mod queries;
mod reader;
mod request;
mod retrying;
mod scan_pause;
mod scope;
mod shared_ends;
mod tallies;
pub mod transaction_log;
mod unindexed;
mod unlabelled;
mod unusable;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::error::Result;
use crate::model::bookmark::Bookmark;
use crate::model::detail::Detail;
use crate::model::element::{ElementIdentity, ElementNumber};
use crate::model::key::KeyPrefixes;
use crate::model::kind::{ElementKind, NodeKindId};
use crate::model::kind_rows::KindRows;
use crate::model::name::{Label, PropertyName};
use crate::model::outside_profile::OutsideProfile;
use crate::model::profile::{FollowRule, Profile};
use crate::model::source_identity::SourceIdentity;
use crate::retry::repeated;

pub use address::SourceAddress;
pub use bolt_source::BoltSource;
pub use control_plane::ControlPlane;
pub(crate) use expressions::number_key;
pub use reader::Reader;
pub use request::Request;
pub use scan_pause::ScanPause;
pub(crate) use unindexed::missing_indexes;

/// A page of elements in the order of their key.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The elements. All of one key are in one page.
    pub rows: KindRows,
    /// The key to go on after; absent at the end.
    pub next: Option<String>,
}

/// Elements that were asked for by key.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyLookup {
    /// The elements.
    pub rows: KindRows,
    /// How many of the keys, from the first on, they are all elements of; one at least.
    pub keys: usize,
}

/// A key whose timestamps say that its element was written lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedKey {
    /// The key.
    pub key: String,
    /// Its timestamps, as one text: another text means that one of them moved.
    pub stamp: String,
}

/// The elements that a follow rule finds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Followed {
    /// Keys of relationships of the rule's type.
    pub relationships: BTreeSet<String>,
    /// Keys of nodes, by their kind.
    pub nodes: BTreeMap<NodeKindId, BTreeSet<String>>,
}

/// An element that was looked for by its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundElement {
    /// The number.
    pub number: ElementNumber,
    /// Its kind; absent where it is of none, or is not copied.
    pub kind: Option<ElementKind>,
    /// Its key; absent where it has none that the cache can use.
    pub key: Option<String>,
    /// All texts that it has where some kind has its key.
    pub texts: BTreeSet<String>,
}

/// A page of changed keys in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPage {
    /// The keys.
    pub keys: Vec<ChangedKey>,
    /// Elements that were written as well and have no key by which their rows could be asked for.
    pub without_key: Vec<ElementNumber>,
    /// The key to go on after; absent at the end.
    pub next: Option<String>,
}

/// An index of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceIndex {
    /// Its name.
    pub name: String,
    /// Its kind, with what that kind has.
    pub kind: SourceIndexKind,
    /// Whether it is on nodes; else it is on relationships.
    pub of_nodes: bool,
    /// Labels or types.
    pub on: Vec<String>,
    /// Properties, in order.
    pub properties: Vec<String>,
    /// Of a range index: the properties of which some value is, or becomes, text in the cache; all of them until somebody has looked.
    pub texts: Vec<String>,
}

/// Kinds of indices of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceIndexKind {
    /// Equality and ranges.
    Range,
    /// Full text.
    Fulltext {
        /// What makes words of a text.
        analyzer: String,
    },
    /// Nearest neighbours.
    Vector {
        /// Absent where vectors of any dimension are indexed.
        dimension: Option<u64>,
        /// Its name for what is near.
        similarity: String,
        /// Neighbours of a vector in the index.
        m: Option<u64>,
        /// Candidates at its making.
        ef_construction: Option<u64>,
    },
    /// Any other, by its name.
    Other(String),
}

/// How many elements a full pass reads, for its progress: a node of several kinds is read once. Nodes of several kinds that are not
/// all of the database make it more than there is, because only a scan would tell how many carry two labels.
pub async fn expected_elements(source: &dyn Source, profile: &Profile) -> Result<u64> {
    let counts = source.counts().await?;
    let of = |nodes: bool| {
        let kinds = profile.kinds().into_iter().zip(&counts);
        kinds.filter(|(kind, _)| matches!(kind, ElementKind::Node(_)) == nodes).map(|(_, count)| count).sum::<u64>()
    };
    Ok(of(true).min(source.node_total().await?) + of(false))
}

/// The source, as the strategies read it. Keys are plain text here, because a page must also move past a key that the cache
/// cannot use. The text `""` stands before every key.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// Which database this is.
    async fn identity(&self) -> Result<SourceIdentity>;

    /// When the store of the database was created, in milliseconds since 1970; nothing where the source does not tell.
    async fn created_ms(&self) -> Result<Option<i64>> {
        Ok(None)
    }

    /// How long the server keeps its transaction log, in its own words; nothing where it does not tell.
    async fn log_retention(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// The source's own clock.
    async fn now(&self) -> Result<DateTime<Utc>>;

    /// A page of a kind after a key: about `limit` elements, or fewer where they are heavy.
    async fn page(&self, kind: ElementKind, detail: Detail, after: &str, limit: usize) -> Result<Page>;

    /// The elements of a kind that have the first of these keys now: of all keys, or of fewer where the elements are heavy.
    async fn by_key(&self, kind: ElementKind, keys: &[String]) -> Result<KeyLookup>;

    /// All elements of these kinds by one query: kinds of nodes or kinds of relationships, which their numbers identify, each in the
    /// order of its keys. A kind without elements does not stand there. Nothing where they are too heavy for one query.
    async fn bundle(&self, _kinds: &[ElementKind], _detail: Detail) -> Result<Option<Vec<KindRows>>> {
        Ok(None)
    }

    /// Keys of the elements of a kind whose timestamps say that they were written after `since`; none for a kind without timestamps.
    async fn changed_keys(&self, kind: ElementKind, since: DateTime<Utc>, after: &str, limit: usize) -> Result<KeyPage>;

    /// The token of the last commit. Whatever is read after this call has seen that commit.
    async fn bookmark(&self) -> Result<Bookmark> {
        repeated(|| self.probe()).await
    }

    /// As [`Source::bookmark`], asked once, as [`Source::reach`] is: every other question is repeated while its error may pass.
    async fn probe(&self) -> Result<Bookmark>;

    /// From now on, nodes may share keys: of each end of a relationship it is asked for which node its key stands. Before, it is asked
    /// only where an end seems to be in another graph than its relationship.
    fn heed_shared_keys(&self) {}

    /// The newest commit that anything read until now can be of, if the source told one: reads see what is committed while they run.
    fn newest_commit(&self) -> Option<Bookmark>;

    /// Of the nodes with these numbers those that there are now.
    async fn nodes_by_number(&self, numbers: &[ElementNumber]) -> Result<Vec<FoundElement>>;

    /// Of the relationships with these numbers those that there are now.
    async fn relationships_by_number(&self, numbers: &[ElementNumber]) -> Result<Vec<FoundElement>>;

    /// Relationships that begin or end at the nodes with these numbers, in the order of their own: up to `limit` after a number.
    async fn relationships_of(
        &self,
        nodes: &[ElementNumber],
        after: Option<ElementNumber>,
        limit: usize,
    ) -> Result<Vec<FoundElement>>;

    /// Has whatever is read from now on see the commit of this bookmark, or fail.
    fn read_after(&self, bookmark: &Bookmark);

    /// Waits until what is read from now on has seen the commit of this bookmark, which somebody else was told.
    async fn reach(&self, bookmark: &Bookmark) -> Result<()>;

    /// How many elements of each kind there are, in the order of [`Profile::kinds`](crate::model::profile::Profile::kinds).
    /// A count that only a scan of all nodes tells may be an older one: see [`Source::exact_counts`].
    async fn counts(&self) -> Result<Vec<u64>>;

    /// As [`Source::counts`], and each of them is counted now, whatever that costs.
    async fn exact_counts(&self) -> Result<Vec<u64>> {
        self.counts().await
    }

    /// How many nodes the whole database has.
    async fn node_total(&self) -> Result<u64>;

    /// What there is by now that a profile whose kinds were found in the source does not have, in words.
    async fn outgrown(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// How many nodes carry each label.
    async fn label_counts(&self) -> Result<BTreeMap<String, u64>>;

    /// How many of the nodes that carry a label carry each label.
    async fn labels_beside(&self, _label: &Label) -> Result<BTreeMap<String, u64>> {
        Ok(BTreeMap::new())
    }

    /// How many keys of a kind, or of its nodes with one more label, begin in one of these ways, grouped by their first `length`
    /// characters.
    async fn key_groups(
        &self,
        kind: ElementKind,
        with: Option<&Label>,
        beginnings: &KeyPrefixes,
        length: usize,
    ) -> Result<BTreeMap<String, u64>>;

    /// What identifies the elements of a kind, or its nodes with one more label, whose keys begin in one of these ways; those that
    /// cannot stand in the cache left out.
    async fn identities(
        &self,
        kind: ElementKind,
        with: Option<&Label>,
        beginnings: &KeyPrefixes,
    ) -> Result<BTreeSet<ElementIdentity>>;

    /// What a rule leads to from the elements with these keys.
    async fn followed(&self, rule: &FollowRule, keys: &[String]) -> Result<Followed>;

    /// Up to `limit` elements of a kind that no page reaches, because their key is absent, empty or not a string.
    async fn without_key(&self, kind: ElementKind, limit: usize) -> Result<KindRows>;

    /// How many nodes carry each label that FalkorDB cannot express.
    async fn unusable_labels(&self) -> Result<BTreeMap<String, u64>>;

    /// Keys of nodes that carry a label, whatever its name, by kind: up to `limit` of each kind, or several times as many of all kinds
    /// where there are many.
    async fn keys_with_label(&self, label: &str, limit: usize) -> Result<BTreeMap<NodeKindId, Vec<String>>>;

    /// Up to `limit` elements of a kind with a key that the cache cannot use, or relationships with such an end, or fewer where their
    /// keys are heavy; some with a long key that it can use may be among them. Of properties, only key and group are read.
    async fn with_unusable_key(&self, kind: ElementKind, limit: usize) -> Result<KindRows>;

    /// The elements of a kind that have the first of these numbers now, with key and group alone; and how many of the numbers were
    /// looked for: all of them, or fewer where the keys are heavy.
    async fn by_number(&self, kind: ElementKind, numbers: &[ElementNumber]) -> Result<(KindRows, usize)>;

    /// How many elements of a kind no page reaches, because their key is absent, empty or not a text.
    async fn count_without_key(&self, kind: ElementKind) -> Result<u64>;

    /// Its indices, but for those that every database has.
    async fn indexes(&self) -> Result<Vec<SourceIndex>>;

    /// The same, each range index with the properties that are text in the cache: by the index itself, so that no element is read.
    async fn indexes_with_texts(&self) -> Result<Vec<SourceIndex>> {
        self.indexes().await
    }

    /// How many numbers most lists of a property have, of about this share of a kind's elements; nothing where none has a list.
    async fn usual_dimension(&self, _: ElementKind, _: &PropertyName, _share: f64) -> Result<Option<usize>> {
        Ok(None)
    }

    /// What there is besides the profile's kinds.
    async fn outside_profile(&self) -> Result<OutsideProfile>;
}
