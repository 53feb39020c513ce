//! Our own Bolt client beside an independent reading by neo4rs, on the same server: what both read is equal, and what only ours can
//! is right.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use neo4j_falkordb_sync::config::Secret;
use neo4j_falkordb_sync::error::ErrorKind;
use neo4j_falkordb_sync::model::element::{ElementNumber, Properties, SourceNode, SourceRelationship, property};
use neo4j_falkordb_sync::model::kind::{ElementKind, NodeKindId, RelationshipKindId};
use neo4j_falkordb_sync::model::kind_rows::KindRows;
use neo4j_falkordb_sync::model::name::PropertyName;
use neo4j_falkordb_sync::model::outside_profile::OutsideProfile;
use neo4j_falkordb_sync::model::profile::Profile;
use neo4j_falkordb_sync::model::projection::Projection;
use neo4j_falkordb_sync::model::value::Value;
use neo4j_falkordb_sync::source::BoltSource;
use neo4j_falkordb_sync::source::bolt::{BoltReader, Connection, Limits, Probe, Server};
use neo4j_falkordb_sync::source::{ControlPlane, KeyPage, Page, Reader, Request, Source, SourceAddress};
use neo4rs::{Graph, query};

use crate::driver;
use crate::support::graph::{GraphSpec, build};
use crate::support::servers::{Neo4jAddress, Neo4jOptions, Neo4jServer, source_lock};

pub(super) fn source_address(address: &Neo4jAddress) -> SourceAddress {
    SourceAddress {
        uri: address.uri.clone(),
        user: address.user.clone(),
        password: Secret::new(address.password.clone()),
        database: Some(address.database.clone()),
        pool_size: 4,
        ca_file: None,
    }
}

async fn source(address: &Neo4jAddress) -> (BoltSource, Arc<Profile>) {
    let profile = Arc::new(Profile::graphiti().unwrap());
    (BoltSource::connect(&source_address(address), Arc::clone(&profile)).await.unwrap(), profile)
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
    let (source, _) = source(&turn.address).await;
    let keys = ["v", "w"].map(str::to_owned);
    let mut ours = source.by_key(ElementKind::Node(NodeKindId(0)), &keys).await.unwrap().rows.into_nodes();
    ours.sort_by_key(|node| node.number);
    let driver = driver::nodes(&turn.graph).await;
    assert_eq!(ours.iter().map(|node| node.properties.len()).sum::<usize>(), 41);
    assert_eq!(ours.len(), driver.len());
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
    let (source, profile) = source(&turn.address).await;
    let (nodes, relationships) = (driver::nodes(&turn.graph).await, driver::relationships(&turn.graph).await);
    let before = chrono::Utc::now() - chrono::Duration::days(36_500);
    for (place, kind) in profile.nodes.iter().enumerate() {
        let id = NodeKindId(place);
        // A node of several kinds is of the first of them.
        let is_of = |node: &&SourceNode| {
            profile.nodes.iter().position(|kind| node.labels.iter().any(|label| label == kind.label.as_str())) == Some(place)
        };
        let expected: Vec<SourceNode> = nodes.iter().filter(is_of).cloned().collect();
        let element = ElementKind::Node(id);
        let pages = pages(async |after: String| source.page(element, Projection::Whole, &after, 7).await.unwrap()).await;
        let pages: Vec<Vec<SourceNode>> = pages.into_iter().map(KindRows::into_nodes).collect();
        let key = kind.key.as_str();
        compare(&pages, &expected, key, |node| (node.number, node.properties.clone()), node_text);
        let without = source.without_key(element, 5).await.unwrap().into_nodes();
        compare_without_key(without, &expected, key, |node| (node.number, &mut node.properties), node_text);
        let changed = source.changed_keys(element, before, "", 50).await.unwrap();
        compare_changed(changed, expected.iter().map(|node| &node.properties), key, &kind.timestamps);
    }
    for (place, kind) in profile.relationships.iter().enumerate() {
        let id = RelationshipKindId(place);
        let of_kind = relationships.iter().filter(|(name, _)| name == kind.rel_type.as_str());
        let expected: Vec<SourceRelationship> = of_kind.map(|(_, relationship)| relationship.clone()).collect();
        let element = ElementKind::Relationship(id);
        let pages = pages(async |after: String| source.page(element, Projection::Whole, &after, 7).await.unwrap()).await;
        let pages: Vec<Vec<SourceRelationship>> = pages.into_iter().map(KindRows::into_relationships).collect();
        let key = kind.key.as_str();
        compare(&pages, &expected, key, |fact| (fact.number, fact.properties.clone()), relationship_text);
        let without = source.without_key(element, 5).await.unwrap().into_relationships();
        compare_without_key(without, &expected, key, |fact| (fact.number, &mut fact.properties), relationship_text);
        let changed = source.changed_keys(element, before, "", 50).await.unwrap();
        compare_changed(changed, expected.iter().map(|fact| &fact.properties), key, &kind.timestamps);
    }
    assert_eq!(source.outside_profile().await.unwrap(), outside(&profile, &nodes, &relationships));
    let mut rows = turn.graph.execute(query("CALL db.info() YIELD id, name RETURN id, name")).await.unwrap();
    let row = rows.next().await.unwrap().unwrap();
    let identity = source.identity().await.unwrap();
    assert_eq!((identity.id, identity.name), (row.get("id").unwrap(), row.get("name").unwrap()));
    let clocks = source.now().await.unwrap() - chrono::Utc::now();
    assert!(clocks.num_seconds().abs() < 30, "{clocks}");
}

/// All pages of a kind, in their order.
async fn pages(page: impl AsyncFn(String) -> Page) -> Vec<KindRows> {
    let (mut pages, mut after) = (Vec::new(), Some(String::new()));
    while let Some(key) = after {
        let page = page(key).await;
        pages.push(page.rows);
        after = page.next;
    }
    pages
}

/// The text that an element is paged by; none where no page reaches it.
fn key_of(properties: &Properties, key: &str) -> Option<String> {
    match property(properties, key) {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}

/// The pages hold what was expected in the order of the keys, and no key stands in two of them.
fn compare<T: Clone>(
    pages: &[Vec<T>],
    expected: &[T],
    key: &str,
    parts: impl Fn(&T) -> (ElementNumber, Properties),
    text: impl Fn(T) -> String,
) {
    let keys = |row: &T| key_of(&parts(row).1, key);
    let of_page = |page: &Vec<T>| page.iter().map(|row| keys(row).unwrap()).collect::<Vec<_>>();
    let paged: Vec<Vec<String>> = pages.iter().map(of_page).collect();
    assert!(paged.concat().is_sorted(), "{paged:?}");
    assert!(paged.windows(2).all(|pair| pair[0].last() != pair[1].first()), "a key stands in two pages: {paged:?}");
    let in_order = |rows: Vec<T>| {
        let mut rows: Vec<_> = rows.into_iter().filter_map(|row| keys(&row).map(|key| (key, parts(&row).0, row))).collect();
        rows.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        rows.into_iter().map(|(.., row)| text(row)).collect::<Vec<_>>()
    };
    assert_eq!(in_order(pages.concat()), in_order(expected.to_vec()));
}

/// Of elements that no page reaches, only what decides whether the cache can hold them is read.
fn compare_without_key<T: Clone>(
    mut ours: Vec<T>,
    expected: &[T],
    key: &str,
    parts: impl Fn(&mut T) -> (ElementNumber, &mut Properties),
    text: impl Fn(T) -> String,
) {
    let mut expected: Vec<T> = expected.to_vec();
    expected.retain_mut(|row| key_of(parts(row).1, key).is_none());
    expected.iter_mut().for_each(|row| parts(row).1.retain(|(name, _)| name == key || name == "group_id"));
    assert!(expected.len() <= 5);
    ours.sort_by_key(|row| parts(&mut row.clone()).0);
    let texts = |rows: Vec<T>| rows.into_iter().map(&text).collect::<Vec<_>>();
    assert_eq!(texts(ours), texts(expected));
}

fn compare_changed<'a>(ours: KeyPage, expected: impl Iterator<Item = &'a Properties>, key: &str, timestamps: &[PropertyName]) {
    let is_stamped = |properties: &&Properties| timestamps.iter().any(|name| property(properties, name.as_str()).is_some());
    let mut keys: Vec<String> = expected.filter(is_stamped).filter_map(|properties| key_of(properties, key)).collect();
    keys.sort();
    keys.dedup();
    keys.truncate(50);
    assert_eq!(ours.next, keys.last().filter(|_| keys.len() == 50).cloned());
    assert!(ours.keys.iter().all(|changed| !changed.stamp.is_empty()));
    assert_eq!(ours.keys.into_iter().map(|changed| changed.key).collect::<Vec<_>>(), keys);
}

fn outside(profile: &Profile, nodes: &[SourceNode], relationships: &[(String, SourceRelationship)]) -> OutsideProfile {
    let mut outside = OutsideProfile::default();
    for node in nodes.iter().filter(|node| profile.nodes.iter().all(|kind| !node.labels.contains(&kind.label.to_string()))) {
        *outside.nodes.entry(node.labels.join(":")).or_default() += 1;
    }
    for (name, _) in relationships {
        if profile.relationships.iter().all(|kind| kind.rel_type.as_str() != name) {
            *outside.relationships.entry(name.clone()).or_default() += 1;
        }
    }
    outside
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
async fn a_query_that_is_given_up_ends_at_the_server() {
    let turn = source_lock().await;
    let reader = reader(&turn.address).await;
    let endless = "UNWIND range(1, 1000000000) AS a UNWIND range(1, 1000000000) AS b RETURN count(a + b) AS count";
    let query = tokio::spawn({
        let reader = reader.clone();
        async move { reader.rows("a count", Request::new(endless)).await }
    });
    let started = Instant::now();
    let until = async |number: usize, what: &str| {
        while transactions(&turn.graph).await != number {
            assert!(started.elapsed() < Duration::from_secs(30), "{what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    until(1, "the query runs").await;
    query.abort();
    until(0, "a query that was given up runs on at the server").await;
    let text = "UNWIND range(1, 1000) AS n RETURN n";
    assert_eq!(reader.count("numbers", Request::new(text)).await.unwrap().rows, 1_000);
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
        ControlPlane::new(&good).connect().await.unwrap();
        let reader = BoltReader::connect(&good, Limits::default()).await.unwrap();
        let rows = reader.rows("one", Request::new("RETURN 1 AS one")).await.unwrap();
        assert_eq!(rows, [vec![("one".to_owned(), Value::Integer(1))]]);
    }
    let stranger = BoltReader::connect(&address("bolt+s", None), Limits::default()).await.map(drop).unwrap_err();
    assert_eq!(stranger.kind(), ErrorKind::Configuration, "{}", stranger.chain());
    let stranger = ControlPlane::new(&address("neo4j+s", None)).connect().await.unwrap_err();
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
    let kind = ElementKind::Node(NodeKindId(0));
    let (mut pages, mut after) = (Vec::new(), Some(String::new()));
    while let Some(from) = after {
        let page = source.page(kind, Projection::Whole, &from, 1000).await.unwrap();
        pages.push(page.rows.elements().map(|(_, row)| property(row, "uuid").cloned().unwrap()).collect::<Vec<_>>());
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
        let answer = source.by_key(kind, &asked[answered..]).await.unwrap();
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
