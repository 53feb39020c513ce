//! The pass over what a change feed told: exactly the changed elements, whatever trace they leave.
//!
//! 1. *Now*: the pass looks for the changed elements by their numbers, which gives their kinds and keys, and reads them by these
//!    keys. It reads all elements of one key together, because only together they show which of them is kept.
//! 2. *Before*: an element that was deleted, or now has another key, kind or scope, is in the cache as it was before. The feed
//!    tells the texts that were replaced or deleted. The pass looks in the source once more for those texts that are keys in the
//!    cache, and deletes what is absent.
//! 3. *Around*: the relationships of a node are read again if the cache did not hold the node as it is now, or cannot hold it any
//!    more, because a relationship is identified by its ends.
//!
//! The pass looks at no timestamp, no count and no key set.

mod former;
mod review;

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;

use super::PassContext;
use super::delete_guard::{GuardContext, weigh};
use super::keys::Keys;
use super::reader::PassReader;
use super::sweep::KeySetDifference;
use super::unusable;
use crate::error::Result;
use crate::model::committed::{Change, ChangeSet, CommittedChanges};
use crate::model::element::{ElementIdentity, ElementNumber};
use crate::model::guard::ALWAYS_ALLOWED;
use crate::model::kind::ElementKind;
use crate::model::pass::PassUnderWay;
use crate::model::pass_outcome::PassOutcome;
use crate::model::profile::Identity;
use crate::model::projection::Projection;
use crate::source::{FoundElement, number_key};
use crate::transform::comparison::Content;
use former::{Former, FormerOwners};

/// Elements that are looked up by number at once: an answer has some 100 bytes for each.
const NUMBERS: usize = 10_000;

/// Texts that are looked up among the cache's keys at once.
const TEXTS: usize = 1_000;

pub(super) async fn read(
    reader: &mut PassReader<'_>,
    changes: &mut PassContext<'_>,
    pass: &PassUnderWay,
    committed: &CommittedChanges,
) -> Result<PassOutcome> {
    reader.begin(pass).await?;
    reader.created = Some(Keys::new());
    let (gone, updated, shared, surrounded) = Default::default();
    let mut pass = CommittedPass { reader, changes, gone, updated, shared, surrounded };
    pass.read_changed(true, &committed.nodes).await?;
    let mut gone = pass.absent_of(true, committed).await?;
    pass.part_with_former_graphs().await?;
    pass.read_changed(false, &committed.relationships).await?;
    pass.reader.fetch_doubtful(pass.changes.memory).await?;
    pass.read_surroundings().await?;
    pass.reader.settle().await?;
    gone.extend(pass.absent_of(false, committed).await?);
    pass.delete(gone).await?;
    pass.review(committed).await?;
    reader.created = None;
    Ok(PassOutcome { look_again_soon: committed.is_partial, more: committed.is_partial, ..PassOutcome::default() })
}

/// The current state of a node that existed before.
struct UpdatedNode {
    number: ElementNumber,
    key: String,
    texts: BTreeSet<String>,
    has_moved: bool,
    is_relabelled: bool,
}

struct CommittedPass<'p, 'r, 'c> {
    reader: &'p mut PassReader<'r>,
    changes: &'p mut PassContext<'c>,
    /// Texts that may be keys of elements that the cache holds and the source does not have any more.
    gone: BTreeMap<ElementKind, BTreeSet<String>>,
    /// The numbers of nodes that existed before, by their keys. Several nodes may share a key.
    updated: BTreeMap<ElementKind, BTreeMap<String, BTreeSet<ElementNumber>>>,
    /// Keys that now belong to another node than before, or may do so.
    shared: Keys,
    /// Nodes for which relationships are read again.
    surrounded: BTreeSet<ElementNumber>,
}

impl CommittedPass<'_, '_, '_> {
    /// Reads changed nodes, or changed relationships, and notes what they may have been before.
    async fn read_changed(&mut self, of_nodes: bool, changed: &ChangeSet) -> Result<()> {
        let mut numbers: Vec<(ElementNumber, Change)> =
            changed.elements.iter().map(|(number, change)| (ElementNumber(number), change)).collect();
        numbers.sort_unstable_by_key(|(number, _)| *number);
        self.note_numbers(of_nodes, &numbers);
        let is_filtered = !self.reader.profile.only_groups.is_empty() || self.reader.profile.routes.is_some();
        let former = Former { keys: self.former_keys(of_nodes, changed).await?, changed, is_filtered };
        let there: Vec<_> = numbers.iter().filter(|(_, change)| *change != Change::Deleted).copied().collect();
        for some in there.chunks(NUMBERS) {
            let of: Vec<ElementNumber> = some.iter().map(|(number, _)| *number).collect();
            let source = self.reader.source;
            let found = if of_nodes { source.nodes_by_number(&of).await? } else { source.relationships_by_number(&of).await? };
            self.read_found(found, of_nodes, &former).await?;
        }
        Ok(())
    }

    /// Returns the replaced and deleted texts that are keys in the cache. What the cache holds under them may be gone.
    async fn former_keys(&mut self, of_nodes: bool, changed: &ChangeSet) -> Result<BTreeMap<String, FormerOwners>> {
        let mut owners: BTreeMap<&String, FormerOwners> = BTreeMap::new();
        for (number, text) in changed.old_texts.iter().flat_map(|(number, texts)| texts.iter().map(move |text| (number, text))) {
            owners.entry(text).and_modify(|owners| *owners = FormerOwners::Several).or_insert(FormerOwners::One(*number));
        }
        let texts: Vec<String> = owners.keys().map(|text| (*text).clone()).collect();
        let mut all = BTreeMap::new();
        let kinds: Vec<ElementKind> = self.kinds(of_nodes).collect();
        for kind in kinds.into_iter().filter(|kind| self.reader.profile.identity(*kind) == Identity::Property) {
            let keys = self.held_keys(kind, &texts).await?;
            self.gone.entry(kind).or_default().extend(keys.iter().cloned());
            all.extend(keys.into_iter().filter_map(|key| owners.get(&key).map(|owners| (key, *owners))));
        }
        Ok(all)
    }

    fn kinds(&self, of_nodes: bool) -> impl Iterator<Item = ElementKind> + use<> {
        self.reader.profile.kinds().into_iter().filter(move |kind| kind.is_node() == of_nodes)
    }

    /// The key of an element that is identified by its number is that number, whatever became of the element. A relationship that
    /// got the number of another one has other ends.
    fn note_numbers(&mut self, of_nodes: bool, numbers: &[(ElementNumber, Change)]) {
        let was_there = |change: Change| match change {
            Change::Created => false,
            Change::Updated => !of_nodes,
            Change::Deleted => true,
        };
        let keys = numbers.iter().filter(|(_, change)| was_there(*change)).filter_map(|(number, _)| number_key(*number));
        let keys: Vec<String> = keys.collect();
        let kinds: Vec<ElementKind> = self.kinds(of_nodes).collect();
        for kind in kinds.into_iter().filter(|kind| self.reader.profile.identity(*kind) == Identity::ElementNumber) {
            self.gone.entry(kind).or_default().extend(keys.iter().cloned());
        }
    }

    async fn read_found(&mut self, found: Vec<FoundElement>, of_nodes: bool, former: &Former<'_>) -> Result<()> {
        let (mut wanted, mut keyless, mut arriving) = (Keys::new(), BTreeSet::new(), BTreeSet::new());
        let mut updated: BTreeMap<ElementKind, Vec<UpdatedNode>> = BTreeMap::new();
        for FoundElement { number, kind, key, texts } in found {
            let is_new = former.is_new(number);
            let is_placed = kind.is_some() && key.is_some();
            if of_nodes && !is_new && !is_placed && (self.changes.resumes || former.may_have_had_place(number)) {
                // The relationships of this node lose their end in the cache.
                self.surrounded.insert(number);
            }
            let Some(kind) = kind else {
                if !is_new {
                    self.note_former(of_nodes, number, &texts);
                }
                continue;
            };
            let Some(key) = key else {
                keyless.insert((kind, number));
                continue;
            };
            // If a pass broke off after it wrote a node, it may not have come to the relationships of the node.
            let has_moved = former.has_moved(number, &key) || (self.changes.resumes && !is_new);
            let is_relabelled = former.is_relabelled(number);
            if of_nodes && (has_moved || is_new || is_relabelled) {
                arriving.insert((kind, key.clone()));
            }
            if of_nodes && (has_moved || !is_new) {
                let node = UpdatedNode { number, key: key.clone(), texts, has_moved, is_relabelled };
                updated.entry(kind).or_default().push(node);
            }
            if is_new && let Some(created) = &mut self.reader.created {
                created.entry(kind).or_default().insert(key.clone());
            }
            wanted.entry(kind).or_default().insert(key);
        }
        for (kind, nodes) in &updated {
            self.note_former_places(*kind, nodes).await?;
            let numbers = self.updated.entry(*kind).or_default();
            for node in nodes {
                numbers.entry(node.key.clone()).or_default().insert(node.number);
            }
            let moved = nodes.iter().filter(|node| self.surrounded.contains(&node.number));
            arriving.extend(moved.map(|node| (*kind, node.key.clone())));
        }
        self.reader.fetch(&wanted).await?;
        self.note_sharing(arriving).await?;
        unusable::read_keyless(self.reader, keyless).await.map(drop)
    }

    /// A node that gets its place only now may share its key with others: the cache may have held them under this key already, or
    /// could not hold them before and holds their relationships from now on.
    async fn note_sharing(&mut self, arriving: BTreeSet<(ElementKind, String)>) -> Result<()> {
        let mut shared = Keys::new();
        for (kind, key) in arriving {
            if self.reader.duplicates.get(&kind).is_some_and(|shared| shared.contains(&key)) {
                shared.entry(kind).or_default().insert(key);
            }
        }
        for (kind, keys) in shared {
            let asked: Vec<String> = keys.iter().cloned().collect();
            self.surrounded.extend(self.reader.numbers_of(kind, &asked).await?);
            self.shared.entry(kind).or_default().extend(keys);
        }
        Ok(())
    }

    /// Returns the keys that an element with these texts and this number has if it belongs to a kind.
    fn keys_in(&self, kind: ElementKind, number: ElementNumber, texts: &BTreeSet<String>) -> Vec<String> {
        match self.reader.profile.identity(kind) {
            Identity::Property => texts.iter().cloned().collect(),
            Identity::ElementNumber => number_key(number).into_iter().collect(),
        }
    }

    /// An element that belongs to no kind, or is not copied any more, may be in the cache under these keys.
    fn note_former(&mut self, of_nodes: bool, number: ElementNumber, texts: &BTreeSet<String>) {
        for kind in self.kinds(of_nodes).collect::<Vec<_>>() {
            let keys = self.keys_in(kind, number, texts);
            self.gone.entry(kind).or_default().extend(keys);
        }
    }

    /// A node may be in the cache as one of another kind, with relationships that have other ends.
    fn note_moved(&mut self, kind: ElementKind, node: &UpdatedNode) {
        self.surrounded.insert(node.number);
        for other in self.kinds(true).filter(|other| *other != kind).collect::<Vec<_>>() {
            let keys = self.keys_in(other, node.number, &node.texts);
            self.gone.entry(other).or_default().extend(keys);
        }
    }

    /// Nodes that the cache does not hold under their kind and key were something else there, or nothing. A node that has other
    /// labels may be there as one of another kind.
    async fn note_former_places(&mut self, kind: ElementKind, nodes: &[UpdatedNode]) -> Result<()> {
        let keys: BTreeSet<String> = nodes.iter().map(|node| node.key.clone()).collect();
        let held = self.held_keys(kind, &Vec::from_iter(keys)).await?;
        let (moved, there): (Vec<_>, Vec<_>) = nodes.iter().partition(|node| node.has_moved || !held.contains(&node.key));
        moved.into_iter().for_each(|node| self.note_moved(kind, node));
        let relabelled: Vec<&UpdatedNode> = there.into_iter().filter(|node| node.is_relabelled).collect();
        if relabelled.is_empty() {
            return Ok(());
        }
        for other in self.kinds(true).filter(|other| *other != kind).collect::<Vec<_>>() {
            let keys_of = |pass: &Self, node: &UpdatedNode| pass.keys_in(other, node.number, &node.texts);
            let keys: Vec<String> = relabelled.iter().flat_map(|node| keys_of(self, node)).collect();
            let held = self.held_keys(other, &keys).await?;
            let stands = |node: &&&UpdatedNode| keys_of(self, node).iter().any(|key| held.contains(key));
            let moved: Vec<&UpdatedNode> = relabelled.iter().filter(stands).copied().collect();
            moved.into_iter().for_each(|node| self.note_moved(kind, node));
        }
        Ok(())
    }

    /// If each group has a graph of its own and a key now belongs to a node of another group, the key is in two graphs once that
    /// node is written. The key goes from the other graph, and the relationships of all nodes that share the key are read.
    async fn part_with_former_graphs(&mut self) -> Result<()> {
        let mut written = std::mem::take(&mut self.shared);
        for (kind, numbers) in &self.updated {
            written.entry(*kind).or_default().extend(numbers.keys().cloned());
        }
        if self.reader.profile.routes.is_none() || written.is_empty() {
            return Ok(());
        }
        self.reader.settle().await?;
        for (kind, keys) in written {
            let twice = self.contents(kind, &Vec::from_iter(keys)).await?.into_iter().filter(|(_, content)| content.copies > 1);
            let wanted: Vec<String> = twice.map(|(identity, _)| identity.key().to_string()).collect();
            self.surrounded.extend(self.reader.numbers_of(kind, &wanted).await?);
            self.reader.repairs = true;
            // A repair deletes what is in other graphs. The key is always in one graph at least: nothing else would lead back to
            // it.
            self.reader.fetch_kind(kind, &wanted).await?;
            self.reader.repairs = false;
        }
        Ok(())
    }

    /// Returns what the cache holds of a kind under some of these texts.
    async fn held(&mut self, kind: ElementKind, texts: &[String]) -> Result<BTreeSet<ElementIdentity>> {
        Ok(self.contents(kind, texts).await?.into_keys().collect())
    }

    async fn held_keys(&mut self, kind: ElementKind, texts: &[String]) -> Result<BTreeSet<String>> {
        Ok(self.contents(kind, texts).await?.keys().map(|identity| identity.key().to_string()).collect())
    }

    async fn contents(&mut self, kind: ElementKind, texts: &[String]) -> Result<BTreeMap<ElementIdentity, Content>> {
        let mut contents = BTreeMap::new();
        for some in texts.chunks(TEXTS) {
            let mut left = some;
            while !left.is_empty() {
                let found = self.changes.view.contents(kind, Projection::Key, left).await?;
                left = &left[found.keys..];
                contents.extend(found.elements);
            }
        }
        Ok(contents)
    }

    /// Relationships are identified by their ends: the relationships of a node that moved are written with their current ends,
    /// and those that the cache holds with other ends go.
    async fn read_surroundings(&mut self) -> Result<()> {
        let nodes = std::mem::take(&mut self.surrounded);
        let read = self.reader.fetch_attached(&nodes).await?;
        read.into_iter().for_each(|(kind, keys)| self.gone.entry(kind).or_default().extend(keys));
        Ok(())
    }

    /// Returns what the cache holds under old keys and the source does not have any more, and what the cache cannot hold as it is
    /// now. Nodes that lose their place because of this, or replace another node, are added to `surrounded`.
    async fn absent_of(
        &mut self,
        of_nodes: bool,
        committed: &CommittedChanges,
    ) -> Result<BTreeMap<ElementKind, KeySetDifference>> {
        let mut gaps: BTreeMap<ElementKind, KeySetDifference> = BTreeMap::new();
        if of_nodes && self.reader.profile.routes.is_some() {
            // Only an attempt of the sink shows whether a group has a graph.
            self.reader.settle().await?;
        }
        for kind in self.kinds(of_nodes).collect::<Vec<_>>() {
            let texts: Vec<String> = self.gone.remove(&kind).unwrap_or_default().into_iter().collect();
            let mut orphaned = self.held(kind, &texts).await?;
            let refused = unusable::refused_and_held(self.reader, self.changes.view, kind).await?;
            self.surround_refused(kind, &refused);
            orphaned.extend(refused);
            // An element that the source still has is no loss for the delete guard to weigh.
            let (absent, present) = self.reader.send_present(kind, orphaned.clone()).await?;
            if of_nodes {
                let standing_in = orphaned.difference(&absent).map(|identity| identity.key().to_string());
                self.shared.entry(kind).or_default().extend(standing_in);
                // Another node may replace one that is gone, and no step has looked at its relationships.
                let is_other = |number: &ElementNumber| committed.nodes.elements.get(number.0).is_none();
                self.surrounded.extend(present.into_iter().filter(is_other));
            }
            // If deletes are held, the guard weighs everything that only the cache has together.
            let is_held = self.changes.memory.guard.held(&self.reader.profile.step(kind)) > 0;
            if !absent.is_empty() && !is_held {
                // The next pass may be told of more deletes that were committed with these.
                let more = committed.is_partial && absent.len() as u64 > ALWAYS_ALLOWED;
                gaps.insert(kind, KeySetDifference { orphaned: absent, more, ..KeySetDifference::default() });
            }
        }
        Ok(gaps)
    }

    /// Adds nodes that the cache cannot hold in their current state to `surrounded`: their relationships are listed.
    fn surround_refused(&mut self, kind: ElementKind, refused: &BTreeSet<ElementIdentity>) {
        let Some(updated) = self.updated.get(&kind) else { return };
        let numbers = refused.iter().filter_map(|identity| updated.get(identity.key().as_str())).flatten();
        self.surrounded.extend(numbers);
    }

    /// Deletes what is gone, as far as the delete guard allows.
    async fn delete(&mut self, mut gaps: BTreeMap<ElementKind, KeySetDifference>) -> Result<()> {
        if gaps.is_empty() {
            return Ok(());
        }
        self.observe_counts().await?;
        let (limit, allow) = (self.changes.limit, self.changes.allow_deletes);
        let (source, profile, guard) = (self.reader.source, self.reader.profile, &mut self.changes.memory.guard);
        let excluded = self.changes.excluded;
        weigh(&mut GuardContext { source, view: self.changes.view, profile, guard, limit, allow, excluded }, &mut gaps).await?;
        for (kind, gaps) in gaps {
            self.reader.delete_absent(kind, gaps.orphaned).await?;
        }
        self.reader.settle().await
    }

    /// Losses of a kind are measured by its count before the losses.
    async fn observe_counts(&mut self) -> Result<()> {
        let counts = self.changes.view.counts().await?;
        for (kind, count) in self.reader.profile.kinds().into_iter().zip(counts) {
            self.changes.memory.guard.observe(&self.reader.profile.step(kind), count, Utc::now());
        }
        Ok(())
    }
}
