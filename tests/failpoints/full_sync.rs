//! kill -9 in every phase of a full sync, while the source is being written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::comparer::assert_equal;
use crate::support::graph::{GraphSpec, build};
use crate::support::servers::{fresh_graph_name, shared, source_lock};
use crate::support::service::Service;

const PROGRAM: &str = env!("CARGO_BIN_EXE_neo4j-falkordb-sync");

/// Two places in each phase: nodes, relationships, vectors, indices, catching up, swap. The numbers before `*off` let that many
/// visits pass.
const PLACES: [&str; 12] = [
    "load-nodes=1*off->return(kill)",
    "loaded-nodes=2*off->return(kill)",
    "load-relationships=1*off->return(kill)",
    "loaded-relationships=2*off->return(kill)",
    "vectors-begin=return(kill)",
    "vectors-end=return(kill)",
    "indices-begin=return(kill)",
    "indices-end=return(kill)",
    "catch-up-begin=return(kill)",
    "catch-up-end=return(kill)",
    "swap-begin=return(kill)",
    "swap-end=return(kill)",
];

/// And so many at random.
const RANDOM: usize = 8;

fn spec() -> GraphSpec {
    GraphSpec { entities: 6000, facts: 12_000, episodes: 2500, mentions: 4000, dimension: 64, ..GraphSpec::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_twenty_times_it_ends_exact() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let source = source_lock().await;
    let cache = shared().await.falkordb.address();
    let graph = fresh_graph_name("killed");
    let mut world = build(&source.graph, &spec()).await.unwrap();
    let service = Service::new(PROGRAM, &source.address, &cache, &graph);
    assert_eq!(service.finish(&["sync", "--mode", "full"]).await.code, 0);

    // The source is written all the time.
    let done = Arc::new(AtomicBool::new(false));
    let writing = Arc::clone(&done);
    let writer = tokio::spawn(async move {
        let mut episodes = 0;
        while !writing.load(Ordering::Relaxed) {
            world.add_episode(2, 2).await.unwrap();
            episodes += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        episodes
    });
    let full = service.clone().with("SYNC_FULL_ON_STARTUP", true);
    for place in PLACES {
        let mut running = full.clone().with("FAILPOINTS", place).start(&["run"]);
        let code = running.ended().await;
        println!("killed at {place}: {code}");
        assert_eq!(code, -1, "not killed at {place}:\n{}", running.log());
    }
    for _ in 0..RANDOM {
        let mut running = full.start(&["run"]);
        running.line("full sync begins").await;
        // The random moment is the point, so this sleep is not the wait for an event.
        tokio::time::sleep(Duration::from_millis(random.random_range(0..3000))).await;
        running.kill().await;
    }
    done.store(true, Ordering::Relaxed);
    let episodes = writer.await.unwrap();
    assert!(episodes > PLACES.len(), "the source was written meanwhile: {episodes}");

    let mut running = full.start(&["run"]);
    running.line("full sync ended").await;
    let from = running.length();
    running.line_from(from.saturating_sub(1), "pass ended").await;
    assert_eq!(running.terminate().await, 0);
    assert_eq!(service.finish(&["sync", "--mode", "incremental"]).await.code, 0);
    assert_equal(&source.graph, &cache, &graph).await;
    let mut connection = cache.connect().await.unwrap();
    let left: Vec<String> = redis::cmd("KEYS").arg(format!("{{{graph}}}:stage*")).query_async(&mut connection).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}
