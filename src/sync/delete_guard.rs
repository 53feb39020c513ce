//! The delete guard: what is to be deleted is weighed before it is sent, relationships that go with a node included.
//!
//! A kind is weighed by what would be left of it: so many as the cache has, with what is missing written and what the source
//! does not have deleted. So a kind passes if all its elements are replaced by as many others.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::PassContext;
use super::cache_view::Attached;
use super::cache_view::{CacheView, is_missing_graph};
use super::sweep::{self, KeySetDifference};
use crate::error::{Error, ErrorKind, Result};
use crate::model::element::ElementIdentity;
use crate::model::guard::{DeleteLimit, Guard, SAMPLE};
use crate::model::kind::{ElementKind, NodeKindId, RelationshipKindId, Step};
use crate::model::profile::Profile;
use crate::source::Source;

/// Nodes that are asked about at once.
const KEYS: usize = 1000;

/// What deletes are weighed with.
pub(super) struct GuardContext<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) view: &'a mut dyn CacheView,
    pub(super) profile: &'a Profile,
    pub(super) guard: &'a mut Guard,
    pub(super) limit: DeleteLimit,
    /// Whether a person has let all of it through.
    pub(super) allow: bool,
}

/// Losses of kinds that a graph in the place of another would bring, beyond what may go without a person's word. Both counts are
/// by kind, in the order of [`Profile::kinds`].
pub(crate) fn losses(guard: &Guard, limit: DeleteLimit, profile: &Profile, live: &[u64], new: &[u64]) -> Vec<(Step, u64)> {
    let now = Utc::now();
    let loss = |(place, kind): (usize, ElementKind)| {
        let step = profile.step(kind);
        let (live, new) = (live[place], new[place]);
        guard.holds(limit, &step, live, new, now).then(|| (step, live.saturating_sub(new)))
    };
    profile.kinds().into_iter().enumerate().filter_map(loss).collect()
}

/// A full pass in the graph itself empties it before it reads. It does not begin where that would cost more than may go without a
/// person's word; a stage is weighed by the same before it takes a graph's place.
pub(super) async fn refuse_losses(source: &dyn Source, profile: &Profile, changes: &mut PassContext<'_>) -> Result<()> {
    if changes.allow_deletes {
        return Ok(());
    }
    let view = &mut *changes.view;
    let there = match view.counts().await {
        Ok(counts) => counts,
        Err(error) if is_missing_graph(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    let here = source.counts().await?;
    let losses = losses(&changes.memory.guard, changes.limit, profile, &there, &here);
    let Some((step, number)) = losses.first().filter(|(_, number)| *number > 0) else { return Ok(()) };
    let message =
        format!("the graph would lose {number} of {}; let it with --allow-deletes or POST /api/sync/approve", step.name());
    Err(Error::new(ErrorKind::SwapRefused, message))
}

/// Takes out of what is to be deleted what has to wait for a person, and notes it. The gaps are those of all kinds that were
/// looked through.
pub(super) async fn weigh(scales: &mut GuardContext<'_>, gaps: &mut BTreeMap<ElementKind, KeySetDifference>) -> Result<()> {
    let now = Utc::now();
    let mut held: BTreeMap<ElementKind, BTreeSet<ElementIdentity>> = gaps.keys().map(|kind| (*kind, BTreeSet::new())).collect();
    if !scales.allow && gaps.values().any(|gaps| !gaps.orphaned.is_empty()) {
        let view = &mut *scales.view;
        let counts = view.counts().await?;
        let shrinking = shrinking(scales, gaps, &counts, now).await?;
        for (kind, gaps) in gaps.iter_mut() {
            let waits = waiting(scales, *kind, gaps, &shrinking).await?;
            gaps.orphaned.retain(|identity| !waits.contains(identity));
            held.insert(*kind, waits);
        }
    }
    for (kind, waits) in held {
        note(scales, kind, &waits, now);
    }
    Ok(())
}

/// Kinds that would lose too much.
async fn shrinking(
    scales: &mut GuardContext<'_>,
    gaps: &BTreeMap<ElementKind, KeySetDifference>,
    counts: &[u64],
    now: DateTime<Utc>,
) -> Result<BTreeSet<ElementKind>> {
    let kinds = scales.profile.kinds();
    let count = |kind: ElementKind| kinds.iter().position(|known| *known == kind).map_or(0, |place| counts[place]);
    let holds = |guard: &Guard, kind: ElementKind, left: u64| {
        guard.holds(scales.limit, &scales.profile.step(kind), count(kind), left, now)
    };
    let left = |kind: ElementKind, gaps: &KeySetDifference| {
        (count(kind) + gaps.missing.len() as u64).saturating_sub(gaps.orphaned.len() as u64)
    };
    let mut shrinking: BTreeSet<ElementKind> =
        gaps.iter().filter(|(kind, gaps)| holds(scales.guard, **kind, left(**kind, gaps))).map(|(kind, _)| *kind).collect();
    let mut going: BTreeMap<RelationshipKindId, u64> = BTreeMap::new();
    for (kind, gaps) in gaps {
        let ElementKind::Node(id) = kind else { continue };
        if !shrinking.contains(kind) {
            for (_, types) in attached(scales.view, *id, &gaps.orphaned).await? {
                types.into_iter().for_each(|(rel_type, number)| *going.entry(rel_type).or_default() += number);
            }
        }
    }
    for (id, number) in going {
        let kind = ElementKind::Relationship(id);
        if gaps.contains_key(&kind) || !holds(scales.guard, kind, count(kind).saturating_sub(number)) {
            continue;
        }
        // Others may be about to take their place: only the key sets tell.
        let found = sweep::find(scales.source, scales.view, kind, None).await?;
        if holds(scales.guard, kind, left(kind, &found)) {
            shrinking.insert(kind);
        }
    }
    Ok(shrinking)
}

/// What is to be deleted of a kind and has to wait: all of it if the kind would lose too much; else nodes that would take
/// relationships with them whose kind would.
async fn waiting(
    scales: &mut GuardContext<'_>,
    kind: ElementKind,
    gaps: &KeySetDifference,
    shrinking: &BTreeSet<ElementKind>,
) -> Result<BTreeSet<ElementIdentity>> {
    if shrinking.contains(&kind) {
        return Ok(gaps.orphaned.clone());
    }
    let ElementKind::Node(id) = kind else { return Ok(BTreeSet::new()) };
    if !shrinking.iter().any(|kind| matches!(kind, ElementKind::Relationship(_))) {
        return Ok(BTreeSet::new());
    }
    let attached = attached(scales.view, id, &gaps.orphaned).await?;
    let takes = |types: &BTreeMap<RelationshipKindId, u64>| {
        types.keys().any(|rel_type| shrinking.contains(&ElementKind::Relationship(*rel_type)))
    };
    let waits = |identity: &&ElementIdentity| attached.get(identity.key().as_str()).is_some_and(takes);
    Ok(gaps.orphaned.iter().filter(waits).cloned().collect())
}

async fn attached(view: &mut dyn CacheView, kind: NodeKindId, nodes: &BTreeSet<ElementIdentity>) -> Result<Attached> {
    let keys: Vec<String> = nodes.iter().map(|identity| identity.key().as_str().to_owned()).collect();
    let mut attached = Attached::new();
    for keys in keys.chunks(KEYS) {
        attached.extend(view.attached(kind, keys).await?);
    }
    Ok(attached)
}

fn note(scales: &mut GuardContext<'_>, kind: ElementKind, waits: &BTreeSet<ElementIdentity>, now: DateTime<Utc>) {
    let step = scales.profile.step(kind);
    let sample: Vec<String> = waits.iter().take(SAMPLE).map(|identity| identity.key().to_string()).collect();
    let number = waits.len() as u64;
    if scales.guard.hold(&step, number, sample.clone(), now) {
        if number > 0 {
            tracing::warn!(kind = step.name(), number, ?sample, "deletes held: they wait for an approval");
        } else {
            tracing::info!(kind = step.name(), "no deletes held any more");
        }
    }
}
