//! The comparer finds what it is there to find: a comparer that cannot fail would prove nothing.

use std::time::{Duration, Instant};

use neo4rs::query;
use redis::aio::MultiplexedConnection;

use crate::support::comparer::{Difference, Filter, Key, Snapshot, Value, compare, compare_part, read_source, report};
use crate::support::copier::{copy, run};
use crate::support::graph::{GraphSpec, World, build};
use crate::support::servers::{FalkorAddress, FalkorServer, SourceTurn, fresh_graph_name, source_lock};

struct Pair {
    source: SourceTurn,
    world: World,
    address: FalkorAddress,
    _server: FalkorServer,
    cache: MultiplexedConnection,
    name: String,
}

impl Pair {
    /// A source and an exact copy of it.
    async fn new(spec: &GraphSpec) -> Self {
        let source = source_lock().await;
        let world = build(&source.graph, spec).await.unwrap();
        let server = FalkorServer::start().await.unwrap();
        let address = server.address();
        let cache = address.connect().await.unwrap();
        let mut pair = Self { source, world, address, _server: server, cache, name: fresh_graph_name("comparer") };
        let snapshot = pair.snapshot().await;
        copy(&snapshot, &mut pair.cache, &pair.name).await.unwrap();
        pair
    }

    async fn snapshot(&self) -> Snapshot {
        read_source(&self.source.graph, &Filter::default()).await.unwrap()
    }

    async fn compare(&self) -> Vec<Difference> {
        compare(&self.source.graph, &self.address, &self.name).await.unwrap()
    }

    /// What is found after a change to the cache.
    async fn corrupted(&mut self, text: &str) -> Vec<Difference> {
        run(&mut self.cache, &self.name, text).await.unwrap();
        self.compare().await
    }
}

fn small() -> GraphSpec {
    GraphSpec { entities: 40, facts: 60, episodes: 10, mentions: 30, members: 10, dimension: 8, ..GraphSpec::default() }
}

fn changed<'a>(found: &'a [Difference], name: &str) -> (&'a Option<Value>, &'a Option<Value>) {
    match found {
        [Difference::Changed { property, source, cache, .. }] if property == name => (source, cache),
        other => panic!("one change of {name} expected, but {}", report(other)),
    }
}

#[tokio::test]
async fn every_corruption_of_a_copy_is_reported() {
    let mut pair = Pair::new(&small()).await;
    let found = pair.compare().await;
    assert!(found.is_empty(), "{}", report(&found));
    let [entity, other] = [pair.world.entities[1].clone(), pair.world.entities[3].clone()];
    let [fact, other_fact] = [pair.world.facts[1].clone(), pair.world.facts[2].clone()];

    let found = pair.corrupted(&format!("MATCH (n:Entity {{uuid: '{entity}'}}) SET n.summary = 'wrong'")).await;
    assert_eq!(changed(&found, "summary").1, &Some(Value::text("wrong")));
    let found = pair.corrupted(&format!("MATCH (n:Entity {{uuid: '{entity}'}}) SET n.summary = null")).await;
    assert_eq!(changed(&found, "summary").1, &None);
    restore(&mut pair, &entity).await;

    let text = format!("MATCH (n:Entity {{uuid: '{entity}'}}) SET n.surplus = []");
    assert_eq!(changed(&pair.corrupted(&text).await, "surplus"), (&None, &Some(Value::List(Vec::new()))));
    pair.corrupted(&format!("MATCH (n:Entity {{uuid: '{entity}'}}) SET n.surplus = null")).await;

    // A list of the same numbers is not a vector.
    let text = format!("MATCH (n:Entity {{uuid: '{entity}'}}) SET n.name_embedding = [0.5, 0.5]");
    assert!(matches!(changed(&pair.corrupted(&text).await, "name_embedding").1, Some(Value::List(_))));
    restore(&mut pair, &entity).await;

    let found = pair.corrupted(&format!("MATCH (n:Entity {{uuid: '{other}'}}) SET n:Wrong")).await;
    assert!(matches!(found.as_slice(), [Difference::Labels { .. }]), "{}", report(&found));
    pair.corrupted(&format!("MATCH (n:Entity {{uuid: '{other}'}}) REMOVE n:Wrong")).await;

    // In two steps: FalkorDB takes two vectors for equal when no two components differ by a whole number, and
    // setting an equal value changes nothing.
    let text = format!(
        "MATCH ()-[e:RELATES_TO {{uuid: '{fact}'}}]->() SET e.fact_embedding = null \
         WITH e SET e.fact_embedding = vecf32([1, 0, 0, 0, 0, 0, 0, 0])"
    );
    assert!(matches!(changed(&pair.corrupted(&text).await, "fact_embedding").1, Some(Value::Vector(_))));
    let found = pair.corrupted(&format!("MATCH ()-[e:RELATES_TO {{uuid: '{fact}'}}]->() DELETE e")).await;
    assert!(matches!(found.as_slice(), [Difference::Missing(Key::Relationship(key))] if key.uuid == fact), "{}", report(&found));

    let text = format!("MATCH (a)-[e:RELATES_TO {{uuid: '{other_fact}'}}]->(b) CREATE (a)-[c:RELATES_TO]->(b) SET c = e");
    let twice = pair.corrupted(&text).await;
    assert!(twice.iter().any(|found| matches!(found, Difference::Duplicated(Key::Relationship(_)))), "{}", report(&twice));
    let found = pair.corrupted("CREATE (:Entity {uuid: 'nowhere'}), (:Entity {uuid: 'nowhere'})").await;
    let nowhere = |found: &&Difference| matches!(found.key(), Key::Node(key) if key.uuid == "nowhere");
    let kinds: Vec<&Difference> = found.iter().filter(nowhere).collect();
    assert!(matches!(kinds.as_slice(), [Difference::Duplicated(_), Difference::Orphaned(_)]), "{}", report(&found));
}

/// Copies an entity again, with its summary and its vector.
async fn restore(pair: &mut Pair, entity: &str) {
    let snapshot = pair.snapshot().await;
    let (_, node) = snapshot.nodes.iter().find(|(key, _)| key.uuid == entity).unwrap();
    let Some(Value::Vector(vector)) = node.properties.get("name_embedding") else {
        panic!("{entity} has no vector in the source");
    };
    let Some(Value::Text(summary)) = node.properties.get("summary") else {
        panic!("{entity} has no summary in the source");
    };
    let text = format!(
        "MATCH (n:Entity {{uuid: '{entity}'}}) SET n.name_embedding = null \
         WITH n SET n.summary = '{summary}', n.name_embedding = vecf32({vector:?})"
    );
    let found = pair.corrupted(&text).await;
    assert!(found.is_empty(), "{}", report(&found));
}

#[tokio::test]
async fn every_change_of_the_source_is_reported() {
    let mut pair = Pair::new(&GraphSpec { groups: 1, ..small() }).await;
    let entity = pair.world.some_entity();
    pair.world.rewrite_summary(&entity).await.unwrap();
    changed(&pair.compare().await, "summary");
    let fact = pair.world.facts[0].clone();
    pair.world.expire_fact(&fact).await.unwrap();
    assert_eq!(pair.compare().await.len(), 3);
    let episode = pair.world.add_episode(2, 2).await.unwrap();
    let missing = pair.compare().await.into_iter().filter(|found| matches!(found, Difference::Missing(_)));
    assert_eq!(missing.count(), 3 + 2 + 3, "an episode, two entities, two facts, three mentions");
    pair.world.delete_node(&episode.uuid).await.unwrap();
    pair.world.delete_relationship(&fact).await.unwrap();
    let orphaned = pair.compare().await.into_iter().filter(|found| matches!(found, Difference::Orphaned(_)));
    assert_eq!(orphaned.count(), 1);
}

#[tokio::test]
async fn values_of_all_kinds_are_read_as_documented() {
    let source = source_lock().await;
    let text = "CREATE (n:Entity {uuid: 'odd', nan: 0.0 / 0.0, infinite: 1.0 / 0.0, largest: 1.7976931348623157e308, \
         lowest: -9223372036854775808, nul: $nul, empty: [], bytes: $bytes, date: date('2024-02-29'), \
         time: time('10:11:12.5+02:00'), local: localtime('10:11:12'), duration: duration('P1Y2M3DT4H5M6.7S'), \
         point: point({x: 12.5, y: 55.25, crs: 'WGS-84'}), nanos: datetime('2026-01-01T00:00:00.123456789Z'), \
         offset: datetime('2026-01-01T00:00:00.000001+05:30'), naive: localdatetime('2026-01-01T00:00:00'), \
         first: datetime('2024-10-27T02:30+02:00[Europe/Berlin]'), second: datetime('2024-10-27T02:30+01:00[Europe/Berlin]'), \
         dates: [date('2024-02-29')], moments: [datetime('2024-10-27T02:30+01:00[Europe/Berlin]')]})";
    let statement = query(text).param("nul", "a\0b").param("bytes", vec![0_u8, 255, 7]);
    source.graph.run(statement).await.unwrap();
    let snapshot = read_source(&source.graph, &Filter::default()).await.unwrap();
    let node = snapshot.nodes.values().next().unwrap();
    let expected = [
        ("bytes", Value::text("AP8H")),
        ("date", Value::text("2024-02-29")),
        ("dates", Value::List(vec![Value::text("2024-02-29")])),
        ("duration", Value::text("P1Y2M3DT4H5M6.7S")),
        ("empty", Value::List(Vec::new())),
        ("first", Value::text("2024-10-27T00:30:00+00:00")),
        ("infinite", Value::Real(f64::INFINITY)),
        ("largest", Value::Real(f64::MAX)),
        ("local", Value::text("10:11:12")),
        ("lowest", Value::Integer(i64::MIN)),
        ("moments", Value::List(vec![Value::text("2024-10-27T01:30:00+00:00")])),
        ("naive", Value::text("2026-01-01T00:00:00+00:00")),
        ("nan", Value::Real(f64::NAN)),
        ("nanos", Value::text("2026-01-01T00:00:00.123456+00:00")),
        ("nul", Value::text("ab")),
        ("offset", Value::text("2025-12-31T18:30:00.000001+00:00")),
        ("point", Value::text("SRID=4326;POINT(12.5 55.25)")),
        ("second", Value::text("2024-10-27T01:30:00+00:00")),
        ("time", Value::text("10:11:12.5+02:00")),
        ("uuid", Value::text("odd")),
    ];
    for (name, value) in &expected {
        assert_eq!(node.properties.get(*name), Some(value), "{name}");
    }
    assert_eq!(node.properties.len(), expected.len());
}

#[tokio::test]
async fn a_group_is_compared_alone() {
    let pair = Pair::new(&small()).await;
    let alone = compare_part(&pair.source.graph, &Filter::group("group-1"), &pair.address, &pair.name).await.unwrap();
    assert!(!alone.is_empty());
    assert!(alone.iter().all(|found| matches!(found, Difference::Orphaned(_))), "{}", report(&alone));
}

#[tokio::test]
async fn a_large_graph_is_compared_in_time() {
    let pair = Pair::new(&GraphSpec::large()).await;
    let start = Instant::now();
    let found = pair.compare().await;
    let took = start.elapsed();
    println!("25,000 nodes and 70,000 relationships compared in {took:.1?}");
    assert!(found.is_empty(), "{}", report(&found));
    assert!(took < Duration::from_secs(180), "took {took:?}");
}
