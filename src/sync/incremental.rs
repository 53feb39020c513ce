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

mod awaited;
mod swept;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::{try_join, try_join_all, try_join3};

use super::PassContext;
use super::follow::follow;
use super::keys::Keys;
use super::labels;
use super::memory::{CountVerdict, PassTime, overlap_begin};
use super::reader::PassReader;
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
