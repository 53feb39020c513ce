//! Rows that FalkorDB refuses: they stand alone, are listed until they are mended, and never block the rest.

use std::time::{Duration, Instant};

use neo4rs::query;
use serde_json::Value;

use super::api::{self, Http, TOKEN};
use super::pipeline::Pair;
use crate::support::arrival::until_equal;
use crate::support::deadline::EVENT;
use crate::support::graph::{GraphSpec, build};
use crate::support::service::{Running, Service};

const POLL: Duration = Duration::from_millis(50);

/// Among so many good ones.
const GOOD: usize = 50;

fn spec() -> GraphSpec {
    GraphSpec { entities: 40, facts: 40, episodes: 5, mentions: 10, groups: 1, dimension: 8, ..GraphSpec::default() }
}

async fn on_cache(pair: &Pair, command: &[&str]) -> redis::Value {
    let mut cache = pair.cache.connect().await.unwrap();
    let mut built = redis::cmd(command[0]);
    built.arg(&command[1..]);
    built.query_async(&mut cache).await.unwrap()
}

/// FalkorDB takes each value of this property once; Neo4j takes any.
async fn refuse_twins(pair: &Pair) {
    on_cache(pair, &["GRAPH.QUERY", &pair.graph, "CREATE INDEX FOR (n:Entity) ON (n.badge)"]).await;
    on_cache(pair, &["GRAPH.CONSTRAINT", "CREATE", &pair.graph, "UNIQUE", "NODE", "Entity", "PROPERTIES", "1", "badge"]).await;
    let began = Instant::now();
    loop {
        let listed = on_cache(pair, &["GRAPH.QUERY", &pair.graph, "CALL db.constraints() YIELD status RETURN status"]).await;
        if format!("{listed:?}").contains("OPERATIONAL") {
            return;
        }
        assert!(began.elapsed() < EVENT, "{listed:?}");
        tokio::time::sleep(POLL).await;
    }
}

async fn entries(http: &Http) -> Vec<Value> {
    let listed = http.json("/api/sync/quarantine").await["pipelines"]["default"].clone();
    let entries = listed["entries"].as_array().unwrap().clone();
    assert_eq!(listed["total"], entries.iter().filter(|entry| entry["ignored"] != true).count());
    entries
}

/// Waits until the quarantine is as wanted.
async fn until(http: &Http, running: &Running, what: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let found = entries(http).await;
        if wanted(&found) {
            return found;
        }
        assert!(began.elapsed() < EVENT, "{what}: {found:?}\n{}", running.log());
        tokio::time::sleep(POLL).await;
    }
}

fn with_token(pair: &Pair) -> Service {
    pair.service.clone().with("API_TOKEN", TOKEN).with("SYNC_SCRUB_ROWS_PER_SECOND", 0)
}

#[tokio::test]
async fn a_refused_row_stands_alone_until_it_is_mended() {
    let pair = Pair::new("poison").await;
    build(&pair.source.graph, &spec()).await.unwrap();
    pair.sync("full").await;
    refuse_twins(&pair).await;
    let (running, http) = api::start(&with_token(&pair)).await;
    http.until_ready(true).await;

    let text = "UNWIND range(1, $good) AS i CREATE (:Entity {uuid: 'good-' + i, name: 'n', group_id: '', badge: 'b-' + i, \
                created_at: datetime()}) WITH count(*) AS made CREATE (:Entity {uuid: 'poison', name: 'n', group_id: '', badge: 'b-1', \
                created_at: datetime()}) CREATE (:Entity {uuid: 'zz-last', name: 'n', group_id: '', created_at: datetime()})";
    http.while_paused(pair.source.graph.run(query(text).param("good", GOOD as i64))).await.unwrap();
    let listed = until(&http, &running, "listed", |entries| entries.len() == 1).await;
    let entry = &listed[0];
    assert_eq!((&entry["kind"], entry["property"].is_null()), (&"Entity".into(), true), "{entry}");
    // Whichever of the twins came second.
    let poison = entry["key"].as_str().unwrap().to_owned();
    assert!(["poison", "good-1"].contains(&poison.as_str()), "{entry}");
    assert!(entry["reason"].as_str().unwrap().contains("constraint"), "{entry}");
    assert!(entry["since"].is_string() && entry["attempts"].as_u64() >= Some(1), "{entry}");
    // All the rest is there.
    let there = "MATCH (n:Entity) WHERE n.uuid STARTS WITH 'good-' OR n.uuid IN ['poison', 'zz-last'] RETURN count(n)";
    let count = on_cache(&pair, &["GRAPH.QUERY", &pair.graph, there]).await;
    assert!(format!("{count:?}").contains(&format!("int({})", GOOD + 1)), "{count:?}");
    assert!(http.get("/ready").await.0 == 200, "one row is no reason");
    assert_eq!(http.status().await["quarantined"], 1);
    assert_eq!(running.terminate().await, 0);

    let (running, http) = api::start(&with_token(&pair)).await;
    http.until_ready(true).await;
    let kept = entries(&http).await;
    assert_eq!(kept[0]["since"], entry["since"], "kept across restarts");
    let attempts = kept[0]["attempts"].as_u64().unwrap();
    assert_eq!(http.ask("POST", "/api/sync/quarantine/retry", "").await.unwrap().0, 401);
    assert_eq!(http.command("quarantine/retry").await.0, 202);
    let tried = |entries: &[Value]| entries.len() == 1 && entries[0]["attempts"].as_u64() > Some(attempts);
    let again = until(&http, &running, "tried again", tried).await;
    assert_eq!(again[0]["since"], entry["since"]);

    // On request it is let be: listed still, and counted no more.
    let (status, body) = http.command("quarantine/ignore").await;
    assert!(status == 200 && body.contains("\"ignored\":1"), "{status} {body}");
    let ignored = until(&http, &running, "ignored", |entries| entries.len() == 1 && entries[0]["ignored"] == true).await;
    assert_eq!((&ignored[0]["since"], &http.status().await["quarantined"]), (&entry["since"], &0.into()));

    // On request it is tried, and a row that can be written by now leaves.
    let badge = query("MATCH (n:Entity {uuid: $key}) SET n.badge = 'its own', n.created_at = datetime()").param("key", poison);
    pair.source.graph.run(badge).await.unwrap();
    until(&http, &running, "mended", <[Value]>::is_empty).await;
    let arrived = until_equal(&pair.source.graph, &pair.cache, &pair.graph, EVENT).await;
    assert!(arrived.is_ok(), "{arrived:?}");
    assert_eq!(running.terminate().await, 0);
}
