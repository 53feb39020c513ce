//! Rows to Neo4j in batches.

use futures::{StreamExt, TryStreamExt, stream};
use neo4rs::{BoltType, Graph, query};

use super::content::Row;
use crate::support::Result;
use crate::support::deadline::{self, within};

const BATCH: usize = 1_000;

#[derive(Clone, Copy)]
pub enum Statement {
    Entity,
    Episode,
    Community,
    Saga,
    Fact,
    Mention,
    Member,
    SagaEpisode,
    NextEpisode,
}

impl Statement {
    /// Vectors go in by the procedures that Graphiti uses: they are then stored as 32 bit numbers.
    pub fn text(self) -> String {
        let node = |labels: &str| format!("UNWIND $rows AS row CREATE (n:{labels}) SET n = row.properties");
        let link = |source: &str, typ: &str, target: &str| {
            format!(
                "UNWIND $rows AS row MATCH (a:{source} {{uuid: row.source}}) MATCH (b:{target} {{uuid: row.target}}) \
                 CREATE (a)-[e:{typ}]->(b) SET e = row.properties"
            )
        };
        let node_vector = " WITH n, row CALL db.create.setNodeVectorProperty(n, 'name_embedding', row.embedding)";
        let fact_vector = " WITH e, row CALL db.create.setRelationshipVectorProperty(e, 'fact_embedding', row.embedding)";
        match self {
            Self::Entity => node("Entity") + " SET n:$(row.labels)" + node_vector,
            Self::Episode => node("Episodic"),
            Self::Community => node("Community") + node_vector,
            Self::Saga => node("Saga"),
            Self::Fact => link("Entity", "RELATES_TO", "Entity") + fact_vector,
            Self::Mention => link("Episodic", "MENTIONS", "Entity"),
            Self::Member => link("Community", "HAS_MEMBER", "Entity"),
            Self::SagaEpisode => link("Saga", "HAS_EPISODE", "Episodic"),
            Self::NextEpisode => link("Episodic", "NEXT_EPISODE", "Episodic"),
        }
    }
}

/// Two batches at once: the next is made while the server works.
pub async fn write_nodes(graph: &Graph, statement: Statement, rows: impl Iterator<Item = Row>) -> Result<()> {
    write(graph, statement, rows, 2).await
}

/// One batch at a time: two transactions that join the same nodes can deadlock.
pub async fn write_relationships(graph: &Graph, statement: Statement, rows: impl Iterator<Item = Row>) -> Result<()> {
    write(graph, statement, rows, 1).await
}

async fn write(graph: &Graph, statement: Statement, rows: impl Iterator<Item = Row>, at_once: usize) -> Result<()> {
    let text = statement.text();
    stream::iter(batches(rows))
        .map(|batch| within(deadline::QUERY, "writing a batch to Neo4j", graph.run(query(&text).param("rows", batch))))
        .buffered(at_once)
        .try_for_each(|_| std::future::ready(Ok(())))
        .await
}

fn batches(rows: impl Iterator<Item = Row>) -> impl Iterator<Item = BoltType> {
    let mut rows = rows.peekable();
    std::iter::from_fn(move || {
        rows.peek()?;
        // Collected, not converted from a Vec, which would clone every float.
        Some(rows.by_ref().take(BATCH).collect::<BoltType>())
    })
}
