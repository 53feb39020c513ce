//! Compares two graphs of any shape by what their elements hold: it knows of no keys, no profile and no identity labels. What the
//! cache alone has, by the documentation, is told to it: a property with the element's number in the source, and a label of
//! nodes that have none.

use std::collections::{BTreeMap, HashMap};

use neo4rs::Graph;

use super::snapshot::{Element, Raw, RawRelationship};
use super::source::Filter;
use super::value::Value;
use super::{cache, source};
use crate::support::Result;
use crate::support::servers::FalkorAddress;

/// What the cache has beside what the source has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Additions<'a> {
    /// The property of elements that their number in the source identifies.
    pub number: Option<&'a str>,
    /// The label of nodes without one.
    pub label: Option<&'a str>,
}

/// Documented names of the built-in profile for any graph.
pub const GENERIC: Additions<'static> = Additions { number: Some("_neo4j_id"), label: Some("_Unlabelled") };

/// What differs, a line each: elements that one side holds more often than the other, and elements with the number of another.
pub async fn compare_content(
    graph: &Graph,
    address: &FalkorAddress,
    name: &str,
    additions: Additions<'_>,
) -> Result<Vec<String>> {
    let here = source::read_raw(graph, &Filter::default()).await?;
    let there = cache::read_raw(address, name).await?;
    let (numbers, there) = without(there, additions);
    let mut found = differing(&here, &there);
    if additions.number.is_some() {
        found.extend(misnumbered(&here, &there, &numbers));
    }
    Ok(found)
}

/// Fails the test with the first differences.
pub async fn assert_same_content(graph: &Graph, address: &FalkorAddress, name: &str, additions: Additions<'_>) {
    let found = compare_content(graph, address, name, additions).await.unwrap_or_else(|error| panic!("cannot compare: {error}"));
    let first: Vec<&str> = found.iter().take(20).map(String::as_str).collect();
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), first.join("\n"));
}

/// Numbers in the source by number in the cache.
#[derive(Default)]
struct Numbers {
    nodes: HashMap<i64, Option<i64>>,
    relationships: HashMap<i64, Option<i64>>,
}

fn without(mut raw: Raw, additions: Additions<'_>) -> (Numbers, Raw) {
    let mut numbers = Numbers::default();
    let take = |properties: &mut BTreeMap<String, Value>| match properties.remove(additions.number.unwrap_or_default()) {
        Some(Value::Text(text)) => text.parse().ok(),
        _ => None,
    };
    for (id, node) in &mut raw.nodes {
        if node.labels.len() == 1 && node.labels.first().map(String::as_str) == additions.label {
            node.labels.clear();
        }
        numbers.nodes.insert(*id, take(&mut node.properties));
    }
    for relationship in &mut raw.relationships {
        numbers.relationships.insert(relationship.id, take(&mut relationship.properties));
    }
    (numbers, raw)
}

fn node_text(node: &Element) -> String {
    format!("({:?} {})", node.labels, properties_text(&node.properties))
}

fn properties_text(properties: &BTreeMap<String, Value>) -> String {
    let each = properties.iter().map(|(name, value)| format!("{name:?}: {}", value.canonical()));
    format!("{{{}}}", each.collect::<Vec<_>>().join(", "))
}

fn texts(raw: &Raw) -> (HashMap<i64, String>, Vec<String>) {
    let nodes: HashMap<i64, String> = raw.nodes.iter().map(|(id, node)| (*id, node_text(node))).collect();
    let missing = "(an end that is not there)".to_owned();
    let text = |RawRelationship { typ, source, target, properties, .. }: &RawRelationship| {
        let end = |id: &i64| nodes.get(id).unwrap_or(&missing).clone();
        format!("{}-[{typ:?} {}]->{}", end(source), properties_text(properties), end(target))
    };
    let relationships = raw.relationships.iter().map(text).collect();
    (nodes, relationships)
}

fn differing(here: &Raw, there: &Raw) -> Vec<String> {
    let ((here_nodes, here_edges), (there_nodes, there_edges)) = (texts(here), texts(there));
    let mut balance: BTreeMap<String, i64> = BTreeMap::new();
    here_nodes.into_values().chain(here_edges).for_each(|text| *balance.entry(text).or_default() += 1);
    there_nodes.into_values().chain(there_edges).for_each(|text| *balance.entry(text).or_default() -= 1);
    let side = |more: i64| if more > 0 { "more in the source" } else { "more in the cache" };
    let uneven = balance.into_iter().filter(|(_, more)| *more != 0);
    uneven.map(|(text, more)| format!("{} {}: {text}", more.abs(), side(more))).collect()
}

/// Elements whose number, where they have one, is not that of the element of the source with their content and ends.
fn misnumbered(here: &Raw, there: &Raw, numbers: &Numbers) -> Vec<String> {
    let nodes: HashMap<i64, String> = here.nodes.iter().map(|(id, node)| (*id, node_text(node))).collect();
    let edges: HashMap<i64, &RawRelationship> = here.relationships.iter().map(|edge| (edge.id, edge)).collect();
    let mut found = Vec::new();
    for (id, node) in &there.nodes {
        let Some(number) = numbers.nodes[id] else { continue };
        if nodes.get(&number) != Some(&node_text(node)) {
            found.push(format!("{number} is not the number of {}", node_text(node)));
        }
    }
    let agrees = |expected: i64, end: i64| numbers.nodes.get(&end).copied().flatten().is_none_or(|number| number == expected);
    for edge in &there.relationships {
        let Some(number) = numbers.relationships[&edge.id] else { continue };
        let same = edges.get(&number).is_some_and(|other| {
            let content = other.typ == edge.typ && properties_text(&other.properties) == properties_text(&edge.properties);
            content && agrees(other.source, edge.source) && agrees(other.target, edge.target)
        });
        if !same {
            found.push(format!("{number} is not the number of a {:?} between those nodes", edge.typ));
        }
    }
    found
}
