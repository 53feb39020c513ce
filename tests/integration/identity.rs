//! A source or a cache that is not what it was: recognised at the next look, named in the log, and mended without a person.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use neo4rs::{Graph, query};

use super::pipeline::PROGRAM;
use crate::support::comparer::{compare, report};
use crate::support::deadline::EVENT;
use crate::support::graph::{GraphSpec, World, build};
use crate::support::http::Http;
use crate::support::servers::{FalkorOptions, FalkorServer, Neo4jAddress, Neo4jServer, source_lock};
use crate::support::service::{Running, Service};

const GRAPH: &str = "identity";

fn spec(seed: u64) -> GraphSpec {
    GraphSpec { dimension: 16, seed, ..GraphSpec::default() }
}

/// The service at work between a source and a cache that the test does things to.
struct Watched {
    source: Graph,
    cache: FalkorServer,
    service: Service,
    running: Option<Running>,
    http: Option<Http>,
    /// How many texts were written, which tells them apart.
    writes: usize,
    /// Where the log of the case at hand begins.
    mark: usize,
    began: Instant,
}

impl Watched {
    async fn new(address: Neo4jAddress, source: Graph) -> Self {
        Self::with(address, source, FalkorServer::start().await.unwrap()).await
    }

    async fn with(address: Neo4jAddress, source: Graph, cache: FalkorServer) -> Self {
        // Whole graphs come and go here, and nobody is asked.
        let service = Service::new(PROGRAM, &address, &cache.address(), GRAPH)
            .with("SYNC_MAX_DELETE_FRACTION", 1)
            // A pass that looks for late commits would notice a changed graph before the watch for it does, and name another reason.
            .with("SYNC_LATE_CHECK_SECONDS", 300);
        let mut watched = Self { source, cache, service, running: None, http: None, writes: 0, mark: 0, began: Instant::now() };
        watched.start();
        // Equal graphs are not the end of the pass: one that is cut goes on as a full pass.
        watched.line("pass ended").await;
        watched.converges("the first start").await;
        watched
    }

    /// Begins a case with a new process: its pauses between generations are those of a first fault.
    fn start(&mut self) {
        let (running, http) = Http::start(&self.service.clone().with("LOG_LEVEL", "debug").with("LOG_FORMAT", "text")).unwrap();
        (self.running, self.http) = (Some(running), Some(http));
        self.begin();
        self.mark = 0;
    }

    async fn stop(&mut self) {
        assert_eq!(self.running.take().unwrap().terminate().await, 0);
    }

    async fn again(&mut self) {
        self.stop().await;
        self.start();
        self.line("pass ended").await;
    }

    /// Waits until no pass is to come by itself: neither the readings that follow a change nor a comparison.
    async fn rests(&self) {
        let began = Instant::now();
        loop {
            let status = self.http.unwrap().status().await.unwrap_or_default();
            let is_proven = status["equal_as_of"].is_string() && status["equal_as_of"] == status["source_bookmark"];
            if is_proven && status["settled"] == true && status["state"]["state"] == "idle" {
                return;
            }
            assert!(began.elapsed() < EVENT, "{status}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the log says from here on is of the next case.
    fn begin(&mut self) {
        self.mark = self.running.as_ref().unwrap().length();
        self.began = Instant::now();
    }

    async fn line(&mut self, text: &str) {
        let mark = self.mark;
        self.running.as_mut().unwrap().line_from(mark, text).await;
    }

    fn log(&self) -> String {
        self.running.as_ref().unwrap().log_from(self.mark)
    }

    /// Polls the comparison: there is no other event that says that two servers hold the same.
    async fn converges(&mut self, what: &str) {
        let begun = Instant::now();
        loop {
            // A graph that is replaced while it is read cannot be compared: the next look decides.
            let found = match compare(&self.source, &self.cache.address(), GRAPH).await {
                Ok(found) if found.is_empty() => {
                    println!("{what}: equal after {:.2} s", self.began.elapsed().as_secs_f64());
                    return;
                }
                Ok(found) => report(&found),
                Err(error) => error.to_string(),
            };
            assert!(begun.elapsed() < EVENT, "{what}: {found}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The case has this name in the log, and ends converged by a full pass.
    async fn mended(&mut self, what: &str, reason: &str) {
        self.line(reason).await;
        println!("{what}: named after {:.2} s", self.began.elapsed().as_secs_f64());
        self.line("mode=full seconds=").await;
        self.converges(what).await;
    }

    fn assert_no_full_pass(&self, what: &str) {
        let log = self.log();
        // The second shows that the first is looked for in the right words.
        assert!(!log.contains("mode=full") && log.contains("mode=incremental"), "{what}:\n{log}");
    }

    async fn write(&self, text: &str) {
        self.source.run(query(text)).await.unwrap();
    }

    async fn redis(&self, command: &[&str]) {
        let mut connection = self.cache.connect().await.unwrap();
        let mut built = redis::cmd(command[0]);
        built.arg(&command[1..]);
        let _: redis::Value = built.query_async(&mut connection).await.unwrap();
    }

    /// Runs these commands as one transaction: no command of the service comes between them.
    async fn redis_at_once(&self, commands: &[&[&str]]) {
        let mut connection = self.cache.connect().await.unwrap();
        let mut transaction = redis::pipe();
        transaction.atomic();
        for command in commands {
            transaction.cmd(command[0]).arg(&command[1..]);
        }
        let _: Vec<redis::Value> = transaction.query_async(&mut connection).await.unwrap();
    }

    /// What the service finds by itself: a new episode that rewrites an entity silently, an expired fact, a delete.
    async fn write_traceably(&mut self, world: &World) {
        self.writes += 1;
        let n = self.writes;
        let (entity, fact, gone) = (&world.entities[n], &world.facts[n], &world.entities[50 + n]);
        self.write(&format!(
            "MATCH (e:Entity {{uuid: '{entity}'}}) SET e.summary = 'rewritten {n}' \
             CREATE (:Episodic {{uuid: 'episode-{n}', name: 'e', group_id: '', content: 'c', source: 'text', \
             created_at: datetime(), valid_at: datetime(), entity_edges: []}}) \
             -[:MENTIONS {{uuid: 'mention-{n}', group_id: '', created_at: datetime()}}]->(e)"
        ))
        .await;
        self.write(&format!("MATCH ()-[f:RELATES_TO {{uuid: '{fact}'}}]->() SET f.expired_at = datetime()")).await;
        self.write(&format!("MATCH (e:Entity {{uuid: '{gone}'}}) DETACH DELETE e")).await;
    }

    /// What leaves no trace: neither a timestamp nor an episode nor another count.
    async fn write_silently(&mut self, world: &World) {
        self.writes += 1;
        let n = self.writes;
        let (entity, fact) = (&world.entities[20 + n], &world.facts[200 + n]);
        self.write(&format!("MATCH (e:Entity {{uuid: '{entity}'}}) SET e.summary = 'saved by hand {n}'")).await;
        self.write(&format!("MATCH ()-[f:RELATES_TO {{uuid: '{fact}'}}]->() SET f.fact = 'saved by hand {n}'")).await;
    }
}

#[tokio::test]
async fn a_cache_that_is_not_what_it_was_is_brought_in_step() {
    let turn = source_lock().await;
    let world = build(&turn.graph, &spec(1)).await.unwrap();
    let mut watched = Watched::new(turn.address.clone(), turn.graph.clone()).await;

    watched.begin();
    watched.redis(&["FLUSHALL"]).await;
    watched.mended("the cache wiped", "the cache no longer has the checkpoint").await;

    watched.again().await;
    watched.begin();
    watched.redis(&["GRAPH.DELETE", GRAPH]).await;
    watched.mended("the graph deleted", "the cache no longer has the graph").await;

    watched.again().await;
    watched.begin();
    watched.redis(&["GRAPH.DELETE", GRAPH]).await;
    watched.write_traceably(&world).await;
    watched.mended("the graph deleted just before a change", "the cache no longer has the").await;

    // No pass comes that would find the graph empty by its counts.
    watched.again().await;
    watched.rests().await;
    watched.begin();
    let made_again = ["GRAPH.QUERY", GRAPH, "CREATE INDEX FOR (n:Other) ON (n.name)"];
    watched.redis_at_once(&[&["GRAPH.DELETE", GRAPH], &made_again]).await;
    watched.mended("the graph deleted, and made again by a reader", "a graph of the cache lost its content").await;

    watched.again().await;
    watched.begin();
    watched.redis(&["DEL", &format!("{{{GRAPH}}}:checkpoint")]).await;
    watched.mended("the checkpoint deleted", "the cache no longer has the checkpoint").await;

    watched.again().await;
    watched.begin();
    watched.write("MATCH (n) DETACH DELETE n").await;
    watched.line("the source is empty").await;
    watched.converges("the source emptied").await;
    watched.stop().await;
}

#[tokio::test]
async fn a_cache_restored_from_an_older_state_is_brought_in_step() {
    let turn = source_lock().await;
    let world = build(&turn.graph, &spec(2)).await.unwrap();
    let mut watched = Watched::new(turn.address.clone(), turn.graph.clone()).await;

    // Saved, restarted, nothing lost: no reason to fill it again. The end of a comparison would be stored after the save.
    watched.rests().await;
    watched.begin();
    watched.redis(&["SAVE"]).await;
    watched.cache.restart().await.unwrap();
    watched.write_traceably(&world).await;
    watched.converges("a restart of the cache").await;
    watched.assert_no_full_pass("a restart of the cache");

    // What is saved now is what a restart brings back.
    watched.again().await;
    watched.redis(&["SAVE"]).await;
    watched.write_traceably(&world).await;
    watched.converges("changes after the save").await;
    watched.begin();
    watched.cache.stop().await;
    watched.write_traceably(&world).await;
    watched.write_silently(&world).await;
    watched.cache.restart().await.unwrap();
    watched.mended("the cache restored", "the cache was restored to an older state").await;

    // While nobody watched.
    watched.redis(&["SAVE"]).await;
    watched.write_traceably(&world).await;
    watched.converges("changes after another save").await;
    watched.stop().await;
    watched.write_traceably(&world).await;
    watched.write_silently(&world).await;
    watched.cache.restart().await.unwrap();
    watched.start();
    watched.mended("the cache restored while the service was down", "may be in an older state").await;

    // Restarted while nobody watched, with an idle source: nothing can have been missed.
    watched.stop().await;
    watched.redis(&["SAVE"]).await;
    watched.cache.restart().await.unwrap();
    watched.start();
    watched.line("pass ended").await;
    watched.converges("a restart of the cache while the service was down").await;
    watched.assert_no_full_pass("a restart of the cache while the service was down");
    watched.stop().await;
}

/// A server that keeps an append-only file writes what it receives, and makes its graphs again from that.
#[tokio::test]
async fn a_cache_that_lives_on_from_its_append_only_file_holds_everything() {
    let turn = source_lock().await;
    let world = build(&turn.graph, &spec(3)).await.unwrap();
    let options = FalkorOptions {
        arguments: ["--appendonly", "yes", "--appendfsync", "always"].map(str::to_owned).to_vec(),
        ..FalkorOptions::default()
    };
    let cache = FalkorServer::start_with(options).await.unwrap();
    let mut watched = Watched::with(turn.address.clone(), turn.graph.clone(), cache).await;
    for what in ["the first full sync", "changes after it"] {
        watched.begin();
        watched.cache.kill();
        watched.cache.restart().await.unwrap();
        watched.line("pass ended").await;
        let found = compare(&watched.source, &watched.cache.address(), GRAPH).await.unwrap();
        assert!(found.is_empty(), "a restart after {what}: {}", report(&found));
        watched.assert_no_full_pass(what);
        watched.write_traceably(&world).await;
        watched.converges(what).await;
    }
    watched.stop().await;
}

/// Copies a directory with all that is in it.
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// A Neo4j whose data directory is changed under its address.
struct Changing {
    server: Neo4jServer,
}

impl Changing {
    /// Stops it, puts a copy of other data in the place of its own, and starts it.
    async fn put(&self, data: &Path) -> Graph {
        self.server.stop().await;
        std::fs::remove_dir_all(self.server.data()).unwrap();
        copy(data, &self.server.data());
        self.server.restart().await.unwrap();
        self.server.address().connect().await.unwrap()
    }
}

#[tokio::test]
async fn a_source_that_is_not_what_it_was_is_followed() {
    let changing = Changing { server: Neo4jServer::start().await.unwrap() };
    let server = &changing.server;
    let (other, backup) = (server.directory().join("other"), server.directory().join("backup"));

    // Another database, of more commits than the one that it will replace.
    let graph = server.address().connect().await.unwrap();
    build(&graph, &spec(3)).await.unwrap();
    for number in 0..300 {
        graph.run(query("CREATE (:Community {uuid: $key})").param("key", format!("other-{number}"))).await.unwrap();
    }
    server.stop().await;
    std::fs::rename(server.data(), &other).unwrap();

    server.restart_anew().await.unwrap();
    let graph = server.address().connect().await.unwrap();
    let world = build(&graph, &spec(4)).await.unwrap();
    server.stop().await;
    copy(&server.data(), &backup);
    server.restart().await.unwrap();
    let mut watched = Watched::new(server.address(), server.address().connect().await.unwrap()).await;

    // Restored under the running service.
    watched.write_traceably(&world).await;
    watched.converges("changes after the backup").await;
    watched.write_silently(&world).await;
    watched.line("pass ended").await;
    watched.begin();
    watched.source = changing.put(&backup).await;
    watched.mended("the source restored", "the source was restored from a backup").await;

    // Restored while the service was down.
    watched.write_traceably(&world).await;
    watched.converges("changes after the restoration").await;
    watched.write_silently(&world).await;
    watched.stop().await;
    watched.source = changing.put(&backup).await;
    watched.start();
    watched.mended("the source restored while the service was down", "the source was restored from a backup").await;

    // Another database under the running service.
    watched.begin();
    watched.source = changing.put(&other).await;
    watched.mended("the source replaced", "the cache was filled from another database").await;

    // And one while the service was down.
    watched.stop().await;
    watched.source = changing.put(&backup).await;
    watched.start();
    watched.mended("the source replaced while the service was down", "the cache was filled from another database").await;
    watched.stop().await;
}
