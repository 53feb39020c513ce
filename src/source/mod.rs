//! Neo4j, which the service only reads.
//!
//! [`Source`] answers queries; it is a trait because tests inject faults at this seam. [`change_feed::ChangeFeed`] tells which
//! elements each commit changed, where the source has such a feed: today by the [`transaction_log`]. Without a feed, the
//! strategies find changes by queries.

mod adapt;
mod address;
pub mod bolt;
mod bolt_source;
mod bookmarked_reader;
mod bundles;
mod census;
pub(crate) mod change_feed;
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
pub(crate) mod transaction_log;
mod unindexed;
mod unlabelled;
mod unusable;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::error::Result;
use crate::model::bookmark::Bookmark;
use crate::model::element::{ElementIdentity, ElementNumber};
use crate::model::follow_rule::FollowRule;
use crate::model::key::KeyPrefixes;
use crate::model::kind::{ElementKind, NodeKindId};
use crate::model::kind_rows::KindRows;
use crate::model::name::{Label, PropertyName};
use crate::model::outside_profile::OutsideProfile;
use crate::model::profile::Profile;
use crate::model::projection::Projection;
use crate::model::source_identity::SourceIdentity;
use crate::retry::repeated;

pub use address::SourceAddress;
pub use bolt_source::BoltSource;
pub use control_plane::ControlPlane;
pub(crate) use expressions::number_key;
pub use reader::Reader;
pub use request::Request;
pub(crate) use scan_pause::ScanPause;
#[cfg(feature = "fuzzing")]
pub use transaction_log::arbitrary::check_log;
pub(crate) use unindexed::missing_indexes;

/// A page of elements in the order of their key.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The elements. All elements of one key are in one page.
    pub rows: KindRows,
    /// The key after which the next page begins; absent at the end.
    pub next: Option<String>,
}

/// The result of a look-up by key.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyLookup {
    /// The elements that were found.
    pub rows: KindRows,
    /// The number of keys, from the first on, of which all elements are here; at least one.
    pub keys: usize,
}

/// A key of an element that was recently written according to its timestamps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedKey {
    /// The key of the element.
    pub key: String,
    /// Its timestamps as one text: a different text means that one of them moved.
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

/// An element that was looked up by its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundElement {
    /// The number of the element.
    pub number: ElementNumber,
    /// Its kind; absent if it has none or is not copied.
    pub kind: Option<ElementKind>,
    /// Its key; absent if it has no key that the cache can use.
    pub key: Option<String>,
    /// All its texts in properties that are the key of some kind.
    pub texts: BTreeSet<String>,
}

/// A page of changed keys in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPage {
    /// The keys, with their timestamps.
    pub keys: Vec<ChangedKey>,
    /// Written elements without a key by which their rows can be requested.
    pub without_key: Vec<ElementNumber>,
    /// The key after which the next page begins; absent at the end.
    pub next: Option<String>,
}

/// An index of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceIndex {
    /// The name of the index.
    pub name: String,
    /// Its kind, with the options of that kind.
    pub kind: SourceIndexKind,
    /// Whether it is on nodes; otherwise it is on relationships.
    pub of_nodes: bool,
    /// Its labels or types.
    pub on: Vec<String>,
    /// Its properties, in order.
    pub properties: Vec<String>,
    /// For a range index, the properties with a value that is, or becomes, text in the cache; all properties until they are
    /// examined.
    pub texts: Vec<String>,
}

/// Kinds of indices of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceIndexKind {
    /// An index for equality and ranges.
    Range,
    /// An index for full text.
    Fulltext {
        /// The analyzer that splits a text into words.
        analyzer: String,
    },
    /// An index for nearest neighbours.
    Vector {
        /// The dimension; absent if the index takes vectors of any dimension.
        dimension: Option<u64>,
        /// The name of its similarity function.
        similarity: String,
        /// The number of neighbours of a vector in the index.
        m: Option<u64>,
        /// The number of candidates during its construction.
        ef_construction: Option<u64>,
    },
    /// Any other kind, by its name.
    Other(String),
}

/// Estimates how many elements a full pass reads, for its progress: a node of several kinds is read once. If the kinds do not
/// cover all nodes of the database, nodes of several kinds make the estimate too large, because only a scan would show how many
/// carry two labels.
pub async fn expected_elements(source: &dyn Source, profile: &Profile) -> Result<u64> {
    let counts = source.counts().await?;
    let of = |nodes: bool| {
        let kinds = profile.kinds().into_iter().zip(&counts);
        kinds.filter(|(kind, _)| matches!(kind, ElementKind::Node(_)) == nodes).map(|(_, count)| count).sum::<u64>()
    };
    Ok(of(true).min(source.node_total().await?) + of(false))
}

/// The source, as the strategies read it. Keys are plain text here, because a page must also move past a key that the cache
/// cannot use. The text `""` precedes every key.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// Returns the identity of the database.
    async fn identity(&self) -> Result<SourceIdentity>;

    /// Returns the creation time of the database's store, in milliseconds since 1970; `None` if the source does not reveal it.
    async fn created_ms(&self) -> Result<Option<i64>> {
        Ok(None)
    }

    /// Returns the server's setting for how long it keeps its transaction log; `None` if the server does not reveal it.
    async fn log_retention(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Reads the source's own clock.
    async fn now(&self) -> Result<DateTime<Utc>>;

    /// Reads a page of a kind after a key: about `limit` elements, or fewer if they are heavy.
    async fn page(&self, kind: ElementKind, detail: Projection, after: &str, limit: usize) -> Result<Page>;

    /// Reads the elements of a kind that have the first of these keys now: of all keys, or of fewer if the elements are heavy.
    async fn by_key(&self, kind: ElementKind, keys: &[String]) -> Result<KeyLookup>;

    /// Reads all elements of these kinds by one query: kinds of nodes or kinds of relationships, identified by element numbers,
    /// each in the order of its keys. Omits a kind without elements. `None` if the elements are too heavy for one query.
    async fn bundle(&self, _kinds: &[ElementKind], _detail: Projection) -> Result<Option<Vec<KindRows>>> {
        Ok(None)
    }

    /// Reads the keys of elements of a kind that were written after `since` according to their timestamps; none for a kind
    /// without timestamps.
    async fn changed_keys(&self, kind: ElementKind, since: DateTime<Utc>, after: &str, limit: usize) -> Result<KeyPage>;

    /// Returns the bookmark of the last commit. Every read after this call sees that commit.
    async fn bookmark(&self) -> Result<Bookmark> {
        repeated(|| self.probe()).await
    }

    /// As [`Source::bookmark`], but asked only once, like [`Source::reach`]: every other question is repeated while its error may
    /// pass.
    async fn probe(&self) -> Result<Bookmark>;

    /// Notes that nodes may share keys: from now on, a read asks for each end of a relationship which node its key stands for.
    /// Before, it asks only if an end seems to be in another graph than its relationship.
    fn heed_shared_keys(&self) {}

    /// Returns the newest commit that any read until now can have seen, if the source named one: reads see what is committed
    /// while they run.
    fn newest_commit(&self) -> Option<Bookmark>;

    /// Reads the nodes with these numbers that exist now.
    async fn nodes_by_number(&self, numbers: &[ElementNumber]) -> Result<Vec<FoundElement>>;

    /// Reads the relationships with these numbers that exist now.
    async fn relationships_by_number(&self, numbers: &[ElementNumber]) -> Result<Vec<FoundElement>>;

    /// Reads relationships that begin or end at the nodes with these numbers, in the order of their own numbers: up to `limit`
    /// after a number.
    async fn relationships_of(
        &self,
        nodes: &[ElementNumber],
        after: Option<ElementNumber>,
        limit: usize,
    ) -> Result<Vec<FoundElement>>;

    /// As [`Source::bookmark`], from a member of the cluster that has applied a known commit, if any has.
    async fn bookmark_from(&self, known: &Bookmark) -> Result<Bookmark>;

    /// Makes every read from now on see the commit of this bookmark, or fail.
    fn read_after(&self, bookmark: &Bookmark);

    /// Waits until every read from now on sees the commit of this bookmark, which somebody else received.
    async fn reach(&self, bookmark: &Bookmark) -> Result<()>;

    /// Counts the elements of each kind, in the order of [`Profile::kinds`](crate::model::profile::Profile::kinds). A count that
    /// needs a scan of all nodes may be an older one: see [`Source::exact_counts`].
    async fn counts(&self) -> Result<Vec<u64>>;

    /// As [`Source::counts`], but each count is taken now, whatever it costs.
    async fn exact_counts(&self) -> Result<Vec<u64>> {
        self.counts().await
    }

    /// Counts the nodes of the whole database.
    async fn node_total(&self) -> Result<u64>;

    /// Describes what the source has by now and a profile with discovered kinds lacks.
    async fn outgrown(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Counts the nodes that carry each label.
    async fn label_counts(&self) -> Result<BTreeMap<String, u64>>;

    /// For the nodes with this label, counts how many carry each label.
    async fn labels_beside(&self, _label: &Label) -> Result<BTreeMap<String, u64>> {
        Ok(BTreeMap::new())
    }

    /// Counts the keys of a kind, or of its nodes with one more label, that begin with one of these prefixes, grouped by their
    /// first `length` characters.
    async fn key_groups(
        &self,
        kind: ElementKind,
        with: Option<&Label>,
        beginnings: &KeyPrefixes,
        length: usize,
    ) -> Result<BTreeMap<String, u64>>;

    /// Reads the identities of the elements of a kind, or of its nodes with one more label, with keys that begin with one of
    /// these prefixes. Omits elements that the cache cannot hold.
    async fn identities(
        &self,
        kind: ElementKind,
        with: Option<&Label>,
        beginnings: &KeyPrefixes,
    ) -> Result<BTreeSet<ElementIdentity>>;

    /// Follows a rule from the elements with these keys.
    async fn followed(&self, rule: &FollowRule, keys: &[String]) -> Result<Followed>;

    /// Reads up to `limit` elements of a kind that no page reaches, because their key is absent, empty or not a string.
    async fn without_key(&self, kind: ElementKind, limit: usize) -> Result<KindRows>;

    /// Counts the nodes that carry each label that FalkorDB cannot express.
    async fn unusable_labels(&self) -> Result<BTreeMap<String, u64>>;

    /// Reads the keys of nodes that carry a label, whatever its name, by kind: up to `limit` of each kind, or several times as
    /// many of all kinds together if there are many.
    async fn keys_with_label(&self, label: &str, limit: usize) -> Result<BTreeMap<NodeKindId, Vec<String>>>;

    /// Reads up to `limit` elements of a kind with a key that the cache cannot use, or relationships with such an end, or fewer
    /// if their keys are heavy. The result may include elements with a long key that the cache can use. Of the properties, only
    /// key and group are read.
    async fn with_unusable_key(&self, kind: ElementKind, limit: usize) -> Result<KindRows>;

    /// Reads the elements of a kind that have the first of these numbers now, with only key and group. Also returns how many of
    /// the numbers were looked up: all of them, or fewer if the keys are heavy.
    async fn by_number(&self, kind: ElementKind, numbers: &[ElementNumber]) -> Result<(KindRows, usize)>;

    /// Counts the elements of a kind that no page reaches, because their key is absent, empty or not a text.
    async fn count_without_key(&self, kind: ElementKind) -> Result<u64>;

    /// Reads the source's indices, except those that every database has.
    async fn indexes(&self) -> Result<Vec<SourceIndex>>;

    /// As [`Source::indexes`], and each range index lists the properties that are text in the cache. The index itself answers, so
    /// no element is read.
    async fn indexes_with_texts(&self) -> Result<Vec<SourceIndex>> {
        self.indexes().await
    }

    /// Returns the most frequent list length of a property, in a sample of about this share of a kind's elements; `None` if none
    /// of them has a list.
    async fn usual_dimension(&self, _: ElementKind, _: &PropertyName, _share: f64) -> Result<Option<usize>> {
        Ok(None)
    }

    /// Returns what the source holds besides the profile's kinds.
    async fn outside_profile(&self) -> Result<OutsideProfile>;
}
