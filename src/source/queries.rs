//! The texts of all queries that read the source. Pure, so that tests can ask Neo4j to explain each of them.

use super::expressions::{self, between_kinds, not_of_an_earlier_kind, of_no_kind};
use super::scope::Scope;
use crate::model::detail::Detail;
use crate::model::element::ElementKind;
use crate::model::name::{Label, PropertyName};
use crate::model::profile::{
    Direction, FollowRule, Identity, NodeKind, NodeKindId, Profile, RelationshipKind, RelationshipKindId,
};

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

/// All names of properties that were ever used.
pub const PROPERTY_KEYS: &str = "CALL db.propertyKeys() YIELD propertyKey RETURN propertyKey AS name";

/// How many nodes have no label. Nothing but a scan of all nodes tells.
pub const UNLABELLED: &str = "MATCH (n:!%) RETURN count(n) AS count";

/// Whether the key of some element is a number, by the index on it.
pub fn has_number(pattern: &str, variable: &str, key: &PropertyName) -> String {
    format!("MATCH {pattern} WHERE {variable}.{} >= {} RETURN 1 AS count LIMIT 1", key.quoted(), i64::MIN)
}

/// Whether some value of an indexed property is text in the cache: a text, or a time. Each part is a seek of the index.
pub fn becomes_text(pattern: &str, property: &PropertyName) -> String {
    let property = property.quoted();
    let first = [
        "STARTS WITH ''",
        ">= date('-999999999-01-01')",
        ">= localdatetime('-999999999-01-01T00:00:00')",
        ">= datetime('-999999999-01-01T00:00:00Z')",
        ">= localtime('00:00')",
        ">= time('00:00:00+18:00')",
    ];
    let some = |condition| format!("MATCH {pattern} WHERE x.{property} {condition} RETURN 1 AS found LIMIT 1");
    let parts = first.map(some).join(" UNION ALL ");
    format!("CALL {{ {parts} }} RETURN count(found) AS count")
}

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
        let scope = self.scope().alone("n");
        let count = |label: &Label| {
            format!("MATCH (n:{}){scope} RETURN {} AS name, count(n) AS count", label.quoted(), expressions::text(label.as_str()))
        };
        labels.iter().map(count).collect::<Vec<_>>().join(" UNION ALL ")
    }

    /// ` AND …`: a relationship is one that is copied, as far as its ends and its group say.
    fn copied_ends(&self) -> String {
        between_kinds(self.profile) + &self.scope().also("e")
    }

    fn scope(&self) -> Scope<'_> {
        Scope::of(self.profile)
    }

    /// A page of a node kind in the order of its key: `$after`, `$limit`.
    pub fn node_page(&self, id: NodeKindId, detail: Detail) -> String {
        let kind = self.profile.node(id);
        let (pattern, others) = (expressions::node(kind, None), not_of_an_earlier_kind(self.profile, id));
        let (columns, scope) = (node_columns(&detail.projection("n", &kind.key, &kind.vectors)), self.scope().also("n"));
        match kind.identity {
            Identity::Property => {
                let key = kind.key.quoted();
                format!("MATCH {pattern} WHERE n.{key} > $after{others}{scope} {columns} ORDER BY n.{key} LIMIT $limit")
            }
            // A scan of a label yields its nodes in the order of their numbers, so it ends with the page.
            Identity::ElementNumber => {
                format!("MATCH {pattern} WHERE id(n) > $after{others}{scope} WITH n ORDER BY n LIMIT $limit {columns}")
            }
        }
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
        let kind = self.profile.node(id);
        let (others, scope) = (not_of_an_earlier_kind(self.profile, id), self.scope().also("n"));
        match kind.identity {
            Identity::Property => {
                let (label, key) = (kind.label.quoted(), kind.key.quoted());
                format!("UNWIND $keys AS k MATCH (n:{label} {{{key}: k}}) WHERE true{others}{scope} {columns}")
            }
            Identity::ElementNumber => {
                format!("UNWIND $keys AS k MATCH {} WHERE id(n) = k{others}{scope} {columns}", expressions::node(kind, None))
            }
        }
    }

    /// A page of a relationship kind in the order of its key: `$after`, `$limit`.
    pub fn relationship_page(&self, id: RelationshipKindId, detail: Detail) -> String {
        let kind = self.profile.relationship(id);
        let rel_type = kind.rel_type.quoted();
        let columns = self.relationship_columns(&detail.projection("e", &kind.key, &kind.vectors));
        let ends = self.copied_ends();
        match kind.identity {
            Identity::Property => {
                let key = kind.key.quoted();
                format!("MATCH (a)-[e:{rel_type}]->(b) WHERE e.{key} > $after{ends} {columns} ORDER BY e.{key} LIMIT $limit")
            }
            Identity::ElementNumber => {
                format!("MATCH (a)-[e:{rel_type}]->(b) WHERE id(e) > $after{ends} WITH a, e, b ORDER BY e LIMIT $limit {columns}")
            }
        }
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
        let RelationshipKind { rel_type, key, identity, .. } = self.profile.relationship(id);
        let (rel_type, key, ends) = (rel_type.quoted(), key.quoted(), self.copied_ends());
        match identity {
            Identity::Property => {
                format!("UNWIND $keys AS k MATCH (a)-[e:{rel_type} {{{key}: k}}]->(b) WHERE true{ends} {columns}")
            }
            Identity::ElementNumber => {
                format!("UNWIND $keys AS k MATCH (a)-[e:{rel_type}]->(b) WHERE id(e) = k{ends} {columns}")
            }
        }
    }

    /// How many elements of each kind there are, by their place among all kinds. Neo4j keeps these counts: no scan, where all
    /// groups are copied.
    ///
    /// A node that carries the labels of two kinds counts for both, as it does in the cache. In the place of nodes without a label,
    /// which nobody has counted, stand all nodes.
    pub fn counts(&self) -> String {
        let count = |(place, kind): (usize, ElementKind)| match kind {
            ElementKind::Node(id) if self.profile.node(id).unlabelled => {
                format!("MATCH (n){} RETURN {place} AS place, count(n) AS count", self.scope().alone("n"))
            }
            ElementKind::Node(id) => {
                let (label, scope) = (self.profile.node(id).label.quoted(), self.scope().alone("n"));
                format!("MATCH (n:{label}){scope} RETURN {place} AS place, count(n) AS count")
            }
            ElementKind::Relationship(id) => {
                let (rel_type, scope) = (self.profile.relationship(id).rel_type.quoted(), self.scope().alone("e"));
                format!("MATCH ()-[e:{rel_type}]->(){scope} RETURN {place} AS place, count(e) AS count")
            }
        };
        self.profile.kinds().into_iter().enumerate().map(count).collect::<Vec<_>>().join(" UNION ALL ")
    }

    /// How many keys of a kind, or of its nodes with one more label, begin with one of `$prefixes`, which all have `$length`
    /// characters, grouped by their first `$grown` characters.
    pub fn key_groups(&self, kind: ElementKind, with: Option<&Label>) -> String {
        let (pattern, key) = self.keyed(kind, with);
        format!("{} RETURN left({key}, $grown) AS name, count(*) AS count", self.begins(kind, &pattern, &key))
    }

    /// What identifies the elements of a kind, or its nodes with one more label, whose first `$length` characters of the key
    /// are one of `$prefixes`.
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

    /// The elements whose key begins in one of the ways that are asked for. The index finds the prefix; a key that is shorter than
    /// the beginnings and equal to none is no match. Numbers have no index, so they are gone through once for all beginnings.
    fn begins(&self, kind: ElementKind, pattern: &str, key: &str) -> String {
        let ends = match kind {
            ElementKind::Node(_) => self.scope().also("n"),
            ElementKind::Relationship(_) => self.copied_ends(),
        };
        match self.profile.identity(kind) {
            Identity::Property => format!(
                "UNWIND $prefixes AS prefix MATCH {pattern} WHERE {key} STARTS WITH prefix AND left({key}, $length) = prefix{ends}"
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
                (format!("(a)-[e:{}]->(b)", rel_type.quoted()), expressions::key("e", *identity, key))
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
                    expressions::text(label.as_str())
                ))
            }
        }
    }

    /// How many numbers most lists of a property have, of about this share of a kind's elements. Only of those is the list read.
    pub fn usual_dimension(&self, kind: ElementKind, property: &PropertyName, share: f64) -> String {
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

    /// Keys of nodes of a kind written since `$zoned` (`$local` for values without a zone), in order: `$after`, `$limit`.
    pub fn changed_node_keys(&self, id: NodeKindId) -> Option<String> {
        let kind = self.profile.node(id);
        changed_keys(
            &expressions::node(kind, None),
            "n",
            (&expressions::key("n", kind.identity, &kind.key), &self.scope().later("n")),
            &kind.timestamps,
        )
    }

    /// As [`Self::changed_node_keys`], for a relationship kind.
    pub fn changed_relationship_keys(&self, id: RelationshipKindId) -> Option<String> {
        let RelationshipKind { rel_type, key, identity, timestamps, .. } = self.profile.relationship(id);
        changed_keys(
            &format!("()-[e:{}]->()", rel_type.quoted()),
            "e",
            (&expressions::key("e", *identity, key), &self.scope().later("e")),
            timestamps,
        )
    }

    /// Nodes of a kind that no page reaches, because their key is absent, empty or not a string: `$limit`. Nothing for a kind that
    /// has no key property: every element has a number.
    pub fn nodes_without_key(&self, id: NodeKindId) -> Option<String> {
        let NodeKind { label, key, identity, .. } = self.profile.node(id);
        let others = not_of_an_earlier_kind(self.profile, id);
        let (unreachable, columns) = (unreachable("n", key), node_columns(ALL_OF_NODE));
        let scope = self.scope().also("n");
        (*identity == Identity::Property)
            .then(|| format!("MATCH (n:{}) WHERE {unreachable}{others}{scope} {columns} LIMIT $limit", label.quoted()))
    }

    /// As [`Self::nodes_without_key`], for a relationship kind.
    pub fn relationships_without_key(&self, id: RelationshipKindId) -> Option<String> {
        let RelationshipKind { rel_type, key, identity, .. } = self.profile.relationship(id);
        let (unreachable, columns) = (unreachable("e", key), self.relationship_columns(ALL_OF_RELATIONSHIP));
        let ends = self.copied_ends();
        (*identity == Identity::Property)
            .then(|| format!("MATCH (a)-[e:{}]->(b) WHERE {unreachable}{ends} {columns} LIMIT $limit", rel_type.quoted()))
    }

    /// How many nodes there are of each label set that holds no label of the profile.
    pub fn nodes_outside_profile(&self) -> String {
        let (kinds, scope) = (of_no_kind(self.profile), self.scope().also("n"));
        format!("MATCH (n) WHERE {kinds}{scope} RETURN labels(n) AS labels, count(*) AS count")
    }

    /// How many relationships there are of a type; kept by Neo4j and read without a scan, where all groups are copied.
    pub fn relationship_count(&self, quoted_type: &str) -> String {
        format!("MATCH ()-[e:{quoted_type}]->(){} RETURN count(e) AS count", self.scope().alone("e"))
    }

    fn relationship_columns(&self, properties: &str) -> String {
        format!(
            "RETURN elementId(e) AS id, labels(a) AS start_labels, {} AS start_key, labels(b) AS end_labels, {} AS end_key, \
             {properties} AS properties",
            self.endpoint_key("a"),
            self.endpoint_key("b")
        )
    }

    fn endpoint_key(&self, variable: &str) -> String {
        expressions::endpoint_key(self.profile, variable)
    }
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
fn changed_keys(pattern: &str, variable: &str, (key, scope): (&str, &str), timestamps: &[PropertyName]) -> Option<String> {
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
            format!("MATCH {pattern} WHERE {variable}.{timestamp} > {since}{scope} RETURN {key} AS k, {stamp} AS s")
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
    use std::collections::BTreeSet;

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
            queries.nodes_without_key(node).unwrap(),
            queries.relationships_without_key(relationship).unwrap(),
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
