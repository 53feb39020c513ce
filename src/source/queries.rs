//! The texts of all queries that read the source. Pure, so that tests can ask Neo4j to explain each of them.

use std::collections::BTreeSet;

use crate::model::detail::Detail;
use crate::model::element::ElementKind;
use crate::model::name::{Label, PropertyName};
use crate::model::profile::{Direction, FollowRule, NodeKind, NodeKindId, Profile, RelationshipKind, RelationshipKindId};

/// The source's own clock, in milliseconds since the epoch.
pub const CLOCK: &str = "RETURN datetime().epochMillis AS now";

/// What tells one database from another.
pub const IDENTITY: &str = "CALL db.info() YIELD id, name RETURN id, name";

/// Relationship types with their counts; each count is kept by Neo4j and read without a scan.
pub const RELATIONSHIP_TYPES: &str = "CALL db.relationshipTypes() YIELD relationshipType RETURN relationshipType AS name";

/// All indices but those that every database has, with what FalkorDB needs to make the same ones.
pub const INDEXES: &str = "SHOW INDEXES YIELD name, type, entityType, labelsOrTypes, properties, options WHERE type <> 'LOOKUP' \
    RETURN name, type AS kind, entityType AS entity, labelsOrTypes AS names, properties, \
    options.indexConfig['fulltext.analyzer'] AS analyzer, options.indexConfig['vector.dimensions'] AS dimension, \
    options.indexConfig['vector.similarity_function'] AS similarity, options.indexConfig['vector.hnsw.m'] AS m, \
    options.indexConfig['vector.hnsw.ef_construction'] AS ef ORDER BY name";

/// All labels.
pub const LABELS: &str = "CALL db.labels() YIELD label RETURN label AS name";

/// Writes the queries of one profile.
#[derive(Debug, Clone, Copy)]
pub struct Queries<'a> {
    profile: &'a Profile,
}

impl<'a> Queries<'a> {
    /// The queries of this profile.
    pub fn new(profile: &'a Profile) -> Self {
        Self { profile }
    }

    /// How many nodes carry each of these labels. Where all groups are copied, each count is kept by Neo4j and read without a scan.
    pub fn label_counts(&self, labels: &[Label]) -> String {
        let scope = self.only_in_scope("n");
        let count = |label: &Label| {
            format!("MATCH (n:{}){scope} RETURN {} AS name, count(n) AS count", label.quoted(), literal(label.as_str()))
        };
        labels.iter().map(count).collect::<Vec<_>>().join(" UNION ALL ")
    }

    /// A page of a node kind in the order of its key: `$after`, `$limit`.
    pub fn node_page(&self, id: NodeKindId, detail: Detail) -> String {
        let NodeKind { label, key, vectors, .. } = self.profile.node(id);
        format!(
            "MATCH (n:{label}) WHERE n.{key} > $after{others}{scope} {columns} ORDER BY n.{key} LIMIT $limit",
            scope = self.in_scope("n"),
            columns = node_columns(&detail.projection("n", key, vectors)),
            label = label.quoted(),
            key = key.quoted(),
            others = self.not_of_an_earlier_kind(id),
        )
    }

    /// Nodes of a kind by key: `$keys`.
    pub fn nodes_by_key(&self, id: NodeKindId) -> String {
        self.nodes_with_keys(id, &node_columns(ALL_OF_NODE))
    }

    /// Nodes of a kind by key, with the instants of their zoned datetimes: `$keys`.
    pub fn nodes_with_instants(&self, id: NodeKindId) -> String {
        self.nodes_with_keys(id, &format!("{}, {}", node_columns(ALL_OF_NODE), instants("n")))
    }

    fn nodes_with_keys(&self, id: NodeKindId, columns: &str) -> String {
        let NodeKind { label, key, .. } = self.profile.node(id);
        format!(
            "UNWIND $keys AS k MATCH (n:{label} {{{key}: k}}) WHERE true{others}{scope} {columns}",
            scope = self.in_scope("n"),
            label = label.quoted(),
            key = key.quoted(),
            others = self.not_of_an_earlier_kind(id),
        )
    }

    /// A page of a relationship kind in the order of its key: `$after`, `$limit`.
    pub fn relationship_page(&self, id: RelationshipKindId, detail: Detail) -> String {
        let RelationshipKind { rel_type, key, vectors, .. } = self.profile.relationship(id);
        format!(
            "MATCH (a)-[e:{rel_type}]->(b) WHERE e.{key} > $after{scope} {columns} ORDER BY e.{key} LIMIT $limit",
            scope = self.in_scope("e"),
            rel_type = rel_type.quoted(),
            key = key.quoted(),
            columns = self.relationship_columns(&detail.projection("e", key, vectors)),
        )
    }

    /// Relationships of a kind by key: `$keys`.
    pub fn relationships_by_key(&self, id: RelationshipKindId) -> String {
        self.relationships_with_keys(id, &self.relationship_columns(ALL_OF_RELATIONSHIP))
    }

    /// Relationships of a kind by key, with the instants of their zoned datetimes: `$keys`.
    pub fn relationships_with_instants(&self, id: RelationshipKindId) -> String {
        self.relationships_with_keys(id, &format!("{}, {}", self.relationship_columns(ALL_OF_RELATIONSHIP), instants("e")))
    }

    fn relationships_with_keys(&self, id: RelationshipKindId, columns: &str) -> String {
        let RelationshipKind { rel_type, key, .. } = self.profile.relationship(id);
        format!(
            "UNWIND $keys AS k MATCH (a)-[e:{rel_type} {{{key}: k}}]->(b){scope} {columns}",
            scope = self.only_in_scope("e"),
            rel_type = rel_type.quoted(),
            key = key.quoted(),
        )
    }

    /// How many elements of each kind there are, by their place among all kinds. Neo4j keeps these counts: no scan, where all
    /// groups are copied.
    ///
    /// A node that carries the labels of two kinds counts for both, as it does in the cache.
    pub fn counts(&self) -> String {
        let count = |(place, kind): (usize, ElementKind)| match kind {
            ElementKind::Node(id) => {
                let (label, scope) = (self.profile.node(id).label.quoted(), self.only_in_scope("n"));
                format!("MATCH (n:{label}){scope} RETURN {place} AS place, count(n) AS count")
            }
            ElementKind::Relationship(id) => {
                let (rel_type, scope) = (self.profile.relationship(id).rel_type.quoted(), self.only_in_scope("e"));
                format!("MATCH ()-[e:{rel_type}]->(){scope} RETURN {place} AS place, count(e) AS count")
            }
        };
        self.profile.kinds().into_iter().enumerate().map(count).collect::<Vec<_>>().join(" UNION ALL ")
    }

    /// How many keys of a kind, or of its nodes with one more label, begin with one of `$prefixes`, which all have `$length`
    /// characters, grouped by their first `$grown` characters.
    pub fn key_groups(&self, kind: ElementKind, with: Option<&Label>) -> String {
        let (pattern, key) = self.keyed(kind, with);
        let condition = begins(&key) + &self.in_scope(variable(kind));
        format!(
            "UNWIND $prefixes AS prefix MATCH {pattern} WHERE {condition} RETURN left({key}, $grown) AS name, count(*) AS count"
        )
    }

    /// What identifies the elements of a kind, or its nodes with one more label, whose first `$length` characters of the key
    /// are one of `$prefixes`.
    pub fn identities(&self, kind: ElementKind, with: Option<&Label>) -> String {
        match kind {
            ElementKind::Node(_) => {
                let (pattern, key) = self.keyed(kind, with);
                let condition = begins(&key) + &self.in_scope("n");
                format!("UNWIND $prefixes AS prefix MATCH {pattern} WHERE {condition} RETURN {key} AS key, labels(n) AS labels")
            }
            ElementKind::Relationship(id) => {
                let RelationshipKind { rel_type, key, .. } = self.profile.relationship(id);
                let (rel_type, key) = (rel_type.quoted(), key.quoted());
                format!(
                    "UNWIND $prefixes AS prefix MATCH (a)-[e:{rel_type}]->(b) WHERE {}{} RETURN e.{key} AS key, \
                     labels(a) AS start_labels, {} AS start_key, labels(b) AS end_labels, {} AS end_key",
                    begins(&format!("e.{key}")),
                    self.in_scope("e"),
                    self.endpoint_key("a"),
                    self.endpoint_key("b")
                )
            }
        }
    }

    fn keyed(&self, kind: ElementKind, with: Option<&Label>) -> (String, String) {
        let with = with.map(|label| format!(":{}", label.quoted())).unwrap_or_default();
        match kind {
            ElementKind::Node(id) => {
                let NodeKind { label, key, .. } = self.profile.node(id);
                (format!("(n:{}{with})", label.quoted()), format!("n.{}", key.quoted()))
            }
            ElementKind::Relationship(id) => {
                let RelationshipKind { rel_type, key, .. } = self.profile.relationship(id);
                (format!("()-[e:{}]->()", rel_type.quoted()), format!("e.{}", key.quoted()))
            }
        }
    }

    /// What a rule leads to from the elements of `$keys`: keys of relationships as `edge`, of nodes as `key` with `labels`.
    /// A rule of what the profile does not have leads nowhere; the profile's check excludes it.
    pub fn followed(&self, rule: &FollowRule) -> Option<String> {
        match rule {
            FollowRule::Relationships { from, rel_type, direction } => {
                let key = self.profile.node(self.profile.node_kind(from)?).key.quoted();
                let edge = self.profile.relationship(self.profile.relationship_kind(rel_type)?).key.quoted();
                let (left, right) = match direction {
                    Direction::Out => ("-", "->"),
                    Direction::In => ("<-", "-"),
                };
                Some(format!(
                    "UNWIND $keys AS k MATCH (n:{} {{{key}: k}}){left}[e:{}]{right}(b) RETURN e.{edge} AS edge, labels(b) AS labels, \
                     {} AS key",
                    from.quoted(),
                    rel_type.quoted(),
                    self.endpoint_key("b")
                ))
            }
            FollowRule::ListedRelationships { from, list, .. } => {
                let key = self.profile.node(self.profile.node_kind(from)?).key.quoted();
                Some(format!(
                    "UNWIND $keys AS k MATCH (n:{} {{{key}: k}}) UNWIND n.{} AS edge RETURN DISTINCT edge",
                    from.quoted(),
                    list.quoted()
                ))
            }
            FollowRule::ListedNodes { from_type, list, label, last } => {
                let key = self.profile.relationship(self.profile.relationship_kind(from_type)?).key.quoted();
                Some(format!(
                    "UNWIND $keys AS k MATCH ()-[e:{} {{{key}: k}}]->() UNWIND e.{}[-{last}..] AS key RETURN DISTINCT key, [{}] AS labels",
                    from_type.quoted(),
                    list.quoted(),
                    literal(label.as_str())
                ))
            }
        }
    }

    /// Keys of nodes of a kind written since `$zoned` (`$local` for values without a zone), in order: `$after`, `$limit`.
    pub fn changed_node_keys(&self, id: NodeKindId) -> Option<String> {
        let NodeKind { label, key, timestamps, .. } = self.profile.node(id);
        changed_keys(&format!("(n:{})", label.quoted()), "n", key, timestamps, &self.later_in_scope("n"))
    }

    /// As [`Self::changed_node_keys`], for a relationship kind.
    pub fn changed_relationship_keys(&self, id: RelationshipKindId) -> Option<String> {
        let RelationshipKind { rel_type, key, timestamps, .. } = self.profile.relationship(id);
        changed_keys(&format!("()-[e:{}]->()", rel_type.quoted()), "e", key, timestamps, &self.later_in_scope("e"))
    }

    /// Nodes of a kind that no page reaches, because their key is absent, empty or not a string: `$limit`.
    pub fn nodes_without_key(&self, id: NodeKindId) -> String {
        let NodeKind { label, key, .. } = self.profile.node(id);
        format!(
            "MATCH (n:{label}) WHERE {unreachable}{others}{scope} {columns} LIMIT $limit",
            scope = self.in_scope("n"),
            columns = node_columns(ALL_OF_NODE),
            label = label.quoted(),
            unreachable = unreachable("n", key),
            others = self.not_of_an_earlier_kind(id),
        )
    }

    /// As [`Self::nodes_without_key`], for a relationship kind.
    pub fn relationships_without_key(&self, id: RelationshipKindId) -> String {
        let RelationshipKind { rel_type, key, .. } = self.profile.relationship(id);
        format!(
            "MATCH (a)-[e:{rel_type}]->(b) WHERE {unreachable}{scope} {columns} LIMIT $limit",
            scope = self.in_scope("e"),
            rel_type = rel_type.quoted(),
            unreachable = unreachable("e", key),
            columns = self.relationship_columns(ALL_OF_RELATIONSHIP),
        )
    }

    /// How many nodes there are of each label set that holds no label of the profile.
    pub fn nodes_outside_profile(&self) -> String {
        let labels: Vec<_> = self.profile.nodes.iter().map(|kind| format!("NOT n:{}", kind.label.quoted())).collect();
        let (labels, scope) = (labels.join(" AND "), self.in_scope("n"));
        format!("MATCH (n) WHERE {labels}{scope} RETURN labels(n) AS labels, count(*) AS count")
    }

    /// How many relationships there are of a type; kept by Neo4j and read without a scan, where all groups are copied.
    pub fn relationship_count(&self, quoted_type: &str) -> String {
        format!("MATCH ()-[e:{quoted_type}]->(){} RETURN count(e) AS count", self.only_in_scope("e"))
    }

    /// The condition that an element is of one of the groups that are copied; nothing where all of them are.
    fn in_scope(&self, variable: &str) -> String {
        self.group_is_copied(variable).map(|condition| format!(" AND {condition}")).unwrap_or_default()
    }

    /// As [`Self::in_scope`], where it is the only condition.
    fn only_in_scope(&self, variable: &str) -> String {
        self.group_is_copied(variable).map(|condition| format!(" WHERE {condition}")).unwrap_or_default()
    }

    /// As [`Self::in_scope`], of what was found by other conditions: the planner must not begin with the groups.
    fn later_in_scope(&self, variable: &str) -> String {
        self.group_is_copied(variable).map(|condition| format!(" WITH {variable} WHERE {condition}")).unwrap_or_default()
    }

    fn group_is_copied(&self, variable: &str) -> Option<String> {
        let group = self.profile.group.as_ref().filter(|_| !self.profile.only_groups.is_empty())?;
        let groups: Vec<String> = self.profile.only_groups.iter().map(|group| literal(group)).collect();
        Some(format!("{variable}.{} IN [{}]", group.quoted(), groups.join(", ")))
    }

    fn not_of_an_earlier_kind(&self, id: NodeKindId) -> String {
        self.profile.earlier_labels(id).map(|label| format!(" AND NOT n:{}", label.quoted())).collect()
    }

    fn relationship_columns(&self, properties: &str) -> String {
        format!(
            "RETURN elementId(e) AS id, labels(a) AS start_labels, {} AS start_key, labels(b) AS end_labels, {} AS end_key, \
             {properties} AS properties",
            self.endpoint_key("a"),
            self.endpoint_key("b")
        )
    }

    /// The key of an endpoint, whose property depends on the endpoint's kind.
    fn endpoint_key(&self, variable: &str) -> String {
        let keys: BTreeSet<_> = self.profile.nodes.iter().map(|kind| &kind.key).collect();
        if let (1, Some(key)) = (keys.len(), keys.first()) {
            return format!("{variable}.{}", key.quoted());
        }
        let cases: String = self
            .profile
            .nodes
            .iter()
            .map(|kind| format!(" WHEN {variable}:{} THEN {variable}.{}", kind.label.quoted(), kind.key.quoted()))
            .collect();
        format!("CASE{cases} END")
    }
}

/// Whether a key begins in one of the ways that are asked for. The index finds the prefix; a key that is shorter than the
/// beginnings and equal to none is no match.
fn begins(key: &str) -> String {
    format!("{key} STARTS WITH prefix AND left({key}, $length) = prefix")
}

/// How a kind's elements are called in [`Queries::key_groups`].
fn variable(kind: ElementKind) -> &'static str {
    match kind {
        ElementKind::Node(_) => "n",
        ElementKind::Relationship(_) => "e",
    }
}

/// A text as Cypher writes it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

const ALL_OF_NODE: &str = "properties(n)";
const ALL_OF_RELATIONSHIP: &str = "properties(e)";

fn node_columns(properties: &str) -> String {
    format!("RETURN elementId(n) AS id, labels(n) AS labels, {properties} AS properties")
}

/// For each property that holds zoned datetimes, their epoch seconds: Bolt 4.4 sends only the wall clock of a named zone.
fn instants(variable: &str) -> String {
    format!(
        "[p IN keys({variable}) WHERE {variable}[p] IS :: ZONED DATETIME NOT NULL | {{name: p, seconds: [{variable}[p].epochSeconds]}}] \
         + [p IN keys({variable}) WHERE {variable}[p] IS :: LIST<ZONED DATETIME NOT NULL> NOT NULL AND size({variable}[p]) > 0 \
         | {{name: p, seconds: [t IN {variable}[p] | t.epochSeconds]}}] AS instants"
    )
}

/// One index seek a timestamp and value type (zoned and local values do not compare, so each needs its own), then the order.
/// The key's condition comes after them, or the planner would walk the key's index and filter.
///
/// The groups come after all of them, for the same reason.
fn changed_keys(pattern: &str, variable: &str, key: &PropertyName, timestamps: &[PropertyName], scope: &str) -> Option<String> {
    let key = key.quoted();
    // What the timestamps are: a key is read again at once when they move.
    let stamp = timestamps
        .iter()
        .map(|timestamp| format!("coalesce(toString({variable}.{}), '')", timestamp.quoted()))
        .collect::<Vec<_>>()
        .join(" + '|' + ");
    let seeks: Vec<String> = timestamps
        .iter()
        .flat_map(|timestamp| ["$zoned", "$local"].map(|since| (timestamp.quoted(), since)))
        .map(|(timestamp, since)| {
            format!("MATCH {pattern} WHERE {variable}.{timestamp} > {since}{scope} RETURN {variable}.{key} AS k, {stamp} AS s")
        })
        .collect();
    if seeks.is_empty() {
        return None;
    }
    Some(format!(
        "CALL () {{ {} }} WITH DISTINCT k, s WHERE k > $after RETURN k, s ORDER BY k LIMIT $limit",
        seeks.join(" UNION ")
    ))
}

fn unreachable(variable: &str, key: &PropertyName) -> String {
    let key = format!("{variable}.{}", key.quoted());
    format!("({key} IS NULL OR NOT {key} IS :: STRING NOT NULL OR {key} = '')")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_leaves_out_nodes_of_the_kinds_before_it() {
        let profile = Profile::graphiti().unwrap();
        let queries = Queries::new(&profile);
        assert!(!queries.node_page(NodeKindId(0), Detail::Whole).contains("NOT n:"));
        assert!(queries.node_page(NodeKindId(1), Detail::Whole).contains("AND NOT n:`Entity`"));
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
            queries.node_page(node, Detail::Whole),
            queries.nodes_by_key(node),
            queries.relationship_page(relationship, Detail::Whole),
            queries.relationships_by_key(relationship),
            queries.key_groups(of_nodes, None),
            queries.key_groups(of_relationships, None),
            queries.identities(of_nodes, None),
            queries.identities(of_relationships, None),
            queries.changed_node_keys(node).unwrap(),
            queries.changed_relationship_keys(relationship).unwrap(),
            queries.nodes_without_key(node),
            queries.relationships_without_key(relationship),
            queries.nodes_outside_profile(),
            queries.relationship_count("`X`"),
            queries.label_counts(&[Label::parse("Person").unwrap()]),
        ];
        for text in texts {
            assert!(text.contains(r"`group_id` IN ['', 'it\'s']"), "{text}");
        }
        assert_eq!(queries.counts().matches("group_id").count(), some.kinds().len());
        assert!(!Queries::new(&all).counts().contains("group_id"));
    }

    #[test]
    fn endpoints_of_kinds_with_different_keys_are_told_apart() {
        let profile = Profile::parse(
            "name: x\nnodes: [{label: A, key: id}, {label: B, key: code}]\nrelationships: [{type: R, key: id}]\nindexes: \
             [{kind: range, label: A, properties: [id]}, {kind: range, label: B, properties: [code]}, {kind: range, type: R, \
             properties: [id]}]",
        )
        .unwrap();
        let text = Queries::new(&profile).relationship_page(RelationshipKindId(0), Detail::Whole);
        assert!(text.contains("CASE WHEN a:`A` THEN a.`id` WHEN a:`B` THEN a.`code` END AS start_key"), "{text}");
    }
}
