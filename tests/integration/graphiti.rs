//! What graphiti-core itself writes into the source arrives in the cache, and is found there by graphiti-core itself.

use std::time::{Duration, Instant};

use neo4rs::query;

use super::pipeline::Pair;
use crate::support::comparer::{Difference, Filter, Key, Snapshot, compare, read_source, report};
use crate::support::deadline::EVENT;
use crate::support::graphiti::{Graphiti, Step};
use crate::support::http::Http;

/// How many episodes a group gets between two passes.
const NEW_EPISODES: usize = 3;

async fn snapshot(pair: &Pair) -> Snapshot {
    read_source(&pair.source.graph, &Filter::default()).await.unwrap()
}

/// Whether an incremental pass has to bring an element over: it is new, or has expired, and is of a kind that the source has
/// a timestamp with an index for.
fn is_reached_by_timestamps(key: &Key, before: &Snapshot, after: &Snapshot) -> bool {
    match key {
        Key::Node(node) => matches!(node.label.as_str(), "Entity" | "Episodic") && !before.nodes.contains_key(node),
        Key::Relationship(fact) if fact.typ == "RELATES_TO" => {
            let expired_at = |graph: &Snapshot| Some(graph.relationships.get(fact)?.properties.get("expired_at").cloned());
            expired_at(before) != expired_at(after)
        }
        Key::Relationship(_) => false,
    }
}

/// How many elements of a label or a type are to be reached.
fn reached(kind: &str, before: &Snapshot, after: &Snapshot) -> usize {
    let nodes = after.nodes.keys().map(|key| Key::Node((**key).clone()));
    let relationships = after.relationships.keys().cloned().map(Key::Relationship);
    let of_kind = |key: &Key| match key {
        Key::Node(node) => node.label == kind,
        Key::Relationship(relationship) => relationship.typ == kind,
    };
    nodes.chain(relationships).filter(|key| of_kind(key) && is_reached_by_timestamps(key, before, after)).count()
}

/// How the cache differs in what an incremental pass has to bring over.
async fn missed(pair: &Pair, before: &Snapshot, after: &Snapshot) -> Vec<Difference> {
    let found = compare(&pair.source.graph, &pair.cache, &pair.graph).await.unwrap();
    found.into_iter().filter(|difference| is_reached_by_timestamps(difference.key(), before, after)).collect()
}

#[tokio::test]
async fn what_graphiti_writes_arrives() {
    let graphiti = Graphiti::new().await.unwrap();
    let pair = Pair::new("graphiti").await;
    let source = &pair.source.address;
    graphiti.write(source, Step::Create).await.unwrap();
    graphiti.write(source, Step::Mutate).await.unwrap();
    assert_eq!(pair.sync("full").await["totals"]["quarantined"], 0);
    pair.assert_equal().await;

    let before = snapshot(&pair).await;
    graphiti.write(source, Step::Episodes(NEW_EPISODES)).await.unwrap();
    let after = snapshot(&pair).await;
    let expected = 3 * NEW_EPISODES;
    assert_eq!(reached("Episodic", &before, &after), expected, "an episode each in three groups");
    assert_eq!(reached("Entity", &before, &after), expected, "an entity with each");
    assert!(reached("RELATES_TO", &before, &after) >= 3 * expected, "two new facts and an expired one with each");
    assert!(missed(&pair, &before, &after).await.len() >= 5 * expected, "nothing has arrived yet");
    pair.sync("incremental").await;
    // What no timestamp reaches may still differ: links, sagas, communities, and older entities that were written again.
    let missed = missed(&pair, &before, &after).await;
    assert!(missed.is_empty(), "{}", report(&missed));

    // Deletes carry no timestamp at all.
    graphiti.write(source, Step::Delete).await.unwrap();
    pair.sync("full").await;
    pair.assert_equal().await;
}

/// What a person or a script does by hand: no timestamp moves, no episode comes, no count changes.
const SILENT: [&str; 4] = [
    "MATCH (n:Entity) WITH n ORDER BY n.uuid LIMIT 9 SET n.summary = 'by hand: ' + n.name",
    "MATCH ()-[e:RELATES_TO]->() WITH e ORDER BY e.uuid SKIP 20 LIMIT 7
     SET e.expired_at = datetime('2026-02-01T00:00:00Z'), e.invalid_at = datetime('2026-01-31T00:00:00Z')",
    "MATCH (n:Entity) WITH n ORDER BY n.uuid SKIP 5 LIMIT 9
     CALL db.create.setNodeVectorProperty(n, 'name_embedding', [x IN range(1, 256) | sin(x * size(n.name))])",
    "MATCH ()-[e:RELATES_TO]->() WITH e ORDER BY e.uuid SKIP 11 LIMIT 5
     CALL db.create.setRelationshipVectorProperty(e, 'fact_embedding', [x IN range(1, 256) | cos(x * size(e.fact))])",
];

async fn assert_parity(graphiti: &Graphiti, pair: &Pair, when: &str) {
    // All groups are in one graph, which searches with a driver of their own choice read as it is.
    let checks = graphiti.read_parity(&pair.source.address, &pair.cache, &pair.graph).await;
    println!("{when}:\n{}", checks.unwrap_or_else(|error| panic!("{when}: {error}")));
}

#[tokio::test]
async fn graphiti_finds_in_the_cache_what_it_finds_in_the_source() {
    let graphiti = Graphiti::new().await.unwrap();
    let pair = Pair::new("graphiti_readers").await;
    let source = &pair.source.address;
    graphiti.write(source, Step::Create).await.unwrap();
    graphiti.write(source, Step::Mutate).await.unwrap();
    pair.sync("full").await;
    assert_parity(&graphiti, &pair, "after a full sync").await;

    let service = pair.service.clone().with("SYNC_SCRUB_ROWS_PER_SECOND", 100_000);
    let (mut running, http) = Http::start(&service).unwrap();
    running.line("pass ended").await;
    graphiti.write(source, Step::Episodes(NEW_EPISODES)).await.unwrap();
    for text in SILENT {
        pair.source.graph.run(query(text)).await.unwrap();
    }
    let (begun, bookmark) = (Instant::now(), pair.bookmark().await);
    let mut status = http.status().await.unwrap();
    while status["equal_as_of"] != bookmark.as_str() {
        assert!(begun.elapsed() < EVENT, "{}\nnot proven equal: {status}", running.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
        status = http.status().await.unwrap();
    }
    assert!(status["statistics"]["passes"]["full"].is_null(), "by incremental passes and the comparison alone: {status}");
    assert_parity(&graphiti, &pair, "after silent changes").await;
    // Searching has changed nothing.
    pair.assert_equal().await;
    assert_eq!(running.terminate().await, 0);
}
