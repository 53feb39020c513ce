//! The quarantine of a graph: its new entries, its removed entries, and the log messages about them.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::Utc;

use super::Writer;
use crate::error::Result;
use crate::model::element::{NodeIdentity, RelationshipIdentity};
use crate::model::kind::KindName;
use crate::model::name::RelationshipType;
use crate::model::prepared::PreparedRows;
use crate::model::quarantined::{QuarantineCause, Quarantined, is_name, name_by_end};
use crate::sink::ApplyResult;
use crate::telemetry::status::QUARANTINE_ALARM;

/// The most entries of one kind and reason that the log names. The others are in the quarantine.
const NAMED: u32 = 20;

/// The log messages about a quarantine, so that each is logged once.
#[derive(Debug, Default)]
pub(super) struct QuarantineLog {
    /// Whether the log has the alarm about the size.
    alarmed: bool,
    /// The number of entries of a kind and reason so far.
    named: HashMap<(String, String), u32>,
}

/// Counts of relationships, by type and by the end that they wait for.
pub(super) type Waiting = BTreeMap<(RelationshipType, NodeIdentity), u64>;

impl Writer {
    /// Removes the relationships that lack an end because it is in the quarantine: they follow once it leaves, and another read
    /// would find no more.
    pub(super) fn take_waiting(&self, absent: &mut Vec<RelationshipIdentity>) -> Waiting {
        let mut waiting = Waiting::new();
        absent.retain(|identity| {
            let Some(end) = self.excluded.listed_end(identity) else { return true };
            *waiting.entry((identity.rel_type.clone(), end.clone())).or_default() += 1;
            false
        });
        waiting
    }

    /// Returns the entries about elements that these rows write, unless the rows list them again.
    pub(super) fn healed(&self, rows: &PreparedRows) -> Vec<Quarantined> {
        if self.quarantine.is_empty() {
            return Vec::new();
        }
        let nodes = rows
            .nodes
            .iter()
            .flat_map(|g| g.rows.identities().iter().map(|key| (KindName::Label(g.label.as_str()), key.as_str())));
        let relationships = rows.relationships.iter().flat_map(|g| g.rows.identities().iter().map(relationship_place));
        let written: HashSet<(KindName<'_>, &str)> = nodes.chain(relationships).collect();
        // If the key of an element looks like a name by number, the entry of that name is about another element.
        let is_of_key = |entry: &Quarantined| !entry.is_of_element() || !is_name(&entry.key);
        let is_written = |entry: &&Quarantined| is_of_key(entry) && written.contains(&entry.place());
        self.quarantine.iter().filter(is_written).cloned().collect()
    }

    /// Removes entries of elements that are completely written by now or gone, and adds entries of what cannot be written.
    pub(super) async fn update_quarantine(
        &mut self,
        rows: &PreparedRows,
        applied: &ApplyResult,
        healed: Vec<Quarantined>,
        waiting: &Waiting,
    ) -> Result<()> {
        let mut added: Vec<Quarantined> = rows.quarantined.iter().chain(&applied.refused).cloned().collect();
        added.extend(waiting.iter().map(|((rel_type, end), number)| self.at_least(rel_type, end, *number)));
        for (rel_type, ends) in &rows.review.waiting {
            added.extend(ends.iter().map(|(end, number)| Quarantined::waiting(rel_type, end, *number)));
        }
        let lacks_an_end: HashSet<(KindName<'_>, &str)> = applied.absent_endpoints.iter().map(relationship_place).collect();
        let mut removed = healed;
        removed.retain(|entry| !lacks_an_end.contains(&entry.place()));
        removed.extend(self.outdated(rows, &added));
        self.add_to_quarantine(&added, &removed).await
    }

    /// Creates an entry for relationships that wait for an end. A batch knows only some of them; a known entry may have a higher
    /// number.
    fn at_least(&self, rel_type: &RelationshipType, end: &NodeIdentity, number: u64) -> Quarantined {
        let entry = Quarantined::waiting(rel_type, end, number);
        let known = self.quarantine.get(&entry).map_or(0, |known| known.number);
        Quarantined { number: number.max(known), ..entry }
    }

    /// Returns entries that are outdated by a look at their elements, or replaced by another reason.
    fn outdated(&self, rows: &PreparedRows, added: &[Quarantined]) -> Vec<Quarantined> {
        if self.quarantine.is_empty() {
            return Vec::new();
        }
        let released: HashSet<(KindName<'_>, &str)> =
            rows.review.released.iter().map(|(kind, key)| (self.profile.name_of(*kind), key.as_str())).collect();
        let whole: HashSet<(KindName<'_>, &str)> =
            added.iter().filter(|entry| entry.is_of_element()).map(Quarantined::place).collect();
        let reviewed: HashSet<&str> = rows.review.waiting.keys().map(RelationshipType::as_str).collect();
        let is_outdated = |entry: &&Quarantined| {
            let name = entry.place();
            let counted_again = reviewed.contains(entry.kind.as_str()) && entry.is_about_waiting();
            released.contains(&name) || whole.contains(&name) || counted_again
        };
        self.quarantine.iter().filter(is_outdated).cloned().collect()
    }

    /// Adds entries and removes others. An entry that is in both lists stays.
    pub(super) async fn add_to_quarantine(&mut self, added: &[Quarantined], removed: &[Quarantined]) -> Result<()> {
        let added: HashSet<&Quarantined> = added.iter().collect();
        let mut outdated: HashSet<Quarantined> = removed.iter().filter(|entry| !added.contains(entry)).cloned().collect();
        outdated.extend(self.waiting_for(&outdated));
        outdated.retain(|entry| !added.contains(entry));
        if added.is_empty() && outdated.is_empty() {
            return Ok(());
        }
        let now = Utc::now();
        let mut listed = Vec::with_capacity(added.len());
        for entry in added {
            match self.quarantine.get(entry) {
                Some(known) => {
                    listed.push(Quarantined { number: entry.number, cause: entry.cause, ..known.tried_again() });
                    outdated.insert(known.clone());
                }
                None => {
                    self.told.tell(entry);
                    listed.push(entry.listed(now));
                }
            }
        }
        let outdated: Vec<Quarantined> = outdated.into_iter().collect();
        self.store.update_quarantine(&listed, &outdated).await?;
        self.excluded.replace(&outdated, &listed);
        for entry in &outdated {
            self.quarantine.remove(entry);
        }
        self.quarantine.extend(listed);
        self.told.alarm(self.quarantine.len());
        self.quarantine_changed = true;
        Ok(())
    }

    /// Returns the entries of relationships that wait for these nodes. The counts show whether the relationships are still
    /// missing.
    fn waiting_for(&self, gone: &HashSet<Quarantined>) -> Vec<Quarantined> {
        let is_node = |entry: &Quarantined| matches!(entry.kind_name(), KindName::Label(_));
        let nodes = gone.iter().filter(|entry| entry.is_of_element() && is_node(entry));
        let names: HashSet<String> = nodes.map(|entry| name_by_end(&entry.kind, &entry.key)).collect();
        if names.is_empty() {
            return Vec::new();
        }
        self.quarantine.iter().filter(|entry| entry.is_about_waiting() && names.contains(&entry.key)).cloned().collect()
    }
}

impl QuarantineLog {
    fn tell(&mut self, entry: &Quarantined) {
        let named = self.named.entry((entry.kind.clone(), entry.reason.clone())).or_default();
        *named = named.saturating_add(1);
        let Quarantined { kind, key, property, reason, number, .. } = entry;
        if *named <= NAMED {
            tracing::warn!(kind, key, property, reason, number, "quarantined");
        } else if *named == NAMED + 1 {
            tracing::warn!(kind, reason, "further elements with this reason are listed only in the quarantine");
        }
    }

    fn alarm(&mut self, entries: usize) {
        if entries >= QUARANTINE_ALARM && !std::mem::replace(&mut self.alarmed, true) {
            tracing::error!(entries, "quarantine very large: check the profile and the data");
        }
    }
}

pub(super) fn unresolved(identity: &RelationshipIdentity, graph_per_group: bool) -> Quarantined {
    let reason = if graph_per_group {
        "a node at one end is not in the graph of its group: the node belongs to another group or cannot be written"
    } else {
        "a node at one end is not in the cache and cannot be written"
    };
    Quarantined::new(KindName::Type(identity.rel_type.as_str()), identity.key.to_string(), None, reason)
        .because_of(QuarantineCause::End)
}

fn relationship_place(identity: &RelationshipIdentity) -> (KindName<'_>, &str) {
    (KindName::Type(identity.rel_type.as_str()), identity.key.as_str())
}
