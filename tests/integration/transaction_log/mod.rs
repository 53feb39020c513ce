//! Changes that Neo4j's transaction log tells. No comparison runs, and nothing looks for late commits: what arrives was told.

mod random;
mod server;

use std::path::Path;
use std::time::{Duration, Instant};

use neo4j_falkordb_sync::model::bookmark::Bookmark;
use neo4rs::query;
use serde_json::Value;

use super::api::{TOKEN, is_not_yet};
use super::pipeline::{Pair, percent_encoded};
use crate::support::comparer::{GENERIC, assert_same_content, differences, promised, read_cache, report};
use crate::support::deadline::EVENT;
use crate::support::foreign::{Changes, Foreign};
use crate::support::graph::{GraphSpec, build, create_indices};
use crate::support::http::Http;
use crate::support::service::{Running, Service};

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
        .with("API_TOKEN", TOKEN)
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
        Self::guarded(pair, 1.0).await
    }

    /// As [`Self::new`], with a delete guard that lets this fraction of a kind through.
    async fn guarded(pair: Pair, fraction: f64) -> Self {
        let service = follows(&pair.service, &pair.source.log).with("SYNC_MAX_DELETE_FRACTION", fraction);
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
        let begun = Instant::now();
        loop {
            let (code, body) = self.http.get(&path).await.unwrap();
            if code == 200 {
                return;
            }
            assert!(is_not_yet(code) && begun.elapsed() < EVENT, "{code} {body}\n{}", self.running.log());
        }
    }

    /// What a wait for a proof of this commit answers.
    async fn verified(&self, bookmark: &Bookmark, within: Duration) -> u16 {
        let (bookmark, timeout) = (percent_encoded(bookmark), within.as_millis());
        self.http.get(&format!("/api/sync/wait?bookmark={bookmark}&level=verified&timeout_ms={timeout}")).await.unwrap().0
    }

    /// The one text or list of texts that the cache answers.
    async fn cached(&self, question: &str) -> String {
        let mut cache = self.pair.cache.connect().await.unwrap();
        let mut ask = redis::cmd("GRAPH.RO_QUERY");
        let answer: (redis::Value, Vec<Vec<String>>, redis::Value) =
            ask.arg(&self.pair.graph).arg(question).query_async(&mut cache).await.unwrap();
        answer.1[0][0].clone()
    }

    /// The cache holds what the documentation promises of the source: elements that share a key, or that it cannot keep, included.
    async fn is_as_promised(&self, what: &str) {
        let promised = promised(&self.pair.source.graph, None).await.unwrap();
        let held = read_cache(&self.pair.cache, &self.pair.graph).await.unwrap();
        let found = differences(&promised.snapshot, &held);
        assert!(found.is_empty(), "after {what}: {}\n{}", report(&found), self.running.log());
        let listed = self.status().await["quarantined"].as_u64().unwrap();
        let left_out = promised.excluded.len() + promised.waiting.len();
        assert!(listed > 0 || left_out == 0, "after {what}: {:?} {:?} are not listed", promised.excluded, promised.waiting);
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

    /// Every generation of the service was the first one. Otherwise the message tells what ended it.
    async fn had_no_fault(&self) {
        let status = self.status().await;
        let log = self.running.log();
        let warnings: Vec<&str> = log.lines().filter(|line| !line.contains("DEBUG") && !line.contains("INFO")).collect();
        assert_eq!(status["faults"], 0, "{status}\n{}", warnings.join("\n"));
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
    followed.had_no_fault().await;
    assert_eq!(followed.running.terminate().await, 0);
}

/// The longest wait for a proof: a comparison of the graph takes seconds.
const LONG_WAIT: Duration = Duration::from_secs(60);

/// A wait that must not be answered: longer than a comparison of the graph.
const WAIT_IN_VAIN: Duration = Duration::from_secs(10);

/// Nodes that the next test changes at once: one look-up by number reads half of them.
const MANY: u64 = 20_000;

/// Nodes that it then deletes: more than the delete guard lets through.
const DELETED: u64 = 200;

/// A pass is told of labels that were set, and the nodes are gone before it reads them. The cache holds them without these labels,
/// because the delete guard holds their deletes: it is not equal as of the commit that set them.
#[tokio::test]
async fn what_is_deleted_before_a_pass_reads_it_is_not_proven_equal() {
    let pair = Pair::new("log_overtaken").await;
    create_indices(&pair.source.graph).await.unwrap();
    let nodes = format!("UNWIND range(1, {MANY}) AS i CREATE (:Entity {{uuid: 'n' + i, name: 'n', group_id: 'g'}})");
    pair.source.graph.run(query(&nodes)).await.unwrap();
    let followed = Followed::guarded(pair, 0.001).await;
    assert_eq!(followed.verified(&followed.pair.bookmark().await, LONG_WAIT).await, 200);
    followed.write("MATCH (n:Entity) SET n:Told").await;
    let told = followed.pair.bookmark().await;
    followed.write(&format!("MATCH (n:Entity) WITH n ORDER BY id(n) DESC LIMIT {DELETED} DETACH DELETE n")).await;
    let begun = Instant::now();
    while followed.status().await["held"].as_array().is_none_or(Vec::is_empty) {
        assert!(begun.elapsed() < EVENT, "{}", followed.running.log());
        tokio::time::sleep(POLL).await;
    }
    let without = followed.cached("MATCH (n:Entity) WHERE NOT n:Told RETURN toString(count(n))").await;
    assert_ne!(without, "0", "the pass read all of them before: {}", followed.running.log());
    assert_eq!(followed.verified(&told, WAIT_IN_VAIN).await, 504);
    assert_eq!(followed.http.post("/api/sync/approve", TOKEN).await.unwrap().0, 202);
    followed.applied().await;
    followed.pair.assert_equal().await;
    assert_eq!(followed.verified(&told, LONG_WAIT).await, 200);
    assert_eq!(followed.running.terminate().await, 0);
}

/// Episodes that a comparison reads before the communities, and facts that it reads after them: then its first slice is full.
const EPISODES: u64 = 2_500;
const FACTS: u64 = 4_000;

/// Which of the two comes first is chance: there are more rounds until the comparison came first once.
const LEAST_ROUNDS: usize = 5;
const ROUNDS: usize = 50;

/// A comparison writes a community under its new key and deletes the old one, with the relationship on it, before the log tells of the
/// change. The pass that is told of it finds the community where it should be, and has to read its relationship all the same.
#[tokio::test]
async fn what_a_comparison_mends_hides_no_move_from_the_pass_that_is_told_of_it() {
    let pair = Pair::new("log_mended").await;
    create_indices(&pair.source.graph).await.unwrap();
    let followed = Followed::new(pair).await;
    followed
        .write(&format!(
            "CREATE (a:Entity {{uuid: 'a', name: 'a', group_id: 'g'}}), (b:Entity {{uuid: 'b', name: 'b', group_id: 'g'}}) WITH a, b \
             FOREACH (i IN range(1, {EPISODES}) | CREATE (:Episodic {{uuid: 'e' + i, name: 'e', group_id: 'g'}})) \
             FOREACH (i IN range(1, {FACTS}) | CREATE (a)-[:RELATES_TO {{uuid: 'f' + i, fact: 'f', group_id: 'g'}}]->(b)) \
             FOREACH (i IN range(0, {ROUNDS} - 1) | CREATE (:Community {{uuid: 'c' + i, name: 'c', group_id: 'g'}}) \
             -[:HAS_MEMBER {{uuid: 'm' + i, group_id: 'g'}}]->(a))"
        ))
        .await;
    followed.applied().await;
    for round in 0..ROUNDS {
        let moves = format!("MATCH (c:Community {{uuid: 'c{round}'}}) SET c.uuid = 'd{round}'");
        let (ordered, ()) = tokio::join!(followed.http.post("/api/sync/differential", TOKEN), followed.write(&moves));
        assert_eq!(ordered.unwrap().0, 202);
        followed.applied().await;
        let held = followed.cached(&format!("MATCH (c)-[m {{uuid: 'm{round}'}}]->() RETURN c.uuid")).await;
        assert_eq!(held, format!("d{round}"), "{}", followed.running.log());
        let begun = Instant::now();
        while followed.running.log().matches("comparison ended").count() <= round {
            assert!(begun.elapsed() < EVENT, "{}", followed.running.log());
            tokio::time::sleep(POLL).await;
        }
        if round + 1 >= LEAST_ROUNDS && followed.running.log().contains("comparison found a difference") {
            break;
        }
    }
    assert!(
        followed.running.log().contains("comparison found a difference"),
        "no comparison came first: {}",
        followed.running.log()
    );
    followed.pair.assert_equal().await;
    followed.had_no_fault().await;
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

/// A pass reads what is committed while it runs: it writes a node for the sake of a relationship, before it is told of the commit that
/// gave the node its kind. What hung on the node before is not forgotten for it.
#[tokio::test]
async fn a_node_that_is_written_before_its_commit_is_told_keeps_all_that_hangs_on_it() {
    const ROUNDS: usize = 20;
    let pair = Pair::new("log_early").await;
    create_indices(&pair.source.graph).await.unwrap();
    let followed = Followed::new(pair).await;
    for round in 0..ROUNDS {
        let node = format!("{{uuid: 'k{round}', name: 'k', group_id: ''}}");
        followed
            .write(&format!(
                "CREATE (:Episodic {{uuid: 'e{round}', name: 'e', group_id: ''}})-[:MENTIONS {{uuid: 'before{round}', group_id: ''}}]->\
                 (:Draft {node})"
            ))
            .await;
        followed.applied().await;
        followed
            .write(&format!(
                "MATCH (e:Episodic {{uuid: 'e{round}'}}), (m:Draft {{uuid: 'k{round}'}}) \
                 CREATE (e)-[:MENTIONS {{uuid: 'after{round}', group_id: ''}}]->(m)"
            ))
            .await;
        followed.write(&format!("MATCH (m:Draft {{uuid: 'k{round}'}}) SET m:Entity REMOVE m:Draft")).await;
        followed.applied().await;
        followed.is_as_promised(&format!("round {round}")).await;
    }
    assert_eq!(followed.running.terminate().await, 0);
}

/// Relationships are identified by the keys of their ends, so they change with what becomes of a node, and with what becomes of
/// another one of its key.
const AROUND: [&str; 12] = [
    "CREATE (:Entity {uuid: 'm', name: 'm', group_id: 'g'})",
    "MATCH (m:Entity {uuid: 'm'}) UNWIND ['a', 'b'] AS key \
     CREATE (:Entity {uuid: key, name: key, group_id: 'g'})-[:RELATES_TO {uuid: 'r-' + key, fact: 'f', group_id: 'g'}]->(m)",
    "MATCH (n:Entity) WHERE n.uuid IN ['a', 'b'] SET n.uuid = 'x'",
    "MATCH (m:Entity {uuid: 'm'}) CREATE (:Entity {uuid: 'y', name: 'first', group_id: 'g'}) \
     CREATE (:Draft {uuid: 'y', name: 'second', group_id: 'g'})-[:RELATES_TO {uuid: 'r-y', fact: 'f', group_id: 'g'}]->(m)",
    "MATCH (n:Draft) SET n:Entity",
    "MATCH (n:Draft) REMOVE n:Entity",
    "MATCH (m:Entity {uuid: 'm'}) CREATE (:Entity:`a``b` {uuid: 'q', name: 'refused', group_id: 'g'})\
     -[:RELATES_TO {uuid: 'r-q', fact: 'f', group_id: 'g'}]->(m)",
    "CREATE (:Entity {uuid: 'q', name: 'kept', group_id: 'g'})",
    "MATCH (n:Entity {name: 'kept'}) DELETE n",
    "MATCH (m:Entity {uuid: 'm'}) CREATE (:Entity {uuid: 'w', name: 'w', group_id: 'g'})\
     -[:RELATES_TO {uuid: 'r-w', fact: 'f', group_id: 'g'}]->(m)",
    "MATCH (n:Entity {uuid: 'w'}) REMOVE n:Entity",
    "MATCH (n {uuid: 'w'}) SET n:Entity REMOVE n.uuid",
];

#[tokio::test]
async fn what_hangs_on_a_node_follows_it() {
    let pair = Pair::new("log_around").await;
    create_indices(&pair.source.graph).await.unwrap();
    let followed = Followed::new(pair).await;
    for text in AROUND {
        followed.write(text).await;
        followed.applied().await;
        followed.is_as_promised(text).await;
    }
    assert_eq!(followed.running.terminate().await, 0);
}

/// The log tells what is new from what was there, and of which transaction it is.
#[tokio::test]
async fn what_is_new_what_was_changed_and_what_is_gone_are_told_apart() {
    let pair = Pair::new("log_told").await;
    create_indices(&pair.source.graph).await.unwrap();
    let mut followed = Followed::new(pair).await;
    for (text, operation) in [
        ("CREATE (:Entity {uuid: 'told', name: 'a', group_id: 'g'})", "created"),
        ("MATCH (n:Entity {uuid: 'told'}) SET n.name = 'b'", "updated"),
        ("MATCH (n:Entity {uuid: 'told'}) DELETE n", "deleted"),
    ] {
        let from = followed.running.length();
        followed.write(text).await;
        let committed = followed.pair.bookmark().await.transaction().unwrap();
        let line = followed.running.line_from(from, "cache changed").await;
        let told: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&told["operation"], &told["first"]), (&operation.into(), &"told".into()), "{line}");
        assert_eq!(told["transaction"], committed, "{line}");
    }
    let status = followed.status().await;
    assert!(status["log_reach"]["oldest"].as_u64() > Some(0) && status["log_margin"].as_i64() > Some(0), "{status}");
    let (_, metrics) = followed.http.get("/metrics").await.unwrap();
    assert!(metrics.contains("transaction_log_reach_seconds{") && metrics.contains("transaction_log_margin_transactions{"));
    assert_eq!(followed.running.terminate().await, 0);
}

/// A full sync beside the graph ends with the log, so what left no trace meanwhile is there.
#[tokio::test]
async fn a_full_sync_lacks_nothing_that_was_written_meanwhile() {
    let pair = Pair::new("log_full_sync").await;
    build(&pair.source.graph, &small()).await.unwrap();
    let followed = Followed::new(pair).await;
    for round in 0..3 {
        let from = followed.running.length();
        assert_eq!(followed.http.post("/api/sync/full", TOKEN).await.unwrap().0, 202, "{}", followed.running.log());
        for text in SILENT.iter().take(10) {
            followed.write(text).await;
        }
        let begun = Instant::now();
        while !followed.running.log_from(from).contains("full sync ended") {
            assert!(begun.elapsed() < EVENT, "{}", followed.running.log());
            followed.write("MATCH (n:Entity) WITH n ORDER BY rand() LIMIT 1 SET n.summary = toString(rand())").await;
        }
        followed.applied().await;
        followed.pair.assert_equal().await;
        println!("round {round}: equal");
    }
    let log = followed.running.log();
    assert!(!log.contains("comparing everything"), "{}", about_the_log(&log));
    assert_eq!(followed.running.terminate().await, 0);
}

/// The lines of a service's log that say from where it had its changes, and why.
fn about_the_log(log: &str) -> String {
    let words = ["transaction log", "stage pass begins", "full sync", "pass ended", "WARN", "ERROR"];
    let is_told = |line: &str| line.contains("pass ended") && line.contains(FROM_LOG);
    let says_why = |line: &&str| !is_told(line) && words.iter().any(|word| line.contains(word));
    log.lines().filter(says_why).collect::<Vec<_>>().join("\n")
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
    for text in [create, "MATCH (n:Entity) WHERE right(n.uuid, 1) = '7' SET n.name = 'y'", "MATCH (n:Entity) DETACH DELETE n"] {
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
        assert!(begun.elapsed() < EVENT, "{}", followed.running.log());
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
