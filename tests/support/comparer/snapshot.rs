//! Two graphs in memory, and how they differ.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use super::IDENTITY_LABELS;
use super::value::Value;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeKey {
    pub label: String,
    pub uuid: String,
}

impl NodeKey {
    /// A node without a usable uuid gets a key that no other has, made of its internal number.
    pub fn new(labels: &BTreeSet<String>, uuid: Option<&Value>, id: i64) -> Self {
        let by_rank = IDENTITY_LABELS.iter().find(|label| labels.contains(**label));
        let label = by_rank.map(|label| (*label).to_owned());
        Self { label: label.or_else(|| labels.first().cloned()).unwrap_or_default(), uuid: uuid_text(uuid, id) }
    }
}

fn uuid_text(uuid: Option<&Value>, id: i64) -> String {
    match uuid {
        Some(Value::Text(uuid)) => uuid.clone(),
        _ => format!("(no uuid, internal number {id})"),
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelationshipKey {
    pub typ: String,
    pub uuid: String,
    pub source: Arc<NodeKey>,
    pub target: Arc<NodeKey>,
}

impl RelationshipKey {
    pub fn new(typ: String, uuid: Option<&Value>, id: i64, source: Arc<NodeKey>, target: Arc<NodeKey>) -> Self {
        Self { typ, uuid: uuid_text(uuid, id), source, target }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Node(NodeKey),
    Relationship(RelationshipKey),
}

/// The content of a node or, without labels, of a relationship.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Element {
    pub labels: BTreeSet<String>,
    pub properties: BTreeMap<String, Value>,
}

#[derive(Debug, Default)]
pub struct Snapshot {
    pub nodes: HashMap<Arc<NodeKey>, Element>,
    pub relationships: HashMap<RelationshipKey, Element>,
    /// Keys that occurred more than once. The first element of a key is the one that is kept.
    pub repeated: Vec<Key>,
}

/// A relationship by the internal numbers of its graph.
#[derive(Debug)]
pub struct RawRelationship {
    pub id: i64,
    pub typ: String,
    pub source: i64,
    pub target: i64,
    pub properties: BTreeMap<String, Value>,
}

/// A graph as it was read, by internal numbers.
#[derive(Debug, Default)]
pub struct Raw {
    pub nodes: Vec<(i64, Element)>,
    pub relationships: Vec<RawRelationship>,
}

impl Raw {
    /// The same by keys. An end that was not read leaves out the relationship.
    pub fn into_snapshot(self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let mut keys = HashMap::new();
        for (id, element) in self.nodes {
            let key = Arc::new(NodeKey::new(&element.labels, element.properties.get("uuid"), id));
            keys.insert(id, Arc::clone(&key));
            snapshot.add_node(key, element);
        }
        for RawRelationship { id, typ, source, target, properties } in self.relationships {
            let (Some(source), Some(target)) = (keys.get(&source), keys.get(&target)) else { continue };
            let key = RelationshipKey::new(typ, properties.get("uuid"), id, Arc::clone(source), Arc::clone(target));
            snapshot.add_relationship(key, Element { labels: BTreeSet::new(), properties });
        }
        snapshot
    }
}

impl Snapshot {
    pub fn add_node(&mut self, key: Arc<NodeKey>, element: Element) {
        match self.nodes.entry(key) {
            Entry::Occupied(first) => self.repeated.push(Key::Node((**first.key()).clone())),
            Entry::Vacant(place) => _ = place.insert(element),
        }
    }

    pub fn add_relationship(&mut self, key: RelationshipKey, element: Element) {
        match self.relationships.entry(key) {
            Entry::Occupied(first) => self.repeated.push(Key::Relationship(first.key().clone())),
            Entry::Vacant(place) => _ = place.insert(element),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// In the source, not in the cache.
    Missing(Key),
    /// In the cache, not in the source.
    Orphaned(Key),
    /// More than once in the cache. In the source that is allowed: the first counts.
    Duplicated(Key),
    Changed {
        key: Key,
        property: String,
        source: Option<Value>,
        cache: Option<Value>,
    },
    Labels {
        key: Key,
        source: BTreeSet<String>,
        cache: BTreeSet<String>,
    },
}

impl Difference {
    pub fn key(&self) -> &Key {
        match self {
            Self::Missing(key) | Self::Orphaned(key) | Self::Duplicated(key) => key,
            Self::Changed { key, .. } | Self::Labels { key, .. } => key,
        }
    }
}

/// All differences, in an order that is the same every time.
pub fn differences(source: &Snapshot, cache: &Snapshot) -> Vec<Difference> {
    let mut found: Vec<Difference> = cache.repeated.iter().cloned().map(Difference::Duplicated).collect();
    let node = |key: &Arc<NodeKey>| Key::Node((**key).clone());
    compare_maps(&source.nodes, &cache.nodes, node, &mut found);
    let relationship = |key: &RelationshipKey| Key::Relationship(key.clone());
    compare_maps(&source.relationships, &cache.relationships, relationship, &mut found);
    found.sort_by(|a, b| a.key().cmp(b.key()));
    found
}

fn compare_maps<K: Eq + std::hash::Hash>(
    source: &HashMap<K, Element>,
    cache: &HashMap<K, Element>,
    describe: impl Fn(&K) -> Key,
    found: &mut Vec<Difference>,
) {
    for (key, expected) in source {
        match cache.get(key) {
            Some(actual) if actual == expected => {}
            Some(actual) => compare_elements(&describe(key), expected, actual, found),
            None => found.push(Difference::Missing(describe(key))),
        }
    }
    let orphans = cache.keys().filter(|key| !source.contains_key(key));
    found.extend(orphans.map(|key| Difference::Orphaned(describe(key))));
}

fn compare_elements(key: &Key, source: &Element, cache: &Element, found: &mut Vec<Difference>) {
    if source.labels != cache.labels {
        found.push(Difference::Labels { key: key.clone(), source: source.labels.clone(), cache: cache.labels.clone() });
    }
    let properties: BTreeSet<&String> = source.properties.keys().chain(cache.properties.keys()).collect();
    for property in properties {
        let (expected, actual) = (source.properties.get(property), cache.properties.get(property));
        if expected != actual {
            found.push(Difference::Changed {
                key: key.clone(),
                property: property.clone(),
                source: expected.cloned(),
                cache: actual.cloned(),
            });
        }
    }
}

impl fmt::Display for NodeKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "(:{} {})", self.label, self.uuid)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(key) => key.fmt(formatter),
            Self::Relationship(key) => {
                write!(formatter, "{}-[:{} {}]->{}", key.source, key.typ, key.uuid, key.target)
            }
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<Value>| value.as_ref().map_or_else(|| "absent".to_owned(), Value::to_string);
        match self {
            Self::Missing(key) => write!(formatter, "missing in the cache: {key}"),
            Self::Orphaned(key) => write!(formatter, "only in the cache: {key}"),
            Self::Duplicated(key) => write!(formatter, "more than once in the cache: {key}"),
            Self::Changed { key, property, source, cache } => {
                write!(formatter, "{property} of {key}: {} in the source, {} in the cache", shown(source), shown(cache))
            }
            Self::Labels { key, source, cache } => {
                write!(formatter, "labels of {key}: {source:?} in the source, {cache:?} in the cache")
            }
        }
    }
}
