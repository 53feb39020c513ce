//! Every word that the service says is true: `applied`, `verified`, `ready`, what is quarantined and what is held. Random sequences
//! of ordinary and of odd steps run, with kills and lost leases between them, and after each step one of the words is asked for and
//! checked by the comparer, which knows nothing of the product. No comparison runs in the background.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use neo4j_falkordb_sync::config::Secret;
use neo4j_falkordb_sync::model::graph_name::GraphName;
use neo4j_falkordb_sync::sink::GraphKeys;
use neo4j_falkordb_sync::source::SourceAddress;
use neo4j_falkordb_sync::source::bolt::{Limits, Probe};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::api::{Http, TOKEN, start};
use super::pipeline::PROGRAM;
use crate::support::comparer::{Difference, Promised, differences, promised, read_cache};
use crate::support::deadline::EVENT;
use crate::support::graph::create_indices;
use crate::support::sequence::Sequence;
use crate::support::servers::{FalkorServer, Neo4jAddress, SourceTurn, source_lock};
use crate::support::service::{Running, Service};

/// Steps of a sequence.
const STEPS: usize = 10;

/// How long one request waits.
const WAIT_MS: u64 = 5_000;

/// Longer than a lost lease is somebody else's.
const LOST_MS: u64 = 700;

/// Seeds that found a defect once.
const FAILED_ONCE: [u64; 1] = [1040];

/// Sequences of `make test`, and of `make test-long`.
const SHORT: u64 = 6;
const LONG: u64 = 250;

/// A graph of the cache, and the group that it holds, if not everything.
struct Copy {
    graph: String,
    group: Option<&'static str>,
}

/// How the service learns of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Changes {
    /// It looks for them. What leaves no trace is not promised before a comparison.
    Probed,
    /// The transaction log tells them all.
    Logged,
}

struct Spoken {
    source: SourceTurn,
    cache: FalkorServer,
    copies: Vec<Copy>,
    /// What the keys of the lease are named after.
    control: GraphName,
    service: Service,
    running: Running,
    http: Http,
    changes: Changes,
    random: StdRng,
    /// What was done and said, for a report.
    story: Vec<String>,
    /// Where in its log the process that runs says that it has lost its lease, unless that was seen already.
    lost_at: Option<usize>,
}

/// Elements left out by the rules, of all copies.
#[derive(Debug, Default)]
struct Left {
    excluded: BTreeSet<(String, String)>,
    waiting: BTreeSet<(String, String)>,
}

impl Spoken {
    async fn new(by_group: bool, changes: Changes) -> Self {
        let (source, cache) = (source_lock().await, FalkorServer::start().await.unwrap());
        create_indices(&source.graph).await.unwrap();
        let copy = |graph: &str, group| Copy { graph: graph.to_owned(), group };
        let (name, control, copies) = if by_group {
            let copies = vec![copy("default_db", Some("")), copy("group-1", Some("group-1"))];
            ("{group_id}", "default", copies)
        } else {
            ("words", "words", vec![copy("words", None)])
        };
        let control = GraphName::new(control).unwrap();
        let service = Service::new(PROGRAM, &source.address, &cache.address(), name)
            .with("API_TOKEN", TOKEN)
            .with("LOG_LEVEL", "debug")
            .with("SYNC_SCRUB_ROWS_PER_SECOND", 0)
            .with("SYNC_DIFFERENTIAL_INTERVAL_SECONDS", 0)
            .with("SYNC_LATE_CHECK_SECONDS", 5);
        let service = match changes {
            Changes::Probed => service,
            Changes::Logged => service.with("NEO4J_TRANSACTION_LOG_DIRECTORY", source.log.display()),
        };
        let (running, http) = start(&service).await;
        http.until_ready(true).await;
        let random = StdRng::seed_from_u64(0);
        Self { source, cache, copies, control, service, running, http, changes, random, story: Vec::new(), lost_at: None }
    }

    async fn runs(&mut self, seed: u64) {
        println!("seed {seed}");
        self.random = StdRng::seed_from_u64(seed);
        self.story = vec![format!("seed {seed}")];
        let mut sequence = Sequence::begin(&self.source.graph, seed).await.unwrap();
        sequence.is_silent = self.changes == Changes::Probed;
        for _ in 0..STEPS {
            sequence.any_step().await.unwrap();
            if self.changes == Changes::Logged {
                // Every step leaves its trace there.
                sequence.is_silent = false;
            }
            self.story.push(sequence.log.last().copied().unwrap_or_default().to_owned());
            match self.random.random_range(0..60) {
                0 => self.is_killed().await,
                1..3 => self.loses_its_lease().await,
                _ => {}
            }
            match self.random.random_range(0..10) {
                0..5 => self.says_applied(&sequence).await,
                5..8 => self.says_verified(&mut sequence).await,
                _ => {}
            }
        }
        sequence.end().await.unwrap();
        self.says_applied(&sequence).await;
        self.says_verified(&mut sequence).await;
        if let Some(from) = self.lost_at.take() {
            self.running.line_from(from, "this process no longer does").await;
        }
    }

    async fn is_killed(&mut self) {
        self.story.push("killed".to_owned());
        self.lost_at = None;
        self.running.kill_now().await;
        (self.running, self.http) = start(&self.service).await;
        self.http.until_ready(true).await;
    }

    /// Somebody else has the pipeline for a moment, and goes.
    async fn loses_its_lease(&mut self) {
        self.story.push("lease lost".to_owned());
        self.lost_at.get_or_insert(self.running.length());
        let mut cache = self.cache.address().connect().await.unwrap();
        let keys = GraphKeys::of(&self.control);
        let mut take = redis::pipe();
        take.atomic().cmd("SET").arg(keys.owner()).arg("somebody else").arg("PX").arg(LOST_MS);
        take.cmd("SET").arg(keys.fence()).arg("somebody:0");
        take.query_async::<()>(&mut cache).await.unwrap();
    }

    async fn bookmark(&self) -> String {
        let Neo4jAddress { uri, user, password, database } = self.source.address.clone();
        let (password, database) = (Secret::new(password), Some(database));
        let address = SourceAddress { uri, user, password, database, pool_size: 1, ca_file: None };
        Probe::new(&address, Limits::default()).unwrap().bookmark().await.unwrap().as_str().to_owned()
    }

    /// Asks until the word is said; what is held is approved, once it was seen that it keeps the word from being said.
    async fn is_told(&mut self, level: &str) {
        let mut story = self.is_told_at(level).await;
        self.story.append(&mut story);
        self.story.push(level.to_owned());
    }

    /// Returns what happened before it was said.
    async fn is_told_at(&self, level: &str) -> Vec<String> {
        let mut story = Vec::new();
        let bookmark = self.bookmark().await;
        let escaped = bookmark.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let path = format!("/api/sync/wait?bookmark={escaped}&level={level}&timeout_ms={WAIT_MS}");
        let began = Instant::now();
        loop {
            let answer = self.http.ask("GET", &path, "").await;
            if matches!(answer, Ok((200, _))) {
                return story;
            }
            let status = self.http.status().await;
            assert!(began.elapsed() < EVENT, "{level} is never said: {answer:?}\n{status}\n{}", self.report());
            if status["held"].as_array().is_some_and(|held| !held.is_empty()) {
                self.is_not_ready_while_held().await;
                match self.http.command("approve").await {
                    (202, _) => story.push("held, approved".to_owned()),
                    // A pipeline that starts anew, as after a lost lease, says so.
                    (code, body) => assert_eq!(code, 503, "{body}\n{}", self.report()),
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn is_not_ready_while_held(&self) {
        let (code, body) = self.http.get("/ready").await;
        // Between the two questions a pass may have found that nothing is held any more.
        let held = self.http.status().await["held"].as_array().is_some_and(|held| !held.is_empty());
        assert!(code == 503 || !held, "ready while deletes are held: {body}\n{}", self.report());
    }

    async fn says_applied(&mut self, sequence: &Sequence) {
        self.is_told("applied").await;
        let (found, left) = self.difference(sequence.is_silent).await;
        assert!(found.is_empty(), "applied, but {found:#?}\nleft out: {left:?}\n{}", self.report());
        self.names_what_it_leaves_out(&left, sequence.is_silent).await;
    }

    async fn says_verified(&mut self, sequence: &mut Sequence) {
        self.is_told("verified").await;
        let (found, left) = self.difference(false).await;
        assert!(found.is_empty(), "verified, but {found:#?}\nleft out: {left:?}\n{}", self.report());
        let status = self.http.status().await;
        if status["equal_as_of"] == self.bookmark().await.as_str() {
            self.names_what_it_leaves_out(&left, false).await;
        }
        sequence.is_silent = false;
    }

    /// How the copies differ from what they must hold. After a step that leaves no trace, `applied` does not promise properties.
    async fn difference(&self, is_silent: bool) -> (Vec<String>, Left) {
        let (mut found, mut left) = (Vec::new(), Left::default());
        for copy in &self.copies {
            let Promised { snapshot, excluded, waiting } = promised(&self.source.graph, copy.group).await.unwrap();
            let held = read_cache(&self.cache.address(), &copy.graph).await.unwrap();
            let differing = differences(&snapshot, &held).into_iter();
            let counts = |difference: &Difference| !is_silent || !matches!(difference, Difference::Changed { .. });
            found.extend(differing.filter(counts).map(|difference| format!("{}: {difference}", copy.graph)));
            left.excluded.extend(excluded);
            left.waiting.extend(waiting);
        }
        (found, left)
    }

    /// The quarantine names each element that the rules leave out, and none that they do not.
    async fn names_what_it_leaves_out(&self, left: &Left, is_silent: bool) {
        let answer = self.http.json("/api/sync/quarantine").await;
        let mut named = BTreeSet::new();
        for entry in answer["pipelines"]["default"]["entries"].as_array().unwrap() {
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            if entry["property"].is_null() && !text("key").starts_with("relationships of ") {
                named.insert((text("kind"), text("key")));
            }
        }
        let missing: Vec<_> = left.excluded.difference(&named).collect();
        assert!(is_silent || missing.is_empty(), "not in the quarantine: {missing:?}\n{answer}\n{}", self.report());
        let known: BTreeSet<_> = left.excluded.union(&left.waiting).cloned().collect();
        let outdated: Vec<_> = named.difference(&known).collect();
        let by_group = self.copies.len() > 1;
        assert!(is_silent || by_group || outdated.is_empty(), "in the quarantine: {outdated:?}\n{answer}\n{}", self.report());
    }

    fn report(&self) -> String {
        format!("{}\n{}", self.story.join(", "), self.running.log())
    }

    async fn ends(self) {
        assert_eq!(self.running.terminate().await, 0);
    }
}

/// `WORDS_SEED` has one sequence run alone, and `WORDS_FROM` those from this seed on.
async fn run(by_group: bool, changes: Changes, seeds: impl Iterator<Item = u64>) {
    let mut spoken = Spoken::new(by_group, changes).await;
    let number = |name: &str| -> Option<u64> { std::env::var(name).ok().map(|seed| seed.parse().unwrap()) };
    let (alone, from) = (number("WORDS_SEED"), number("WORDS_FROM"));
    let begun = Instant::now();
    // A short run may have no seed that does.
    spoken.loses_its_lease().await;
    for seed in alone.into_iter().chain(seeds.filter(|seed| alone.is_none() && from.is_none_or(|from| *seed >= from))) {
        spoken.runs(seed).await;
    }
    println!("all in {:.0} s", begun.elapsed().as_secs_f64());
    spoken.ends().await;
}

/// What becomes of a key that nodes of two groups share, and of what hangs on it.
const SHARED_KEY: [&str; 16] = [
    "CREATE (:Community {uuid: 'c', name: 'c', group_id: 'group-1'})-[:HAS_MEMBER {uuid: 'of-second', group_id: 'group-1'}]->\
     (b:Entity {uuid: 'k', name: 'second', group_id: ''})",
    "CREATE (:Community {uuid: 'd', name: 'd', group_id: ''})-[:HAS_MEMBER {uuid: 'of-first', group_id: ''}]->\
     (a:Entity {uuid: 'k', name: 'first', group_id: 'group-1'})",
    "MATCH (n:Entity {name: 'second'}) SET n.uuid = 'other'",
    "MATCH (n:Entity {name: 'second'}) SET n.uuid = 'k'",
    "MATCH (n:Entity {name: 'second'}) SET n:`a``b`",
    "MATCH (n:Entity {name: 'second'}) REMOVE n:`a``b`",
    "MATCH (n:Entity {name: 'second'}) DETACH DELETE n",
    "MATCH (c:Community {uuid: 'c'}) CREATE (c)-[:HAS_MEMBER {uuid: 'of-third', group_id: 'group-1'}]->\
     (:Entity {uuid: 'k', name: 'third', group_id: ''})",
    // Of relationships that share a key as well, one whose ends stand in another graph does not displace one that can be kept.
    "CREATE (:Entity {uuid: 'p', name: 'p1', group_id: ''})",
    "CREATE (b:Entity {uuid: 'p', name: 'p2', group_id: 'group-1'}) CREATE (b)-[:RELATES_TO {uuid: 'e', group_id: 'group-1'}]->(b)",
    "MATCH (a:Entity {name: 'p1'}) CREATE (a)-[:RELATES_TO {uuid: 'e', group_id: ''}]->(a)",
    "MATCH (b:Entity {name: 'p2'}) CREATE (b)-[:RELATES_TO {uuid: 'r', group_id: ''}]->(b)",
    "MATCH ()-[r:RELATES_TO {uuid: 'r'}]->() SET r.group_id = 'group-1'",
    "MATCH (b:Entity {name: 'p1'}) DETACH DELETE b",
    // Vectors are compared apart.
    "CREATE (:Entity {uuid: 'a', name: 'a', group_id: 'group-1'})-[:RELATES_TO {uuid: 'v', group_id: 'group-1', fact: 'f', \
     fact_embedding: [1.0, 0.0, 0.0, 0.0]}]->(:Entity {uuid: 'b', name: 'b', group_id: 'group-1'})",
    "MATCH ()-[e:RELATES_TO {uuid: 'v'}]->() SET e.fact_embedding = [0.0, 1.0, 0.0, 0.0]",
];

/// A key stands in the graph of the node that is kept for it, and so does what hangs on any node of that key.
async fn shares_a_key(changes: Changes) {
    let spoken = Spoken::new(true, changes).await;
    let level = if changes == Changes::Logged { "applied" } else { "verified" };
    for text in SHARED_KEY {
        spoken.source.graph.run(neo4rs::query(text)).await.unwrap();
        spoken.is_told_at(level).await;
        let (found, left) = spoken.difference(false).await;
        assert!(found.is_empty(), "after {text}: {found:#?}\nleft out: {left:?}\n{}", spoken.report());
    }
    spoken.ends().await;
}

#[tokio::test]
async fn a_key_that_two_groups_share_stands_where_its_node_does() {
    shares_a_key(Changes::Logged).await;
    shares_a_key(Changes::Probed).await;
}

/// A relationship that is read between two commits is refused for what its end is then. The end is what it was before by the time
/// that the cache hears of it, and nothing tells of the relationship again.
#[tokio::test]
async fn a_relationship_is_not_lost_for_what_its_end_was_between_two_commits() {
    const ROUNDS: usize = 30;
    const TURNS: usize = 4;
    let spoken = Spoken::new(true, Changes::Logged).await;
    let write = |text: String| {
        let graph = &spoken.source.graph;
        async move { graph.run(neo4rs::query(&text)).await.unwrap() }
    };
    write("CREATE (:Entity {uuid: 'k', name: 'k', group_id: 'group-1'})".to_owned()).await;
    for round in 0..ROUNDS {
        write(format!(
            "MATCH (k:Entity {{uuid: 'k'}}) CREATE (:Episodic {{uuid: 'e{round}', name: 'e', group_id: 'group-1'}})\
             -[:MENTIONS {{uuid: 'm{round}', group_id: 'group-1'}}]->(k)"
        ))
        .await;
        for group in ["", "group-1"].repeat(TURNS) {
            write(format!("MATCH (k:Entity {{uuid: 'k'}}) SET k.group_id = '{group}'")).await;
        }
        spoken.is_told_at("applied").await;
        let (found, left) = spoken.difference(false).await;
        assert!(found.is_empty(), "round {round}: {found:#?}\nleft out: {left:?}\n{}", spoken.report());
    }
    spoken.ends().await;
}

#[tokio::test]
async fn no_word_is_false_once() {
    run(false, Changes::Probed, FAILED_ONCE.into_iter().chain(0..SHORT)).await;
}

#[tokio::test]
async fn no_word_about_groups_is_false_once() {
    run(true, Changes::Probed, SHORT..2 * SHORT).await;
}

#[tokio::test]
#[ignore = "some twenty minutes"]
async fn no_word_of_many_is_false_once() {
    run(false, Changes::Probed, 1_000..1_000 + LONG).await;
}

#[tokio::test]
#[ignore = "some twenty minutes"]
async fn no_word_of_many_about_groups_is_false_once() {
    run(true, Changes::Probed, 2_000..2_000 + LONG).await;
}

#[tokio::test]
async fn no_word_is_false_once_where_the_log_tells_changes() {
    run(false, Changes::Logged, 0..SHORT).await;
}

#[tokio::test]
async fn no_word_about_groups_is_false_once_where_the_log_tells_changes() {
    run(true, Changes::Logged, SHORT..2 * SHORT).await;
}

#[tokio::test]
#[ignore = "some twenty minutes"]
async fn no_word_of_many_is_false_once_where_the_log_tells_changes() {
    run(false, Changes::Logged, 3_000..3_000 + LONG).await;
}

#[tokio::test]
#[ignore = "some twenty minutes"]
async fn no_word_of_many_about_groups_is_false_once_where_the_log_tells_changes() {
    run(true, Changes::Logged, 4_000..4_000 + LONG).await;
}
