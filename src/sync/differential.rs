//! The differential pass: a slice of the comparison, and the repair of what it finds.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;

use super::comparison::{Comparison, ComparisonContext, ComparisonProgress, CompletedKind, look_again};
use super::delete_guard::{GuardContext, weigh};
use super::keys::Keys;
use super::reader::PassReader;
use super::sweep::KeySetDifference;
use super::{PassContext, SliceOrder, unusable};
use crate::error::Result;
use crate::model::comparison::{Difference, Finding, Verdict};
use crate::model::element::ElementIdentity;
use crate::model::kind::ElementKind;
use crate::model::pass::PassUnderWay;
use crate::model::pass_outcome::PassOutcome;
use crate::model::quarantined::QuarantineCause;
use crate::transform::comparison::COPIES;

/// The most findings that the log of one slice names; the rest is counted.
const NAMED: usize = 20;

/// Continues the comparison under way, or begins one.
pub(super) async fn read(reader: &mut PassReader<'_>, changes: &mut PassContext<'_>, pass: &PassUnderWay) -> Result<PassOutcome> {
    reader.begin(pass).await?;
    reader.emit.settle().await?;
    let mut comparison = under_way(reader, changes).await?;
    let SliceOrder { rows, ordered, .. } = changes.slice;
    let spared = if ordered { BTreeSet::new() } else { changes.memory.spared_scans() };
    let ComparisonProgress { mut found, excluded, completed, waiting, is_over } =
        comparison.advance(&mut sides(reader, changes), rows, &spared).await?;
    for finding in found.iter().take(NAMED) {
        tracing::info!(%finding, "comparison found a difference");
    }
    if found.len() > NAMED {
        tracing::info!(more = found.len() - NAMED, "differences");
    }
    let (refused, waits): (Vec<Finding>, Vec<Finding>) = excluded.into_iter().partition(|finding| is_refused(changes, finding));
    found.extend(refused.iter().filter(|finding| !is_ignored(changes, finding)).cloned());
    let gaps = completed
        .iter()
        .map(|CompletedKind { kind, is_cut, .. }| (*kind, KeySetDifference { more: *is_cut, ..KeySetDifference::default() }));
    repair(reader, changes, found, gaps.collect()).await?;
    try_again(reader, changes, &mut comparison, refused, waits).await?;
    for (kind, waiting) in waiting {
        unusable::list_waiting(reader, kind, waiting).await?;
    }
    // Elements that no page reaches are listed as well, and entries that are gone leave the list.
    for CompletedKind { kind, is_scanned, .. } in completed {
        if is_scanned {
            unusable::scan(reader, changes.memory, kind).await?
        } else {
            unusable::recheck_listed(reader, kind).await?
        }
    }
    let verdict = if is_over {
        reader.emit.settle().await?;
        Some(comparison.verdict(&mut sides(reader, changes)).await?)
    } else {
        changes.memory.keep_comparison(comparison);
        None
    };
    if verdict.is_some() && changes.allow_deletes {
        approve(reader, changes).await?;
    }
    // A held delete is a difference, even if this comparison did not reach it.
    let holds = changes.memory.guard.holds_any();
    let verdict = verdict.map(|verdict| Verdict { equal_as_of: verdict.equal_as_of.filter(|_| !holds), ..verdict });
    let log_gap = changes.log_gap.filter(|gap| !verdict.as_ref().is_some_and(|verdict| verdict.has_looked_past(*gap)));
    let comparison = changes.memory.comparison().cloned();
    Ok(PassOutcome { comparison, verdict, log_gap, ..PassOutcome::default() })
}

fn sides<'s>(reader: &'s PassReader<'_>, changes: &'s mut PassContext<'_>) -> ComparisonContext<'s> {
    ComparisonContext {
        source: reader.source,
        view: changes.view,
        encoder: changes.encoder,
        profile: reader.profile,
        excluded: changes.excluded,
    }
}

/// Whether the cache lacks the element because it refused the row, not because of an end.
fn is_refused(changes: &PassContext<'_>, finding: &Finding) -> bool {
    changes.excluded.cause_of(finding.identity.kind_name(), finding.identity.key().as_str()) == Some(QuarantineCause::Cache)
}

/// Whether an operator marked the entry as ignored, so that it is not tried again.
fn is_ignored(changes: &PassContext<'_>, finding: &Finding) -> bool {
    changes.excluded.is_ignored(finding.identity.kind_name(), finding.identity.key().as_str())
}

/// Elements that the cache lacked and that could be mended were differences after all; elements that it still lacks are excepted.
/// Rows that the cache had refused have been tried just now. A relationship that waits for an end is tried once the end is not
/// listed any more.
async fn try_again(
    reader: &mut PassReader<'_>,
    changes: &mut PassContext<'_>,
    comparison: &mut Comparison,
    refused: Vec<Finding>,
    waits: Vec<Finding>,
) -> Result<()> {
    let waits_still = |finding: &Finding| match &finding.identity {
        ElementIdentity::Relationship(relationship) => changes.excluded.listed_end(relationship).is_some(),
        ElementIdentity::Node(_) => true,
    };
    let (waiting, freed): (Vec<Finding>, Vec<Finding>) = waits.into_iter().partition(waits_still);
    comparison.except(&waiting);
    let (ignored, refused): (Vec<Finding>, Vec<Finding>) = refused.into_iter().partition(|finding| is_ignored(changes, finding));
    comparison.except(&ignored);
    if !freed.is_empty() {
        repair(reader, changes, freed.clone(), BTreeMap::new()).await?;
    }
    let tried: Vec<Finding> = refused.into_iter().chain(freed).collect();
    let left = look_again(&mut sides(reader, changes), &tried).await?;
    let lacking: BTreeSet<&ElementIdentity> = left.iter().map(|finding| &finding.identity).collect();
    let (lacking, mended): (Vec<Finding>, Vec<Finding>) =
        tried.into_iter().partition(|finding| lacking.contains(&finding.identity));
    comparison.except(&lacking);
    comparison.note_found(&mended);
    Ok(())
}

/// Takes the comparison under way, or begins one. A background comparison is no part of an ordered one, which covers everything;
/// an ordered one also does the work of one in the background.
async fn under_way(reader: &mut PassReader<'_>, changes: &mut PassContext<'_>) -> Result<Comparison> {
    let SliceOrder { ordered, number, .. } = changes.slice;
    match changes.memory.take_comparison() {
        Some(mut comparison) if comparison.standing().ordered || !ordered => {
            comparison.tell_if_resumed();
            Ok(comparison)
        }
        _ => {
            let elements = observe(reader, changes).await?;
            Comparison::begin(reader.source, ordered, number, elements).await
        }
    }
}

/// Gives the guard the counts of both sides: without incremental passes, nothing else does. Returns the number of the source's
/// elements.
async fn observe(reader: &mut PassReader<'_>, changes: &mut PassContext<'_>) -> Result<u64> {
    let source = reader.source;
    let (here, there) = (source.counts().await?, changes.view.counts().await?);
    changes.memory.observe(reader.profile, &here, &there, Utc::now());
    Ok(here.iter().sum())
}

/// Mends what was found. `gaps` has the kinds that were looked through, so that no deletes are held of those without orphans.
async fn repair(
    reader: &mut PassReader<'_>,
    changes: &mut PassContext<'_>,
    found: Vec<Finding>,
    mut gaps: BTreeMap<ElementKind, KeySetDifference>,
) -> Result<()> {
    let mut keys = Keys::new();
    let mut copies = Vec::new();
    for Finding { kind, identity, difference } in found {
        match &difference {
            Difference::Orphaned => drop(gaps.entry(kind).or_default().orphaned.insert(identity)),
            Difference::Missing | Difference::Changed(_) => {
                if difference.is_of(COPIES) {
                    copies.push(identity.clone());
                }
                keys.entry(kind).or_default().insert(identity.key().as_str().to_owned());
            }
        }
    }
    let orphaned = gaps.values().any(|gaps| !gaps.orphaned.is_empty());
    let source = reader.source;
    if orphaned && source.counts().await?.iter().all(|count| *count == 0) {
        tracing::warn!("the source is empty");
    }
    reader.repairs = true;
    reader.delete_copies(&copies).await?;
    reader.fetch(&keys).await?;
    // The missing elements are in the cache when deletes are weighed.
    reader.settle().await?;
    let (limit, allow) = (changes.limit, changes.allow_deletes);
    let (guard, excluded) = (&mut changes.memory.guard, changes.excluded);
    let mut context =
        GuardContext { source: reader.source, view: changes.view, profile: reader.profile, guard, limit, allow, excluded };
    weigh(&mut context, &mut gaps).await?;
    for (kind, gaps) in gaps {
        reader.delete_absent(kind, gaps.orphaned).await?;
    }
    reader.repairs = false;
    Ok(())
}

/// Applies an operator's approval to what exists once everything was gone through.
async fn approve(reader: &mut PassReader<'_>, changes: &mut PassContext<'_>) -> Result<()> {
    reader.emit.settle().await?;
    let counts = changes.view.counts().await?;
    for (kind, count) in reader.profile.kinds().into_iter().zip(counts) {
        changes.memory.guard.approve(&reader.profile.step(kind), count, Utc::now());
    }
    Ok(())
}
