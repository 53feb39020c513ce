//! The sink on a real FalkorDB.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use neo4j_falkordb_sync::config::Secret;
use neo4j_falkordb_sync::error::ErrorKind;
use neo4j_falkordb_sync::model::checkpoint::Checkpoint;
use neo4j_falkordb_sync::model::element::{NodeIdentity, RelationshipIdentity};
use neo4j_falkordb_sync::model::graph_name::GraphName;
use neo4j_falkordb_sync::model::key::Key;
use neo4j_falkordb_sync::model::kind::KindName;
use neo4j_falkordb_sync::model::name::{Label, PropertyName, RelationshipType};
use neo4j_falkordb_sync::model::prepared::{EndpointKind, NodeWriteSet, PreparedRows, RelationshipWriteSet};
use neo4j_falkordb_sync::model::profile::Profile;
use neo4j_falkordb_sync::model::quarantined::Quarantined;
use neo4j_falkordb_sync::model::source_identity::SourceIdentity;
use neo4j_falkordb_sync::sink::statements::{self, NodePattern, RelationshipPattern};
use neo4j_falkordb_sync::sink::{
    CacheAddress, CacheConnection, CacheServer, CheckpointStore, FalkorSink, GraphLease, GraphRole, GraphSet, GraphState,
    LEASE_TTL, Ownership, RedisLease, Sink,
};
use redis::{Value, cmd};

use crate::support::deadline::EVENT;
use crate::support::servers::shared;

/// The server under test, and nothing else about it.
pub(crate) async fn server() -> CacheAddress {
    let address = shared().await.falkordb.address();
    CacheAddress::plain(address.host, address.port)
}

pub(crate) fn fresh_name(purpose: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("sink-{purpose}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A graph of a test's own, and a second connection that looks at it from outside.
struct Cache {
    sink: FalkorSink,
    outside: CacheConnection,
    graph: String,
    ownership: Ownership,
}

/// A claim on a graph that is owned: the fence outlasts the lease, as long as nobody else takes it.
pub(crate) async fn owned(graph: &str) -> Ownership {
    let claim = Ownership::claim(&GraphName::new(graph).unwrap()).unwrap();
    RedisLease::new(server().await, claim.clone()).acquire().await.unwrap();
    claim
}

/// The graph of this owner as graphiti fills it.
pub(crate) fn graphs(address: CacheAddress, ownership: &Ownership) -> GraphSet {
    GraphSet::new(address, Arc::new(Profile::graphiti().unwrap()), ownership.clone())
}

pub(crate) fn sink(address: CacheAddress, ownership: &Ownership) -> FalkorSink {
    graphs(address, ownership).sink(GraphRole::Live)
}

impl Cache {
    async fn new(purpose: &str) -> Self {
        let graph = fresh_name(purpose);
        let ownership = owned(&graph).await;
        let sink = sink(server().await, &ownership);
        Self { sink, outside: CacheConnection::new(server().await), graph, ownership }
    }

    async fn prepared(purpose: &str) -> Self {
        let mut cache = Self::new(purpose).await;
        cache.sink.prepare().await.unwrap();
        cache
    }

    async fn redis(&mut self, parts: &[&str]) -> Value {
        let mut command = cmd(parts[0]);
        for part in &parts[1..] {
            command.arg(*part);
        }
        self.outside.command("test", &command, EVENT).await.unwrap()
    }

    async fn query(&mut self, text: &str) -> Vec<Vec<String>> {
        let graph = self.graph.clone();
        rows(self.redis(&["GRAPH.QUERY", &graph, text]).await)
    }

    /// The plan of a statement that takes `$rows` or `$keys`.
    async fn plan(&mut self, statement: &str) -> String {
        let graph = self.graph.clone();
        let text = format!("CYPHER rows=[{{i:0,k:'a',s:'b',e:'c',p:{{}},v0:[1.0]}}] keys=['a'] {statement}");
        let Value::Array(lines) = self.redis(&["GRAPH.EXPLAIN", &graph, &text]).await else { panic!("no plan of {statement}") };
        lines.iter().map(shown).collect::<Vec<_>>().join("\n")
    }
}

fn rows(reply: Value) -> Vec<Vec<String>> {
    let Value::Array(mut parts) = reply else { panic!("{reply:?}") };
    if parts.len() < 3 {
        return Vec::new();
    }
    let Value::Array(rows) = parts.swap_remove(1) else { panic!("{parts:?}") };
    let cells = |row: &Value| match row {
        Value::Array(cells) => cells.iter().map(shown).collect(),
        other => panic!("{other:?}"),
    };
    rows.iter().map(cells).collect()
}

pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        Value::Nil => "null".to_owned(),
        other => format!("{other:?}"),
    }
}

pub(crate) fn label(name: &str) -> Label {
    Label::parse(name).unwrap()
}

pub(crate) fn property(name: &str) -> PropertyName {
    PropertyName::parse(name).unwrap()
}

pub(crate) fn node_identity(of: &str, key: &str) -> NodeIdentity {
    NodeIdentity { label: label(of), key: Key::parse(key).unwrap() }
}

pub(crate) fn fact_identity(key: &str, start: &str, end: &str) -> RelationshipIdentity {
    RelationshipIdentity {
        rel_type: RelationshipType::parse("RELATES_TO").unwrap(),
        key: Key::parse(key).unwrap(),
        start: node_identity("Entity", start),
        end: node_identity("Entity", end),
    }
}

/// Nodes of a kind; `properties` is the text of what they hold besides the key.
pub(crate) fn nodes(of: &str, extra: &[&str], keys: &[(&str, &str)]) -> NodeWriteSet {
    let mut group = NodeWriteSet {
        group: None,
        label: label(of),
        key: property("uuid"),
        extra_labels: extra.iter().map(|name| label(name)).collect(),
        vectors: vec![],
        not_a_number: vec![],
        rows: Default::default(),
    };
    for (key, properties) in keys {
        let text = format!("{{k:\"{key}\",p:{{uuid:\"{key}\"{properties}}}}}");
        group.rows.push(Key::parse(key).unwrap(), |row| row.extend_from_slice(text.as_bytes()));
    }
    group
}

/// Facts between entities: key, start, end, and the text of what they hold besides the key.
pub(crate) fn facts(rows: &[(&str, &str, &str, &str)]) -> RelationshipWriteSet {
    let entity = EndpointKind { label: label("Entity"), key: property("uuid") };
    let mut group = RelationshipWriteSet {
        group: None,
        rel_type: RelationshipType::parse("RELATES_TO").unwrap(),
        key: property("uuid"),
        start: entity.clone(),
        end: entity,
        vectors: vec![],
        not_a_number: vec![],
        rows: Default::default(),
    };
    for (key, start, end, properties) in rows {
        let text = format!("{{k:\"{key}\",s:\"{start}\",e:\"{end}\",p:{{uuid:\"{key}\"{properties}}}}}");
        group.rows.push(fact_identity(key, start, end), |row| row.extend_from_slice(text.as_bytes()));
    }
    group
}

pub(crate) fn batch(nodes: Vec<NodeWriteSet>, relationships: Vec<RelationshipWriteSet>) -> PreparedRows {
    PreparedRows { nodes, relationships, ..PreparedRows::default() }
}

#[tokio::test]
async fn the_server_says_who_it_is() {
    let mut cache = Cache::new("identify").await;
    let server = cache.sink.identify().await.unwrap();
    assert!(server.module_version.is_some_and(|version| version >= 41_600), "{server:?}");
    assert_eq!(server.run_id.map(|id| id.len()), Some(40));
}

#[tokio::test]
async fn a_batch_is_written_replaced_and_deleted() {
    let mut cache = Cache::prepared("batch").await;
    let first = batch(
        vec![nodes("Entity", &["Person"], &[("a", ",name:'A',old:1"), ("b", "")]), nodes("Episodic", &[], &[("ep", "")])],
        vec![facts(&[("f", "a", "b", ",fact:'one',old:[]"), ("self", "a", "a", "")])],
    );
    for _ in 0..2 {
        let applied = cache.sink.apply(&first).await.unwrap();
        assert_eq!((applied.nodes_written, applied.relationships_written), (3, 2));
        assert_eq!((applied.absent_endpoints.len(), applied.refused.len(), applied.labels_removed), (0, 0, 0));
    }
    let second = batch(vec![nodes("Entity", &["Person"], &[("a", ",name:'B'")])], vec![facts(&[("f", "a", "b", ",fact:'two'")])]);
    cache.sink.apply(&second).await.unwrap();
    let node = cache.query("MATCH (n {uuid:'a'}) RETURN n.name, n.old, labels(n)").await;
    assert_eq!(node, [["B", "null", "[Entity, Person]"]]);
    let fact = cache.query("MATCH ()-[e {uuid:'f'}]->() RETURN e.fact, e.old").await;
    assert_eq!(fact, [["two", "null"]]);

    let gone = PreparedRows {
        deleted_nodes: vec![node_identity("Entity", "b"), node_identity("Entity", "never")],
        deleted_relationships: vec![fact_identity("self", "a", "a"), fact_identity("f", "a", "other")],
        ..PreparedRows::default()
    };
    let applied = cache.sink.apply(&gone).await.unwrap();
    assert_eq!((applied.nodes_deleted, applied.relationships_deleted), (1, 2));
    let counts = cache.sink.counts().await.unwrap();
    assert_eq!((counts.nodes, counts.relationships, counts.kinds), (2, 0, vec![1, 1, 0, 0]));
}

#[tokio::test]
async fn vectors_and_nan_are_written() {
    let mut cache = Cache::prepared("vectors").await;
    let mut group = nodes("Entity", &[], &[]);
    group.vectors = vec![property("name_embedding")];
    group.not_a_number = vec![property("score"), property("scores")];
    let text = b"{k:'a',p:{uuid:'a'},v0:[0.5,0.25],f0:null,f1:[1.0,null]}";
    group.rows.push(Key::parse("a").unwrap(), |row| row.extend_from_slice(text));
    let mut fact = facts(&[]);
    fact.vectors = vec![property("fact_embedding")];
    fact.not_a_number = vec![property("score")];
    let text = b"{k:'f',s:'a',e:'a',p:{uuid:'f'},v0:[1.0,2.0],f0:null}";
    fact.rows.push(fact_identity("f", "a", "a"), |row| row.extend_from_slice(text));
    for _ in 0..2 {
        cache.sink.apply(&batch(vec![group.clone()], vec![fact.clone()])).await.unwrap();
        let node =
            "MATCH (n:Entity) RETURN typeof(n.name_embedding), n.score = n.score, size(n.scores), n.scores[1] = n.scores[1]";
        assert_eq!(cache.query(node).await, [["Vectorf32", "false", "2", "false"]]);
        let fact = "MATCH ()-[e]->() RETURN typeof(e.fact_embedding), e.fact_embedding, e.score = e.score";
        assert_eq!(cache.query(fact).await, [["Vectorf32", "<1.000000, 2.000000>", "false"]]);
    }
}

#[tokio::test]
async fn a_label_that_the_source_took_off_goes() {
    let mut cache = Cache::prepared("labels").await;
    let promoted = nodes("Entity", &["Big Co", "Person"], &[("a", ""), ("b", "")]);
    cache.sink.apply(&batch(vec![promoted], vec![])).await.unwrap();
    let demoted = batch(vec![nodes("Entity", &["Person"], &[("a", "")]), nodes("Entity", &[], &[("b", "")])], vec![]);
    let applied = cache.sink.apply(&demoted).await.unwrap();
    assert_eq!(applied.labels_removed, 3);
    let found = cache.query("MATCH (n:Entity) RETURN n.uuid, labels(n) ORDER BY n.uuid").await;
    assert_eq!(found, [["a", "[Entity, Person]"], ["b", "[Entity]"]]);
    assert_eq!(cache.sink.apply(&demoted).await.unwrap().labels_removed, 0);
    // The label's own index must have let go of the nodes, too.
    assert_eq!(cache.sink.counts().await.unwrap().labels["Big Co"], 0);
}

#[tokio::test]
async fn identity_and_kind_are_exact() {
    let mut cache = Cache::prepared("identity").await;
    // Of kind Entity, because that comes first in the profile, and with the key of an episode.
    let both = batch(
        vec![nodes("Entity", &["Episodic"], &[("u", ",is:'entity'")]), nodes("Episodic", &[], &[("u", ",is:'episode'")])],
        vec![],
    );
    cache.sink.apply(&both).await.unwrap();
    let found = cache.query("MATCH (n) RETURN n.is, labels(n) ORDER BY n.is").await;
    assert_eq!(found, [["entity", "[Entity, Episodic]"], ["episode", "[Episodic]"]]);
    assert_eq!(cache.sink.counts().await.unwrap().kinds, [1, 1, 0, 0]);
    let gone = PreparedRows { deleted_nodes: vec![node_identity("Episodic", "u")], ..PreparedRows::default() };
    cache.sink.apply(&gone).await.unwrap();
    assert_eq!(cache.query("MATCH (n) RETURN n.is").await, [["entity"]]);
    // It stops being an entity: deleted under the old identity, written under the new one, in one batch.
    let mut changed = batch(vec![nodes("Episodic", &[], &[("u", ",is:'episode'")])], vec![]);
    changed.deleted_nodes = vec![node_identity("Entity", "u")];
    cache.sink.apply(&changed).await.unwrap();
    assert_eq!(cache.query("MATCH (n) RETURN n.is, labels(n)").await, [["episode", "[Episodic]"]]);
}

#[tokio::test]
async fn relationships_without_an_endpoint_are_reported() {
    let mut cache = Cache::prepared("absent").await;
    let rows = batch(
        vec![nodes("Entity", &[], &[("a", ""), ("b", "")]), nodes("Episodic", &[], &[("x", "")])],
        vec![facts(&[("1", "a", "b", ""), ("2", "a", "x", ""), ("3", "y", "b", ""), ("4", "b", "a", "")])],
    );
    let applied = cache.sink.apply(&rows).await.unwrap();
    assert_eq!(applied.relationships_written, 2);
    assert_eq!(applied.absent_endpoints, [fact_identity("2", "a", "x"), fact_identity("3", "y", "b")]);
    assert_eq!(cache.query("MATCH ()-[e]->() RETURN e.uuid ORDER BY e.uuid").await, [["1"], ["4"]]);
}

/// Nobody should send an identity twice; it must not make two nodes of one.
#[tokio::test]
async fn an_identity_that_comes_twice_is_written_once() {
    let mut cache = Cache::prepared("twice").await;
    let rows = batch(
        vec![nodes("Entity", &[], &[("a", ",v:1"), ("b", ""), ("a", ",v:2")])],
        vec![facts(&[("f", "a", "b", ",v:1"), ("f", "a", "b", ",v:2"), ("f", "b", "a", "")])],
    );
    cache.sink.apply(&rows).await.unwrap();
    assert_eq!(cache.query("MATCH (n:Entity) RETURN n.uuid, n.v ORDER BY n.uuid").await, [["a", "2"], ["b", "null"]]);
    assert_eq!(cache.query("MATCH (n)-[e]->() RETURN n.uuid, e.v ORDER BY n.uuid").await, [["a", "2"], ["b", "null"]]);
}

#[tokio::test]
async fn refused_rows_stand_alone_and_the_rest_is_written() {
    let mut cache = Cache::prepared("refused").await;
    let keys: Vec<String> = (0..100).map(|n| format!("n{n}")).collect();
    let secret = ",m:['secret',{a:1}]";
    let rows: Vec<(&str, &str)> =
        keys.iter().enumerate().map(|(n, key)| (key.as_str(), if n % 41 == 7 { secret } else { ",ok:1" })).collect();
    let facts = facts(&[("f", "n0", "n1", ""), ("bad", "n0", "n1", secret), ("to-refused", "n0", "n7", "")]);
    let applied = cache.sink.apply(&batch(vec![nodes("Entity", &[], &rows)], vec![facts])).await.unwrap();
    let mut refused: Vec<&str> = applied.refused.iter().map(|q| q.key.as_str()).collect();
    refused.sort_unstable();
    assert_eq!(refused, ["bad", "n48", "n7", "n89"]);
    assert!(applied.refused.iter().all(|q| !q.reason.contains("secret") && q.reason.contains("primitive types")), "{applied:?}");
    assert_eq!((applied.nodes_written, applied.relationships_written), (97, 1));
    assert_eq!(applied.absent_endpoints, [fact_identity("to-refused", "n0", "n7")]);
    assert_eq!(cache.query("MATCH (n:Entity {ok:1}) RETURN count(n)").await, [["97"]]);
}

#[tokio::test]
async fn a_row_that_does_not_even_parse_is_refused_without_its_text() {
    let mut cache = Cache::prepared("unparsable").await;
    let group = nodes("Entity", &[], &[("a", ""), ("b", ",secret:}"), ("c", "")]);
    let applied = cache.sink.apply(&batch(vec![group], vec![])).await.unwrap();
    assert_eq!((applied.nodes_written, applied.refused.len()), (2, 1));
    assert!(applied.refused[0].reason.contains("cannot parse") && !applied.refused[0].reason.contains("secret"), "{applied:?}");
}

/// A user who may do all but some commands, and the sink as that user.
async fn restricted(cache: &mut Cache, user: &str, without: &[&str]) -> FalkorSink {
    let mut rule = vec!["ACL", "SETUSER", user, "reset", "on", ">pw", "~*", "+@all"];
    rule.extend_from_slice(without);
    cache.redis(&rule).await;
    let address = CacheAddress { username: Some(user.into()), password: Some(Secret::new("pw")), ..server().await };
    sink(address, &cache.ownership)
}

#[tokio::test]
async fn a_missing_permission_is_said_where_it_matters() {
    let mut cache = Cache::prepared("permission").await;
    let mut sink = restricted(&mut cache, "sink-few", &["-graph.query", "-module", "-info"]).await;
    // Version and run id are good to know; not to may not stop the service.
    assert_eq!(sink.identify().await.unwrap(), CacheServer::default());
    let error = sink.apply(&batch(vec![nodes("Entity", &[], &[("a", "")])], vec![])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CachePermission, "{}", error.chain());
    cache.redis(&["ACL", "DELUSER", "sink-few"]).await;
}

#[tokio::test]
async fn a_wrong_password_is_said() {
    let address = CacheAddress { username: Some("nobody".into()), password: Some(Secret::new("hunter2")), ..server().await };
    let claim = Ownership::claim(&GraphName::new("x").unwrap()).unwrap();
    let mut sink = self::sink(address, &claim);
    let error = sink.state().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CacheAuthentication, "{}", error.chain());
    assert!(!error.chain().contains("hunter2"));
}

#[tokio::test]
async fn a_large_batch_is_cut_into_requests() {
    let mut cache = Cache::prepared("large").await;
    let long = format!(",text:'{}'", "x".repeat(5_000_000));
    let keys: Vec<(&str, &str)> = ["a", "b", "c", "d"].map(|key| (key, long.as_str())).to_vec();
    let many: Vec<String> = (0..12_000).map(|n| format!("m{n}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|key| (key.as_str(), "")).collect();
    let rows = batch(vec![nodes("Entity", &[], &keys), nodes("Entity", &["Person"], &many)], vec![]);
    assert_eq!(cache.sink.apply(&rows).await.unwrap().nodes_written, 12_004);
    assert_eq!(cache.sink.counts().await.unwrap().labels["Person"], 12_000);
    assert_eq!(cache.query("MATCH (n:Entity) WHERE size(n.text) = 5000000 RETURN count(n)").await, [["4"]]);
}

/// A node with 50,000 relationships, and two nodes with 20,000 between them, cost no more a row than others do.
#[tokio::test]
async fn hubs_cost_no_more_than_other_nodes() {
    let mut cache = Cache::prepared("hub").await;
    cache.query("UNWIND range(0, 50000) AS i CREATE (:Entity {uuid: 'n' + tostring(i)})").await;
    cache.query("MATCH (h:Entity {uuid:'n0'}) UNWIND range(1, 50000) AS i MATCH (b:Entity {uuid:'n' + tostring(i)}) CREATE (h)-[:RELATES_TO {uuid:'e' + tostring(i)}]->(b)").await;
    cache.query("MATCH (a:Entity {uuid:'n1'}), (b:Entity {uuid:'n2'}) UNWIND range(1, 20000) AS i CREATE (a)-[:RELATES_TO {uuid:'p' + tostring(i)}]->(b)").await;
    cache.sink.prepare().await.unwrap();
    let keys: Vec<[String; 4]> = (1..=500)
        .flat_map(|n| {
            [
                [format!("o{n}"), format!("n{}", n + 10), format!("n{}", n + 11), String::new()],
                [format!("e{n}"), "n0".to_owned(), format!("n{n}"), String::new()],
                [format!("new{n}"), "n0".to_owned(), format!("n{n}"), String::new()],
                [format!("p{n}"), "n1".to_owned(), "n2".to_owned(), String::new()],
                [format!("q{n}"), "n1".to_owned(), "n2".to_owned(), String::new()],
            ]
        })
        .collect();
    let mut ordinary = None;
    for (kind, name) in
        ["ordinary", "at a hub, existing", "at a hub, new", "parallel, existing", "parallel, new"].iter().enumerate()
    {
        let rows: Vec<(&str, &str, &str, &str)> =
            keys.iter().skip(kind).step_by(5).map(|[k, s, e, p]| (k.as_str(), s.as_str(), e.as_str(), p.as_str())).collect();
        let begun = Instant::now();
        let applied = cache.sink.apply(&batch(vec![], vec![facts(&rows)])).await.unwrap();
        let spent = begun.elapsed();
        assert_eq!(applied.relationships_written, 500, "{name}");
        // A row that reads all relationships of its pair costs 5 ms, any other a tenth of one.
        let allowed = *ordinary.get_or_insert(spent) * 10 + Duration::from_millis(500);
        assert!(spent < allowed, "{name}: {spent:?} for 500 rows, {ordinary:?} for ordinary ones");
    }
}

#[tokio::test]
async fn no_statement_scans() {
    let mut cache = Cache::prepared("plans").await;
    let profile = Profile::graphiti().unwrap();
    let mut texts = Vec::new();
    let extra = [label("Person"), label("Big Co")];
    for kind in &profile.nodes {
        let pattern = NodePattern::of(&profile, &kind.label, &kind.key);
        let mut group = nodes(kind.label.as_str(), &["Person", "Big Co"], &[]);
        group.vectors = vec![property("name_embedding")];
        group.not_a_number = vec![property("score")];
        texts.push(statements::upsert_nodes(&pattern, &group));
        texts.push(statements::surplus_labels(&pattern, 1));
        texts.push(statements::absent_nodes(&pattern));
        texts.push(statements::delete_nodes(&pattern));
        texts.extend(extra.iter().map(|label| statements::remove_label(&pattern, label)));
    }
    for kind in &profile.relationships {
        for start in &profile.nodes {
            for end in &profile.nodes {
                let mut group = facts(&[]);
                group.rel_type = kind.rel_type.clone();
                group.start = EndpointKind { label: start.label.clone(), key: start.key.clone() };
                group.end = EndpointKind { label: end.label.clone(), key: end.key.clone() };
                group.vectors = vec![property("fact_embedding")];
                group.not_a_number = vec![property("score")];
                let pattern = RelationshipPattern::of(&profile, &group);
                texts.push(statements::upsert_relationships(&pattern, &group));
                texts.push(statements::absent_relationships(&pattern));
                texts.push(statements::delete_relationships(&pattern));
            }
        }
    }
    assert_eq!(texts.len(), 4 * 6 + 5 * 16 * 3);
    for text in texts {
        let plan = cache.plan(&text).await;
        let scans = ["All Node Scan", "Label Scan", "Conditional Traverse", "Expand Into"];
        assert!(scans.iter().all(|scan| !plan.contains(scan)) && plan.contains("By Index Scan"), "{text}\n{plan}");
    }
}

#[tokio::test]
async fn indices_are_made_once_and_foreign_ones_left_alone() {
    let mut cache = Cache::new("indices").await;
    cache.query("CREATE INDEX FOR (n:Entity) ON (n.uuid)").await;
    cache
        .query("CREATE VECTOR INDEX FOR (n:Entity) ON (n.name_embedding) OPTIONS {dimension:2, similarityFunction:'cosine'}")
        .await;
    cache.query("CREATE INDEX FOR (n:Mine) ON (n.`a, b`)").await;
    let report = cache.sink.prepare().await.unwrap();
    assert_eq!(report.made.len(), 13);
    assert!(report.made.contains(&"CREATE INDEX FOR (n:Entity) ON (n.group_id, n.name, n.created_at)".to_owned()), "{report:?}");
    assert_eq!(report.foreign, ["vector (:Entity).name_embedding", "range (:Mine).a, b"]);
    let again = cache.sink.prepare().await.unwrap();
    assert_eq!((again.made.len(), again.foreign.len()), (0, 2));
    let listed = "CALL db.indexes() YIELD label, types UNWIND keys(types) AS p RETURN label, p, types[p]";
    let listed = cache.query(listed).await;
    for (on, property, kinds) in
        [("Mine", "a, b", "[RANGE]"), ("Entity", "name", "[RANGE, FULLTEXT]"), ("RELATES_TO", "fact", "[FULLTEXT]")]
    {
        assert!(listed.contains(&vec![on.to_owned(), property.to_owned(), kinds.to_owned()]), "{on}.{property} {listed:?}");
    }
}

#[tokio::test]
async fn indices_that_somebody_else_makes_at_the_same_time_are_no_error() {
    let mut cache = Cache::new("raced").await;
    let mut other = sink(server().await, &cache.ownership);
    // Connected before, so that neither lists what the other has made.
    cache.sink.state().await.unwrap();
    other.state().await.unwrap();
    let (first, second) = tokio::join!(cache.sink.prepare(), other.prepare());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(first.from_nothing && second.from_nothing, "{first:?} {second:?}");
    assert!(first.refused.is_empty() && second.refused.is_empty(), "{first:?} {second:?}");
    assert_eq!(cache.sink.prepare().await.unwrap().made, Vec::<String>::new());
}

#[tokio::test]
async fn indices_of_a_full_graph_are_waited_for() {
    let mut cache = Cache::new("building").await;
    cache
        .query("UNWIND range(0, 100000) AS i CREATE (:Entity {uuid: 'n' + tostring(i), name: 'x', summary: 'lorem ipsum dolor'})")
        .await;
    cache.sink.prepare().await.unwrap();
    let states = cache.query("CALL db.indexes() YIELD label, status RETURN DISTINCT status").await;
    assert_eq!(states, [["OPERATIONAL"]]);
    assert!(cache.plan("MATCH (n:Entity {uuid:'n5'}) RETURN n").await.contains("Node By Index Scan"));
}

#[tokio::test]
async fn a_missing_graph_is_not_made_by_looking() {
    let mut cache = Cache::new("missing").await;
    assert_eq!(cache.sink.state().await.unwrap(), GraphState::Missing);
    let counts = cache.sink.counts().await.unwrap();
    assert!(counts.is_empty() && counts.kinds == [0, 0, 0, 0], "{counts:?}");
    assert!(!cache.sink.clear().await.unwrap());
    assert_eq!(cache.sink.state().await.unwrap(), GraphState::Missing);
    cache.sink.prepare().await.unwrap();
    assert_eq!(cache.sink.state().await.unwrap(), GraphState::Present);
    assert!(cache.sink.clear().await.unwrap());
    assert_eq!(cache.sink.state().await.unwrap(), GraphState::Missing);
}

#[tokio::test]
async fn a_key_of_another_type_is_never_touched() {
    let mut cache = Cache::new("type").await;
    let graph = cache.graph.clone();
    cache.redis(&["SET", &graph, "precious"]).await;
    let errors = [
        cache.sink.state().await.unwrap_err(),
        cache.sink.clear().await.unwrap_err(),
        cache.sink.prepare().await.unwrap_err(),
        cache.sink.counts().await.unwrap_err(),
        cache.sink.apply(&batch(vec![nodes("Entity", &[], &[("a", "")])], vec![])).await.unwrap_err(),
    ];
    for error in &errors {
        assert_eq!(error.kind(), ErrorKind::CacheWrongType, "{}", error.chain());
    }
    assert!(errors[0].to_string().contains("a string"), "{}", errors[0]);
    assert_eq!(shown(&cache.redis(&["GET", &graph]).await), "precious");
}

async fn lease_on(graph: &GraphName) -> (RedisLease, Ownership) {
    let claim = Ownership::claim(graph).unwrap();
    (RedisLease::new(server().await, claim.clone()), claim)
}

fn graph_name(purpose: &str) -> GraphName {
    GraphName::new(fresh_name(purpose)).unwrap()
}

fn checkpoint(sequence: u64) -> Checkpoint {
    let source = SourceIdentity { id: "test".to_owned(), name: "neo4j".to_owned() };
    let mut checkpoint = Checkpoint::new(Profile::graphiti().unwrap().fingerprint(), source);
    checkpoint.sequence = sequence;
    checkpoint
}

#[tokio::test]
async fn a_lease_excludes_others_until_it_ends() {
    let graph = graph_name("lease");
    let (mut first, _) = lease_on(&graph).await;
    let (mut second, _) = lease_on(&graph).await;
    first.acquire().await.unwrap();
    first.acquire().await.unwrap();
    let error = second.acquire().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LeaseHeld);
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    assert_eq!(second.holder().await.unwrap().map(|holder| holder.leader.pid), Some(std::process::id()));
    assert_eq!(second.renew().await.unwrap_err().kind(), ErrorKind::LeaseLost);
    second.release().await.unwrap();
    assert!(first.renew().await.is_ok(), "releasing what one does not hold changes nothing");
    // Renewed, it outlives its time; not renewed, it ends by itself.
    for _ in 0..3 {
        tokio::time::sleep(LEASE_TTL / 2).await;
        first.renew().await.unwrap();
    }
    assert_eq!(second.acquire().await.unwrap_err().kind(), ErrorKind::LeaseHeld);
    tokio::time::sleep(LEASE_TTL + Duration::from_millis(200)).await;
    second.acquire().await.unwrap();
    assert_eq!(first.renew().await.unwrap_err().kind(), ErrorKind::LeaseLost);
    second.release().await.unwrap();
    assert_eq!(second.holder().await.unwrap(), None);
}

/// A cache or a network that stands still for longer than the lease takes it from nobody who still is the only writer.
#[tokio::test]
async fn an_expired_lease_is_reclaimed_unless_another_process_took_it() {
    let graph = graph_name("reclaim");
    let (mut first, claim) = lease_on(&graph).await;
    let (mut second, other_claim) = lease_on(&graph).await;
    let mut store = graphs(server().await, &claim).checkpoint_store(GraphRole::Live);
    let mut other_store = graphs(server().await, &other_claim).checkpoint_store(GraphRole::Live);
    let mut raw = CacheConnection::new(server().await);
    let expire = cmd("DEL").arg(format!("{{{graph}}}:owner")).to_owned();

    first.acquire().await.unwrap();
    store.store(&checkpoint(1)).await.unwrap();
    raw.command("test", &expire, EVENT).await.unwrap();
    first.renew().await.unwrap();
    assert_eq!(second.acquire().await.unwrap_err().kind(), ErrorKind::LeaseHeld);
    store.store(&checkpoint(2)).await.unwrap();

    raw.command("test", &expire, EVENT).await.unwrap();
    second.acquire().await.unwrap();
    raw.command("test", &expire, EVENT).await.unwrap();
    assert_eq!(first.renew().await.unwrap_err().kind(), ErrorKind::LeaseLost, "another process led in between");
    second.renew().await.unwrap();
    second.release().await.unwrap();
    assert_eq!(second.renew().await.unwrap_err().kind(), ErrorKind::LeaseLost, "what is released is not reclaimed");

    // The owner reads the pause only when it begins.
    first.acquire().await.unwrap();
    raw.command("test", &expire, EVENT).await.unwrap();
    other_store.set_paused(true).await.unwrap();
    assert_eq!(first.renew().await.unwrap_err().kind(), ErrorKind::LeaseLost, "an operator decided something in between");
}

#[tokio::test]
async fn a_checkpoint_is_stored_only_by_the_owner() {
    let graph = graph_name("checkpoint");
    let (mut lease, claim) = lease_on(&graph).await;
    let mut store = graphs(server().await, &claim).checkpoint_store(GraphRole::Live);
    assert_eq!(store.load().await.unwrap(), None);
    assert_eq!(store.store(&checkpoint(1)).await.unwrap_err().kind(), ErrorKind::LeaseLost);
    lease.acquire().await.unwrap();
    store.store(&checkpoint(2)).await.unwrap();
    lease.release().await.unwrap();
    let (mut successor, _) = lease_on(&graph).await;
    successor.acquire().await.unwrap();
    assert_eq!(store.store(&checkpoint(3)).await.unwrap_err().kind(), ErrorKind::LeaseLost);
    assert_eq!(store.load().await.unwrap(), Some(checkpoint(2)));
}

/// The process that leads reads the pause only when it begins.
#[tokio::test]
async fn a_pause_is_stored_unless_another_process_leads() {
    let graph = graph_name("pause");
    let (mut lease, claim) = lease_on(&graph).await;
    let (mut other_lease, other_claim) = lease_on(&graph).await;
    let address = server().await;
    let mut store = graphs(address.clone(), &claim).checkpoint_store(GraphRole::Live);
    let mut other = graphs(address, &other_claim).checkpoint_store(GraphRole::Live);
    other.set_paused(true).await.unwrap();
    assert!(store.is_paused().await.unwrap(), "nobody leads");
    lease.acquire().await.unwrap();
    let refused = other.set_paused(false).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LeaseHeld, "{}", refused.chain());
    assert!(store.is_paused().await.unwrap());
    store.set_paused(false).await.unwrap();
    assert!(!other.is_paused().await.unwrap());
    other.set_paused(true).await.unwrap_err();
    lease.release().await.unwrap();
    other_lease.acquire().await.unwrap();
    store.set_paused(true).await.unwrap_err();
    other.set_paused(true).await.unwrap();
    assert!(store.is_paused().await.unwrap());
    let unreadable = cmd("SET").arg(format!("{{{graph}}}:owner")).arg("somebody").to_owned();
    CacheConnection::new(server().await).command("test", &unreadable, EVENT).await.unwrap();
    assert_eq!(other.set_paused(false).await.unwrap_err().kind(), ErrorKind::LeaseHeld, "a holder that nobody knows");
}

#[tokio::test]
async fn the_quarantine_is_kept_beside_the_graph() {
    let graph = graph_name("quarantine");
    let (mut lease, claim) = lease_on(&graph).await;
    lease.acquire().await.unwrap();
    let mut store = graphs(server().await, &claim).checkpoint_store(GraphRole::Live);
    let entry = |key: &str| Quarantined::new(KindName::Label("Entity"), key, None, "a reason");
    store.update_quarantine(&[entry("a"), entry("b")], &[]).await.unwrap();
    store.update_quarantine(&[entry("c")], &[entry("a")]).await.unwrap();
    let mut kept: Vec<_> = store.quarantine().await.unwrap().into_iter().map(|entry| entry.key).collect();
    kept.sort();
    assert_eq!(kept, ["b", "c"]);
}

/// The renewal touches the key that a checkpoint watches: that must not cost the checkpoint.
#[tokio::test]
async fn renewals_do_not_break_checkpoints() {
    let graph = graph_name("renewals");
    let (mut lease, claim) = lease_on(&graph).await;
    lease.acquire().await.unwrap();
    let mut store = graphs(server().await, &claim).checkpoint_store(GraphRole::Live);
    let renewing = tokio::spawn(async move {
        for _ in 0..100 {
            lease.renew().await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    for number in 0..200 {
        store.store(&checkpoint(number)).await.unwrap();
    }
    renewing.await.unwrap();
    assert_eq!(store.load().await.unwrap(), Some(checkpoint(199)));
}

#[tokio::test]
async fn a_silent_connection_is_replaced() {
    let mut cache = Cache::new("silent").await;
    let mut connection = CacheConnection::new(server().await);
    let id = |value: &Value| shown(value);
    let first = connection.command("test", cmd("CLIENT").arg("ID"), EVENT).await.unwrap();
    let mut block = cmd("BLPOP");
    block.arg(format!("{}:nothing", cache.graph)).arg(60);
    let error = connection.command("test", &block, Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CacheTimeout);
    let second = connection.command("test", cmd("CLIENT").arg("ID"), EVENT).await.unwrap();
    assert_ne!(id(&first), id(&second));
    cache.redis(&["CLIENT", "KILL", "ID", &shown(&second)]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let lost = connection.command("test", cmd("CLIENT").arg("ID"), EVENT).await;
    assert!(lost.is_ok() || lost.unwrap_err().kind() == ErrorKind::CacheConnection);
    connection.command("test", cmd("CLIENT").arg("ID"), EVENT).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_connection_error() {
    let mut connection = CacheConnection::new(CacheAddress::plain("127.0.0.1", 1));
    let error = connection.command("test", &cmd("PING"), EVENT).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CacheConnection, "{}", error.chain());
    assert!(error.chain().contains("127.0.0.1:1"));
}
