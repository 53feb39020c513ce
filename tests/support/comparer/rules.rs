//! What of a source the documentation promises to the cache: elements whose key, labels and ends are usable, the others left out.
//!
//! The rules are those of `docs/quarantine.md`, written a second time without the product's code.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use neo4rs::{Graph, query};

use super::IDENTITY_LABELS;
use super::snapshot::{Element, NodeKey, Raw, RawRelationship, RelationshipKey, Snapshot};
use super::source::{Filter, read_raw};
use super::value::Value;
use crate::support::Result;
use crate::support::deadline::{self, within};

/// Types of graphiti.
const TYPES: [&str; 5] = ["RELATES_TO", "MENTIONS", "HAS_MEMBER", "HAS_EPISODE", "NEXT_EPISODE"];

/// Longer texts cannot be keys.
const LONGEST_KEY: usize = 4096;

/// What the cache must hold, and what it must not.
#[derive(Debug, Default)]
pub struct Promised {
    pub snapshot: Snapshot,
    /// Elements that cannot be held, by their kind and the name that the quarantine gives them.
    pub excluded: BTreeSet<(String, String)>,
    /// Relationships that wait for an excluded node.
    pub waiting: BTreeSet<(String, String)>,
}

/// Reads the source, and sorts its elements by the rules: for a graph that holds everything, or for the graph of one group.
pub async fn promised(graph: &Graph, group: Option<&str>) -> Result<Promised> {
    let raw = read_raw(graph, &Filter::default()).await?;
    let unkeyed = Unkeyed::read(graph).await?;
    let mut promised = sorted(raw, &unkeyed, group);
    if let Some(group) = group {
        promised.keep_group(group);
    }
    Ok(promised)
}

impl Promised {
    /// Leaves out what is of another group. A key is of the group of the element that has it, and a relationship is only where
    /// both its ends are.
    fn keep_group(&mut self, group: &str) {
        let Promised { snapshot, waiting, .. } = self;
        snapshot.nodes.retain(|_, node| is_of(&node.properties, group));
        let nodes = &snapshot.nodes;
        snapshot.relationships.retain(|key, _| {
            let is_here = nodes.contains_key(&key.source) && nodes.contains_key(&key.target);
            if !is_here {
                waiting.insert((key.typ.clone(), key.uuid.clone()));
            }
            is_here
        });
    }
}

fn is_of(properties: &BTreeMap<String, Value>, group: &str) -> bool {
    matches!(properties.get("group_id"), Some(Value::Text(text)) if text == group)
}

/// Elements whose key is no text or holds a NUL: [`Value`] has dates as texts, and leaves NUL out.
struct Unkeyed {
    nodes: HashSet<i64>,
    relationships: HashSet<i64>,
}

impl Unkeyed {
    async fn read(graph: &Graph) -> Result<Self> {
        let condition = "NOT x.uuid IS :: STRING NOT NULL OR x.uuid CONTAINS $nul RETURN id(x) AS id";
        Ok(Self {
            nodes: ids(graph, &format!("MATCH (x) WHERE {condition}")).await?,
            relationships: ids(graph, &format!("MATCH ()-[x]->() WHERE {condition}")).await?,
        })
    }
}

async fn ids(graph: &Graph, text: &str) -> Result<HashSet<i64>> {
    let mut rows = within(deadline::QUERY, text, graph.execute(query(text).param("nul", "\0"))).await?;
    let mut ids = HashSet::new();
    while let Some(row) = within(deadline::QUERY, text, rows.next()).await? {
        ids.insert(row.get("id")?);
    }
    Ok(ids)
}

fn is_usable(key: &str) -> bool {
    let blank = |c: char| c.is_whitespace() || c.is_control();
    let fits = !key.is_empty() && key.len() <= LONGEST_KEY && !key.contains('\u{1}');
    fits && !key.starts_with(blank) && !key.ends_with(blank)
}

/// The key by which the quarantine names an element, and whether the cache could hold it under that key.
fn name(uuid: Option<&Value>, id: i64, unkeyed: &HashSet<i64>) -> (String, bool) {
    match uuid {
        Some(Value::Text(text)) if is_usable(text) && !unkeyed.contains(&id) => (text.clone(), true),
        _ => (format!("Neo4j id {id}"), false),
    }
}

fn without_odd_names(properties: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    properties.into_iter().filter(|(name, _)| !name.contains('`')).collect()
}

/// Of relationships that share a key, one of another group does not stand in the way of one of this group.
fn sorted(raw: Raw, unkeyed: &Unkeyed, group: Option<&str>) -> Promised {
    let mut promised = Promised::default();
    let mut keys: HashMap<i64, Arc<NodeKey>> = HashMap::new();
    let mut refused: Vec<(i64, Arc<NodeKey>)> = Vec::new();
    for (id, Element { labels, properties }) in raw.nodes {
        let Some(kind) = IDENTITY_LABELS.iter().find(|label| labels.contains(**label)) else { continue };
        let (name, usable) = name(properties.get("uuid"), id, &unkeyed.nodes);
        let key = Arc::new(NodeKey { label: (*kind).to_owned(), uuid: name.clone() });
        keys.insert(id, Arc::clone(&key));
        if usable && !labels.iter().any(|label| label.contains('`')) {
            promised.snapshot.add_node(key, Element { labels, properties: without_odd_names(properties) });
        } else {
            refused.push((id, key));
        }
    }
    // A key names what is left out only if nothing of it is kept, and then one of them: the one with the lowest id.
    refused.sort_unstable_by_key(|(id, _)| *id);
    let mut named: HashSet<Arc<NodeKey>> = HashSet::new();
    for (id, key) in refused {
        let stands_for_key = !promised.snapshot.nodes.contains_key(&key) && named.insert(Arc::clone(&key));
        let name = if stands_for_key { key.uuid.clone() } else { format!("Neo4j id {id}") };
        promised.excluded.insert((key.label.clone(), name));
    }
    for RawRelationship { id, typ, source, target, properties } in raw.relationships {
        if !TYPES.contains(&typ.as_str()) {
            continue;
        }
        let (name, usable) = name(properties.get("uuid"), id, &unkeyed.relationships);
        if !usable {
            promised.excluded.insert((typ, name));
            continue;
        }
        // What hangs on a node hangs on its key: it is there if any node of that key is.
        let held = |end: &i64| keys.get(end).filter(|key| promised.snapshot.nodes.contains_key(*key)).cloned();
        let is_here = group.is_none_or(|group| is_of(&properties, group));
        match held(&source).zip(held(&target)).filter(|_| is_here) {
            Some((source, target)) => {
                let key = RelationshipKey { typ, uuid: name, source, target };
                let element = Element { labels: BTreeSet::new(), properties: without_odd_names(properties) };
                promised.snapshot.add_relationship(key, element);
            }
            // By its key, or by its id where another one of this key is kept or listed.
            None => {
                promised.waiting.insert((typ.clone(), format!("Neo4j id {id}")));
                promised.waiting.insert((typ, name));
            }
        }
    }
    promised
}
