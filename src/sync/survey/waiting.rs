//! Relationships that a full pass could not write because a node at their end would be in the quarantine.

use std::collections::HashSet;

use crate::model::element::{NodeIdentity, RelationshipIdentity};
use crate::model::kind::KindName;
use crate::model::prepared::PreparedRows;
use crate::model::quarantined::Quarantined;

/// Nodes that would be quarantined, by label and key. The survey looks at nodes before relationships.
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
    const REASON: &str = "a node at one end is in the quarantine: the relationships are written once the node can be written";
    Quarantined::new(KindName::Type(identity.rel_type.as_str()), identity.key.to_string(), None, REASON)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::key::Key;
    use crate::model::name::{Label, PropertyName, RelationshipType};
    use crate::model::prepared::{EncodedRows, EndpointKind, RelationshipWriteSet};

    fn node(key: &str) -> NodeIdentity {
        NodeIdentity { label: Label::parse("Entity").unwrap(), key: Key::parse(key).unwrap() }
    }

    fn relationships(keys: &[[&str; 2]]) -> PreparedRows {
        let rel_type = RelationshipType::parse("KNOWS").unwrap();
        let end = EndpointKind { label: Label::parse("Entity").unwrap(), key: PropertyName::parse("uuid").unwrap() };
        let mut rows = EncodedRows::default();
        for [start, finish] in keys {
            let key = Key::parse(&format!("{start}{finish}")).unwrap();
            let identity = RelationshipIdentity { rel_type: rel_type.clone(), key, start: node(start), end: node(finish) };
            rows.push(identity, |text| text.extend_from_slice(b"{}"));
        }
        let key = PropertyName::parse("uuid").unwrap();
        let (start, end) = (end.clone(), end);
        let group = RelationshipWriteSet { group: None, rel_type, key, start, end, vectors: vec![], not_a_number: vec![], rows };
        PreparedRows { relationships: vec![group], ..PreparedRows::default() }
    }

    #[test]
    fn relationships_of_refused_nodes_are_refused() {
        let mut refusals = Refusals::default();
        let refused = Quarantined::new(KindName::Label("Entity"), "b", None, "r");
        let property = Quarantined::new(KindName::Label("Entity"), "a", Some("p".to_owned()), "r");
        refusals.note(&mut PreparedRows { quarantined: vec![refused, property], ..PreparedRows::default() });
        let mut rows = relationships(&[["a", "c"], ["a", "b"], ["b", "b"]]);
        refusals.note(&mut rows);
        assert_eq!(rows.relationships[0].rows.len(), 1);
        assert_eq!(rows.quarantined.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["ab", "bb"]);
    }
}
