//! Our own Bolt client beside neo4rs, on the same server: what both read is equal, and what only ours can is right.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use neo4j_falkordb_sync::config::Secret;
use neo4j_falkordb_sync::error::ErrorKind;
use neo4j_falkordb_sync::model::detail::Detail;
use neo4j_falkordb_sync::model::element::{Properties, SourceNode, SourceRelationship, property};
use neo4j_falkordb_sync::model::kind::{NodeKindId, RelationshipKindId};
use neo4j_falkordb_sync::model::profile::Profile;
use neo4j_falkordb_sync::model::value::Value;
use neo4j_falkordb_sync::source::bolt::{BoltReader, BoltSource, Connection, Limits, Probe, Server};
use neo4j_falkordb_sync::source::{Neo4jSource, Reader, Request, Source, SourceAddress};
use neo4rs::{Graph, query};

use crate::support::graph::{GraphSpec, build};
use crate::support::servers::{Neo4jAddress, Neo4jOptions, Neo4jServer, source_lock};

fn source_address(address: &Neo4jAddress) -> SourceAddress {
    SourceAddress {
        uri: address.uri.clone(),
        user: address.user.clone(),
        password: Secret::new(address.password.clone()),
        database: Some(address.database.clone()),
        pool_size: 4,
        ca_file: None,
    }
}

/// The same database by both clients.
struct Both {
    driver: Neo4jSource,
    ours: BoltSource,
    profile: Arc<Profile>,
}

impl Both {
    async fn connect(address: &Neo4jAddress) -> Self {
        let address = source_address(address);
        let profile = Arc::new(Profile::graphiti().unwrap());
        Self {
            driver: Neo4jSource::connect(&address, Arc::clone(&profile)).await.unwrap(),
            ours: BoltSource::connect(&address, Arc::clone(&profile)).await.unwrap(),
            profile,
        }
    }

    fn node_kinds(&self) -> impl Iterator<Item = NodeKindId> {
        (0..self.profile.nodes.len()).map(NodeKindId)
    }

    fn relationship_kinds(&self) -> impl Iterator<Item = RelationshipKindId> {
        (0..self.profile.relationships.len()).map(RelationshipKindId)
    }
}

async fn reader(address: &Neo4jAddress) -> BoltReader {
    BoltReader::connect(&source_address(address), Limits::default()).await.unwrap()
}

/// Properties by name: neo4rs gives them in any order.
fn sorted(mut properties: Properties) -> Properties {
    properties.sort_by(|a, b| a.0.cmp(&b.0));
    properties
}

/// A text that is equal for equal rows, NaN and the sign of zero included.
fn node_text(node: SourceNode) -> String {
    format!("{:?}", SourceNode { properties: sorted(node.properties), ..node })
}

fn relationship_text(relationship: SourceRelationship) -> String {
    format!("{:?}", SourceRelationship { properties: sorted(relationship.properties), ..relationship })
}

/// One value of each type that a property can have, at its edges.
const VALUES: &str = "CREATE (n:Entity {uuid: 'v'}) SET n += {
    yes: true, least: -9223372036854775808, most: 9223372036854775807, small: -17,
    nan: 0.0/0.0, infinite: -1.0/0.0, minus_zero: -0.0, tiny: 4.9E-324, half: 0.5,
    empty_text: '', nul: 'a\\u0000b', text: 'ünïcödé 🙂', long: $long, bytes: $bytes,
    no_items: [], floats: [1.5, -0.0], integers: [1, 300, 70000], texts: ['a', ''], yeses: [true, false], vector: $vector,
    date: date('2024-02-29'), first_date: date('-999999999-01-01'), dates: [date('1970-01-01'), date('1969-12-31')],
    local_time: localtime('23:59:59.999999999'), time: time('01:02:03.000000004-18:00'),
    local: localdatetime('1969-12-31T23:59:59.5'), locals: [localdatetime('2024-01-01T00:00')],
    last_local: localdatetime('+999999999-12-31T23:59:59.999999999'),
    offset: datetime('2024-01-01T00:00:00.123456789+05:30'),
    zoned: datetime('2024-07-01T12:00[Europe/Berlin]'), zones: [datetime('2024-07-01T12:00[Asia/Tokyo]')],
    summer: datetime('2024-10-27T02:30+02:00[Europe/Berlin]'), winter: datetime('2024-10-27T02:30+01:00[Europe/Berlin]'),
    duration: duration({months: -1, days: 2, seconds: -3, nanoseconds: 4}),
    place: point({longitude: 13.4, latitude: 52.5}), height: point({longitude: 1.0, latitude: 2.0, height: 3.0}),
    flat: point({x: 1.0, y: -2.0}), cube: point({x: 1.0, y: 2.0, z: 3.0})}
    CREATE (:Entity {uuid: 'w', last: datetime('+999999999-12-31T23:59:59Z')})";

async fn create_values(graph: &Graph) {
    let bytes: Vec<u8> = (0..=255).collect();
    let vector: Vec<f64> = (0..256).map(|n| f64::from(n) / 7.0).collect();
    let statement = query(VALUES)
        .param("bytes", neo4rs::BoltType::Bytes(neo4rs::BoltBytes::new(bytes.into())))
        .param("long", "x".repeat(200_000))
        .param("vector", vector);
    graph.run(statement).await.unwrap();
}

#[tokio::test]
async fn every_type_of_value_is_read_as_the_driver_reads_it() {
    let turn = source_lock().await;
    create_values(&turn.graph).await;
    let both = Both::connect(&turn.address).await;
    // The last instant has a node of its own: the driver's rows with a named zone are read again with `epochSeconds`, which
    // overflows in Neo4j for it.
    let keys = ["v", "w"].map(str::to_owned);
    let kind = both.node_kinds().next().unwrap();
    let driver = both.driver.nodes_by_key(kind, &keys).await.unwrap().rows;
    let ours = both.ours.nodes_by_key(kind, &keys).await.unwrap().rows;
    assert_eq!(ours.iter().map(|node| node.properties.len()).sum::<usize>(), 41);
    for (driver, ours) in driver.into_iter().zip(ours) {
        for (a, b) in sorted(driver.properties.clone()).into_iter().zip(sorted(ours.properties.clone())) {
            assert_eq!(format!("{a:?}"), format!("{b:?}"));
        }
        assert_eq!(node_text(driver), node_text(ours));
    }
}

#[tokio::test]
async fn both_hours_of_a_clock_change_are_told_apart() {
    let turn = source_lock().await;
    create_values(&turn.graph).await;
    let rows = reader(&turn.address)
        .await
        .nodes("Entity", Request::new(format!("{ALL_ENTITIES} ORDER BY n.uuid")), usize::MAX)
        .await
        .unwrap()
        .rows;
    let instant = |seconds| Value::DateTime { epoch_seconds: seconds, nanoseconds: 0 };
    assert_eq!(property(&rows[0].properties, "summer"), Some(&instant(1_729_989_000)));
    assert_eq!(property(&rows[0].properties, "winter"), Some(&instant(1_729_992_600)));
}

const ALL_ENTITIES: &str = "MATCH (n:Entity) RETURN elementId(n) AS id, labels(n) AS labels, properties(n) AS properties";

#[tokio::test]
async fn pages_and_questions_are_equal() {
    let turn = source_lock().await;
    build(&turn.graph, &GraphSpec { entities: 60, facts: 80, ..GraphSpec::default() }).await.unwrap();
    turn.graph
        .run(query("CREATE (:Entity {name: 'no key'})-[:RELATES_TO]->(:Stranger)-[:KNOWS]->(:Entity {uuid: 7})"))
        .await
        .unwrap();
    // Nodes that share a key stay in one page.
    turn.graph.run(query("UNWIND range(1, 9) AS n CREATE (:Entity {uuid: '5', n: n})")).await.unwrap();
    let both = Both::connect(&turn.address).await;
    let before = chrono::Utc::now() - chrono::Duration::days(36_500);
    for kind in both.node_kinds() {
        compare_node_pages(&both, kind, 7).await;
        let (driver, ours) =
            (both.driver.nodes_without_key(kind, 5).await.unwrap(), both.ours.nodes_without_key(kind, 5).await.unwrap());
        assert_eq!(driver.into_iter().map(node_text).collect::<Vec<_>>(), ours.into_iter().map(node_text).collect::<Vec<_>>());
        let driver = both.driver.changed_node_keys(kind, before, "", 50).await.unwrap();
        assert_eq!(driver, both.ours.changed_node_keys(kind, before, "", 50).await.unwrap());
    }
    for kind in both.relationship_kinds() {
        compare_relationship_pages(&both, kind, 7).await;
        let driver = both.driver.relationships_without_key(kind, 5).await.unwrap();
        let ours = both.ours.relationships_without_key(kind, 5).await.unwrap();
        let texts = |rows: Vec<_>| rows.into_iter().map(relationship_text).collect::<Vec<_>>();
        assert_eq!(texts(driver), texts(ours));
        let driver = both.driver.changed_relationship_keys(kind, before, "", 50).await.unwrap();
        assert_eq!(driver, both.ours.changed_relationship_keys(kind, before, "", 50).await.unwrap());
    }
    assert_eq!(both.driver.identity().await.unwrap(), both.ours.identity().await.unwrap());
    assert_eq!(both.driver.outside_profile().await.unwrap(), both.ours.outside_profile().await.unwrap());
    let clocks = both.ours.now().await.unwrap() - both.driver.now().await.unwrap();
    assert!(clocks.num_seconds().abs() < 30, "{clocks}");
}

async fn compare_node_pages(both: &Both, kind: NodeKindId, limit: usize) {
    let mut after = Some(String::new());
    while let Some(key) = after {
        let driver = both.driver.node_page(kind, Detail::Whole, &key, limit).await.unwrap();
        let ours = both.ours.node_page(kind, Detail::Whole, &key, limit).await.unwrap();
        assert_eq!(driver.next, ours.next);
        let texts = |rows: Vec<_>| rows.into_iter().map(node_text).collect::<Vec<_>>();
        assert_eq!(texts(driver.rows), texts(ours.rows));
        after = ours.next;
    }
}

async fn compare_relationship_pages(both: &Both, kind: RelationshipKindId, limit: usize) {
    let mut after = Some(String::new());
    while let Some(key) = after {
        let driver = both.driver.relationship_page(kind, Detail::Whole, &key, limit).await.unwrap();
        let ours = both.ours.relationship_page(kind, Detail::Whole, &key, limit).await.unwrap();
        assert_eq!(driver.next, ours.next);
        let texts = |rows: Vec<_>| rows.into_iter().map(relationship_text).collect::<Vec<_>>();
        assert_eq!(texts(driver.rows), texts(ours.rows));
        after = ours.next;
    }
}

#[tokio::test]
async fn a_write_is_refused_and_the_connection_goes_on() {
    let turn = source_lock().await;
    let reader = reader(&turn.address).await;
    for statement in ["CREATE (n:Intruder) RETURN 1 AS one", "CREATE INDEX FOR (n:Intruder) ON n.x", "MATCH (n) DETACH DELETE n"]
    {
        let error = reader.rows("a write", Request::new(statement)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SourceRefused, "{}", error.chain());
        assert!(error.chain().contains("AccessMode"), "{}", error.chain());
    }
    let rows = reader.rows("a count", Request::new("MATCH (n) RETURN count(n) AS count")).await.unwrap();
    assert_eq!(rows, [vec![("count".to_owned(), Value::Integer(0))]]);
}

#[tokio::test]
async fn a_bookmark_moves_with_commits_alone() {
    let turn = source_lock().await;
    // A label's first use is a commit of its own kind: not what is tested here.
    turn.graph.run(query("CREATE (n:Entity {uuid: 'a'})")).await.unwrap();
    let mut probe = Probe::new(&source_address(&turn.address), Limits::default()).unwrap();
    let first = probe.bookmark().await.unwrap();

    let reader = reader(&turn.address).await;
    assert_eq!(reader.nodes("Entity", Request::new(ALL_ENTITIES), usize::MAX).await.unwrap().rows.len(), 1);
    turn.graph.run(query("MATCH (n:Entity {uuid: 'none'}) SET n.uuid = 'b'")).await.unwrap();
    let mut transaction = turn.graph.start_txn().await.unwrap();
    transaction.run(query("CREATE (n:Entity {uuid: 'c'})")).await.unwrap();
    assert_eq!(probe.bookmark().await.unwrap(), first, "an open transaction");
    transaction.rollback().await.unwrap();
    assert_eq!(probe.bookmark().await.unwrap(), first, "reads, a rollback, and a write that matches nothing");

    turn.graph.run(query("CREATE (n:Entity {uuid: 'b'})")).await.unwrap();
    let second = probe.bookmark().await.unwrap();
    assert_ne!(second, first);
    assert!(second.transaction() > first.transaction(), "{first} {second}");
    assert_eq!(second.database_id(), first.database_id());
    let ids = reader.rows("an id", Request::new("MATCH (n:Entity) RETURN elementId(n) AS id LIMIT 1")).await.unwrap();
    let Some(Value::String(id)) = property(&ids[0], "id") else { panic!("{ids:?}") };
    assert_eq!(id.split(':').nth(1), second.database_id().as_deref(), "the id is the one in element ids");
}

#[tokio::test]
async fn a_stream_gives_all_rows_and_can_be_left() {
    let turn = source_lock().await;
    turn.graph.run(query("UNWIND range(1, 1000) AS n CREATE (:Entity {uuid: toString(n)})")).await.unwrap();
    let reader = reader(&turn.address).await;
    let request = Request::new(ALL_ENTITIES);
    let mut rows = reader.stream::<SourceNode>("Entity", &request, 64).await.unwrap();
    let mut count = 0;
    while rows.next().await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 1_000);
    let mut probe = Probe::new(&source_address(&turn.address), Limits::default()).unwrap();
    assert_eq!(rows.bookmark(), Some(probe.bookmark().await.unwrap().as_str()));
    let counted = reader.count("Entity", request.clone()).await.unwrap();
    assert_eq!(counted.rows, 1_000);

    let mut left = reader.stream::<SourceNode>("Entity", &request, 10).await.unwrap();
    assert!(left.next().await.unwrap().is_some());
    assert_eq!(transactions(&turn.graph).await, 1);
    drop(left);
    let started = Instant::now();
    while transactions(&turn.graph).await > 0 {
        assert!(started.elapsed() < Duration::from_secs(10), "a stream that was left runs on at the server");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How many transactions of ours are open at the server: they carry our name.
async fn transactions(graph: &Graph) -> usize {
    let statement = "SHOW TRANSACTIONS YIELD metaData WHERE metaData.app STARTS WITH 'neo4j-falkordb-sync/' RETURN metaData";
    let mut rows = graph.execute(query(statement)).await.unwrap();
    let mut count = 0;
    while rows.next().await.unwrap().is_some() {
        count += 1;
    }
    count
}

#[tokio::test]
async fn what_cannot_work_is_told_when_connecting() {
    let turn = source_lock().await;
    let address = source_address(&turn.address);
    let kind =
        async |address: SourceAddress| BoltReader::connect(&address, Limits::default()).await.map(drop).unwrap_err().kind();
    let password = SourceAddress { password: Secret::new("wrong"), ..address.clone() };
    assert_eq!(kind(password).await, ErrorKind::SourceAuthentication);
    let database = SourceAddress { database: Some("nosuchdatabase".to_owned()), ..address.clone() };
    assert_eq!(kind(database).await, ErrorKind::SourceRefused);
    let server = Server::new(&address, Limits::default()).unwrap();
    let connection = Connection::open(&server).await.unwrap();
    assert_eq!(connection.minor_version(), 8);
    assert!(connection.server().starts_with("Neo4j/"), "{}", connection.server());
    connection.goodbye().await;
}

/// A certificate authority, and a certificate for the loopback interface that it signed.
fn make_certificates(directory: &Path) {
    let script = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt && \
        openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout private.key -out server.csr && \
        printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\\nbasicConstraints=CA:FALSE\\n' > extensions && \
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out public.crt";
    let made = Command::new("sh").args(["-ec", script]).current_dir(directory).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

pub(super) async fn start_with_tls(certificates: &Path) -> Neo4jServer {
    let directory = certificates.display().to_string();
    let settings = [
        ("server.bolt.tls_level", "OPTIONAL"),
        ("dbms.ssl.policy.bolt.enabled", "true"),
        ("dbms.ssl.policy.bolt.base_directory", &directory),
        ("dbms.ssl.policy.bolt.client_auth", "NONE"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Neo4jServer::start_with(Neo4jOptions { settings, heap: "512m".to_owned(), ..Neo4jOptions::default() }).await.unwrap()
}

#[tokio::test]
async fn encrypted_connections_trust_whom_they_are_told_to() {
    let directory = tempfile::tempdir().unwrap();
    make_certificates(directory.path());
    let server = start_with_tls(directory.path()).await;
    let address = |scheme: &str, ca_file: Option<PathBuf>| {
        let uri = format!("{scheme}://127.0.0.1:{}", server.bolt_port());
        SourceAddress { uri, ca_file, ..source_address(&server.address()) }
    };
    let authority = Some(directory.path().join("ca.crt"));
    for good in [address("bolt+s", authority.clone()), address("neo4j+s", authority), address("bolt+ssc", None)] {
        let reader = BoltReader::connect(&good, Limits::default()).await.unwrap();
        let rows = reader.rows("one", Request::new("RETURN 1 AS one")).await.unwrap();
        assert_eq!(rows, [vec![("one".to_owned(), Value::Integer(1))]]);
    }
    let stranger = BoltReader::connect(&address("bolt+s", None), Limits::default()).await.map(drop).unwrap_err();
    assert_eq!(stranger.kind(), ErrorKind::Configuration, "{}", stranger.chain());
}

/// Two nodes of each weight in characters, the first two with one key.
const HEAVY: &str = "UNWIND $weights AS weight WITH weight UNWIND range(1, 2) AS i \
    CREATE (:Entity {uuid: toString(weight) + CASE WHEN weight = $weights[0] THEN '' ELSE '-' + i END, text: left($text, weight)})";

#[tokio::test]
async fn a_page_ends_where_it_is_heavy_and_not_between_elements_of_one_key() {
    let turn = source_lock().await;
    let weights: Vec<i64> = vec![3_000_000, 4_000_000, 5_000_000, 9_000_000];
    turn.graph.run(query(HEAVY).param("weights", weights).param("text", "x".repeat(9_000_000))).await.unwrap();
    let address = SourceAddress { pool_size: 1, ..source_address(&turn.address) };
    let source = BoltSource::connect(&address, Arc::new(Profile::graphiti().unwrap())).await.unwrap();
    let kind = NodeKindId(0);
    let (mut pages, mut after) = (Vec::new(), Some(String::new()));
    while let Some(from) = after {
        let page = source.node_page(kind, Detail::Whole, &from, 1000).await.unwrap();
        pages.push(page.rows.iter().map(|row| property(&row.properties, "uuid").cloned().unwrap()).collect::<Vec<_>>());
        after = page.next;
    }
    let keys: Vec<String> =
        pages.concat().iter().map(|key| if let Value::String(key) = key { key.clone() } else { panic!() }).collect();
    assert_eq!(keys.len(), 8, "{pages:?}");
    assert!(keys.is_sorted() && keys[0] == keys[1], "{keys:?}");
    assert!(pages.len() >= 4 && pages[0].len() >= 2 && pages.iter().all(|page| page.len() <= 3), "{pages:?}");

    let asked: Vec<String> = keys[1..].to_vec();
    let (mut answered, mut rows) = (0, 0);
    while answered < asked.len() {
        let answer = source.nodes_by_key(kind, &asked[answered..]).await.unwrap();
        assert!(answer.keys > 0 && answer.rows.len() <= 3, "{} of {}", answer.rows.len(), answer.keys);
        rows += answer.rows.len();
        answered += answer.keys;
    }
    assert_eq!((answered, rows), (7, 8), "each key once, with all of its elements");
}

#[tokio::test]
async fn queries_that_are_sent_together_have_their_own_answers() {
    let turn = source_lock().await;
    let reader = reader(&turn.address).await;
    let requests = || (0..250_i64).map(|number| Request::new("UNWIND range(1, $n % 3) AS i RETURN $n AS n").with("n", number));
    let answers = reader.each("numbers", requests().collect()).await.unwrap();
    for (number, rows) in answers.iter().enumerate() {
        assert_eq!(rows, &vec![vec![("n".to_owned(), Value::Integer(number as i64))]; number % 3]);
    }
    assert_eq!(answers.len(), 250);
    let with_a_fault = requests().take(5).chain([Request::new("no query")]).chain(requests().take(5)).collect();
    assert_eq!(reader.each("numbers", with_a_fault).await.unwrap_err().kind(), ErrorKind::SourceRefused);
    assert_eq!(reader.each("numbers", requests().take(4).collect()).await.unwrap().len(), 4);
}
