//! The number of each node in the stage graph: a full sync keeps it in memory for every node.

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::element::NodeIdentity;

/// The number of tables in the map, so that growth copies only a 256th of it at a time: a single table would need the old and the
/// new one at once, twice the memory.
const TABLES: usize = 256;

/// A table grows when it is more than four fifths full: a miss then visits 13 neighbouring entries on average. After growth by
/// 1.4, four sevenths of the places are full, so 20 bytes / (4/7) = 35 bytes for each node at the worst moment.
const FULL: (usize, usize) = (4, 5);
const GROWTH: (usize, usize) = (7, 5);

/// The places of a table's first allocation.
const FIRST_PLACES: usize = 16;

/// The id of a free place. FalkorDB numbers nodes from 0, so only a graph of 4,294,967,295 nodes has it.
const EMPTY: u32 = u32::MAX;

/// The error for more nodes than this map can number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the graph has more than 4,294,967,294 nodes, which a full sync cannot number")]
pub struct TooManyNodes;

/// The first 128 bits of SHA-256 over label and key represent an identity.
///
/// Two identities with the same 128 bits would count as one: the second node would be reported as loaded before and read again,
/// and its relationships would start at the first. With a billion nodes the probability of any such pair is below 10⁻²⁰
/// (n²/2¹²⁹), far below that of an undetected memory error. Nobody can provoke such a pair either: keys come from users, so the
/// hash is cryptographic, and finding a pair takes 2⁶⁴ attempts.
type Digest128 = [u32; 4];

#[derive(Debug, Clone, Copy)]
struct Entry {
    digest: Digest128,
    id: u32,
}

/// A map from node identity to the id in a graph that only this process writes.
#[derive(Debug)]
pub struct IdMap {
    tables: Vec<Table>,
    len: usize,
}

impl Default for IdMap {
    fn default() -> Self {
        Self { tables: (0..TABLES).map(|_| Table::default()).collect(), len: 0 }
    }
}

impl IdMap {
    /// The id of a node, if the map holds it.
    pub fn get(&self, identity: &NodeIdentity) -> Option<u64> {
        let digest = digest(identity);
        self.tables[table_of(&digest)].get(&digest).map(u64::from)
    }

    /// Adds a node. A node in the map keeps its id, which is returned.
    pub fn insert(&mut self, identity: &NodeIdentity, id: u64) -> Result<Option<u64>, TooManyNodes> {
        let id = u32::try_from(id).ok().filter(|id| *id != EMPTY).ok_or(TooManyNodes)?;
        let digest = digest(identity);
        let there = self.tables[table_of(&digest)].insert(Entry { digest, id });
        self.len += usize::from(there.is_none());
        Ok(there.map(u64::from))
    }

    /// The number of nodes in the map.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the map is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The allocated bytes of the map.
    #[cfg(test)]
    pub(crate) fn allocated(&self) -> usize {
        let places: usize = self.tables.iter().map(|table| table.places.capacity()).sum();
        places * size_of::<Entry>() + self.tables.capacity() * size_of::<Table>()
    }
}

/// The length comes first, so that no label can absorb the beginning of a key.
fn digest(identity: &NodeIdentity) -> Digest128 {
    let label = identity.label.as_str().as_bytes();
    let mut hasher = Sha256::new();
    hasher.update((label.len() as u64).to_le_bytes());
    hasher.update(label);
    hasher.update(identity.key.as_str().as_bytes());
    let bytes = hasher.finalize();
    std::array::from_fn(|word| u32::from_le_bytes(std::array::from_fn(|byte| bytes[word * 4 + byte])))
}

fn table_of(digest: &Digest128) -> usize {
    digest[0] as usize % TABLES
}

/// A table with open addressing and linear probing; nothing is ever removed.
#[derive(Debug, Default)]
struct Table {
    places: Vec<Entry>,
    taken: usize,
}

impl Table {
    fn get(&self, digest: &Digest128) -> Option<u32> {
        let entry = self.places.get(self.place(digest)?)?;
        (entry.id != EMPTY).then_some(entry.id)
    }

    fn insert(&mut self, entry: Entry) -> Option<u32> {
        if self.taken * FULL.1 >= self.places.len() * FULL.0 {
            self.grow();
        }
        let place = self.place(&entry.digest)?;
        let there = self.places[place];
        if there.id != EMPTY {
            return Some(there.id);
        }
        self.places[place] = entry;
        self.taken += 1;
        None
    }

    /// The place where this digest is or would be. There is always a free place; an unallocated table has none.
    fn place(&self, digest: &Digest128) -> Option<usize> {
        let start = self.start(digest);
        let (before, after) = self.places.split_at(start);
        let wanted = |entry: &Entry| entry.id == EMPTY || entry.digest == *digest;
        let found = after.iter().position(wanted).map(|offset| start + offset);
        found.or_else(|| before.iter().position(wanted))
    }

    /// The digest's share of the whole range, scaled to the places: this needs no power of two.
    fn start(&self, digest: &Digest128) -> usize {
        ((u64::from(digest[1]) * self.places.len() as u64) >> 32) as usize
    }

    fn grow(&mut self) {
        let places = (self.places.len() * GROWTH.0 / GROWTH.1).max(FIRST_PLACES);
        let empty = Entry { digest: [0; 4], id: EMPTY };
        let mut larger = Self { places: Vec::new(), taken: 0 };
        larger.places.reserve_exact(places);
        larger.places.resize(places, empty);
        for entry in self.places.iter().filter(|entry| entry.id != EMPTY) {
            if let Some(place) = larger.place(&entry.digest) {
                larger.places[place] = *entry;
                larger.taken += 1;
            }
        }
        *self = larger;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::key::Key;
    use crate::model::name::Label;

    /// The most bytes of the map for each node, once it holds [`SMALLEST_EXACT`] nodes.
    const MAX_BYTES_PER_NODE: usize = 40;

    /// The size from which [`MAX_BYTES_PER_NODE`] holds; a smaller map is dominated by its 256 part tables.
    const SMALLEST_EXACT: usize = 100_000;

    fn identity(label: &str, key: &str) -> NodeIdentity {
        NodeIdentity { label: Label::parse(label).unwrap(), key: Key::parse(key).unwrap() }
    }

    #[test]
    fn label_and_key_both_count() {
        let mut map = IdMap::default();
        for (id, (label, key)) in [("A", "Bc"), ("AB", "c"), ("A", "c"), ("B", "c")].iter().enumerate() {
            assert_eq!(map.insert(&identity(label, key), id as u64), Ok(None));
        }
        assert_eq!((map.get(&identity("AB", "c")), map.get(&identity("AB", "d")), map.len()), (Some(1), None, 4));
    }

    #[test]
    fn a_node_keeps_its_first_id_and_ids_have_an_end() {
        let mut map = IdMap::default();
        assert_eq!(map.insert(&identity("A", "x"), 7), Ok(None));
        assert_eq!(map.insert(&identity("A", "x"), 8), Ok(Some(7)));
        assert_eq!(map.insert(&identity("A", "y"), u64::from(u32::MAX)), Err(TooManyNodes));
        assert_eq!(map.insert(&identity("A", "y"), u64::from(u32::MAX) - 1), Ok(None));
        assert_eq!(map.len(), 2);
    }

    #[test]
    fn a_million_nodes_stay_within_the_bound_at_every_size() {
        let label = Label::parse("Entity").unwrap();
        let node = |number: u64| NodeIdentity {
            label: label.clone(),
            key: Key::parse(&format!("{number:08x}-7a4f-4b8e-9c2d-2f1c6a3b5d7e")).unwrap(),
        };
        let mut map = IdMap::default();
        let mut worst: f64 = 0.0;
        for number in 0..1_000_000 {
            map.insert(&node(number), number).unwrap();
            if map.len() >= SMALLEST_EXACT && number % 500 == 0 {
                assert!(map.allocated() <= map.len() * MAX_BYTES_PER_NODE);
                worst = worst.max(map.allocated() as f64 / map.len() as f64);
            }
        }
        assert!(worst <= MAX_BYTES_PER_NODE as f64, "{worst} bytes a node");
        assert!((0..1_000_000).step_by(977).all(|number| map.get(&node(number)) == Some(number)));
        assert_eq!(map.get(&node(1_000_000)), None);
        assert_eq!(map.len(), 1_000_000);
    }

    proptest! {
        #[test]
        fn it_is_a_map(keys in prop::collection::vec("[a-z]{1,2}", 0..800)) {
            let (mut map, mut reference) = (IdMap::default(), HashMap::new());
            for (id, key) in keys.iter().enumerate() {
                let there = map.insert(&identity("A", key), id as u64).unwrap();
                prop_assert_eq!(there, reference.get(key).copied());
                reference.entry(key.clone()).or_insert(id as u64);
            }
            prop_assert_eq!(map.len(), reference.len());
            for (key, id) in &reference {
                prop_assert_eq!(map.get(&identity("A", key)), Some(*id));
            }
        }
    }
}
