//! Reads are made under the bookmark that they are credited with: a transaction that Neo4j has committed and not yet applied is
//! waited for, never taken as done.

use std::time::{Duration, Instant};

use neo4j_falkordb_sync::model::bookmark::Bookmark;
use neo4rs::{Graph, query};

use super::api::is_not_yet;
use super::pipeline::{PROGRAM, Pair, last_bookmark};
use crate::support::comparer::{GENERIC, assert_equal, assert_same_content};
use crate::support::graph::create_indices;
use crate::support::http::Http;
use crate::support::recorder::Recorder;
use crate::support::servers::{FalkorAddress, FalkorServer, Neo4jAddress, Neo4jOptions, Neo4jServer, fresh_graph_name, neo4j};
use crate::support::service::{Running, Service};

/// The largest of these transactions is applied well within this time, and the cache follows.
const PATIENCE: Duration = Duration::from_secs(300);

/// Half of them nodes, half relationships between neighbouring nodes, in the shape of graphiti's bulk writes.
fn bulk(elements: usize, round: usize) -> String {
    let nodes = elements / 2;
    format!(
        "UNWIND range(1, {nodes}) AS i \
         CREATE (n:Entity {{uuid: '{round}-' + i, name: 'n' + i, group_id: 'g', summary: '', created_at: datetime()}}) \
         WITH collect(n) AS nodes UNWIND range(0, {nodes} - 1) AS i WITH nodes[i] AS a, nodes[(i + 1) % {nodes}] AS b, i \
         CREATE (a)-[:RELATES_TO {{uuid: '{round}-' + i, name: 'r', fact: 'f', group_id: 'g', created_at: datetime()}}]->(b)"
    )
}

/// Kinds that the cache has never seen, without keys or timestamps.
fn of_new_kinds(elements: usize, round: usize) -> String {
    let nodes = elements / 2;
    format!(
        "UNWIND range(1, {nodes}) AS i CREATE (n:Kind{round} {{i: i}}) WITH collect(n) AS nodes \
         UNWIND range(0, {nodes} - 1) AS i WITH nodes[i] AS a, nodes[(i + 1) % {nodes}] AS b CREATE (a)-[:TYPE{round}]->(b)"
    )
}

/// A source that takes large transactions, and a service that follows it.
struct Rounds {
    source: Neo4jAddress,
    graph: Graph,
    cache: FalkorAddress,
    name: String,
    service: Service,
}

impl Rounds {
    fn of_pair(pair: &Pair) -> Self {
        let (source, graph, cache) = (pair.source.address.clone(), pair.source.graph.clone(), pair.cache.clone());
        Self { source, graph, cache, name: pair.graph.clone(), service: pair.service.clone() }
    }

    async fn of_servers(server: &Neo4jServer, cache: &FalkorServer) -> Self {
        let (source, cache) = (server.address(), cache.address());
        let (graph, name) = (source.connect().await.unwrap(), fresh_graph_name("bookmarks_large"));
        let service = Service::new(PROGRAM, &source, &cache, &name);
        Self { source, graph, cache, name, service }
    }

    /// Commits while somebody else asks for the bookmark: the answer is the bookmark as soon as Neo4j tells it, which is before the
    /// transaction is applied.
    async fn commit_and_watch(&self, text: &str) -> Bookmark {
        let before = last_bookmark(&self.source).await;
        let commit = async {
            self.graph.run(query(text)).await.unwrap();
        };
        let watch = async {
            loop {
                let now = last_bookmark(&self.source).await;
                if now != before {
                    return now;
                }
                // Each question is a new connection.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        // The commit goes on while the service is asked to wait for it.
        let (bookmark, ()) = tokio::join!(watch, commit);
        bookmark
    }

    /// Commits a transaction of this many elements so many times.
    async fn are_applied_when_the_wait_says_so(&self, elements: usize, rounds: usize) {
        create_indices(&self.graph).await.unwrap();
        self.graph.run(query("CREATE (:Entity {uuid: 'first', group_id: 'g', created_at: datetime()})")).await.unwrap();
        let service = self.service.clone().with("SYNC_SCRUB_ROWS_PER_SECOND", 0).with("SYNC_MAX_DELETE_FRACTION", 1);
        let (mut running, http) = Http::start(&service).unwrap();
        running.line("pass ended").await;
        let mut waited = Vec::new();
        for round in 0..rounds {
            let bookmark = self.commit_and_watch(&bulk(elements, round)).await;
            waited.push(wait_for(&http, &bookmark, &running).await.as_secs_f64());
            assert_equal(&self.graph, &self.cache, &self.name).await;
            // Else the last comparisons would read ten times as much as the first ones.
            neo4j::clear(&self.graph).await.unwrap();
            let bookmark = last_bookmark(&self.source).await;
            wait_for(&http, &bookmark, &running).await;
            assert_equal(&self.graph, &self.cache, &self.name).await;
        }
        println!("{elements} elements: applied after {waited:.2?} s");
        assert_eq!(running.terminate().await, 0);
    }
}

/// Asks until the answer is yes: on a busy machine one request is not patient enough.
pub(crate) async fn wait_for(http: &Http, bookmark: &Bookmark, running: &Running) -> Duration {
    let began = Instant::now();
    let escaped = bookmark.as_str().replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let path = format!("/api/sync/wait?bookmark={escaped}&level=applied&timeout_ms=60000");
    loop {
        let (status, body) = http.get(&path).await.unwrap();
        if status == 200 {
            return began.elapsed();
        }
        assert!(is_not_yet(status) && began.elapsed() < PATIENCE, "{body}\n{}", running.log());
    }
}

#[tokio::test]
async fn five_thousand_elements_of_one_transaction_are_applied_when_the_wait_says_so() {
    let pair = Pair::new("bookmarks_5000").await;
    Rounds::of_pair(&pair).are_applied_when_the_wait_says_so(5_000, 10).await;
}

#[tokio::test]
async fn forty_thousand_elements_of_one_transaction_are_applied_when_the_wait_says_so() {
    let pair = Pair::new("bookmarks_40000").await;
    Rounds::of_pair(&pair).are_applied_when_the_wait_says_so(40_000, 2).await;
}

#[tokio::test]
#[ignore = "takes minutes: make test-long"]
async fn large_transactions_are_applied_ten_times_when_the_wait_says_so() {
    // A transaction of 200,000 elements takes more memory than the shared server has.
    let server = Neo4jServer::start_with(Neo4jOptions { heap: "4g".to_owned(), ..Neo4jOptions::default() }).await.unwrap();
    let cache = FalkorServer::start().await.unwrap();
    let rounds = Rounds::of_servers(&server, &cache).await;
    rounds.are_applied_when_the_wait_says_so(40_000, 10).await;
    rounds.are_applied_when_the_wait_says_so(200_000, 10).await;
    server.stop().await;
}

/// Nobody waits, and no other commit follows: the service notices a large transaction of new kinds by itself.
#[tokio::test]
async fn a_large_transaction_with_nobody_after_it_is_noticed_whole() {
    let pair = Pair::new("bookmarks_alone").await;
    pair.source.graph.run(query("CREATE (:First {i: 1})")).await.unwrap();
    let service = pair.service.clone().with("SYNC_PROFILE", "generic").with("SYNC_SCRUB_ROWS_PER_SECOND", 0);
    let (mut running, http) = Http::start(&service).unwrap();
    running.line("pass ended").await;
    for round in 0..3 {
        pair.source.graph.run(query(&of_new_kinds(40_000, round))).await.unwrap();
        let bookmark = pair.bookmark().await;
        // In step as of that commit, in the service's own words.
        let began = Instant::now();
        loop {
            let status = http.status().await.unwrap();
            if status["last_pass"]["bookmark"] == bookmark.as_str() && status["settled"] == true {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{status}\n{}", running.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_same_content(&pair.source.graph, &pair.cache, &pair.graph, GENERIC).await;
    }
    assert_eq!(running.terminate().await, 0);
}

#[tokio::test]
async fn every_read_carries_the_bookmark_on_the_wire() {
    let pair = Pair::new("bookmarks_wire").await;
    create_indices(&pair.source.graph).await.unwrap();
    pair.source.graph.run(query(&bulk(100, 0))).await.unwrap();
    let recorder = Recorder::before(port_of(&pair.source.address)).await.unwrap();
    let service = pair.service.clone().with("NEO4J_URI", format!("bolt://127.0.0.1:{}", recorder.port));
    let (mut running, http) = Http::start(&service.with("SYNC_LATE_CHECK_SECONDS", 1)).unwrap();
    running.line("pass ended").await;
    recorder.take();
    pair.source.graph.run(query(&bulk(100, 1))).await.unwrap();
    wait_for(&http, &pair.bookmark().await, &running).await;
    pair.source.graph.run(query("MATCH (n:Entity {uuid: '1-7'}) DETACH DELETE n")).await.unwrap();
    wait_for(&http, &pair.bookmark().await, &running).await;
    let said = recorder.take();
    assert_eq!(running.terminate().await, 0);
    // The settings of each query end with the name of this program; the text of the query stands before them.
    let queries: Vec<&str> = said.split("tx_metadata").collect();
    let reads: Vec<&&str> = queries[..queries.len() - 1].iter().filter(|query| !query.contains("RETURN 1")).collect();
    assert!(reads.iter().any(|query| query.contains("MATCH")), "{reads:?}");
    for read in reads {
        assert!(read.contains("bookmarks") && read.contains("FB:"), "{read}");
    }
}

fn port_of(address: &Neo4jAddress) -> u16 {
    address.uri.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap()
}
