//! Only the owner writes: what a process has under way when it loses a graph does not arrive.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use neo4j_falkordb_sync::error::{ErrorKind, Result};
use neo4j_falkordb_sync::model::checkpoint::Checkpoint;
use neo4j_falkordb_sync::model::graph_name::GraphName;
use neo4j_falkordb_sync::model::index::{IndexTarget, UnsafeIndexPolicy};
use neo4j_falkordb_sync::model::kind::KindName;
use neo4j_falkordb_sync::model::prepared::PreparedRows;
use neo4j_falkordb_sync::model::profile::Profile;
use neo4j_falkordb_sync::model::quarantined::Quarantined;
use neo4j_falkordb_sync::model::routes::Routes;
use neo4j_falkordb_sync::model::source_identity::SourceIdentity;
use neo4j_falkordb_sync::sink::{
    BulkLoader, CacheConnection, CheckpointStore, FalkorSink, GraphKeys, GraphRole, GraphSet, GraphSwap, Ownership,
    RedisCheckpointStore, Sink, Swap, UnsafeIndexCheck,
};
use neo4rs::query;
use redis::{Value, cmd};

use super::api::{Http, TOKEN, start};
use super::pipeline::{PROGRAM, Pair};
use super::sink::{batch, fact_identity, facts, fresh_name, label, node_identity, nodes, owned, server, sink};
use crate::support::arrival::until_equal;
use crate::support::comparer::{compare, report};
use crate::support::deadline::EVENT;
use crate::support::graph::{GraphSpec, build};
use crate::support::proxy::{Mode, Proxy};
use crate::support::servers::{FalkorAddress, Neo4jAddress};
use crate::support::service::{Running, Service};

/// Nodes of one commit: many batches of 1,000, so that a process is stopped in the middle of its pass.
const NEW: u64 = 12_000;

/// Longer than a lease lasts: the fault is its length.
const SILENCE: Duration = Duration::from_secs(7);

/// A service that follows a source, and whoever takes over from it.
struct Followed {
    pair: Pair,
    proxy: Proxy,
    running: Running,
    http: Http,
    raw: redis::aio::MultiplexedConnection,
}

impl Followed {
    /// In step, and reached through a proxy.
    async fn new(test: &str) -> Self {
        let pair = Pair::new(test).await;
        build(&pair.source.graph, &GraphSpec { dimension: 16, ..GraphSpec::default() }).await.unwrap();
        let proxy = Proxy::before(pair.cache.port).await.unwrap();
        let cache = FalkorAddress { port: proxy.port, ..pair.cache.clone() };
        let (running, http) = start(&service(&pair, &cache)).await;
        http.until_ready(true).await;
        let raw = pair.cache.connect().await.unwrap();
        Self { pair, proxy, running, http, raw }
    }

    async fn write(&self, text: &str) {
        self.pair.source.graph.run(query(text)).await.unwrap();
    }

    /// Commits many nodes, and returns once some of them are in the cache.
    async fn is_in_the_middle_of_a_pass(&mut self) {
        // Slow enough that the pass is not over before it is stopped.
        self.proxy.set(Mode::Late(Duration::from_millis(100))).await;
        self.write(&format!(
            "UNWIND range(1, {NEW}) AS i CREATE (:Entity {{uuid: 'new-' + i, name: 'old', summary: 'old', group_id: '', \
             created_at: datetime()}})"
        ))
        .await;
        let began = Instant::now();
        while self.arrived().await == 0 {
            assert!(began.elapsed() < EVENT, "nothing arrives\n{}", self.running.log());
            tokio::task::yield_now().await;
        }
    }

    async fn arrived(&mut self) -> u64 {
        let mut count = cmd("GRAPH.RO_QUERY");
        count.arg(&self.pair.graph).arg("MATCH (n:Entity) WHERE n.uuid STARTS WITH 'new-' RETURN count(n)");
        let answer: Value = count.query_async(&mut self.raw).await.unwrap();
        let Value::Array(parts) = answer else { panic!("{answer:?}") };
        let Value::Array(rows) = &parts[1] else { panic!("{parts:?}") };
        let [Value::Array(row)] = &rows[..] else { panic!("{rows:?}") };
        let [Value::Int(number)] = row[..] else { panic!("{row:?}") };
        u64::try_from(number).unwrap()
    }

    /// Has another process take over, and change what the first one has under way.
    async fn is_succeeded(&mut self) -> Running {
        let there = self.arrived().await;
        assert!(there > 0 && there < NEW, "{there} of {NEW} nodes had arrived");
        let (successor, http) = start(&service(&self.pair, &self.pair.cache)).await;
        self.write("MATCH (n:Entity) WHERE n.uuid STARTS WITH 'new-' AND right(n.uuid, 1) IN ['1', '4', '7'] DETACH DELETE n")
            .await;
        self.write("MATCH (n:Entity) WHERE n.uuid STARTS WITH 'new-' SET n.summary = 'new', n.created_at = datetime()").await;
        let arrived = until_equal(&self.pair.source.graph, &self.pair.cache, &self.pair.graph, EVENT).await;
        arrived.unwrap_or_else(|found| panic!("the successor: {found}\n{}", successor.log()));
        http.until_ready(true).await;
        successor
    }

    /// The first one has gone on, noticed that it is not the owner, and written nothing.
    async fn has_written_nothing(&mut self, from: usize) {
        let line = self.running.line_from(from, "standing by").await;
        println!("{line}");
        let found = compare(&self.pair.source.graph, &self.pair.cache, &self.pair.graph).await.unwrap();
        assert!(found.is_empty(), "{} differences: {}\n{}", found.len(), report(&found), self.running.log_from(from));
        self.http.until_ready(false).await;
    }
}

/// Nothing but passes brings changes over.
fn service(pair: &Pair, cache: &FalkorAddress) -> Service {
    Service::new(PROGRAM, &pair.source.address, cache, &pair.graph)
        .with("API_TOKEN", TOKEN)
        .with("LOG_FORMAT", "text")
        .with("SYNC_SCRUB_ROWS_PER_SECOND", 0)
}

#[tokio::test]
async fn a_process_that_was_stopped_in_a_pass_writes_nothing_after_its_successor() {
    let mut followed = Followed::new("fence_stopped").await;
    followed.is_in_the_middle_of_a_pass().await;
    followed.running.signal("-STOP").await;
    let successor = followed.is_succeeded().await;
    let from = followed.running.length();
    followed.proxy.set(Mode::Through).await;
    followed.running.signal("-CONT").await;
    followed.has_written_nothing(from).await;
    assert_eq!(followed.running.terminate().await, 0);
    assert_eq!(successor.terminate().await, 0);
}

#[tokio::test]
async fn bytes_that_wait_for_longer_than_the_lease_are_not_written() {
    let mut followed = Followed::new("fence_waiting").await;
    followed.is_in_the_middle_of_a_pass().await;
    followed.proxy.set(Mode::Blackhole).await;
    let successor = followed.is_succeeded().await;
    let from = followed.running.length();
    followed.proxy.set(Mode::Through).await;
    followed.has_written_nothing(from).await;
    assert_eq!(followed.running.terminate().await, 0);
    assert_eq!(successor.terminate().await, 0);
}

/// A scan in a large graph, or a silent source: counts that take longer than the lease, as soon as it is taken.
#[tokio::test]
async fn a_launch_that_takes_longer_than_the_lease_keeps_it() {
    let pair = Pair::new("fence_launch").await;
    build(&pair.source.graph, &GraphSpec { dimension: 16, ..GraphSpec::default() }).await.unwrap();
    let port = pair.source.address.uri.rsplit(':').next().unwrap().parse().unwrap();
    let bolt = Proxy::before(port).await.unwrap();
    // Slow enough that what follows the lease is still under way when the lease is seen.
    bolt.set(Mode::Late(Duration::from_millis(100))).await;
    let source = Neo4jAddress { uri: format!("bolt://127.0.0.1:{}", bolt.port), ..pair.source.address.clone() };
    let slow = Service::new(PROGRAM, &source, &pair.cache, &pair.graph).with("LOG_FORMAT", "text");
    let (running, http) = start(&slow).await;
    let mut raw = pair.cache.connect().await.unwrap();
    let key = GraphKeys::of(&GraphName::new(&pair.graph).unwrap()).owner();
    let mut holder: Option<String> = None;
    let began = Instant::now();
    while holder.is_none() {
        assert!(began.elapsed() < EVENT, "{}", running.log());
        holder = cmd("GET").arg(&key).query_async(&mut raw).await.unwrap();
    }
    bolt.set(Mode::Blackhole).await;
    assert!(!running.log().contains("needed"), "too late: the launch is over\n{}", running.log());
    tokio::time::sleep(SILENCE).await;
    let now: Option<String> = cmd("GET").arg(&key).query_async(&mut raw).await.unwrap();
    assert_eq!(now, holder, "{}", running.log());
    bolt.set(Mode::Through).await;
    http.until_ready(true).await;
    assert!(!running.log().contains("no process holds"), "{}", running.log());
    pair.assert_equal().await;
    assert_eq!(running.terminate().await, 0);
}

/// A graph, its owner, and what the owner writes with.
struct Owned {
    name: GraphName,
    ownership: Ownership,
    sink: FalkorSink,
    store: RedisCheckpointStore,
    loader: BulkLoader,
    swap: GraphSwap,
    outside: CacheConnection,
    profile: Arc<Profile>,
}

impl Owned {
    async fn new() -> Self {
        let name = GraphName::new(fresh_name("fence")).unwrap();
        let ownership = owned(name.as_str()).await;
        let profile = Arc::new(Profile::graphiti().unwrap());
        let address = server().await;
        let graphs = GraphSet::new(address.clone(), Arc::clone(&profile), ownership.clone());
        let mut owned = Self {
            sink: graphs.sink(GraphRole::Live),
            store: graphs.checkpoint_store(GraphRole::Live),
            loader: graphs.bulk_loader().unwrap(),
            swap: graphs.swap(),
            outside: CacheConnection::new(address),
            profile,
            ownership,
            name,
        };
        owned.sink.prepare().await.unwrap();
        let rows =
            batch(vec![nodes("Entity", &["Person"], &[("a", ",v:1"), ("b", "")])], vec![facts(&[("f", "a", "b", ",v:1")])]);
        owned.sink.apply(&rows).await.unwrap();
        owned.store.store(&checkpoint(1)).await.unwrap();
        owned.loader.begin().await.unwrap();
        let stage = GraphKeys::of(&owned.name).graph(GraphRole::Stage);
        owned.redis(&["GRAPH.QUERY", &stage, "CREATE (:Entity {uuid: 'a', name_embedding: [1.0, 2.0]})"]).await;
        owned.loader.totals().await.unwrap();
        owned
    }

    async fn redis(&mut self, words: &[&str]) -> Value {
        self.outside.command("test", cmd(words[0]).arg(&words[1..]), EVENT).await.unwrap()
    }

    /// As after a silence that outlasts the lease.
    async fn is_succeeded(&mut self) {
        let key = GraphKeys::of(&self.name).owner();
        self.redis(&["DEL", &key]).await;
        owned(self.name.as_str()).await;
    }

    /// FalkorDB lists an index that it still builds beside the one that it replaces.
    async fn indices_are_built(&mut self, graph: &str) {
        let began = Instant::now();
        loop {
            let answer = self.redis(&["GRAPH.RO_QUERY", graph, "CALL db.indexes() YIELD status RETURN status"]).await;
            if !format!("{answer:?}").contains("UNDER CONSTRUCTION") {
                return;
            }
            assert!(began.elapsed() < EVENT, "{answer:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Everything that is kept under the graph's name, as text.
    async fn standing(&mut self) -> BTreeSet<String> {
        let (live, stage) = (self.name.as_str().to_owned(), GraphKeys::of(&self.name).graph(GraphRole::Stage));
        let mut standing = BTreeSet::new();
        for graph in [&live, &stage] {
            self.indices_are_built(graph).await;
            for text in [
                "MATCH (n) RETURN labels(n), properties(n), typeOf(n.name_embedding) ORDER BY n.uuid",
                "MATCH ()-[e]->() RETURN type(e), properties(e) ORDER BY e.uuid",
                "CALL db.indexes() YIELD label, types RETURN label, types ORDER BY label",
            ] {
                let Value::Array(parts) = self.redis(&["GRAPH.RO_QUERY", graph, text]).await else { panic!("{text}") };
                standing.insert(format!("{graph} {text}: {:?}", parts[1]));
            }
        }
        for key in [GraphKeys::of(&self.name).checkpoint(GraphRole::Live), GraphKeys::of(&self.name).checkpoint(GraphRole::Stage)]
        {
            standing.insert(format!("{key}: {:?}", self.redis(&["GET", &key]).await));
        }
        let quarantine = GraphKeys::of(&self.name).quarantine(GraphRole::Live);
        standing.insert(format!("{:?}", self.redis(&["SMEMBERS", &quarantine]).await));
        standing
    }

    /// One of the ways in which a graph is written.
    async fn write(&mut self, way: usize) -> Option<Result<()>> {
        let mut rows = PreparedRows::default();
        match way {
            0 => rows = batch(vec![nodes("Entity", &["Person"], &[("a", ",v:2")])], vec![]),
            1 => rows = batch(vec![nodes("Entity", &[], &[("c", "")])], vec![]),
            2 => rows = batch(vec![], vec![facts(&[("f", "a", "b", ",v:2"), ("g", "b", "a", "")])]),
            3 => rows.deleted_nodes = vec![node_identity("Entity", "a")],
            4 => rows.deleted_relationships = vec![fact_identity("f", "a", "b")],
            5 => return Some(self.sink.clear().await.map(drop)),
            6 => return Some(self.loader.convert_nodes(&self.profile.clone(), 0..1).await.map(drop)),
            7 => return Some(self.loader.begin().await.map(drop)),
            8 => return Some(self.store.store(&checkpoint(2)).await),
            9 => {
                let entry = Quarantined::new(KindName::Label("Entity"), "k", None, "a reason");
                return Some(self.store.update_quarantine(&[entry], &[]).await);
            }
            10 => return Some(self.sink.prepare().await.map(drop)),
            11 => {
                let index = self.profile.indexes.iter().find(|index| index.on == IndexTarget::Label(label("Saga")));
                let mut mirrored = index.cloned().unwrap();
                mirrored.on = IndexTarget::Label(label("MirroredIndexes"));
                return Some(self.sink.mirror(&[mirrored]).await.map(drop));
            }
            12 => return Some(neo4j_falkordb_sync::sink::Swap::drop_stage(&mut self.swap).await),
            13 => return Some(self.swap.swap(false).await.map(drop)),
            _ => return None,
        }
        Some(self.sink.apply(&rows).await.map(drop))
    }
}

fn checkpoint(sequence: u64) -> Checkpoint {
    let source = SourceIdentity { id: "test".to_owned(), name: "neo4j".to_owned() };
    let mut checkpoint = Checkpoint::new(Profile::graphiti().unwrap().fingerprint(), source);
    checkpoint.sequence = sequence;
    checkpoint
}

/// Whether the connection has watched the fence since before the successor, or looks at it only now.
#[tokio::test]
async fn no_way_of_writing_is_open_to_an_earlier_owner() {
    for way in 0.. {
        let mut owned = Owned::new().await;
        // An index that is missing, for the ways that make one.
        let graph = owned.name.as_str().to_owned();
        owned.redis(&["GRAPH.QUERY", &graph, "DROP INDEX FOR (n:Saga) ON (n.name)"]).await;
        owned.redis(&["GRAPH.QUERY", &graph, "DROP INDEX FOR (n:Community) ON (n.uuid)"]).await;
        owned.is_succeeded().await;
        let before = owned.standing().await;
        let Some(outcome) = owned.write(way).await else { break };
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::LeaseLost, "way {way}");
        assert_eq!(owned.standing().await, before, "way {way}");
    }
}

/// The same ways are open to the owner, or the test above would prove nothing.
#[tokio::test]
async fn every_way_of_writing_is_open_to_the_owner() {
    for way in 0..13 {
        let mut owned = Owned::new().await;
        let graph = owned.name.as_str().to_owned();
        owned.redis(&["GRAPH.QUERY", &graph, "DROP INDEX FOR (n:Saga) ON (n.name)"]).await;
        owned.redis(&["GRAPH.QUERY", &graph, "DROP INDEX FOR (n:Community) ON (n.uuid)"]).await;
        owned.write(way).await.unwrap().unwrap_or_else(|error| panic!("way {way}: {}", error.chain()));
    }
}

/// A lease that ran out without a successor: nobody else has written, so its last owner does no harm.
#[tokio::test]
async fn a_lease_that_ran_out_fences_nobody_until_somebody_takes_it() {
    let mut owned = Owned::new().await;
    let key = GraphKeys::of(&owned.name).owner();
    owned.redis(&["DEL", &key]).await;
    owned.write(0).await.unwrap().unwrap();
    owned.is_succeeded().await;
    assert_eq!(owned.write(0).await.unwrap().unwrap_err().kind(), ErrorKind::LeaseLost);
}

/// Bytes that this very process has given up arrive behind newer ones of the connection that it made since.
#[tokio::test]
async fn bytes_given_up_do_not_arrive_behind_newer_ones() {
    let mut owned = Owned::new().await;
    let (graph, fence) = (owned.name.as_str().to_owned(), GraphKeys::of(&owned.name).fence());
    let mut pipeline = redis::Pipeline::new();
    pipeline.add_command(cmd("MULTI"));
    pipeline.add_command(cmd("GRAPH.QUERY").arg(&graph).arg("MATCH (n {uuid: 'a'}) SET n.v = 'late'").to_owned());
    pipeline.add_command(cmd("EXEC"));
    let mut late = CacheConnection::new(server().await);
    late.command("test", cmd("WATCH").arg(&fence), EVENT).await.unwrap();
    let mut newer = sink(server().await, &owned.ownership);
    newer.apply(&batch(vec![nodes("Entity", &[], &[("a", ",v:3")])], vec![])).await.unwrap();
    let answers = late.pipeline("test", &pipeline, EVENT).await.unwrap();
    assert!(matches!(answers.last(), Some(Ok(Value::Nil))), "{answers:?}");
    // The older connection that still lives goes on.
    owned.write(2).await.unwrap().unwrap();
}

/// The graphs of groups are behind the fence of their pipeline.
#[tokio::test]
async fn no_groups_graph_is_open_to_an_earlier_owner() {
    let control = GraphName::new(fresh_name("fence-groups")).unwrap();
    let group = fresh_name("fence-group");
    let ownership = owned(control.as_str()).await;
    let routes = Routes::new(GraphName::new("default_db").unwrap());
    let profile = Profile::graphiti().unwrap().with_a_graph_for_each_group(routes).unwrap();
    let safety = UnsafeIndexCheck::new(control.clone(), UnsafeIndexPolicy::Keep);
    let graphs = GraphSet::new(server().await, Arc::new(profile), ownership).with_safety(safety);
    let rows = |key: &str, group: &str| {
        let mut rows = batch(vec![nodes("Entity", &[], &[(key, "")])], vec![]);
        rows.nodes[0].group = Some(group.to_owned());
        rows
    };
    let mut sink = graphs.sink(GraphRole::Live);
    sink.prepare().await.unwrap();
    sink.apply(&rows("a", &group)).await.unwrap();
    let mut raw = CacheConnection::new(server().await);
    raw.command("test", cmd("DEL").arg(GraphKeys::of(&control).owner()), EVENT).await.unwrap();
    owned(control.as_str()).await;
    let deleted = PreparedRows { deleted_nodes: vec![node_identity("Entity", "a")], ..PreparedRows::default() };
    for written in [rows("a", &group), rows("b", &group), rows("c", &fresh_name("fence-group")), deleted] {
        assert_eq!(sink.apply(&written).await.unwrap_err().kind(), ErrorKind::LeaseLost);
    }
    assert_eq!(sink.clear().await.unwrap_err().kind(), ErrorKind::LeaseLost);
    let counts = sink.counts().await.unwrap();
    assert_eq!(counts.nodes, 1);
}

/// The ways in which indices and constraints are written that are not simply the profile's.
#[derive(Debug, Clone, Copy)]
enum Furnishing {
    /// An index is dropped because the server answers wrongly by it.
    DropUnsafe,
    /// What somebody has made on the live graph is made on the stage.
    CarryIndex,
    CarryConstraint,
    /// What somebody had made on a graph that was cleared is made again.
    MakeIndexAgain,
    MakeConstraintAgain,
}

const FURNISHINGS: [Furnishing; 5] = [
    Furnishing::DropUnsafe,
    Furnishing::CarryIndex,
    Furnishing::CarryConstraint,
    Furnishing::MakeIndexAgain,
    Furnishing::MakeConstraintAgain,
];

impl Owned {
    /// Just before such a write.
    async fn before(way: Furnishing) -> Self {
        let mut owned = Self::new().await;
        let graph = owned.name.as_str().to_owned();
        match way {
            Furnishing::DropUnsafe => {}
            Furnishing::CarryIndex | Furnishing::MakeIndexAgain => {
                owned.redis(&["GRAPH.QUERY", &graph, "CREATE INDEX FOR (n:Person) ON (n.age)"]).await;
            }
            Furnishing::CarryConstraint | Furnishing::MakeConstraintAgain => {
                let words = ["CREATE", &graph, "MANDATORY", "NODE", "Person", "PROPERTIES", "1", "uuid"];
                owned.redis(&[&["GRAPH.CONSTRAINT"], &words[..]].concat()).await;
            }
        }
        owned.furniture().await;
        if matches!(way, Furnishing::MakeIndexAgain | Furnishing::MakeConstraintAgain) {
            owned.sink.clear().await.unwrap();
            owned.sink.apply(&batch(vec![nodes("Entity", &["Person"], &[("a", "")])], vec![])).await.unwrap();
        }
        let safety = UnsafeIndexCheck::new(owned.name.clone(), UnsafeIndexPolicy::Drop);
        owned.sink = owned.sink.guarded(safety);
        owned
    }

    async fn furnish(&mut self, way: Furnishing) -> Result<()> {
        match way {
            Furnishing::CarryIndex | Furnishing::CarryConstraint => self.swap.carry_over(&self.profile).await.map(drop),
            _ => self.sink.prepare().await.map(drop),
        }
    }

    /// The indices and constraints of both graphs, once the server has done what it was told to do.
    async fn furniture(&mut self) -> String {
        let (live, stage) = (self.name.as_str().to_owned(), GraphKeys::of(&self.name).graph(GraphRole::Stage));
        let began = Instant::now();
        loop {
            let mut shown = String::new();
            for graph in [&live, &stage] {
                for text in [
                    "CALL db.indexes() YIELD label, types, status RETURN label, types, status ORDER BY label",
                    "CALL db.constraints() YIELD label, properties, status RETURN label, properties, status",
                ] {
                    let Value::Array(parts) = self.redis(&["GRAPH.RO_QUERY", graph, text]).await else { panic!("{text}") };
                    shown.push_str(&format!("{graph}: {:?}\n", parts[1]));
                }
            }
            if !shown.contains("UNDER CONSTRUCTION") {
                return shown;
            }
            assert!(began.elapsed() < EVENT, "{shown}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn indices_and_constraints_of_others_are_behind_the_fence_as_well() {
    for way in FURNISHINGS {
        let mut owned = Owned::before(way).await;
        owned.is_succeeded().await;
        let before = owned.furniture().await;
        assert_eq!(owned.furnish(way).await.unwrap_err().kind(), ErrorKind::LeaseLost, "{way:?}");
        assert_eq!(owned.furniture().await, before, "{way:?}");
        // The owner may do the same, or this would prove nothing.
        let mut owned = Owned::before(way).await;
        let before = owned.furniture().await;
        owned.furnish(way).await.unwrap_or_else(|error| panic!("{way:?}: {}", error.chain()));
        assert_ne!(owned.furniture().await, before, "{way:?}");
    }
}
