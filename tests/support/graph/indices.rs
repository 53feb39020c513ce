//! Graphiti's indices on Neo4j: 27 range indices and 4 full-text ones.

use neo4rs::{Graph, query};

use crate::support::Result;
use crate::support::deadline::{self, within};

const NODE_RANGE: [(&str, &str, &str); 13] = [
    ("entity_uuid", "Entity", "uuid"),
    ("episode_uuid", "Episodic", "uuid"),
    ("community_uuid", "Community", "uuid"),
    ("saga_uuid", "Saga", "uuid"),
    ("entity_group_id", "Entity", "group_id"),
    ("episode_group_id", "Episodic", "group_id"),
    ("community_group_id", "Community", "group_id"),
    ("saga_group_id", "Saga", "group_id"),
    ("name_entity_index", "Entity", "name"),
    ("saga_name", "Saga", "name"),
    ("created_at_entity_index", "Entity", "created_at"),
    ("created_at_episodic_index", "Episodic", "created_at"),
    ("valid_at_episodic_index", "Episodic", "valid_at"),
];

const RELATIONSHIP_RANGE: [(&str, &str, &str); 14] = [
    ("relation_uuid", "RELATES_TO", "uuid"),
    ("mention_uuid", "MENTIONS", "uuid"),
    ("has_member_uuid", "HAS_MEMBER", "uuid"),
    ("has_episode_uuid", "HAS_EPISODE", "uuid"),
    ("next_episode_uuid", "NEXT_EPISODE", "uuid"),
    ("relation_group_id", "RELATES_TO", "group_id"),
    ("mention_group_id", "MENTIONS", "group_id"),
    ("has_episode_group_id", "HAS_EPISODE", "group_id"),
    ("next_episode_group_id", "NEXT_EPISODE", "group_id"),
    ("name_edge_index", "RELATES_TO", "name"),
    ("created_at_edge_index", "RELATES_TO", "created_at"),
    ("expired_at_edge_index", "RELATES_TO", "expired_at"),
    ("valid_at_edge_index", "RELATES_TO", "valid_at"),
    ("invalid_at_edge_index", "RELATES_TO", "invalid_at"),
];

const FULLTEXT: [&str; 4] = [
    "episode_content IF NOT EXISTS FOR (e:Episodic) ON EACH [e.content, e.source, e.source_description, e.group_id]",
    "node_name_and_summary IF NOT EXISTS FOR (n:Entity) ON EACH [n.name, n.summary, n.group_id]",
    "community_name IF NOT EXISTS FOR (n:Community) ON EACH [n.name, n.group_id]",
    "edge_name_and_fact IF NOT EXISTS FOR ()-[e:RELATES_TO]-() ON EACH [e.name, e.fact, e.group_id]",
];

/// The indices on the nodes' keys, which writing relationships needs.
pub async fn create_key_indices(graph: &Graph) -> Result<()> {
    for (name, label, property) in NODE_RANGE.iter().filter(|(_, _, property)| *property == "uuid") {
        create(graph, &node_index(name, label, property)).await?;
    }
    until_online(graph).await
}

/// All of Graphiti's indices, as `build_indices_and_constraints` makes them, and waits until they serve.
pub async fn create_indices(graph: &Graph) -> Result<()> {
    for (name, label, property) in NODE_RANGE {
        create(graph, &node_index(name, label, property)).await?;
    }
    for (name, typ, property) in RELATIONSHIP_RANGE {
        let text = format!("CREATE INDEX {name} IF NOT EXISTS FOR ()-[e:{typ}]-() ON (e.{property})");
        create(graph, &text).await?;
    }
    for definition in FULLTEXT {
        create(graph, &format!("CREATE FULLTEXT INDEX {definition}")).await?;
    }
    until_online(graph).await
}

fn node_index(name: &str, label: &str, property: &str) -> String {
    format!("CREATE INDEX {name} IF NOT EXISTS FOR (n:{label}) ON (n.{property})")
}

async fn create(graph: &Graph, text: &str) -> Result<()> {
    within(deadline::QUERY, "creating an index in Neo4j", graph.run(query(text))).await
}

async fn until_online(graph: &Graph) -> Result<()> {
    let wait = graph.run(query("CALL db.awaitIndexes(100)"));
    within(deadline::QUERY, "Neo4j's indices", wait).await
}
