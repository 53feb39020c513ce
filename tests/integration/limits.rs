//! The service inside the limits that compose.yaml gives it: half a core, and 512 MB.

use std::io::Write;
use std::time::{Duration, Instant};

use neo4rs::query;
use tokio::time::{MissedTickBehavior, interval};

use super::api::start;
use super::pipeline::Pair;
use crate::support::cgroup::Limits;
use crate::support::graph::{GraphSpec, build};
use crate::support::service::peak_memory;

const CORES: f64 = 0.5;
const MEMORY: u64 = 512 * 1024 * 1024;

/// Commits are this far apart: five a second.
const COMMITS_APART: Duration = Duration::from_millis(200);

/// How many there are: half a minute of them.
const COMMITS: u64 = 150;

/// A commit is readable within this time.
const FRESH: f64 = 2.0;

#[tokio::test]
#[ignore = "a full sync with half a core takes a minute in a debug build; NEO4J_FALKORDB_SYNC_PROGRAM names a release build"]
async fn half_a_core_and_512_mb_are_enough() {
    let Some(limits) = Limits::new("neo4j-falkordb-sync-test", CORES, MEMORY) else {
        let text = "SKIPPED, NOT TESTED: this user may make no control groups, so nothing can be limited\n";
        std::io::stderr().write_all(text.as_bytes()).unwrap();
        return;
    };
    let pair = Pair::new("limits").await;
    let spec = GraphSpec::large();
    build(&pair.source.graph, &spec).await.unwrap();
    let (mut running, http) = start(&pair.service).await;
    limits.hold(running.pid()).unwrap();
    let began = Instant::now();
    running.line("full sync ended").await;
    let full = began.elapsed().as_secs_f64();
    http.until_ready(true).await;
    let before = http.status().await["statistics"]["freshness"].clone();
    let mut ticks = interval(COMMITS_APART);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..COMMITS {
        ticks.tick().await;
        let text = format!("CREATE (:Entity {{uuid: 'fresh-{number}', name: 'x', group_id: 'g', created_at: datetime()}})");
        pair.source.graph.run(query(&text)).await.unwrap();
    }
    let bookmark = pair.bookmark().await.as_str().replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let (status, body) = http.get(&format!("/api/sync/wait?bookmark={bookmark}&timeout_ms=60000")).await;
    assert_eq!(status, 200, "{body}");
    let statistics = http.json("/api/sync/statistics").await["pipelines"]["default"].clone();
    let samples = statistics["samples"].as_array().unwrap();
    // The last half minute: what came before was the full sync.
    let seconds = COMMITS as usize / 5 - 2;
    let recent = samples.iter().rev().take(seconds).filter_map(|sample| sample["freshness_seconds"].as_f64());
    let worst = recent.fold(0.0, f64::max);
    let peak = peak_memory(running.pid());
    let after = &statistics["statistics"]["freshness"];
    let grown = |name: &str| after[name].as_f64().unwrap() - before[name].as_f64().unwrap();
    let mean = grown("seconds") / grown("count");
    println!(
        "with {CORES} cores and {} MB: {} elements in {full:.1} s, then 5 commits a second readable after {mean:.2} s, at worst \
         {worst:.2} s; peak memory {} MB",
        MEMORY >> 20,
        spec.nodes() + spec.relationships(),
        peak >> 20
    );
    assert!(worst > 0.0 && worst < FRESH, "{worst}");
    assert!(peak > 0 && peak < MEMORY, "{peak}");
    let log = running.log();
    assert_eq!(running.terminate().await, 0, "{log}");
    pair.assert_equal().await;
}
