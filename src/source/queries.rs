//! The texts of all queries that read the source. This module is pure, so tests can ask Neo4j to explain each text.

mod bundles;
mod changed;
mod counts;
mod seeks;
pub(super) mod server;

pub(crate) use self::seeks::{SeekTarget, with_numbers, with_texts};

use super::expressions::{self, between_kinds, not_of_an_earlier_kind, of_no_kind};
use super::scope::Scope;
use crate::model::follow_rule::{Direction, FollowRule};
use crate::model::kind::{ElementKind, NodeKindId, RelationshipKindId};
use crate::model::name::{Label, PropertyName};
use crate::model::profile::{Identity, NodeKind, Profile, RelationshipKind};
use crate::model::projection::Projection;

/// Writes the queries of one profile.
#[derive(Debug, Clone, Copy)]
pub struct Queries<'a> {
    profile: &'a Profile,
}

impl<'a> Queries<'a> {
    /// Creates the queries of this profile.
    pub fn new(profile: &'a Profile) -> Self {
        Self { profile }
    }

    /// ` AND …`: the ends and the group of a relationship allow it to be copied.
    fn copied_ends(&self) -> String {
        between_kinds(self.profile) + &self.scope().also("e")
    }

    /// The hint to seek elements of a kind by their key.
    fn seek(&self, kind: ElementKind) -> String {
        expressions::seek(self.profile, kind, self.profile.key(kind))
    }

    fn scope(&self) -> Scope<'_> {
        Scope::of(self.profile)
    }

    /// Reads a page of a kind in the order of its key: `$after`, `$limit`.
    pub fn page(&self, kind: ElementKind, detail: Projection) -> String {
        match kind {
            ElementKind::Node(id) => self.node_page(id, detail),
            ElementKind::Relationship(id) => self.relationship_page(id, detail),
        }
    }

    /// Reads elements of a kind by key: `$keys`.
    pub fn by_key(&self, kind: ElementKind) -> String {
        match kind {
            ElementKind::Node(id) => self.nodes_by_key(id, &node_columns("properties(n)")),
            ElementKind::Relationship(id) => self.relationships_by_key(id),
        }
    }

    /// Reads nodes of a kind by key, with the columns that decide whether the cache can hold them: `$keys`.
    pub fn deciding_by_key(&self, id: NodeKindId) -> String {
        self.nodes_by_key(id, &self.deciding_columns(ElementKind::Node(id)))
    }

    /// Reads the keys of elements of a kind written since `$zoned`, which is `$local` without its zone: `$after`, `$limit`.
    /// `None` for a kind without timestamps.
    pub fn changed_keys(&self, kind: ElementKind) -> Option<String> {
        match kind {
            ElementKind::Node(id) => self.changed_node_keys(id),
            ElementKind::Relationship(id) => self.changed_relationship_keys(id),
        }
    }

    /// Reads elements of a kind that no page reaches: `$limit`. `None` for a kind with element numbers as keys.
    pub(crate) fn without_key(&self, kind: ElementKind) -> Option<String> {
        match kind {
            ElementKind::Node(id) => self.nodes_without_key(id),
            ElementKind::Relationship(id) => self.relationships_without_key(id),
        }
    }

    /// Reads a page of a node kind in the order of its key: `$after`, `$limit`.
    fn node_page(&self, id: NodeKindId, detail: Projection) -> String {
        let kind = self.profile.node(id);
        let (pattern, others) = (expressions::node(kind, None), not_of_an_earlier_kind(self.profile, id));
        let (columns, scope) =
            (node_columns(&self.projection("n", ElementKind::Node(id), &kind.vectors, detail)), self.scope().also("n"));
        match kind.identity {
            Identity::Property => {
                let (key, hint) = (kind.key.quoted_for_neo4j(), self.seek(ElementKind::Node(id)));
                format!("MATCH {pattern}{hint} WHERE n.{key} > $after{others}{scope} {columns} ORDER BY n.{key} LIMIT $limit")
            }
            // A label scan yields nodes in the order of their numbers, so the scan ends with the page.
            Identity::ElementNumber => {
                format!("MATCH {pattern} WHERE id(n) > $after{others}{scope} WITH n ORDER BY n LIMIT $limit {columns}")
            }
        }
    }

    /// Reads nodes of a kind by key: `$keys`.
    fn nodes_by_key(&self, id: NodeKindId, columns: &str) -> String {
        let kind = self.profile.node(id);
        let (others, scope) = (not_of_an_earlier_kind(self.profile, id), self.scope().also("n"));
        match kind.identity {
            Identity::Property => {
                let hint = self.seek(ElementKind::Node(id));
                let (label, key) = (kind.label.quoted_for_neo4j(), kind.key.quoted_for_neo4j());
                format!("UNWIND $keys AS k MATCH (n:{label} {{{key}: k}}){hint} WHERE true{others}{scope} {columns}")
            }
            Identity::ElementNumber => {
                format!("UNWIND $keys AS k MATCH {} WHERE id(n) = k{others}{scope} {columns}", expressions::node(kind, None))
            }
        }
    }

    /// Reads a page of a relationship kind in the order of its key: `$after`, `$limit`.
    fn relationship_page(&self, id: RelationshipKindId, detail: Projection) -> String {
        let kind = self.profile.relationship(id);
        let rel_type = kind.rel_type.quoted_for_neo4j();
        let columns = self.relationship_columns(&self.projection("e", ElementKind::Relationship(id), &kind.vectors, detail));
        let ends = self.copied_ends();
        match kind.identity {
            Identity::Property => {
                let (key, hint) = (kind.key.quoted_for_neo4j(), self.seek(ElementKind::Relationship(id)));
                format!(
                    "MATCH (a)-[e:{rel_type}]->(b){hint} WHERE e.{key} > $after{ends} {columns} ORDER BY e.{key} LIMIT $limit"
                )
            }
            Identity::ElementNumber => {
                format!("MATCH (a)-[e:{rel_type}]->(b) WHERE id(e) > $after{ends} WITH a, e, b ORDER BY e LIMIT $limit {columns}")
            }
        }
    }

    /// Reads relationships of a kind by key: `$keys`.
    fn relationships_by_key(&self, id: RelationshipKindId) -> String {
        let columns = self.relationship_columns("properties(e)");
        let RelationshipKind { rel_type, key, identity, .. } = self.profile.relationship(id);
        let hint = self.seek(ElementKind::Relationship(id));
        let (rel_type, key, ends) = (rel_type.quoted_for_neo4j(), key.quoted_for_neo4j(), self.copied_ends());
        match identity {
            Identity::Property => {
                format!("UNWIND $keys AS k MATCH (a)-[e:{rel_type} {{{key}: k}}]->(b){hint} WHERE true{ends} {columns}")
            }
            Identity::ElementNumber => {
                format!("UNWIND $keys AS k MATCH (a)-[e:{rel_type}]->(b) WHERE id(e) = k{ends} {columns}")
            }
        }
    }

    /// Counts the keys of a kind, or of its nodes with one more label, that begin with one of `$prefixes`, grouped by their first
    /// `$grown` characters. All prefixes have `$length` characters.
    pub fn key_groups(&self, kind: ElementKind, with: Option<&Label>) -> String {
        let (pattern, key) = self.keyed(kind, with);
        format!("{} RETURN left({key}, $grown) AS name, count(*) AS count", self.begins(kind, &pattern, &key))
    }

    /// Reads the identities of elements of a kind, or of its nodes with one more label, if the first `$length` characters of the
    /// key are one of `$prefixes`.
    pub fn identities(&self, kind: ElementKind, with: Option<&Label>) -> String {
        let (pattern, key) = self.keyed(kind, with);
        match kind {
            ElementKind::Node(_) => {
                format!("{} RETURN {key} AS key, labels(n) AS labels", self.begins(kind, &pattern, &key))
            }
            ElementKind::Relationship(_) => {
                format!(
                    "{} RETURN {key} AS key, labels(a) AS start_labels, {} AS start_key, labels(b) AS end_labels, {} AS end_key",
                    self.begins(kind, &pattern, &key),
                    self.endpoint_key("a"),
                    self.endpoint_key("b")
                )
            }
        }
    }

    /// Matches the elements with a key that begins with one of the prefixes. The index finds a prefix, and only texts have one; a
    /// prefix shorter than `$length` is a whole key. The query applies no function to a key before it knows that the key is a
    /// text: Neo4j aborts the query if `left` meets another type. Numbers have no index, so one scan serves all prefixes.
    fn begins(&self, kind: ElementKind, pattern: &str, key: &str) -> String {
        let ends = match kind {
            ElementKind::Node(_) => self.scope().also("n"),
            ElementKind::Relationship(_) => self.copied_ends(),
        };
        let hint = self.seek(kind);
        match self.profile.identity(kind) {
            Identity::Property => format!(
                "UNWIND $prefixes AS prefix MATCH {pattern}{hint} WHERE {key} STARTS WITH prefix \
                 AND (size(prefix) = $length OR {key} = prefix){ends}"
            ),
            Identity::ElementNumber => format!("MATCH {pattern} WHERE left({key}, $length) IN $prefixes{ends}"),
        }
    }

    fn keyed(&self, kind: ElementKind, with: Option<&Label>) -> (String, String) {
        match kind {
            ElementKind::Node(id) => {
                let node = self.profile.node(id);
                (expressions::node(node, with), expressions::key("n", node.identity, &node.key))
            }
            ElementKind::Relationship(id) => {
                let RelationshipKind { rel_type, key, identity, .. } = self.profile.relationship(id);
                (format!("(a)-[e:{}]->(b)", rel_type.quoted_for_neo4j()), expressions::key("e", *identity, key))
            }
        }
    }

    /// Follows a rule from the elements of `$keys`: returns keys of relationships as `edge`, keys of nodes as `key` with
    /// `labels`. A rule about kinds that the profile lacks leads nowhere; the profile's check excludes such rules.
    pub fn followed(&self, rule: &FollowRule) -> Option<String> {
        match rule {
            FollowRule::Relationships { from, rel_type, direction } => {
                let kind = self.profile.node_kind(from)?;
                let (hint, key) = (self.seek(ElementKind::Node(kind)), self.profile.node(kind).key.quoted_for_neo4j());
                let edge = self.profile.relationship(self.profile.relationship_kind(rel_type)?).key.quoted_for_neo4j();
                let (left, right) = match direction {
                    Direction::Out => ("-", "->"),
                    Direction::In => ("<-", "-"),
                };
                Some(format!(
                    "UNWIND $keys AS k MATCH (n:{} {{{key}: k}}){left}[e:{}]{right}(b){hint} RETURN e.{edge} AS edge, labels(b) AS labels, \
                     {} AS key",
                    from.quoted_for_neo4j(),
                    rel_type.quoted_for_neo4j(),
                    self.endpoint_key("b")
                ))
            }
            FollowRule::ListedRelationships { from, list, .. } => {
                let kind = self.profile.node_kind(from)?;
                let (hint, key) = (self.seek(ElementKind::Node(kind)), self.profile.node(kind).key.quoted_for_neo4j());
                Some(format!(
                    "UNWIND $keys AS k MATCH (n:{} {{{key}: k}}){hint} UNWIND n.{} AS edge RETURN DISTINCT edge",
                    from.quoted_for_neo4j(),
                    list.quoted_for_neo4j()
                ))
            }
            FollowRule::ListedNodes { from_type, list, label, last } => {
                let kind = self.profile.relationship_kind(from_type)?;
                let hint = self.seek(ElementKind::Relationship(kind));
                let key = self.profile.relationship(kind).key.quoted_for_neo4j();
                // A value that is not a list has no last items, and UNWIND takes it as one item.
                let list = format!("e.{}", list.quoted_for_neo4j());
                Some(format!(
                    "UNWIND $keys AS k MATCH ()-[e:{} {{{key}: k}}]->(){hint} \
                     UNWIND CASE WHEN {list} IS :: LIST<ANY> THEN {list}[-{last}..] ELSE {list} END AS key \
                     RETURN DISTINCT key, [{}] AS labels",
                    from_type.quoted_for_neo4j(),
                    expressions::text(label.as_str())
                ))
            }
        }
    }

    /// Finds the most frequent list length of a property, in a sample of about this share of a kind's elements. Only the sample's
    /// lists are read.
    pub(crate) fn usual_dimension(&self, kind: ElementKind, property: &PropertyName, share: f64) -> String {
        let pattern = match kind {
            ElementKind::Node(id) => expressions::node(self.profile.node(id), None),
            ElementKind::Relationship(id) => format!("()-[n:{}]->()", self.profile.relationship(id).rel_type.quoted()),
        };
        let property = property.quoted();
        format!(
            "MATCH {pattern} WHERE rand() < {share} AND n.{property} IS :: LIST<ANY> WITH size(n.{property}) AS dimension \
             WHERE dimension > 0 RETURN dimension, count(*) AS count ORDER BY count DESC, dimension LIMIT 1"
        )
    }

    /// Reads nodes of a kind that no page reaches, because their key is absent, empty or not a string: `$limit`. `None` for a
    /// kind without a key property: every element has a number.
    fn nodes_without_key(&self, id: NodeKindId) -> Option<String> {
        let NodeKind { label, key, identity, .. } = self.profile.node(id);
        if *identity != Identity::Property {
            return None;
        }
        let (others, scope) = (not_of_an_earlier_kind(self.profile, id), self.scope().also("n"));
        let (unreachable, columns) = (unreachable("n", key), self.deciding_columns(ElementKind::Node(id)));
        Some(format!("MATCH (n:{}) WHERE {unreachable}{others}{scope} {columns} LIMIT $limit", label.quoted_for_neo4j()))
    }

    /// As [`Self::nodes_without_key`], for a relationship kind.
    fn relationships_without_key(&self, id: RelationshipKindId) -> Option<String> {
        let RelationshipKind { rel_type, key, identity, .. } = self.profile.relationship(id);
        if *identity != Identity::Property {
            return None;
        }
        let (unreachable, columns) = (unreachable("e", key), self.deciding_columns(ElementKind::Relationship(id)));
        let ends = self.copied_ends();
        Some(format!("MATCH (a)-[e:{}]->(b) WHERE {unreachable}{ends} {columns} LIMIT $limit", rel_type.quoted_for_neo4j()))
    }

    /// Counts the nodes of each label set that holds no label of the profile.
    pub(crate) fn nodes_outside_profile(&self) -> String {
        let (kinds, scope) = (of_no_kind(self.profile), self.scope().also("n"));
        format!("MATCH (n) WHERE {kinds}{scope} RETURN labels(n) AS labels, count(*) AS count")
    }

    /// Counts the relationships of a type; if all groups are copied, Neo4j keeps the count, so no scan is needed.
    pub(crate) fn relationship_count(&self, quoted_type: &str) -> String {
        format!("MATCH ()-[e:{quoted_type}]->(){} RETURN count(e) AS count", self.scope().alone("e"))
    }

    /// Returns only the columns that decide whether the cache can hold an element of a kind: its key and its group. Its other
    /// properties may be heavy.
    pub(super) fn deciding_columns(&self, kind: ElementKind) -> String {
        let group = self.profile.group.as_ref().map(|group| format!(", .{}", group.quoted_for_neo4j())).unwrap_or_default();
        let key = self.profile.key(kind).quoted_for_neo4j();
        match kind {
            ElementKind::Node(_) => node_columns(&format!("n{{.{key}{group}}}")),
            ElementKind::Relationship(_) => self.relationship_columns(&format!("e{{.{key}{group}}}")),
        }
    }

    /// The properties to read from an element. They always include the ones that decide whether the cache can hold it.
    pub(super) fn projection(&self, variable: &str, kind: ElementKind, vectors: &[PropertyName], detail: Projection) -> String {
        let key = self.profile.key(kind);
        let group = self.profile.group.as_ref().filter(|_| self.profile.routes.is_some() && detail == Projection::Key);
        match group {
            Some(group) => format!("{variable}{{.{}, .{}}}", key.quoted_for_neo4j(), group.quoted_for_neo4j()),
            None => self.profile.projection(detail, variable, key, vectors, PropertyName::quoted_for_neo4j),
        }
    }

    fn relationship_columns(&self, properties: &str) -> String {
        format!(
            "RETURN elementId(e) AS id, labels(a) AS start_labels, {} AS start_key, {} AS start_group, labels(b) AS end_labels, \
             {} AS end_key, {} AS end_group, {properties} AS properties",
            self.endpoint_key("a"),
            self.endpoint_group("a"),
            self.endpoint_key("b"),
            self.endpoint_group("b")
        )
    }

    /// The group of an endpoint, if the group decides which graph holds the endpoint.
    fn endpoint_group(&self, variable: &str) -> String {
        let group = self.profile.group.as_ref().filter(|_| self.profile.routes.is_some());
        group.map_or_else(|| "null".to_owned(), |group| format!("{variable}.{}", group.quoted_for_neo4j()))
    }

    fn endpoint_key(&self, variable: &str) -> String {
        expressions::endpoint_key(self.profile, variable)
    }
}

fn node_columns(properties: &str) -> String {
    format!("RETURN elementId(n) AS id, labels(n) AS labels, {properties} AS properties")
}

fn unreachable(variable: &str, key: &PropertyName) -> String {
    let key = format!("{variable}.{}", key.quoted_for_neo4j());
    format!("({key} IS NULL OR NOT {key} IS :: STRING NOT NULL OR {key} = '')")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_kind_leaves_out_nodes_of_the_kinds_before_it() {
        let profile = Profile::graphiti().unwrap();
        let queries = Queries::new(&profile);
        assert!(!queries.node_page(NodeKindId(0), Projection::Whole).contains("NOT n:"));
        assert!(queries.node_page(NodeKindId(1), Projection::Whole).contains("AND NOT n:`Entity`"));
    }

    #[test]
    fn kinds_without_an_indexed_timestamp_have_no_watermark_query() {
        let profile = Profile::graphiti().unwrap();
        let queries = Queries::new(&profile);
        assert!(queries.changed_node_keys(NodeKindId(0)).is_some());
        assert_eq!(queries.changed_node_keys(NodeKindId(2)), None);
        let facts = queries.changed_relationship_keys(RelationshipKindId(0)).unwrap();
        assert_eq!(facts.matches("UNION").count(), 3, "two timestamps, zoned and local each");
    }

    #[test]
    fn a_filter_is_in_every_query_that_reads_elements() {
        let groups = BTreeSet::from(["it's".to_owned(), String::new()]);
        let all = Profile::graphiti().unwrap();
        let some = all.clone().limited_to(&groups).unwrap();
        let queries = Queries::new(&some);
        let (node, relationship) = (NodeKindId(0), RelationshipKindId(0));
        let (of_nodes, of_relationships) = (ElementKind::Node(node), ElementKind::Relationship(relationship));
        let texts = [
            queries.node_page(node, Projection::Whole),
            queries.by_key(of_nodes),
            queries.deciding_by_key(node),
            queries.relationship_page(relationship, Projection::Whole),
            queries.relationships_by_key(relationship),
            queries.key_groups(of_nodes, None),
            queries.key_groups(of_relationships, None),
            queries.identities(of_nodes, None),
            queries.identities(of_relationships, None),
            queries.changed_node_keys(node).unwrap(),
            queries.changed_relationship_keys(relationship).unwrap(),
            queries.nodes_without_key(node).unwrap(),
            queries.relationships_without_key(relationship).unwrap(),
            queries.nodes_outside_profile(),
            queries.relationship_count("`X`"),
            queries.label_count("Person"),
            queries.scanned_labels(),
            queries.scanned_types(),
            queries.all_nodes(),
            queries.all_relationships(),
            queries.count(of_nodes),
            queries.count(of_relationships),
        ];
        for text in texts {
            assert!(text.contains(r"`group_id` IN ['', 'it\'s']"), "{text}");
        }
        assert_eq!(queries.counts().matches("group_id").count(), some.kinds().len());
        assert!(!Queries::new(&all).counts().contains("group_id"));
    }

    #[test]
    fn no_function_meets_a_key_or_timestamp_of_another_type() {
        let profile = Profile::graphiti().unwrap();
        let queries = Queries::new(&profile);
        for kind in profile.kinds() {
            for text in [queries.key_groups(kind, None), queries.identities(kind, None)] {
                let (condition, columns) = text.split_once(" RETURN ").unwrap();
                assert!(condition.contains("STARTS WITH") && !condition.contains("left("), "{text}");
                assert!(!columns.contains("toString("), "{text}");
            }
        }
        let changed = queries.changed_relationship_keys(RelationshipKindId(0)).unwrap();
        assert!(!changed.contains("toString("), "{changed}");
    }

    #[test]
    fn a_backslash_in_a_name_begins_no_escape() {
        let text = Queries::new(&Profile::graphiti().unwrap()).label_count(r"C:\users");
        assert_eq!(text, r"MATCH (n:`C:\u005Cusers`) RETURN count(n) AS count");
    }

    #[test]
    fn endpoints_of_kinds_with_different_keys_are_told_apart() {
        let profile = Profile::parse(
            "name: x\nnodes: [{label: A, key: id}, {label: B, key: code}]\nrelationships: [{type: R, key: id}]\nindexes: \
             [{kind: range, label: A, properties: [id]}, {kind: range, label: B, properties: [code]}, {kind: range, type: R, \
             properties: [id]}]",
        )
        .unwrap();
        let text = Queries::new(&profile).relationship_page(RelationshipKindId(0), Projection::Whole);
        assert!(text.contains("CASE WHEN a:`A` THEN a.`id` WHEN a:`B` THEN a.`code` END AS start_key"), "{text}");
    }
}
