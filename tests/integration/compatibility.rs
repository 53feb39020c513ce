//! What of Neo4j arrives how, as docs/compatibility.md says: cases from people's graphs, by the profile for any graph. Each is written,
//! synchronised, changed and synchronised again, and compared by means that know nothing of the product.

use std::time::{Duration, Instant};

use neo4rs::query;

use super::full_sync::ask;
use super::pipeline::Pair;
use crate::support::comparer::{GENERIC, assert_same_content};
use crate::support::deadline::EVENT;
use crate::support::http::Http;

async fn pair(test: &str) -> Pair {
    let mut pair = Pair::new(test).await;
    pair.service = pair
        .service
        .clone()
        .with("SYNC_PROFILE", "generic")
        .with("SYNC_SCRUB_ROWS_PER_SECOND", 0)
        .with("SYNC_MAX_DELETE_FRACTION", 1);
    pair
}

async fn write(pair: &Pair, text: &str) {
    pair.source.graph.run(query(text)).await.unwrap_or_else(|error| panic!("{text}: {error}"));
}

/// Synchronises and compares: by the comparer, and by the program's own word.
async fn arrives(pair: &Pair, mode: &str) -> serde_json::Value {
    let pass = pair.sync(mode).await;
    assert_same_content(&pair.source.graph, &pair.cache, &pair.graph, GENERIC).await;
    let verified = pair.service.finish(&["verify"]).await;
    assert_eq!(verified.code, 0, "{}", verified.stdout);
    pass
}

/// What FalkorDB answers to a question with one cell.
async fn cell(pair: &Pair, question: &str) -> String {
    let mut cache = pair.cache.connect().await.unwrap();
    ask(&mut cache, &pair.graph, question).await
}

/// A value of Neo4j by its expression, and the test of what FalkorDB holds.
const VALUES: [(&str, &str); 33] = [
    ("'text'", "n.v = 'text'"),
    ("''", "n.v = ''"),
    ("'tab\\tline\\nquote\\'back\\\\slash'", "n.v = 'tab\\tline\\nquote\\'back\\\\slash'"),
    ("9223372036854775807", "n.v = 9223372036854775807 AND typeOf(n.v) = 'Integer'"),
    ("-9223372036854775807 - 1", "n.v < -9223372036854775806 AND typeOf(n.v) = 'Integer'"),
    ("true", "n.v = true"),
    ("1.0", "n.v = 1.0 AND typeOf(n.v) = 'Float'"),
    ("-0.0", "1.0 / n.v < 0"),
    ("0.0 / 0.0", "n.v <> n.v"),
    ("1.0 / 0.0", "n.v = 1.0 / 0.0"),
    ("[]", "n.v = []"),
    ("[1, -1]", "n.v = [1, -1]"),
    ("['a', '']", "n.v = ['a', '']"),
    ("[1.5, -0.25]", "n.v = [1.5, -0.25]"),
    ("[true, false]", "n.v = [true, false]"),
    ("date('2026-02-28')", "n.v = '2026-02-28'"),
    ("date('-999999999-01-01')", "n.v = '-999999999-01-01'"),
    ("date('+999999999-12-31')", "n.v = '+999999999-12-31'"),
    ("time('23:59:59.999999999+18:00')", "n.v = '23:59:59.999999999+18:00'"),
    ("localtime('00:00:00.000000001')", "n.v = '00:00:00.000000001'"),
    ("datetime('2026-01-01T02:00:00+02:00')", "n.v = '2026-01-01T00:00:00+00:00'"),
    ("datetime('2026-07-01T02:00:00.123456789[Europe/Berlin]')", "n.v = '2026-07-01T00:00:00.123456+00:00'"),
    ("localdatetime('1969-12-31T23:59:59.5')", "n.v = '1969-12-31T23:59:59.500000+00:00'"),
    ("datetime('0001-01-01T00:00:00Z')", "n.v = '0001-01-01T00:00:00+00:00'"),
    ("datetime('9999-12-31T23:59:59.999999Z')", "n.v = '9999-12-31T23:59:59.999999+00:00'"),
    ("duration('P1Y2M3DT4H5M6.7S')", "n.v = 'P1Y2M3DT4H5M6.7S'"),
    ("duration('-PT0.5S')", "n.v = 'PT-0.5S'"),
    ("point({longitude: -2.5, latitude: 53.5})", "n.v = 'SRID=4326;POINT(-2.5 53.5)'"),
    ("point({longitude: 1, latitude: 2, height: 3})", "n.v = 'SRID=4979;POINT Z(1.0 2.0 3.0)'"),
    ("point({x: 1.5, y: -2})", "n.v = 'SRID=7203;POINT(1.5 -2.0)'"),
    ("point({x: 1, y: 2, z: 3})", "n.v = 'SRID=9157;POINT Z(1.0 2.0 3.0)'"),
    ("[date('2026-01-01'), date('2026-01-02')]", "n.v = ['2026-01-01', '2026-01-02']"),
    ("[point({x: 0, y: 0})]", "n.v = ['SRID=7203;POINT(0.0 0.0)']"),
];

#[tokio::test]
async fn every_type_of_value_arrives_as_documented() {
    let pair = pair("values").await;
    for (number, (value, _)) in VALUES.iter().enumerate() {
        write(&pair, &format!("CREATE (a:Value {{number: {number}, v: {value}}})-[:HELD {{number: {number}, v: {value}}}]->(a)"))
            .await;
    }
    arrives(&pair, "full").await;
    for (number, (value, held)) in VALUES.iter().enumerate() {
        let of_node = cell(&pair, &format!("MATCH (n:Value) WHERE n.number = {number} RETURN {held}")).await;
        let of_edge = cell(&pair, &format!("MATCH ()-[n:HELD]->() WHERE n.number = {number} RETURN {held}")).await;
        assert!(of_node.contains("true") && of_edge.contains("true"), "{value}: {of_node} {of_edge}");
    }
}

/// Each property takes each type after each other one, by passes that look at it.
#[tokio::test]
async fn a_property_may_change_its_type() {
    let pair = pair("types").await;
    let count = VALUES.len();
    for (number, value) in VALUES.iter().enumerate() {
        write(&pair, &format!("CREATE (:Value {{number: {number}, v: {}}})", value.0)).await;
    }
    arrives(&pair, "full").await;
    for step in [1, 7, 15] {
        for number in 0..count {
            let value = VALUES[(number + step) % count].0;
            write(&pair, &format!("MATCH (n:Value {{number: {number}}}) SET n.v = {value}")).await;
        }
        arrives(&pair, "differential").await;
    }
    write(&pair, "MATCH (n:Value) REMOVE n.v").await;
    arrives(&pair, "differential").await;
    assert!(cell(&pair, "MATCH (n:Value) WHERE n.v IS NOT NULL RETURN count(n)").await.contains("int(0)"));
}

const NAMES: [&str; 14] = [
    "with:colon",
    ":",
    "with.dot",
    ".",
    "$dollar",
    "$rows",
    "😀",
    "👩‍👩‍👧 family",
    "with blank",
    "it's",
    "\"quoted\"",
    "back\\slash",
    "Straße",
    "1st",
];

#[tokio::test]
async fn names_may_hold_anything_but_backticks() {
    let pair = pair("names").await;
    for (number, name) in NAMES.iter().enumerate() {
        let other = NAMES[(number + 1) % NAMES.len()];
        let text = format!(
            "CREATE (:`{name}`:`{other}` {{`{name}`: {number}}})-[:`{name}` {{`{other}`: 'x', `{name}`: 1.5}}]->(:`{name}`)"
        );
        write(&pair, &text).await;
    }
    let pass = arrives(&pair, "full").await;
    assert_eq!(pass["totals"]["quarantined"], 0, "{pass}");
    for (number, name) in NAMES.iter().enumerate() {
        let text = format!(
            "MATCH (n:`{name}`) WHERE n.`{name}` = {number} SET n:`{}`, n.`{name}` = 'now text'",
            NAMES[(number + 5) % NAMES.len()]
        );
        write(&pair, &text).await;
    }
    arrives(&pair, "differential").await;
}

#[tokio::test]
async fn parallel_relationships_loops_and_bare_nodes_arrive() {
    let pair = pair("parallel").await;
    write(&pair, "CREATE (a:A), (b:B), (), ({only: 'a property'}) WITH a, b UNWIND range(1, 5) AS i CREATE (a)-[:SAME]->(b), (a)-[:SAME {i: i}]->(b)").await;
    write(&pair, "MATCH (a:A) CREATE (a)-[:SAME]->(a), (a)-[:SAME]->(a) CREATE ()-[:SAME]->()").await;
    arrives(&pair, "full").await;
    assert!(cell(&pair, "MATCH (:A)-[e:SAME]->(:B) RETURN count(e)").await.contains("int(10)"));
    write(&pair, "MATCH (:A)-[e:SAME]->(:B) WITH e LIMIT 3 DELETE e").await;
    write(&pair, "MATCH (a:A)-[e:SAME]->(a) WITH e LIMIT 1 DELETE e").await;
    write(&pair, "MATCH (n) WHERE size(labels(n)) = 0 AND n.only IS NULL AND NOT (n)--() DELETE n").await;
    arrives(&pair, "incremental").await;
    assert!(cell(&pair, "MATCH (:A)-[e:SAME]->(:B) RETURN count(e)").await.contains("int(7)"));
}

/// Neo4j gives the number of a deleted element to a new one, which then is another element.
#[tokio::test]
async fn a_number_that_is_given_again_is_another_element() {
    let pair = pair("reused").await;
    write(&pair, "UNWIND range(1, 200) AS i CREATE (:Old {i: i})-[:OLD {i: i}]->(:Old {i: -i})").await;
    arrives(&pair, "full").await;
    let old = numbers(&pair, "MATCH (n:Old) RETURN collect(id(n)) AS numbers").await;
    write(&pair, "MATCH (n:Old) DETACH DELETE n").await;
    let began = Instant::now();
    loop {
        write(&pair, "UNWIND range(1, 100) AS i CREATE (:New {i: i, since: 'new'})-[:NEW]->(:New)").await;
        let new = numbers(&pair, "MATCH (n:New) RETURN collect(id(n)) AS numbers").await;
        if new.iter().any(|number| old.contains(number)) {
            break;
        }
        assert!(began.elapsed() < EVENT, "no number was given again: {} of {}", new.len(), old.len());
        write(&pair, "MATCH (n:New) DETACH DELETE n").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    arrives(&pair, "incremental").await;
    assert!(cell(&pair, "MATCH (n:Old) RETURN count(n)").await.contains("int(0)"));
}

async fn numbers(pair: &Pair, text: &str) -> Vec<i64> {
    let mut rows = pair.source.graph.execute(query(text)).await.unwrap();
    rows.next().await.unwrap().unwrap().get("numbers").unwrap()
}

#[tokio::test]
async fn a_text_of_twenty_megabytes_arrives() {
    let pair = pair("large_text").await;
    let text = "äbc\n".repeat(4 << 20);
    assert!(text.len() >= 20_000_000, "{}", text.len());
    let large = query("CREATE (:Small {i: 1}), (:Large {text: $text}), (:Small {i: 2})").param("text", text.clone());
    pair.source.graph.run(large).await.unwrap();
    arrives(&pair, "full").await;
    let large = query("MATCH (n:Large) SET n.text = $text + 'x'").param("text", text);
    pair.source.graph.run(large).await.unwrap();
    arrives(&pair, "differential").await;
}

#[tokio::test]
async fn a_hub_with_42000_relationships_arrives_and_changes() {
    let pair = pair("hub").await;
    write(&pair, "CREATE (h:Hub {name: 'hub'}) WITH h UNWIND range(1, 42000) AS i CREATE (h)-[:TO {i: i}]->(:Leaf {i: i})").await;
    let pass = arrives(&pair, "full").await;
    assert_eq!(pass["totals"]["relationships"], 42_000);
    write(&pair, "MATCH (h:Hub) SET h:Renamed, h.name = 'another'").await;
    write(&pair, "MATCH (:Hub)-[e:TO]->() WHERE e.i <= 1000 DELETE e").await;
    write(&pair, "MATCH (h:Hub), (l:Leaf) WHERE l.i <= 500 CREATE (l)-[:TO]->(h)").await;
    arrives(&pair, "differential").await;
    write(&pair, "MATCH (h:Hub) DETACH DELETE h").await;
    arrives(&pair, "incremental").await;
}

/// Labels that come, go and change places.
#[tokio::test]
async fn a_node_may_change_all_of_its_labels() {
    let pair = pair("relabelled").await;
    write(&pair, "UNWIND range(1, 20) AS i CREATE (:One {i: i}), (:Two {i: i}), (:One:Two {i: i}), ({i: i})").await;
    arrives(&pair, "full").await;
    for text in [
        "MATCH (n:One) WHERE n.i < 5 REMOVE n:One SET n:Two",
        "MATCH (n:Two) WHERE n.i > 15 REMOVE n:Two",
        "MATCH (n) WHERE n.i = 10 SET n:One:Two",
        "MATCH (n:One:Two) WHERE n.i = 7 REMOVE n:One:Two",
    ] {
        write(&pair, text).await;
        arrives(&pair, "differential").await;
    }
}

/// Neo4j's constraints stay Neo4j's: FalkorDB gets no constraint that could refuse a row, and indices as far as it has them.
#[tokio::test]
async fn constraints_are_not_carried_over_and_their_indices_are() {
    let pair = pair("constraints").await;
    write(&pair, "CREATE CONSTRAINT compat_unique IF NOT EXISTS FOR (n:Guarded) REQUIRE n.code IS UNIQUE").await;
    write(&pair, "CREATE INDEX compat_pair IF NOT EXISTS FOR (n:Guarded) ON (n.first, n.second)").await;
    write(&pair, "CREATE (:Guarded {code: 1, first: 1, second: 2}), (:Guarded {code: 2})").await;
    arrives(&pair, "full").await;
    let (running, _http) = Http::start(&pair.service).unwrap();
    let began = Instant::now();
    loop {
        let indexed = cell(&pair, "CALL db.indexes() YIELD label, properties WHERE label = 'Guarded' RETURN properties").await;
        if ["code", "first", "second"].iter().all(|property| indexed.contains(property)) {
            break;
        }
        assert!(began.elapsed() < EVENT, "{indexed}\n{}", running.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(running.terminate().await, 0);
    assert_eq!(cell(&pair, "CALL db.constraints()").await, "array([])");
    // What was unique may change places.
    write(&pair, "MATCH (n:Guarded {code: 1}) SET n.code = 3").await;
    write(&pair, "MATCH (n:Guarded {code: 2}) SET n.code = 1").await;
    arrives(&pair, "differential").await;
    write(&pair, "DROP CONSTRAINT compat_unique").await;
    write(&pair, "DROP INDEX compat_pair").await;
}

/// Keys of one's own, from text that looks like something else to text in any script.
#[tokio::test]
async fn keys_of_text_may_be_anything_that_the_index_finds_again() {
    let mut pair = pair("keys").await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keyed.yaml");
    std::fs::write(&file, "name: keyed\ndiscover: {labels: {include: [Keyed]}, types: {include: [SELF]}, nodes: [{label: Keyed, key: key}], relationships: [{type: '*', key: key}]}\n")
        .unwrap();
    pair.service = pair.service.clone().with("SYNC_PROFILE", file.display());
    write(&pair, "CREATE INDEX compat_key IF NOT EXISTS FOR (n:Keyed) ON (n.key)").await;
    let long = "k".repeat(4096);
    let good =
        ["1", "null", "true", "a b", "A", "a", "it's", "\"", "\\", "{x}", "$k", "😀", "é", "e\u{301}", "*", "@", long.as_str()];
    let good: Vec<String> = good.iter().map(|key| (*key).to_owned()).collect();
    let text = "UNWIND $keys AS key CREATE (a:Keyed {key: key})-[:SELF {key: key}]->(a)";
    pair.source.graph.run(query(text).param("keys", good.clone())).await.unwrap();
    let pass = pair.sync("full").await;
    assert_eq!((&pass["totals"]["nodes"], &pass["totals"]["quarantined"]), (&(good.len() as u64).into(), &0.into()), "{pass}");
    assert_eq!(pair.service.finish(&["verify"]).await.code, 0);
    let mut cache = pair.cache.connect().await.unwrap();
    let held = ask(&mut cache, &pair.graph, "MATCH (n:Keyed)-[:SELF]->(n) RETURN count(n)").await;
    assert!(held.contains(&format!("int({})", good.len())), "{held}");

    // What the index would not find again is quarantined, with the relationships on it, and nothing else.
    let over = "k".repeat(4097);
    let bad = ["", " edge", "edge ", over.as_str()].map(str::to_owned).to_vec();
    pair.source.graph.run(query("UNWIND $keys AS key CREATE (:Keyed {key: key})").param("keys", bad)).await.unwrap();
    write(&pair, "CREATE (:Keyed)").await;
    let checked = pair.service.finish(&["check"]).await;
    assert!(checked.code == 1 && checked.stdout.contains("5 elements or properties"), "{}", checked.stdout);
    write(&pair, "DROP INDEX compat_key").await;
}
