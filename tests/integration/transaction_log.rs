//! Changes that Neo4j's transaction log tells. No comparison runs, and nothing looks for late commits: what arrives was told.

use std::path::Path;
use std::time::{Duration, Instant};

use neo4rs::{Graph, query};
use serde_json::Value;

use super::pipeline::{PROGRAM, Pair, percent_encoded};
use crate::support::arrival::until_equal;
use crate::support::comparer::{GENERIC, assert_same_content};
use crate::support::foreign::{Changes, Foreign};
use crate::support::graph::{GraphSpec, build, create_indices};
use crate::support::http::Http;
use crate::support::servers::{FalkorServer, Neo4jOptions, Neo4jServer};
use crate::support::service::{Running, Service};

const PATIENCE: Duration = Duration::from_secs(30);

/// In the line of a pass that read what the log told.
const FROM_LOG: &str = "\"from_log\":true";

const POLL: Duration = Duration::from_millis(20);

/// Longer than any test: no look at the source that would find what a pass has missed.
const NEVER_SECONDS: u64 = 900;

fn small() -> GraphSpec {
    GraphSpec { entities: 60, facts: 90, episodes: 15, mentions: 40, members: 12, dimension: 8, ..GraphSpec::default() }
}

/// Nothing but the log can tell this service of what leaves no trace.
fn follows(service: &Service, log: &Path) -> Service {
    service
        .clone()
        .with("NEO4J_TRANSACTION_LOG_DIRECTORY", log.display())
        .with("SYNC_SCRUB_ROWS_PER_SECOND", 0)
        .with("SYNC_DIFFERENTIAL_INTERVAL_SECONDS", 0)
        .with("SYNC_LATE_CHECK_SECONDS", NEVER_SECONDS)
        .with("SYNC_INTERVAL_SECONDS", NEVER_SECONDS)
        .with("SYNC_MAX_DELETE_FRACTION", 1)
        .with("LOG_LEVEL", "debug")
}

/// The service at work.
struct Followed {
    pair: Pair,
    service: Service,
    running: Running,
    http: Http,
}

impl Followed {
    async fn new(pair: Pair) -> Self {
        let service = follows(&pair.service, &pair.source.log);
        let (mut running, http) = Http::start(&service).unwrap();
        running.line("pass ended").await;
        Self { pair, service, running, http }
    }

    async fn write(&self, text: &str) {
        self.pair.source.graph.run(query(text)).await.unwrap_or_else(|error| panic!("{text}: {error}"));
    }

    /// Waits until the last commit is applied.
    async fn applied(&self) {
        let bookmark = percent_encoded(&self.pair.bookmark().await);
        let path = format!("/api/sync/wait?bookmark={bookmark}&level=applied&timeout_ms=30000");
        let (code, body) = self.http.get(&path).await.unwrap();
        assert_eq!(code, 200, "{body}\n{}", self.running.log());
    }

    /// The one text or list of texts that the cache answers.
    async fn cached(&self, question: &str) -> String {
        let mut cache = self.pair.cache.connect().await.unwrap();
        let mut ask = redis::cmd("GRAPH.RO_QUERY");
        let answer: (redis::Value, Vec<Vec<String>>, redis::Value) =
            ask.arg(&self.pair.graph).arg(question).query_async(&mut cache).await.unwrap();
        answer.1[0][0].clone()
    }

    async fn kill(&mut self) {
        self.running.kill_now().await;
    }

    async fn start_again(&mut self) {
        (self.running, self.http) = Http::start(&self.service).unwrap();
        self.running.line("pass ended").await;
    }

    async fn status(&self) -> Value {
        self.http.status().await.unwrap()
    }
}

/// What leaves no timestamp, no count and no other trace that a look at the source could find, one change after the other.
const SILENT: [&str; 12] = [
    "MATCH (n:Entity) WITH n ORDER BY n.uuid LIMIT 3 SET n.summary = 'rewritten'",
    "MATCH (n:Entity) WITH n ORDER BY n.uuid LIMIT 3 REMOVE n.summary",
    "MATCH (n:Entity) WITH n ORDER BY n.uuid SKIP 3 LIMIT 2 SET n:Person",
    "MATCH (n:Person) REMOVE n:Person",
    "MATCH (n:Entity) WITH n ORDER BY n.uuid SKIP 5 LIMIT 2 SET n:Community REMOVE n:Entity",
    "MATCH (n:Entity) WITH n ORDER BY n.uuid SKIP 7 LIMIT 2 SET n.uuid = n.uuid + '-again'",
    "MATCH ()-[e:RELATES_TO]->() WITH e ORDER BY e.uuid LIMIT 3 SET e.fact = 'rewritten', e.uuid = e.uuid + '-again'",
    "MATCH (a)-[e:RELATES_TO]->(b) WITH a, e, b ORDER BY e.uuid SKIP 5 LIMIT 1 CREATE (b)-[f:RELATES_TO]->(a) SET f = e DELETE e",
    "MATCH (n:Entity) WITH n ORDER BY n.uuid SKIP 9 LIMIT 1 DETACH DELETE n",
    "MATCH ()-[e:MENTIONS]->() WITH e ORDER BY e.uuid LIMIT 2 DELETE e",
    "MATCH (n:Entity) WITH n ORDER BY n.uuid SKIP 13 LIMIT 2 WITH collect(n) AS two, collect(n.uuid) AS keys \
     SET (two[0]).uuid = keys[1] SET (two[1]).uuid = keys[0]",
    "MATCH (a:Entity), (b:Entity) WITH a, b ORDER BY a.uuid, b.uuid SKIP 40 LIMIT 1 UNWIND range(1, 1000) AS i \
     CREATE (a)-[:RELATES_TO {uuid: 'many-' + i, fact: 'x'}]->(b)",
];

#[tokio::test]
async fn what_leaves_no_trace_arrives_by_the_log_alone() {
    let pair = Pair::new("log_silent").await;
    build(&pair.source.graph, &small()).await.unwrap();
    let followed = Followed::new(pair).await;
    for text in SILENT {
        followed.write(text).await;
        followed.applied().await;
        followed.pair.assert_equal().await;
        println!("equal after {text}");
    }
    followed.write("MATCH (n:Entity) WITH n ORDER BY n.uuid SKIP 11 LIMIT 1 SET n.old = n.uuid REMOVE n.uuid").await;
    followed.applied().await;
    assert!(followed.status().await["quarantined"].as_u64() >= Some(1), "a node without a key is listed");
    followed.write("MATCH (n:Entity) WHERE n.old IS NOT NULL SET n.uuid = n.old REMOVE n.old").await;
    followed.applied().await;
    followed.pair.assert_equal().await;
    assert_eq!(followed.status().await["quarantined"], 0, "with its key it leaves the list, and its relationships with it");
    followed.write("MATCH (n:Entity) DETACH DELETE n").await;
    followed.applied().await;
    followed.pair.assert_equal().await;
    let log = followed.running.log();
    let by_log = log.lines().filter(|line| line.contains("pass ended") && line.contains(FROM_LOG)).count();
    assert!(by_log >= SILENT.len(), "{by_log} passes read the log\n{log}");
    assert!(!log.contains("key sets differ") && !log.contains("swept"), "{log}");
    assert_eq!(followed.status().await["faults"], 0);
    assert_eq!(followed.running.terminate().await, 0);
}

/// Elements that share a key, or that other elements give way to: what is left of them is in the cache, and nothing else.
#[tokio::test]
async fn elements_that_share_a_key_or_take_one_over_are_what_they_are() {
    let pair = Pair::new("log_twins").await;
    create_indices(&pair.source.graph).await.unwrap();
    let followed = Followed::new(pair).await;
    followed
        .write(
            "CREATE (:Entity {uuid: 'twin', name: 'first', group_id: 'g'}) CREATE (:Entity {uuid: 'twin', name: 'second', \
             group_id: 'g'}) CREATE (:Community {uuid: 'place', name: 'community', group_id: 'g'}) \
             CREATE (:Entity {uuid: 'place', name: 'entity', group_id: 'g'})-[:RELATES_TO {uuid: 'r', fact: 'f', group_id: 'g'}]->\
             (:Entity {uuid: 'other', name: 'other', group_id: 'g'})",
        )
        .await;
    followed.applied().await;
    const NAMES: &str = "MATCH (n) WITH labels(n)[0] + ' ' + n.uuid + ' ' + n.name AS t ORDER BY t RETURN collect(t)";
    assert_eq!(
        followed.cached(NAMES).await,
        "[Community place community, Entity other other, Entity place entity, Entity twin first]"
    );
    followed.write("MATCH (n:Entity {name: 'first'}) DETACH DELETE n").await;
    followed.write("MATCH (n:Entity {uuid: 'place'}) SET n:Community REMOVE n:Entity").await;
    followed.applied().await;
    assert_eq!(followed.cached(NAMES).await, "[Community place community, Entity other other, Entity twin second]");
    let ends = "MATCH (a)-[e]->(b) RETURN collect(labels(a)[0] + ' ' + a.uuid + ' ' + b.uuid)";
    assert_eq!(followed.cached(ends).await, "[Community place other]", "the one that gave way keeps its relationship");
    assert_eq!(followed.running.terminate().await, 0);
}

/// What a property costs does not depend on what hangs on its node, also where the key lies beside the property in the store.
#[tokio::test]
async fn a_property_of_a_hub_is_one_row() {
    let pair = Pair::new("log_hub").await;
    create_indices(&pair.source.graph).await.unwrap();
    let followed = Followed::new(pair).await;
    followed
        .write(
            "CREATE (h:Entity {uuid: 'hub', name: 'a', group_id: 'g'}) WITH h UNWIND range(1, 500) AS i \
             CREATE (h)-[:RELATES_TO {uuid: 'r' + i, fact: 'f', group_id: 'g'}]->(:Entity {uuid: 'n' + i, name: 'n', group_id: 'g'})",
        )
        .await;
    followed.applied().await;
    let read = |status: &Value| status["statistics"]["rows_read"].as_u64().unwrap();
    let before = read(&followed.status().await);
    followed.write("MATCH (h:Entity {uuid: 'hub'}) SET h.name = 'b'").await;
    followed.applied().await;
    followed.pair.assert_equal().await;
    let after = read(&followed.status().await);
    assert!(after - before <= 2, "{} rows read", after - before);
    assert_eq!(followed.running.terminate().await, 0);
}

#[tokio::test]
async fn what_was_committed_while_the_service_was_dead_is_told_when_it_lives_again() {
    let pair = Pair::new("log_kill").await;
    build(&pair.source.graph, &small()).await.unwrap();
    let mut followed = Followed::new(pair).await;
    for round in 0..5 {
        followed.write("MATCH (n:Entity) WITH n ORDER BY rand() LIMIT 3 SET n.summary = 'before the end'").await;
        followed.kill().await;
        followed.write("MATCH (n:Entity) WITH n ORDER BY rand() LIMIT 3 SET n.summary = 'while it was dead'").await;
        followed.write("MATCH ()-[e:RELATES_TO]->() WITH e ORDER BY rand() LIMIT 1 DELETE e").await;
        followed.write("MATCH (n:Entity) WITH n ORDER BY rand() LIMIT 1 SET n.uuid = n.uuid + '-x'").await;
        followed.start_again().await;
        followed.applied().await;
        followed.pair.assert_equal().await;
        println!("round {round}: equal");
    }
    assert_eq!(followed.running.terminate().await, 0);
}

#[tokio::test]
async fn twenty_thousand_nodes_of_one_transaction_arrive_and_go() {
    let pair = Pair::new("log_mass").await;
    create_indices(&pair.source.graph).await.unwrap();
    let followed = Followed::new(pair).await;
    let create = "UNWIND range(1, 20000) AS i CREATE (n:Entity {uuid: 'n-' + i, name: 'x', group_id: 'g'}) \
        WITH n, i WHERE i % 2 = 0 CREATE (n)-[:RELATES_TO {uuid: 'r-' + i, fact: 'x', group_id: 'g'}]->(n)";
    for text in [create, "MATCH (n:Entity) WHERE n.uuid ENDS WITH '7' SET n.name = 'y'", "MATCH (n:Entity) DETACH DELETE n"] {
        followed.write(text).await;
        followed.applied().await;
        followed.pair.assert_equal().await;
    }
    assert_eq!(followed.running.terminate().await, 0);
}

#[tokio::test]
async fn graphs_of_any_shape_are_followed_by_the_log() {
    let mut pair = Pair::new("log_generic").await;
    pair.service = pair.service.clone().with("SYNC_PROFILE", "generic");
    let shape = Foreign::Films;
    shape.build(&pair.source.graph).await.unwrap();
    let mut changes = Changes::new(&pair.source.graph, 1, shape.names());
    let followed = Followed::new(pair).await;
    for step in 0..60 {
        changes.step().await.unwrap();
        if step % 5 == 4 {
            followed.applied().await;
            let Pair { source, cache, graph, .. } = &followed.pair;
            assert_same_content(&source.graph, cache, graph, GENERIC).await;
        }
    }
    assert_eq!(followed.running.terminate().await, 0);
}

/// One warning, and everything as it is without a log.
#[tokio::test]
async fn a_log_that_cannot_be_read_is_named_and_the_source_is_probed() {
    let pair = Pair::new("log_missing").await;
    build(&pair.source.graph, &small()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("log");
    let service = follows(&pair.service, &link);
    let (mut running, http) = Http::start(&service).unwrap();
    running.line("transaction log not followed").await;
    let mut followed = Followed { pair, service, running, http };
    followed.write("MATCH (n:Entity) WITH n LIMIT 1 SET n.created_at = datetime(), n.summary = 'noticed'").await;
    followed.applied().await;
    followed.pair.assert_equal().await;
    // The directory comes: from then on the log is read.
    std::os::unix::fs::symlink(&followed.pair.source.log, &link).unwrap();
    followed.running.line("transaction log followed").await;
    let begun = Instant::now();
    while !followed.running.log().contains(FROM_LOG) {
        assert!(begun.elapsed() < PATIENCE, "{}", followed.running.log());
        followed.write("MATCH (n:Entity) WITH n LIMIT 1 SET n.created_at = datetime()").await;
        tokio::time::sleep(POLL).await;
    }
    followed.write(SILENT[0]).await;
    followed.applied().await;
    followed.pair.assert_equal().await;
    let log = followed.running.log();
    assert_eq!(log.matches("transaction log not followed").count(), 1, "{log}");
    assert_eq!(followed.running.terminate().await, 0);
}

/// A directory of another database, with more transactions than the one that is read.
#[tokio::test]
async fn the_log_of_another_database_is_refused() {
    let pair = Pair::new("log_other").await;
    build(&pair.source.graph, &small()).await.unwrap();
    let system = pair.source.log.parent().unwrap().join("system");
    let service = follows(&pair.service, &system);
    let (mut running, http) = Http::start(&service).unwrap();
    let line = running.line("transaction log not followed").await;
    assert!(line.contains("another database"), "{line}");
    let followed = Followed { pair, service, running, http };
    followed.write("MATCH (n:Entity) WITH n LIMIT 1 SET n.created_at = datetime(), n.summary = 'noticed'").await;
    followed.applied().await;
    followed.pair.assert_equal().await;
    assert_eq!(followed.running.terminate().await, 0);
}

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
        let took = until_equal(&self.graph, &self.cache.address(), OWN, PATIENCE).await;
        let took = took.unwrap_or_else(|found| panic!("{what}: {found}\n{}", self.running.log()));
        println!("{what}: equal after {:.2} s", took.as_secs_f64());
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
    // The server dies under writes, and comes back.
    for round in 0..2 {
        let graph = server.graph.clone();
        let writes = tokio::spawn(async move {
            let text = "MATCH (n:Entity) WITH n ORDER BY rand() LIMIT 1 SET n.summary = toString(rand())";
            while graph.run(query(text)).await.is_ok() {}
        });
        tokio::time::sleep(Duration::from_millis(50 + 70 * round)).await;
        server.neo4j.kill();
        writes.await.unwrap();
        server.restart().await;
        server.write_silently().await;
        server.converges("the server died and came back").await;
    }
    let log = server.running.log();
    assert!(!log.contains("transaction log not followed"), "{log}");
    // The log does not reach back to where the service was when it ended.
    server.running.kill_now().await;
    server.write_silently().await;
    server.fill_the_log().await;
    server.prune().await;
    server.start().await;
    server.running.line("the log begins after transaction").await;
    server.running.line("everything is compared").await;
    server.converges("the log was pruned while the service was dead").await;
    server.write_silently().await;
    server.converges("followed again").await;
    assert_eq!(server.running.terminate().await, 0);
}
