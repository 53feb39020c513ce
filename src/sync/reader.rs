//! What all strategies share: reading pages and cutting them into batches.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;

use super::Emit;
use super::keys::{Keys, key_text};
use super::refusals::{note_refused, outdated_names};
use crate::error::Result;
use crate::model::batch::{Content, SourceContent, SourceRows};
use crate::model::element::{ElementIdentity, RelationshipIdentity, SourceNode, SourceRelationship};
use crate::model::excluded::Excluded;
use crate::model::kind::{ElementKind, NodeKindId, RelationshipKindId, Step};
use crate::model::pass::{Cursor, PassUnderWay};
use crate::model::prepared::{Review, is_name};
use crate::model::profile::Profile;
use crate::repeat;
use crate::source::{Answered, Source};
use crate::transform::{Admission, Transformer};

/// Kinds whose rows are asked for at the same time: each answer may be as large as a batch.
const ASKED_TOGETHER: usize = 3;

/// So few keys have short answers.
const FEW_KEYS: usize = 500;

/// When a batch closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Nodes.
    pub nodes: usize,
    /// Relationships.
    pub relationships: usize,
    /// Weight in memory, in bytes; one row alone may be heavier.
    pub bytes: usize,
}

/// A source and the way out, for one pass.
pub(super) struct Reader<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) profile: &'a Profile,
    pub(super) limits: BatchLimits,
    pub(super) emit: &'a mut dyn Emit,
    /// Keys that more than one row had.
    pub(super) duplicates: Keys,
    /// Whether what is sent mends the cache: it is written even if it seems to stand there.
    pub(super) repairs: bool,
    /// Relationships that lacked an endpoint although they were read again.
    pub(super) unresolved: BTreeSet<RelationshipIdentity>,
    /// How many keys travelled, of both sides, to find what only one of them has.
    pub(super) keys_listed: u64,
    /// The rules that say what can be kept.
    pub(super) encoder: &'a Transformer,
    /// What is listed as unusable.
    pub(super) excluded: Excluded,
    /// Whether the cache may hold an older state of what is refused. Where a graph is filled from nothing it does not.
    pub(super) notes_refused: bool,
    /// What was read and cannot be kept although it has an identity.
    pub(super) refused: BTreeMap<ElementKind, BTreeSet<ElementIdentity>>,
}

impl Reader<'_> {
    /// Tells the loader that the pass begins, unless it was told before.
    pub(super) async fn begin(&mut self, pass: &PassUnderWay) -> Result<()> {
        if pass.prepared {
            return Ok(());
        }
        self.emit.emit(Content::Begin(pass.clone()), 0).await
    }

    /// Takes names out of the quarantine.
    pub(super) async fn release(&mut self, kind: ElementKind, names: Vec<String>) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let released = names.into_iter().map(|name| (kind, name)).collect();
        self.emit_review(Review { released, ..Review::default() }).await
    }

    /// Sends nodes on, cut into batches. With a step, each batch moves the pass's cursor.
    pub(super) async fn emit_nodes(&mut self, kind: NodeKindId, rows: Vec<SourceNode>, step: Option<&Step>) -> Result<()> {
        let key = self.profile.node(kind).key.as_str();
        note_duplicates(&mut self.duplicates, ElementKind::Node(kind), rows.iter().map(|row| key_text(&row.properties, key)));
        if self.notes_refused {
            let standings = rows.iter().map(|row| self.encoder.node_standing(kind, row));
            standings.for_each(|standing| note_refused(&mut self.refused, ElementKind::Node(kind), standing));
        }
        let outdated = match self.notes_refused {
            true => outdated_names(
                &self.excluded,
                self.profile.name_of(ElementKind::Node(kind)),
                rows.iter().map(|row| row.number),
                || self.encoder.names_of_refused_nodes(kind, &rows),
            ),
            false => Vec::new(),
        };
        for chunk in cut(rows, self.limits.bytes, SourceNode::weight, |row| key_text(&row.properties, key)) {
            let content = rows_content(SourceRows::Nodes(kind, chunk.rows), step, chunk.last_key, self.repairs);
            self.emit.emit(content, chunk.bytes).await?;
        }
        self.release(ElementKind::Node(kind), outdated).await
    }

    /// As [`Self::emit_nodes`], for relationships.
    pub(super) async fn emit_relationships(
        &mut self,
        kind: RelationshipKindId,
        rows: Vec<SourceRelationship>,
        step: Option<&Step>,
    ) -> Result<()> {
        let key = self.profile.relationship(kind).key.as_str();
        let keys = rows.iter().map(|row| key_text(&row.properties, key));
        note_duplicates(&mut self.duplicates, ElementKind::Relationship(kind), keys);
        if self.notes_refused {
            let standings = rows.iter().map(|row| self.encoder.relationship_standing(kind, row));
            standings.for_each(|standing| note_refused(&mut self.refused, ElementKind::Relationship(kind), standing));
        }
        let outdated = match self.notes_refused {
            true => outdated_names(
                &self.excluded,
                self.profile.name_of(ElementKind::Relationship(kind)),
                rows.iter().map(|row| row.number),
                || self.encoder.names_of_refused_relationships(kind, &rows),
            ),
            false => Vec::new(),
        };
        for chunk in cut(rows, self.limits.bytes, SourceRelationship::weight, |row| key_text(&row.properties, key)) {
            let content = rows_content(SourceRows::Relationships(kind, chunk.rows), step, chunk.last_key, self.repairs);
            self.emit.emit(content, chunk.bytes).await?;
        }
        self.release(ElementKind::Relationship(kind), outdated).await
    }

    /// How many elements of a kind stand in the quarantine.
    pub(super) fn listed(&self, kind: ElementKind) -> u64 {
        self.excluded.number_of(self.profile.name_of(kind))
    }

    /// Reads the current content of elements of one kind by key and sends it on.
    pub(super) async fn fetch_kind(&mut self, kind: ElementKind, keys: &[String], step: Option<&Step>) -> Result<()> {
        let most = match kind {
            ElementKind::Node(_) => self.limits.nodes,
            ElementKind::Relationship(_) => self.limits.relationships,
        };
        let mut keys = keys;
        while !keys.is_empty() {
            let asked = &keys[..keys.len().min(most)];
            self.emit.reserve(asked.len()).await?;
            let (rows, answered) = rows_by_key(self.source, kind, asked).await?;
            self.emit_in_key_order(rows, step).await?;
            keys = &keys[answered..];
        }
        Ok(())
    }

    /// Reads the current content of elements of several kinds by key and sends it on, nodes first. Few keys of some kinds are asked
    /// for at the same time: such a question costs a round trip and hardly anything else.
    pub(super) async fn fetch(&mut self, keys: &Keys) -> Result<()> {
        let wanted = |kind: ElementKind| (kind, keys.get(&kind).into_iter().flatten().cloned().collect::<Vec<_>>());
        let wanted: Vec<_> = self.profile.kinds().into_iter().map(wanted).filter(|(_, keys)| !keys.is_empty()).collect();
        for some in wanted.chunks(ASKED_TOGETHER) {
            let number: usize = some.iter().map(|(_, keys)| keys.len()).sum();
            if number > self.limits.nodes.min(self.limits.relationships).min(FEW_KEYS) {
                for (kind, keys) in some {
                    self.fetch_kind(*kind, keys, None).await?;
                }
                continue;
            }
            self.emit.reserve(number).await?;
            let source = self.source;
            let answers = try_join_all(some.iter().map(|(kind, keys)| rows_by_key(source, *kind, keys))).await?;
            for ((kind, keys), (rows, answered)) in some.iter().zip(answers) {
                self.emit_in_key_order(rows, None).await?;
                self.fetch_kind(*kind, &keys[answered..], None).await?;
            }
        }
        Ok(())
    }

    async fn emit_in_key_order(&mut self, rows: SourceRows, step: Option<&Step>) -> Result<()> {
        match rows {
            SourceRows::Nodes(kind, rows) => {
                let key = self.profile.node(kind).key.as_str();
                self.emit_nodes(kind, in_key_order(rows, |row| key_text(&row.properties, key)), step).await
            }
            SourceRows::Relationships(kind, rows) => {
                let key = self.profile.relationship(kind).key.as_str();
                self.emit_relationships(kind, in_key_order(rows, |row| key_text(&row.properties, key)), step).await
            }
            SourceRows::Bundle(_) | SourceRows::Absent(_) | SourceRows::Review(_) => Ok(()),
        }
    }

    /// Reads elements once more that the source seemed not to have: writes those that it has, deletes those that are absent.
    pub(super) async fn delete_absent(&mut self, kind: ElementKind, identities: BTreeSet<ElementIdentity>) -> Result<()> {
        let identities: Vec<ElementIdentity> = identities.into_iter().collect();
        let keys: Vec<String> = identities.iter().map(|identity| identity.key().as_str().to_owned()).collect();
        let most = self.limits.nodes.min(self.limits.relationships);
        let mut done = 0;
        while done < keys.len() {
            let asked = &keys[done..keys.len().min(done + most)];
            self.emit.reserve(2 * asked.len()).await?;
            let Present { mut kept, there, answered } = self.read_present(kind, asked).await?;
            if self.profile.routes.is_some() && !kept.is_empty() {
                // Whether there is a graph for an element is known once the sink has tried.
                self.settle().await?;
                kept.retain(|identity| !self.excluded.is_without_graph(identity.kind_name(), identity.key().as_str()));
            }
            let looked_for = &identities[done..done + answered];
            self.emit_absent(looked_for.iter().filter(|identity| !kept.contains(*identity)).cloned().collect()).await?;
            if !self.excluded.is_empty() {
                let gone = asked[..answered].iter().filter(|key| !there.contains(*key) && !is_name(key));
                self.release(kind, gone.cloned().collect()).await?;
            }
            done += answered;
        }
        Ok(())
    }

    /// Sends on what the source has of these keys. What cannot be kept is listed, and its old state goes as that of an absent element
    /// does.
    async fn read_present(&mut self, kind: ElementKind, keys: &[String]) -> Result<Present> {
        let source = self.source;
        match kind {
            ElementKind::Node(id) => {
                let Answered { rows, keys } = repeat!(source.nodes_by_key(id, keys))?;
                let kept = rows.iter().filter_map(|row| kept(self.encoder.node_standing(id, row))).collect();
                let key = self.profile.node(id).key.as_str();
                let there = rows.iter().filter_map(|row| key_text(&row.properties, key).map(str::to_owned)).collect();
                self.emit_nodes(id, rows, None).await?;
                Ok(Present { kept, there, answered: keys })
            }
            ElementKind::Relationship(id) => {
                let Answered { rows, keys } = repeat!(source.relationships_by_key(id, keys))?;
                let kept = rows.iter().filter_map(|row| kept(self.encoder.relationship_standing(id, row))).collect();
                let key = self.profile.relationship(id).key.as_str();
                let there = rows.iter().filter_map(|row| key_text(&row.properties, key).map(str::to_owned)).collect();
                self.emit_relationships(id, rows, None).await?;
                Ok(Present { kept, there, answered: keys })
            }
        }
    }

    /// Deletes elements of which the cache has several, with all their copies: they are to be written again at once.
    pub(super) async fn delete_copies(&mut self, identities: &[ElementIdentity]) -> Result<()> {
        for chunk in identities.chunks(self.limits.nodes.min(self.limits.relationships)) {
            self.emit.reserve(chunk.len()).await?;
            self.emit_absent(chunk.to_vec()).await?;
        }
        Ok(())
    }

    async fn emit_absent(&mut self, absent: Vec<ElementIdentity>) -> Result<()> {
        if absent.is_empty() {
            return Ok(());
        }
        let bytes = absent.len() * size_of::<ElementIdentity>();
        self.emit.emit(rows_content(SourceRows::Absent(absent), None, None, self.repairs), bytes).await
    }

    /// Sends on what was found of elements that are listed.
    pub(super) async fn emit_review(&mut self, review: Review) -> Result<()> {
        self.emit.emit(rows_content(SourceRows::Review(review), None, None, false), 0).await
    }

    /// The step of a node kind.
    pub(super) fn node_step(&self, kind: NodeKindId) -> Step {
        Step::Nodes(self.profile.node(kind).label.clone())
    }

    /// The step of a relationship kind.
    pub(super) fn relationship_step(&self, kind: RelationshipKindId) -> Step {
        Step::Relationships(self.profile.relationship(kind).rel_type.clone())
    }

    /// All steps of a pass, nodes first: a relationship needs both its endpoints.
    pub(super) fn steps(&self) -> Vec<StepKind> {
        let nodes = self.profile.node_ids().map(|id| StepKind::Nodes(id, self.node_step(id)));
        let relationships = self.profile.relationship_ids().map(|id| StepKind::Relationships(id, self.relationship_step(id)));
        nodes.chain(relationships).collect()
    }

    /// The steps that are left of a pass, each with the key to go on after.
    pub(super) fn steps_left(&self, cursor: Option<&Cursor>) -> Vec<(StepKind, String)> {
        let all = self.steps();
        let first = cursor.and_then(|cursor| all.iter().position(|step| *step.step() == cursor.step)).unwrap_or(0);
        let after = |index: usize| match cursor {
            Some(cursor) if index == first && *all[first].step() == cursor.step => cursor.after.clone(),
            _ => String::new(),
        };
        (first..all.len()).map(|index| (all[index].clone(), after(index))).collect()
    }
}

/// The rows of the first of these keys, and how many keys those are.
async fn rows_by_key(source: &dyn Source, kind: ElementKind, keys: &[String]) -> Result<(SourceRows, usize)> {
    Ok(match kind {
        ElementKind::Node(id) => {
            let Answered { rows, keys } = repeat!(source.nodes_by_key(id, keys))?;
            (SourceRows::Nodes(id, rows), keys)
        }
        ElementKind::Relationship(id) => {
            let Answered { rows, keys } = repeat!(source.relationships_by_key(id, keys))?;
            (SourceRows::Relationships(id, rows), keys)
        }
    })
}

/// What the source has of keys that it was asked for.
struct Present {
    /// What can be kept.
    kept: BTreeSet<ElementIdentity>,
    /// Keys that it has.
    there: BTreeSet<String>,
    /// How many of the keys it was asked for, from the first on.
    answered: usize,
}

/// A step with its kind's place in the profile.
#[derive(Debug, Clone)]
pub(super) enum StepKind {
    Nodes(NodeKindId, Step),
    Relationships(RelationshipKindId, Step),
}

impl StepKind {
    /// Its kind.
    pub(super) fn kind(&self) -> ElementKind {
        match self {
            StepKind::Nodes(id, _) => ElementKind::Node(*id),
            StepKind::Relationships(id, _) => ElementKind::Relationship(*id),
        }
    }

    fn step(&self) -> &Step {
        match self {
            StepKind::Nodes(_, step) | StepKind::Relationships(_, step) => step,
        }
    }
}

fn rows_content(rows: SourceRows, step: Option<&Step>, last_key: Option<String>, repairs: bool) -> SourceContent {
    let read = rows.len() as u64;
    let cursor = step.zip(last_key).map(|(step, after)| Cursor { step: step.clone(), after });
    Content::Rows { rows, read, cursor, repairs }
}

fn kept(standing: Admission) -> Option<ElementIdentity> {
    if let Admission::Kept(identity) = standing { Some(identity) } else { None }
}

/// Rows of one key stand side by side.
fn note_duplicates<'a>(duplicates: &mut Keys, kind: ElementKind, keys: impl Iterator<Item = Option<&'a str>>) {
    let mut last = None;
    for key in keys {
        if let Some(key) = key.filter(|_| last == Some(key)) {
            duplicates.entry(kind).or_default().insert(key.to_owned());
        }
        last = Some(key);
    }
}

/// Rows that were asked for by key come in any order; a cursor needs the keys' order.
fn in_key_order<T>(mut rows: Vec<T>, key: impl Fn(&T) -> Option<&str>) -> Vec<T> {
    rows.sort_by(|a, b| key(a).cmp(&key(b)));
    rows
}

struct Chunk<T> {
    rows: Vec<T>,
    bytes: usize,
    last_key: Option<String>,
}

/// Cuts rows where the bytes are full, never between rows of one key: those collapse to one element and must meet.
fn cut<T>(rows: Vec<T>, max_bytes: usize, weight: impl Fn(&T) -> usize, key: impl Fn(&T) -> Option<&str>) -> Vec<Chunk<T>> {
    let mut chunks: Vec<Chunk<T>> = Vec::new();
    for row in rows {
        let (bytes, row_key) = (weight(&row), key(&row).map(str::to_owned));
        match chunks.last_mut() {
            Some(chunk) if chunk.bytes + bytes <= max_bytes || (chunk.last_key == row_key && row_key.is_some()) => {
                chunk.rows.push(row);
                chunk.bytes += bytes;
                chunk.last_key = row_key;
            }
            _ => chunks.push(Chunk { rows: vec![row], bytes, last_key: row_key }),
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_close_by_bytes_but_never_between_rows_of_one_key() {
        let chunks = cut(vec!["a", "b", "b", "b", "c"], 2, |_| 1, |row| Some(*row));
        let rows: Vec<_> = chunks.iter().map(|chunk| chunk.rows.clone()).collect();
        assert_eq!(rows, [vec!["a", "b", "b", "b"], vec!["c"]]);
        assert_eq!(chunks[0].last_key.as_deref(), Some("b"));
    }

    #[test]
    fn a_row_heavier_than_a_batch_stands_alone() {
        let chunks = cut(vec!["a", "b"], 2, |_| 9, |row| Some(*row));
        assert_eq!(chunks.len(), 2);
    }
}
