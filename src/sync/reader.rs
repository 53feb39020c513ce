//! Code that all strategies share: reads pages and cuts them into batches.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;

use super::Emitter;
use super::keys::Keys;
use super::refusals::{note_refused, outdated_names};
use crate::error::Result;
use crate::model::batch::{BatchContent, SourceContent, SourceRows};
use crate::model::element::{ElementIdentity, ElementNumber, RelationshipIdentity};
use crate::model::kind::ElementKind;
use crate::model::kind_rows::{KindRows, RowsPart};
use crate::model::pass::{Cursor, PassUnderWay};
use crate::model::prepared::QuarantineReview;
use crate::model::profile::Profile;
use crate::model::quarantine_index::QuarantineIndex;
use crate::model::quarantined::is_name;
use crate::source::{KeyLookup, Source};
use crate::transform::{Admission, Encoder};

/// Kinds that are queried at the same time: each answer may be as large as a batch. An episode of graphiti changes rows of four
/// kinds.
const ASKED_TOGETHER: usize = 4;

/// The most keys of a query that has a short answer.
const FEW_KEYS: usize = 500;

/// The limits at which a batch closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchLimits {
    pub nodes: usize,
    pub relationships: usize,
    /// Weight in memory, in bytes. One row alone may be heavier.
    pub bytes: usize,
}

/// The source and the output of one pass.
pub(super) struct PassReader<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) profile: &'a Profile,
    pub(super) limits: BatchLimits,
    pub(super) emit: &'a mut dyn Emitter,
    /// Keys that more than one row had.
    pub(super) duplicates: Keys,
    /// Whether the rows that are sent mend the cache: then they are written even if the cache seems to hold them.
    pub(super) repairs: bool,
    /// Relationships that lacked an endpoint although they were read again.
    pub(super) unresolved: BTreeSet<RelationshipIdentity>,
    /// The number of keys that were read of both sides to find what only one of them has.
    pub(super) keys_listed: u64,
    /// The rules that decide which elements can be kept.
    pub(super) encoder: &'a Encoder,
    /// The elements that are listed as unusable.
    pub(super) excluded: QuarantineIndex,
    /// Whether the cache may hold an older state of refused elements. A graph that is filled from nothing does not.
    pub(super) notes_refused: bool,
    /// Elements that were read and cannot be kept although they have an identity.
    pub(super) refused: BTreeMap<ElementKind, BTreeSet<ElementIdentity>>,
    /// Keys of elements that are new, if a change feed tells it.
    pub(super) created: Option<Keys>,
    /// Keys of relationships that were read by key and cannot be kept: the state of their ends at that moment may be the reason.
    pub(super) unkept: Keys,
    /// Whether a change feed tells what the pass has to read.
    pub(super) is_told: bool,
    /// Whether nodes, or their absence, were sent on by a look that is not told what changed.
    pub(super) has_sent_nodes: bool,
}

impl PassReader<'_> {
    /// Tells the loader that the pass begins, unless the loader knows it already.
    pub(super) async fn begin(&mut self, pass: &PassUnderWay) -> Result<()> {
        if pass.prepared {
            return Ok(());
        }
        self.emit.emit(BatchContent::Begin(pass.clone()), 0).await
    }

    /// Takes names out of the quarantine.
    pub(super) async fn release(&mut self, kind: ElementKind, names: Vec<String>) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let released = names.into_iter().map(|name| (kind, name)).collect();
        self.emit_review(QuarantineReview { released, ..QuarantineReview::default() }).await
    }

    /// Sends elements on, cut into batches.
    pub(super) async fn emit_rows(&mut self, rows: KindRows) -> Result<()> {
        self.emit_batches(&[], rows, false).await
    }

    /// Sends on what the source answered to these keys.
    pub(super) async fn emit_answer(&mut self, asked: &[String], rows: KindRows) -> Result<()> {
        self.emit_batches(asked, rows, false).await
    }

    /// Sends elements like [`Self::emit_rows`], in the order of the pass: each batch moves its cursor.
    pub(super) async fn emit_page(&mut self, rows: KindRows) -> Result<()> {
        self.emit_batches(&[], rows, true).await
    }

    async fn emit_batches(&mut self, asked: &[String], rows: KindRows, moves_cursor: bool) -> Result<()> {
        let (kind, key) = (rows.kind(), self.profile.key(rows.kind()));
        self.has_sent_nodes |= kind.is_node() && !rows.is_empty();
        note_duplicates(&mut self.duplicates, kind, rows.keys(key));
        if kind.is_node() && self.duplicates.contains_key(&kind) {
            self.source.heed_shared_keys();
        }
        let mut outdated = Vec::new();
        if self.notes_refused {
            let admissions = self.encoder.admissions(&rows);
            if !kind.is_node() {
                let unkept = unkept(asked, rows.keys(key).zip(&admissions), self.profile.leaves_nodes_out());
                self.unkept.entry(kind).or_default().extend(unkept);
            }
            admissions.into_iter().for_each(|admission| note_refused(&mut self.refused, kind, admission));
            outdated = outdated_names(&self.excluded, self.profile.name_of(kind), &rows, self.encoder);
        }
        let step = moves_cursor.then(|| self.profile.step(kind));
        for RowsPart { rows, bytes, last_key } in rows.cut(self.limits.bytes, key) {
            let cursor = step.clone().zip(last_key).map(|(step, after)| Cursor { step, after });
            let created = self.created_of(kind, &rows);
            self.emit.emit(rows_content(SourceRows::Kind(rows), cursor, self.repairs, created), bytes).await?;
        }
        self.release(kind, outdated).await
    }

    /// Returns the keys of these rows that are new. A key that several elements share may belong to another element in the cache.
    fn created_of(&self, kind: ElementKind, rows: &KindRows) -> Option<BTreeSet<String>> {
        let created = self.created.as_ref()?.get(&kind);
        let shared = self.duplicates.get(&kind);
        let is_new = |key: &&str| {
            created.is_some_and(|created| created.contains(*key)) && !shared.is_some_and(|shared| shared.contains(*key))
        };
        Some(rows.keys(self.profile.key(kind)).flatten().filter(is_new).map(str::to_owned).collect())
    }

    /// Returns how many elements of a kind are in the quarantine.
    pub(super) fn listed(&self, kind: ElementKind) -> u64 {
        self.excluded.number_of(self.profile.name_of(kind))
    }

    /// Reads the current content of elements of one kind by key and sends it on.
    pub(super) async fn fetch_kind(&mut self, kind: ElementKind, keys: &[String]) -> Result<()> {
        self.fetch_in_parts(kind, keys, false).await
    }

    /// Reads elements like [`Self::fetch_kind`], for keys in the order of the pass: each batch moves its cursor.
    pub(super) async fn fetch_page(&mut self, kind: ElementKind, keys: &[String]) -> Result<()> {
        self.fetch_in_parts(kind, keys, true).await
    }

    async fn fetch_in_parts(&mut self, kind: ElementKind, keys: &[String], moves_cursor: bool) -> Result<()> {
        let most = if kind.is_node() { self.limits.nodes } else { self.limits.relationships };
        let mut keys = keys;
        while !keys.is_empty() {
            let asked = &keys[..keys.len().min(most)];
            self.emit.reserve(asked.len()).await?;
            let KeyLookup { rows, keys: answered } = self.source.by_key(kind, asked).await?;
            self.emit_batches(&asked[..answered], rows.in_key_order(self.profile.key(kind)), moves_cursor).await?;
            keys = &keys[answered..];
        }
        Ok(())
    }

    /// Reads the current content of elements of several kinds by key and sends it on, nodes first. If the keys are few, some
    /// kinds are queried at the same time: such a query costs a round trip and hardly anything else.
    pub(super) async fn fetch(&mut self, keys: &Keys) -> Result<()> {
        let wanted = |kind: ElementKind| (kind, keys.get(&kind).into_iter().flatten().cloned().collect::<Vec<_>>());
        let wanted: Vec<_> = self.profile.kinds().into_iter().map(wanted).filter(|(_, keys)| !keys.is_empty()).collect();
        for some in wanted.chunks(ASKED_TOGETHER) {
            let number: usize = some.iter().map(|(_, keys)| keys.len()).sum();
            if number > self.limits.nodes.min(self.limits.relationships).min(FEW_KEYS) {
                for (kind, keys) in some {
                    self.fetch_kind(*kind, keys).await?;
                }
                continue;
            }
            self.emit.reserve(number).await?;
            let source = self.source;
            let answers = try_join_all(some.iter().map(|(kind, keys)| source.by_key(*kind, keys))).await?;
            for ((kind, keys), KeyLookup { rows, keys: answered }) in some.iter().zip(answers) {
                self.emit_answer(&keys[..answered], rows.in_key_order(self.profile.key(*kind))).await?;
                self.fetch_kind(*kind, &keys[answered..]).await?;
            }
        }
        Ok(())
    }

    /// Reads elements once more that seemed absent from the source. Writes those that the source has, and deletes the others.
    pub(super) async fn delete_absent(&mut self, kind: ElementKind, identities: BTreeSet<ElementIdentity>) -> Result<()> {
        let identities: Vec<ElementIdentity> = identities.into_iter().collect();
        let keys: Vec<String> = identities.iter().map(|identity| identity.key().as_str().to_owned()).collect();
        let most = self.limits.nodes.min(self.limits.relationships);
        let mut done = 0;
        while done < keys.len() {
            let asked = &keys[done..keys.len().min(done + most)];
            self.emit.reserve(2 * asked.len()).await?;
            let Present { mut kept, there, answered } = self.read_present(kind, asked).await?;
            if kind.is_node() {
                let kept: Vec<String> = kept.iter().map(|identity| identity.key().to_string()).collect();
                self.read_around(kind, &kept).await?;
            }
            if self.profile.routes.is_some() && !kept.is_empty() {
                // Only an attempt of the sink shows whether an element has a graph.
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

    /// Sends on what the source has of these keys. What cannot be kept is listed, and its old state is deleted like that of an
    /// absent element.
    async fn read_present(&mut self, kind: ElementKind, keys: &[String]) -> Result<Present> {
        let KeyLookup { rows, keys: answered } = self.source.by_key(kind, keys).await?;
        let kept = self.encoder.admissions(&rows).into_iter().filter_map(kept).collect();
        let there = rows.keys(self.profile.key(kind)).flatten().map(str::to_owned).collect();
        self.emit_answer(&keys[..answered], rows).await?;
        Ok(Present { kept, there, answered })
    }

    /// Returns the identities that the source does not have. Sends on the elements that it has under these keys, and returns
    /// their numbers, because another element may have replaced one of them.
    pub(super) async fn send_present(
        &mut self,
        kind: ElementKind,
        mut identities: BTreeSet<ElementIdentity>,
    ) -> Result<(BTreeSet<ElementIdentity>, Vec<ElementNumber>)> {
        let mut present = Vec::new();
        let keys: BTreeSet<&str> = identities.iter().map(|identity| identity.key().as_str()).collect();
        let keys: Vec<String> = keys.into_iter().map(str::to_owned).collect();
        let mut left = &keys[..];
        while !left.is_empty() {
            let asked = &left[..left.len().min(self.limits.nodes.min(self.limits.relationships))];
            self.emit.reserve(asked.len()).await?;
            let KeyLookup { rows, keys: answered } = self.source.by_key(kind, asked).await?;
            let kept: Vec<ElementIdentity> = self.encoder.admissions(&rows).into_iter().filter_map(kept).collect();
            present.extend(rows.elements().map(|(number, _)| number));
            self.emit_answer(&asked[..answered], rows.in_key_order(self.profile.key(kind))).await?;
            if self.profile.routes.is_some() && !kept.is_empty() {
                // Only an attempt of the sink shows whether an element has a graph.
                self.settle().await?;
            }
            let has_graph =
                |identity: &&ElementIdentity| !self.excluded.is_without_graph(identity.kind_name(), identity.key().as_str());
            for identity in kept.iter().filter(has_graph) {
                identities.remove(identity);
            }
            left = &left[answered..];
        }
        Ok((identities, present))
    }

    /// Deletes elements of which the cache has several, with all their copies. The caller has to write them again at once.
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
        self.has_sent_nodes |= absent.iter().any(|identity| matches!(identity, ElementIdentity::Node(_)));
        let bytes = absent.len() * size_of::<ElementIdentity>();
        let created = self.created.as_ref().map(|_| BTreeSet::new());
        self.emit.emit(rows_content(SourceRows::Absent(absent), None, self.repairs, created), bytes).await
    }

    /// Sends on the results of a look at listed elements.
    pub(super) async fn emit_review(&mut self, review: QuarantineReview) -> Result<()> {
        self.emit.emit(rows_content(SourceRows::Review(review), None, false, None), 0).await
    }

    /// Returns the kinds that are left of a pass, each with the key to continue after. Nodes come first, because a relationship
    /// needs both its endpoints.
    pub(super) fn kinds_left(&self, cursor: Option<&Cursor>) -> Vec<(ElementKind, String)> {
        let kinds = self.profile.kinds();
        let place = |cursor: &Cursor| kinds.iter().position(|kind| self.profile.step(*kind) == cursor.step);
        let Some((first, cursor)) = cursor.and_then(|cursor| Some((place(cursor)?, cursor))) else {
            return kinds.into_iter().map(|kind| (kind, String::new())).collect();
        };
        let after = |place: usize| if place == first { cursor.after.clone() } else { String::new() };
        (first..kinds.len()).map(|place| (kinds[place], after(place))).collect()
    }
}

/// The source's answer to a look for keys.
struct Present {
    /// Elements that can be kept.
    kept: BTreeSet<ElementIdentity>,
    /// Keys that the source has.
    there: BTreeSet<String>,
    /// The number of keys, from the first on, that the answer covers.
    answered: usize,
}

fn rows_content(rows: SourceRows, cursor: Option<Cursor>, repairs: bool, created: Option<BTreeSet<String>>) -> SourceContent {
    let read = rows.len() as u64;
    BatchContent::Rows { rows, read, cursor, repairs, created }
}

/// Returns the keys that belong to a row that cannot be kept, and those that the answer lacks if the query skips relationships for
/// their ends. If it skips none, a relationship that the answer lacks does not exist, and its creation is a change of its own.
fn unkept<'a>(asked: &[String], answer: impl Iterator<Item = (Option<&'a str>, &'a Admission)>, skips: bool) -> Vec<String> {
    let (mut kept, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for (key, admission) in answer {
        let keys = if matches!(admission, Admission::Kept(_)) { &mut kept } else { &mut refused };
        keys.extend(key);
    }
    let is_unkept = |key: &&String| refused.contains(key.as_str()) || (skips && !kept.contains(key.as_str()));
    asked.iter().filter(is_unkept).cloned().collect()
}

fn kept(admission: Admission) -> Option<ElementIdentity> {
    if let Admission::Kept(identity) = admission { Some(identity) } else { None }
}

/// Notes keys that occur more than once. Rows of one key are next to each other.
fn note_duplicates<'a>(duplicates: &mut Keys, kind: ElementKind, keys: impl Iterator<Item = Option<&'a str>>) {
    let mut last = None;
    for key in keys {
        if let Some(key) = key.filter(|_| last == Some(key)) {
            duplicates.entry(kind).or_default().insert(key.to_owned());
        }
        last = Some(key);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::element::NodeIdentity;
    use crate::model::key::Key;
    use crate::model::name::Label;

    #[test]
    fn what_an_answer_lacks_or_refuses_is_not_kept() {
        let node = NodeIdentity { label: Label::parse("L").unwrap(), key: Key::parse("k").unwrap() };
        let (kept, refused) = (Admission::Kept(ElementIdentity::Node(node)), Admission::Nameless);
        let answer = [(Some("kept"), &kept), (Some("refused"), &refused), (Some("both"), &kept), (Some("both"), &refused)];
        let asked = ["kept", "refused", "both", "lacking"].map(str::to_owned);
        assert_eq!(unkept(&asked, answer.iter().copied(), true), ["refused", "both", "lacking"]);
        assert_eq!(unkept(&asked, answer.into_iter(), false), ["refused", "both"], "what is lacking does not exist");
    }
}
