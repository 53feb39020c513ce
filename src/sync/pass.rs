//! One pass: the strategy of its mode, and what every pass ends with.

use std::collections::{BTreeMap, BTreeSet};

use super::delete_guard::refuse_losses;
use super::keys::Keys;
use super::reader::{BatchLimits, PassReader};
use super::{Emitter, PassContext, committed, deferred, differential, full, incremental, mirror};
use crate::error::Result;
use crate::model::pass::{PassMode, PassUnderWay};
use crate::model::pass_outcome::PassOutcome;
use crate::model::profile::Profile;
use crate::source::Source;

/// Runs a pass from its current place to its end.
pub(crate) async fn run(
    source: &dyn Source,
    profile: &Profile,
    limits: BatchLimits,
    pass: PassUnderWay,
    changes: &mut PassContext<'_>,
    emit: &mut dyn Emitter,
) -> Result<PassOutcome> {
    let mut reader = PassReader {
        source,
        profile,
        limits,
        emit,
        duplicates: Keys::new(),
        repairs: false,
        keys_listed: 0,
        unresolved: BTreeSet::new(),
        encoder: changes.encoder,
        excluded: changes.excluded.clone(),
        notes_refused: pass.mode != PassMode::Full,
        refused: BTreeMap::new(),
        created: None,
        unkept: Keys::new(),
        is_told: changes.committed.is_some(),
        has_sent_nodes: false,
    };
    if changes.memory.knows_shared_nodes() {
        source.heed_shared_keys();
    }
    let deferred = pass.deferred.clone();
    let outcome = match pass.mode {
        PassMode::Full => {
            if !pass.prepared {
                refuse_losses(source, profile, changes).await?;
            }
            full::read(&mut reader, &pass).await?;
            changes.memory.begin_anew();
            PassOutcome::default()
        }
        PassMode::Incremental => read_changes(&mut reader, changes, &pass).await?,
        PassMode::Differential => differential::read(&mut reader, changes, &pass).await?,
    };
    mirror::send(&mut reader, changes.memory, pass.mode).await?;
    deferred::finish(&mut reader, &pass, deferred, outcome, changes).await
}

/// Reads what the feed told, or looks for changes. The feed tells a delete once, so deletes that are held or were approved are
/// found by what only the cache has. The same goes for what a client waits for, if it was committed before the feed began to
/// tell.
async fn read_changes(reader: &mut PassReader<'_>, changes: &mut PassContext<'_>, pass: &PassUnderWay) -> Result<PassOutcome> {
    let log_gap = changes.log_gap;
    let Some(told) = changes.committed else {
        return Ok(PassOutcome { log_gap, ..incremental::read(reader, changes, pass).await? });
    };
    let held_before = changes.memory.guard.holds_any();
    let outcome = committed::read(reader, changes, pass, told).await?;
    // What follows does not read around the nodes that it sends.
    reader.has_sent_nodes = false;
    let is_awaited = changes.thorough && log_gap.is_some();
    if !(changes.allow_deletes || is_awaited || held_before || changes.memory.guard.holds_any()) {
        return Ok(PassOutcome { is_told: true, log_gap, ..outcome });
    }
    let begun = PassUnderWay { prepared: true, ..pass.clone() };
    let found = incremental::read(reader, changes, &begun).await?;
    let look_again_soon = found.look_again_soon || outcome.look_again_soon;
    let more = found.more || outcome.more;
    Ok(PassOutcome { is_told: true, log_gap, look_again_soon, more, ..found })
}
