//! What happens to a server and its log, on a server of the test's own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use neo4rs::{Graph, query};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::super::pipeline::PROGRAM;
use super::{POLL, SILENT, follows, small};
use crate::support::comparer::{differences, promised, read_cache, report};
use crate::support::graph::build;
use crate::support::http::Http;
use crate::support::servers::{FalkorServer, LaterNeo4j, Neo4jOptions, Neo4jServer};
use crate::support::service::{Running, Service};
use crate::support::transactions::Transactions;

/// A server of one's own, whose log has small files: what happens to it must not happen to others.
struct Server {
    neo4j: Neo4jServer,
    graph: Graph,
    cache: FalkorServer,
    service: Service,
    running: Running,
    http: Http,
}

const OWN: &str = "own";

/// A server that starts on a busy machine answers slowly for a while.
const CONVERGES_WITHIN: Duration = Duration::from_secs(120);

/// How often what dies under writes does so in the long tests.
const ENDS: usize = 20;

/// What is said of a source that was put back to an earlier commit.
const OTHER_HISTORY: &str = "restored from a backup";

fn is_log(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("neostore.transaction.db."))
}

impl Server {
    async fn new() -> Self {
        // Of its log it keeps the newest file.
        let settings = vec![("db.tx_log.rotation.size".to_owned(), "1M".to_owned())];
        let options = Neo4jOptions { settings, ..Neo4jOptions::default() };
        let (neo4j, cache) = (Neo4jServer::start_with(options).await.unwrap(), FalkorServer::start().await.unwrap());
        let graph = neo4j.address().connect().await.unwrap();
        build(&graph, &small()).await.unwrap();
        let service = Service::new(PROGRAM, &neo4j.address(), &cache.address(), OWN);
        let service = follows(&service, &neo4j.transaction_log());
        let (mut running, http) = Http::start(&service).unwrap();
        running.line("pass ended").await;
        Self { neo4j, graph, cache, service, running, http }
    }

    async fn write(&self, text: &str) {
        self.graph.run(query(text)).await.unwrap_or_else(|error| panic!("{text}: {error}"));
    }

    async fn write_silently(&self) {
        for text in SILENT.iter().take(4) {
            self.write(text).await;
        }
    }

    /// Two files of the log and more.
    async fn fill_the_log(&self) {
        for round in 0..6 {
            self.write(&format!(
                "UNWIND range(1, 1000) AS i MERGE (n:Filler {{i: i}}) SET n.text = '{}{round}'",
                "x".repeat(300)
            ))
            .await;
        }
        self.write("MATCH (n:Filler) DELETE n").await;
    }

    async fn restart(&mut self) {
        self.neo4j.restart().await.unwrap();
        self.graph = self.neo4j.address().connect().await.unwrap();
    }

    /// A server prunes its log when it has written everything to its store, as it does before it ends.
    async fn prune(&mut self) {
        self.neo4j.stop().await;
        self.restart().await;
    }

    async fn converges(&self, what: &str) {
        let began = Instant::now();
        loop {
            let promised = promised(&self.graph, None).await.unwrap();
            let held = read_cache(&self.cache.address(), OWN).await;
            let found = match held.map(|held| differences(&promised.snapshot, &held)) {
                Ok(found) if found.is_empty() => break,
                Ok(found) => report(&found),
                Err(error) => error.to_string(),
            };
            assert!(began.elapsed() < CONVERGES_WITHIN, "{what}: {found}\n{}", self.running.log());
            tokio::time::sleep(POLL).await;
        }
        println!("{what}: equal after {:.2} s", began.elapsed().as_secs_f64());
    }

    /// The newest file of the log, and how long it is.
    fn length_of_log(&self) -> (PathBuf, u64) {
        let files = std::fs::read_dir(self.neo4j.transaction_log()).unwrap().flatten().map(|entry| entry.path());
        let number = |path: &PathBuf| path.extension().and_then(|number| number.to_str()?.parse::<u64>().ok());
        let newest = files.filter(|path| is_log(path)).max_by_key(number).unwrap();
        let length = std::fs::metadata(&newest).unwrap().len();
        (newest, length)
    }

    /// Takes away what was written to the log after this, as a power cut can.
    fn cut_log(&self, (file, length): (PathBuf, u64)) {
        assert_eq!(self.length_of_log().0, file, "the log has turned over");
        std::fs::File::options().write(true).open(file).unwrap().set_len(length).unwrap();
    }

    /// Writes of all kinds until the source goes, or until it is told to end.
    fn writer(&self) -> (CancellationToken, JoinHandle<()>) {
        let (graph, quit) = (self.graph.clone(), CancellationToken::new());
        let told = quit.clone();
        let writes = async move {
            // Far from those of the other writers: their keys are their own.
            for seed in rand::random_range(0..1_000_000) * 1_000.. {
                let mut transactions = Transactions::new(&graph, seed);
                for _ in 0..10 {
                    if told.is_cancelled() || transactions.step().await.is_err() {
                        return;
                    }
                }
            }
        };
        (quit, tokio::spawn(writes))
    }

    async fn dies_under_writes(&mut self, times: usize) {
        for round in 0..times {
            let (_quit, writes) = self.writer();
            tokio::time::sleep(Duration::from_millis(rand::random_range(50..1_500))).await;
            self.neo4j.kill();
            writes.await.unwrap();
            self.restart().await;
            self.write("MATCH (n:Entity) WITH n LIMIT 500 DETACH DELETE n").await;
            self.write("CREATE (:Entity {uuid: randomUUID(), name: 'new', group_id: ''})").await;
            self.write_silently().await;
            self.converges(&format!("the server died and came back, {round}")).await;
        }
    }

    async fn service_dies_under_writes(&mut self, times: usize) {
        for round in 0..times {
            let (quit, writes) = self.writer();
            tokio::time::sleep(Duration::from_millis(rand::random_range(50..1_500))).await;
            self.running.kill_now().await;
            tokio::time::sleep(Duration::from_millis(rand::random_range(0..500))).await;
            self.start().await;
            tokio::time::sleep(Duration::from_millis(rand::random_range(0..500))).await;
            quit.cancel();
            writes.await.unwrap();
            self.converges(&format!("the service died and came back, {round}")).await;
            assert_eq!(self.change_source().await, "transaction_log");
            self.write("MATCH (n) WITH n LIMIT 5000 DETACH DELETE n").await;
            self.write("CREATE (:Entity {uuid: randomUUID(), name: 'new', group_id: ''})").await;
        }
    }

    async fn start(&mut self) {
        (self.running, self.http) = Http::start(&self.service).unwrap();
        self.running.line("pass ended").await;
    }

    async fn change_source(&self) -> Value {
        self.http.status().await.unwrap()["change_source"].clone()
    }
}

#[tokio::test]
async fn a_log_that_turns_over_is_pruned_or_belongs_to_a_server_that_dies_is_followed() {
    let mut server = Server::new().await;
    // Rotation and pruning while it is followed.
    for _ in 0..2 {
        server.fill_the_log().await;
        server.write_silently().await;
        server.converges("files turned over").await;
    }
    server.prune().await;
    server.write_silently().await;
    server.converges("files were pruned").await;
    assert_eq!(server.change_source().await, "transaction_log");
    server.dies_under_writes(2).await;
    let log = server.running.log();
    assert!(!log.contains("transaction log not followed"), "{log}");
    // The log does not reach back to where the service was when it ended.
    server.running.kill_now().await;
    server.write_silently().await;
    server.fill_the_log().await;
    server.prune().await;
    server.start().await;
    server.running.line("the log begins after transaction").await;
    server.running.line("comparing everything").await;
    server.converges("the log was pruned while the service was dead").await;
    server.write_silently().await;
    server.converges("followed again").await;
    assert_eq!(server.running.terminate().await, 0);
}

#[tokio::test]
#[ignore = "some minutes: make test-long"]
async fn a_server_that_dies_twenty_times_under_writes_is_followed() {
    let mut server = Server::new().await;
    server.dies_under_writes(ENDS).await;
    let log = server.running.log();
    assert!(!log.contains("transaction log not followed"), "{log}");
    assert_eq!(server.running.terminate().await, 0);
}

#[tokio::test]
async fn a_service_that_dies_under_writes_goes_on_where_it_was() {
    let mut server = Server::new().await;
    server.service_dies_under_writes(3).await;
    assert_eq!(server.running.terminate().await, 0);
}

#[tokio::test]
#[ignore = "some minutes: make test-long"]
async fn a_service_that_dies_twenty_times_under_writes_goes_on_where_it_was() {
    let mut server = Server::new().await;
    server.service_dies_under_writes(ENDS).await;
    assert_eq!(server.running.terminate().await, 0);
}

/// What a power cut takes away, and what comes in its place under the same transaction ids; then the same of a copy that is put back.
#[tokio::test]
async fn a_source_whose_past_is_another_one_is_named_and_followed_anew() {
    let mut server = Server::new().await;
    server.write_silently().await;
    server.converges("before").await;
    let kept = server.length_of_log();
    for text in &SILENT[4..9] {
        server.write(text).await;
    }
    server.converges("what is going to be lost").await;
    server.neo4j.kill();
    server.cut_log(kept);
    server.restart().await;
    server.write("MATCH (n:Entity) WITH n ORDER BY n.uuid DESC LIMIT 2 SET n.summary = 'instead'").await;
    let line = server.running.line(OTHER_HISTORY).await;
    println!("the tail of the log was lost: {line}");
    server.converges("the tail of the log was lost").await;
    server.write_silently().await;
    server.converges("followed again").await;
    assert_eq!(server.change_source().await, "transaction_log");

    server.neo4j.stop().await;
    let copy = tempfile::tempdir().unwrap();
    copy_directory(&server.neo4j.data(), copy.path());
    server.restart().await;
    for text in &SILENT[4..9] {
        server.write(text).await;
    }
    server.converges("what is going to be undone").await;
    server.neo4j.stop().await;
    std::fs::remove_dir_all(server.neo4j.data()).unwrap();
    copy_directory(copy.path(), &server.neo4j.data());
    let from = server.running.length();
    server.restart().await;
    server.write("MATCH (n:Entity) WITH n ORDER BY n.uuid DESC LIMIT 2 SET n.summary = 'once more'").await;
    let line = server.running.line_from(from, OTHER_HISTORY).await;
    println!("a copy was put back: {line}");
    server.converges("a copy was put back").await;
    server.write_silently().await;
    server.converges("followed again").await;
    assert_eq!(server.change_source().await, "transaction_log");
    assert_eq!(server.running.terminate().await, 0);
}

/// Neo4j writes its log in another version from its first write on.
#[tokio::test]
#[ignore = "needs a later version of Neo4j: make test-newer"]
async fn a_server_that_is_upgraded_in_place_is_followed() {
    let later = LaterNeo4j::named().expect("NEO4J_FALKORDB_SYNC_UPGRADE_TO and _JAVA_HOME name a later version");
    let mut server = Server::new().await;
    server.write_silently().await;
    server.converges("before").await;
    server.neo4j.upgrade(&later).await.unwrap();
    server.graph = server.neo4j.address().connect().await.unwrap();
    server.write_silently().await;
    server.converges("first writes of the later version").await;
    for text in SILENT {
        server.write(text).await;
    }
    server.converges("more of them").await;
    println!("{}", server.running.log().lines().filter(|line| line.contains("transaction log")).collect::<Vec<_>>().join("\n"));
    assert_eq!(server.change_source().await, "transaction_log");
    assert_eq!(server.running.terminate().await, 0);
}

fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_directory(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}
