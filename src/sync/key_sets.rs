//! The key sets of a kind, compared exactly and in bounded memory.
//!
//! Counts do not show that one element was replaced by another. So the keys of both sides stream through this module: each
//! element, with its labels if it is a node, adds its hash to the digest of its bucket. Buckets with equal digests hold the same
//! elements; the elements of the other buckets are read once more and compared one by one. The hashes have 128 bits and are keyed
//! at random in each process, so that no writer of the source can make two sets look alike.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};

use futures::future::try_join;

use super::cache_view::CacheView;
use super::cache_view::ScannedElement;
use super::sweep::KeySetDifference;
use crate::error::Result;
use crate::model::element::{ElementIdentity, ElementNumber, NodeIdentity};
use crate::model::graph_name::GraphName;
use crate::model::kind::ElementKind;
use crate::model::profile::Profile;
use crate::model::projection::Projection;
use crate::model::quarantine_index::QuarantineIndex;
use crate::model::quarantined::name_by_id;
use crate::source::{Page, Source};
use crate::transform::{Admission, Encoder};

/// Digests of one kind and side, 32 bytes each. With a million elements, a bucket that differs costs a read of a thousand.
const BUCKETS: usize = 1024;

/// Rows of a page: a row has a key and labels, no other property.
const PAGE: usize = 10_000;

/// The most elements of each side that one round compares one by one: some ten megabytes. The next round compares the rest.
const LISTED: u64 = 50_000;

/// The most keys of a kind that are listed here although they cannot be kept. The rest is left to the next comparison.
const UNLISTED: usize = 10_000;

/// The two sides and the rules for the comparison of a kind.
pub(super) struct KeySets<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) view: &'a mut dyn CacheView,
    /// The rules that decide which elements can be kept, and with which content.
    pub(super) encoder: &'a Encoder,
    /// Elements and properties that the cache cannot hold.
    pub(super) excluded: &'a QuarantineIndex,
    pub(super) hasher: &'a ElementHasher,
    pub(super) labels: LabelComparison,
}

/// The part of an element that is compared beside its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LabelComparison {
    /// Its labels, and the graph that holds it where each group has a graph of its own.
    Included,
    /// Nothing: the caller compares the rest in another way.
    Ignored,
}

impl LabelComparison {
    /// Returns what is compared of an element with these labels in this graph.
    pub(super) fn of(
        self,
        kind: ElementKind,
        labels: impl IntoIterator<Item = String>,
        graph: Option<&GraphName>,
    ) -> Vec<String> {
        if self == LabelComparison::Ignored {
            return Vec::new();
        }
        let mut labels: Vec<String> = labels.into_iter().filter(|_| kind.is_node()).collect();
        labels.sort_unstable();
        labels.dedup();
        // No label of the cache holds a backtick, so the graph's name is not taken for a label.
        labels.extend(graph.map(|graph| format!("`{graph}")));
        labels
    }
}

/// Finds what only one side has of a kind, except for what the cache cannot hold. If not everything can be listed, the hasher
/// chooses a part: two looks list the same part if they share it.
pub(crate) async fn gaps(
    source: &dyn Source,
    view: &mut dyn CacheView,
    encoder: &Encoder,
    excluded: &QuarantineIndex,
    hasher: &ElementHasher,
    kind: ElementKind,
) -> Result<KeySetDifference> {
    let found = KeySets { source, view, encoder, excluded, hasher, labels: LabelComparison::Ignored }.compare(kind).await?;
    Ok(found.gaps())
}

/// The differences between the key sets of a kind.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct KeyDifferences {
    /// Identities that the cache lacks.
    pub(super) missing: Vec<ElementIdentity>,
    /// Identities that the source lacks.
    pub(super) orphaned: Vec<ElementIdentity>,
    /// Elements that the cache holds with other labels, or in the graph of another group.
    pub(super) relabelled: Vec<ElementIdentity>,
    /// Elements that the cache holds more than once.
    pub(super) copied: Vec<ElementIdentity>,
    /// The number of relationships that are left out because an end of them is listed, by that end.
    pub(super) waiting: BTreeMap<NodeIdentity, u64>,
    /// Keys of elements that cannot be kept and are not listed yet.
    pub(super) unlisted: BTreeSet<String>,
    /// Elements that can be kept, but share their identity with another element, which is kept instead.
    pub(super) collapsed: u64,
    /// Whether there are more differences than are listed here.
    pub(super) more: bool,
    /// The number of keys that were read of both sides.
    pub(super) listed: u64,
}

impl KeyDifferences {
    /// Returns the identities that only one side has.
    pub(super) fn gaps(&self) -> KeySetDifference {
        let set = |identities: &[ElementIdentity]| identities.iter().cloned().collect();
        KeySetDifference { missing: set(&self.missing), orphaned: set(&self.orphaned), more: self.more, listed: self.listed }
    }

    /// Whether both sides hold the same elements with the same labels, and all others are listed.
    pub(super) fn is_empty(&self) -> bool {
        self.missing.is_empty()
            && self.orphaned.is_empty()
            && self.relabelled.is_empty()
            && self.copied.is_empty()
            && self.unlisted.is_empty()
            && !self.more
    }
}

/// Hashes elements, with keys that are drawn anew in each process.
#[derive(Debug, Default)]
pub(crate) struct ElementHasher {
    low: RandomState,
    high: RandomState,
}

impl ElementHasher {
    fn hash(&self, element: &(&ElementIdentity, &[String])) -> u128 {
        (u128::from(self.high.hash_one(element)) << 64) | u128::from(self.low.hash_one(element))
    }

    /// Returns a hash that is enough to tell the elements of a kind apart if a second look follows.
    pub(super) fn short(&self, identity: &ElementIdentity) -> u64 {
        self.low.hash_one(identity)
    }

    /// Returns the bucket of an element. Elements that differ only in their labels share a bucket.
    fn bucket(&self, identity: &ElementIdentity) -> usize {
        (self.low.hash_one(identity) % BUCKETS as u64) as usize
    }
}

/// The digests of one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digests(Vec<Digest>);

/// The elements of a bucket: how many, and the sum of their hashes, which does not depend on their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Digest {
    number: u64,
    sum: u128,
}

impl Default for Digests {
    fn default() -> Self {
        Self(vec![Digest::default(); BUCKETS])
    }
}

impl Digests {
    /// Adds an element with its labels in order. A relationship has no labels.
    pub(super) fn add(&mut self, hasher: &ElementHasher, identity: &ElementIdentity, labels: &[String]) {
        let digest = &mut self.0[hasher.bucket(identity)];
        digest.number += 1;
        digest.sum = digest.sum.wrapping_add(hasher.hash(&(identity, labels)));
    }

    /// Returns the number of elements.
    pub(super) fn len(&self) -> u64 {
        self.0.iter().map(|digest| digest.number).sum()
    }

    /// Returns the buckets that differ, as many as may be listed, and whether there are more.
    fn differing(&self, other: &Self) -> (Vec<bool>, bool) {
        let mut chosen = vec![false; BUCKETS];
        let (mut listed, mut more) = (0, false);
        for (bucket, (one, two)) in self.0.iter().zip(&other.0).enumerate() {
            if one == two {
                continue;
            }
            let size = one.number.max(two.number);
            if listed > 0 && listed + size > LISTED {
                more = true;
                continue;
            }
            listed += size;
            chosen[bucket] = true;
        }
        (chosen, more)
    }
}

impl KeySets<'_> {
    /// Compares the key sets of a kind.
    pub(super) async fn compare(&mut self, kind: ElementKind) -> Result<KeyDifferences> {
        let Self { source, view, encoder, excluded, hasher, labels } = self;
        let (mut here, mut there) = (Digests::default(), Digests::default());
        let side = SourceSide { source: *source, encoder, profile: encoder.profile(), excluded, labels: *labels };
        let scanned = side.scan(kind, |element, labels| here.add(hasher, element, labels));
        let looked = scan_cache(*view, kind, *labels, |element, labels| there.add(hasher, element, labels));
        let (LeftOut { waiting, mut unlisted, collapsed }, ()) = try_join(scanned, looked).await?;
        let listed = here.len() + there.len();
        let found = self.list(kind, &here, &there, listed).await?;
        let more = found.more || unlisted.len() > UNLISTED;
        while unlisted.len() > UNLISTED {
            unlisted.pop_last();
        }
        Ok(KeyDifferences { waiting, unlisted, collapsed, more, ..found })
    }

    /// Compares, one by one, the elements of the buckets that differ.
    async fn list(&mut self, kind: ElementKind, here: &Digests, there: &Digests, listed: u64) -> Result<KeyDifferences> {
        let (chosen, more) = here.differing(there);
        if !chosen.contains(&true) {
            return Ok(KeyDifferences { listed, ..KeyDifferences::default() });
        }
        let Self { source, view, encoder, excluded, hasher, labels } = self;
        let is_chosen = |identity: &ElementIdentity| chosen[hasher.bucket(identity)];
        let mut in_source: BTreeMap<ElementIdentity, Vec<String>> = BTreeMap::new();
        let mut in_cache: BTreeMap<ElementIdentity, (Vec<String>, u64)> = BTreeMap::new();
        let side = SourceSide { source: *source, encoder, profile: encoder.profile(), excluded, labels: *labels };
        let note = |identity: &ElementIdentity, labels: &[String]| {
            if is_chosen(identity) {
                in_source.insert(identity.clone(), labels.to_vec());
            }
        };
        let scanned = side.scan(kind, note);
        let looked = scan_cache(*view, kind, *labels, |identity, labels| {
            if is_chosen(identity) {
                in_cache.entry(identity.clone()).or_insert_with(|| (labels.to_vec(), 0)).1 += 1;
            }
        });
        try_join(scanned, looked).await?;
        let listed = listed + (in_source.len() + in_cache.len()) as u64;
        Ok(KeyDifferences { more, listed, ..differences(in_source, in_cache) })
    }
}

fn differences(
    source: BTreeMap<ElementIdentity, Vec<String>>,
    mut cache: BTreeMap<ElementIdentity, (Vec<String>, u64)>,
) -> KeyDifferences {
    let mut found = KeyDifferences::default();
    for (identity, labels) in source {
        match cache.remove(&identity) {
            None => found.missing.push(identity),
            Some((_, 2..)) => found.copied.push(identity),
            Some((cached, _)) if cached != labels => found.relabelled.push(identity),
            Some(_) => {}
        }
    }
    found.orphaned.extend(cache.into_keys());
    found
}

/// The source's side of a comparison.
struct SourceSide<'a> {
    source: &'a dyn Source,
    encoder: &'a Encoder,
    profile: &'a Profile,
    excluded: &'a QuarantineIndex,
    labels: LabelComparison,
}

/// Elements of the source that the cache must not have.
#[derive(Default)]
struct LeftOut {
    waiting: BTreeMap<NodeIdentity, u64>,
    /// The keys of unlisted elements: at most one more than may be listed.
    unlisted: BTreeSet<String>,
    collapsed: u64,
}

/// The elements of a page by identity.
#[derive(Default)]
struct KeyedPage {
    /// Elements that the cache can hold: of several that share an identity, the lowest number counts.
    held: BTreeMap<ElementIdentity, (ElementNumber, Vec<String>)>,
    /// Relationships that wait for an end, with that end.
    waiting: BTreeMap<ElementIdentity, NodeIdentity>,
    /// Keys of elements that cannot be kept and are not listed.
    unlisted: BTreeSet<String>,
    /// Elements that share their identity with one that is held.
    collapsed: u64,
}

impl SourceSide<'_> {
    /// Visits the elements of a kind that the cache can hold, each once, and returns what is left out. All elements of one key
    /// are in one page.
    async fn scan(&self, kind: ElementKind, mut visit: impl FnMut(&ElementIdentity, &[String]) + Send) -> Result<LeftOut> {
        let mut left_out = LeftOut::default();
        let mut after = Some(String::new());
        while let Some(from) = after {
            let (page, next) = self.page(kind, &from).await?;
            page.held.iter().for_each(|(identity, (_, labels))| visit(identity, labels));
            page.waiting.into_values().for_each(|end| *left_out.waiting.entry(end).or_default() += 1);
            let room = (UNLISTED + 1).saturating_sub(left_out.unlisted.len());
            left_out.unlisted.extend(page.unlisted.into_iter().take(room));
            left_out.collapsed += page.collapsed;
            after = next;
        }
        Ok(left_out)
    }

    async fn page(&self, kind: ElementKind, after: &str) -> Result<(KeyedPage, Option<String>)> {
        let Page { rows, next } = self.source.page(kind, Projection::Key, after, PAGE).await?;
        let mut page = KeyedPage::default();
        let elements = rows.elements().zip(rows.labels()).zip(rows.keys(self.profile.key(kind)));
        for ((((number, properties), labels), key), admission) in elements.zip(self.encoder.admissions(&rows)) {
            let compared = self.labels.of(kind, labels.iter().cloned(), self.encoder.graph_of(properties).as_ref());
            self.add(&mut page, kind, admission, (number, key, compared));
        }
        Ok((page, next))
    }

    fn add(
        &self,
        page: &mut KeyedPage,
        kind: ElementKind,
        admission: Admission,
        (number, key, compared): (ElementNumber, Option<&str>, Vec<String>),
    ) {
        let Admission::Kept(identity) = admission else {
            let name = self.profile.name_of(kind);
            let unlisted = key
                .filter(|key| self.excluded.cause_of(name, key).is_none() && !self.excluded.contains(name, &name_by_id(number)));
            page.unlisted.extend(unlisted.map(str::to_owned));
            return;
        };
        if self.excluded.covers(&identity) {
            let end = self.awaited_end(kind, &identity);
            page.waiting.extend(end.map(|end| (identity, end)));
            return;
        }
        let known = page.held.get(&identity).map(|(known, _)| *known);
        page.collapsed += u64::from(known.is_some());
        if known.is_none_or(|known| known > number) {
            page.held.insert(identity, (number, compared));
        }
    }

    /// Returns the end that a relationship waits for, unless the relationship itself is listed.
    fn awaited_end(&self, kind: ElementKind, identity: &ElementIdentity) -> Option<NodeIdentity> {
        let ElementIdentity::Relationship(relationship) = identity else { return None };
        let is_listed = self.excluded.cause_of(self.profile.name_of(kind), identity.key().as_str()).is_some();
        if is_listed { None } else { self.excluded.listed_end(relationship).cloned() }
    }
}

async fn scan_cache(
    view: &mut dyn CacheView,
    kind: ElementKind,
    labels: LabelComparison,
    mut visit: impl FnMut(&ElementIdentity, &[String]) + Send,
) -> Result<()> {
    let mut each = |keyed: ScannedElement| visit(&keyed.identity, &labels.of(kind, keyed.labels, keyed.graph.as_ref()));
    view.scan(kind, &mut each).await
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::key::Key;
    use crate::model::name::Label;

    fn node(key: &str) -> ElementIdentity {
        ElementIdentity::Node(NodeIdentity { label: Label::parse("Entity").unwrap(), key: Key::parse(key).unwrap() })
    }

    fn named(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn digests_depend_on_the_elements_and_not_on_their_order() {
        let hasher = ElementHasher::default();
        let digests = |elements: &[(&str, &[&str])]| {
            let mut digests = Digests::default();
            elements.iter().for_each(|(key, names)| digests.add(&hasher, &node(key), &named(names)));
            digests
        };
        let both = digests(&[("aa-1", &[]), ("aa-2", &["X"])]);
        assert_eq!(both, digests(&[("aa-2", &["X"]), ("aa-1", &[])]));
        for other in [
            digests(&[("aa-1", &[]), ("aa-3", &["X"])]),
            digests(&[("aa-1", &["X"]), ("aa-2", &[])]),
            digests(&[("aa-1", &[]), ("aa-2", &["X"]), ("aa-2", &["X"])]),
        ] {
            assert!(both.differing(&other).0.contains(&true));
        }
    }

    #[test]
    fn elements_of_buckets_are_told_apart_one_by_one() {
        let source = BTreeMap::from([
            (node("same"), named(&["A"])),
            (node("missing"), vec![]),
            (node("relabelled"), named(&["A"])),
            (node("twice"), vec![]),
        ]);
        let cache = BTreeMap::from([
            (node("same"), (named(&["A"]), 1)),
            (node("orphaned"), (vec![], 1)),
            (node("relabelled"), (named(&["B"]), 1)),
            (node("twice"), (vec![], 2)),
        ]);
        let found = differences(source, cache);
        let one = |key: &str| vec![node(key)];
        assert_eq!((found.missing, found.orphaned), (one("missing"), one("orphaned")));
        assert_eq!((found.relabelled, found.copied), (one("relabelled"), one("twice")));
    }

    #[test]
    fn more_than_may_be_listed_is_left_for_later() {
        let mut digests = Digests::default();
        digests.0.iter_mut().take(3).for_each(|digest| digest.number = LISTED / 2 + 1);
        let (chosen, more) = digests.differing(&Digests::default());
        assert!(more && chosen.iter().filter(|chosen| **chosen).count() == 1);
    }
}
