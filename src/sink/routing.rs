//! Assigns elements to their graphs. All differences between a pipeline with one graph and one with a graph for each group are
//! decided here.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::element::{NodeIdentity, RelationshipIdentity};
use crate::model::graph_name::{GraphName, GraphNameError};
use crate::model::key::Key;
use crate::model::kind::KindName;
use crate::model::prepared::{NodeWriteSet, PreparedRows, RelationshipWriteSet};
use crate::model::profile::Profile;
use crate::model::quarantined::{QuarantineCause, Quarantined};
use crate::model::routes::Routes;

/// The part of a batch that goes to each graph.
pub(super) type GraphBatches<'a> = BTreeMap<GraphName, Cow<'a, PreparedRows>>;

/// The rule that assigns the elements of a pipeline to graphs.
#[derive(Debug, Clone)]
pub(super) enum Routing {
    /// All elements go to one graph, which belongs to the pipeline whether it exists or not.
    OnlyGraph(GraphName),
    /// Each element goes to the graph of its group. A graph is made with the first element of its group and deleted with the last
    /// one.
    ByGroup(Routes),
}

impl Routing {
    /// The routing of a profile; `name` is the only graph if the profile has no routes.
    pub(super) fn of(profile: &Profile, name: &GraphName) -> Self {
        profile.routes.clone().map_or_else(|| Routing::OnlyGraph(name.clone()), Routing::ByGroup)
    }

    /// Whether each group has its own graph.
    pub(super) fn is_by_group(&self) -> bool {
        matches!(self, Routing::ByGroup(_))
    }

    /// The graphs that are known without asking the server.
    pub(super) fn known(&self) -> BTreeSet<GraphName> {
        match self {
            Routing::OnlyGraph(name) => BTreeSet::from([name.clone()]),
            Routing::ByGroup(_) => BTreeSet::new(),
        }
    }

    /// A text about one graph, with the graph's name if there may be others.
    pub(super) fn said_of(&self, graph: &GraphName, what: String) -> String {
        match self {
            Routing::OnlyGraph(_) => what,
            Routing::ByGroup(_) => format!("{graph}: {what}"),
        }
    }

    /// Splits a batch by graph. Refuses rows that cannot have a graph.
    pub(super) fn split<'a>(&self, rows: &'a PreparedRows, refused: &mut Vec<Quarantined>) -> GraphBatches<'a> {
        match self {
            Routing::OnlyGraph(name) => GraphBatches::from([(name.clone(), Cow::Borrowed(rows))]),
            Routing::ByGroup(routes) => {
                split(rows, routes, refused).into_iter().map(|(graph, part)| (graph, Cow::Owned(part))).collect()
            }
        }
    }

    /// Adds the deletes of a batch to its parts. Only the source knew the group of a deleted element, so the element is deleted
    /// from all graphs. A repair also deletes the elements that it writes from all graphs but the right one.
    pub(super) fn add_deletes(&self, parts: &mut GraphBatches<'_>, rows: &PreparedRows, graphs: &BTreeSet<GraphName>) {
        match self {
            Routing::OnlyGraph(_) => {}
            Routing::ByGroup(_) => {
                delete_everywhere(parts, rows, graphs);
                if rows.repairs {
                    delete_elsewhere(parts, graphs);
                }
            }
        }
    }

    /// Whether the elements of a group belong in a graph.
    pub(super) fn is_home(&self, graph: &GraphName, group: &str) -> bool {
        match self {
            Routing::OnlyGraph(_) => true,
            Routing::ByGroup(routes) => routes.graph_of(group).is_ok_and(|home| home == *graph),
        }
    }
}

/// Sends each row to the graph of its group. Refuses rows that cannot have a graph.
fn split(rows: &PreparedRows, routes: &Routes, refused: &mut Vec<Quarantined>) -> BTreeMap<GraphName, PreparedRows> {
    let mut parts: BTreeMap<GraphName, PreparedRows> = BTreeMap::new();
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

/// Refuses all rows of a part for a reason.
pub(super) fn refuse(part: &PreparedRows, reason: &str) -> Vec<Quarantined> {
    let nodes = part.nodes.iter().flat_map(|group| refuse_nodes(group, reason));
    nodes.chain(part.relationships.iter().flat_map(|group| refuse_relationships(group, reason))).collect()
}

fn refuse_nodes(group: &NodeWriteSet, reason: &str) -> Vec<Quarantined> {
    let kind = KindName::Label(group.label.as_str());
    let refused = |key: &Key| Quarantined::new(kind, key.to_string(), None, reason).because_of(QuarantineCause::Graph);
    group.rows.identities().iter().map(refused).collect()
}

fn refuse_relationships(group: &RelationshipWriteSet, reason: &str) -> Vec<Quarantined> {
    let kind = KindName::Type(group.rel_type.as_str());
    let refused = |identity: &RelationshipIdentity| {
        Quarantined::new(kind, identity.key.to_string(), None, reason).because_of(QuarantineCause::Cache)
    };
    group.rows.identities().iter().map(refused).collect()
}

fn delete_everywhere(parts: &mut GraphBatches<'_>, rows: &PreparedRows, graphs: &BTreeSet<GraphName>) {
    if rows.deleted_nodes.is_empty() && rows.deleted_relationships.is_empty() {
        return;
    }
    for graph in graphs {
        let part = parts.entry(graph.clone()).or_default().to_mut();
        part.deleted_nodes.extend_from_slice(&rows.deleted_nodes);
        part.deleted_relationships.extend_from_slice(&rows.deleted_relationships);
    }
}

/// Deletes each written element from every other graph, so that a changed group leaves no copy behind.
fn delete_elsewhere(parts: &mut GraphBatches<'_>, graphs: &BTreeSet<GraphName>) {
    let written: BTreeMap<GraphName, (Vec<NodeIdentity>, Vec<RelationshipIdentity>)> =
        parts.iter().map(|(graph, part)| (graph.clone(), identities(part))).collect();
    for graph in graphs {
        for (_, (nodes, relationships)) in written.iter().filter(|(other, _)| *other != graph) {
            let part = parts.entry(graph.clone()).or_default().to_mut();
            part.deleted_nodes.extend_from_slice(nodes);
            part.deleted_relationships.extend_from_slice(relationships);
        }
    }
}

fn identities(part: &PreparedRows) -> (Vec<NodeIdentity>, Vec<RelationshipIdentity>) {
    let of_group = |group: &NodeWriteSet| {
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
    use crate::model::name::{Label, PropertyName};
    use crate::model::prepared::EncodedRows;

    fn nodes(group: &str, keys: &[&str]) -> NodeWriteSet {
        let mut rows = EncodedRows::default();
        for key in keys {
            rows.push(Key::parse(key).unwrap(), |text| text.extend_from_slice(b"{}"));
        }
        NodeWriteSet {
            group: Some(group.to_owned()),
            label: Label::parse("Entity").unwrap(),
            key: PropertyName::parse("uuid").unwrap(),
            extra_labels: Vec::new(),
            vectors: Vec::new(),
            not_a_number: Vec::new(),
            rows,
        }
    }

    fn name(name: &str) -> GraphName {
        GraphName::new(name).unwrap()
    }

    fn names(names: &[&str]) -> BTreeSet<GraphName> {
        names.iter().copied().map(name).collect()
    }

    fn batch() -> PreparedRows {
        PreparedRows { nodes: vec![nodes("a", &["1", "2"]), nodes("", &["3"]), nodes("b{", &["4"])], ..PreparedRows::default() }
    }

    fn by_group() -> Routing {
        Routing::ByGroup(Routes::new(name("default_db")))
    }

    fn deletes(routing: &Routing, rows: &PreparedRows, graphs: &[&str]) -> Vec<(String, usize)> {
        let mut parts = routing.split(rows, &mut Vec::new());
        routing.add_deletes(&mut parts, rows, &names(graphs));
        parts.iter().map(|(graph, part)| (graph.to_string(), part.deleted_nodes.len())).collect()
    }

    fn counted(counts: &[(&str, usize)]) -> Vec<(String, usize)> {
        counts.iter().map(|(graph, number)| ((*graph).to_owned(), *number)).collect()
    }

    #[test]
    fn rows_go_to_the_graphs_of_their_groups() {
        let (rows, mut refused) = (batch(), Vec::new());
        let parts = by_group().split(&rows, &mut refused);
        let sizes: Vec<_> = parts.iter().map(|(graph, part)| (graph.as_str(), part.len())).collect();
        assert_eq!(sizes, [("a", 2), ("default_db", 1)]);
        assert_eq!((refused.len(), refused[0].key.as_str()), (1, "4"));
    }

    #[test]
    fn the_only_graph_gets_the_batch_itself() {
        let deleted = NodeIdentity { label: Label::parse("Entity").unwrap(), key: Key::parse("9").unwrap() };
        let rows = PreparedRows { deleted_nodes: vec![deleted], repairs: true, ..batch() };
        let (routing, mut refused) = (Routing::OnlyGraph(name("g")), Vec::new());
        let mut parts = routing.split(&rows, &mut refused);
        routing.add_deletes(&mut parts, &rows, &routing.known());
        assert!(matches!(parts.get(&name("g")), Some(Cow::Borrowed(part)) if std::ptr::eq(*part, &rows)), "no copy");
        assert_eq!((parts.len(), refused.len()), (1, 0));
    }

    #[test]
    fn deletes_go_to_all_graphs() {
        let deleted = NodeIdentity { label: Label::parse("Entity").unwrap(), key: Key::parse("9").unwrap() };
        let rows = PreparedRows { deleted_nodes: vec![deleted], ..batch() };
        assert_eq!(deletes(&by_group(), &rows, &["a", "c"]), counted(&[("a", 1), ("c", 1), ("default_db", 0)]));
    }

    #[test]
    fn a_repair_deletes_what_it_writes_from_the_other_graphs() {
        let graphs = ["a", "c", "default_db"];
        assert_eq!(deletes(&by_group(), &batch(), &graphs), counted(&[("a", 0), ("default_db", 0)]));
        let repair = PreparedRows { repairs: true, ..batch() };
        assert_eq!(deletes(&by_group(), &repair, &graphs), counted(&[("a", 1), ("c", 3), ("default_db", 2)]));
    }
}
