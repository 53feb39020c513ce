//! A bounded memory of the cache's content, so that an unchanged row is not written again.
//!
//! The memory holds hashes, not rows: of an identity and of everything that the row writes. Two contents of one identity with the
//! same hash of 64 bits, keyed at random in each process, are not expected.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

use crate::model::prepared::{EncodedRows, NodeWriteSet, PreparedRows, RelationshipWriteSet};

/// The most rows to remember, of nodes and of relationships each: some 10 MB together. Beyond this the memory begins anew.
const MAX_ROWS: usize = 200_000;

#[derive(Debug, Default)]
pub(crate) struct RecentWrites {
    state: RandomState,
    nodes: HashMap<u64, u64>,
    relationships: HashMap<u64, u64>,
}

impl RecentWrites {
    /// Removes the rows that the cache already holds from a batch, and returns their number.
    pub(crate) fn spare(&self, rows: &mut PreparedRows) -> u64 {
        let mut spared = 0;
        for group in &mut rows.nodes {
            let shape = self.node_shape(group);
            spared += self.spare_rows(&self.nodes, shape, &mut group.rows);
        }
        for group in &mut rows.relationships {
            let shape = self.relationship_shape(group);
            spared += self.spare_rows(&self.relationships, shape, &mut group.rows);
        }
        rows.nodes.retain(|group| !group.rows.is_empty());
        rows.relationships.retain(|group| !group.rows.is_empty());
        spared
    }

    /// Remembers a batch that was applied completely, after a call of [`Self::forget`] for it.
    pub(crate) fn note(&mut self, rows: &PreparedRows) {
        for group in &rows.nodes {
            let shape = self.node_shape(group);
            let entries = self.entries(shape, &group.rows);
            remember(&mut self.nodes, entries);
        }
        for group in &rows.relationships {
            let shape = self.relationship_shape(group);
            let entries = self.entries(shape, &group.rows);
            remember(&mut self.relationships, entries);
        }
    }

    /// Forgets the elements that a batch writes or deletes: the cache may differ from the memory.
    pub(crate) fn forget(&mut self, rows: &PreparedRows) {
        // A deleted node takes all its relationships along, whichever they are. A repaired node is deleted from other graphs.
        if !rows.deleted_nodes.is_empty() || (rows.repairs && !rows.nodes.is_empty()) {
            self.relationships.clear();
        }
        let written = rows.nodes.iter().flat_map(|group| group.rows.identities());
        for key in written.chain(rows.deleted_nodes.iter().map(|node| &node.key)) {
            self.nodes.remove(&self.state.hash_one(key));
        }
        let written = rows.relationships.iter().flat_map(|group| group.rows.identities());
        for identity in written.chain(&rows.deleted_relationships) {
            self.relationships.remove(&self.state.hash_one(identity));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.nodes.clear();
        self.relationships.clear();
    }

    fn spare_rows<I: Hash>(&self, known: &HashMap<u64, u64>, shape: u64, rows: &mut EncodedRows<I>) -> u64 {
        if known.is_empty() {
            return 0;
        }
        let standing: Vec<bool> =
            self.entries(shape, rows).into_iter().map(|(identity, content)| known.get(&identity) == Some(&content)).collect();
        let spared = standing.iter().filter(|stands| **stands).count();
        if spared > 0 {
            rows.retain(|index| !standing[index]);
        }
        spared as u64
    }

    fn entries<I: Hash>(&self, shape: u64, rows: &EncodedRows<I>) -> Vec<(u64, u64)> {
        let entry =
            |(index, identity): (usize, &I)| (self.state.hash_one(identity), self.state.hash_one((shape, rows.row(index))));
        rows.identities().iter().enumerate().map(entry).collect()
    }

    fn node_shape(&self, group: &NodeWriteSet) -> u64 {
        self.state.hash_one((&group.label, &group.extra_labels, &group.vectors, &group.not_a_number))
    }

    fn relationship_shape(&self, group: &RelationshipWriteSet) -> u64 {
        self.state.hash_one((&group.vectors, &group.not_a_number))
    }
}

fn remember(known: &mut HashMap<u64, u64>, entries: Vec<(u64, u64)>) {
    if known.len() + entries.len() > MAX_ROWS {
        known.clear();
    }
    known.extend(entries);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::element::{NodeIdentity, RelationshipIdentity};
    use crate::model::key::Key;
    use crate::model::name::{Label, PropertyName, RelationshipType};
    use crate::model::prepared::EndpointKind;

    fn batch(rows: &[(&str, &str)], extra: &[&str]) -> PreparedRows {
        let mut encoded = EncodedRows::default();
        for (key, text) in rows {
            encoded.push(Key::parse(key).unwrap(), |out| out.extend_from_slice(text.as_bytes()));
        }
        let group = NodeWriteSet {
            group: None,
            label: Label::parse("Entity").unwrap(),
            key: PropertyName::parse("uuid").unwrap(),
            extra_labels: extra.iter().map(|label| Label::parse(label).unwrap()).collect(),
            vectors: vec![],
            not_a_number: vec![],
            rows: encoded,
        };
        PreparedRows { nodes: vec![group], ..PreparedRows::default() }
    }

    #[test]
    fn a_row_is_spared_only_while_it_stands_unchanged() {
        let mut written = RecentWrites::default();
        written.note(&batch(&[("a", "1"), ("b", "2")], &[]));
        let mut again = batch(&[("a", "1"), ("b", "3"), ("c", "4")], &[]);
        assert_eq!(written.spare(&mut again), 1);
        assert_eq!(again.nodes[0].rows.identities().iter().map(Key::as_str).collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(again.nodes[0].rows.row(0), b"3");
        assert_eq!(written.spare(&mut batch(&[("a", "1")], &["Person"])), 0, "its labels changed");
    }

    #[test]
    fn what_is_deleted_is_forgotten() {
        let mut written = RecentWrites::default();
        written.note(&batch(&[("a", "1"), ("b", "2")], &[]));
        let node = NodeIdentity { label: Label::parse("Entity").unwrap(), key: Key::parse("b").unwrap() };
        written.forget(&PreparedRows { deleted_nodes: vec![node], ..PreparedRows::default() });
        assert_eq!(written.spare(&mut batch(&[("a", "1"), ("b", "2")], &[])), 1, "only the one that is still there");
    }

    #[test]
    fn the_repair_of_a_node_forgets_relationships() {
        let relationships = || {
            let node = NodeIdentity { label: Label::parse("Entity").unwrap(), key: Key::parse("a").unwrap() };
            let (rel_type, key) = (RelationshipType::parse("R").unwrap(), Key::parse("r").unwrap());
            let end = EndpointKind { label: node.label.clone(), key: PropertyName::parse("uuid").unwrap() };
            let mut rows = EncodedRows::default();
            let identity = RelationshipIdentity { rel_type: rel_type.clone(), key, start: node.clone(), end: node };
            rows.push(identity, |out| out.push(b'1'));
            let group = RelationshipWriteSet {
                group: None,
                rel_type,
                key: PropertyName::parse("uuid").unwrap(),
                start: end.clone(),
                end,
                vectors: vec![],
                not_a_number: vec![],
                rows,
            };
            PreparedRows { relationships: vec![group], ..PreparedRows::default() }
        };
        let mut written = RecentWrites::default();
        written.note(&relationships());
        written.forget(&batch(&[("a", "1")], &[]));
        assert_eq!(written.spare(&mut relationships()), 1, "a node that is written keeps its relationships");
        written.forget(&PreparedRows { repairs: true, ..batch(&[("a", "1")], &[]) });
        assert_eq!(written.spare(&mut relationships()), 0, "a repair deletes the node from other graphs");
    }

    #[test]
    fn a_repair_forgets_what_it_repairs_and_nothing_else() {
        let mut written = RecentWrites::default();
        written.note(&batch(&[("a", "1"), ("b", "2")], &[]));
        written.forget(&batch(&[("a", "1")], &[]));
        let mut again = batch(&[("a", "1"), ("b", "2")], &[]);
        assert_eq!(written.spare(&mut again), 1);
        assert_eq!(again.nodes[0].rows.identities().iter().map(Key::as_str).collect::<Vec<_>>(), ["a"]);
    }
}
