//! kill -9 at random moments: every restart goes on, and the end is exact.

use std::time::Duration;

use neo4rs::query;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::pipeline::Pair;
use crate::support::graph::{GraphSpec, build};
use crate::support::service::Service;

const KILLS: usize = 10;

/// Small batches, so that a pass has many moments to be killed in.
const BATCH: usize = 100;

fn spec() -> GraphSpec {
    GraphSpec {
        entities: 1500,
        facts: 4000,
        episodes: 600,
        mentions: 1500,
        communities: 40,
        members: 100,
        dimension: 64,
        ..GraphSpec::default()
    }
}

fn random() -> (u64, StdRng) {
    let seed = rand::rng().random();
    println!("seed {seed}");
    (seed, StdRng::seed_from_u64(seed))
}

/// Starts the service, and kills it a random time after its work has begun. The random moment is the point of the test, so
/// here a sleep is not the wait for an event.
async fn run_and_kill(service: &Service, begins: &str, moment: Duration) {
    let mut running = service.start(&["run"]);
    running.line(begins).await;
    tokio::time::sleep(moment).await;
    running.kill().await;
}

#[tokio::test]
async fn a_full_pass_killed_ten_times_ends_exact() {
    let (_, mut random) = random();
    let pair = Pair::new("killed_full").await;
    build(&pair.source.graph, &spec()).await.unwrap();
    let service = pair.service.clone().with("SYNC_BATCH_SIZE", BATCH).with("SYNC_FULL_ON_STARTUP", true);
    for _ in 0..KILLS {
        run_and_kill(&service, "full sync begins", Duration::from_millis(random.random_range(0..1500))).await;
    }
    let mut last = pair.service.clone().with("SYNC_BATCH_SIZE", BATCH).start(&["run"]);
    last.line("pass ended").await;
    assert_eq!(last.terminate().await, 0);
    pair.assert_equal().await;
}

#[tokio::test]
async fn an_incremental_pass_killed_ten_times_ends_exact() {
    let (_, mut random) = random();
    let pair = Pair::new("killed_incremental").await;
    build(&pair.source.graph, &spec()).await.unwrap();
    pair.sync("full").await;
    let service = pair.service.clone().with("SYNC_BATCH_SIZE", BATCH);
    for round in 0..KILLS {
        touch_everything(&pair, round).await;
        run_and_kill(&service, "pass begins", Duration::from_millis(random.random_range(0..1500))).await;
    }
    pair.sync_once_free("incremental").await;
    pair.assert_equal().await;
}

/// Every row that timestamps reach changes, as if written now.
async fn touch_everything(pair: &Pair, round: usize) {
    for pattern in ["(x:Entity)", "(x:Episodic)", "()-[x:RELATES_TO]->()"] {
        let text = format!("MATCH {pattern} SET x.created_at = datetime.realtime(), x.touched = $round");
        pair.source.graph.run(query(&text).param("round", round as i64)).await.unwrap();
    }
}
