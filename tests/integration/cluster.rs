//! A cache in a Redis cluster: the service goes to the node that holds the graph, and follows the graph to another one.

use std::pin::Pin;
use std::time::Instant;

use neo4rs::query;

use super::api::{Http, start};
use super::pipeline::PROGRAM;
use super::sentinel::until_applied;
use super::standby::Writer;
use crate::support::Result;
use crate::support::comparer::assert_equal;
use crate::support::graph::{GraphSpec, build};
use crate::support::servers::cluster::Cluster;
use crate::support::servers::{SourceTurn, source_lock};
use crate::support::service::{Running, Service};

const GRAPH: &str = "clustered";

/// The service between a source and a cluster.
struct Clustered {
    turn: SourceTurn,
    cluster: Cluster,
    running: Running,
    http: Http,
}

fn service(turn: &SourceTurn, cluster: &Cluster) -> Service {
    Service::new(PROGRAM, &turn.address, &cluster.servers[0].address(), GRAPH)
        // Nothing but the list of nodes says where the cache is.
        .without("FALKORDB_HOST")
        .without("FALKORDB_PORT")
        .with("FALKORDB_CLUSTER", cluster.hosts())
        .with("SYNC_SCRUB_ROWS_PER_SECOND", 0)
        .with("LOG_FORMAT", "text")
}

impl Clustered {
    async fn start(cluster: Pin<Box<dyn Future<Output = Result<Cluster>>>>) -> Self {
        let (turn, cluster) = tokio::join!(source_lock(), cluster);
        let cluster = cluster.unwrap();
        build(&turn.graph, &GraphSpec { entities: 200, facts: 400, dimension: 8, ..GraphSpec::default() }).await.unwrap();
        let (running, http) = start(&service(&turn, &cluster)).await;
        let clustered = Self { turn, cluster, running, http };
        clustered.http.until_ready(true).await;
        clustered.is_equal("the first full sync").await;
        clustered
    }

    async fn is_applied(&self) {
        until_applied(&self.turn, &self.http, &self.running).await;
    }

    async fn is_equal(&self, what: &str) {
        self.is_applied().await;
        let master = self.cluster.master_of(GRAPH).await.unwrap();
        println!("{what}: applied at {}", master.port());
        assert_equal(&self.turn.graph, &master.address(), GRAPH).await;
    }

    async fn end(mut self) {
        let log = self.running.log();
        assert!(!log.contains("halted"), "{log}");
        assert_eq!(self.running.terminate_now().await, 0, "{}", self.running.log());
    }
}

#[tokio::test]
async fn a_master_of_a_cluster_that_dies_under_writes_is_followed_by_its_replica() {
    let clustered = Clustered::start(Box::pin(Cluster::start_with_failovers())).await;
    let writer = Writer::start(clustered.turn.graph.clone());
    for round in 0..2 {
        let began = Instant::now();
        let master = clustered.cluster.master_of(GRAPH).await.unwrap();
        let port = master.port();
        master.kill();
        clustered.cluster.until_failed_over(GRAPH, port).await.unwrap();
        let failed_over = began.elapsed();
        clustered.is_applied().await;
        println!("round {round}: another master after {failed_over:.2?}, applied after {:.2?}", began.elapsed());
        clustered.cluster.servers.iter().find(|server| server.port() == port).unwrap().restart().await.unwrap();
        clustered.cluster.until_whole().await.unwrap();
    }
    let written = writer.end().await;
    clustered.is_equal(&format!("{written} commits over two failovers")).await;
    clustered.end().await;
}

#[tokio::test]
async fn a_slot_that_moves_under_writes_is_followed() {
    let clustered = Clustered::start(Box::pin(Cluster::start())).await;
    let from = clustered.cluster.master_of(GRAPH).await.unwrap().port();
    let writer = Writer::start(clustered.turn.graph.clone());
    clustered.cluster.move_slot(GRAPH).await.unwrap();
    clustered.cluster.until_failed_over(GRAPH, from).await.unwrap();
    clustered.is_applied().await;
    let written = writer.end().await;
    clustered.is_equal(&format!("{written} commits while the slot moved")).await;
    clustered.end().await;
}

#[tokio::test]
async fn a_node_of_a_cluster_is_named_as_such() {
    let (turn, cluster) = tokio::join!(source_lock(), Cluster::start());
    let cluster = cluster.unwrap();
    turn.graph.run(query("CREATE (:Entity {uuid: 'a', group_id: 'g', created_at: datetime()})")).await.unwrap();
    let clustered = service(&turn, &cluster);
    // One node that is alive is enough to find the others.
    let last = cluster.servers.last().unwrap();
    let one = clustered.clone().with("FALKORDB_CLUSTER", format!("127.0.0.1:1,127.0.0.1:{}", last.port()));
    assert_eq!(one.json(&["sync", "--mode", "full"]).await[0]["totals"]["nodes"], 1);

    let master = cluster.master_of(GRAPH).await.unwrap().port();
    let other = cluster.servers.iter().find(|server| server.port() != master).unwrap();
    let fixed = clustered.without("FALKORDB_CLUSTER").with("FALKORDB_HOST", "127.0.0.1").with("FALKORDB_PORT", other.port());
    for command in [&["check"][..], &["sync", "--mode", "full"]] {
        let finished = fixed.finish(command).await;
        let said = "is a node of a Redis cluster: name the nodes in falkordb.cluster";
        assert!(finished.code != 0 && finished.stderr.contains(said), "{command:?}: {} {}", finished.code, finished.stderr);
        assert!(!finished.stderr.contains("may not run"), "{command:?}: {}", finished.stderr);
    }
}
