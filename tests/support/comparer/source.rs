//! Reads Neo4j, and says what each value should be in the cache.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, FixedOffset, NaiveDateTime};
use neo4rs::{BoltList, BoltMap, BoltString, BoltType, Graph, Row, query};

use super::VECTORS;
use super::snapshot::{Element, Raw, RawRelationship, Snapshot};
use super::value::Value;
use crate::support::deadline::{self, within};
use crate::support::{Error, Result};

/// Conditions in Cypher, on a node `n` and on a relationship `e` (from `a` to `b`).
#[derive(Clone, Default)]
pub struct Filter {
    pub nodes: Option<String>,
    pub relationships: Option<String>,
}

impl Filter {
    /// What belongs to a group, for a cache of that group only.
    pub fn group(group: &str) -> Self {
        Self {
            nodes: Some(format!("n.group_id = '{group}'")),
            relationships: Some(format!("e.group_id = '{group}' AND a.group_id = '{group}' AND b.group_id = '{group}'")),
        }
    }
}

/// Reads the whole database, or the part that the filter lets through.
pub async fn read(graph: &Graph, filter: &Filter) -> Result<Snapshot> {
    Ok(read_raw(graph, filter).await?.into_snapshot())
}

/// As [`read`], by internal numbers.
pub async fn read_raw(graph: &Graph, filter: &Filter) -> Result<Raw> {
    Ok(Raw { nodes: read_nodes(graph, filter).await?, relationships: read_relationships(graph, filter).await? })
}

async fn read_nodes(graph: &Graph, filter: &Filter) -> Result<Vec<(i64, Element)>> {
    let condition = filter.nodes.as_deref().unwrap_or("true");
    // By internal number: of nodes that share a key, the lowest counts.
    let text = format!(
        "MATCH (n) WHERE {condition} \
         RETURN id(n) AS id, labels(n) AS labels, {} ORDER BY id",
        content("n")
    );
    let mut read = Elements::read(graph, &text, |row| row.get("labels").map_err(Error::from)).await?;
    read.resolve(graph, "MATCH (x) WHERE id(x) = row.id").await?;
    let element = |(id, labels, properties)| (id, Element { labels: Vec::into_iter(labels).collect(), properties });
    Ok(read.into_iter().map(element).collect())
}

async fn read_relationships(graph: &Graph, filter: &Filter) -> Result<Vec<RawRelationship>> {
    let condition = filter.relationships.as_deref().unwrap_or("true");
    let text = format!(
        "MATCH (a)-[e]->(b) WHERE {condition} \
         RETURN id(e) AS id, type(e) AS typ, id(a) AS source, id(b) AS target, {} ORDER BY id",
        content("e")
    );
    let rest = |row: &Row| Ok((row.get("typ")?, row.get("source")?, row.get("target")?));
    let mut read = Elements::<(String, i64, i64)>::read(graph, &text, rest).await?;
    read.resolve(graph, "MATCH ()-[x]->() WHERE id(x) = row.id").await?;
    let relationship = |(id, (typ, source, target), properties)| RawRelationship { id, typ, source, target, properties };
    Ok(read.into_iter().map(relationship).collect())
}

/// The columns with an element's content: vectors apart, everything else in a map.
fn content(variable: &str) -> String {
    let without = VECTORS.map(|name| format!(", {name}: null"));
    let vectors = VECTORS.map(|name| format!(", {variable}.{name} AS {name}"));
    format!("{variable} {{.*{}}} AS properties{}", without.concat(), vectors.concat())
}

type Properties = BTreeMap<String, Value>;

/// Nodes or relationships as they were read, with what else their rows hold.
struct Elements<R> {
    read: Vec<(i64, R, Properties)>,
    /// Values whose meaning the protocol does not carry, by the position of their element.
    unclear: Vec<(usize, String, Unclear)>,
}

/// Why a value needs a second question.
#[derive(Clone, Copy, PartialEq)]
enum Unclear {
    /// With a zone's name, a time in the hour that is repeated when summer time ends is ambiguous in Bolt 4.4.
    NamedZone,
    /// Kinds whose ISO text is best written by Neo4j itself.
    IsoText,
}

impl<R> Elements<R> {
    async fn read(graph: &Graph, text: &str, rest: impl Fn(&Row) -> Result<R>) -> Result<Self> {
        let mut elements = Self { read: Vec::new(), unclear: Vec::new() };
        let start = graph.execute(query(text));
        let mut rows = within(deadline::QUERY, "reading Neo4j", start).await?;
        while let Some(row) = within(deadline::QUERY, "reading Neo4j", rows.next()).await? {
            let properties: BoltMap = row.get("properties")?;
            let rest = rest(&row)?;
            elements.add(row.get("id")?, rest, properties)?;
            elements.add_vectors(&row)?;
        }
        Ok(elements)
    }

    fn add(&mut self, id: i64, rest: R, properties: BoltMap) -> Result<()> {
        let mut converted = Properties::new();
        for (BoltString { value: name }, value) in properties.value {
            if let Some(why) = unclear(&value) {
                self.unclear.push((self.read.len(), name, why));
                continue;
            }
            // The null that stands in for a vector; stored properties are never null.
            if !matches!(value, BoltType::Null(_)) {
                converted.insert(name, convert(value)?);
            }
        }
        self.read.push((id, rest, converted));
        Ok(())
    }

    /// Adds the vectors of the element that was added last.
    fn add_vectors(&mut self, row: &Row) -> Result<()> {
        let Some((_, _, properties)) = self.read.last_mut() else {
            return Ok(());
        };
        for name in VECTORS {
            // Straight to numbers: as values of the driver they would be most of the time that reading takes.
            let value = match row.get::<Option<Vec<f32>>>(name) {
                Ok(Some(numbers)) if !numbers.is_empty() => Value::Vector(numbers),
                Ok(None) => continue,
                _ => convert(row.get(name)?)?.into_vector(),
            };
            properties.insert(name.to_owned(), value);
        }
        Ok(())
    }

    /// Asks Neo4j about the unclear values.
    async fn resolve(&mut self, graph: &Graph, find: &str) -> Result<()> {
        let zoned = "[value.epochSeconds, value.nanosecond]";
        let (named, text): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.unclear).into_iter().partition(|(_, _, why)| *why == Unclear::NamedZone);
        self.ask(graph, find, zoned, named).await?;
        self.ask(graph, find, "toString(value)", text).await
    }

    async fn ask(&mut self, graph: &Graph, find: &str, ask: &str, about: Vec<(usize, String, Unclear)>) -> Result<()> {
        let text = format!(
            "UNWIND $rows AS row {find} WITH row, x[row.property] AS stored \
             WITH row, stored, valueType(stored) STARTS WITH 'LIST' AS many \
             RETURN row.at AS at, row.property AS property, many, \
             [value IN CASE WHEN many THEN stored ELSE [stored] END | {ask}] AS answers"
        );
        let rows: Vec<BoltType> = about.iter().map(|(at, property, _)| self.question(*at, property)).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let start = graph.execute(query(&text).param("rows", rows));
        let mut answers = within(deadline::QUERY, "asking Neo4j again", start).await?;
        while let Some(row) = within(deadline::QUERY, "asking Neo4j again", answers.next()).await? {
            self.answer(&row)?;
        }
        Ok(())
    }

    fn question(&self, at: usize, property: &str) -> BoltType {
        let mut row = BoltMap::new();
        row.put("at".into(), (at as i64).into());
        row.put("id".into(), self.read[at].0.into());
        row.put("property".into(), property.into());
        BoltType::Map(row)
    }

    fn answer(&mut self, row: &Row) -> Result<()> {
        let answers: BoltList = row.get("answers")?;
        let values: Vec<Value> = answers.value.into_iter().map(convert_answer).collect::<Result<_>>()?;
        let value = match values.as_slice() {
            [single] if !row.get::<bool>("many")? => single.clone(),
            _ => Value::List(values),
        };
        let at: i64 = row.get("at")?;
        let at = usize::try_from(at).map_err(|_| Error::Unexpected("Neo4j changed a row's number".to_owned()))?;
        self.read[at].2.insert(row.get("property")?, value);
        Ok(())
    }

    fn into_iter(self) -> impl Iterator<Item = (i64, R, Properties)> {
        self.read.into_iter()
    }
}

fn convert_answer(answer: BoltType) -> Result<Value> {
    let BoltType::List(pair) = answer else {
        return convert(answer);
    };
    let [BoltType::Integer(seconds), BoltType::Integer(nanos)] = pair.value.as_slice() else {
        return Err(Error::Unexpected("no seconds for a datetime".to_owned()));
    };
    let nanos = u32::try_from(nanos.value).unwrap_or_default();
    let moment = DateTime::from_timestamp(seconds.value, nanos);
    Ok(moment.map_or_else(|| Value::Foreign("a datetime out of range".to_owned()), Value::moment))
}

fn unclear(value: &BoltType) -> Option<Unclear> {
    match value {
        BoltType::DateTimeZoneId(_) => Some(Unclear::NamedZone),
        BoltType::Date(_) | BoltType::Time(_) | BoltType::LocalTime(_) | BoltType::Duration(_) => Some(Unclear::IsoText),
        BoltType::List(list) => list.value.first().and_then(unclear),
        _ => None,
    }
}

fn convert(value: BoltType) -> Result<Value> {
    Ok(match value {
        BoltType::String(text) => Value::text(&text.value),
        BoltType::Boolean(truth) => Value::Boolean(truth.value),
        BoltType::Integer(number) => Value::Integer(number.value),
        BoltType::Float(number) => Value::Real(number.value),
        BoltType::List(list) => Value::List(list.value.into_iter().map(convert).collect::<Result<_>>()?),
        BoltType::Bytes(bytes) => Value::Text(STANDARD.encode(&bytes.value[..])),
        BoltType::DateTime(_) => {
            let moment: DateTime<FixedOffset> = value.try_into()?;
            Value::moment(moment.to_utc())
        }
        BoltType::LocalDateTime(_) => {
            let moment: NaiveDateTime = value.try_into()?;
            Value::moment(moment.and_utc())
        }
        BoltType::Point2D(point) => point_text(point.sr_id.value, &[point.x.value, point.y.value]),
        BoltType::Point3D(point) => point_text(point.sr_id.value, &[point.x.value, point.y.value, point.z.value]),
        other => Value::Foreign(format!("{other:?}")),
    })
}

fn point_text(reference_system: i64, coordinates: &[f64]) -> Value {
    let coordinates: Vec<String> = coordinates.iter().map(|number| format!("{number:?}")).collect();
    let dimensions = if coordinates.len() == 3 { " Z" } else { "" };
    Value::Text(format!("SRID={reference_system};POINT{dimensions}({})", coordinates.join(" ")))
}
