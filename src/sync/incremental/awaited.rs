//! The comparison of key sets, for a client that waits and for kinds without timestamps.

use std::collections::{BTreeMap, BTreeSet};

use super::{Incremental, SMALL_KIND};
use crate::error::Result;
use crate::model::bookmark::Bookmark;
use crate::model::kind::ElementKind;
use crate::sync::bundles::Suspects;
use crate::sync::key_sets::{KeyDifferences, KeySets, LabelComparison};
use crate::sync::keys::Keys;
use crate::sync::unusable;

impl Incremental<'_, '_, '_> {
    /// Compares the key sets and labels of all kinds for a client that waits, whatever their counts say, and mends what differs.
    /// The source is read under the bookmark of the pass or a later one, so no earlier commit is missed.
    pub(super) async fn compare_key_sets(&mut self, here: &[u64], there: &[u64], counted_at: &Bookmark) -> Result<()> {
        let kinds = self.reader.profile.kinds();
        let counted: Vec<(ElementKind, u64)> =
            kinds.into_iter().zip(here.iter().zip(there).map(|(here, there)| *here.max(there))).collect();
        let (nodes, relationships) = counted.split_at(self.reader.profile.nodes.len());
        let mut approved = self.compare_kinds(nodes, (here, there), counted_at).await?;
        // Relationships of nodes that were written meanwhile are in the cache by now.
        approved |= self.compare_kinds(relationships, (here, there), counted_at).await?;
        if approved { self.approve().await } else { Ok(()) }
    }

    /// Compares the key sets of kinds, all of nodes or all of relationships. Returns whether this approved deletes.
    async fn compare_kinds(
        &mut self,
        kinds: &[(ElementKind, u64)],
        (here, there): (&[u64], &[u64]),
        counted_at: &Bookmark,
    ) -> Result<bool> {
        let quiet = !self.outcome.source_moved;
        let first = match kinds.first() {
            Some((ElementKind::Relationship(_), _)) => self.reader.profile.nodes.len(),
            _ => 0,
        };
        let mut suspects: Option<BTreeSet<ElementKind>> = None;
        let mut approved = false;
        for (place, (kind, _)) in kinds.iter().enumerate() {
            let (place, kind) = (first + place, *kind);
            if !kind.is_node() && unusable::follow_freed(self.reader, self.changes.memory).await? {
                self.settle().await?;
                suspects = None;
            }
            if here[place] == 0 && there[place] == 0 && self.reader.listed(kind) == 0 {
                continue;
            }
            if suspects.is_none() {
                suspects = Some(self.kinds_to_compare(&kinds[place - first..]).await?);
            }
            let is_suspect = suspects.as_ref().is_some_and(|suspects| suspects.contains(&kind));
            let mut found = if is_suspect { self.key_differences(kind).await? } else { KeyDifferences::default() };
            let newly_listed = self.list_waiting(kind, &mut found).await?;
            let difference = here[place].cast_signed() - there[place].cast_signed() - newly_listed;
            self.reader.keys_listed += found.listed;
            self.outcome.look_again_soon |= found.more;
            self.outcome.more |= found.more;
            // Elements that no page reaches are in no key set: only the counts show them. If pages were counted, their share is
            // known.
            let is_explained = match is_suspect {
                true => difference == found.collapsed.cast_signed(),
                false => self.changes.memory.is_explained(kind, difference),
            };
            if found.is_empty() && (!quiet || is_explained) {
                continue;
            }
            let (missing, orphaned, changed) =
                (found.missing.len(), found.orphaned.len(), found.relabelled.len() + found.copied.len());
            let unlisted = found.unlisted.len();
            tracing::info!(kind = self.reader.profile.kind_name(kind), missing, orphaned, changed, unlisted, "key sets differ");
            if is_suspect && !found.more && self.held(kind) == 0 {
                self.changes.memory.explain(kind, found.collapsed.cast_signed());
            }
            self.write_again(kind, &found).await?;
            let (kinds, mut gaps) = ([(kind, difference)], BTreeMap::from([(kind, found.gaps())]));
            let kinds = unusable::complete(self.reader, self.changes, &kinds, &mut gaps, counted_at).await?;
            self.mend(&kinds, gaps, counted_at).await?;
            approved |= self.changes.allow_deletes;
        }
        Ok(approved)
    }

    /// Lists relationships that wait for a quarantined node. Returns by how many elements the list has grown.
    async fn list_waiting(&mut self, kind: ElementKind, found: &mut KeyDifferences) -> Result<i64> {
        let before = self.reader.listed(kind);
        if unusable::list_waiting(self.reader, kind, std::mem::take(&mut found.waiting)).await? {
            self.settle().await?;
        }
        Ok(self.reader.listed(kind).cast_signed() - before.cast_signed())
    }

    async fn key_differences(&mut self, kind: ElementKind) -> Result<KeyDifferences> {
        self.key_sets(LabelComparison::Included).compare(kind).await
    }

    fn key_sets(&mut self, labels: LabelComparison) -> KeySets<'_> {
        let (source, encoder, excluded) = (self.reader.source, self.changes.encoder, self.changes.excluded);
        let hasher = &self.changes.memory.hasher;
        let view = &mut *self.changes.view;
        KeySets { source, view, encoder, excluded, hasher, labels }
    }

    /// Writes what the cache holds with other labels, or more than once, and lists what it cannot hold.
    async fn write_again(&mut self, kind: ElementKind, found: &KeyDifferences) -> Result<()> {
        let unlisted: Vec<String> = found.unlisted.iter().cloned().collect();
        self.reader.fetch_kind(kind, &unlisted).await?;
        let wrong = found.relabelled.iter().chain(&found.copied).map(|identity| identity.key().as_str().to_owned()).collect();
        self.reader.repairs = true;
        self.reader.delete_copies(&found.copied).await?;
        self.reader.fetch(&Keys::from([(kind, wrong)])).await?;
        self.reader.repairs = false;
        if kind.is_node() && !found.copied.is_empty() {
            // The deletion of a node also deletes its relationships.
            let copied: Vec<String> = found.copied.iter().map(|identity| identity.key().to_string()).collect();
            let numbers = self.reader.numbers_of(kind, &copied).await?;
            self.reader.fetch_attached(&numbers).await?;
        }
        Ok(())
    }

    /// Returns the kinds that are swept although their counts agree. Of many kinds, those with equal keys are left out.
    pub(super) async fn small_kinds(&mut self, here: &[u64], there: &[u64]) -> Result<BTreeSet<ElementKind>> {
        let counted = self.reader.profile.kinds().into_iter().zip(here.iter().zip(there).map(|(here, there)| *here.max(there)));
        let small: Vec<(ElementKind, u64)> =
            counted.filter(|(kind, count)| !self.has_timestamps(*kind) && *count <= SMALL_KIND).collect();
        if !self.reader.profile.has_many_kinds() {
            return Ok(small.into_iter().map(|(kind, _)| kind).collect());
        }
        self.suspects(&small, LabelComparison::Ignored).await
    }

    /// Returns the kinds to compare key sets of, one by one: if the profile has many kinds, a part of them.
    async fn kinds_to_compare(&mut self, kinds: &[(ElementKind, u64)]) -> Result<BTreeSet<ElementKind>> {
        if !self.reader.profile.has_many_kinds() {
            return Ok(kinds.iter().map(|(kind, _)| *kind).collect());
        }
        self.suspects(kinds, LabelComparison::Included).await
    }

    async fn suspects(&mut self, kinds: &[(ElementKind, u64)], labels: LabelComparison) -> Result<BTreeSet<ElementKind>> {
        let kinds: Vec<(ElementKind, u64)> =
            kinds.iter().copied().filter(|(kind, count)| *count > 0 || self.reader.listed(*kind) > 0).collect();
        let Suspects { kinds, listed } = self.key_sets(labels).suspects(&kinds).await?;
        self.reader.keys_listed += listed;
        Ok(kinds)
    }
}
