//! The incremental pass: reads what changed since the last one, at a cost that grows with the change and not with the graph.
//!
//! 1. *Watermark*: rows whose timestamps say that they were written since the last pass began.
//! 2. *Follow*: rows that are written beside them without a trace.
//! 3. *Late commits*: rows of the overlap, by key, that no pass has read: their timestamp is older than their commit.
//! 4. *Counts*, and a *sweep* of the kinds that differ: deletes, and rows without a timestamp.
//!
//! Counts of a source that is being written say little: what was committed after the rows were read is counted and not yet in the
//! cache. So a difference counts at once only if the bookmark shows that nothing was committed meanwhile, or if the cache holds
//! more than the source, which no later commit explains. Otherwise the next pass looks again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::{try_join, try_join_all, try_join3};

use super::PassContext;
use super::bundles::Suspects;
use super::delete_guard::{GuardContext, weigh};
use super::follow::follow;
use super::key_sets::{KeyDifferences, KeySets, LabelComparison};
use super::keys::Keys;
use super::labels;
use super::memory::{CountVerdict, PassTime, overlap_begin};
use super::reader::PassReader;
use super::sweep::{KeySetDifference, find};
use super::unusable;
use crate::error::Result;
use crate::model::bookmark::Bookmark;
use crate::model::element::{ElementIdentity, ElementNumber};
use crate::model::kind::ElementKind;
use crate::model::pass::PassUnderWay;
use crate::model::pass_outcome::PassOutcome;
use crate::source::{ChangedKey, KeyPage, Source};

/// How much the clocks of the source and of its writers may differ.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(5);

/// Keys that are read at once: a key has some 40 bytes, so a page of keys is small beside a batch of rows.
const KEY_PAGE: usize = 10_000;

/// The most elements of a kind without timestamps that is swept at every late check, whatever the counts say: if all communities
/// are replaced by as many new ones, no count shows it.
const SMALL_KIND: u64 = 1000;

pub(super) async fn read(reader: &mut PassReader<'_>, changes: &mut PassContext<'_>, pass: &PassUnderWay) -> Result<PassOutcome> {
    reader.begin(pass).await?;
    let mut incremental = Incremental {
        reader,
        changes,
        time: PassTime { now: Instant::now(), source_clock: pass.began_at },
        noted: BTreeMap::new(),
        read: Keys::new(),
        without_key: BTreeSet::new(),
        outcome: PassOutcome::default(),
    };
    incremental.read_changed(pass).await?;
    let rows = incremental.time.now.elapsed();
    let late = incremental.read_late(pass).await?;
    let of_source = incremental.count_source_and_settle().await?;
    let applied = incremental.time.now.elapsed();
    incremental.compare_counts(pass, late, of_source).await?;
    let all = incremental.time.now.elapsed();
    let seconds = |from: Duration, to: Duration| (to - from).as_secs_f64();
    tracing::debug!(
        rows = rows.as_secs_f64(),
        late_and_applied = seconds(rows, applied),
        counts = seconds(applied, all),
        "pass read"
    );
    Ok(incremental.outcome)
}

/// An incremental pass under way.
///
/// It reads the keys of all kinds first, then follows the rules from them, then reads the rows of both together: so it reads each
/// row once, and after everything that shows a change of the row.
struct Incremental<'p, 'r, 'c> {
    reader: &'p mut PassReader<'r>,
    changes: &'p mut PassContext<'c>,
    time: PassTime,
    /// Keys of rows that are still to be read.
    noted: BTreeMap<ElementKind, Vec<ChangedKey>>,
    /// Keys of rows that were read before the follow rules were applied to them.
    read: Keys,
    /// Elements that were written and have no key.
    without_key: BTreeSet<(ElementKind, ElementNumber)>,
    outcome: PassOutcome,
}

/// Counts of the source.
struct SourceCounts {
    /// Elements, in the order of the kinds.
    kinds: Vec<u64>,
    /// Nodes with labels that FalkorDB cannot express.
    unusable_labels: BTreeMap<String, u64>,
}

/// Counts of both sides, in the order of the kinds.
struct BothCounts {
    /// Counts of the source, without what is listed as unusable.
    here: Vec<u64>,
    there: Vec<u64>,
    /// The source's bookmark after the count.
    at: Bookmark,
}

impl Incremental<'_, '_, '_> {
    /// Reads what was written since the last pass, what the follow rules lead to, and keys that several elements share.
    async fn read_changed(&mut self, pass: &PassUnderWay) -> Result<()> {
        let since = self.changes.watermark.unwrap_or(DateTime::UNIX_EPOCH) - CLOCK_TOLERANCE;
        let kinds: Vec<_> = self.reader.kinds_left(pass.cursor.as_ref());
        let kinds: Vec<_> = kinds.into_iter().filter(|(kind, _)| self.has_timestamps(*kind)).collect();
        let source = self.reader.source;
        let pages = kinds.iter().map(|(kind, after)| source.changed_keys(*kind, since, after, KEY_PAGE));
        let pages = try_join_all(pages).await?;
        for ((kind, _), page) in kinds.into_iter().zip(pages) {
            self.take_pages(kind, page, since).await?;
        }
        let duplicates = self.changes.memory.take_duplicates();
        self.fetch_noted(duplicates).await?;
        self.reader.fetch_doubtful(self.changes.memory).await
    }

    /// Notes the keys of a page. A full page is read at once, so that the pass can resume after it.
    async fn take_pages(&mut self, kind: ElementKind, mut page: KeyPage, since: DateTime<Utc>) -> Result<()> {
        loop {
            self.without_key.extend(page.without_key.iter().map(|number| (kind, *number)));
            page.keys.retain(|key| !self.changes.memory.is_known_since(kind, key, since));
            let must_read = |key: &ChangedKey| self.changes.thorough || self.changes.memory.must_read(kind, key, self.time.now);
            let (changed, spared): (Vec<_>, Vec<_>) = page.keys.into_iter().partition(must_read);
            self.outcome.look_again |= !spared.is_empty();
            let Some(after) = page.next else {
                self.noted.entry(kind).or_default().extend(changed);
                return Ok(());
            };
            // The noted rows have to be read before the cursor passes them.
            for (kind, keys) in std::mem::take(&mut self.noted) {
                self.fetch_changed(kind, keys, false).await?;
            }
            self.fetch_changed(kind, changed, true).await?;
            page = self.reader.source.changed_keys(kind, since, &after, KEY_PAGE).await?;
        }
    }

    async fn fetch_changed(&mut self, kind: ElementKind, keys: Vec<ChangedKey>, moves_cursor: bool) -> Result<()> {
        let texts: Vec<String> = keys.iter().map(|changed| changed.key.clone()).collect();
        match moves_cursor {
            true => self.reader.fetch_page(kind, &texts).await?,
            false => self.reader.fetch_kind(kind, &texts).await?,
        }
        keys.iter().for_each(|key| self.changes.memory.note_read(kind, key, self.time));
        self.read.entry(kind).or_default().extend(texts);
        Ok(())
    }

    /// Reads keys of the overlap that no pass of this generation has read, if a late check is due. Returns whether it was.
    async fn read_late(&mut self, pass: &PassUnderWay) -> Result<bool> {
        let due = self.changes.memory.late_check_due(self.changes.rhythm, self.time.now);
        if !due && !self.changes.thorough {
            let in_vain = !self.reader.profile.kinds().into_iter().any(|kind| self.has_timestamps(kind));
            let wait = self.changes.memory.late_check_in(self.changes.rhythm, self.time.now);
            self.outcome.late_check_in = (!in_vain).then_some(wait);
            return Ok(false);
        }
        // After a time without passes, commits that were late then are older than the current overlap.
        let read_up_to = self.changes.watermark.map_or(pass.began_at, |watermark| watermark.min(pass.began_at));
        let since = overlap_begin(read_up_to, self.changes.rhythm);
        for kind in self.reader.profile.kinds() {
            let mut next = self.has_timestamps(kind).then(String::new);
            while let Some(after) = next {
                let page = self.reader.source.changed_keys(kind, since, &after, KEY_PAGE).await?;
                self.without_key.extend(page.without_key.iter().map(|number| (kind, *number)));
                let new: Vec<_> = page.keys.into_iter().filter(|key| self.changes.memory.is_new(kind, key)).collect();
                if page.next.is_some() {
                    self.fetch_changed(kind, new, false).await?;
                } else {
                    self.noted.entry(kind).or_default().extend(new);
                }
                next = page.next;
            }
        }
        self.fetch_noted(Keys::new()).await?;
        Ok(true)
    }

    /// Reads the noted rows, what the rules lead to from them and from the rows that were read before, and `others`.
    async fn fetch_noted(&mut self, others: Keys) -> Result<()> {
        let noted = std::mem::take(&mut self.noted);
        let mut changed = std::mem::take(&mut self.read);
        let mut wanted = others;
        for (kind, keys) in &noted {
            let texts = || keys.iter().map(|changed| changed.key.clone());
            changed.entry(*kind).or_default().extend(texts());
            wanted.entry(*kind).or_default().extend(texts());
        }
        for (kind, keys) in follow(self.reader, &changed).await? {
            wanted.entry(kind).or_default().extend(keys);
        }
        self.reader.fetch(&wanted).await?;
        for (kind, keys) in &noted {
            keys.iter().for_each(|key| self.changes.memory.note_read(*kind, key, self.time));
        }
        Ok(())
    }

    fn has_timestamps(&self, kind: ElementKind) -> bool {
        !self.reader.profile.timestamps(kind).is_empty()
    }

    /// Counts the source while the cache applies what was read. The count does not wait, because commits between the reading and
    /// the count hide deletes from it.
    async fn count_source_and_settle(&mut self) -> Result<SourceCounts> {
        let (source, exact) = (self.reader.source, self.changes.thorough);
        let labels = source.unusable_labels();
        let (kinds, unusable_labels, ()) = try_join3(count_kinds(source, exact), labels, self.reader.settle()).await?;
        Ok(SourceCounts { kinds, unusable_labels })
    }

    /// Compares counts by kind, and sweeps what differs.
    async fn compare_counts(&mut self, pass: &PassUnderWay, late: bool, of_source: SourceCounts) -> Result<()> {
        let BothCounts { here, there, at: counted_at } = self.counts_of_usable(pass, late, of_source).await?;
        let quiet = pass.bookmark.as_ref() == Some(&counted_at);
        self.outcome.source_moved = !quiet;
        if self.reader.excluded.is_empty() && here.iter().all(|count| *count == 0) && there.iter().any(|count| *count > 0) {
            tracing::warn!("the source is empty");
        }
        let profile = self.reader.profile;
        self.changes.memory.observe(profile, &here, &there, Utc::now());
        if self.changes.thorough {
            return self.compare_key_sets(&here, &there, &counted_at).await;
        }
        let (mut nodes, mut relationships) = (Vec::new(), Vec::new());
        let mut nodes_agree = true;
        let small = if late { self.small_kinds(&here, &there).await? } else { BTreeSet::new() };
        for (place, kind) in profile.kinds().into_iter().enumerate() {
            let approved = self.changes.allow_deletes && self.held(kind) > 0;
            let verdict = self.changes.memory.asks_for_sweep(kind, here[place], there[place], quiet);
            let is_node = kind.is_node();
            nodes_agree &= verdict == CountVerdict::Agrees || !is_node;
            self.outcome.look_again_soon |= verdict == CountVerdict::LookAgain && !approved;
            if verdict == CountVerdict::Sweep || approved || (small.contains(&kind) && verdict == CountVerdict::Agrees) {
                let difference = here[place].cast_signed() - there[place].cast_signed();
                if is_node { &mut nodes } else { &mut relationships }.push((kind, difference));
            }
        }
        if let Some(left) = self.sweep(&nodes, &counted_at).await? {
            self.keep_left_over(&mut relationships, &left);
            self.look_for_lost(&relationships, &left);
        }
        if unusable::follow_freed(self.reader, self.changes.memory).await? {
            self.settle().await?;
        }
        self.sweep(&relationships, &counted_at).await?;
        if self.changes.allow_deletes && !(nodes.is_empty() && relationships.is_empty()) {
            self.approve().await?;
        }
        // If nodes are too many or too few, so are their labels; and if there were commits meanwhile, counts say little.
        // Neo4j keeps no counts of a part of the source.
        let counted = self.reader.profile.only_groups.is_empty();
        if nodes_agree && ((quiet && counted) || late) {
            labels::read(self.reader, self.changes, late, &mut self.outcome).await?;
        }
        Ok(())
    }

    /// Compares the key sets and labels of all kinds for a client that waits, whatever their counts say, and mends what differs.
    /// The source is read under the bookmark of the pass or a later one, so no earlier commit is missed.
    async fn compare_key_sets(&mut self, here: &[u64], there: &[u64], counted_at: &Bookmark) -> Result<()> {
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
    async fn small_kinds(&mut self, here: &[u64], there: &[u64]) -> Result<BTreeSet<ElementKind>> {
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

    /// A deleted node takes its relationships with it. Of the kinds that differed before, only those are swept that still have
    /// more elements in the cache than in the source. For the others, the next pass sees whether they still differ.
    fn keep_left_over(&mut self, relationships: &mut Vec<(ElementKind, i64)>, (here, there): &(Vec<u64>, Vec<u64>)) {
        let kinds = self.reader.profile.kinds();
        let (allow, memory, outcome) = (self.changes.allow_deletes, &self.changes.memory, &mut self.outcome);
        relationships.retain_mut(|(kind, difference)| {
            let Some(place) = kinds.iter().position(|other| other == kind) else { return false };
            *difference = here[place].cast_signed() - there[place].cast_signed();
            let kept = allow || memory.is_surplus(*kind, here[place], there[place]);
            outcome.look_again_soon |= !kept;
            kept
        });
    }

    /// A node that became unusable takes relationships with it that the source still has: the next pass lists them.
    fn look_for_lost(&mut self, swept: &[(ElementKind, i64)], (here, there): &(Vec<u64>, Vec<u64>)) {
        let lost = |(place, kind): (usize, ElementKind)| {
            let difference = here[place].cast_signed() - there[place].cast_signed();
            let is_swept = swept.iter().any(|(other, _)| *other == kind);
            !kind.is_node() && !is_swept && !self.changes.memory.is_explained(kind, difference)
        };
        self.outcome.look_again_soon |= self.reader.profile.kinds().into_iter().enumerate().any(lost);
    }

    fn held(&self, kind: ElementKind) -> u64 {
        self.changes.memory.guard.held(&self.reader.profile.step(kind))
    }

    /// Measures later deletes by the counts that are left after an operator's approval.
    async fn approve(&mut self) -> Result<()> {
        let view = &mut *self.changes.view;
        let there = view.counts().await?;
        for (place, kind) in self.reader.profile.kinds().into_iter().enumerate() {
            self.changes.memory.guard.approve(&self.reader.profile.step(kind), there[place], Utc::now());
        }
        Ok(())
    }

    /// Waits until everything is applied, including relationships that came before their endpoints.
    async fn settle(&mut self) -> Result<()> {
        self.reader.settle().await
    }

    /// Finds what only one side has of these kinds, reads what is missing, deletes what the guard allows, and remembers which
    /// differences remain and why. Returns the counts after it, if it deleted anything.
    async fn sweep(&mut self, kinds: &[(ElementKind, i64)], counted_at: &Bookmark) -> Result<Option<(Vec<u64>, Vec<u64>)>> {
        if kinds.is_empty() {
            return Ok(None);
        }
        let mut gaps = BTreeMap::new();
        for (kind, _) in kinds {
            let found = find(self.reader.source, self.changes.view, *kind, None).await?;
            self.reader.keys_listed += found.listed;
            let (missing, orphaned) = (found.missing.len(), found.orphaned.len());
            if missing + orphaned > 0 {
                tracing::info!(kind = self.reader.profile.kind_name(*kind), missing, orphaned, "swept");
            }
            gaps.insert(*kind, found);
        }
        for (kind, gaps) in &mut gaps {
            unusable::leave_out_waiting(self.reader, *kind, gaps).await?;
        }
        let kinds = unusable::complete(self.reader, self.changes, kinds, &mut gaps, counted_at).await?;
        let counts = self.mend(&kinds, gaps.clone(), counted_at).await?;
        self.changes.memory.note_sweep();
        Ok(gaps.values().any(|gaps| !gaps.orphaned.is_empty()).then_some(counts))
    }

    /// Reads what is missing and what the rules lead to from it, and deletes what the guard allows. Returns the counts after it.
    async fn mend(
        &mut self,
        kinds: &[(ElementKind, i64)],
        mut gaps: BTreeMap<ElementKind, KeySetDifference>,
        counted_at: &Bookmark,
    ) -> Result<(Vec<u64>, Vec<u64>)> {
        let (limit, allow) = (self.changes.limit, self.changes.allow_deletes);
        let (source, profile, guard) = (self.reader.source, self.reader.profile, &mut self.changes.memory.guard);
        weigh(&mut GuardContext { source, view: self.changes.view, profile, guard, limit, allow }, &mut gaps).await?;
        let mut wanted: Keys = gaps.iter().map(|(kind, gaps)| (*kind, keys(&gaps.missing))).collect();
        for (kind, keys) in follow(self.reader, &wanted).await? {
            wanted.entry(kind).or_default().extend(keys);
        }
        self.reader.repairs = true;
        self.reader.fetch(&wanted).await?;
        self.reader.repairs = false;
        for (kind, gaps) in &gaps {
            self.reader.delete_absent(*kind, gaps.orphaned.clone()).await?;
        }
        self.settle().await?;
        self.explain(kinds, &gaps, counted_at).await
    }

    /// Remembers the differences of counts that are explained. If the source has not moved on, every remaining difference is
    /// explained. If it has, counts say nothing about what is left: then a kind without gaps keeps its difference, unless it
    /// waits for a scan, and a kind with held deletes differs by what was not mended. Returns the current counts.
    async fn explain(
        &mut self,
        kinds: &[(ElementKind, i64)],
        gaps: &BTreeMap<ElementKind, KeySetDifference>,
        counted_at: &Bookmark,
    ) -> Result<(Vec<u64>, Vec<u64>)> {
        let (here, there) = self.counts().await?;
        let unmoved = self.bookmark().await? == *counted_at;
        let all = self.reader.profile.kinds();
        for (kind, before) in kinds {
            let Some((place, gaps)) = all.iter().position(|other| other == kind).zip(gaps.get(kind)) else { continue };
            let mended = gaps.orphaned.len() as i64 - gaps.missing.len() as i64;
            let is_untouched = gaps.orphaned.is_empty() && gaps.missing.is_empty();
            if unmoved {
                let rest = here[place].cast_signed() - there[place].cast_signed();
                self.tell_what_stands(*kind, rest);
                self.changes.memory.explain(*kind, rest);
            } else if (is_untouched && !self.changes.memory.is_unexplained(*kind)) || self.held(*kind) > 0 {
                self.changes.memory.explain(*kind, before + mended);
            }
        }
        Ok((here, there))
    }

    /// Logs a difference that stays. Elements that share a key make the rest positive; deletes that are held make it negative.
    fn tell_what_stands(&self, kind: ElementKind, rest: i64) {
        if !self.changes.memory.is_explained(kind, rest) {
            let (name, held) = (self.reader.profile.kind_name(kind), self.held(kind));
            tracing::info!(kind = name, quarantined = self.reader.listed(kind), held, rest, "counts differ by what stands");
        }
    }

    /// Counts the source, without what is listed as unusable, and the cache, in the order of the kinds.
    async fn counts(&mut self) -> Result<(Vec<u64>, Vec<u64>)> {
        let (source, view, exact) = (self.reader.source, &mut *self.changes.view, self.changes.thorough);
        let (mut here, there) = try_join(count_kinds(source, exact), view.counts()).await?;
        unusable::subtract(self.reader.profile, &self.reader.excluded, &mut here);
        Ok((here, there))
    }

    /// Counts as [`Self::counts`] does, after a read of elements that became unusable or usable and that no other step finds.
    async fn counts_of_usable(&mut self, pass: &PassUnderWay, late: bool, of_source: SourceCounts) -> Result<BothCounts> {
        let SourceCounts { kinds: mut here, unusable_labels } = of_source;
        let mut read = unusable::read_labelled(self.reader, self.changes.memory, unusable_labels).await?;
        read |= unusable::read_keyless(self.reader, std::mem::take(&mut self.without_key)).await?;
        if self.changes.thorough {
            read |= unusable::review_all(self.reader).await?;
        } else if late {
            read |= unusable::review(self.reader, self.changes.memory, pass.bookmark.as_ref()).await?;
        }
        if read {
            self.settle().await?;
            let (here, there) = self.counts().await?;
            return Ok(BothCounts { here, there, at: self.bookmark().await? });
        }
        let (source, view) = (self.reader.source, &mut *self.changes.view);
        let (there, at) = try_join(view.counts(), source.bookmark()).await?;
        unusable::subtract(self.reader.profile, &self.reader.excluded, &mut here);
        Ok(BothCounts { here, there, at })
    }

    async fn bookmark(&mut self) -> Result<Bookmark> {
        let source = self.reader.source;
        source.bookmark().await
    }
}

async fn count_kinds(source: &dyn Source, exact: bool) -> Result<Vec<u64>> {
    if exact { source.exact_counts().await } else { source.counts().await }
}

fn keys(identities: &BTreeSet<ElementIdentity>) -> BTreeSet<String> {
    identities.iter().map(|identity| identity.key().as_str().to_owned()).collect()
}
