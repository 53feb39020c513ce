//! An independent reading of Neo4j, for comparison with the product's own client: neo4rs decodes, and Neo4j itself names the parts of
//! the times, durations and dates that neo4rs does not hand out whole. Of the product, only its types of rows and values are used.

use neo4j_falkordb_sync::model::element::{ElementNumber, Properties, SourceEndpoint, SourceNode, SourceRelationship};
use neo4j_falkordb_sync::model::value::Value;
use neo4rs::{BoltList, BoltType, Graph, Row, query};

/// The seconds since midnight of `v`.
const SECONDS: &str = "((v.hour * 60 + v.minute) * 60 + v.second)";

/// The seconds from 1970 to `v`, as its own calendar and clock show them.
fn local_seconds() -> String {
    format!("(duration.inDays(date('1970-01-01'), date(v)).days * 86400 + {SECONDS})")
}

/// Each property of `x`: its name, its value, and for each of its items the whole numbers that it is made of.
fn properties() -> String {
    let local = local_seconds();
    let parts = format!(
        "CASE WHEN v IS :: DATE NOT NULL THEN ['date', duration.inDays(date('1970-01-01'), v).days] \
         WHEN v IS :: LOCAL TIME NOT NULL THEN ['local time', {SECONDS} * 1000000000 + v.nanosecond] \
         WHEN v IS :: ZONED TIME NOT NULL THEN ['time', {SECONDS} * 1000000000 + v.nanosecond, v.offsetSeconds] \
         WHEN v IS :: LOCAL DATETIME NOT NULL THEN ['local datetime', {local}, v.nanosecond] \
         WHEN v IS :: ZONED DATETIME NOT NULL THEN ['datetime', {local} - v.offsetSeconds, v.nanosecond] \
         WHEN v IS :: DURATION NOT NULL THEN ['duration', v.months, v.days, v.seconds, v.nanosecondsOfSecond] ELSE [] END"
    );
    let items = "CASE WHEN valueType(x[name]) STARTS WITH 'LIST' THEN x[name] ELSE [x[name]] END";
    format!("[name IN keys(x) | [name, x[name], [v IN {items} | {parts}]]] AS properties")
}

/// All nodes, by number.
pub(crate) async fn nodes(graph: &Graph) -> Vec<SourceNode> {
    let text = format!("MATCH (x) RETURN id(x) AS id, labels(x) AS labels, {} ORDER BY id", properties());
    let node = |row: &Row| SourceNode { number: number(row), labels: row.get("labels").unwrap(), properties: properties_of(row) };
    read(graph, &text, node).await
}

/// All relationships, by number, with their types. The key of an end is its property `uuid`.
pub(crate) async fn relationships(graph: &Graph) -> Vec<(String, SourceRelationship)> {
    let text = format!(
        "MATCH (a)-[x]->(b) RETURN id(x) AS id, type(x) AS type, labels(a) AS start, a.uuid AS start_key, labels(b) AS end, \
         b.uuid AS end_key, {} ORDER BY id",
        properties()
    );
    let endpoint = |row: &Row, labels: &str, key: &str| {
        let key: BoltType = row.get(key).unwrap();
        let key = if matches!(key, BoltType::Null(_)) { None } else { Some(single(key, &[])) };
        SourceEndpoint { labels: row.get(labels).unwrap(), key, group: None }
    };
    let relationship = |row: &Row| {
        let (start, end) = (endpoint(row, "start", "start_key"), endpoint(row, "end", "end_key"));
        let relationship = SourceRelationship { number: number(row), start, end, properties: properties_of(row) };
        (row.get("type").unwrap(), relationship)
    };
    read(graph, &text, relationship).await
}

async fn read<T>(graph: &Graph, text: &str, convert: impl Fn(&Row) -> T) -> Vec<T> {
    let mut stream = graph.execute_read(query(text)).await.unwrap();
    let mut rows = Vec::new();
    while let Some(row) = stream.next().await.unwrap() {
        rows.push(convert(&row));
    }
    rows
}

fn number(row: &Row) -> ElementNumber {
    ElementNumber(row.get("id").unwrap())
}

fn properties_of(row: &Row) -> Properties {
    let list: BoltList = row.get("properties").unwrap();
    list.value.into_iter().map(property).collect()
}

fn property(entry: BoltType) -> (String, Value) {
    let [BoltType::String(name), value, BoltType::List(parts)] = <[BoltType; 3]>::try_from(items(entry)).unwrap() else {
        panic!("not a name, a value and its parts");
    };
    let parts: Vec<Vec<BoltType>> = parts.value.into_iter().map(items).collect();
    let value = match value {
        BoltType::List(list) => {
            let values: Vec<Value> = list.value.into_iter().zip(&parts).map(|(item, parts)| single(item, parts)).collect();
            list_of(values)
        }
        value => single(value, &parts[0]),
    };
    (name.value, value)
}

/// The product keeps a list of floats alone in a form of its own.
fn list_of(values: Vec<Value>) -> Value {
    let float = |value: &Value| if let Value::Float(float) = value { Some(*float) } else { None };
    match values.iter().map(float).collect::<Option<Vec<f64>>>() {
        Some(floats) if !floats.is_empty() => Value::Floats(floats),
        _ => Value::List(values),
    }
}

fn items(list: BoltType) -> Vec<BoltType> {
    let BoltType::List(list) = list else { panic!("{list:?} is no list") };
    list.value
}

fn single(value: BoltType, parts: &[BoltType]) -> Value {
    match value {
        BoltType::Boolean(truth) => Value::Boolean(truth.value),
        BoltType::Integer(number) => Value::Integer(number.value),
        BoltType::Float(number) => Value::Float(number.value),
        BoltType::String(text) => Value::String(text.value),
        BoltType::Bytes(bytes) => Value::Bytes(bytes.value.to_vec()),
        BoltType::Point2D(point) => Value::Point { srid: point.sr_id.value, x: point.x.value, y: point.y.value, z: None },
        BoltType::Point3D(point) => {
            Value::Point { srid: point.sr_id.value, x: point.x.value, y: point.y.value, z: Some(point.z.value) }
        }
        other => made_of(parts).unwrap_or_else(|| panic!("{other:?} of {parts:?}")),
    }
}

fn made_of(parts: &[BoltType]) -> Option<Value> {
    let (BoltType::String(name), numbers) = parts.split_first()? else { return None };
    let number = |part: &BoltType| if let BoltType::Integer(number) = part { Some(number.value) } else { None };
    let numbers: Vec<i64> = numbers.iter().map(number).collect::<Option<_>>()?;
    let small = |number: i64| u32::try_from(number).unwrap();
    Some(match (name.value.as_str(), &numbers[..]) {
        ("date", &[days]) => Value::Date { days },
        ("local time", &[nanoseconds]) => Value::LocalTime { nanoseconds },
        ("time", &[nanoseconds, offset]) => Value::Time { nanoseconds, offset_seconds: i32::try_from(offset).unwrap() },
        ("local datetime", &[seconds, nanoseconds]) => Value::LocalDateTime { seconds, nanoseconds: small(nanoseconds) },
        ("datetime", &[epoch_seconds, nanoseconds]) => Value::DateTime { epoch_seconds, nanoseconds: small(nanoseconds) },
        ("duration", &[months, days, seconds, nanoseconds]) => Value::Duration { months, days, seconds, nanoseconds },
        _ => return None,
    })
}
