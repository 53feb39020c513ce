//! Who waits for a proof needs no token: however many do, and however often they ask, comparisons follow the commits.

use std::time::{Duration, Instant};

use futures::future::join_all;
use neo4rs::query;
use serde_json::Value;

use super::api::{Http, start};
use super::pipeline::Pair;
use crate::support::deadline::EVENT;
use crate::support::graph::{GraphSpec, build};
use crate::support::service::{Running, Service};

/// Enough elements for a comparison to have several slices, so that questions come while it runs.
fn spec() -> GraphSpec {
    GraphSpec { entities: 6000, facts: 9000, episodes: 100, mentions: 500, groups: 1, dimension: 8, ..GraphSpec::default() }
}

/// Nothing but questions starts comparisons.
fn quiet(pair: &Pair) -> Service {
    pair.service.clone().with("SYNC_SCRUB_ROWS_PER_SECOND", 0).with("SYNC_DIFFERENTIAL_INTERVAL_SECONDS", 0)
}

fn comparisons(running: &Running) -> usize {
    running.log().matches("comparison ended").count()
}

async fn verified(http: &Http, bookmark: &str, timeout_ms: u64) -> u16 {
    let path = format!("/api/sync/wait?level=verified&bookmark={bookmark}&timeout_ms={timeout_ms}");
    http.ask("GET", &path, "").await.unwrap().0
}

async fn bookmark(pair: &Pair) -> String {
    pair.bookmark().await.as_str().replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
}

async fn until(http: &Http, running: &Running, what: &str, holds: impl Fn(&Value) -> bool) {
    let began = Instant::now();
    loop {
        let status = http.status().await;
        if holds(&status) {
            return;
        }
        assert!(began.elapsed() < EVENT, "{what}: {status}\n{}", running.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn all_who_wait_share_one_comparison() {
    let pair = Pair::new("proofs").await;
    build(&pair.source.graph, &spec()).await.unwrap();
    pair.sync("full").await;
    let (running, http) = start(&quiet(&pair)).await;
    http.until_ready(true).await;
    let (now, as_told) = (bookmark(&pair).await, pair.bookmark().await);
    // The first question starts a comparison; all others come while it runs, which covers their commit.
    let first = verified(&http, &now, 60_000);
    let others = async {
        let compares = |status: &Value| status["state"]["mode"] == "differential" || status["equal_as_of"] == as_told.as_str();
        until(&http, &running, "it compares", compares).await;
        let questions = (0..60).map(|_| verified(&http, &now, 60_000));
        join_all(questions).await
    };
    let (first, others) = tokio::join!(first, others);
    assert_eq!((first, others), (200, vec![200; 60]), "{}", running.log());

    // Those who do not wait for the answer.
    for _ in 0..200 {
        // If a probe is not answered, the service does not know for a moment what is true.
        let began = Instant::now();
        while verified(&http, &now, 1).await != 200 {
            assert!(began.elapsed() < EVENT, "{}", running.log());
        }
    }
    assert_eq!(comparisons(&running), 1, "{}", running.log());

    // Another commit, and another comparison: one that nobody needs would have ended before it.
    pair.source.graph.run(query("MATCH (n:Entity) WITH n LIMIT 1 SET n.created_at = datetime()")).await.unwrap();
    let later = bookmark(&pair).await;
    let impatient = (0..100).map(|_| verified(&http, &later, 1));
    join_all(impatient).await;
    assert_eq!(verified(&http, &later, 60_000).await, 200);
    until(&http, &running, "idle", |status| status["state"]["state"] == "idle").await;
    assert_eq!(comparisons(&running), 2, "{}", running.log());
    assert_eq!(running.terminate().await, 0);
}

/// What waits for a person keeps the two from being equal: then asking in a loop must not compare in a loop.
#[tokio::test]
async fn what_cannot_be_proven_is_not_tried_for_ever() {
    let pair = Pair::new("unproven").await;
    build(&pair.source.graph, &GraphSpec { entities: 400, facts: 100, groups: 1, dimension: 8, ..GraphSpec::default() })
        .await
        .unwrap();
    pair.sync("full").await;
    let (running, http) = start(&quiet(&pair).with("SYNC_MAX_DELETE_FRACTION", "0.2")).await;
    http.until_ready(true).await;
    pair.source.graph.run(query("MATCH (n:Entity) WITH n LIMIT 300 DETACH DELETE n")).await.unwrap();
    until(&http, &running, "held", |status| status["held"].as_array().is_some_and(|held| !held.is_empty())).await;
    let now = bookmark(&pair).await;
    // The first ones find that it is in vain.
    let began = Instant::now();
    while comparisons(&running) < 2 {
        assert_eq!(verified(&http, &now, 50).await, 504, "{}", running.log());
        assert!(began.elapsed() < EVENT, "{}", running.log());
    }
    let before = comparisons(&running);
    for _ in 0..100 {
        assert_eq!(verified(&http, &now, 20).await, 504);
    }
    assert!(before <= 3 && comparisons(&running) <= 3, "{before}, then {}\n{}", comparisons(&running), running.log());
    assert_eq!(running.terminate().await, 0);
}
