//! A cache whose master changes: Sentinel makes a replica the master, and the service goes on there.

use std::time::Instant;

use neo4rs::query;

use super::api::{Http, start};
use super::pipeline::{PROGRAM, last_bookmark, percent_encoded};
use super::standby::Writer;
use crate::support::comparer::assert_equal;
use crate::support::deadline::EVENT;
use crate::support::graph::{GraphSpec, World, build};
use crate::support::servers::sentinel::{REPLICA_USER, Replicated, SENTINEL_PASSWORD, SERVER_PASSWORD, SERVICE};
use crate::support::servers::{FalkorServer, SourceTurn, source_lock};
use crate::support::service::{Running, Service};

const GRAPH: &str = "replicated";

/// The service between a source and a cache that sentinels watch.
struct Replication {
    turn: SourceTurn,
    world: World,
    cache: Replicated,
    running: Running,
    http: Http,
}

fn service(turn: &SourceTurn, cache: &Replicated) -> Service {
    Service::new(PROGRAM, &turn.address, &cache.servers[0].address(), GRAPH)
        // Nothing but the sentinels says where the cache is.
        .without("FALKORDB_HOST")
        .without("FALKORDB_PORT")
        .with("FALKORDB_PASSWORD", SERVER_PASSWORD)
        .with("FALKORDB_SENTINEL_SERVICE", SERVICE)
        .with("FALKORDB_SENTINEL_HOSTS", cache.hosts())
        .with("FALKORDB_SENTINEL_PASSWORD", SENTINEL_PASSWORD)
        .with("SYNC_SCRUB_ROWS_PER_SECOND", 0)
        .with("LOG_FORMAT", "text")
}

/// Waits until the service says that everything committed until now is applied.
pub(crate) async fn until_applied(turn: &SourceTurn, http: &Http, running: &Running) {
    let bookmark = percent_encoded(&last_bookmark(&turn.address).await);
    let path = format!("/api/sync/wait?bookmark={bookmark}&level=applied&timeout_ms=30000");
    let began = Instant::now();
    loop {
        let (code, body) = http.get(&path).await;
        if code == 200 {
            return;
        }
        assert!(began.elapsed() < EVENT, "{code} {body}\n{}", running.log());
    }
}

impl Replication {
    async fn start(with: impl FnOnce(Service, &SourceTurn) -> Service) -> Self {
        let (turn, cache) = tokio::join!(source_lock(), Replicated::start());
        let cache = cache.unwrap();
        let world =
            build(&turn.graph, &GraphSpec { entities: 200, facts: 400, dimension: 8, ..GraphSpec::default() }).await.unwrap();
        let service = with(service(&turn, &cache), &turn);
        let (running, http) = start(&service).await;
        let replication = Self { turn, world, cache, running, http };
        replication.http.until_ready(true).await;
        replication.is_equal("the first full sync").await;
        replication
    }

    /// Everything committed until now is in the master's graph, and the service says so.
    async fn is_equal(&self, what: &str) {
        self.is_applied().await;
        println!("{what}: applied");
        let (master, replica) = self.cache.roles().await.unwrap();
        assert_equal(&self.turn.graph, &master.address(), GRAPH).await;
        let mut connection = master.connect().await.unwrap();
        let received: u32 = redis::cmd("WAIT").arg(1).arg(1000).query_async(&mut connection).await.unwrap();
        if received == 1 {
            println!("{what}: the replica has received everything");
            assert_equal(&self.turn.graph, &replica.address(), GRAPH).await;
        }
    }

    /// Changes what leaves no trace: neither a timestamp nor a count tells it.
    async fn rewrite(&self, from: usize, number: usize) {
        let keys: Vec<&str> = self.world.entities[from..from + number].iter().map(String::as_str).collect();
        let text = "MATCH (e:Entity) WHERE e.uuid IN $keys SET e.summary = 'rewritten'";
        self.turn.graph.run(query(text).param("keys", keys)).await.unwrap();
    }

    /// The service says that a commit of now is applied, while others follow.
    async fn is_applied(&self) {
        until_applied(&self.turn, &self.http, &self.running).await;
    }

    /// Cuts the replica off, changes what the master then holds alone, and kills the master. Returns its port.
    async fn loses_its_master_with(&self, from: usize) -> u16 {
        let (master, _) = self.cache.roles().await.unwrap();
        let port = master.port();
        redis(master, &["ACL", "SETUSER", REPLICA_USER, "off"]).await;
        redis(master, &["CLIENT", "KILL", "TYPE", "replica"]).await;
        self.rewrite(from, 20).await;
        self.is_applied().await;
        master.kill();
        self.cache.until_failed_over(port).await.unwrap();
        port
    }

    async fn end(mut self) {
        let log = self.running.log();
        assert!(!log.contains("halted"), "{log}");
        assert_eq!(self.running.terminate_now().await, 0, "{}", self.running.log());
    }
}

fn with_log(service: Service, turn: &SourceTurn) -> Service {
    service.with("NEO4J_TRANSACTION_LOG_DIRECTORY", turn.log.display())
}

async fn redis(server: &FalkorServer, command: &[&str]) {
    let mut connection = server.connect().await.unwrap();
    let mut built = redis::cmd(command[0]);
    built.arg(&command[1..]);
    let _: redis::Value = built.query_async(&mut connection).await.unwrap();
}

#[tokio::test]
async fn a_master_that_dies_under_writes_is_followed_by_its_successor() {
    let replication = Replication::start(|service, _| service).await;
    let writer = Writer::start(replication.turn.graph.clone());
    for round in 0..2 {
        let began = Instant::now();
        let (master, _) = replication.cache.roles().await.unwrap();
        let port = master.port();
        master.kill();
        replication.cache.until_failed_over(port).await.unwrap();
        let failed_over = began.elapsed();
        replication.is_applied().await;
        println!("round {round}: another master after {failed_over:.2?}, applied after {:.2?}", began.elapsed());
        // The former master comes back as a replica, and receives what it missed.
        let former = replication.cache.servers.iter().find(|server| server.port() == port).unwrap();
        former.restart().await.unwrap();
        replication.cache.until_replicated().await.unwrap();
    }
    let written = writer.end().await;
    replication.is_equal(&format!("{written} commits over two failovers")).await;
    replication.end().await;
}

#[tokio::test]
async fn a_failover_costs_no_full_pass_if_the_log_tells_what_the_new_master_lacks() {
    let replication = Replication::start(with_log).await;
    replication.rewrite(0, 20).await;
    replication.is_equal("changes before the failover").await;
    let mark = replication.running.length();
    let port = replication.loses_its_master_with(20).await;
    replication.is_equal("changes that the new master never received").await;
    let log = replication.running.log_from(mark);
    assert!(!log.contains("mode=full") && log.contains("mode=incremental"), "{log}");
    assert_ne!(replication.cache.master_port().await.unwrap(), port);
    replication.end().await;
}

#[tokio::test]
async fn a_failover_that_loses_writes_costs_a_full_pass_if_nothing_tells_them() {
    let replication = Replication::start(|service, _| service).await;
    let mark = replication.running.length();
    replication.loses_its_master_with(40).await;
    replication.is_equal("changes that the new master never received").await;
    let log = replication.running.log_from(mark);
    assert!(log.contains("the cache was restored to an older state") && log.contains("mode=full"), "{log}");
    replication.end().await;
}

#[tokio::test]
async fn a_master_that_stood_still_is_not_written_to_when_it_goes_on() {
    let replication = Replication::start(|service, _| service).await;
    let (master, _) = replication.cache.roles().await.unwrap();
    let port = master.port();
    let writer = Writer::start(replication.turn.graph.clone());
    master.pause();
    replication.cache.until_failed_over(port).await.unwrap();
    replication.is_applied().await;
    replication.cache.servers.iter().find(|server| server.port() == port).unwrap().resume();
    replication.cache.until_replicated().await.unwrap();
    writer.end().await;
    replication.is_equal("a former master that goes on").await;
    replication.end().await;
}

#[tokio::test]
async fn a_sentinel_that_is_gone_or_knows_nothing_is_named_and_not_needed() {
    let (turn, cache) = tokio::join!(source_lock(), Replicated::start());
    let cache = cache.unwrap();
    turn.graph.run(query("CREATE (:Entity {uuid: 'a', group_id: 'g', created_at: datetime()})")).await.unwrap();
    let service = service(&turn, &cache);
    cache.sentinels[0].kill();
    let report = service.json(&["sync", "--mode", "full"]).await[0].clone();
    assert_eq!(report["totals"]["nodes"], 1, "the other sentinels name the master");
    let check = service.json(&["check"]).await[0].clone();
    assert_eq!(check["cache_address"], "the master of cache (Sentinel)", "{check}");

    for (name, value, said) in [
        ("FALKORDB_SENTINEL_SERVICE", "other", "it does not watch the service other"),
        ("FALKORDB_SENTINEL_PASSWORD", "wrong", "WRONGPASS"),
    ] {
        let finished = service.clone().with(name, value).finish(&["sync"]).await;
        assert!(finished.code != 0 && finished.stderr.contains(said), "{} {}", finished.code, finished.stderr);
        assert!(!finished.stderr.contains(SENTINEL_PASSWORD), "{}", finished.stderr);
    }
}
