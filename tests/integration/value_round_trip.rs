//! What the transformer writes is what FalkorDB then holds, compared by other means than those that wrote it.
//!
//! FalkorDB prints floats with 15 digits and compares vectors loosely, so floats are compared inside of it with parameters of 18
//! digits (a query's own literals cannot be subnormal: 4.16.3 calls them an overflow), and vectors are read in its compact form, which prints 17.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use neo4j_falkordb_sync::model::element::{ElementNumber, Properties, SourceEndpoint, SourceNode, SourceRelationship};
use neo4j_falkordb_sync::model::kind::{NodeKindId, RelationshipKindId};
use neo4j_falkordb_sync::model::name::PropertyName;
use neo4j_falkordb_sync::model::prepared::{EncodedRows, PreparedRows, not_a_number_expression};
use neo4j_falkordb_sync::model::profile::Profile;
use neo4j_falkordb_sync::model::value::Value;
use neo4j_falkordb_sync::transform::{Encoder, VectorDimensions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use redis::aio::MultiplexedConnection;

use crate::support::servers::shared;

/// The one place that knows where the server is.
async fn connect() -> MultiplexedConnection {
    shared().await.falkordb.address().connect().await.unwrap()
}

/// A graph of one test's own.
struct Graph {
    connection: MultiplexedConnection,
    name: String,
}

impl Graph {
    async fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let name = format!("value_round_trip_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self { connection: connect().await, name }
    }

    /// The rows of an answer.
    async fn ask(&mut self, query: impl Into<Vec<u8>>) -> Vec<Vec<redis::Value>> {
        let mut command = redis::cmd("GRAPH.QUERY");
        command.arg(&self.name).arg(query.into()).arg("--compact");
        let answer: redis::Value = command.query_async(&mut self.connection).await.unwrap();
        let mut parts = array(answer);
        if parts.len() < 3 { vec![] } else { array(parts.swap_remove(1)).into_iter().map(array).collect() }
    }

    /// Whether each cell of the only row is true.
    async fn holds(&mut self, query: &str) -> Vec<bool> {
        let mut rows = self.ask(query).await;
        assert_eq!(rows.len(), 1, "{query}");
        rows.remove(0).into_iter().map(|cell| matches!(scalar(cell), Scalar::Text(text) if text == "true")).collect()
    }

    /// Writes as the sink does: one statement a group, with the full replacement first.
    async fn write(&mut self, prepared: &PreparedRows) {
        assert_eq!(prepared.quarantined, []);
        for group in &prepared.nodes {
            let assigned = assignments("n", &group.vectors, &group.not_a_number);
            let labels: String = group.extra_labels.iter().map(|label| format!(", n:{}", label.quoted())).collect();
            let (label, key) = (group.label.quoted(), group.key.quoted());
            let statement = format!("UNWIND $rows AS r MERGE (n:{label} {{{key}: r.k}}) SET n = r.p{labels}{assigned}");
            self.ask(with_rows(&group.rows, &statement)).await;
        }
        for group in &prepared.relationships {
            let end = |name: &str, kind: &neo4j_falkordb_sync::model::prepared::EndpointKind, column: &str| {
                format!("({name}:{} {{{}: r.{column}}})", kind.label.quoted(), kind.key.quoted())
            };
            let (start, end) = (end("a", &group.start, "s"), end("b", &group.end, "e"));
            let assigned = assignments("e", &group.vectors, &group.not_a_number);
            let (rel_type, key) = (group.rel_type.quoted(), group.key.quoted());
            let merge = format!("MERGE (a)-[e:{rel_type} {{{key}: r.k}}]->(b) SET e = r.p{assigned}");
            self.ask(with_rows(&group.rows, &format!("UNWIND $rows AS r MATCH {start} MATCH {end} {merge}"))).await;
        }
    }

    async fn write_node(&mut self, key: &str, properties: Properties) {
        self.write(&transformer().nodes(NodeKindId(0), vec![node(key, properties)])).await;
    }

    async fn drop(mut self) {
        let _: redis::Value = redis::cmd("GRAPH.DELETE").arg(&self.name).query_async(&mut self.connection).await.unwrap();
    }
}

fn assignments(variable: &str, vectors: &[PropertyName], not_a_number: &[PropertyName]) -> String {
    let vectors = vectors.iter().enumerate().map(|(i, name)| format!(", {variable}.{} = vecf32(r.v{i})", name.quoted()));
    let floats = not_a_number.iter().enumerate();
    let floats = floats.map(|(i, name)| format!(", {variable}.{} = {}", name.quoted(), not_a_number_expression("r", i)));
    vectors.chain(floats).collect()
}

fn with_rows<I>(rows: &EncodedRows<I>, statement: &str) -> Vec<u8> {
    let texts: Vec<&[u8]> = (0..rows.len()).map(|index| rows.row(index)).collect();
    [&b"CYPHER rows=["[..], &texts.join(&b','), b"] ", statement.as_bytes()].concat()
}

fn array(value: redis::Value) -> Vec<redis::Value> {
    match value {
        redis::Value::Array(items) => items,
        other => panic!("not an array: {other:?}"),
    }
}

/// A cell of a compact answer, without its type code.
#[derive(Debug, Clone, PartialEq)]
enum Scalar {
    Null,
    Integer(i64),
    Text(String),
    List(Vec<Scalar>),
    Vector(Vec<String>),
}

fn scalar(cell: redis::Value) -> Scalar {
    let [code, value] = <[redis::Value; 2]>::try_from(array(cell)).unwrap();
    let text = |value| redis::from_redis_value::<String>(value).unwrap();
    match (code, value) {
        (redis::Value::Int(1), _) => Scalar::Null,
        (redis::Value::Int(3), redis::Value::Int(integer)) => Scalar::Integer(integer),
        (redis::Value::Int(6), items) => Scalar::List(array(items).into_iter().map(scalar).collect()),
        (redis::Value::Int(12), items) => Scalar::Vector(array(items).into_iter().map(text).collect()),
        (_, value) => Scalar::Text(text(value)),
    }
}

fn transformer() -> Encoder {
    Encoder::new(Arc::new(Profile::graphiti().unwrap()), VectorDimensions::default())
}

fn node(key: &str, mut properties: Properties) -> SourceNode {
    properties.push(("uuid".to_owned(), Value::String(key.to_owned())));
    SourceNode { number: ElementNumber(0), labels: vec!["Entity".to_owned(), "Per son".to_owned()], properties }
}

fn x(value: Value) -> Properties {
    vec![("x".to_owned(), value)]
}

/// A literal that names this very float and is not the text that the transformer writes.
fn literal(float: f64) -> String {
    format!("{float:.17e}")
}

const EDGES: [f64; 12] = [
    0.1,
    1.0,
    -1.5,
    1e22,
    1e23,
    9_007_199_254_740_993.0,
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    5e-324,
    2.225_073_858_507_201e-308,
    0.300_000_000_000_000_04,
];

fn any_floats(random: &mut StdRng, count: usize) -> Vec<f64> {
    let bits = std::iter::repeat_with(|| f64::from_bits(random.random()));
    bits.filter(|float| float.is_finite()).take(count).collect()
}

#[tokio::test]
async fn floats_come_back_bit_by_bit() {
    let mut graph = Graph::new().await;
    let mut random = StdRng::seed_from_u64(1);
    for round in 0..5 {
        let floats = if round == 0 { EDGES.to_vec() } else { any_floats(&mut random, 400) };
        let literals = floats.iter().copied().map(literal).collect::<Vec<_>>().join(",");
        graph.write_node("k", x(Value::Floats(floats.clone()))).await;
        let same = format!(
            "CYPHER y=[{literals}] MATCH (n:Entity {{uuid: 'k'}}) WITH n.x AS x, $y AS y \
             RETURN size(x) = {}, all(i IN range(0, size(x) - 1) WHERE x[i] = y[i] AND typeOf(x[i]) = 'Float')",
            floats.len()
        );
        assert_eq!(graph.holds(&same).await, [true, true], "round {round}");
    }
    for float in EDGES {
        graph.write_node("k", x(Value::Float(float))).await;
        let same = format!("CYPHER y={} MATCH (n:Entity) RETURN n.x = $y, typeOf(n.x) = 'Float'", literal(float));
        assert_eq!(graph.holds(&same).await, [true, true], "{float:e}");
    }
    graph.drop().await;
}

#[tokio::test]
async fn floats_without_a_number_come_back() {
    let mut graph = Graph::new().await;
    for (value, property) in [
        (Value::Float(f64::NAN), "n.x <> n.x AND typeOf(n.x) = 'Float'"),
        (Value::Float(f64::INFINITY), "n.x = 1.0 / 0.0"),
        (Value::Float(f64::NEG_INFINITY), "n.x = -1.0 / 0.0"),
        (Value::Float(-0.0), "n.x = 0.0 AND 1.0 / n.x < 0.0"),
        (Value::Float(0.0), "n.x = 0.0 AND 1.0 / n.x > 0.0"),
        (Value::Floats(vec![f64::NAN]), "size(n.x) = 1 AND n.x[0] <> n.x[0]"),
        (
            Value::Floats(vec![-0.0, f64::NAN, f64::NEG_INFINITY, 2.0, f64::NAN]),
            "size(n.x) = 5 AND 1.0 / n.x[0] < 0.0 AND n.x[1] <> n.x[1] AND n.x[2] = -1.0 / 0.0 AND n.x[3] = 2.0 AND n.x[4] <> n.x[4]",
        ),
    ] {
        graph.write_node("k", x(value.clone())).await;
        let same = format!("MATCH (n:Entity {{uuid: 'k'}}) RETURN {property}");
        assert_eq!(graph.holds(&same).await, [true], "{value:?}");
    }
    graph.drop().await;
}

#[tokio::test]
async fn texts_integers_and_booleans_come_back() {
    let mut graph = Graph::new().await;
    let texts = |items: &[&str]| Value::List(items.iter().map(|text| Value::String((*text).to_owned())).collect());
    let hostile = "\"q\" \\ \\\\ \\n \\u0041 '\n\r\n\t\u{1}\u{7f} ` $rows {a:1} é 🙂 👩‍👩‍👧 שלום مرحبا \u{202e}x\u{feff}\u{10ffff}\\";
    let control: String = (1..32u8).map(char::from).collect();
    let text = |text: &str| Scalar::Text(text.to_owned());
    for (value, read) in [
        (Value::String(hostile.to_owned()), text(hostile)),
        (Value::String(control.clone()), text(&control)),
        (Value::String(String::new()), text("")),
        (Value::String(" \t".to_owned()), text(" \t")),
        (Value::String("a\0b\0".to_owned()), text("ab")),
        (Value::String("x".repeat(3_000_000)), text(&"x".repeat(3_000_000))),
        (Value::Integer(i64::MIN), Scalar::Integer(i64::MIN)),
        (Value::Integer(i64::MAX), Scalar::Integer(i64::MAX)),
        (Value::Integer(9_007_199_254_740_993), Scalar::Integer(9_007_199_254_740_993)),
        (Value::Boolean(true), text("true")),
        (Value::Boolean(false), text("false")),
        (Value::List(vec![]), Scalar::List(vec![])),
        (texts(&["", hostile]), Scalar::List(vec![text(""), text(hostile)])),
        (
            Value::List(vec![Value::Integer(i64::MIN), Value::Integer(0)]),
            Scalar::List(vec![Scalar::Integer(i64::MIN), Scalar::Integer(0)]),
        ),
        (Value::List(vec![Value::Boolean(false)]), Scalar::List(vec![text("false")])),
    ] {
        graph.write_node("k", x(value)).await;
        let mut rows = graph.ask("MATCH (n:Entity:`Per son` {uuid: 'k'}) RETURN n.x").await;
        assert_eq!(scalar(rows.remove(0).remove(0)), read);
    }
    graph.drop().await;
}

/// Characters of all planes, with those that could end a string or a list more often than the rest.
fn any_text(random: &mut StdRng) -> String {
    let length = random.random_range(0..60);
    let character = |_| match random.random_range(0..3) {
        0 => ['"', '\'', '\\', '`', '\n', ',', ']', '}', '$', 'n', 'u', '0', '?'][random.random_range(0..13)],
        1 => random.random_range('\u{1}'..='\u{7f}'),
        _ => random.random(),
    };
    (0..length).map(character).filter(|character| *character != '\0').collect()
}

#[tokio::test]
async fn a_batch_of_any_texts_comes_back() {
    let mut graph = Graph::new().await;
    let mut random = StdRng::seed_from_u64(3);
    let texts: Vec<String> = std::iter::repeat_with(|| any_text(&mut random)).take(2000).collect();
    let rows = texts.iter().enumerate().map(|(index, text)| SourceNode {
        number: ElementNumber(index as u64),
        ..node(&index.to_string(), x(Value::String(text.clone())))
    });
    graph.write(&transformer().nodes(NodeKindId(0), rows.collect())).await;
    let read = graph.ask("MATCH (n:Entity) RETURN toInteger(n.uuid) AS index, n.x ORDER BY index").await;
    let read: Vec<Scalar> = read.into_iter().map(|mut row| scalar(row.remove(1))).collect();
    assert_eq!(read, texts.into_iter().map(Scalar::Text).collect::<Vec<_>>());
    graph.drop().await;
}

#[tokio::test]
async fn converted_values_come_back_as_their_text() {
    let mut graph = Graph::new().await;
    let all = vec![
        (Value::DateTime { epoch_seconds: 1_767_225_600, nanoseconds: 1_999 }, "2026-01-01T00:00:00.000001+00:00"),
        (Value::LocalDateTime { seconds: -1, nanoseconds: 0 }, "1969-12-31T23:59:59+00:00"),
        (Value::Date { days: -719_893 }, "-0001-01-01"),
        (Value::LocalTime { nanoseconds: 45_000_340_000_000 }, "12:30:00.34"),
        (Value::Time { nanoseconds: 1, offset_seconds: 19_800 }, "00:00:00.000000001+05:30"),
        (Value::Duration { months: -1, days: 45, seconds: -1, nanoseconds: 500_000_000 }, "P-1M45DT-0.5S"),
        (Value::Point { srid: 4979, x: 12.5, y: -0.0, z: Some(1e300) }, "SRID=4979;POINT Z(12.5 -0.0 1e300)"),
        (Value::Bytes((0..=255).collect()), ""),
    ];
    for (value, written) in all {
        graph.write_node("k", x(value.clone())).await;
        let mut rows = graph.ask("MATCH (n:Entity) RETURN n.x").await;
        let Scalar::Text(read) = scalar(rows.remove(0).remove(0)) else { panic!("{value:?} is no text") };
        match value {
            Value::Bytes(bytes) => {
                use base64::Engine;
                assert_eq!(base64::engine::general_purpose::STANDARD.decode(read).unwrap(), bytes);
            }
            _ => assert_eq!(read, written),
        }
    }
    graph.drop().await;
}

#[tokio::test]
async fn vectors_come_back_bit_by_bit() {
    let mut graph = Graph::new().await;
    let mut random = StdRng::seed_from_u64(2);
    let edges = [0.0, -0.0, 1.0, 0.1, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45];
    // 7.038531e-26: the one float whose shortest text reads back as another one.
    let mut singles: Vec<f32> = edges.into_iter().chain([f32::from_bits(0x15AE_43FD), f32::from_bits(0x95AE_43FD)]).collect();
    singles.extend(std::iter::repeat_with(|| f32::from_bits(random.random())).filter(|single| single.is_finite()).take(4086));
    for vector in singles.chunks(256) {
        let value = Value::Floats(vector.iter().map(|single| f64::from(*single)).collect());
        graph.write_node("k", vec![("name_embedding".to_owned(), value)]).await;
        let mut rows = graph.ask("MATCH (n:Entity) RETURN n.name_embedding").await;
        let Scalar::Vector(read) = scalar(rows.remove(0).remove(0)) else { panic!("it is no vector") };
        let read: Vec<u32> = read.iter().map(|text| (text.parse::<f64>().unwrap() as f32).to_bits()).collect();
        assert_eq!(read, vector.iter().map(|single| single.to_bits()).collect::<Vec<_>>());
    }
    graph.drop().await;
}

#[tokio::test]
async fn any_usable_name_comes_back() {
    let mut graph = Graph::new().await;
    let names = [
        "plain", "_1", "1a", "a b", "a\nb", "a.b", "a:b", "x\"y", "x'y", "a\\nb", "a\\", "$rows", "null", "true", "NaN",
        "cypher x", "k", "p", "v0", "f0", "é", "🙂", "שלום", "{a:1}",
    ];
    let properties = names.iter().enumerate().map(|(index, name)| ((*name).to_owned(), Value::Integer(index as i64))).collect();
    graph.write_node("k", properties).await;
    let mut rows = graph.ask("MATCH (n:Entity) UNWIND keys(n) AS name RETURN name ORDER BY name").await;
    let mut read: Vec<Scalar> = rows.drain(..).map(|mut row| scalar(row.remove(0))).collect();
    let mut expected: Vec<Scalar> = names.iter().chain(&["uuid"]).map(|name| Scalar::Text((*name).to_owned())).collect();
    read.sort_by_key(|name| format!("{name:?}"));
    expected.sort_by_key(|name| format!("{name:?}"));
    assert_eq!(read, expected);
    for (index, name) in names.iter().enumerate() {
        assert_eq!(graph.holds(&format!("MATCH (n:Entity) RETURN n.`{name}` = {index}")).await, [true], "{name:?}");
    }
    graph.drop().await;
}

/// FalkorDB skips an assignment of what it deems equal; the full replacement must not be skipped.
#[tokio::test]
async fn a_value_that_falkordb_deems_equal_still_replaces_the_old_one() {
    let mut graph = Graph::new().await;
    let properties = |float: f64, number: Value, list: f64, vector: f64| {
        vec![
            ("f".to_owned(), Value::Float(float)),
            ("i".to_owned(), number),
            ("l".to_owned(), Value::Floats(vec![list])),
            ("name_embedding".to_owned(), Value::Floats(vec![vector])),
        ]
    };
    graph.write_node("k", properties(0.0, Value::Integer(1), 0.0, 1.0)).await;
    let next = f64::from(f32::from_bits(1.0_f32.to_bits() + 1));
    graph.write_node("k", properties(-0.0, Value::Float(1.0), -0.0, next)).await;
    let all = "MATCH (n:Entity) RETURN 1.0 / n.f < 0.0, typeOf(n.i) = 'Float', 1.0 / n.l[0] < 0.0";
    assert_eq!(graph.holds(all).await, [true, true, true]);
    let mut rows = graph.ask("MATCH (n:Entity) RETURN n.name_embedding, count(n)").await;
    let mut row = rows.remove(0);
    assert_eq!(scalar(row.pop().unwrap()), Scalar::Integer(1));
    assert_eq!(scalar(row.remove(0)), Scalar::Vector(vec!["1.0000001192092896".to_owned()]));
    graph.write_node("k", x(Value::Float(f64::NAN))).await;
    let gone = "MATCH (n:Entity) RETURN n.f IS NULL, n.l IS NULL, n.name_embedding IS NULL, n.x <> n.x";
    assert_eq!(graph.holds(gone).await, [true; 4]);
    graph.drop().await;
}

#[tokio::test]
async fn relationships_come_back_with_their_vectors_and_nan() {
    let mut graph = Graph::new().await;
    graph.write_node("a \"1\"", vec![]).await;
    graph.write_node("b\\", vec![]).await;
    let end =
        |key: &str| SourceEndpoint { labels: vec!["Entity".to_owned()], key: Some(Value::String(key.to_owned())), group: None };
    let fact = SourceRelationship {
        number: ElementNumber(0),
        start: end("a \"1\""),
        end: end("b\\"),
        properties: vec![
            ("uuid".to_owned(), Value::String("f".to_owned())),
            ("fact_embedding".to_owned(), Value::Floats(vec![0.5, -0.0])),
            ("score".to_owned(), Value::Float(f64::NAN)),
            ("episodes".to_owned(), Value::List(vec![])),
        ],
    };
    for _ in 0..2 {
        graph.write(&transformer().relationships(RelationshipKindId(0), vec![fact.clone()])).await;
    }
    let all = "MATCH (a)-[e:RELATES_TO]->(b) RETURN a.uuid = 'a \"1\"', b.uuid = 'b\\\\', e.uuid = 'f', e.score <> e.score, \
               e.episodes = [], typeOf(e.fact_embedding) = 'Vectorf32'";
    assert_eq!(graph.holds(all).await, [true; 6]);
    let mut rows = graph.ask("MATCH ()-[e:RELATES_TO]->() RETURN e.fact_embedding").await;
    assert_eq!(scalar(rows.remove(0).remove(0)), Scalar::Vector(vec!["0.5".to_owned(), "-0".to_owned()]));
    graph.drop().await;
}
