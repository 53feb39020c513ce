//! The differential pass: a slice of the comparison, and the repair of what it finds.

use std::collections::BTreeMap;

use chrono::Utc;

use super::comparison::{Advance, Comparison, Sides};
use super::follow::Keys;
use super::guard::{Scales, weigh};
use super::reader::Reader;
use super::sweep::Gaps;
use super::{Changes, PassOutcome, Slice, unusable};
use crate::error::Result;
use crate::model::comparison::{Difference, Finding, Verdict};
use crate::model::element::ElementKind;
use crate::model::pass::{PassUnderWay, Step};
use crate::repeat;
use crate::transform::comparison::COPIES;

/// Findings named in the log of one slice; the rest is counted.
const NAMED: usize = 20;

/// Goes on with the comparison under way, or begins one.
pub(super) async fn read(reader: &mut Reader<'_>, changes: &mut Changes<'_>, pass: &PassUnderWay) -> Result<PassOutcome> {
    reader.begin(pass).await?;
    reader.emit.settle().await?;
    let mut comparison = under_way(reader, changes).await?;
    let mut sides = Sides {
        source: reader.source,
        view: changes.view,
        encoder: changes.encoder,
        profile: reader.profile,
        excluded: changes.excluded,
    };
    let Advance { found, excluded, completed, verdict } = comparison.advance(&mut sides, changes.slice.rows).await?;
    if verdict.is_none() {
        changes.memory.keep_comparison(comparison);
    }
    for finding in found.iter().take(NAMED) {
        tracing::info!(%finding, "difference");
    }
    if found.len() > NAMED {
        tracing::info!(more = found.len() - NAMED, "differences");
    }
    // What could not be held may have changed since.
    repair(reader, changes, found.into_iter().chain(excluded).collect(), &completed).await?;
    // What no page meets is listed as well, and what is listed is still there.
    for kind in &completed {
        unusable::look(reader, *kind).await?;
    }
    if verdict.is_some() && changes.allow_deletes {
        approve(reader, changes).await?;
    }
    // What waits for a person differs, even if it was not met this time.
    let holds = changes.memory.guard.holds_any();
    let verdict = verdict.map(|verdict| Verdict { equal_as_of: verdict.equal_as_of.filter(|_| !holds), ..verdict });
    Ok(PassOutcome { verdict, ..PassOutcome::default() })
}

/// One that runs in the background is no part of one that somebody ordered, which is about everything; the other way round it
/// is done with it.
async fn under_way(reader: &mut Reader<'_>, changes: &mut Changes<'_>) -> Result<Comparison> {
    let Slice { ordered, number, .. } = changes.slice;
    match changes.memory.take_comparison() {
        Some(mut comparison) if comparison.standing().ordered || !ordered => {
            comparison.tell_if_resumed();
            Ok(comparison)
        }
        _ => {
            observe(reader, changes).await?;
            Comparison::begin(reader.source, ordered, number).await
        }
    }
}

/// Where no incremental passes run, nobody else tells the guard how many there are.
async fn observe(reader: &mut Reader<'_>, changes: &mut Changes<'_>) -> Result<()> {
    let source = reader.source;
    let (here, there) = (repeat!(source.counts())?, repeat!(changes.view.counts())?);
    changes.memory.observe(reader.profile, &here, &there, Utc::now());
    Ok(())
}

async fn repair(
    reader: &mut Reader<'_>,
    changes: &mut Changes<'_>,
    found: Vec<Finding>,
    completed: &[ElementKind],
) -> Result<()> {
    let mut keys = Keys::new();
    let mut copies = Vec::new();
    let mut gaps: BTreeMap<ElementKind, Gaps> = completed.iter().map(|kind| (*kind, Gaps::default())).collect();
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
    if orphaned && repeat!(source.counts())?.iter().all(|count| *count == 0) {
        tracing::warn!("the source is empty");
    }
    reader.repairs = true;
    reader.delete_copies(&copies).await?;
    reader.fetch(&keys).await?;
    // What was missing is there when deletes are weighed.
    super::deferred::settle(reader).await?;
    let (limit, allow) = (changes.limit, changes.allow_deletes);
    let guard = &mut changes.memory.guard;
    let mut scales = Scales { source: reader.source, view: changes.view, profile: reader.profile, guard, limit, allow };
    weigh(&mut scales, &mut gaps).await?;
    for (kind, gaps) in gaps {
        reader.delete_absent(kind, gaps.orphaned).await?;
    }
    reader.repairs = false;
    Ok(())
}

/// A person's word holds for what there is once everything was gone through.
async fn approve(reader: &mut Reader<'_>, changes: &mut Changes<'_>) -> Result<()> {
    reader.emit.settle().await?;
    let counts = repeat!(changes.view.counts())?;
    for (kind, count) in reader.profile.kinds().into_iter().zip(counts) {
        changes.memory.guard.approve(&Step::of(reader.profile, kind), count, Utc::now());
    }
    Ok(())
}
