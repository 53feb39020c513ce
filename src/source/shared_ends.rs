//! Ends of relationships with a key that several nodes share, if each group has a graph of its own.
//!
//! A relationship refers to its end by key. Of the nodes that share a key, the cache holds one. So the group of this kept node
//! decides which graph holds the end, not the group of the node at which the relationship ends in the source.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use super::queries::Queries;
use super::reader::{PartialRows, Reader};
use super::request::Request;
use crate::error::Result;
use crate::model::element::{SourceEndpoint, SourceNode, SourceRelationship, property};
use crate::model::graph_name::GraphName;
use crate::model::kind::NodeKindId;
use crate::model::name::{Label, PropertyName};
use crate::model::profile::{Identity, Profile};
use crate::model::routes::Routes;
use crate::model::value::Value;

/// The most keys of one question.
const KEYS: usize = 1_000;

/// The group of the kept node, by kind and key.
type KeptGroups = BTreeMap<(NodeKindId, String), Option<Value>>;

/// Whether nodes are known to share keys.
#[derive(Debug, Default)]
pub(super) struct SharedEnds {
    are_heeded: AtomicBool,
}

impl SharedEnds {
    /// From now on, asks for the group of every end.
    pub(super) fn heed(&self) {
        self.are_heeded.store(true, Ordering::Relaxed);
    }

    /// Gives ends the group of the node that the cache holds under their key: every end if nodes are known to share keys,
    /// otherwise only ends that seem to be in another graph than their relationship. These are few: a relationship between two
    /// groups is not copied.
    pub(super) async fn settle(&self, reader: &impl Reader, profile: &Profile, rows: &mut [SourceRelationship]) -> Result<()> {
        let Some((group, routes)) = profile.group.as_ref().zip(profile.routes.as_ref()) else { return Ok(()) };
        let mut groups = KeptGroups::new();
        for (kind, keys) in asked_for(profile, group, routes, rows, self.are_heeded.load(Ordering::Relaxed)) {
            let keys: Vec<String> = keys.into_iter().collect();
            for some in keys.chunks(KEYS) {
                let request = Request::new(Queries::new(profile).deciding_by_key(kind)).with("keys", some.to_vec());
                let PartialRows { rows, .. } = reader.nodes("nodes that share a key", request, usize::MAX).await?;
                note_kept(&mut groups, (profile, kind), (group, routes), rows);
            }
        }
        for end in rows.iter_mut().flat_map(|row| [&mut row.start, &mut row.end]) {
            if let Some(kept) = place_of(profile, end).and_then(|place| groups.get(&place)) {
                end.group.clone_from(kept);
            }
        }
        Ok(())
    }
}

/// Returns the keys of all ends, or of the ends that are in another graph than their relationship according to the row.
fn asked_for(
    profile: &Profile,
    group: &PropertyName,
    routes: &Routes,
    rows: &[SourceRelationship],
    all: bool,
) -> BTreeMap<NodeKindId, BTreeSet<String>> {
    let mut found: BTreeMap<NodeKindId, BTreeSet<String>> = BTreeMap::new();
    for row in rows {
        let graph = graph_of(routes, property(&row.properties, group.as_str()));
        for end in [&row.start, &row.end].into_iter().filter(|end| all || graph_of(routes, end.group.as_ref()) != graph) {
            if let Some((kind, key)) = place_of(profile, end) {
                found.entry(kind).or_default().insert(key);
            }
        }
    }
    found
}

/// Returns the kind and key of an end; `None` if the end has no key that nodes can share.
fn place_of(profile: &Profile, end: &SourceEndpoint) -> Option<(NodeKindId, String)> {
    let kind = profile.kind_of(&end.labels).filter(|kind| profile.node(*kind).identity == Identity::Property)?;
    let Some(Value::String(key)) = &end.key else { return None };
    Some((kind, key.clone()))
}

/// Returns the graph of a group; `None` for a group that cannot have a graph.
fn graph_of(routes: &Routes, group: Option<&Value>) -> Option<GraphName> {
    routes.graph_of(Routes::group_text(group)?).ok()
}

/// Notes the group of the kept node of each key: the cache holds the node with the lowest number among those that it can hold.
fn note_kept(
    groups: &mut KeptGroups,
    (profile, kind): (&Profile, NodeKindId),
    (group, routes): (&PropertyName, &Routes),
    mut rows: Vec<SourceNode>,
) {
    rows.sort_unstable_by_key(|row| row.number);
    for SourceNode { labels, properties, .. } in rows {
        let of_row = property(&properties, group.as_str()).cloned();
        let is_kept = labels.iter().all(|label| Label::check(label).is_ok()) && graph_of(routes, of_row.as_ref()).is_some();
        if let Some(Value::String(key)) = property(&properties, profile.node(kind).key.as_str()).filter(|_| is_kept) {
            groups.entry((kind, key.clone())).or_insert(of_row);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::element::ElementNumber;

    fn text(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    fn node(number: u64, label: &str, group: Value) -> SourceNode {
        let properties = vec![("uuid".to_owned(), text("k")), ("group_id".to_owned(), group)];
        SourceNode { number: ElementNumber(number), labels: vec!["Entity".to_owned(), label.to_owned()], properties }
    }

    #[test]
    fn the_first_node_that_the_cache_can_hold_says_where_a_key_stands() {
        let profile = Profile::graphiti().unwrap();
        let (group, routes) = (PropertyName::parse("group_id").unwrap(), Routes::new(GraphName::new("home").unwrap()));
        let kept = |rows| {
            let mut groups = KeptGroups::new();
            note_kept(&mut groups, (&profile, NodeKindId(0)), (&group, &routes), rows);
            groups.remove(&(NodeKindId(0), "k".to_owned()))
        };
        let rows = vec![
            node(9, "Person", text("last")),
            node(1, "a`b", text("odd label")),
            node(2, "Person", Value::Integer(5)),
            node(3, "Person", text("{x}")),
            node(4, "Person", text("first")),
        ];
        assert_eq!(kept(rows), Some(Some(text("first"))));
        assert_eq!(kept(vec![node(1, "Person", Value::Integer(5))]), None);
    }
}
