//! The differential pass: a slice of the comparison, and the repair of what it finds.

use std::collections::{BTreeMap, BTreeSet};

use super::comparison::{Comparison, Difference, Finding, Sides};
use super::follow::Keys;
use super::reader::Reader;
use super::{Changes, PassOutcome};
use crate::error::Result;
use crate::model::element::{ElementIdentity, ElementKind};
use crate::model::pass::PassUnderWay;

/// Findings named in the log of one slice; the rest is counted.
const NAMED: usize = 20;

/// Goes on with the comparison of this generation, or begins one.
pub(super) async fn read(
    reader: &mut Reader<'_>,
    changes: &mut Changes<'_>,
    pass: &PassUnderWay,
    rows: usize,
) -> Result<PassOutcome> {
    reader.begin(pass).await?;
    reader.emit.settle().await?;
    let mut comparison = match changes.memory.take_comparison() {
        Some(comparison) => comparison,
        None => Comparison::begin(reader.source, reader.profile).await?,
    };
    let mut sides = Sides { source: reader.source, view: changes.view, encoder: changes.encoder, profile: reader.profile };
    let (found, verdict) = comparison.advance(&mut sides, rows).await?;
    if verdict.is_none() {
        changes.memory.keep_comparison(comparison);
    }
    repair(reader, found).await?;
    Ok(PassOutcome { verdict, ..PassOutcome::default() })
}

async fn repair(reader: &mut Reader<'_>, found: Vec<Finding>) -> Result<()> {
    for finding in found.iter().take(NAMED) {
        tracing::info!(%finding, "difference");
    }
    if found.len() > NAMED {
        tracing::info!(more = found.len() - NAMED, "differences");
    }
    let mut keys = Keys::new();
    let mut orphaned: BTreeMap<ElementKind, BTreeSet<ElementIdentity>> = BTreeMap::new();
    for Finding { kind, identity, difference } in found {
        match difference {
            Difference::Orphaned => drop(orphaned.entry(kind).or_default().insert(identity)),
            Difference::Missing | Difference::Changed(_) => {
                keys.entry(kind).or_default().insert(identity.key().as_str().to_owned());
            }
        }
    }
    reader.repairs = true;
    reader.fetch(&keys).await?;
    for (kind, identities) in orphaned {
        reader.delete_absent(kind, identities).await?;
    }
    reader.repairs = false;
    Ok(())
}
