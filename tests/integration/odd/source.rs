//! Values of every type of Neo4j, and keys with every character, where a key, a timestamp or a followed list is expected.

use neo4rs::{BoltBytes, BoltType, query};

use super::{applied, is_usable, keys_of_every_character, small, started};
use crate::pipeline::Pair;
use crate::support::comparer::{Filter, assert_part_equal, read_cache};
use crate::support::graph::build;

/// A value of each type that Neo4j stores, in Cypher. None of them is a key.
const VALUES: [&str; 28] = [
    "17",
    "-9223372036854775807",
    "1.5",
    "0.0 / 0.0",
    "1.0 / 0.0",
    "true",
    "''",
    "'  '",
    "' a'",
    "$long",
    "$bytes",
    "date('2026-01-02')",
    "time('10:00:00+01:00')",
    "localtime('10:00:00')",
    "datetime('2026-01-02T03:04:05+01:00')",
    "datetime('2026-01-02T03:04:05[Europe/Berlin]')",
    "localdatetime('2026-01-02T03:04:05')",
    "duration('P1DT2S')",
    "point({x: 1.0, y: 2.0})",
    "point({longitude: 1.0, latitude: 2.0, height: 3.0})",
    "[]",
    "['x']",
    "[1, 2]",
    "[1.5, 2.5]",
    "[true]",
    "[date('2026-01-02')]",
    "[datetime('2026-01-02T03:04:05+01:00')]",
    "[point({x: 1.0, y: 2.0})]",
];

const LABELS: [&str; 4] = ["Entity", "Episodic", "Community", "Saga"];

/// Types, each with what it leads from and to.
const TYPES: [(&str, &str, &str); 5] = [
    ("RELATES_TO", "Entity", "Entity"),
    ("MENTIONS", "Episodic", "Entity"),
    ("HAS_MEMBER", "Community", "Entity"),
    ("HAS_EPISODE", "Saga", "Episodic"),
    ("NEXT_EPISODE", "Episodic", "Episodic"),
];

/// Longer than a key of the cache may be, and short enough for an index of Neo4j.
const LONG: usize = 5000;

/// One node of each kind, with the same key, to hang relationships on.
async fn anchors(pair: &Pair) {
    for label in LABELS {
        let text = format!("CREATE (:{label} {{uuid: 'anchor', name: 'anchor', group_id: '', created_at: datetime()}})");
        pair.source.graph.run(query(&text)).await.unwrap();
    }
}

/// Elements whose key is this value, marked as odd; and elements with good keys whose timestamps and lists are.
fn elements_with(value: &str, name: &str) -> String {
    let anchors: Vec<String> = LABELS.iter().map(|label| format!("({label}:{label} {{uuid: 'anchor'}})")).collect();
    let mut creates = Vec::new();
    for label in LABELS {
        creates.push(format!("(:{label} {{uuid: {value}, group_id: '', created_at: datetime(), odd: true}})"));
    }
    for (rel_type, from, to) in TYPES {
        creates
            .push(format!("({from})-[:{rel_type} {{uuid: {value}, group_id: '', created_at: datetime(), odd: true}}]->({to})"));
    }
    let good = |what: &str| format!("uuid: '{name}-{what}', name: 'n', group_id: ''");
    creates.push(format!("(:Entity {{{}, created_at: {value}}})", good("created")));
    creates.push(format!("(:Episodic {{{}, created_at: {value}}})", good("created")));
    creates.push(format!("(:Episodic {{{}, created_at: datetime(), entity_edges: {value}}})", good("edges")));
    for (what, properties) in [
        ("created", format!("created_at: {value}")),
        ("expired", format!("created_at: datetime(), expired_at: {value}")),
        ("episodes", format!("created_at: datetime(), episodes: {value}")),
    ] {
        creates.push(format!("(Entity)-[:RELATES_TO {{{}, {properties}}}]->(Entity)", good(what)));
    }
    format!("MATCH {} CREATE {}", anchors.join(", "), creates.join(", "))
}

/// How many odd elements there are for each value.
const ODD_OF_A_VALUE: usize = LABELS.len() + TYPES.len();

async fn write_values(pair: &Pair, phase: &str) {
    for (number, value) in VALUES.iter().enumerate() {
        let text = elements_with(value, &format!("{phase}-{number}"));
        let bytes = BoltType::Bytes(BoltBytes::new(vec![0_u8, 1, 255].into()));
        let statement = query(&text).param("long", "x".repeat(LONG)).param("bytes", bytes);
        pair.source.graph.run(statement).await.unwrap_or_else(|error| panic!("{value}: {error}"));
    }
}

/// Elements of each kind with a key of every character; returns how many of them no key of the cache can be.
async fn write_characters(pair: &Pair, letter: char) -> usize {
    let (good, odd): (Vec<String>, Vec<String>) = keys_of_every_character(letter).into_iter().partition(|key| is_usable(key));
    assert!(good.len() > 500 && odd.len() > 100, "{} and {}", good.len(), odd.len());
    for (keys, mark) in [(&good, "null"), (&odd, "true")] {
        for label in LABELS {
            let text =
                format!("UNWIND $keys AS k CREATE (:{label} {{uuid: k, group_id: '', created_at: datetime(), odd: {mark}}})");
            pair.source.graph.run(query(&text).param("keys", keys.clone())).await.unwrap();
        }
        for (rel_type, from, to) in TYPES {
            let text = format!(
                "MATCH (a:{from} {{uuid: 'anchor'}}), (b:{to} {{uuid: 'anchor'}}) UNWIND $keys AS k \
                 CREATE (a)-[:{rel_type} {{uuid: k, group_id: '', created_at: datetime(), odd: {mark}}}]->(b)"
            );
            pair.source.graph.run(query(&text).param("keys", keys.clone())).await.unwrap();
        }
    }
    odd.len() * (LABELS.len() + TYPES.len())
}

async fn assert_the_rest_is_equal(pair: &Pair) {
    let rest = Filter {
        nodes: Some("n.odd IS NULL".to_owned()),
        relationships: Some("e.odd IS NULL AND a.odd IS NULL AND b.odd IS NULL".to_owned()),
    };
    assert_part_equal(&pair.source.graph, &rest, &pair.cache, &pair.graph).await;
}

#[tokio::test]
async fn a_value_of_any_type_stops_nothing() {
    let pair = Pair::new("odd_types").await;
    build(&pair.source.graph, &small()).await.unwrap();
    anchors(&pair).await;
    write_values(&pair, "before").await;
    let (mut running, http) = started(&pair).await;
    assert_the_rest_is_equal(&pair).await;
    let odd = VALUES.len() * ODD_OF_A_VALUE;
    assert_eq!(http.status().await["quarantined"], odd, "each with its reason");
    let entries = http.json("/api/sync/quarantine").await["pipelines"]["default"]["entries"].clone();
    for entry in entries.as_array().unwrap() {
        assert!(entry["reason"].as_str().unwrap().starts_with("the key"), "{entry}");
    }

    write_values(&pair, "after").await;
    applied(&pair, &http, &running).await;
    assert_the_rest_is_equal(&pair).await;
    // What is odd goes as it came, and so does what was good.
    pair.source.graph.run(query("MATCH (n:Entity) WHERE n.odd OR n.uuid STARTS WITH 'before-1' DETACH DELETE n")).await.unwrap();
    applied(&pair, &http, &running).await;
    assert_the_rest_is_equal(&pair).await;
    assert_eq!(running.terminate_now().await, 0);

    let report = pair.sync("full").await;
    let left = 2 * odd - 2 * VALUES.len();
    assert_eq!(report["totals"]["quarantined"], left, "{report}");
    assert_the_rest_is_equal(&pair).await;
}

#[tokio::test]
async fn a_key_with_any_character_stops_nothing() {
    let pair = Pair::new("odd_characters").await;
    build(&pair.source.graph, &small()).await.unwrap();
    anchors(&pair).await;
    let before = write_characters(&pair, 'z').await;
    let (mut running, http) = started(&pair).await;
    assert_the_rest_is_equal(&pair).await;
    assert_eq!(http.status().await["quarantined"], before);

    let after = write_characters(&pair, 'y').await;
    applied(&pair, &http, &running).await;
    assert_the_rest_is_equal(&pair).await;
    assert_eq!(running.terminate_now().await, 0);
    let report = pair.sync("full").await;
    assert_eq!(report["totals"]["quarantined"], before + after, "{report}");
    assert_the_rest_is_equal(&pair).await;
}

/// Kinds that are found in the source, with keys of their own.
const PROFILE: &str = "
name: keys
discover:
  identity: _neo4j_id
  timestamps: [t]
  nodes: [{ label: '*', key: k }]
  relationships: [{ type: '*', key: k }]
";

#[tokio::test]
async fn a_key_with_any_character_stops_nothing_in_a_graph_of_any_kind() {
    let mut pair = Pair::new("odd_generic").await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.yaml");
    std::fs::write(&file, PROFILE).unwrap();
    pair.service = pair.service.clone().with("SYNC_PROFILE", file.display());
    let write = async |letter: char| {
        let keys = keys_of_every_character(letter);
        let text = "UNWIND $keys AS k CREATE (a:Odd {k: k}) CREATE (a)-[:ODD {k: k}]->(a)";
        pair.source.graph.run(query(text).param("keys", keys.clone())).await.unwrap();
        let numbers =
            "CREATE (a:Odd {k: 5}) CREATE (a)-[:ODD {k: 5}]->(a) CREATE (b:Odd {k: ['x']}) CREATE (b)-[:ODD {k: date()}]->(b)";
        pair.source.graph.run(query(numbers)).await.unwrap();
        keys.iter().filter(|key| is_usable(key)).count()
    };
    let before = write('z').await;
    let (running, http) = started(&pair).await;
    let held = async || {
        let snapshot = read_cache(&pair.cache, &pair.graph).await.unwrap();
        (snapshot.nodes.len(), snapshot.relationships.len())
    };
    assert_eq!(held().await, (before, before));
    let after = write('y').await;
    applied(&pair, &http, &running).await;
    assert_eq!(held().await, (before + after, before + after));
    assert_eq!(running.terminate().await, 0);
}
