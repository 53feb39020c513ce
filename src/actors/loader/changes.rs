//! The reads and changes of a batch, as followers get them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::model::changes::{BatchChanges, CacheOperation};
use crate::model::kind::KindName;
use crate::model::pass::Cursor;
use crate::model::prepared::PreparedRows;
use crate::model::quarantined::Quarantined;
use crate::sink::ApplyResult;
use crate::telemetry::logging::AUDIT_TARGET;
use crate::transform::bulk::{BulkBatch, BulkPayload};

/// Counts what was read for a batch. If the batch holds several kinds, each counts by the rows left of it; if no row is left to
/// show the kind, the cursor of the pass shows it.
pub(super) fn read(rows: &PreparedRows, read: u64, cursor: Option<&Cursor>) -> BatchChanges {
    let nodes = rows.nodes.iter().map(|group| (group.label.as_str(), group.rows.len()));
    let relationships = rows.relationships.iter().map(|group| (group.rel_type.as_str(), group.rows.len()));
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for (kind, rows) in nodes.chain(relationships) {
        *kinds.entry(kind).or_default() += rows as u64;
    }
    let mut changes = BatchChanges::default();
    note_read(&mut changes, &kinds, read, cursor);
    changes
}

fn note_read(changes: &mut BatchChanges, kinds: &BTreeMap<&str, u64>, read: u64, cursor: Option<&Cursor>) {
    if kinds.len() > 1 {
        kinds.iter().for_each(|(kind, rows)| changes.note_read(kind, *rows));
    } else if let Some(kind) = kinds.keys().next().copied().or_else(|| cursor.map(|cursor| cursor.step.name())) {
        changes.note_read(kind, read);
    }
}

/// Adds the rows that the cache took. If a change feed told them, `created` are the keys that are new.
pub(super) fn note(changes: &mut BatchChanges, rows: &PreparedRows, applied: &ApplyResult, created: Option<&BTreeSet<String>>) {
    let refused: HashSet<(KindName<'_>, &str)> = applied.refused.iter().map(Quarantined::place).collect();
    let absent: HashSet<_> = applied.absent_endpoints.iter().collect();
    let mut written: BTreeMap<KindName<'_>, Vec<&str>> = BTreeMap::new();
    for group in &rows.nodes {
        let keys = group.rows.identities().iter().map(|key| key.as_str());
        written.entry(KindName::Label(group.label.as_str())).or_default().extend(keys);
    }
    for group in &rows.relationships {
        let there = group.rows.identities().iter().filter(|identity| !absent.contains(identity));
        written.entry(KindName::Type(group.rel_type.as_str())).or_default().extend(there.map(|identity| identity.key.as_str()));
    }
    for (kind, keys) in written {
        let taken = keys.into_iter().filter(|key| !refused.contains(&(kind, *key)));
        let Some(created) = created else {
            changes.note(kind.as_str(), CacheOperation::Written, taken);
            continue;
        };
        let (new, known): (Vec<&str>, Vec<&str>) = taken.partition(|key| created.contains(*key));
        changes.note(kind.as_str(), CacheOperation::Created, new);
        changes.note(kind.as_str(), CacheOperation::Updated, known);
    }
    // A delete of an absent element changes nothing.
    if applied.nodes_deleted + applied.relationships_deleted == 0 {
        return;
    }
    let mut deleted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in &rows.deleted_nodes {
        deleted.entry(node.label.as_str()).or_default().push(node.key.as_str());
    }
    for relationship in &rows.deleted_relationships {
        deleted.entry(relationship.rel_type.as_str()).or_default().push(relationship.key.as_str());
    }
    for (kind, keys) in deleted {
        changes.note(kind, CacheOperation::Deleted, keys);
    }
}

/// Counts what payloads load: nodes by label, and relationships by type. Payloads keep only the number of relationships.
pub(super) fn loaded(batch: &BulkBatch, read: u64, cursor: Option<&Cursor>) -> BatchChanges {
    let mut changes = BatchChanges::default();
    let mut nodes: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
    for node in batch.payloads.iter().flat_map(BulkPayload::nodes) {
        let (count, last) = nodes.entry(node.label.as_str()).or_default();
        *count += 1;
        *last = (*last).max(node.key.as_str());
    }
    let types = batch.types.iter().map(|(rel_type, number)| (rel_type.as_str(), *number));
    let kinds = nodes.iter().map(|(kind, (count, _))| (*kind, *count)).chain(types.clone()).collect();
    note_read(&mut changes, &kinds, read, cursor);
    for (kind, (count, last)) in nodes {
        changes.note_count(kind, count, Some(last));
    }
    for (kind, number) in types {
        let last = cursor.filter(|cursor| cursor.step.name() == kind).map(|cursor| cursor.after.as_str());
        changes.note_count(kind, number, last);
    }
    changes
}

/// Keys per line of the audit log.
const KEYS_A_LINE: usize = 100;

/// Logs a batch, and its changes in the audit log: by kind, number and key range, and deletes by key.
pub(super) fn log(changes: &BatchChanges, staged: bool) {
    if changes.is_empty() {
        return;
    }
    let count = |operation| -> u64 {
        changes.kinds.iter().filter(|change| change.operation == operation).map(|change| change.count).sum()
    };
    let read: u64 = changes.read.values().sum();
    let written = [CacheOperation::Written, CacheOperation::Created, CacheOperation::Updated].into_iter().map(count).sum::<u64>();
    let deleted = count(CacheOperation::Deleted);
    let seconds = changes.took.as_secs_f64();
    tracing::debug!(sequence = changes.sequence, read, written, deleted, seconds, staged, "batch applied");
    for change in &changes.kinds {
        let (kind, number, first, last) = (&change.kind, change.count, &change.first, &change.last);
        let operation = change.operation.word();
        let (sequence, transaction) = (changes.sequence, changes.transaction);
        tracing::info!(target: AUDIT_TARGET, sequence, transaction, operation, kind, number, first, last, staged, "cache changed");
        if change.operation == CacheOperation::Deleted {
            for keys in change.keys.chunks(KEYS_A_LINE) {
                tracing::info!(target: AUDIT_TARGET, sequence = changes.sequence, kind, keys = keys.join(" "), "deleted by key");
            }
        }
    }
}
