//! The bulk load, the conversion of vectors and the swap on a real FalkorDB.

use std::collections::BTreeMap;
use std::sync::Arc;

use neo4j_falkordb_sync::error::ErrorKind;
use neo4j_falkordb_sync::model::element::{
    ElementNumber, NodeIdentity, Properties, SourceEndpoint, SourceNode, SourceRelationship,
};
use neo4j_falkordb_sync::model::graph_name::GraphName;
use neo4j_falkordb_sync::model::id_map::IdMap;
use neo4j_falkordb_sync::model::key::Key;
use neo4j_falkordb_sync::model::kind::{NodeKindId, RelationshipKindId};
use neo4j_falkordb_sync::model::name::Label;
use neo4j_falkordb_sync::model::profile::Profile;
use neo4j_falkordb_sync::model::stage::StageTotals;
use neo4j_falkordb_sync::model::value::Value;
use neo4j_falkordb_sync::sink::{
    BulkLoader, CacheAddress, CacheConnection, Engine, EngineSigns, GraphKeys, GraphLease, GraphRole, GraphSet, GraphSwap,
    LEASE_TTL, Ownership, RedisLease, Sink, Swap, Swapped, missing_permissions, vectors,
};
use neo4j_falkordb_sync::transform::bulk::BulkBatch;
use neo4j_falkordb_sync::transform::{Encoder, VectorDimensions};
use redis::aio::MultiplexedConnection;

use super::sink::graphs;
use crate::support::deadline;
use crate::support::servers::shared;

/// The one place that knows where the server is.
async fn server() -> CacheAddress {
    let address = shared().await.falkordb.address();
    CacheAddress::plain(address.host, address.port)
}

/// Keeps a lease for as long as it lives, as a generation does: tests at the same time can outlast it.
struct Renewal(tokio::task::JoinHandle<()>);

impl Renewal {
    fn of(mut lease: RedisLease) -> Self {
        Self(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(LEASE_TTL / 3);
            loop {
                ticks.tick().await;
                if lease.renew().await.is_err_and(|error| error.kind() == ErrorKind::LeaseLost) {
                    return;
                }
            }
        }))
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The stage of one test's own graph, owned by it.
struct Stage {
    address: CacheAddress,
    name: GraphName,
    ownership: Ownership,
    lease: RedisLease,
    _renewal: Renewal,
    loader: BulkLoader,
    raw: MultiplexedConnection,
    profile: Arc<Profile>,
    ids: IdMap,
    totals: StageTotals,
}

impl Stage {
    async fn new(test: &str) -> Self {
        let address = server().await;
        let raw = shared().await.falkordb.connect().await.unwrap();
        let name = GraphName::new(format!("bulk_{test}_{}", std::process::id())).unwrap();
        let ownership = Ownership::claim(&name).unwrap();
        let mut lease = RedisLease::new(address.clone(), ownership.clone());
        lease.acquire().await.unwrap();
        let renewal = Renewal::of(RedisLease::new(address.clone(), ownership.clone()));
        let mut loader = graphs(address.clone(), &ownership).bulk_loader().unwrap();
        let totals = loader.begin().await.unwrap();
        assert_eq!(totals, StageTotals::default());
        let profile = Arc::new(Profile::graphiti().unwrap());
        Self { address, name, ownership, lease, _renewal: renewal, loader, raw, profile, ids: IdMap::default(), totals }
    }

    fn transformer(&self) -> Encoder {
        Encoder::new(self.profile.clone(), VectorDimensions::default())
    }

    /// Loads all payloads, and keeps the ids of their nodes.
    async fn load(&mut self, batch: &BulkBatch) {
        for payload in &batch.payloads {
            self.lease.acquire().await.unwrap();
            let first = self.totals.nodes;
            self.totals = self.loader.load(payload, self.totals).await.unwrap();
            for (id, node) in (first..).zip(payload.nodes()) {
                assert_eq!(self.ids.insert(node, id), Ok(None));
            }
        }
    }

    /// All vectors, and how many there were.
    async fn convert(&mut self) -> u64 {
        let profile = self.profile.clone();
        let mut converted = self.loader.convert_nodes(&profile, 0..self.totals.nodes).await.unwrap();
        for kind in &profile.relationships {
            converted += self.loader.convert_relationships(kind, 0..self.totals.nodes).await.unwrap();
        }
        converted
    }

    async fn load_nodes(&mut self, kind: usize, rows: Vec<SourceNode>) -> BulkBatch {
        let batch = self.transformer().bulk_nodes(NodeKindId(kind), rows, |node| self.ids.get(node));
        self.load(&batch).await;
        batch
    }

    async fn load_relationships(&mut self, kind: usize, rows: Vec<SourceRelationship>) -> BulkBatch {
        let batch = self.transformer().bulk_relationships(RelationshipKindId(kind), rows, |node| self.ids.get(node));
        self.load(&batch).await;
        batch
    }

    async fn ask(&mut self, graph: &str, query: &str) -> String {
        let mut command = redis::cmd("GRAPH.RO_QUERY");
        command.arg(graph).arg(query);
        let reply: redis::Value = command.query_async(&mut self.raw).await.unwrap();
        let redis::Value::Array(mut parts) = reply else { panic!("{reply:?}") };
        format!("{:?}", parts.swap_remove(1))
    }

    async fn ask_stage(&mut self, query: &str) -> String {
        self.ask(&GraphKeys::of(&self.name).graph(GraphRole::Stage), query).await
    }

    async fn run(&mut self, words: &[&str]) -> redis::Value {
        redis::cmd(words[0]).arg(&words[1..]).query_async(&mut self.raw).await.unwrap()
    }

    fn graphs(&self) -> GraphSet {
        graphs(self.address.clone(), &self.ownership)
    }

    fn swap(&self) -> GraphSwap {
        self.graphs().swap()
    }

    async fn cleaned(mut self) {
        let keys = GraphKeys::of(&self.name);
        let keys = [
            keys.graph(GraphRole::Live),
            keys.graph(GraphRole::Stage),
            keys.graph(GraphRole::Previous),
            keys.checkpoint(GraphRole::Live),
            keys.checkpoint(GraphRole::Stage),
            keys.checkpoint(GraphRole::Previous),
            keys.owner(),
            keys.fence(),
            keys.pause(),
        ];
        redis::cmd("UNLINK").arg(&keys).query_async::<()>(&mut self.raw).await.unwrap();
    }
}

fn text(text: impl Into<String>) -> Value {
    Value::String(text.into())
}

fn node(number: u64, labels: &[&str], key: &str, properties: &[(&str, Value)]) -> SourceNode {
    SourceNode {
        number: ElementNumber(number),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        properties: with_key(key, properties),
    }
}

fn fact(key: &str, start: &str, end: &str, properties: &[(&str, Value)]) -> SourceRelationship {
    let endpoint = |key: &str| SourceEndpoint { labels: vec!["Entity".to_owned()], key: Some(text(key)), group: None };
    SourceRelationship {
        number: ElementNumber(0),
        start: endpoint(start),
        end: endpoint(end),
        properties: with_key(key, properties),
    }
}

fn with_key(key: &str, properties: &[(&str, Value)]) -> Properties {
    let own = properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    std::iter::once(("uuid".to_owned(), text(key))).chain(own).collect()
}

fn entities(count: u64, dimension: usize) -> Vec<SourceNode> {
    let vector =
        |number: u64| Value::Floats((0..dimension).map(|place| f64::from((number as usize + place) as f32) / 8.0).collect());
    (0..count).map(|number| node(number, &["Entity"], &format!("k{number}"), &[("name_embedding", vector(number))])).collect()
}

/// Every type of value, hard names, several label sets.
fn varied_nodes() -> Vec<SourceNode> {
    let values = [
        ("boolean", Value::Boolean(false)),
        ("integer", Value::Integer(i64::MIN)),
        ("float", Value::Float(0.1)),
        ("negative zero", Value::Float(-0.0)),
        ("infinite", Value::Float(f64::NEG_INFINITY)),
        ("nan", Value::Float(f64::NAN)),
        ("größe:`'".trim_end_matches(['`', '\'']), text("a\"b\\c\n\0🙂 שלום")),
        ("empty", text("")),
        ("empty list", Value::List(vec![])),
        ("list", Value::List(vec![text("x"), text("")])),
        ("floats", Value::Floats(vec![1.5, f64::NAN, f64::INFINITY])),
        ("bytes", Value::Bytes(vec![0, 1, 255])),
        ("at", Value::DateTime { epoch_seconds: 1_767_225_600, nanoseconds: 1_000 }),
        ("day", Value::Date { days: 1 }),
        ("name_embedding", Value::Floats(vec![0.1, 0.25, -3.0])),
    ];
    let sets: [&[&str]; 4] = [&["Entity"], &["Entity", "Person"], &["Person", "Entity", "größe x"], &["Entity", "Community"]];
    let mut nodes = Vec::new();
    for (number, labels) in sets.iter().cycle().take(40).enumerate() {
        let some: Vec<(&str, Value)> = values.iter().skip(number % 3).step_by(1 + number % 4).cloned().collect();
        nodes.push(node(number as u64, labels, &format!("n{number:02}"), &some));
    }
    nodes
}

#[tokio::test]
async fn what_is_loaded_in_bulk_is_what_an_upsert_writes() {
    let mut stage = Stage::new("equal").await;
    let live = stage.name.as_str().to_owned();
    let facts = || {
        (0..39).map(|n| {
            let vector = [("fact_embedding", Value::Floats(vec![0.5, 0.1])), ("w", Value::Float(f64::NAN))];
            fact(&format!("f{n:02}"), &format!("n{n:02}"), &format!("n{:02}", n * 7 % 40), &vector[..n % 3])
        })
    };
    stage.load_nodes(0, varied_nodes()).await;
    stage.load_relationships(0, facts().collect()).await;
    let converted = stage.convert().await;
    assert!(converted > 20, "{converted}");

    let mut sink = stage.graphs().sink(GraphRole::Live);
    sink.prepare().await.unwrap();
    sink.apply(&stage.transformer().nodes(NodeKindId(0), varied_nodes())).await.unwrap();
    sink.apply(&stage.transformer().relationships(RelationshipKindId(0), facts().collect())).await.unwrap();
    for query in [
        "MATCH (n) UNWIND keys(n) AS k WITH n, k ORDER BY n.uuid, k RETURN n.uuid, k, typeOf(n[k]), n[k]",
        "MATCH (n) UNWIND labels(n) AS l WITH n, l ORDER BY n.uuid, l RETURN n.uuid, l",
        "MATCH (a)-[e]->(b) UNWIND keys(e) AS k WITH a, e, b, k ORDER BY e.uuid, k RETURN a.uuid, type(e), b.uuid, k, typeOf(e[k]), e[k]",
        "MATCH (n) WHERE n.nan <> n.nan RETURN count(n)",
    ] {
        // An upsert makes NaN by dividing, which sets its sign; no reader can tell.
        let (bulk, upserted) = (stage.ask_stage(query).await, stage.ask(&live, query).await.replace("-nan", "nan"));
        for (bulk, upserted) in bulk.split("array(").zip(upserted.split("array(")) {
            assert_eq!(bulk, upserted, "{query}");
        }
        assert_eq!(bulk.len(), upserted.len(), "{query}");
        assert!(bulk.len() > 10, "{bulk}");
    }
    stage.cleaned().await;
}

#[tokio::test]
async fn ids_are_counted_and_can_be_read_back() {
    let mut stage = Stage::new("ids").await;
    stage.load_nodes(0, varied_nodes()).await;
    stage.load_nodes(0, entities(12_000, 1)).await;
    stage.load_nodes(1, vec![node(1, &["Episodic"], "k1", &[]), node(2, &["Episodic", "x"], "n00", &[])]).await;
    let read = stage.loader.rebuild_ids(&stage.profile.clone()).await.unwrap();
    assert_eq!((read.len(), stage.ids.len()), (12_042, 12_042));
    for (label, key) in [("Entity", "n00"), ("Entity", "n39"), ("Entity", "k0"), ("Entity", "k11999"), ("Episodic", "k1")] {
        let identity = NodeIdentity { label: Label::parse(label).unwrap(), key: Key::parse(key).unwrap() };
        assert_eq!(read.get(&identity), stage.ids.get(&identity), "{identity}");
        assert!(read.get(&identity).is_some());
    }
    let again = stage.load_nodes(0, entities(3, 1)).await;
    assert_eq!(again.payloads.len(), 0, "nodes that were loaded before are left out");
    stage.cleaned().await;
}

#[tokio::test]
async fn labels_with_a_colon_go_by_parameters_and_get_their_ids() {
    let mut stage = Stage::new("colon").await;
    let batch = stage.load_nodes(0, vec![node(1, &["Entity", "a:b"], "c", &[]), node(2, &["Entity"], "d", &[])]).await;
    let mut sink = stage.graphs().sink(GraphRole::Stage);
    assert_eq!(sink.apply(&batch.by_parameters).await.unwrap().nodes_written, 1);
    let totals = stage.loader.totals().await.unwrap();
    assert_eq!(stage.loader.read_ids(&stage.profile.clone(), stage.totals.nodes..totals.nodes, &mut stage.ids).await.unwrap(), 1);
    stage.totals = totals;
    let batch = stage.load_relationships(0, vec![fact("f", "c", "d", &[]), fact("g", "c", "absent", &[])]).await;
    assert_eq!(batch.absent_endpoints.len(), 1);
    let found = stage.ask_stage("MATCH (a:`a:b`)-[e:RELATES_TO]->(b) RETURN a.uuid + e.uuid + b.uuid").await;
    assert!(found.contains("cfd"), "{found}");
    stage.cleaned().await;
}

#[tokio::test]
async fn a_payload_is_applied_once_and_only_to_its_own_stage() {
    let mut stage = Stage::new("once").await;
    let batch = stage.transformer().bulk_nodes(NodeKindId(0), entities(5, 1), |_| None);
    let payload = &batch.payloads[0];
    let before = StageTotals::default();
    let after = stage.loader.load(payload, before).await.unwrap();
    assert_eq!(stage.loader.totals().await.unwrap(), after);
    let error = stage.loader.load(payload, before).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CacheProtocol, "{error}");
    assert_eq!(stage.loader.totals().await.unwrap(), after);

    stage.run(&["UNLINK", &GraphKeys::of(&stage.name).graph(GraphRole::Stage)]).await;
    assert_eq!(stage.loader.load(payload, after).await.unwrap_err().kind(), ErrorKind::CacheProtocol);
    let exists = stage.run(&["EXISTS", &GraphKeys::of(&stage.name).graph(GraphRole::Stage)]).await;
    assert_eq!(exists, redis::Value::Int(0));

    assert_eq!(stage.loader.begin().await.unwrap(), before);
    stage.run(&["SET", &GraphKeys::of(&stage.name).fence(), "another:1"]).await;
    assert_eq!(stage.loader.load(payload, before).await.unwrap_err().kind(), ErrorKind::LeaseLost);
    assert_eq!(stage.loader.begin().await.unwrap_err().kind(), ErrorKind::LeaseLost);
    assert_eq!(stage.loader.totals().await.unwrap(), before);
    stage.cleaned().await;
}

/// What the guard of a payload rests on: a transaction that watches a graph is refused after GRAPH.BULK, and not after a read.
#[tokio::test]
async fn a_watch_sees_a_bulk_load_and_no_read() {
    let mut stage = Stage::new("watch").await;
    let key = GraphKeys::of(&stage.name).graph(GraphRole::Stage);
    let mut watcher = CacheConnection::new(stage.address.clone());
    let limit = deadline::QUERY;
    let mut guarded = async |stage: &mut Stage, load: bool| {
        watcher.command("watch", redis::cmd("WATCH").arg(&key), limit).await.unwrap();
        if load {
            let batch = stage.transformer().bulk_nodes(NodeKindId(0), entities(1, 1), |_| None);
            stage.load(&batch).await;
        } else {
            stage.ask_stage("MATCH (n) RETURN count(n)").await;
        }
        watcher.command("begin", &redis::cmd("MULTI"), limit).await.unwrap();
        watcher.command("queue", redis::cmd("EXISTS").arg(&key), limit).await.unwrap();
        watcher.command("carry out", &redis::cmd("EXEC"), limit).await.unwrap() != redis::Value::Nil
    };
    assert!(guarded(&mut stage, false).await);
    assert!(!guarded(&mut stage, true).await);
    stage.cleaned().await;
}

#[tokio::test]
async fn vectors_are_converted_by_seeks_whatever_hub_there_is() {
    let mut stage = Stage::new("vectors").await;
    let spokes = 2 * vectors::CONVERTED_AT_ONCE + 500;
    stage.load_nodes(0, entities(spokes, 4)).await;
    let hub = (0..spokes)
        .map(|n| fact(&format!("f{n}"), "k3", &format!("k{n}"), &[("fact_embedding", Value::Floats(vec![0.1, n as f64]))]));
    stage.load_relationships(0, hub.collect()).await;
    let mut statements = vectors::node_statements(&stage.profile);
    statements.extend(stage.profile.relationships.iter().flat_map(vectors::relationship_statements));
    for statement in statements {
        let plan = stage
            .run(&[
                "GRAPH.EXPLAIN",
                &GraphKeys::of(&stage.name).graph(GraphRole::Stage),
                &vectors::with_range(&(0..10), &statement),
            ])
            .await;
        let plan = format!("{plan:?}");
        assert!(plan.contains("Node By Label and ID Scan") || plan.contains("NodeByIdSeek"), "{statement}: {plan}");
    }
    assert_eq!(stage.convert().await, 2 * spokes);
    assert_eq!(stage.convert().await, 0);
    let lists = stage.ask_stage("MATCH (n) WHERE typeOf(n.name_embedding) = 'List' RETURN count(n)").await;
    assert!(lists.contains("int(0)"), "{lists}");
    let exact =
        stage.ask_stage("MATCH ()-[e {uuid: 'f7'}]->() RETURN vec.euclideanDistance(e.fact_embedding, vecf32([0.1, 7.0]))").await;
    assert!(exact.contains("(0)") || exact.contains("\"0\""), "{exact}");
    stage.cleaned().await;
}

#[tokio::test]
async fn a_swap_moves_graph_checkpoint_and_indices_and_can_be_undone() {
    let mut stage = Stage::new("swap").await;
    let (name, live) = (stage.name.clone(), stage.name.as_str().to_owned());
    let mut swap = stage.swap();
    let count = "MATCH (n) RETURN count(n)";

    // The first one: nothing is live.
    stage.load_nodes(0, entities(3, 1)).await;
    assert_eq!(swap.swap(true).await.unwrap_err().kind(), ErrorKind::CacheProtocol, "a stage without its checkpoint");
    stage.run(&["SET", &GraphKeys::of(&name).checkpoint(GraphRole::Stage), "first"]).await;
    assert_eq!(swap.swap(true).await.unwrap(), Swapped::Done);
    assert_eq!(swap.swap(true).await.unwrap(), Swapped::NothingStaged);
    assert_eq!(swap.rollback("").await.unwrap_err().kind(), ErrorKind::Configuration, "nothing was replaced");
    assert!(stage.ask(&live, count).await.contains("int(3)"));

    // The second one keeps the first, and brings its indices.
    stage.lease.acquire().await.unwrap();
    (stage.totals, stage.ids) = (stage.loader.begin().await.unwrap(), IdMap::default());
    stage.load_nodes(0, entities(7, 1)).await;
    let mut sink = stage.graphs().sink(GraphRole::Stage);
    sink.prepare().await.unwrap();
    stage.run(&["SET", &GraphKeys::of(&name).checkpoint(GraphRole::Stage), "second"]).await;
    stage.lease.acquire().await.unwrap();
    assert_eq!(swap.swap(true).await.unwrap(), Swapped::Done);
    assert!(stage.ask(&live, count).await.contains("int(7)"));
    assert!(stage.ask(&GraphKeys::of(&name).graph(GraphRole::Previous), count).await.contains("int(3)"));
    assert_eq!(
        stage.run(&["GET", &GraphKeys::of(&name).checkpoint(GraphRole::Live)]).await,
        redis::Value::BulkString(b"second".to_vec())
    );
    let plan = format!("{:?}", stage.run(&["GRAPH.EXPLAIN", &live, "MATCH (n:Entity {uuid: 'k1'}) RETURN n"]).await);
    assert!(plan.contains("Index Scan"), "{plan}");

    swap.rollback("rolled back").await.unwrap();
    assert!(stage.ask(&live, count).await.contains("int(3)"));
    assert_eq!(
        stage.run(&["GET", &GraphKeys::of(&name).checkpoint(GraphRole::Live)]).await,
        redis::Value::BulkString(b"first".to_vec())
    );
    assert_eq!(stage.run(&["GET", &GraphKeys::of(&name).pause()]).await, redis::Value::BulkString(b"rolled back".to_vec()));
    swap.rollback("and forth").await.unwrap();
    assert!(stage.ask(&live, count).await.contains("int(7)"));

    // The third one keeps nothing.
    stage.lease.acquire().await.unwrap();
    (stage.totals, stage.ids) = (stage.loader.begin().await.unwrap(), IdMap::default());
    stage.run(&["SET", &GraphKeys::of(&name).checkpoint(GraphRole::Stage), "third"]).await;
    assert_eq!(swap.swap(false).await.unwrap(), Swapped::Done);
    assert_eq!(
        stage
            .run(&[
                "EXISTS",
                &GraphKeys::of(&name).graph(GraphRole::Previous),
                &GraphKeys::of(&name).checkpoint(GraphRole::Previous)
            ])
            .await,
        redis::Value::Int(0)
    );
    stage.cleaned().await;
}

#[tokio::test]
async fn a_swap_needs_the_lease_and_never_replaces_another_kind_of_key() {
    let mut stage = Stage::new("refused").await;
    let live = stage.name.as_str().to_owned();
    stage.run(&["SET", &GraphKeys::of(&stage.name).checkpoint(GraphRole::Stage), "c"]).await;
    stage.run(&["SET", &live, "somebody's text"]).await;
    let mut swap = stage.swap();
    assert_eq!(swap.swap(false).await.unwrap_err().kind(), ErrorKind::CacheWrongType);
    stage.run(&["DEL", &live]).await;
    stage.run(&["SET", &GraphKeys::of(&stage.name).fence(), "another:1"]).await;
    assert_eq!(swap.swap(false).await.unwrap_err().kind(), ErrorKind::LeaseLost);
    assert_eq!(stage.run(&["EXISTS", &live]).await, redis::Value::Int(0));
    stage.cleaned().await;
}

#[tokio::test]
async fn missing_permissions_are_named_before_anything_is_done() {
    let mut stage = Stage::new("permissions").await;
    let user = format!("limited_{}", std::process::id());
    stage.run(&["ACL", "SETUSER", &user, "on", ">secret", "~*", "+@all", "-graph.bulk", "-rename"]).await;
    let limited = CacheAddress {
        username: Some(user.clone()),
        password: Some(neo4j_falkordb_sync::config::Secret::new("secret")),
        ..stage.address.clone()
    };
    let keys = stage.run(&["DBSIZE"]).await;
    let missing = missing_permissions(&mut CacheConnection::new(limited), &stage.name).await.unwrap();
    assert_eq!(missing, ["GRAPH.BULK", "RENAME"]);
    let none = missing_permissions(&mut CacheConnection::new(stage.address.clone()), &stage.name).await.unwrap();
    assert!(none.is_empty() && matches!(keys, redis::Value::Int(_)));
    let left = format!("{:?}", stage.run(&["KEYS", &format!("{{{}}}:trial*", stage.name)]).await);
    assert_eq!(left, "array([])");
    stage.run(&["ACL", "DELUSER", &user]).await;
    stage.cleaned().await;
}

#[tokio::test]
async fn the_engine_of_the_tests_may_rename() {
    let signs = EngineSigns::of(&mut CacheConnection::new(server().await)).await.unwrap();
    assert_eq!(signs.engine(), Engine::C, "{signs:?}");
    assert!(signs.engine().require_safe_rename().is_ok());
}

/// Not a test: prints what the README says about speed. `cargo test --release -- --ignored --nocapture how_fast`.
#[tokio::test]
#[ignore = "a measurement"]
async fn how_fast_the_loader_is() {
    const NODES: u64 = 20_000;
    let mut stage = Stage::new("speed").await;
    let transformer = stage.transformer();
    let mut timed = BTreeMap::new();
    let begun = std::time::Instant::now();
    let batches: Vec<BulkBatch> =
        entities(NODES, 256).chunks(1000).map(|rows| transformer.bulk_nodes(NodeKindId(0), rows.to_vec(), |_| None)).collect();
    timed.insert("1 encode in bulk", begun.elapsed());
    let begun = std::time::Instant::now();
    for batch in &batches {
        stage.load(batch).await;
    }
    timed.insert("2 load in bulk", begun.elapsed());
    let begun = std::time::Instant::now();
    stage.convert().await;
    timed.insert("3 convert vectors", begun.elapsed());
    let begun = std::time::Instant::now();
    stage.lease.acquire().await.unwrap();
    stage.loader.rebuild_ids(&stage.profile.clone()).await.unwrap();
    timed.insert("4 read the ids back", begun.elapsed());
    let mut sink = stage.graphs().sink(GraphRole::Stage);
    let begun = std::time::Instant::now();
    sink.prepare().await.unwrap();
    timed.insert("5 build indices", begun.elapsed());
    let mut live = stage.graphs().sink(GraphRole::Live);
    live.prepare().await.unwrap();
    let prepared: Vec<_> =
        entities(NODES, 256).chunks(1000).map(|rows| transformer.nodes(NodeKindId(0), rows.to_vec())).collect();
    let begun = std::time::Instant::now();
    for rows in &prepared {
        live.apply(rows).await.unwrap();
    }
    timed.insert("6 upsert by parameters", begun.elapsed());
    for (step, took) in timed {
        println!("{step}: {:.3} s, {:.0} nodes/s", took.as_secs_f64(), NODES as f64 / took.as_secs_f64());
    }
    stage.cleaned().await;
}
