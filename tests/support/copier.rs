//! Writes a snapshot to FalkorDB by plain Cypher: a copy that is right by construction, for tests of what
//! compares or repairs copies.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use redis::aio::MultiplexedConnection;

use super::Result;
use super::comparer::{Element, IDENTITY_LABELS, NodeKey, Snapshot, VECTORS, Value};
use super::deadline::{self, within};

const BATCH: usize = 1_000;

/// Runs a query that may write.
pub async fn run(cache: &mut MultiplexedConnection, name: &str, text: &str) -> Result<redis::Value> {
    let mut command = redis::cmd("GRAPH.QUERY");
    command.arg(name).arg(text);
    within(deadline::QUERY, "a query of FalkorDB", command.query_async(cache)).await
}

/// Creates the snapshot's elements in a graph.
pub async fn copy(snapshot: &Snapshot, cache: &mut MultiplexedConnection, name: &str) -> Result<()> {
    for label in IDENTITY_LABELS {
        run(cache, name, &format!("CREATE INDEX FOR (n:{label}) ON (n.uuid)")).await?;
    }
    copy_nodes(snapshot, cache, name).await?;
    copy_relationships(snapshot, cache, name).await
}

async fn copy_nodes(snapshot: &Snapshot, cache: &mut MultiplexedConnection, name: &str) -> Result<()> {
    let mut by_labels: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in snapshot.nodes.values() {
        let labels: String = node.labels.iter().map(|label| format!(":`{label}`")).collect();
        by_labels.entry(labels).or_default().push(row(node, None));
    }
    for (labels, rows) in by_labels {
        let text = format!("UNWIND $rows AS r CREATE (x{labels}) {}", set());
        write(cache, name, &text, &rows).await?;
    }
    Ok(())
}

async fn copy_relationships(snapshot: &Snapshot, cache: &mut MultiplexedConnection, name: &str) -> Result<()> {
    let mut by_ends: HashMap<[String; 3], Vec<String>> = HashMap::new();
    for (key, relationship) in &snapshot.relationships {
        let ends = (key.source.as_ref(), key.target.as_ref());
        let group = [key.source.label.clone(), key.typ.clone(), key.target.label.clone()];
        by_ends.entry(group).or_default().push(row(relationship, Some(ends)));
    }
    for ([source, typ, target], rows) in by_ends {
        let text = format!(
            "UNWIND $rows AS r MATCH (a:`{source}` {{uuid: r.a}}) MATCH (b:`{target}` {{uuid: r.b}}) \
             CREATE (a)-[x:`{typ}`]->(b) {}",
            set()
        );
        write(cache, name, &text, &rows).await?;
    }
    Ok(())
}

fn set() -> String {
    let vectors = VECTORS.map(|name| format!(", x.{name} = vecf32(r.{name})"));
    format!("SET x = r.p{}", vectors.concat())
}

async fn write(cache: &mut MultiplexedConnection, name: &str, text: &str, rows: &[String]) -> Result<()> {
    for batch in rows.chunks(BATCH) {
        run(cache, name, &format!("CYPHER rows=[{}] {text}", batch.join(","))).await?;
    }
    Ok(())
}

fn row(element: &Element, ends: Option<(&NodeKey, &NodeKey)>) -> String {
    let mut text = "{p:{".to_owned();
    let mut beside = String::new();
    for (name, value) in &element.properties {
        match value {
            Value::Vector(_) => write_pair(&mut beside, name, value),
            _ => write_pair(&mut text, name, value),
        }
    }
    text.truncate(text.trim_end_matches(',').len());
    text.push_str("},");
    if let Some((source, target)) = ends {
        write_pair(&mut text, "a", &Value::Text(source.uuid.clone()));
        write_pair(&mut text, "b", &Value::Text(target.uuid.clone()));
    }
    text.push_str(&beside);
    text.truncate(text.trim_end_matches(',').len());
    text + "}"
}

fn write_pair(text: &mut String, name: &str, value: &Value) {
    let _ = write!(text, "`{name}`:");
    write_value(text, value);
    text.push(',');
}

fn write_value(text: &mut String, value: &Value) {
    let _ = match value {
        Value::Text(string) | Value::Foreign(string) => {
            write!(text, "\"{}\"", string.replace('\\', "\\\\").replace('"', "\\\""))
        }
        Value::Integer(number) => write!(text, "{number}"),
        // Debug keeps a point or an exponent, without which it would be an integer.
        Value::Real(number) if number.is_infinite() => {
            write!(text, "{}1e400", if *number < 0.0 { "-" } else { "" })
        }
        Value::Real(number) => write!(text, "{number:?}"),
        Value::Boolean(truth) => write!(text, "{truth}"),
        Value::Vector(numbers) => write!(text, "{numbers:?}"),
        Value::List(items) => {
            text.push('[');
            for item in items {
                write_value(text, item);
                text.push(',');
            }
            text.truncate(text.trim_end_matches(',').len());
            write!(text, "]")
        }
    };
}
