//! Range indices over text, by which FalkorDB answers wrongly, are not made, and dropped where a client makes them.

use std::time::{Duration, Instant};

use neo4rs::query;

use super::indices::until_told;
use super::pipeline::Pair;
use crate::support::deadline::EVENT;
use crate::support::graph::{GraphSpec, build};
use crate::support::http::Http;

/// What is asked of both sides: the cache holds dates as text, and the group without a name as an empty one.
const QUESTIONS: [(&str, &str); 4] = [
    (
        "MATCH (n:Entity) WHERE n.created_at < datetime('2026-02-01T00:00:00Z') RETURN count(n) AS count",
        "MATCH (n:Entity) WHERE n.created_at < '2026-02-01T00:00:00+00:00' RETURN count(n)",
    ),
    (
        "MATCH ()-[e:RELATES_TO]->() WHERE e.valid_at <= datetime('2026-02-01T00:00:00Z') RETURN count(e) AS count",
        "MATCH ()-[e:RELATES_TO]->() WHERE e.valid_at <= '2026-02-01T00:00:00+00:00' RETURN count(e)",
    ),
    ("MATCH (n:Entity) WHERE n.group_id = '' RETURN count(n) AS count", "MATCH (n:Entity) WHERE n.group_id = '' RETURN count(n)"),
    (
        "MATCH (n:Entity) WHERE n.group_id IN [''] RETURN count(n) AS count",
        "MATCH (n:Entity) WHERE n.group_id IN [''] RETURN count(n)",
    ),
];

/// Dates on both sides of the first of February, and a group without a name.
const DATES: [&str; 2] = [
    "MATCH (n:Entity) WITH n ORDER BY n.uuid WITH collect(n) AS found UNWIND range(0, size(found) - 1) AS i
     WITH found[i] AS n, i SET n.created_at = datetime('2026-01-15T00:00:00Z') + duration({days: i % 31}),
     n.group_id = CASE WHEN i % 3 = 0 THEN '' ELSE n.group_id END",
    "MATCH ()-[e:RELATES_TO]->() WITH e ORDER BY e.uuid WITH collect(e) AS found UNWIND range(0, size(found) - 1) AS i
     WITH found[i] AS e, i SET e.valid_at = datetime('2026-01-15T00:00:00Z') + duration({days: i % 31})",
];

async fn assert_answers(pair: &Pair, when: &str) {
    for (of_source, of_cache) in QUESTIONS {
        let mut rows = pair.source.graph.execute(query(of_source)).await.unwrap();
        let expected: i64 = rows.next().await.unwrap().unwrap().get("count").unwrap();
        assert!(expected > 0, "{of_source}");
        let answer = format!("{:?}", pair.cypher(of_cache).await);
        assert!(answer.contains(&format!("int({expected})")), "{when}: {of_cache}: {expected} in Neo4j, {answer}");
    }
}

async fn until_gone(pair: &Pair, on: &str, property: &str) {
    let begun = Instant::now();
    while pair.has_index(on, property, "RANGE").await {
        assert!(begun.elapsed() < EVENT, "the index on {on}.{property} is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn searches_by_dates_and_empty_groups_find_in_the_cache_what_they_find_in_the_source() {
    let mut pair = Pair::new("unsafe").await;
    // Nothing but the look at the indices is to bring a pass.
    pair.service = pair.service.clone().with("SYNC_SCRUB_ROWS_PER_SECOND", 0).with("SYNC_INTERVAL_SECONDS", 86_400);
    build(&pair.source.graph, &GraphSpec { dimension: 16, ..GraphSpec::default() }).await.unwrap();
    for text in DATES {
        pair.source.graph.run(query(text)).await.unwrap();
    }
    pair.sync("full").await;
    assert!(pair.has_index("Entity", "uuid", "RANGE").await && pair.has_index("RELATES_TO", "uuid", "RANGE").await);
    for property in ["group_id", "name", "created_at"] {
        assert!(!pair.has_index("Entity", property, "RANGE").await, "{property}");
    }
    assert_answers(&pair, "after a full sync").await;

    let (running, http) = Http::start(&pair.service).unwrap();
    let told = until_told(http, "left_out", "range [:RELATES_TO].valid_at").await;
    assert_eq!((told["unsafe"].as_array().unwrap().len(), told["dropped"].as_array().unwrap().len()), (0, 0), "{told}");
    // A client of graphiti makes one of its own again, and somebody makes one of another sort.
    pair.cypher("CREATE INDEX FOR (n:Person) ON (n.name)").await;
    pair.cypher("CREATE INDEX FOR (n:Entity) ON (n.created_at, n.group_id)").await;
    let told = until_told(http, "dropped", "range (:Entity).created_at").await;
    assert!(told["dropped"].to_string().contains("range (:Entity).group_id"), "{told}");
    until_gone(&pair, "Entity", "created_at").await;
    until_gone(&pair, "Entity", "group_id").await;
    assert_answers(&pair, "after a client has made its indices again").await;
    let told = until_told(http, "unsafe", "range (:Person).name").await;
    assert!(told["foreign"].to_string().contains("range (:Person).name"), "{told}");
    let (_, metrics) = http.get("/metrics").await.unwrap();
    for line in ["_unsafe_indexes{pipeline=\"default\"} 1.0", "_dropped_indexes{pipeline=\"default\"} 2.0"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert_eq!(running.terminate().await, 0);
    assert!(pair.has_index("Person", "name", "RANGE").await, "left alone");
    let checked = pair.service.finish(&["check"]).await;
    assert_eq!(checked.code, 0, "{}", checked.stdout);
    for line in [
        "index range (:Entity).created_at: not created, FalkorDB would return wrong results with it",
        "index range (:Person).name: exists, and FalkorDB returns wrong results with it",
        "CREATE INDEX FOR (n:Entity) ON (n.uuid)\n",
    ] {
        assert!(checked.stdout.contains(line), "{line}\n{}", checked.stdout);
    }
}

#[tokio::test]
async fn who_prefers_fast_searches_keeps_the_indices_and_is_told() {
    let mut pair = Pair::new("kept").await;
    pair.service = pair.service.clone().with("INDEXES_UNSAFE", "keep");
    build(&pair.source.graph, &GraphSpec { dimension: 16, ..GraphSpec::default() }).await.unwrap();
    pair.sync("full").await;
    assert!(pair.has_index("Entity", "created_at", "RANGE").await && pair.has_index("RELATES_TO", "valid_at", "RANGE").await);
    let (running, http) = Http::start(&pair.service).unwrap();
    let told = until_told(http, "unsafe", "range (:Entity).created_at").await;
    assert_eq!(told["left_out"].as_array().unwrap().len(), 0, "{told}");
    assert_eq!(running.terminate().await, 0);
    // Another word, and they are gone.
    pair.service = pair.service.clone().with("INDEXES_UNSAFE", "drop");
    pair.sync("incremental").await;
    until_gone(&pair, "Entity", "created_at").await;
    until_gone(&pair, "RELATES_TO", "valid_at").await;
    // The graphs that are only tried on are gone again, whoever made them.
    let mut cache = pair.cache.connect().await.unwrap();
    let pattern = format!("{{{}}}:trial:*", pair.graph);
    let left: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut cache).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}
