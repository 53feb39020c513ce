//! The pass over what a change feed told: exactly the elements that were changed, whatever trace they leave.
//!
//! 1. *Now*: changed elements are looked for by their numbers, which tells their kinds and keys, and read by these keys: all elements
//!    of one key are read together, because only together they tell which of them is kept.
//! 2. *Before*: an element that was deleted, or has another key, kind or scope by now, stands in the cache as what it was. The feed
//!    tells the texts that were replaced or deleted; those that are keys in the cache are looked for in the source once more, and
//!    what is absent is deleted.
//! 3. *Around*: relationships of a node that the cache did not hold as what it is now are written again, because a relationship is
//!    identified by its ends.
//!
//! No timestamp, no count and no key set is looked at.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;

use super::PassContext;
use super::delete_guard::{Scales, weigh};
use super::keys::Keys;
use super::reader::PassReader;
use super::sweep::Gaps;
use super::unusable;
use crate::error::Result;
use crate::model::committed::{Change, Changed, Committed};
use crate::model::detail::Detail;
use crate::model::element::{ElementIdentity, ElementNumber};
use crate::model::kind::ElementKind;
use crate::model::pass::PassUnderWay;
use crate::model::pass_outcome::PassOutcome;
use crate::model::prepared::name_by_id;
use crate::model::profile::Identity;
use crate::source::{FoundElement, number_key};
use crate::transform::comparison::Content;

/// Elements that are looked for by their numbers at once: their answer is some 100 bytes each.
const NUMBERS: usize = 10_000;

/// Texts that are looked for among the cache's keys at once.
const TEXTS: usize = 1_000;

pub(super) async fn read(
    reader: &mut PassReader<'_>,
    changes: &mut PassContext<'_>,
    pass: &PassUnderWay,
    committed: &Committed,
) -> Result<PassOutcome> {
    reader.begin(pass).await?;
    let (gone, updated, surrounded) = Default::default();
    let mut pass = CommittedPass { reader, changes, gone, updated, surrounded };
    pass.read_changed(true, &committed.nodes).await?;
    pass.part_with_former_graphs().await?;
    pass.read_changed(false, &committed.relationships).await?;
    pass.read_surroundings().await?;
    pass.reader.settle().await?;
    pass.delete_gone().await?;
    pass.review(committed).await?;
    Ok(PassOutcome { look_again_soon: committed.is_partial, ..PassOutcome::default() })
}

/// What changed elements were before.
struct Former<'c> {
    /// Texts of any of them that were replaced or deleted and are keys in the cache.
    keys: BTreeSet<String>,
    changed: &'c Changed,
}

impl Former<'_> {
    fn is_new(&self, number: ElementNumber) -> bool {
        self.changed.elements.get(number.0) == Some(Change::Created)
    }

    /// Whether an element had another key before, or another element had its key.
    fn has_moved(&self, number: ElementNumber, key: &str) -> bool {
        let own = self.changed.old_texts.get(&number.0);
        self.keys.contains(key) || own.is_some_and(|own| own.iter().any(|text| text != key && self.keys.contains(text)))
    }
}

struct CommittedPass<'p, 'r, 'c> {
    reader: &'p mut PassReader<'r>,
    changes: &'p mut PassContext<'c>,
    /// Texts that may be keys of elements of the cache that the source does not have any more.
    gone: BTreeMap<ElementKind, BTreeSet<String>>,
    /// Nodes that were there before, with their numbers by their keys.
    updated: BTreeMap<ElementKind, BTreeMap<String, ElementNumber>>,
    /// Nodes whose relationships are written again.
    surrounded: BTreeSet<ElementNumber>,
}

impl CommittedPass<'_, '_, '_> {
    /// Reads changed nodes, or changed relationships, and notes what they may have been before.
    async fn read_changed(&mut self, of_nodes: bool, changed: &Changed) -> Result<()> {
        let mut numbers: Vec<(ElementNumber, Change)> =
            changed.elements.iter().map(|(number, change)| (ElementNumber(number), change)).collect();
        numbers.sort_unstable_by_key(|(number, _)| *number);
        self.note_numbers(of_nodes, &numbers);
        let former = Former { keys: self.former_keys(of_nodes, changed).await?, changed };
        let there: Vec<_> = numbers.iter().filter(|(_, change)| *change != Change::Deleted).copied().collect();
        for some in there.chunks(NUMBERS) {
            let of: Vec<ElementNumber> = some.iter().map(|(number, _)| *number).collect();
            let source = self.reader.source;
            let found = if of_nodes { source.nodes_by_number(&of).await? } else { source.relationships_by_number(&of).await? };
            self.read_found(found, &former).await?;
        }
        Ok(())
    }

    /// The replaced and deleted texts that are keys in the cache. What the cache holds under them may be gone.
    async fn former_keys(&mut self, of_nodes: bool, changed: &Changed) -> Result<BTreeSet<String>> {
        let texts: BTreeSet<&String> = changed.old_texts.values().flatten().collect();
        let texts: Vec<String> = texts.into_iter().cloned().collect();
        let mut all = BTreeSet::new();
        let kinds: Vec<ElementKind> = self.kinds(of_nodes).collect();
        for kind in kinds.into_iter().filter(|kind| self.reader.profile.identity(*kind) == Identity::Property) {
            let held = self.held(kind, &texts).await?;
            let keys: BTreeSet<String> = held.iter().map(|identity| identity.key().to_string()).collect();
            self.gone.entry(kind).or_default().extend(keys.iter().cloned());
            all.extend(keys);
        }
        Ok(all)
    }

    fn kinds(&self, of_nodes: bool) -> impl Iterator<Item = ElementKind> + use<> {
        self.reader.profile.kinds().into_iter().filter(move |kind| kind.is_node() == of_nodes)
    }

    /// The key of an element that its number identifies is its number, whatever became of it. A relationship that got the number of
    /// another one has other ends.
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

    async fn read_found(&mut self, found: Vec<FoundElement>, former: &Former<'_>) -> Result<()> {
        let (mut wanted, mut keyless) = (Keys::new(), BTreeSet::new());
        let mut updated: BTreeMap<ElementKind, BTreeMap<String, ElementNumber>> = BTreeMap::new();
        for FoundElement { number, kind, key, texts } in found {
            let is_new = former.is_new(number);
            match (kind, key) {
                (Some(kind), Some(key)) => {
                    if kind.is_node() && former.has_moved(number, &key) {
                        self.note_moved(kind, &key, number);
                    }
                    if kind.is_node() && !is_new {
                        updated.entry(kind).or_default().insert(key.clone(), number);
                    }
                    wanted.entry(kind).or_default().insert(key);
                }
                (Some(kind), None) => drop(keyless.insert((kind, number))),
                (None, _) => {}
            }
            if !is_new && kind.is_none() {
                self.note_former(number, &texts);
            }
        }
        self.note_absent(&updated).await?;
        for (kind, keys) in updated {
            self.updated.entry(kind).or_default().extend(keys);
        }
        self.reader.fetch(&wanted).await?;
        unusable::read_keyless(self.reader, keyless).await.map(drop)
    }

    /// An element that is of no kind, or is not copied any more, may stand in the cache under these keys.
    fn note_former(&mut self, number: ElementNumber, texts: &BTreeSet<String>) {
        for kind in self.reader.profile.kinds() {
            let keys = self.gone.entry(kind).or_default();
            match self.reader.profile.identity(kind) {
                Identity::Property => keys.extend(texts.iter().cloned()),
                Identity::ElementNumber => keys.extend(number_key(number)),
            }
        }
    }

    /// A node may stand in the cache as what it was, and its relationships stand there with other ends.
    fn note_moved(&mut self, kind: ElementKind, key: &str, number: ElementNumber) {
        self.surrounded.insert(number);
        let others: Vec<ElementKind> = self.kinds(true).filter(|other| *other != kind).collect();
        for other in others {
            self.gone.entry(other).or_default().insert(key.to_owned());
        }
    }

    /// Nodes that the cache does not hold under their kind and key were something else there, or nothing.
    async fn note_absent(&mut self, updated: &BTreeMap<ElementKind, BTreeMap<String, ElementNumber>>) -> Result<()> {
        for (kind, keys) in updated {
            let texts: Vec<String> = keys.keys().cloned().collect();
            let held = self.held(*kind, &texts).await?;
            let held: BTreeSet<&str> = held.iter().map(|identity| identity.key().as_str()).collect();
            for (key, number) in keys {
                if !held.contains(key.as_str()) {
                    self.note_moved(*kind, key, *number);
                }
            }
        }
        Ok(())
    }

    /// Where each group has a graph of its own, a node of another group by now stands in two graphs once it is written: it goes from
    /// both, and is written again with its relationships.
    async fn part_with_former_graphs(&mut self) -> Result<()> {
        let updated = std::mem::take(&mut self.updated);
        if self.reader.profile.routes.is_none() || updated.is_empty() {
            return Ok(());
        }
        self.reader.settle().await?;
        for (kind, keys) in updated {
            let texts: Vec<String> = keys.keys().cloned().collect();
            let twice = self.contents(kind, &texts).await?.into_iter().filter(|(_, content)| content.copies > 1);
            let twice: Vec<ElementIdentity> = twice.map(|(identity, _)| identity).collect();
            let wanted: Vec<String> = twice.iter().map(|identity| identity.key().to_string()).collect();
            self.surrounded.extend(wanted.iter().filter_map(|key| keys.get(key)));
            self.reader.repairs = true;
            self.reader.delete_copies(&twice).await?;
            self.reader.fetch_kind(kind, &wanted).await?;
            self.reader.repairs = false;
        }
        Ok(())
    }

    /// What the cache holds of a kind under some of these texts.
    async fn held(&mut self, kind: ElementKind, texts: &[String]) -> Result<BTreeSet<ElementIdentity>> {
        Ok(self.contents(kind, texts).await?.into_keys().collect())
    }

    async fn contents(&mut self, kind: ElementKind, texts: &[String]) -> Result<BTreeMap<ElementIdentity, Content>> {
        let mut contents = BTreeMap::new();
        for some in texts.chunks(TEXTS) {
            let mut left = some;
            while !left.is_empty() {
                let found = self.changes.view.contents(kind, Detail::Key, left).await?;
                left = &left[found.keys..];
                contents.extend(found.elements);
            }
        }
        Ok(contents)
    }

    /// Relationships are identified by their ends: those of a node that moved are written with their ends of now, and what stands in
    /// the cache with other ends goes.
    async fn read_surroundings(&mut self) -> Result<()> {
        let nodes: Vec<ElementNumber> = std::mem::take(&mut self.surrounded).into_iter().collect();
        for some in nodes.chunks(NUMBERS) {
            let mut after = None;
            loop {
                let source = self.reader.source;
                let found = source.relationships_of(some, after, NUMBERS).await?;
                let Some(last) = found.last().map(|found| found.number) else { break };
                after = Some(last);
                let mut wanted = Keys::new();
                for (kind, key) in found.into_iter().filter_map(|found| found.kind.zip(found.key)) {
                    self.gone.entry(kind).or_default().insert(key.clone());
                    wanted.entry(kind).or_default().insert(key);
                }
                // What they are thought to be in the cache may have gone with a node.
                self.reader.repairs = true;
                let read = self.reader.fetch(&wanted).await;
                self.reader.repairs = false;
                read?;
            }
        }
        Ok(())
    }

    /// Deletes what the cache holds under old keys and the source does not have any more, as far as the delete guard lets it.
    async fn delete_gone(&mut self) -> Result<()> {
        let mut gaps: BTreeMap<ElementKind, Gaps> = BTreeMap::new();
        for (kind, texts) in std::mem::take(&mut self.gone) {
            let texts: Vec<String> = texts.into_iter().collect();
            let mut orphaned = self.held(kind, &texts).await?;
            orphaned.extend(unusable::refused_and_held(self.reader, self.changes.view, kind).await?);
            // What is there all the same is no loss to be weighed.
            orphaned = self.reader.without_present(kind, orphaned).await?;
            if !orphaned.is_empty() {
                gaps.insert(kind, Gaps { orphaned, ..Gaps::default() });
            }
        }
        if gaps.is_empty() {
            return Ok(());
        }
        self.observe_counts().await?;
        let (limit, allow) = (self.changes.limit, self.changes.allow_deletes);
        let (source, profile, guard) = (self.reader.source, self.reader.profile, &mut self.changes.memory.guard);
        weigh(&mut Scales { source, view: self.changes.view, profile, guard, limit, allow }, &mut gaps).await?;
        for (kind, gaps) in gaps {
            self.reader.delete_absent(kind, gaps.orphaned).await?;
        }
        self.reader.settle().await
    }

    /// What a kind has before it loses something is what its losses are measured by.
    async fn observe_counts(&mut self) -> Result<()> {
        let counts = self.changes.view.counts().await?;
        for (kind, count) in self.reader.profile.kinds().into_iter().zip(counts) {
            self.changes.memory.guard.observe(&self.reader.profile.step(kind), count, Utc::now());
        }
        Ok(())
    }

    /// Looks again at what is listed as unusable and was changed.
    async fn review(&mut self, committed: &Committed) -> Result<()> {
        if self.reader.excluded.is_empty() {
            return Ok(());
        }
        for (of_nodes, changed) in [(true, &committed.nodes), (false, &committed.relationships)] {
            let by_number = changed.elements.iter().map(|(number, _)| name_by_id(ElementNumber(number)));
            let names: Vec<String> = by_number.chain(changed.old_texts.values().flatten().cloned()).collect();
            for kind in self.kinds(of_nodes) {
                let name = self.reader.profile.name_of(kind);
                let listed = names.iter().filter(|text| self.reader.excluded.contains(name, text)).cloned().collect();
                unusable::recheck(self.reader, kind, listed).await?;
            }
        }
        unusable::follow_freed(self.reader, self.changes.memory).await?;
        self.reader.settle().await
    }
}
