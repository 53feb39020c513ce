//! Reads FalkorDB, in its compact form, which names the kind of every value.

use std::collections::BTreeMap;

use redis::Value as Reply;
use redis::aio::MultiplexedConnection;

use super::snapshot::{Element, Raw, RawRelationship, Snapshot};
use super::value::Value;
use crate::support::deadline::{self, within};
use crate::support::servers::FalkorAddress;
use crate::support::{Error, Result};

/// Nodes of a page, and nodes whose outgoing relationships make a page.
const PAGE: i64 = 2_000;

/// Reads a whole graph. One that does not exist is empty.
pub async fn read(address: &FalkorAddress, name: &str) -> Result<Snapshot> {
    Ok(read_raw(address, name).await?.into_snapshot())
}

/// As [`read`], by internal numbers.
pub async fn read_raw(address: &FalkorAddress, name: &str) -> Result<Raw> {
    let mut cache = Cache {
        connection: address.connect().await?,
        name: name.to_owned(),
        labels: Vec::new(),
        types: Vec::new(),
        properties: Vec::new(),
    };
    if !cache.exists().await? {
        return Ok(Raw::default());
    }
    cache.labels = cache.names("CALL db.labels()").await?;
    cache.types = cache.names("CALL db.relationshipTypes()").await?;
    cache.properties = cache.names("CALL db.propertyKeys()").await?;
    Ok(Raw { nodes: cache.read_nodes().await?, relationships: cache.read_relationships().await? })
}

struct Cache {
    connection: MultiplexedConnection,
    name: String,
    /// Names by the numbers that stand for them in compact replies.
    labels: Vec<String>,
    types: Vec<String>,
    properties: Vec<String>,
}

impl Cache {
    async fn exists(&mut self) -> Result<bool> {
        let mut command = redis::cmd("EXISTS");
        command.arg(&self.name);
        let found: i64 = within(deadline::QUERY, "EXISTS", command.query_async(&mut self.connection)).await?;
        Ok(found == 1)
    }

    async fn read_nodes(&mut self) -> Result<Vec<(i64, Element)>> {
        let mut nodes = Vec::new();
        for page in self.pages().await? {
            let text = format!("MATCH (n) WHERE {page} RETURN n");
            for row in self.rows(&text).await? {
                let [id, labels, properties] = fields(cell(row)?)?;
                let (id, properties) = (integer(&id)?, self.properties(properties)?);
                let labels = array(labels)?.iter().map(|label| named(&self.labels, label)).collect::<Result<_>>()?;
                nodes.push((id, Element { labels, properties }));
            }
        }
        Ok(nodes)
    }

    async fn read_relationships(&mut self) -> Result<Vec<RawRelationship>> {
        let mut relationships = Vec::new();
        for page in self.pages().await? {
            let text = format!("MATCH (n)-[e]->() WHERE {page} RETURN e");
            for row in self.rows(&text).await? {
                let [id, typ, source, target, properties] = fields(cell(row)?)?;
                let (id, properties) = (integer(&id)?, self.properties(properties)?);
                let typ = named(&self.types, &typ)?;
                let (source, target) = (integer(&source)?, integer(&target)?);
                relationships.push(RawRelationship { id, typ, source, target, properties });
            }
        }
        Ok(relationships)
    }

    /// Conditions on `n` that part the nodes by their internal numbers.
    async fn pages(&mut self) -> Result<Vec<String>> {
        let highest = self.rows("MATCH (n) RETURN max(id(n))").await?;
        let Some(highest) = highest.into_iter().next() else {
            return Ok(Vec::new());
        };
        // The maximum of nothing is null.
        let highest = integer(&cell(highest)?).unwrap_or(-1);
        let starts = (0..=highest).step_by(PAGE as usize);
        Ok(starts.map(|start| format!("id(n) >= {start} AND id(n) < {}", start + PAGE)).collect())
    }

    async fn names(&mut self, call: &str) -> Result<Vec<String>> {
        let rows = self.rows(call).await?;
        rows.into_iter().map(|row| text(&cell(row)?)).collect()
    }

    /// The rows of a query that cannot change anything.
    async fn rows(&mut self, text: &str) -> Result<Vec<Reply>> {
        let mut command = redis::cmd("GRAPH.RO_QUERY");
        command.arg(&self.name).arg(text).arg("--compact");
        let reply = within(deadline::QUERY, text, command.query_async(&mut self.connection)).await?;
        let [_, rows, _] = fields(reply)?;
        array(rows)
    }

    fn properties(&self, reply: Reply) -> Result<BTreeMap<String, Value>> {
        let property = |reply: Reply| -> Result<(String, Value)> {
            let [name, kind, value] = fields(reply)?;
            Ok((named(&self.properties, &name)?, convert(&kind, value)?))
        };
        array(reply)?.into_iter().map(property).collect()
    }
}

/// The numbers that name kinds in a compact reply.
fn convert(kind: &Reply, value: Reply) -> Result<Value> {
    Ok(match integer(kind)? {
        2 => Value::Text(text(&value)?),
        3 => Value::Integer(integer(&value)?),
        4 => Value::Boolean(text(&value)? == "true"),
        5 => Value::Real(real(&value)?),
        6 => Value::List(array(value)?.into_iter().map(item).collect::<Result<_>>()?),
        12 => Value::Vector(array(value)?.iter().map(|number| Ok(real(number)? as f32)).collect::<Result<_>>()?),
        other => Value::Foreign(format!("kind {other}: {value:?}")),
    })
}

fn item(reply: Reply) -> Result<Value> {
    let [kind, value] = fields(reply)?;
    convert(&kind, value)
}

/// The single cell of a row, without its kind.
fn cell(row: Reply) -> Result<Reply> {
    let [cell] = fields(row)?;
    let [_, value] = fields(cell)?;
    Ok(value)
}

fn named(names: &[String], number: &Reply) -> Result<String> {
    let number = integer(number)?;
    let found = usize::try_from(number).ok().and_then(|number| names.get(number));
    found.cloned().ok_or_else(|| Error::Reply(format!("no name has the number {number}")))
}

fn array(reply: Reply) -> Result<Vec<Reply>> {
    match reply {
        Reply::Array(items) => Ok(items),
        other => Err(unexpected("a list", &other)),
    }
}

fn fields<const N: usize>(reply: Reply) -> Result<[Reply; N]> {
    array(reply)?.try_into().map_err(|items: Vec<Reply>| Error::Reply(format!("{N} fields expected, {} came", items.len())))
}

fn integer(reply: &Reply) -> Result<i64> {
    match reply {
        Reply::Int(number) => Ok(*number),
        other => Err(unexpected("an integer", other)),
    }
}

fn text(reply: &Reply) -> Result<String> {
    match reply {
        Reply::BulkString(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        Reply::SimpleString(text) => Ok(text.clone()),
        other => Err(unexpected("a string", other)),
    }
}

fn real(reply: &Reply) -> Result<f64> {
    let text = match reply {
        Reply::BulkString(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
        Reply::SimpleString(text) => text,
        Reply::Double(number) => return Ok(*number),
        other => return Err(unexpected("a number", other)),
    };
    let number: f64 = text.parse().map_err(|_| unexpected("a number", reply))?;
    // The largest double, rounded to 15 digits, reads as infinity.
    let rounded_up = number.is_infinite() && !text.contains("inf");
    Ok(if rounded_up { f64::MAX.copysign(number) } else { number })
}

fn unexpected(wanted: &str, reply: &Reply) -> Error {
    let mut shown = format!("{reply:?}");
    shown.truncate(200);
    Error::Reply(format!("{wanted} expected, {shown} came"))
}
