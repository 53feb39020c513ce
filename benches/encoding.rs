//! How fast rows become parameter text and payloads of GRAPH.BULK, and how fast ids are found.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use neo4j_falkordb_sync::model::element::{ElementNumber, NodeIdentity, SourceEndpoint, SourceNode, SourceRelationship};
use neo4j_falkordb_sync::model::id_map::IdMap;
use neo4j_falkordb_sync::model::key::Key;
use neo4j_falkordb_sync::model::kind::{NodeKindId, RelationshipKindId};
use neo4j_falkordb_sync::model::profile::Profile;
use neo4j_falkordb_sync::model::value::Value;
use neo4j_falkordb_sync::transform::{Encoder, VectorDimensions};

/// Rows of one batch.
const ROWS: u64 = 1_000;

fn text(text: impl Into<String>) -> Value {
    Value::String(text.into())
}

fn uuid(number: u64) -> String {
    format!("{number:08x}-7a4f-4b8e-9c2d-2f1c6a3b5d7e")
}

fn vector(number: u64, dimension: usize) -> Value {
    Value::Floats((0..dimension).map(|place| f64::from(((number as f32) + place as f32).sin())).collect())
}

/// What graphiti keeps of an entity.
fn entities(dimension: usize) -> Vec<SourceNode> {
    let entity = |number| SourceNode {
        number: ElementNumber(number),
        labels: vec!["Entity".to_owned(), ["Person", "Place"][number as usize % 2].to_owned()],
        properties: vec![
            ("uuid".to_owned(), text(uuid(number))),
            ("name".to_owned(), text(format!("Entity {number}"))),
            ("group_id".to_owned(), text("group")),
            ("created_at".to_owned(), Value::DateTime { epoch_seconds: 1_767_225_600, nanoseconds: 123_456_000 }),
            (
                "summary".to_owned(),
                text("A summary of a hundred bytes, as a language model writes them about a person or a place. ".repeat(2)),
            ),
            ("name_embedding".to_owned(), vector(number, dimension)),
        ],
    };
    (0..ROWS).map(entity).collect()
}

fn mentions() -> Vec<SourceRelationship> {
    let endpoint =
        |label: &str, number| SourceEndpoint { labels: vec![label.to_owned()], key: Some(text(uuid(number))), group: None };
    let mention = |number| SourceRelationship {
        number: ElementNumber(number),
        start: endpoint("Episodic", number),
        end: endpoint("Entity", number * 7 % ROWS),
        properties: vec![
            ("uuid".to_owned(), text(uuid(number))),
            ("group_id".to_owned(), text("group")),
            ("created_at".to_owned(), Value::DateTime { epoch_seconds: 1_767_225_600, nanoseconds: 0 }),
        ],
    };
    (0..ROWS).map(mention).collect()
}

fn transformer() -> Encoder {
    Encoder::new(Arc::new(Profile::graphiti().unwrap()), VectorDimensions::default())
}

fn encoding(criterion: &mut Criterion) {
    let transformer = transformer();
    let mut group = criterion.benchmark_group("encoding");
    group.throughput(Throughput::Elements(ROWS));
    for dimension in [256, 1024] {
        let rows = entities(dimension);
        group.bench_function(format!("entities of {dimension} floats as parameters"), |bench| {
            bench.iter_batched(|| rows.clone(), |rows| transformer.nodes(NodeKindId(0), rows), BatchSize::LargeInput);
        });
        group.bench_function(format!("entities of {dimension} floats in bulk"), |bench| {
            bench.iter_batched(
                || rows.clone(),
                |rows| transformer.bulk_nodes(NodeKindId(0), rows, |_| None),
                BatchSize::LargeInput,
            );
        });
    }
    let rows = mentions();
    let mentions = RelationshipKindId(1);
    group.bench_function("mentions as parameters", |bench| {
        bench.iter_batched(|| rows.clone(), |rows| transformer.relationships(mentions, rows), BatchSize::LargeInput);
    });
    let ids = id_map(1_000_000);
    group.bench_function("mentions in bulk, among a million nodes", |bench| {
        let encode = |rows| transformer.bulk_relationships(mentions, rows, |node| ids.get(node).or(Some(7)));
        bench.iter_batched(|| rows.clone(), encode, BatchSize::LargeInput);
    });
    group.finish();
}

fn identity(number: u64) -> NodeIdentity {
    NodeIdentity { label: Profile::graphiti().unwrap().nodes[0].label.clone(), key: Key::parse(&uuid(number)).unwrap() }
}

fn id_map(nodes: u64) -> IdMap {
    let mut map = IdMap::default();
    let label = identity(0).label;
    for number in 0..nodes {
        let node = NodeIdentity { label: label.clone(), key: Key::parse(&uuid(number)).unwrap() };
        map.insert(&node, number).unwrap();
    }
    map
}

fn ids(criterion: &mut Criterion) {
    let map = id_map(1_000_000);
    let (present, absent) = (identity(77_777), identity(1_000_001));
    criterion.bench_function("find an id among a million", |bench| bench.iter(|| map.get(black_box(&present))));
    criterion.bench_function("miss an id among a million", |bench| bench.iter(|| map.get(black_box(&absent))));
}

criterion_group!(benches, encoding, ids);
criterion_main!(benches);
