//! One batch becomes one for each graph.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::element::{NodeIdentity, RelationshipIdentity};
use crate::model::graph_name::{GraphName, GraphNameError};
use crate::model::kind::KindName;
use crate::model::prepared::{Cause, NodeGroup, PreparedRows, Quarantined, RelationshipGroup};
use crate::model::routes::Routes;

/// What goes to which graph.
pub(super) type Parts = BTreeMap<GraphName, PreparedRows>;

/// Sends each row to the graph of its group. What cannot have a graph is refused.
pub(super) fn split(rows: &PreparedRows, routes: &Routes, refused: &mut Vec<Quarantined>) -> Parts {
    let mut parts = Parts::new();
    for group in &rows.nodes {
        match routes.graph_of(group.group.as_deref().unwrap_or_default()) {
            Ok(graph) => parts.entry(graph).or_default().nodes.push(group.clone()),
            Err(reason) => refused.extend(refuse_nodes(group, &without_graph(&reason))),
        }
    }
    for group in &rows.relationships {
        match routes.graph_of(group.group.as_deref().unwrap_or_default()) {
            Ok(graph) => parts.entry(graph).or_default().relationships.push(group.clone()),
            Err(reason) => refused.extend(refuse_relationships(group, &without_graph(&reason))),
        }
    }
    parts
}

fn without_graph(reason: &GraphNameError) -> String {
    format!("its group cannot have a graph: {reason}")
}

/// All rows of a part, refused for a reason.
pub(super) fn refuse(part: &PreparedRows, reason: &str) -> Vec<Quarantined> {
    let nodes = part.nodes.iter().flat_map(|group| refuse_nodes(group, reason));
    nodes.chain(part.relationships.iter().flat_map(|group| refuse_relationships(group, reason))).collect()
}

fn refuse_nodes(group: &NodeGroup, reason: &str) -> Vec<Quarantined> {
    let kind = KindName::Label(group.label.as_str());
    let refused = |key: &crate::model::key::Key| Quarantined::new(kind, key.to_string(), None, reason).because_of(Cause::Graph);
    group.rows.identities().iter().map(refused).collect()
}

fn refuse_relationships(group: &RelationshipGroup, reason: &str) -> Vec<Quarantined> {
    let kind = KindName::Type(group.rel_type.as_str());
    let refused =
        |identity: &RelationshipIdentity| Quarantined::new(kind, identity.key.to_string(), None, reason).because_of(Cause::Cache);
    group.rows.identities().iter().map(refused).collect()
}

/// Has what is deleted deleted wherever it is: only the source knew of which group it was.
pub(super) fn delete_everywhere(parts: &mut Parts, rows: &PreparedRows, graphs: &BTreeSet<GraphName>) {
    if rows.deleted_nodes.is_empty() && rows.deleted_relationships.is_empty() {
        return;
    }
    for graph in graphs {
        let part = parts.entry(graph.clone()).or_default();
        part.deleted_nodes.extend_from_slice(&rows.deleted_nodes);
        part.deleted_relationships.extend_from_slice(&rows.deleted_relationships);
    }
}

/// Has what is written to one graph deleted from all others: an element whose group changed would stand in two of them.
pub(super) fn delete_elsewhere(parts: &mut Parts, graphs: &BTreeSet<GraphName>) {
    let written: BTreeMap<GraphName, (Vec<NodeIdentity>, Vec<RelationshipIdentity>)> =
        parts.iter().map(|(graph, part)| (graph.clone(), identities(part))).collect();
    for graph in graphs {
        for (_, (nodes, relationships)) in written.iter().filter(|(other, _)| *other != graph) {
            let part = parts.entry(graph.clone()).or_default();
            part.deleted_nodes.extend_from_slice(nodes);
            part.deleted_relationships.extend_from_slice(relationships);
        }
    }
}

fn identities(part: &PreparedRows) -> (Vec<NodeIdentity>, Vec<RelationshipIdentity>) {
    let of_group = |group: &NodeGroup| {
        let label = group.label.clone();
        group.rows.identities().iter().map(move |key| NodeIdentity { label: label.clone(), key: key.clone() }).collect::<Vec<_>>()
    };
    let relationships = part.relationships.iter().flat_map(|group| group.rows.identities().iter().cloned());
    (part.nodes.iter().flat_map(of_group).collect(), relationships.collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::key::Key;
    use crate::model::name::{Label, PropertyName};
    use crate::model::prepared::EncodedRows;

    fn nodes(group: &str, keys: &[&str]) -> NodeGroup {
        let mut rows = EncodedRows::default();
        for key in keys {
            rows.push(Key::parse(key).unwrap(), |text| text.extend_from_slice(b"{}"));
        }
        NodeGroup {
            group: Some(group.to_owned()),
            label: Label::parse("Entity").unwrap(),
            key: PropertyName::parse("uuid").unwrap(),
            extra_labels: Vec::new(),
            vectors: Vec::new(),
            not_a_number: Vec::new(),
            rows,
        }
    }

    fn names(names: &[&str]) -> BTreeSet<GraphName> {
        names.iter().map(|name| GraphName::new(*name).unwrap()).collect()
    }

    fn batch() -> PreparedRows {
        PreparedRows { nodes: vec![nodes("a", &["1", "2"]), nodes("", &["3"]), nodes("b{", &["4"])], ..PreparedRows::default() }
    }

    fn routes() -> Routes {
        Routes::new(GraphName::new("default_db").unwrap())
    }

    #[test]
    fn rows_go_to_the_graphs_of_their_groups() {
        let mut refused = Vec::new();
        let parts = split(&batch(), &routes(), &mut refused);
        let sizes: Vec<_> = parts.iter().map(|(graph, part)| (graph.as_str(), part.len())).collect();
        assert_eq!(sizes, [("a", 2), ("default_db", 1)]);
        assert_eq!((refused.len(), refused[0].key.as_str()), (1, "4"));
    }

    #[test]
    fn deletes_go_to_all_graphs() {
        let deleted = NodeIdentity { label: Label::parse("Entity").unwrap(), key: Key::parse("9").unwrap() };
        let rows = PreparedRows { deleted_nodes: vec![deleted], ..batch() };
        let mut parts = split(&rows, &routes(), &mut Vec::new());
        delete_everywhere(&mut parts, &rows, &names(&["a", "c"]));
        let deletes: Vec<_> = parts.iter().map(|(graph, part)| (graph.as_str(), part.deleted_nodes.len())).collect();
        assert_eq!(deletes, [("a", 1), ("c", 1), ("default_db", 0)]);
    }

    #[test]
    fn what_is_written_to_one_graph_goes_from_the_others() {
        let mut parts = split(&batch(), &routes(), &mut Vec::new());
        delete_elsewhere(&mut parts, &names(&["a", "c", "default_db"]));
        let deletes: Vec<_> = parts.iter().map(|(graph, part)| (graph.as_str(), part.deleted_nodes.len())).collect();
        assert_eq!(deletes, [("a", 1), ("c", 3), ("default_db", 2)]);
    }
}
