//! The query texts about the server and its database as a whole, and those that need no profile.

use crate::model::name::{Label, PropertyName};

/// The source's own clock, in milliseconds since the epoch.
pub(crate) const CLOCK: &str = "RETURN datetime().epochMillis AS now";

/// The id and name that distinguish one database from another.
pub(crate) const IDENTITY: &str = "CALL db.info() YIELD id, name RETURN id, name";

/// The creation time of the database's store: a part of the store id in the files of its log.
pub(crate) const CREATED: &str = "CALL db.info() YIELD creationDate RETURN creationDate AS name";

/// The server's setting for how long it keeps its transaction log.
pub(crate) const LOG_RETENTION: &str = "SHOW SETTINGS 'db.tx_log.rotation.retention_policy' YIELD value RETURN value AS name";

/// The server's version, such as `5.26.12`, and its edition.
pub(crate) const SERVER_VERSION: &str = "CALL dbms.components() YIELD name, versions, edition WHERE name = 'Neo4j Kernel' \
    RETURN versions[0] AS version, edition";

/// The names of all relationship types.
pub(crate) const RELATIONSHIP_TYPES: &str = "CALL db.relationshipTypes() YIELD relationshipType RETURN relationshipType AS name";

/// All indices except those that every database has, with the options that FalkorDB needs to make the same indices.
pub(crate) const INDEXES: &str = "SHOW INDEXES YIELD name, type, entityType, labelsOrTypes, properties, options WHERE type <> 'LOOKUP' \
    RETURN name, type AS kind, entityType AS entity, labelsOrTypes AS names, properties, \
    options.indexConfig['fulltext.analyzer'] AS analyzer, options.indexConfig['vector.dimensions'] AS dimension, \
    options.indexConfig['vector.similarity_function'] AS similarity, options.indexConfig['vector.hnsw.m'] AS m, \
    options.indexConfig['vector.hnsw.ef_construction'] AS ef ORDER BY name";

/// The targets of all vector indices: enough to detect a new one.
pub(crate) const VECTOR_INDEXES: &str = "SHOW INDEXES YIELD type, entityType, labelsOrTypes, properties WHERE type = 'VECTOR' \
    RETURN entityType AS entity, labelsOrTypes AS names, properties";

/// The number of labels in the database.
pub(crate) const NUMBER_OF_LABELS: &str = "CALL db.labels() YIELD label RETURN count(label) AS count";

/// The number of relationship types in the database.
pub(crate) const NUMBER_OF_TYPES: &str =
    "CALL db.relationshipTypes() YIELD relationshipType RETURN count(relationshipType) AS count";

/// All counts of labels and types that Neo4j keeps.
pub(crate) const STATISTICS: &str = "CALL db.stats.retrieve('GRAPH COUNTS') YIELD data \
    UNWIND [n IN data.nodes WHERE n.label IS NOT NULL | {of: 'node', name: n.label, count: n.count}] \
    + [e IN data.relationships WHERE e.relationshipType IS NOT NULL AND e.startLabel IS NULL AND e.endLabel IS NULL \
    | {of: 'relationship', name: e.relationshipType, count: e.count}] AS row \
    RETURN row.of AS of, row.name AS name, row.count AS count";

/// The names of all labels.
pub(crate) const LABELS: &str = "CALL db.labels() YIELD label RETURN label AS name";

/// All property names that were ever used: a name stays after the last element with it is gone.
pub(crate) const PROPERTY_KEYS: &str = "CALL db.propertyKeys() YIELD propertyKey RETURN propertyKey AS name";

/// The number of nodes; Neo4j keeps it, so no scan is needed.
pub(crate) const NODE_TOTAL: &str = "MATCH (n) RETURN count(n) AS count";

/// The number of nodes without a label. Only a scan of all nodes yields it.
pub(crate) const UNLABELLED: &str = "MATCH (n:!%) RETURN count(n) AS count";

/// Asks whether any element has this property. Only a scan of all elements answers this, so ask only for a name that was used.
pub(crate) fn has_property(property: &PropertyName) -> [String; 2] {
    ["(n)", "()-[n]->()"]
        .map(|pattern| format!("MATCH {pattern} WHERE n.{} IS NOT NULL RETURN 1 AS count LIMIT 1", property.quoted_for_neo4j()))
}

/// Counts the nodes with a label; Neo4j keeps the count, so no scan is needed.
pub(crate) fn label_count(label: &Label) -> String {
    format!("MATCH (n:{}) RETURN count(n) AS count", label.quoted_for_neo4j())
}
