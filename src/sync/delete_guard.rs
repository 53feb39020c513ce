//! The delete guard: weighs deletes before they are sent, including relationships that go with a node.
//!
//! A kind is weighed by what would be left of it: the cache's count, plus the elements that are missing, minus the elements that
//! the source does not have. So a kind passes if all its elements are replaced by as many others.
//!
//! A list of deletes may be cut: only so many are listed at once. Weighed by such a list, a large loss would pass part by part. So
//! the source's count then says what would be left, because it includes the deletes that are not listed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::cache_view::AttachedCounts;
use super::cache_view::{CacheView, is_missing_graph};
use super::sweep::{self, KeySetDifference};
use super::{PassContext, unusable};
use crate::error::{Error, ErrorKind, Result};
use crate::model::element::ElementIdentity;
use crate::model::guard::{DeleteLimit, Guard, SAMPLE};
use crate::model::kind::{ElementKind, NodeKindId, RelationshipKindId, Step};
use crate::model::profile::Profile;
use crate::model::quarantine_index::QuarantineIndex;
use crate::source::Source;

/// The most nodes whose relationships one query counts.
const KEYS: usize = 1000;

/// Everything that the delete guard needs to weigh deletes.
pub(super) struct GuardContext<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) view: &'a mut dyn CacheView,
    pub(super) profile: &'a Profile,
    pub(super) guard: &'a mut Guard,
    pub(super) limit: DeleteLimit,
    /// Whether an operator has approved all deletes.
    pub(super) allow: bool,
    /// What the source counts and the cache cannot hold.
    pub(super) excluded: &'a QuarantineIndex,
}

/// Returns the kinds whose loss would need approval if the new graph replaced the live one, each with the number of elements that
/// it would lose. Both counts are by kind, in the order of [`Profile::kinds`].
pub(crate) fn losses(guard: &Guard, limit: DeleteLimit, profile: &Profile, live: &[u64], new: &[u64]) -> Vec<(Step, u64)> {
    let now = Utc::now();
    let loss = |(place, kind): (usize, ElementKind)| {
        let step = profile.step(kind);
        let (live, new) = (live[place], new[place]);
        guard.holds(limit, &step, live, new, now).then(|| (step, live.saturating_sub(new)))
    };
    profile.kinds().into_iter().enumerate().filter_map(loss).collect()
}

/// Refuses a full pass in the graph itself, which empties the graph before it reads, if it would cost more than may go without
/// approval. A stage is weighed in the same way before it replaces a graph.
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
    let message = format!(
        "the full sync would delete {number} of {}; approve it with --allow-deletes or POST /api/sync/approve",
        step.name()
    );
    Err(Error::new(ErrorKind::SwapRefused, message))
}

/// Removes from the gaps the deletes that have to wait for an approval, and notes them. The gaps are those of all kinds that were
/// looked through.
pub(super) async fn weigh(context: &mut GuardContext<'_>, gaps: &mut BTreeMap<ElementKind, KeySetDifference>) -> Result<()> {
    let now = Utc::now();
    let mut held: BTreeMap<ElementKind, BTreeSet<ElementIdentity>> = gaps.keys().map(|kind| (*kind, BTreeSet::new())).collect();
    let (mut remaining, mut shrinking) = (None, BTreeSet::new());
    let has_orphans = |gaps: &KeySetDifference| !gaps.orphaned.is_empty();
    let weighed: BTreeSet<ElementKind> = gaps.iter().filter(|(_, gaps)| has_orphans(gaps)).map(|(kind, _)| *kind).collect();
    if !context.allow && !weighed.is_empty() {
        let view = &mut *context.view;
        let cache = view.counts().await?;
        let source = if gaps.values().any(|gaps| gaps.more) {
            Some(expected_counts(context.source, context.profile, context.excluded).await?)
        } else {
            None
        };
        let counted = Remaining { kinds: context.profile.kinds(), cache, source };
        shrinking = self::shrinking(context, gaps, &counted, now).await?;
        remaining = Some(counted);
        for (kind, gaps) in gaps.iter_mut() {
            let waits = waiting(context, *kind, gaps, &shrinking).await?;
            gaps.orphaned.retain(|identity| !waits.contains(identity));
            held.insert(*kind, waits);
        }
    }
    for (kind, waits) in held {
        let is_cut = gaps.get(&kind).is_some_and(|gaps| gaps.more);
        if is_cut && !context.allow && !weighed.contains(&kind) {
            // What is not listed may still wait.
            continue;
        }
        let listed = waits.len() as u64;
        let number = match &remaining {
            Some(remaining) if is_cut && shrinking.contains(&kind) => remaining.loss(kind).max(listed),
            _ => listed,
        };
        note(context, kind, &waits, number, now);
    }
    Ok(())
}

/// The number of elements of each kind that the cache would have if it were in step.
async fn expected_counts(source: &dyn Source, profile: &Profile, excluded: &QuarantineIndex) -> Result<Vec<u64>> {
    let mut counts = source.exact_counts().await?;
    unusable::subtract(profile, excluded, &mut counts);
    Ok(counts)
}

/// The number of elements of each kind, in the order of [`Profile::kinds`].
struct Remaining {
    kinds: Vec<ElementKind>,
    cache: Vec<u64>,
    /// Absent if the lists of deletes are whole.
    source: Option<Vec<u64>>,
}

impl Remaining {
    fn place(&self, kind: ElementKind) -> Option<usize> {
        self.kinds.iter().position(|known| *known == kind)
    }

    /// The cache's elements of a kind.
    fn count(&self, kind: ElementKind) -> u64 {
        self.place(kind).map_or(0, |place| self.cache[place])
    }

    /// What is left of a kind once these differences are mended.
    fn after(&self, kind: ElementKind, gaps: &KeySetDifference) -> u64 {
        let left = (self.count(kind) + gaps.missing.len() as u64).saturating_sub(gaps.orphaned.len() as u64);
        if gaps.more { self.in_the_end(kind, left) } else { left }
    }

    /// What is left of a kind of relationships after nodes take so many along. The nodes that are not listed take more.
    fn without(&self, kind: ElementKind, gone: u64) -> u64 {
        self.in_the_end(kind, self.count(kind).saturating_sub(gone))
    }

    fn in_the_end(&self, kind: ElementKind, listed: u64) -> u64 {
        match (&self.source, self.place(kind)) {
            (Some(source), Some(place)) => listed.min(source[place]),
            _ => listed,
        }
    }

    /// By how much a kind would shrink, including what is not listed.
    fn loss(&self, kind: ElementKind) -> u64 {
        let count = self.count(kind);
        count - self.in_the_end(kind, count)
    }
}

/// Returns the kinds that would lose too much.
async fn shrinking(
    context: &mut GuardContext<'_>,
    gaps: &BTreeMap<ElementKind, KeySetDifference>,
    remaining: &Remaining,
    now: DateTime<Utc>,
) -> Result<BTreeSet<ElementKind>> {
    let holds = |guard: &Guard, kind: ElementKind, left: u64| {
        guard.holds(context.limit, &context.profile.step(kind), remaining.count(kind), left, now)
    };
    let shrinking = gaps.iter().filter(|(kind, gaps)| holds(context.guard, **kind, remaining.after(**kind, gaps)));
    let mut shrinking: BTreeSet<ElementKind> = shrinking.map(|(kind, _)| *kind).collect();
    let mut going: BTreeMap<RelationshipKindId, u64> = BTreeMap::new();
    for (kind, gaps) in gaps {
        let ElementKind::Node(id) = kind else { continue };
        if !shrinking.contains(kind) {
            for (_, types) in attached(context.view, *id, &gaps.orphaned).await? {
                types.into_iter().for_each(|(rel_type, number)| *going.entry(rel_type).or_default() += number);
            }
        }
    }
    for (id, number) in going {
        let kind = ElementKind::Relationship(id);
        if gaps.contains_key(&kind) || !holds(context.guard, kind, remaining.without(kind, number)) {
            continue;
        }
        // Other elements may be about to replace them: only the key sets show that.
        let found = sweep::find(context.source, context.view, kind, None).await?;
        if holds(context.guard, kind, remaining.after(kind, &found)) {
            shrinking.insert(kind);
        }
    }
    Ok(shrinking)
}

/// Returns the deletes of a kind that have to wait: all of them if the kind would lose too much; otherwise the nodes that would
/// take relationships of such a kind along.
async fn waiting(
    context: &mut GuardContext<'_>,
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
    let attached = attached(context.view, id, &gaps.orphaned).await?;
    let takes = |types: &BTreeMap<RelationshipKindId, u64>| {
        types.keys().any(|rel_type| shrinking.contains(&ElementKind::Relationship(*rel_type)))
    };
    let waits = |identity: &&ElementIdentity| attached.get(identity.key().as_str()).is_some_and(takes);
    Ok(gaps.orphaned.iter().filter(waits).cloned().collect())
}

async fn attached(view: &mut dyn CacheView, kind: NodeKindId, nodes: &BTreeSet<ElementIdentity>) -> Result<AttachedCounts> {
    let keys: Vec<String> = nodes.iter().map(|identity| identity.key().as_str().to_owned()).collect();
    let mut attached = AttachedCounts::new();
    for keys in keys.chunks(KEYS) {
        attached.extend(view.attached(kind, keys).await?);
    }
    Ok(attached)
}

fn note(context: &mut GuardContext<'_>, kind: ElementKind, waits: &BTreeSet<ElementIdentity>, number: u64, now: DateTime<Utc>) {
    let step = context.profile.step(kind);
    let sample: Vec<String> = waits.iter().take(SAMPLE).map(|identity| identity.key().to_string()).collect();
    if context.guard.hold(&step, number, sample.clone(), now) {
        if number > 0 {
            tracing::warn!(kind = step.name(), number, ?sample, "deletes held: waiting for approval");
        } else {
            tracing::info!(kind = step.name(), "no more deletes held");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::element::NodeIdentity;
    use crate::model::key::Key;
    use crate::model::name::Label;

    const KIND: ElementKind = ElementKind::Node(NodeKindId(0));

    fn remaining(cache: u64, source: Option<u64>) -> Remaining {
        Remaining { kinds: vec![KIND], cache: vec![cache], source: source.map(|count| vec![count]) }
    }

    fn gaps(missing: u64, orphaned: u64, more: bool) -> KeySetDifference {
        let node = |number: u64| {
            let (label, key) = (Label::parse("Entity").unwrap(), Key::parse(&number.to_string()).unwrap());
            ElementIdentity::Node(NodeIdentity { label, key })
        };
        let (missing, orphaned) = ((0..missing).map(node).collect(), (1_000..1_000 + orphaned).map(node).collect());
        KeySetDifference { missing, orphaned, more, ..KeySetDifference::default() }
    }

    #[test]
    fn what_is_not_listed_counts_as_lost() {
        let counted = remaining(1_000, Some(400));
        assert_eq!((counted.after(KIND, &gaps(0, 50, true)), counted.loss(KIND)), (400, 600));
        assert_eq!(counted.after(KIND, &gaps(0, 50, false)), 950, "the list is whole");
        assert_eq!(counted.without(KIND, 50), 400);
        assert_eq!(remaining(1_000, None).without(KIND, 50), 950);
    }

    #[test]
    fn a_kind_whose_elements_are_replaced_loses_nothing() {
        let replaced = remaining(1_000, Some(1_000));
        assert_eq!((replaced.after(KIND, &gaps(50, 50, true)), replaced.loss(KIND)), (1_000, 0));
        assert_eq!(remaining(1_000, Some(1_200)).after(KIND, &gaps(0, 50, true)), 950, "what is missing may be on its way");
    }
}
