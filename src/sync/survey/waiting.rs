//! Relationships that a full pass could not write because a node at their end would be in the quarantine.

use std::collections::HashSet;

use crate::model::element::{KindName, NodeIdentity, RelationshipIdentity};
use crate::model::prepared::{PreparedRows, Quarantined};

/// Nodes that would be quarantined, by label and key. Nodes are looked at before relationships.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    nodes: HashSet<(String, String)>,
}

impl Refusals {
    /// Notes the nodes among these rows that are refused, and refuses the relationships that wait for such a node.
    pub(super) fn note(&mut self, rows: &mut PreparedRows) {
        let nodes = rows.quarantined.iter().filter(|entry| entry.is_of_element() && is_of_node(entry));
        self.nodes.extend(nodes.map(|entry| (entry.kind.clone(), entry.key.clone())));
        if self.nodes.is_empty() {
            return;
        }
        for group in &mut rows.relationships {
            let waits: Vec<bool> = group.rows.identities().iter().map(|identity| self.keeps_waiting(identity)).collect();
            let waiting = group.rows.identities().iter().zip(&waits).filter(|(_, waits)| **waits);
            rows.quarantined.extend(waiting.map(|(identity, _)| entry(identity)));
            group.rows.retain(|row| !waits[row]);
        }
        rows.relationships.retain(|group| !group.rows.is_empty());
    }

    fn keeps_waiting(&self, identity: &RelationshipIdentity) -> bool {
        [&identity.start, &identity.end].into_iter().any(|end| self.holds(end))
    }

    fn holds(&self, node: &NodeIdentity) -> bool {
        self.nodes.contains(&(node.label.to_string(), node.key.to_string()))
    }
}

fn is_of_node(entry: &Quarantined) -> bool {
    matches!(entry.kind_name(), KindName::Label(_))
}

fn entry(identity: &RelationshipIdentity) -> Quarantined {
    const REASON: &str = "a node at their end is in the quarantine: they follow once it can be written";
    Quarantined::new(KindName::Type(identity.rel_type.as_str()), identity.key.to_string(), None, REASON)
}
