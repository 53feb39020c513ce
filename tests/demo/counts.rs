//! How many elements of each kind are on either side.

use neo4rs::{Graph, query};
use redis::Value;
use redis::aio::MultiplexedConnection;

use crate::support::Result;
use crate::support::deadline::{self, within};

pub const LABELS: [&str; 4] = ["Entity", "Episodic", "Community", "Saga"];
pub const TYPES: [&str; 5] = ["RELATES_TO", "MENTIONS", "HAS_MEMBER", "HAS_EPISODE", "NEXT_EPISODE"];

pub struct Count {
    pub kind: &'static str,
    pub source: i64,
    pub cache: i64,
}

pub struct Counts(pub Vec<Count>);

impl Counts {
    pub async fn read(source: &Graph, cache: &mut MultiplexedConnection, name: &str) -> Result<Self> {
        let mut counts = Vec::new();
        for (kind, pattern) in patterns() {
            counts.push(Count {
                kind,
                source: in_source(source, &pattern).await?,
                cache: in_cache(cache, name, &pattern).await?,
            });
        }
        Ok(Self(counts))
    }
}

fn patterns() -> impl Iterator<Item = (&'static str, String)> {
    let nodes = LABELS.iter().map(|label| (*label, format!("MATCH (x:{label})")));
    let relationships = TYPES.iter().map(|typ| (*typ, format!("MATCH ()-[x:{typ}]->()")));
    nodes.chain(relationships)
}

async fn in_source(source: &Graph, pattern: &str) -> Result<i64> {
    let text = format!("{pattern} RETURN count(x) AS count");
    let mut rows = within(deadline::QUERY, "a count in Neo4j", source.execute(query(&text))).await?;
    let row = within(deadline::QUERY, "a count in Neo4j", rows.next()).await?;
    Ok(row.map(|row| row.get("count")).transpose()?.unwrap_or_default())
}

async fn in_cache(cache: &mut MultiplexedConnection, name: &str, pattern: &str) -> Result<i64> {
    let text = format!("{pattern} RETURN count(x)");
    Ok(number(cache, name, &text).await?.unwrap_or_default())
}

/// The number that a query of the cache returns; none as long as the graph is not there.
pub async fn number(cache: &mut MultiplexedConnection, name: &str, text: &str) -> Result<Option<i64>> {
    let mut exists = redis::cmd("EXISTS");
    exists.arg(name);
    if !within::<bool, _>(deadline::QUERY, "EXISTS", exists.query_async(cache)).await? {
        return Ok(None);
    }
    let mut command = redis::cmd("GRAPH.RO_QUERY");
    command.arg(name).arg(text);
    let reply: Value = within(deadline::QUERY, "a query of FalkorDB", command.query_async(cache)).await?;
    Ok(first_number(&reply))
}

/// The only cell of the only row of the reply's second part.
fn first_number(reply: &Value) -> Option<i64> {
    let part = |value: &Value, at: usize| match value {
        Value::Array(parts) => parts.get(at).cloned(),
        _ => None,
    };
    match part(&part(&part(reply, 1)?, 0)?, 0)? {
        Value::Int(number) => Some(number),
        _ => None,
    }
}
