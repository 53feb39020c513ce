//! Kinds that have few elements, looked at together: where there are thousands of them, a question for each would take minutes.

use std::collections::{BTreeMap, BTreeSet};

use super::cache_view::Keyed;
use super::key_sets::KeySets;
use super::keys::key_text;
use super::reader::{Reader, StepKind};
use crate::error::Result;
use crate::model::batch::{Content, SourceRows};
use crate::model::detail::Detail;
use crate::model::element::{ElementIdentity, Properties, SourceNode, SourceRelationship};
use crate::model::kind::{ElementKind, NodeKindId, RelationshipKindId};
use crate::model::pass::Cursor;
use crate::model::profile::{Identity, Profile};
use crate::repeat;
use crate::source::{Bundle, Source};
use crate::transform::Admission;

/// A kind of more elements has questions of its own.
const SMALL: u64 = 500;

/// Kinds of one bundle: Neo4j takes about a millisecond to plan each.
const KINDS: usize = 500;

/// Elements of one bundle.
const ELEMENTS: u64 = 2_000;

/// How many of these kinds, from the first on, are looked at together; one that stands alone is no bundle. The counts may be too
/// high: a node that carries the labels of two kinds counts for both.
pub(super) fn bundled(profile: &Profile, kinds: impl Iterator<Item = (ElementKind, u64)>) -> usize {
    let (mut number, mut elements) = (0, 0);
    let mut of_nodes = None;
    for (kind, count) in kinds.take(KINDS) {
        let is_node = matches!(kind, ElementKind::Node(_));
        elements += count;
        if !is_small(profile, kind, count) || elements > ELEMENTS || *of_nodes.get_or_insert(is_node) != is_node {
            break;
        }
        number += 1;
    }
    if number > 1 { number } else { 0 }
}

/// Elements that their numbers identify have nothing that could be wrong with their keys, so that one query reads them whole.
fn is_small(profile: &Profile, kind: ElementKind, count: u64) -> bool {
    let unlabelled = matches!(kind, ElementKind::Node(id) if profile.node(id).unlabelled);
    count <= SMALL && !unlabelled && profile.identity(kind) == Identity::ElementNumber
}

/// What was read of several kinds.
pub(super) enum Read {
    Nodes(Bundle<NodeKindId, SourceNode>),
    Relationships(Bundle<RelationshipKindId, SourceRelationship>),
}

/// Reads all elements of kinds that are looked at together; nothing where they turn out to be too heavy for that.
pub(super) async fn read(source: &dyn Source, kinds: &[ElementKind], detail: Detail) -> Result<Option<Read>> {
    let nodes: Vec<NodeKindId> =
        kinds.iter().filter_map(|kind| if let ElementKind::Node(id) = kind { Some(*id) } else { None }).collect();
    if !nodes.is_empty() {
        return Ok(repeat!(source.node_bundle(&nodes, detail))?.map(Read::Nodes));
    }
    let types: Vec<RelationshipKindId> =
        kinds.iter().filter_map(|kind| if let ElementKind::Relationship(id) = kind { Some(*id) } else { None }).collect();
    Ok(repeat!(source.relationship_bundle(&types, detail))?.map(Read::Relationships))
}

impl Reader<'_> {
    /// Reads all elements of the kinds of these steps and sends them on as one batch. Says whether it did.
    pub(super) async fn read_bundle(&mut self, steps: &[StepKind]) -> Result<bool> {
        self.emit.reserve(ELEMENTS as usize).await?;
        let kinds: Vec<ElementKind> = steps.iter().map(StepKind::kind).collect();
        let rows = match read(self.source, &kinds, Detail::Whole).await? {
            None => return Ok(false),
            Some(Read::Nodes(found)) => found.into_iter().map(|(id, rows)| SourceRows::Nodes(id, rows)).collect(),
            Some(Read::Relationships(found)) => found.into_iter().map(|(id, rows)| SourceRows::Relationships(id, rows)).collect(),
        };
        self.emit_bundle(rows).await.map(|()| true)
    }

    /// The cursor stands at the end of the last kind that has elements: those after it have none.
    async fn emit_bundle(&mut self, rows: Vec<SourceRows>) -> Result<()> {
        let bytes: usize = rows.iter().map(SourceRows::weight).sum();
        if bytes > self.limits.bytes {
            for rows in rows {
                match rows {
                    SourceRows::Nodes(id, rows) => self.emit_nodes(id, rows, Some(&self.node_step(id))).await?,
                    SourceRows::Relationships(id, rows) => {
                        self.emit_relationships(id, rows, Some(&self.relationship_step(id))).await?;
                    }
                    SourceRows::Bundle(_) | SourceRows::Absent(_) | SourceRows::Review(_) => {}
                }
            }
            return Ok(());
        }
        let cursor = rows.last().and_then(|rows| self.cursor_after(rows));
        let read = rows.iter().map(SourceRows::len).sum::<usize>() as u64;
        if read == 0 {
            return Ok(());
        }
        let content = Content::Rows { rows: SourceRows::Bundle(rows), read, cursor, repairs: self.repairs };
        self.emit.emit(content, bytes).await
    }

    fn cursor_after(&self, rows: &SourceRows) -> Option<Cursor> {
        let kind = match rows {
            SourceRows::Nodes(id, _) => ElementKind::Node(*id),
            SourceRows::Relationships(id, _) => ElementKind::Relationship(*id),
            SourceRows::Bundle(_) | SourceRows::Absent(_) | SourceRows::Review(_) => return None,
        };
        let key = self.profile.key(kind).as_str();
        let after = match rows {
            SourceRows::Nodes(_, rows) => key_text(&rows.last()?.properties, key),
            SourceRows::Relationships(_, rows) => key_text(&rows.last()?.properties, key),
            SourceRows::Bundle(_) | SourceRows::Absent(_) | SourceRows::Review(_) => None,
        };
        Some(Cursor { step: self.profile.step(kind), after: after?.to_owned() })
    }
}

/// The elements of several kinds, each with its labels, by kind.
type BundledElements = BTreeMap<ElementKind, Vec<(ElementIdentity, Vec<String>)>>;

/// What a look at kinds that are looked at together found.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// Kinds of which the two sides may not hold the same; those among them that are too large to be looked at together.
    pub(super) kinds: BTreeSet<ElementKind>,
    /// How many keys travelled for it, of both sides.
    pub(super) listed: u64,
}

impl KeySets<'_> {
    /// Which of these kinds, each given with a count of it, may not hold the same elements on both sides: of few elements each, those
    /// that do not. A kind with an element that is listed as unusable is among them.
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
        let Some(here) = read(self.source, kinds, Detail::Key).await? else {
            suspects.kinds.extend(kinds);
            return Ok(());
        };
        let mut here = self.elements(here, suspects);
        let mut there = BundledElements::new();
        let labels = self.labels;
        let mut note = |kind: ElementKind, Keyed { identity, labels: all, graph }: Keyed| {
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

    /// What the cache is to hold of what was read. A kind of which it cannot hold something is a suspect.
    fn elements(&self, read: Read, suspects: &mut Suspects) -> BundledElements {
        let mut elements = BundledElements::new();
        let mut note = |kind: ElementKind, standing: Admission, labels: Vec<String>, properties: &Properties| match standing {
            Admission::Kept(identity) if !self.excluded.covers(&identity) => {
                let graph = self.encoder.graph_of(properties);
                elements.entry(kind).or_default().push((identity, self.labels.of(kind, labels, graph.as_ref())));
            }
            Admission::Kept(_) | Admission::Refused(_) | Admission::Nameless => drop(suspects.kinds.insert(kind)),
        };
        match read {
            Read::Nodes(found) => {
                for (id, rows) in found {
                    for row in rows {
                        note(ElementKind::Node(id), self.encoder.node_standing(id, &row), row.labels, &row.properties);
                    }
                }
            }
            Read::Relationships(found) => {
                for (id, rows) in found {
                    for row in rows {
                        note(
                            ElementKind::Relationship(id),
                            self.encoder.relationship_standing(id, &row),
                            Vec::new(),
                            &row.properties,
                        );
                    }
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
    use crate::model::discovery::Found;

    fn profile(kinds: usize) -> Profile {
        let names = |prefix: &str| (0..kinds).map(|number| format!("{prefix}{number:04}")).collect();
        let found = Found { labels: names("L"), types: names("T"), ..Found::default() };
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
