//! The whole pipeline: the program between a real Neo4j and a real FalkorDB.

use std::time::{Duration, Instant};

use neo4j_falkordb_sync::config::Secret;
use neo4j_falkordb_sync::model::bookmark::Bookmark;
use neo4j_falkordb_sync::source::SourceAddress;
use neo4j_falkordb_sync::source::bolt::{Limits, Probe};

use crate::support::comparer::assert_equal;
use crate::support::deadline::EVENT;
use crate::support::graph::{GraphSpec, build};
use crate::support::servers::{FalkorAddress, FalkorServer, Neo4jAddress, SourceTurn, fresh_graph_name, source_lock};
use crate::support::service::Service;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_neo4j-falkordb-sync");

/// A turn with the source, and a cache of one's own: a server that hundreds of tests share stands still for seconds at times, longer
/// than a lease holds.
pub(crate) struct Pair {
    pub(crate) source: SourceTurn,
    pub(crate) cache: FalkorAddress,
    pub(crate) graph: String,
    pub(crate) service: Service,
    _cache_server: FalkorServer,
}

impl Pair {
    pub(crate) async fn new(test: &str) -> Self {
        let source = source_lock().await;
        let server = FalkorServer::start().await.unwrap();
        let cache = server.address();
        let graph = fresh_graph_name(test);
        let service = Service::new(PROGRAM, &source.address, &cache, &graph);
        Self { source, cache, graph, service, _cache_server: server }
    }

    pub(crate) async fn assert_equal(&self) {
        assert_equal(&self.source.graph, &self.cache, &self.graph).await;
    }

    /// The source's own word for its last commit.
    pub(crate) async fn bookmark(&self) -> Bookmark {
        last_bookmark(&self.source.address).await
    }

    /// As [`Self::sync`], once the lease of a killed process has run out: one is told to come back until then.
    pub(crate) async fn sync_once_free(&self, mode: &str) -> serde_json::Value {
        let key = format!("{{{}}}:owner", self.graph);
        let mut cache = self.cache.connect().await.unwrap();
        while redis::cmd("EXISTS").arg(&key).query_async::<bool>(&mut cache).await.unwrap() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        self.sync(mode).await
    }

    pub(crate) async fn sync(&self, mode: &str) -> serde_json::Value {
        self.service.json(&["sync", "--mode", mode]).await[0].clone()
    }
}

/// A source's own word for its last commit. Asks until it answers: a busy machine stands still at times.
pub(crate) async fn last_bookmark(source: &Neo4jAddress) -> Bookmark {
    let Neo4jAddress { uri, user, password, database } = source.clone();
    let (password, database) = (Secret::new(password), Some(database));
    let address = SourceAddress { uri, user, password, database, pool_size: 1, ca_file: None };
    let began = Instant::now();
    loop {
        match Probe::new(&address, Limits::default()).unwrap().bookmark().await {
            Ok(bookmark) => return bookmark,
            Err(error) => assert!(began.elapsed() < EVENT, "{error}"),
        }
        // A refused connection is an answer at once.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// As it stands in an address.
pub(crate) fn percent_encoded(bookmark: &Bookmark) -> String {
    bookmark.as_str().replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
}

#[tokio::test]
async fn a_full_pass_brings_a_graph_over_element_for_element() {
    let pair = Pair::new("full").await;
    let spec = GraphSpec::default();
    build(&pair.source.graph, &spec).await.unwrap();
    let report = pair.sync("full").await;
    assert_eq!(report["totals"]["nodes"], spec.nodes());
    assert_eq!(report["totals"]["relationships"], spec.relationships());
    assert_eq!(report["totals"]["quarantined"], 0);
    pair.assert_equal().await;
    // Again, over the graph that is there.
    pair.sync("full").await;
    pair.assert_equal().await;
}

#[tokio::test]
async fn what_timestamps_reach_arrives_by_incremental_passes() {
    let pair = Pair::new("incremental").await;
    let mut world = build(&pair.source.graph, &GraphSpec::default()).await.unwrap();
    pair.sync("full").await;
    world.add_episode(3, 4).await.unwrap();
    let fact = world.some_fact();
    world.expire_fact(&fact).await.unwrap();
    let report = pair.sync("incremental").await;
    assert_eq!(report["mode"], "incremental");
    println!("{report}");
}
