//! Elements that the cache cannot hold: this module finds those that became unusable or are usable again, lists them with their
//! reason, and removes their old state from the cache.
//!
//! Four signs lead to them:
//! - A row that a pass reads: the transformer refuses it, and the quarantine lists it.
//! - Counts: `source − listed` differs from the cache's count by something that the key sets do not explain.
//! - The count of a label that FalkorDB cannot express.
//! - A late check: listed elements are looked at again if something was committed since the last look.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::cache_view::CacheView;
use super::reader::PassReader;
use super::refusals::MAX_REFUSED;
use super::sweep::KeySetDifference;
use super::{Memory, PassContext};
use crate::error::Result;
use crate::model::bookmark::Bookmark;
use crate::model::element::{ElementIdentity, ElementNumber, NodeIdentity, Properties, property, property_text};
use crate::model::key::Key;
use crate::model::kind::{ElementKind, KindName, NodeKindId};
use crate::model::kind_rows::KindRows;
use crate::model::prepared::QuarantineReview;
use crate::model::profile::Profile;
use crate::model::projection::Projection;
use crate::model::quarantine_index::QuarantineIndex;
use crate::model::quarantined::{id_in_name, is_name_by_end, name_by_id};
use crate::source::KeyLookup;

/// Elements of a kind that are looked at in one go: enough to show what is wrong, and bounded.
pub(super) const LIMIT: usize = 1000;

/// Listed elements that are read at once: each may be listed because it is large.
const AT_ONCE: usize = 100;

/// Nodes of a kind that are read for one label. The comparison of key sets finds the rest.
const MAX_LABELLED: usize = 10_000;

/// Names of one kind that are looked at again once a node can be written: its relationships are among them. This many entries are
/// an alarm.
const MAX_FREED: usize = 10_000;

/// Names of one kind that are looked at again while a client waits: far more than a healthy graph has, and a second's work.
const MAX_AWAITED: usize = 10_000;

/// Reads nodes again if their labels changed to or from ones that FalkorDB cannot express. Returns whether there may be any.
pub(super) async fn read_labelled(
    reader: &mut PassReader<'_>,
    memory: &mut Memory,
    labels: BTreeMap<String, u64>,
) -> Result<bool> {
    let before = memory.unusable.labels.replace(labels.clone());
    // At the start of a generation nothing is known: listed elements and nodes with such a label are looked at once.
    let known = before.clone().unwrap_or_default();
    let names: BTreeSet<&String> = labels.keys().chain(known.keys()).collect();
    let changed: Vec<&String> =
        names.into_iter().filter(|name| before.is_none() || labels.get(*name) != known.get(*name)).collect();
    if changed.is_empty() {
        return Ok(false);
    }
    let source = reader.source;
    let mut carrying: BTreeMap<NodeKindId, BTreeSet<String>> = BTreeMap::new();
    for label in &changed {
        for (id, keys) in source.keys_with_label(label, MAX_LABELLED).await? {
            carrying.entry(id).or_default().extend(keys);
        }
    }
    for id in reader.profile.node_ids() {
        let kind = ElementKind::Node(id);
        let keys = carrying.remove(&id).unwrap_or_default();
        // Nodes that no longer carry the label are in the list.
        let listed = reader.excluded.names_of(reader.profile.name_of(kind), "", LIMIT);
        recheck(reader, kind, listed.into_iter().filter(|name| !keys.contains(name)).collect()).await?;
        reader.fetch_kind(kind, &keys.iter().cloned().collect::<Vec<_>>()).await?;
    }
    Ok(true)
}

/// Lists elements that turned out to have no key and are not listed yet. Returns whether there are any.
pub(super) async fn read_keyless(reader: &mut PassReader<'_>, found: BTreeSet<(ElementKind, ElementNumber)>) -> Result<bool> {
    let mut names: BTreeMap<ElementKind, Vec<String>> = BTreeMap::new();
    for (kind, number) in found {
        let name = name_by_id(number);
        if !reader.excluded.contains(reader.profile.name_of(kind), &name) {
            names.entry(kind).or_default().push(name);
        }
    }
    for (kind, names) in &names {
        recheck_ids(reader, *kind, names).await?;
    }
    Ok(!names.is_empty())
}

/// Looks again at all entries while a client waits: the commit may mend one without a trace. Returns whether there were any.
pub(super) async fn review_all(reader: &mut PassReader<'_>) -> Result<bool> {
    for kind in reader.profile.kinds() {
        let names = reader.excluded.names_of(reader.profile.name_of(kind), "", MAX_AWAITED);
        recheck(reader, kind, names).await?;
    }
    Ok(!reader.excluded.is_empty())
}

/// Looks again at listed elements, if something was committed since the last look. Returns whether it did.
pub(super) async fn review(reader: &mut PassReader<'_>, memory: &mut Memory, bookmark: Option<&Bookmark>) -> Result<bool> {
    if reader.excluded.is_empty() || memory.unusable.reviewed_at.as_ref() == bookmark {
        return Ok(false);
    }
    memory.unusable.reviewed_at = bookmark.cloned();
    for kind in reader.profile.kinds() {
        let after = memory.unusable.reviewed.remove(&kind).unwrap_or_default();
        let names = reader.excluded.names_of(reader.profile.name_of(kind), &after, LIMIT);
        if names.len() == LIMIT
            && let Some(last) = names.last()
        {
            memory.unusable.reviewed.insert(kind, last.clone());
        }
        recheck(reader, kind, names).await?;
    }
    Ok(true)
}

/// Looks at relationships that were refused because of their nodes, once such nodes have left the quarantine. Returns whether it
/// did.
pub(super) async fn follow_freed(reader: &mut PassReader<'_>, memory: &mut Memory) -> Result<bool> {
    let left = reader.excluded.nodes_left();
    if std::mem::replace(&mut memory.unusable.left, left) == left {
        return Ok(false);
    }
    for kind in reader.profile.relationship_ids().map(ElementKind::Relationship) {
        let names = reader.excluded.names_of(reader.profile.name_of(kind), "", MAX_FREED);
        recheck(reader, kind, names).await?;
    }
    Ok(true)
}

/// Completes the differences of the key sets: refused elements that the cache still holds are orphaned. If the gaps do not
/// explain by how much a kind differs, or deletes of the kind are held, its unusable elements are looked at. `counted_at` is the
/// bookmark at the time of the counts. Returns by how much each kind differs beyond what is listed by now.
pub(super) async fn complete(
    reader: &mut PassReader<'_>,
    changes: &mut PassContext<'_>,
    kinds: &[(ElementKind, i64)],
    gaps: &mut BTreeMap<ElementKind, KeySetDifference>,
    counted_at: &Bookmark,
) -> Result<Vec<(ElementKind, i64)>> {
    let listed_before: Vec<u64> = kinds.iter().map(|(kind, _)| reader.listed(*kind)).collect();
    for (kind, difference) in kinds {
        let Some(gaps) = gaps.get_mut(kind) else { continue };
        let explained = gaps.missing.len() as i64 - gaps.orphaned.len() as i64;
        if must_scan(reader, changes, *kind, difference - explained, counted_at).await? {
            scan(reader, changes.memory, *kind).await?;
        }
    }
    reader.settle().await?;
    for (kind, gaps) in gaps {
        gaps.orphaned.extend(refused_and_held(reader, changes.view, *kind).await?);
    }
    let left = kinds.iter().zip(listed_before).map(|((kind, difference), before)| {
        let newly_listed = reader.listed(*kind).cast_signed() - before.cast_signed();
        (*kind, difference - newly_listed)
    });
    Ok(left.collect())
}

/// Returns refused elements that the cache still holds in their old state.
pub(super) async fn refused_and_held(
    reader: &mut PassReader<'_>,
    view: &mut dyn CacheView,
    kind: ElementKind,
) -> Result<BTreeSet<ElementIdentity>> {
    let mut refused = reader.refused.remove(&kind).unwrap_or_default();
    refused.extend(without_graph(reader, kind));
    cached(view, kind, refused).await
}

/// Whether a kind is scanned for unusable elements: if its gaps do not explain by how much its counts differ (`rest`), or if
/// deletes of it are held.
async fn must_scan(
    reader: &mut PassReader<'_>,
    changes: &mut PassContext<'_>,
    kind: ElementKind,
    rest: i64,
    counted_at: &Bookmark,
) -> Result<bool> {
    let is_explained = changes.memory.is_explained(kind, rest);
    let reason = ScanReason {
        is_unexplained: !is_explained,
        is_found_again: changes.memory.note_unexplained(kind, (!is_explained).then_some(rest)),
        is_held: changes.memory.guard.held(&reader.profile.step(kind)) > 0,
    };
    let source = reader.source;
    match reason.weigh(changes.thorough, changes.memory.spares_scan(kind)) {
        ScanVerdict::Scan => Ok(true),
        ScanVerdict::Leave => Ok(false),
        ScanVerdict::ScanIfQuiet => Ok(source.bookmark().await? == *counted_at),
    }
}

/// The reasons for which a kind may have to be scanned.
#[derive(Debug, Clone, Copy, Default)]
struct ScanReason {
    /// The gaps do not explain by how much the counts differ.
    is_unexplained: bool,
    /// The sweep before left the same rest.
    is_found_again: bool,
    /// Deletes of the kind are held.
    is_held: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ScanVerdict {
    Scan,
    /// Scan only if nothing was committed since the counts.
    ScanIfQuiet,
    Leave,
}

impl ScanReason {
    /// Decides about a scan. Commits between the counts and the gaps leave a rest too, so a busy source is scanned only if two
    /// sweeps leave the same rest, and not in the pause after a scan. Neither condition applies while a client waits.
    fn weigh(self, is_awaited: bool, is_spared: bool) -> ScanVerdict {
        match self {
            Self { is_unexplained: false, is_held: false, .. } => ScanVerdict::Leave,
            _ if is_awaited => ScanVerdict::Scan,
            Self { is_found_again: true, .. } | Self { is_held: true, .. } if !is_spared => ScanVerdict::Scan,
            _ => ScanVerdict::ScanIfQuiet,
        }
    }
}

/// Returns nodes of groups for which the sink has found no graph: the graph of their old group must not hold them. Relationships
/// go with their ends.
fn without_graph(reader: &PassReader<'_>, kind: ElementKind) -> Vec<ElementIdentity> {
    let ElementKind::Node(id) = kind else { return Vec::new() };
    let label = &reader.profile.node(id).label;
    let keys = reader.excluded.keys_without_graph(KindName::Label(label.as_str()), MAX_REFUSED);
    let identity = |key: String| {
        let key = Key::parse(&key).ok()?;
        Some(ElementIdentity::Node(NodeIdentity { label: label.clone(), key }))
    };
    keys.into_iter().filter_map(identity).collect()
}

/// Lists the elements of a kind that are unusable now, and removes those from the list that are usable again.
pub(super) async fn scan(reader: &mut PassReader<'_>, memory: &mut Memory, kind: ElementKind) -> Result<()> {
    let source = reader.source;
    let begun = Instant::now();
    let rows = source.with_unusable_key(kind, LIMIT).await?;
    let found = numbers(&rows);
    memory.note_scanned(kind, begun.elapsed());
    let keys = own_keys(reader.profile, &rows);
    emit_with_key(reader, kind, rows).await?;
    let mut names = reader.excluded.names_of(reader.profile.name_of(kind), "", LIMIT);
    names.retain(|name| match id_in_name(name) {
        Some(number) => !found.contains(&number),
        None => !keys.contains(name),
    });
    recheck(reader, kind, names).await
}

/// Removes elements of a kind from the list that are usable or gone.
pub(super) async fn recheck_listed(reader: &mut PassReader<'_>, kind: ElementKind) -> Result<()> {
    let names = reader.excluded.names_of(reader.profile.name_of(kind), "", LIMIT);
    recheck(reader, kind, names).await
}

/// Reads elements again that are listed under these names. Elements that can be written are written, and names without an element
/// leave the list.
pub(super) async fn recheck(reader: &mut PassReader<'_>, kind: ElementKind, names: Vec<String>) -> Result<()> {
    let (by_id, keys): (Vec<_>, Vec<_>) =
        names.into_iter().filter(|name| !is_name_by_end(name)).partition(|name| id_in_name(name).is_some());
    recheck_ids(reader, kind, &by_id).await?;
    let mut left = &keys[..];
    while !left.is_empty() {
        let answered = recheck_keys(reader, kind, &left[..left.len().min(AT_ONCE)]).await?;
        left = &left[answered..];
    }
    Ok(())
}

async fn recheck_ids(reader: &mut PassReader<'_>, kind: ElementKind, names: &[String]) -> Result<()> {
    let source = reader.source;
    let mut left = names;
    while !left.is_empty() {
        let wanted: Vec<ElementNumber> = left.iter().take(LIMIT).filter_map(|name| id_in_name(name)).collect();
        reader.emit.reserve(wanted.len()).await?;
        let (rows, answered) = source.by_number(kind, &wanted).await?;
        // Every name has a number.
        let (names, after) = left.split_at(answered.clamp(1, left.len()));
        left = after;
        let there = numbers(&rows);
        let gone = names.iter().filter(|name| id_in_name(name).is_none_or(|number| !there.contains(&number)));
        reader.release(kind, gone.cloned().collect()).await?;
        emit_with_key(reader, kind, rows).await?;
    }
    Ok(())
}

/// Looks up listed keys again. Returns how many of the keys were looked up.
async fn recheck_keys(reader: &mut PassReader<'_>, kind: ElementKind, keys: &[String]) -> Result<usize> {
    let name = reader.profile.name_of(kind);
    reader.emit.reserve(keys.len()).await?;
    let key = reader.profile.key(kind).as_str();
    let KeyLookup { mut rows, keys: answered } = reader.source.by_key(kind, keys).await?;
    let there: BTreeSet<String> = rows.keys(reader.profile.key(kind)).flatten().map(str::to_owned).collect();
    // An element that an operator ignores is not tried again, but it leaves the list once it is gone.
    rows.retain(|properties| property_text(properties, key).is_some_and(|key| !reader.excluded.is_ignored(name, key)));
    reader.emit_answer(&keys[..answered], rows).await?;
    let gone = keys[..answered].iter().filter(|key| !there.contains(*key));
    reader.release(kind, gone.cloned().collect()).await?;
    Ok(answered)
}

/// Sends on rows that were found one by one. A row with a usable key is read by this key, together with all other rows of the
/// key: only together they show which of them is kept, and which of them the key names.
async fn emit_with_key(reader: &mut PassReader<'_>, kind: ElementKind, mut rows: KindRows) -> Result<()> {
    let keys = own_keys(reader.profile, &rows);
    rows.retain(|properties| usable_key(reader.profile, kind, properties).is_none());
    reader.emit_rows(rows).await?;
    reader.fetch_kind(kind, &Vec::from_iter(keys)).await
}

/// The keys of these rows that the cache can use.
fn own_keys(profile: &Profile, rows: &KindRows) -> BTreeSet<String> {
    rows.elements().filter_map(|(_, properties)| usable_key(profile, rows.kind(), properties)).collect()
}

fn usable_key(profile: &Profile, kind: ElementKind, properties: &Properties) -> Option<String> {
    Key::from_value(property(properties, profile.key(kind).as_str())).ok().map(String::from)
}

fn numbers(rows: &KindRows) -> BTreeSet<ElementNumber> {
    rows.elements().map(|(number, _)| number).collect()
}

/// Removes relationships that wait for a listed node from the missing elements of a sweep. They are listed with their number.
pub(super) async fn leave_out_waiting(reader: &mut PassReader<'_>, kind: ElementKind, gaps: &mut KeySetDifference) -> Result<()> {
    let mut waiting: BTreeMap<NodeIdentity, u64> = BTreeMap::new();
    gaps.missing.retain(|identity| {
        let end = match identity {
            ElementIdentity::Relationship(relationship) => reader.excluded.listed_end(relationship),
            ElementIdentity::Node(_) => None,
        };
        end.map(|end| *waiting.entry(end.clone()).or_default() += 1).is_none()
    });
    list_waiting(reader, kind, waiting).await.map(drop)
}

/// Lists all relationships of a kind that cannot be written before their end can. Returns whether there are any, or were.
pub(super) async fn list_waiting(
    reader: &mut PassReader<'_>,
    kind: ElementKind,
    waiting: BTreeMap<NodeIdentity, u64>,
) -> Result<bool> {
    let ElementKind::Relationship(id) = kind else { return Ok(false) };
    let name = reader.profile.name_of(kind);
    let were_listed = || reader.excluded.names_of(name, "", usize::MAX).iter().any(|name| is_name_by_end(name));
    if waiting.is_empty() && !were_listed() {
        return Ok(false);
    }
    let rel_type = reader.profile.relationship(id).rel_type.clone();
    reader
        .emit_review(QuarantineReview { waiting: BTreeMap::from([(rel_type, waiting)]), ..QuarantineReview::default() })
        .await?;
    Ok(true)
}

/// Returns the identities that the cache holds.
async fn cached(
    view: &mut dyn CacheView,
    kind: ElementKind,
    identities: BTreeSet<ElementIdentity>,
) -> Result<BTreeSet<ElementIdentity>> {
    let mut there = BTreeSet::new();
    let identities: Vec<ElementIdentity> = identities.into_iter().collect();
    for some in identities.chunks(LIMIT) {
        let keys: BTreeSet<&str> = some.iter().map(|identity| identity.key().as_str()).collect();
        let keys: Vec<String> = keys.into_iter().map(str::to_owned).collect();
        let mut left = &keys[..];
        while !left.is_empty() {
            let found = view.contents(kind, Projection::Key, left).await?;
            left = &left[found.keys..];
            there.extend(some.iter().filter(|identity| found.elements.contains_key(*identity)).cloned());
        }
    }
    Ok(there)
}

/// Subtracts the listed elements from counts of the source. The result is the number of elements that the cache has to have.
pub(super) fn subtract(profile: &Profile, excluded: &QuarantineIndex, counts: &mut [u64]) {
    if excluded.is_empty() {
        return;
    }
    for (count, kind) in counts.iter_mut().zip(profile.kinds()) {
        *count = count.saturating_sub(excluded.number_of(profile.name_of(kind)));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::name::{Label, RelationshipType};
    use crate::model::quarantined::Quarantined;

    fn node(key: &str) -> NodeIdentity {
        NodeIdentity { label: Label::parse("Entity").unwrap(), key: Key::parse(key).unwrap() }
    }

    #[test]
    fn a_busy_source_is_scanned_for_a_rest_that_two_sweeps_leave_and_not_in_the_pause_after_a_scan() {
        let rest = ScanReason { is_unexplained: true, ..ScanReason::default() };
        let again = ScanReason { is_found_again: true, ..rest };
        let held = ScanReason { is_held: true, ..ScanReason::default() };
        assert_eq!(ScanReason::default().weigh(true, false), ScanVerdict::Leave, "nothing is left to explain");
        assert_eq!(rest.weigh(false, false), ScanVerdict::ScanIfQuiet, "commits meanwhile may explain it");
        for reason in [again, held] {
            assert_eq!(reason.weigh(false, false), ScanVerdict::Scan);
            assert_eq!(reason.weigh(false, true), ScanVerdict::ScanIfQuiet, "in the pause");
        }
        for reason in [rest, again, held] {
            assert_eq!(reason.weigh(true, true), ScanVerdict::Scan, "a client waits");
        }
    }

    #[test]
    fn what_is_listed_is_taken_off_the_counts_of_its_kind() {
        let profile = Profile::graphiti().unwrap();
        let facts = RelationshipType::parse("RELATES_TO").unwrap();
        let property = Quarantined::new(KindName::Label("Entity"), "b", Some("p".to_owned()), "r");
        let entries =
            [Quarantined::new(KindName::Label("Entity"), "a", None, "r"), property, Quarantined::waiting(&facts, &node("a"), 7)];
        let mut counts: Vec<u64> = profile.kinds().iter().map(|_| 5).collect();
        subtract(&profile, &QuarantineIndex::of(&entries), &mut counts);
        let relationship = profile.nodes.len() + profile.relationship_kind(&facts).unwrap().0;
        assert_eq!((counts[0], counts[1], counts[relationship]), (4, 5, 0));
    }
}
