//! Reads kinds of few elements together: with thousands of kinds, one query for each would take minutes.

use std::collections::{BTreeMap, BTreeSet};

use super::cache_view::ScannedElement;
use super::key_sets::KeySets;
use super::reader::PassReader;
use crate::error::Result;
use crate::model::batch::{BatchContent, SourceRows};
use crate::model::element::ElementIdentity;
use crate::model::kind::ElementKind;
use crate::model::kind_rows::KindRows;
use crate::model::pass::Cursor;
use crate::model::profile::{Identity, Profile};
use crate::model::projection::Projection;
use crate::transform::Admission;

/// The most elements of a kind in a bundle. A larger kind has queries of its own.
const SMALL: u64 = 500;

/// Kinds of one bundle: Neo4j takes about a millisecond to plan each.
const KINDS: usize = 500;

/// Elements of one bundle.
const ELEMENTS: u64 = 2_000;

/// Returns how many of these kinds, from the first on, are read together. One kind alone is no bundle. The counts may be too
/// high: a node that carries the labels of two kinds counts for both.
pub(super) fn bundled(profile: &Profile, kinds: impl Iterator<Item = (ElementKind, u64)>) -> usize {
    let (mut number, mut elements) = (0, 0);
    let mut of_nodes = None;
    for (kind, count) in kinds.take(KINDS) {
        let is_node = kind.is_node();
        elements += count;
        if !is_small(profile, kind, count) || elements > ELEMENTS || *of_nodes.get_or_insert(is_node) != is_node {
            break;
        }
        number += 1;
    }
    if number > 1 { number } else { 0 }
}

/// Elements that are identified by their numbers cannot have a wrong key, so one query reads them whole.
fn is_small(profile: &Profile, kind: ElementKind, count: u64) -> bool {
    let unlabelled = matches!(kind, ElementKind::Node(id) if profile.node(id).unlabelled);
    count <= SMALL && !unlabelled && profile.identity(kind) == Identity::ElementNumber
}

impl PassReader<'_> {
    /// Reads all elements of these kinds and sends them on as one batch. Returns whether it did.
    pub(super) async fn read_bundle(&mut self, kinds: &[ElementKind]) -> Result<bool> {
        self.emit.reserve(ELEMENTS as usize).await?;
        let Some(rows) = self.source.bundle(kinds, Projection::Whole).await? else { return Ok(false) };
        self.emit_bundle(rows).await.map(|()| true)
    }

    /// The cursor moves to the end of the last kind that has elements: the kinds after it have none.
    async fn emit_bundle(&mut self, rows: Vec<KindRows>) -> Result<()> {
        let bytes: usize = rows.iter().map(KindRows::weight).sum();
        if bytes > self.limits.bytes {
            for rows in rows {
                self.emit_page(rows).await?;
            }
            return Ok(());
        }
        let cursor = rows.last().and_then(|rows| self.cursor_after(rows));
        let read = rows.iter().map(KindRows::len).sum::<usize>() as u64;
        if read == 0 {
            return Ok(());
        }
        let content = BatchContent::Rows { rows: SourceRows::Bundle(rows), read, cursor, repairs: self.repairs, created: None };
        self.emit.emit(content, bytes).await
    }

    fn cursor_after(&self, rows: &KindRows) -> Option<Cursor> {
        let after = rows.keys(self.profile.key(rows.kind())).last()??.to_owned();
        Some(Cursor { step: self.profile.step(rows.kind()), after })
    }
}

/// The elements of several kinds, each with its labels, by kind.
type BundledElements = BTreeMap<ElementKind, Vec<(ElementIdentity, Vec<String>)>>;

/// The result of a look at a bundle of kinds.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// Kinds that may differ between the two sides, and among them the kinds that are too large for a bundle.
    pub(super) kinds: BTreeSet<ElementKind>,
    /// The number of keys that were read of both sides.
    pub(super) listed: u64,
}

impl KeySets<'_> {
    /// Returns which of these kinds may not hold the same elements on both sides. Each kind comes with its count. Of kinds with
    /// few elements, only those that do differ are returned. A kind with an element that is listed as unusable is among them.
    pub(super) async fn suspects(&mut self, kinds: &[(ElementKind, u64)]) -> Result<Suspects> {
        let mut suspects = Suspects::default();
        let mut place = 0;
        while place < kinds.len() {
            let number = bundled(self.encoder.profile(), kinds[place..].iter().copied());
            if number == 0 {
                suspects.kinds.insert(kinds[place].0);
                place += 1;
                continue;
            }
            let together: Vec<ElementKind> = kinds[place..place + number].iter().map(|(kind, _)| *kind).collect();
            place += number;
            self.compare_bundle(&together, &mut suspects).await?;
        }
        Ok(suspects)
    }

    async fn compare_bundle(&mut self, kinds: &[ElementKind], suspects: &mut Suspects) -> Result<()> {
        let Some(here) = self.source.bundle(kinds, Projection::Key).await? else {
            suspects.kinds.extend(kinds);
            return Ok(());
        };
        let mut here = self.elements(&here, suspects);
        let mut there = BundledElements::new();
        let labels = self.labels;
        let mut note = |kind: ElementKind, ScannedElement { identity, labels: all, graph }: ScannedElement| {
            there.entry(kind).or_default().push((identity, labels.of(kind, all, graph.as_ref())));
        };
        self.view.scan_bundle(kinds, &mut note).await?;
        for kind in kinds {
            let (mut here, mut there) = (here.remove(kind).unwrap_or_default(), there.remove(kind).unwrap_or_default());
            suspects.listed += (here.len() + there.len()) as u64;
            here.sort_unstable();
            there.sort_unstable();
            if here != there {
                suspects.kinds.insert(*kind);
            }
        }
        Ok(())
    }

    /// Returns what the cache has to hold of the rows that were read. A kind with something that the cache cannot hold is a
    /// suspect.
    fn elements(&self, read: &[KindRows], suspects: &mut Suspects) -> BundledElements {
        let mut elements = BundledElements::new();
        for rows in read {
            let kind = rows.kind();
            let found = self.encoder.admissions(rows).into_iter().zip(rows.elements()).zip(rows.labels());
            for ((admission, (_, properties)), labels) in found {
                match admission {
                    Admission::Kept(identity) if !self.excluded.covers(&identity) => {
                        let graph = self.encoder.graph_of(properties);
                        let labels = self.labels.of(kind, labels.iter().cloned(), graph.as_ref());
                        elements.entry(kind).or_default().push((identity, labels));
                    }
                    Admission::Kept(_) | Admission::Refused(_) | Admission::Nameless => drop(suspects.kinds.insert(kind)),
                }
            }
        }
        elements
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::discovery::DiscoveredSchema;

    fn profile(kinds: usize) -> Profile {
        let names = |prefix: &str| (0..kinds).map(|number| format!("{prefix}{number:04}")).collect();
        let found = DiscoveredSchema { labels: names("L"), types: names("T"), ..DiscoveredSchema::default() };
        Profile::generic().unwrap().discovered(&found).unwrap()
    }

    #[test]
    fn small_kinds_of_nodes_or_of_relationships_are_bundled() {
        let profile = profile(600);
        let kinds = profile.kinds();
        let counted = |from: usize, count: u64| kinds[from..].iter().map(move |kind| (*kind, count));
        assert_eq!(bundled(&profile, counted(0, 1)), KINDS);
        assert_eq!(bundled(&profile, counted(0, 400)), 5, "so many elements as a bundle takes");
        assert_eq!(bundled(&profile, counted(0, SMALL + 1)), 0);
        assert_eq!(bundled(&profile, counted(590, 1)), 10, "nodes without a label have a question of their own");
        assert_eq!(bundled(&profile, counted(600, 1)), 0);
        assert_eq!(bundled(&profile, counted(1195, 1)), 6);
        assert!(!Profile::graphiti().unwrap().has_many_kinds() && profile.has_many_kinds());
        let keyed = Profile::graphiti().unwrap();
        assert_eq!(bundled(&keyed, keyed.kinds().into_iter().map(|kind| (kind, 1))), 0);
    }
}
