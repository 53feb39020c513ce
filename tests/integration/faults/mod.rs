//! Faults of the network and of the servers: what they do to the service, and that it goes on by itself afterwards.

mod cache;
mod network;
mod source;

use std::time::{Duration, Instant};

use neo4rs::Graph;

use super::api::{self, Http, TOKEN};
use super::pipeline::PROGRAM;
use crate::support::arrival::until_equal;
use crate::support::deadline::EVENT;
use crate::support::graph::{GraphSpec, World, build};
use crate::support::proxy::Proxy;
use crate::support::servers::{
    FalkorAddress, FalkorServer, Neo4jAddress, Neo4jServer, SourceTurn, fresh_graph_name, source_lock,
};
use crate::support::service::{Running, Service};

/// Passes that follow one another are no further apart.
const FOLLOWED_WITHIN: Duration = Duration::from_millis(300);

/// Between two looks at the status.
const POLL: Duration = Duration::from_millis(20);

pub(super) fn spec() -> GraphSpec {
    // One group: an episode's keys may be picked again.
    GraphSpec { groups: 1, dimension: 16, ..GraphSpec::default() }
}

/// The service at work, with a proxy before each of its servers.
pub(super) struct Proxied {
    pub(super) source: Graph,
    pub(super) cache: FalkorAddress,
    pub(super) graph: String,
    pub(super) world: World,
    pub(super) bolt: Proxy,
    pub(super) redis: Proxy,
    pub(super) running: Running,
    pub(super) http: Http,
    /// Absent where the source is the test's own.
    _turn: Option<SourceTurn>,
    /// Absent where the caller keeps the server.
    _cache_server: Option<FalkorServer>,
}

impl Proxied {
    /// With a source that tests share, once both graphs are equal.
    pub(super) async fn new(test: &str) -> Self {
        let server = FalkorServer::start().await.unwrap();
        let mut proxied = Self::with_cache(test, server.address()).await;
        proxied._cache_server = Some(server);
        proxied
    }

    /// With a cache that the caller keeps.
    pub(super) async fn with_cache(test: &str, cache: FalkorAddress) -> Self {
        let turn = source_lock().await;
        let (source, address) = (turn.graph.clone(), turn.address.clone());
        Self::between(test, source, address, cache, Some(turn)).await
    }

    /// With a source of its own.
    pub(super) async fn with_source(test: &str, server: &Neo4jServer) -> Self {
        let source = server.address().connect().await.unwrap();
        let cache = FalkorServer::start().await.unwrap();
        let mut proxied = Self::between(test, source, server.address(), cache.address(), None).await;
        proxied._cache_server = Some(cache);
        proxied
    }

    async fn between(test: &str, source: Graph, neo4j: Neo4jAddress, cache: FalkorAddress, turn: Option<SourceTurn>) -> Self {
        let world = build(&source, &spec()).await.unwrap();
        let port = neo4j.uri.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap();
        let bolt = Proxy::before(port).await.unwrap();
        let redis = Proxy::before(cache.port).await.unwrap();
        let neo4j = Neo4jAddress { uri: format!("bolt://127.0.0.1:{}", bolt.port), ..neo4j };
        let falkordb = FalkorAddress { port: redis.port, ..cache.clone() };
        let graph = fresh_graph_name(test);
        let service = Service::new(PROGRAM, &neo4j, &falkordb, &graph)
            .with("API_TOKEN", TOKEN)
            .with("LOG_FORMAT", "text")
            .with("SYNC_LATE_CHECK_SECONDS", 2)
            .with("SYNC_SCRUB_ROWS_PER_SECOND", 100_000);
        let (running, http) = api::start(&service).await;
        let mut proxied = Self { source, cache, graph, world, bolt, redis, running, http, _turn: turn, _cache_server: None };
        proxied.converges("the first start").await;
        proxied
    }

    /// Graphiti's everyday: an episode with what it brings and rewrites, an expired fact, a delete.
    pub(super) async fn write(&mut self) {
        self.world.add_episode(2, 2).await.unwrap();
        let fact = self.world.some_fact();
        self.world.expire_fact(&fact).await.unwrap();
        let entity = self.world.some_entity();
        self.world.delete_node(&entity).await.unwrap();
    }

    /// Waits until nothing is under way: what is compared in the background is proven equal, no pass runs, and none has followed the
    /// last one, as one does at once after commits.
    pub(super) async fn at_rest(&self) {
        let began = Instant::now();
        let mut resting: Option<(serde_json::Value, Instant)> = None;
        loop {
            let status = self.http.status().await;
            let proven = status["equal_as_of"].is_string() && status["equal_as_of"] == status["source_bookmark"];
            let rests = proven && status["settled"] == true && status["state"]["state"] == "idle";
            let passes = status["passes_begun"].clone();
            match &resting {
                Some((known, since)) if rests && *known == passes => {
                    if since.elapsed() >= FOLLOWED_WITHIN {
                        return;
                    }
                }
                _ => resting = rests.then(|| (passes, Instant::now())),
            }
            assert!(began.elapsed() < EVENT, "not at rest: {status}\n{}", self.running.log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until both graphs are equal.
    pub(super) async fn converges(&mut self, what: &str) -> Duration {
        let arrived = until_equal(&self.source, &self.cache, &self.graph, EVENT).await;
        assert!(!self.running.is_over(), "{what}: the service ended\n{}", self.running.log());
        let took = arrived.unwrap_or_else(|found| panic!("{what}: {found}\n{}", self.running.log()));
        println!("{what}: equal after {:.2} s", took.as_secs_f64());
        took
    }

    pub(super) async fn ends(self) {
        let log = self.running.log();
        assert!(!log.contains("panicked"), "{log}");
        assert_eq!(self.running.terminate().await, 0);
    }
}
