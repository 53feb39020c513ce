//! What a FalkorDB does that stops, restarts, or will not write.

use std::time::Duration;

use redis::Value;

use super::Proxied;
use crate::support::servers::{FalkorOptions, FalkorServer};

/// Longer than any command but a long write may take, and than a lease lasts.
const PAUSE: Duration = Duration::from_secs(12);

/// The service with a cache of its own, which the test does things to.
struct Suffering {
    server: FalkorServer,
    proxied: Proxied,
}

impl Suffering {
    async fn new(test: &str, options: FalkorOptions) -> Self {
        let server = FalkorServer::start_with(options).await.unwrap();
        let proxied = Proxied::with_cache(test, server.address()).await;
        Self { server, proxied }
    }

    async fn redis(&self, command: &[&str]) -> Value {
        let mut built = redis::cmd(command[0]);
        built.arg(&command[1..]);
        let mut connection = self.server.connect().await.unwrap();
        let answer: redis::RedisResult<Value> = built.query_async(&mut connection).await;
        answer.unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    async fn setting(&self, name: &str, value: &str) {
        self.redis(&["CONFIG", "SET", name, value]).await;
    }

    async fn graph_setting(&self, name: &str, value: &str) {
        self.redis(&["GRAPH.CONFIG", "SET", name, value]).await;
    }

    /// Writes to the source and waits until the service says what the cache told it.
    async fn told(&mut self, words: &str) {
        let from = self.proxied.running.length();
        self.proxied.write().await;
        let line = self.proxied.running.line_from(from, words).await;
        println!("{line}");
    }

    /// As [`Self::told`], and that it is not in step.
    async fn refuses(&mut self, words: &str) {
        self.told(words).await;
        let verdict = self.proxied.http.until_ready(false).await;
        println!("{verdict}");
    }

    async fn recovers(&mut self, what: &str) {
        self.proxied.converges(what).await;
        self.proxied.http.until_ready(true).await;
    }
}

#[tokio::test]
#[ignore = "with make test-faults"]
async fn a_cache_that_is_killed_or_stopped_is_filled_again() {
    let mut suffering = Suffering::new("restarts", FalkorOptions::default()).await;
    for _ in 0..2 {
        suffering.server.kill();
        suffering.proxied.write().await;
        suffering.server.restart().await.unwrap();
        suffering.recovers("FalkorDB killed and empty").await;
        // In the middle of a write, with luck.
        suffering.proxied.write().await;
        suffering.server.stop().await;
        suffering.proxied.write().await;
        suffering.server.restart().await.unwrap();
        suffering.recovers("FalkorDB stopped and empty").await;
    }
    suffering.proxied.ends().await;
}

/// It keeps its snapshot, so what it holds after a kill is older than what was acknowledged.
#[tokio::test]
#[ignore = "with make test-faults"]
async fn a_cache_that_comes_back_older_is_brought_in_step() {
    let mut suffering = Suffering::new("older", FalkorOptions::default()).await;
    suffering.redis(&["SAVE"]).await;
    suffering.proxied.write().await;
    suffering.recovers("changes after the snapshot").await;
    suffering.server.kill();
    suffering.proxied.write().await;
    suffering.server.restart().await.unwrap();
    suffering.recovers("FalkorDB from its snapshot").await;
    suffering.proxied.ends().await;
}

#[tokio::test]
#[ignore = "with make test-faults"]
async fn a_cache_that_pauses_for_longer_than_a_lease_is_waited_for() {
    let mut suffering = Suffering::new("paused", FalkorOptions::default()).await;
    suffering.server.pause();
    suffering.proxied.write().await;
    suffering.proxied.http.until_ready(false).await;
    // The pause is the fault: that long, whatever happens meanwhile.
    tokio::time::sleep(PAUSE).await;
    suffering.server.resume();
    suffering.recovers("FalkorDB paused").await;
    suffering.proxied.ends().await;
}

#[tokio::test]
#[ignore = "with make test-faults"]
async fn a_cache_without_memory_is_waited_for() {
    let mut suffering = Suffering::new("memory", FalkorOptions::default()).await;
    suffering.setting("maxmemory", "1mb").await;
    suffering.refuses("OOM").await;
    suffering.setting("maxmemory", "0").await;
    suffering.recovers("FalkorDB out of memory").await;
    suffering.proxied.ends().await;
}

/// A directory in the place of the snapshot.
#[tokio::test]
#[ignore = "with make test-faults"]
async fn a_cache_that_cannot_save_is_waited_for() {
    let mut suffering = Suffering::new("misconf", FalkorOptions::default()).await;
    let snapshot = suffering.server.directory().join("dump.rdb");
    std::fs::create_dir_all(snapshot.join("in-the-way")).unwrap();
    // It tries again by itself, every few seconds.
    suffering.setting("save", "1 1").await;
    suffering.redis(&["BGSAVE"]).await;
    suffering.refuses("MISCONF").await;
    std::fs::remove_dir_all(&snapshot).unwrap();
    suffering.recovers("FalkorDB unable to save").await;
    suffering.proxied.ends().await;
}

#[tokio::test]
#[ignore = "with make test-faults"]
async fn a_cache_that_cuts_queries_short_is_waited_for() {
    let mut suffering = Suffering::new("cut_short", FalkorOptions::default()).await;
    suffering.graph_setting("TIMEOUT_DEFAULT", "1").await;
    suffering.graph_setting("TIMEOUT_MAX", "1").await;
    // Enough rows for more than a millisecond.
    let from = suffering.proxied.running.length();
    suffering.proxied.world.add_episode(400, 400).await.unwrap();
    suffering.proxied.running.line_from(from, "Query timed out").await;
    suffering.graph_setting("TIMEOUT_MAX", "0").await;
    suffering.graph_setting("TIMEOUT_DEFAULT", "0").await;
    suffering.recovers("FalkorDB cutting queries short").await;
    suffering.proxied.ends().await;
}

/// Others ask it for more than it takes at once.
#[tokio::test]
#[ignore = "with make test-faults"]
async fn a_cache_with_a_full_queue_is_waited_for() {
    let mut suffering = Suffering::new("queue", FalkorOptions::default()).await;
    suffering.graph_setting("MAX_QUEUED_QUERIES", "1").await;
    let mut others = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let address = suffering.server.address();
        others.spawn(async move {
            let mut connection = address.connect().await.unwrap();
            loop {
                let mut query = redis::cmd("GRAPH.QUERY");
                query.arg("others").arg("UNWIND range(0, 2000000) AS x RETURN sum(x)");
                // Most of these are refused as well.
                let _: redis::RedisResult<Value> = query.query_async(&mut connection).await;
            }
        });
    }
    suffering.told("Max pending queries exceeded").await;
    others.shutdown().await;
    suffering.recovers("FalkorDB with a full queue").await;
    suffering.proxied.ends().await;
}

/// Each key of the snapshot takes a while.
#[tokio::test]
#[ignore = "with make test-faults"]
async fn a_cache_that_loads_its_data_is_waited_for() {
    let slowly = ["--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024"];
    let options = FalkorOptions { arguments: slowly.map(str::to_owned).to_vec(), ..FalkorOptions::default() };
    let mut suffering = Suffering::new("loading", options).await;
    for number in 0..250 {
        suffering.redis(&["SET", &format!("other-{number}"), &"x".repeat(1000)]).await;
    }
    suffering.redis(&["SAVE"]).await;
    suffering.server.kill();
    suffering.proxied.write().await;
    let from = suffering.proxied.running.length();
    let (restarted, line) = tokio::join!(suffering.server.restart(), suffering.proxied.running.line_from(from, "LOADING"));
    restarted.unwrap();
    println!("{line}");
    suffering.recovers("FalkorDB loading").await;
    suffering.proxied.ends().await;
}

#[tokio::test]
#[ignore = "with make test-faults"]
async fn a_replica_is_named_and_left_alone_until_it_is_a_primary() {
    let mut suffering = Suffering::new("replica", FalkorOptions::default()).await;
    // Of a primary that is not there: it keeps its data and takes no writes.
    suffering.redis(&["REPLICAOF", "127.0.0.1", "1"]).await;
    suffering.refuses("read-only replica").await;
    suffering.redis(&["REPLICAOF", "NO", "ONE"]).await;
    suffering.recovers("FalkorDB read-only").await;
    suffering.proxied.ends().await;
}
