//! The incremental pass: what changed since the last one, at a cost that follows the change and not the graph.
//!
//! 1. *Watermark*: rows whose timestamps say that they were written since the last pass began.
//! 2. *Follow*: what is written beside them without a trace.
//! 3. *Late commits*: rows of the overlap, by key, that no pass has read: their timestamp is older than their commit.
//! 4. *Counts*, and a *sweep* of the kinds that differ: deletes, and what has no timestamp.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

use super::follow::{Keys, follow};
use super::guard::{Scales, weigh};
use super::labels;
use super::memory::{Verdict, overlap_begin};
use super::reader::{Reader, StepKind};
use super::sweep::find;
use super::{Changes, PassOutcome};
use crate::error::Result;
use crate::model::element::{ElementIdentity, ElementKind};
use crate::model::pass::{PassUnderWay, Step};
use crate::repeat;
use crate::source::{ChangedKey, KeyPage, Source};

/// Clocks of the source's writers and of the source may differ a little.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(5);

/// Keys read at once: a key is some 40 bytes, so a page of them is small beside a batch of rows.
const KEY_PAGE: usize = 10_000;

/// A kind without timestamps of at most so many elements is swept at every late check, whatever the counts say: when all
/// communities are replaced by as many new ones, no count betrays it.
const SMALL_KIND: u64 = 1000;

pub(super) async fn read(reader: &mut Reader<'_>, changes: &mut Changes<'_>, pass: &PassUnderWay) -> Result<PassOutcome> {
    reader.begin(pass).await?;
    let now = Instant::now();
    let since = changes.watermark.unwrap_or(DateTime::UNIX_EPOCH) - CLOCK_TOLERANCE;
    let mut outcome = PassOutcome::default();
    let mut changed = Keys::new();
    for (step, after) in reader.steps_left(pass.cursor.as_ref()) {
        let (kind, step) = step.into_parts();
        read_watermark(reader, changes, kind, &step, since, after, now, &mut changed, &mut outcome).await?;
    }
    follow(reader, &changed).await?;
    let duplicates = changes.memory.take_duplicates();
    reader.fetch(&duplicates).await?;
    // After a time without passes, what was committed late then is older than the overlap of now.
    let read_up_to = changes.watermark.map_or(pass.began_at, |watermark| watermark.min(pass.began_at));
    let late = changes.memory.late_check_due(changes.rhythm, now);
    if late {
        let changed = read_late(reader, changes, overlap_begin(read_up_to, changes.rhythm), now).await?;
        follow(reader, &changed).await?;
    }
    read_counts(reader, changes, late, &mut outcome).await?;
    Ok(outcome)
}

#[allow(clippy::too_many_arguments)]
async fn read_watermark(
    reader: &mut Reader<'_>,
    changes: &mut Changes<'_>,
    kind: ElementKind,
    step: &Step,
    since: DateTime<Utc>,
    after: String,
    now: Instant,
    changed: &mut Keys,
    outcome: &mut PassOutcome,
) -> Result<()> {
    if reader.profile.timestamps(kind).is_empty() {
        return Ok(());
    }
    let mut next = Some(after);
    while let Some(after) = next {
        let page = changed_keys(reader.source, kind, since, &after).await?;
        let (read, spared): (Vec<_>, Vec<_>) =
            page.keys.into_iter().partition(|key| changes.thorough || changes.memory.must_read(kind, key, now));
        outcome.look_again |= !spared.is_empty();
        fetch_changed(reader, changes, kind, &read, Some(step), now, changed).await?;
        next = page.next;
    }
    Ok(())
}

/// Keys of the overlap that no pass of this generation has read.
async fn read_late(reader: &mut Reader<'_>, changes: &mut Changes<'_>, since: DateTime<Utc>, now: Instant) -> Result<Keys> {
    let mut changed = Keys::new();
    for kind in reader.profile.kinds() {
        let mut next = (!reader.profile.timestamps(kind).is_empty()).then(String::new);
        while let Some(after) = next {
            let page = changed_keys(reader.source, kind, since, &after).await?;
            let new: Vec<_> = page.keys.into_iter().filter(|key| changes.memory.is_new(kind, key)).collect();
            fetch_changed(reader, changes, kind, &new, None, now, &mut changed).await?;
            next = page.next;
        }
    }
    Ok(changed)
}

async fn changed_keys(source: &dyn Source, kind: ElementKind, since: DateTime<Utc>, after: &str) -> Result<KeyPage> {
    match kind {
        ElementKind::Node(id) => repeat!(source.changed_node_keys(id, since, after, KEY_PAGE)),
        ElementKind::Relationship(id) => repeat!(source.changed_relationship_keys(id, since, after, KEY_PAGE)),
    }
}

async fn fetch_changed(
    reader: &mut Reader<'_>,
    changes: &mut Changes<'_>,
    kind: ElementKind,
    keys: &[ChangedKey],
    step: Option<&Step>,
    now: Instant,
    changed: &mut Keys,
) -> Result<()> {
    let texts: Vec<String> = keys.iter().map(|changed| changed.key.clone()).collect();
    reader.fetch_kind(kind, &texts, step).await?;
    keys.iter().for_each(|key| changes.memory.note_read(kind, key, now));
    changed.entry(kind).or_default().extend(texts);
    Ok(())
}

/// Compares counts by kind, and sweeps what differs at two readings in a row.
async fn read_counts(reader: &mut Reader<'_>, changes: &mut Changes<'_>, late: bool, outcome: &mut PassOutcome) -> Result<()> {
    settle(reader).await?;
    let kinds = reader.profile.kinds();
    let source = reader.source;
    let (here, there) = (repeat!(source.counts())?, repeat!(changes.view.counts())?);
    changes.memory.observe(reader.profile, &here, &there, Utc::now());
    let mut sweeps = Vec::new();
    let mut nodes_agree = true;
    for (place, kind) in kinds.iter().enumerate() {
        let (here, there) = (here[place], there[place]);
        let small = late && reader.profile.timestamps(*kind).is_empty() && here.max(there) <= SMALL_KIND;
        let approved = changes.allow_deletes && changes.memory.guard.held(&Step::of(reader.profile, *kind)) > 0;
        let verdict = changes.memory.asks_for_sweep(*kind, here, there);
        nodes_agree &= verdict == Verdict::Agrees || matches!(kind, ElementKind::Relationship(_));
        match verdict {
            Verdict::Sweep => sweeps.push(*kind),
            _ if approved => sweeps.push(*kind),
            Verdict::LookAgain => outcome.look_again_soon = true,
            Verdict::Agrees if small => sweeps.push(*kind),
            Verdict::Agrees => {}
        }
    }
    if !sweeps.is_empty() {
        sweep(reader, changes, &sweeps).await?;
        // What differs after the sweep differs for a reason that stands.
        settle(reader).await?;
        let (here, there) = (repeat!(source.counts())?, repeat!(changes.view.counts())?);
        for (place, kind) in kinds.iter().enumerate().filter(|(_, kind)| sweeps.contains(kind)) {
            changes.memory.explain(*kind, here[place], there[place]);
        }
        if changes.allow_deletes {
            for (place, kind) in kinds.iter().enumerate() {
                changes.memory.guard.approve(&Step::of(reader.profile, *kind), there[place], Utc::now());
            }
        }
    }
    // Where nodes are too many or too few, so are their labels.
    if nodes_agree { labels::read(reader, changes, late, outcome).await } else { Ok(()) }
}

/// Waits until everything is applied, relationships included whose endpoints came after them.
async fn settle(reader: &mut Reader<'_>) -> Result<()> {
    let deferred = reader.emit.settle().await?;
    super::deferred::read_again(reader, &deferred).await?;
    reader.emit.settle().await.map(drop)
}

/// Finds what only one side has of these kinds, reads what is missing, and deletes what the guard lets go.
async fn sweep(reader: &mut Reader<'_>, changes: &mut Changes<'_>, kinds: &[ElementKind]) -> Result<()> {
    let mut gaps = BTreeMap::new();
    for kind in kinds {
        let found = find(reader.source, changes.view, *kind, None).await?;
        let (missing, orphaned) = (found.missing.len(), found.orphaned.len());
        if missing + orphaned > 0 {
            tracing::info!(kind = reader.profile.kind_name(*kind), missing, orphaned, "swept");
        }
        gaps.insert(*kind, found);
    }
    let (limit, allow) = (changes.limit, changes.allow_deletes);
    let guard = &mut changes.memory.guard;
    let mut scales = Scales { source: reader.source, view: changes.view, profile: reader.profile, guard, limit, allow };
    weigh(&mut scales, &mut gaps).await?;
    reader.fetch(&gaps.iter().map(|(kind, gaps)| (*kind, keys(&gaps.missing))).collect()).await?;
    for (kind, gaps) in gaps {
        reader.delete_absent(kind, gaps.orphaned).await?;
    }
    Ok(())
}

fn keys(identities: &BTreeSet<ElementIdentity>) -> BTreeSet<String> {
    identities.iter().map(|identity| identity.key().as_str().to_owned()).collect()
}

impl StepKind {
    fn into_parts(self) -> (ElementKind, Step) {
        match self {
            StepKind::Nodes(id, step) => (ElementKind::Node(id), step),
            StepKind::Relationships(id, step) => (ElementKind::Relationship(id), step),
        }
    }
}
