//! The texts of the queries that write the graph and check the result. Pure.
//!
//! No statement is a MERGE. Each looks for an element in the index of its key and, if there is none, creates it by a `FOREACH`
//! over nothing or one thing. On FalkorDB 4.16.3 that measured better in every case, and it is exact where MERGE is not:
//! - a relationship MERGE reads all relationships between its two nodes (16 ms a row for 50,000 of them; the index takes 0.05
//!   ms);
//! - a node MERGE that sets further labels makes 2,600 new nodes a second, this 15,300;
//! - a MERGE on `(:Episodic {uuid})` would take a node of an earlier kind that carries that label too.
//!
//! Texts contain only names and never values, so that they do not flood FalkorDB's cache of parsed queries, which keeps 25 for a
//! graph.

use crate::model::element::{NodeIdentity, RelationshipIdentity};
use crate::model::name::{Label, PropertyName, RelationshipType};
use crate::model::prepared::{NodeWriteSet, RelationshipWriteSet, not_a_number_expression};
use crate::model::profile::Profile;

/// The pattern that finds a node by its identity: the label of its kind, its key, and none of the labels that would assign it to an
/// earlier kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodePattern {
    label: Label,
    key: PropertyName,
    earlier: Vec<Label>,
}

impl NodePattern {
    /// The pattern of the kind with this identity label. A label that the profile does not name has no earlier kinds.
    pub fn of(profile: &Profile, label: &Label, key: &PropertyName) -> Self {
        let place = profile.node_ids().find(|id| profile.node(*id).label == *label);
        let earlier = place.map(|id| profile.earlier_labels(id).cloned().collect()).unwrap_or_default();
        Self { label: label.clone(), key: key.clone(), earlier }
    }

    /// The pattern of a node's kind; nothing if the profile does not name its label.
    pub(super) fn identified(profile: &Profile, identity: &NodeIdentity) -> Option<Self> {
        let kind = profile.nodes.iter().find(|kind| kind.label == identity.label)?;
        Some(Self::of(profile, &kind.label, &kind.key))
    }

    /// `(n:L {key: value})` and, if necessary, ` WHERE …`: `value` is an expression.
    fn matched(&self, variable: &str, value: &str) -> String {
        let (label, key) = (self.label.quoted(), self.key.quoted());
        let filter = if self.earlier.is_empty() {
            String::new()
        } else if self.earlier.len() <= ASKED_FOR {
            let conditions: Vec<String> =
                self.earlier.iter().map(|earlier| format!("NOT {variable}:{}", earlier.quoted())).collect();
            format!(" WHERE {}", conditions.join(" AND "))
        } else {
            format!(" WHERE {}", has_none(variable, &self.earlier))
        };
        format!("({variable}:{label} {{{key}: {value}}}){filter}")
    }

    /// Conditions that an expression yields a node of this kind with this key. They are not a pattern, because a label in the
    /// pattern of a relationship makes FalkorDB start from that label.
    fn conditions(&self, node: &str, value: &str) -> String {
        let mut text = format!("{node}.{} = {value} AND hasLabels({node}, [{}])", self.key.quoted(), literal(&self.label));
        if self.earlier.len() > ASKED_FOR {
            text.push_str(&format!(" AND {}", has_none(node, &self.earlier)));
            return text;
        }
        for earlier in &self.earlier {
            text.push_str(&format!(" AND NOT hasLabels({node}, [{}])", literal(earlier)));
        }
        text
    }
}

/// The pattern that finds a relationship by its identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelationshipPattern {
    /// The type of the relationship.
    pub rel_type: RelationshipType,
    /// The property that holds its key.
    pub key: PropertyName,
    /// The node at which the relationship begins.
    pub start: NodePattern,
    /// The node at which the relationship ends.
    pub end: NodePattern,
}

impl RelationshipPattern {
    /// The pattern of a group's relationships.
    pub fn of(profile: &Profile, group: &RelationshipWriteSet) -> Self {
        Self {
            rel_type: group.rel_type.clone(),
            key: group.key.clone(),
            start: NodePattern::of(profile, &group.start.label, &group.start.key),
            end: NodePattern::of(profile, &group.end.label, &group.end.key),
        }
    }

    /// The pattern of a relationship's kind; nothing if the profile does not name its type or an endpoint's label.
    pub(super) fn identified(profile: &Profile, identity: &RelationshipIdentity) -> Option<Self> {
        let kind = profile.relationships.iter().find(|kind| kind.rel_type == identity.rel_type)?;
        Some(Self {
            rel_type: kind.rel_type.clone(),
            key: kind.key.clone(),
            start: NodePattern::identified(profile, &identity.start)?,
            end: NodePattern::identified(profile, &identity.end)?,
        })
    }

    /// `()-[x:T {key: r.k}]->()`, found only by the index of the key: FalkorDB starts from an endpoint as soon as an endpoint has
    /// a label or a name.
    fn by_key(&self) -> String {
        format!("()-[x:{} {{{}: r.k}}]->()", self.rel_type.quoted(), self.key.quoted())
    }

    fn identity_conditions(&self) -> String {
        format!("{} AND {}", self.start.conditions("startNode(x)", "r.s"), self.end.conditions("endNode(x)", "r.e"))
    }
}

/// Writes the nodes of a group from `$rows`.
pub fn upsert_nodes(pattern: &NodePattern, group: &NodeWriteSet) -> String {
    let labels: String = group.extra_labels.iter().map(|label| format!(":{}", label.quoted())).collect();
    let add_labels = if labels.is_empty() { String::new() } else { format!(", n{labels}") };
    format!(
        "UNWIND $rows AS r OPTIONAL MATCH {} SET {}{add_labels} {} CREATE (m:{}{labels}) SET {})",
        pattern.matched("n", "r.k"),
        replace_properties("n", &group.vectors, &group.not_a_number),
        if_absent("n"),
        pattern.label.quoted(),
        replace_properties("m", &group.vectors, &group.not_a_number),
    )
}

/// Writes the relationships of a group from `$rows`; a row without both endpoints writes nothing.
pub fn upsert_relationships(pattern: &RelationshipPattern, group: &RelationshipWriteSet) -> String {
    format!(
        "UNWIND $rows AS r MATCH {} MATCH {} OPTIONAL MATCH {} WHERE startNode(x) = a AND endNode(x) = b SET {} {} \
         CREATE (a)-[m:{}]->(b) SET {})",
        pattern.start.matched("a", "r.s"),
        pattern.end.matched("b", "r.e"),
        pattern.by_key(),
        replace_properties("x", &group.vectors, &group.not_a_number),
        if_absent("x"),
        pattern.rel_type.quoted(),
        replace_properties("m", &group.vectors, &group.not_a_number),
    )
}

/// Returns `r.i` of those `$rows` that have no relationship in the graph.
pub fn absent_relationships(pattern: &RelationshipPattern) -> String {
    format!(
        "UNWIND $rows AS r OPTIONAL MATCH {} WHERE {} WITH r, x WHERE x IS NULL RETURN r.i",
        pattern.by_key(),
        pattern.identity_conditions()
    )
}

/// Returns those `$keys` that have no node in the graph.
pub fn absent_nodes(pattern: &NodePattern) -> String {
    format!("UNWIND $keys AS k OPTIONAL MATCH {} WITH k, n WHERE n IS NULL RETURN k", pattern.matched("n", "k"))
}

/// Returns key and labels, one a row, of those nodes of `$keys` that carry more labels than `expected`.
pub fn surplus_labels(pattern: &NodePattern, expected: usize) -> String {
    let matched = pattern.matched("n", "k");
    let also = if pattern.earlier.is_empty() { "WHERE" } else { "AND" };
    format!("UNWIND $keys AS k MATCH {matched} {also} size(labels(n)) > {expected} UNWIND labels(n) AS label RETURN k, label")
}

/// Removes a label from the nodes of `$keys`.
pub fn remove_label(pattern: &NodePattern, surplus: &Label) -> String {
    format!("UNWIND $keys AS k MATCH {} REMOVE n:{}", pattern.matched("n", "k"), surplus.quoted())
}

/// Deletes the nodes of `$keys`, their relationships with them.
pub fn delete_nodes(pattern: &NodePattern) -> String {
    format!("UNWIND $keys AS k MATCH {} DELETE n", pattern.matched("n", "k"))
}

/// Deletes the relationships of `$rows`.
pub fn delete_relationships(pattern: &RelationshipPattern) -> String {
    format!("UNWIND $rows AS r MATCH {} WHERE {} DELETE x", pattern.by_key(), pattern.identity_conditions())
}

/// Replaces all properties by the row's. Each property is in only one assignment, because FalkorDB frees a property twice if it
/// is in two; and none is set to null, which would register the name on the master alone.
fn replace_properties(variable: &str, vectors: &[PropertyName], not_a_number: &[PropertyName]) -> String {
    let mut text = format!("{variable} = r.p");
    for (place, vector) in vectors.iter().enumerate() {
        text.push_str(&format!(", {variable}.{} = vecf32(r.v{place})", vector.quoted()));
    }
    for (place, property) in not_a_number.iter().enumerate() {
        text.push_str(&format!(", {variable}.{} = {}", property.quoted(), not_a_number_expression("r", place)));
    }
    text
}

fn if_absent(variable: &str) -> String {
    format!("FOREACH (_ IN CASE WHEN {variable} IS NULL THEN [0] ELSE [] END |")
}

/// The most labels of a node that are compared by single conditions; more are looked up in a list. FalkorDB 4.16.3 plans 2,000
/// conditions in 170 ms, the list in 18 ms.
const ASKED_FOR: usize = 8;

/// The condition that an expression yields a node with none of these labels.
pub(super) fn has_none(node: &str, labels: &[Label]) -> String {
    let names: Vec<String> = labels.iter().map(literal).collect();
    format!("NOT any(label IN labels({node}) WHERE label IN [{}])", names.join(", "))
}

/// A label as a string literal of the query's text.
fn literal(label: &Label) -> String {
    let mut text = Vec::new();
    super::parameters::push_string(&mut text, label.as_str());
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::prepared::{EncodedRows, EndpointKind};

    fn entity(profile: &Profile) -> NodePattern {
        NodePattern::of(profile, &Label::parse("Entity").unwrap(), &PropertyName::parse("uuid").unwrap())
    }

    fn episodic(profile: &Profile) -> NodePattern {
        NodePattern::of(profile, &Label::parse("Episodic").unwrap(), &PropertyName::parse("uuid").unwrap())
    }

    fn mentions(profile: &Profile) -> RelationshipPattern {
        RelationshipPattern {
            rel_type: RelationshipType::parse("MENTIONS").unwrap(),
            key: PropertyName::parse("uuid").unwrap(),
            start: episodic(profile),
            end: entity(profile),
        }
    }

    #[test]
    fn nodes_are_written_with_labels_and_vectors() {
        let profile = Profile::graphiti().unwrap();
        let group = NodeWriteSet {
            group: None,
            label: Label::parse("Entity").unwrap(),
            key: PropertyName::parse("uuid").unwrap(),
            extra_labels: vec![Label::parse("Big Co").unwrap(), Label::parse("Person").unwrap()],
            vectors: vec![PropertyName::parse("name_embedding").unwrap()],
            not_a_number: vec![],
            rows: EncodedRows::default(),
        };
        assert_eq!(
            upsert_nodes(&entity(&profile), &group),
            "UNWIND $rows AS r OPTIONAL MATCH (n:`Entity` {`uuid`: r.k}) \
             SET n = r.p, n.`name_embedding` = vecf32(r.v0), n:`Big Co`:`Person` \
             FOREACH (_ IN CASE WHEN n IS NULL THEN [0] ELSE [] END | CREATE (m:`Entity`:`Big Co`:`Person`) \
             SET m = r.p, m.`name_embedding` = vecf32(r.v0))"
        );
    }

    #[test]
    fn relationships_are_found_by_their_own_index() {
        let profile = Profile::graphiti().unwrap();
        let group = RelationshipWriteSet {
            group: None,
            rel_type: RelationshipType::parse("MENTIONS").unwrap(),
            key: PropertyName::parse("uuid").unwrap(),
            start: EndpointKind { label: Label::parse("Episodic").unwrap(), key: PropertyName::parse("uuid").unwrap() },
            end: EndpointKind { label: Label::parse("Entity").unwrap(), key: PropertyName::parse("uuid").unwrap() },
            vectors: vec![],
            not_a_number: vec![],
            rows: EncodedRows::default(),
        };
        assert_eq!(
            upsert_relationships(&RelationshipPattern::of(&profile, &group), &group),
            "UNWIND $rows AS r MATCH (a:`Episodic` {`uuid`: r.s}) WHERE NOT a:`Entity` MATCH (b:`Entity` {`uuid`: r.e}) \
             OPTIONAL MATCH ()-[x:`MENTIONS` {`uuid`: r.k}]->() WHERE startNode(x) = a AND endNode(x) = b SET x = r.p \
             FOREACH (_ IN CASE WHEN x IS NULL THEN [0] ELSE [] END | CREATE (a)-[m:`MENTIONS`]->(b) SET m = r.p)"
        );
    }

    #[test]
    fn a_node_of_an_earlier_kind_is_left_alone() {
        let profile = Profile::graphiti().unwrap();
        assert_eq!(
            delete_nodes(&episodic(&profile)),
            "UNWIND $keys AS k MATCH (n:`Episodic` {`uuid`: k}) WHERE NOT n:`Entity` DELETE n"
        );
        assert_eq!(
            surplus_labels(&episodic(&profile), 1),
            "UNWIND $keys AS k MATCH (n:`Episodic` {`uuid`: k}) WHERE NOT n:`Entity` AND size(labels(n)) > 1 \
             UNWIND labels(n) AS label RETURN k, label"
        );
    }

    #[test]
    fn many_earlier_labels_stand_in_a_list() {
        let labels = (0..20).map(|number| format!("L{number:02}")).collect();
        let found = crate::model::discovery::DiscoveredSchema { labels, ..Default::default() };
        let profile = Profile::generic().unwrap().discovered(&found).unwrap();
        let pattern = NodePattern::of(&profile, &profile.nodes[10].label, &profile.nodes[10].key);
        let text = delete_nodes(&pattern);
        assert!(
            text.starts_with(
                "UNWIND $keys AS k MATCH (n:`L10` {`_neo4j_id`: k}) WHERE NOT any(label IN labels(n) WHERE label IN ['L00', 'L01'"
            ),
            "{text}"
        );
        assert!(pattern.conditions("startNode(x)", "r.s").ends_with("'L08', 'L09'])"));
    }

    #[test]
    fn a_relationship_is_deleted_only_between_its_endpoints() {
        let profile = Profile::graphiti().unwrap();
        assert_eq!(
            delete_relationships(&mentions(&profile)),
            "UNWIND $rows AS r MATCH ()-[x:`MENTIONS` {`uuid`: r.k}]->() WHERE startNode(x).`uuid` = r.s AND \
             hasLabels(startNode(x), ['Episodic']) AND NOT hasLabels(startNode(x), ['Entity']) AND endNode(x).`uuid` = r.e \
             AND hasLabels(endNode(x), ['Entity']) DELETE x"
        );
    }
}
