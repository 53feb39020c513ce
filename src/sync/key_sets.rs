//! The key sets of a kind, compared exactly and in bounded memory.
//!
//! Counts say nothing where one element is replaced by another. So the keys of both sides stream through here: each element, with
//! its labels where it is a node, adds its hash to the digest of its bucket. Buckets whose digests agree hold the same elements;
//! the elements of the others are read once more and compared one by one. The hashes have 128 bits and are keyed at random in
//! each process, so that no writer of the source can make two sets look alike.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use futures::future::try_join;

use super::identities::{node_identity, relationship_identity};
use super::sweep::Gaps;
use super::unusable::listed_end;
use crate::error::Result;
use crate::model::detail::Detail;
use crate::model::element::{ElementIdentity, ElementKind, ElementNumber, NodeIdentity};
use crate::model::excluded::Excluded;
use crate::model::profile::Profile;
use crate::repeat;
use crate::sink::{CacheView, Keyed};
use crate::source::Source;

/// Digests of one kind and side: 32 bytes each. With a million elements, a bucket that differs costs the reading of a thousand.
const BUCKETS: usize = 1024;

/// Rows of a page: a row has a key and labels, no other property.
const PAGE: usize = 10_000;

/// Elements that are compared one by one in one go, of each side: some ten megabytes. The rest of what differs is left to the
/// next go.
const LISTED: u64 = 50_000;

/// What the comparison of a kind looks at.
pub(super) struct KeySets<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) view: &'a mut dyn CacheView,
    pub(super) profile: &'a Profile,
    /// What the cache lacks because it cannot hold it.
    pub(super) excluded: &'a Excluded,
    pub(super) hasher: &'a ElementHasher,
    pub(super) labels: Labels,
}

/// Whether nodes with other labels differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Labels {
    /// They do.
    Compared,
    /// Whoever asks compares them otherwise.
    Ignored,
}

impl Labels {
    pub(super) fn of(self, kind: ElementKind, mut labels: Vec<String>) -> Vec<String> {
        if self == Labels::Ignored || matches!(kind, ElementKind::Relationship(_)) {
            return Vec::new();
        }
        labels.sort_unstable();
        labels.dedup();
        labels
    }
}

/// What only one side has of a kind, but for what the cache cannot hold.
pub async fn gaps(
    source: &dyn Source,
    view: &mut dyn CacheView,
    profile: &Profile,
    excluded: &Excluded,
    kind: ElementKind,
) -> Result<Gaps> {
    let hasher = &ElementHasher::default();
    let found = KeySets { source, view, profile, excluded, hasher, labels: Labels::Ignored }.compare(kind).await?;
    Ok(found.gaps())
}

/// What differs between the key sets of a kind.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct KeyDifferences {
    /// What the cache lacks.
    pub(super) missing: Vec<ElementIdentity>,
    /// What the source does not have.
    pub(super) orphaned: Vec<ElementIdentity>,
    /// What the cache holds with other labels.
    pub(super) relabelled: Vec<ElementIdentity>,
    /// What the cache holds more than once.
    pub(super) copied: Vec<ElementIdentity>,
    /// Relationships that are left out because an end of them is listed, by that end.
    pub(super) waiting: BTreeMap<NodeIdentity, u64>,
    /// Whether there is more than what is listed here.
    pub(super) more: bool,
    /// How many keys travelled for it, of both sides.
    pub(super) listed: u64,
}

impl KeyDifferences {
    /// What only one side has.
    pub(super) fn gaps(&self) -> Gaps {
        let set = |identities: &[ElementIdentity]| identities.iter().cloned().collect();
        Gaps { missing: set(&self.missing), orphaned: set(&self.orphaned), listed: self.listed }
    }

    /// Whether both sides hold the same elements with the same labels.
    pub(super) fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.orphaned.is_empty() && self.relabelled.is_empty() && self.copied.is_empty() && !self.more
    }
}

/// Hashes elements, with keys that are drawn anew in each process.
#[derive(Debug, Default)]
pub(super) struct ElementHasher {
    low: RandomState,
    high: RandomState,
}

impl ElementHasher {
    fn hash(&self, element: &(&ElementIdentity, &[String])) -> u128 {
        (u128::from(self.high.hash_one(element)) << 64) | u128::from(self.low.hash_one(element))
    }

    /// Elements that differ in their labels only share a bucket.
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
    /// Adds an element with its labels in order; those of a relationship are none.
    pub(super) fn add(&mut self, hasher: &ElementHasher, identity: &ElementIdentity, labels: &[String]) {
        let digest = &mut self.0[hasher.bucket(identity)];
        digest.number += 1;
        digest.sum = digest.sum.wrapping_add(hasher.hash(&(identity, labels)));
    }

    /// How many elements there are.
    pub(super) fn len(&self) -> u64 {
        self.0.iter().map(|digest| digest.number).sum()
    }

    /// Buckets that differ, as many as may be listed; and whether there are more.
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
        let Self { source, view, profile, excluded, hasher, labels } = self;
        let (mut here, mut there) = (Digests::default(), Digests::default());
        let mut waiting = BTreeMap::new();
        let side = Side { source: *source, profile, excluded, labels: *labels };
        let scanned =
            side.scan(kind, |element, labels| here.add(hasher, element, labels), |end| *waiting.entry(end).or_default() += 1);
        let looked = scan_cache(*view, kind, *labels, |element, labels| there.add(hasher, element, labels));
        try_join(scanned, looked).await?;
        let listed = here.len() + there.len();
        Ok(KeyDifferences { waiting, ..self.list(kind, &here, &there, listed).await? })
    }

    /// Compares what was seen of the source with what the cache holds.
    pub(super) async fn compare_seen(&mut self, kind: ElementKind, here: &Digests) -> Result<KeyDifferences> {
        let hasher = self.hasher;
        let mut there = Digests::default();
        scan_cache(self.view, kind, self.labels, |element, labels| there.add(hasher, element, labels)).await?;
        let listed = there.len();
        self.list(kind, here, &there, listed).await
    }

    /// Compares the elements of buckets that differ one by one.
    async fn list(&mut self, kind: ElementKind, here: &Digests, there: &Digests, listed: u64) -> Result<KeyDifferences> {
        let (chosen, more) = here.differing(there);
        if !chosen.contains(&true) {
            return Ok(KeyDifferences { listed, ..KeyDifferences::default() });
        }
        let Self { source, view, profile, excluded, hasher, labels } = self;
        let is_chosen = |identity: &ElementIdentity| chosen[hasher.bucket(identity)];
        let mut in_source: BTreeMap<ElementIdentity, Vec<String>> = BTreeMap::new();
        let mut in_cache: BTreeMap<ElementIdentity, (Vec<String>, u64)> = BTreeMap::new();
        let side = Side { source: *source, profile, excluded, labels: *labels };
        let note = |identity: &ElementIdentity, labels: &[String]| {
            if is_chosen(identity) {
                in_source.insert(identity.clone(), labels.to_vec());
            }
        };
        let scanned = side.scan(kind, note, drop);
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
struct Side<'a> {
    source: &'a dyn Source,
    profile: &'a Profile,
    excluded: &'a Excluded,
    labels: Labels,
}

/// The elements of a page by identity.
#[derive(Default)]
struct Page {
    /// Those that the cache can hold: of several that share an identity, the lowest number counts.
    held: BTreeMap<ElementIdentity, (ElementNumber, Vec<String>)>,
    /// Relationships that wait for this end of them.
    waiting: BTreeMap<ElementIdentity, NodeIdentity>,
}

impl Side<'_> {
    /// Visits the elements of a kind that the cache can hold, each once, and the ends that other relationships wait for. All
    /// elements of one key stand in one page.
    async fn scan(
        &self,
        kind: ElementKind,
        mut visit: impl FnMut(&ElementIdentity, &[String]) + Send,
        mut waits_for: impl FnMut(NodeIdentity) + Send,
    ) -> Result<()> {
        let mut after = Some(String::new());
        while let Some(from) = after {
            let (page, next) = self.page(kind, &from).await?;
            page.held.iter().for_each(|(identity, (_, labels))| visit(identity, labels));
            page.waiting.into_values().for_each(&mut waits_for);
            after = next;
        }
        Ok(())
    }

    async fn page(&self, kind: ElementKind, after: &str) -> Result<(Page, Option<String>)> {
        let (source, profile) = (self.source, self.profile);
        let mut page = Page::default();
        let next = match kind {
            ElementKind::Node(id) => {
                let rows = repeat!(source.node_page(id, Detail::Key, after, PAGE))?;
                for row in rows.rows {
                    self.add(&mut page, kind, node_identity(profile, id, &row), (row.number, row.labels));
                }
                rows.next
            }
            ElementKind::Relationship(id) => {
                let rows = repeat!(source.relationship_page(id, Detail::Key, after, PAGE))?;
                for row in rows.rows {
                    self.add(&mut page, kind, relationship_identity(profile, id, &row), (row.number, Vec::new()));
                }
                rows.next
            }
        };
        Ok((page, next))
    }

    fn add(
        &self,
        page: &mut Page,
        kind: ElementKind,
        identity: Option<ElementIdentity>,
        (number, labels): (ElementNumber, Vec<String>),
    ) {
        let Some(identity) = identity else { return };
        if self.excluded.covers(&identity) {
            let end = self.awaited_end(kind, &identity);
            page.waiting.extend(end.map(|end| (identity, end)));
            return;
        }
        let is_known = page.held.get(&identity).is_some_and(|(known, _)| *known <= number);
        if !is_known {
            page.held.insert(identity, (number, self.labels.of(kind, labels)));
        }
    }

    /// The end that a relationship waits for, unless the relationship is listed itself.
    fn awaited_end(&self, kind: ElementKind, identity: &ElementIdentity) -> Option<NodeIdentity> {
        let ElementIdentity::Relationship(relationship) = identity else { return None };
        let is_listed = self.excluded.contains(self.profile.name_of(kind), identity.key().as_str());
        if is_listed { None } else { listed_end(self.excluded, relationship).cloned() }
    }
}

async fn scan_cache(
    view: &mut dyn CacheView,
    kind: ElementKind,
    labels: Labels,
    mut visit: impl FnMut(&ElementIdentity, &[String]) + Send,
) -> Result<()> {
    let mut each = |keyed: Keyed| visit(&keyed.identity, &labels.of(kind, keyed.labels));
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
