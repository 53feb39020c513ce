//! One rule says what stands in the cache, and all words follow it: an element that it cannot hold is listed and not in the cache,
//! whatever found it; one that it can hold is there, whatever the quarantine said of it before. No comparison runs in the background.

use std::time::Duration;

use neo4rs::query;
use serde_json::Value;

use super::api;
use super::pipeline::Pair;
use super::unusable::Watched;
use crate::support::deadline::EVENT;

/// Long ago, so that no timestamp betrays anything.
const THEN: &str = "datetime('2020-01-01T00:00:00Z')";

/// A pair, filled by a full sync of this content.
async fn synced(test: &str, make: &str) -> Pair {
    let pair = Pair::new(test).await;
    run(&pair, make).await;
    pair.sync("full").await;
    pair
}

async fn run(pair: &Pair, text: &str) {
    pair.source.graph.run(query(text)).await.unwrap();
}

async fn texts(pair: &Pair, text: &str) -> Vec<String> {
    let mut cache = pair.cache.connect().await.unwrap();
    let answer: redis::Value = redis::cmd("GRAPH.QUERY").arg(&pair.graph).arg(text).query_async(&mut cache).await.unwrap();
    let redis::Value::Array(parts) = answer else { panic!("{answer:?}") };
    let redis::Value::Array(rows) = &parts[1] else { panic!("{parts:?}") };
    let mut found: Vec<String> =
        rows.iter().map(|row| redis::from_redis_value::<Vec<String>>(row.clone()).unwrap().remove(0)).collect();
    found.sort();
    found
}

/// The keys of all nodes, and of all relationships, of the cache.
async fn held(pair: &Pair) -> (Vec<String>, Vec<String>) {
    (texts(pair, "MATCH (n) RETURN n.uuid").await, texts(pair, "MATCH ()-[e]->() RETURN e.uuid").await)
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// The entries of the quarantine by kind and name.
async fn listed(watched: &Watched) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut listed: Vec<_> = watched.entries().await.iter().map(|entry| (text(&entry["kind"]), text(&entry["key"]))).collect();
    listed.sort();
    listed
}

fn entry(kind: &str, key: &str) -> (String, String) {
    (kind.to_owned(), key.to_owned())
}

async fn report(pair: &Pair, arguments: &[&str], code: i32) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--output", "json"]).collect();
    let finished = pair.service.finish(&arguments).await;
    assert_eq!(finished.code, code, "{arguments:?}: {finished:?}");
    serde_json::from_str::<Value>(&finished.stdout).unwrap()[0].clone()
}

/// An entity with a label that the cache cannot hold, and two without.
fn labelled() -> String {
    format!(
        "CREATE (:Entity:`b``t` {{uuid: 'x', name: 'x', created_at: {THEN}}}), (:Entity {{uuid: 'y', name: 'y', created_at: {THEN}}}), \
         (:Entity {{uuid: 'z', name: 'z', created_at: {THEN}}})"
    )
}

#[tokio::test]
async fn a_comparison_finds_a_node_that_a_label_made_unusable() {
    let pair = synced("rule_label", &labelled()).await;
    run(&pair, "MATCH (y:Entity {uuid: 'y'}) SET y:`b``t`, y.name = 'spoilt'").await;
    let differs = report(&pair, &["verify"], 1).await;
    assert_eq!((&differs["found"][0]["key"], &differs["found"][0]["difference"]), (&"y".into(), &"orphaned".into()), "{differs}");
    report(&pair, &["verify", "--repair"], 0).await;
    assert_eq!(held(&pair).await.0, ["z"]);
    assert_eq!(report(&pair, &["verify"], 0).await["parts"]["quarantined"], 2);
}

#[tokio::test]
async fn a_label_that_moves_from_one_node_to_another_is_noticed() {
    let watched = Watched::new("rule_moved", &[&labelled()], |service| service).await;
    assert_eq!(listed(&watched).await, [entry("Entity", "x")]);
    for level in ["applied", "verified"] {
        watched
            .write("MATCH (x:Entity {uuid: 'x'}), (y:Entity {uuid: 'y'}) REMOVE x:`b``t` SET y:`b``t`, y.name = 'spoilt'")
            .await;
        watched.until_told(level).await;
        assert_eq!(held(&watched.pair).await.0, ["x", "z"], "{level}");
        assert_eq!(listed(&watched).await, [entry("Entity", "y")], "{level}");
        watched.write_and_wait("MATCH (x:Entity {uuid: 'x'}), (y:Entity {uuid: 'y'}) SET x:`b``t` REMOVE y:`b``t`").await;
        assert_eq!(listed(&watched).await, [entry("Entity", "x")], "{level}");
    }
    watched.end().await;
}

#[tokio::test]
async fn more_nodes_with_a_label_than_a_pass_looks_at_are_all_listed() {
    let make = format!("UNWIND range(1, 1300) AS i CREATE (:Entity {{uuid: 'e' + i, name: 'old', created_at: {THEN}}})");
    let watched = Watched::new("rule_many", &[&make], |service| service.with("SYNC_MAX_DELETE_FRACTION", 1)).await;
    watched.write("MATCH (n:Entity) WITH n LIMIT 1200 SET n:`b``t`, n.name = 'new'").await;
    watched.until_told("verified").await;
    assert_eq!(watched.cached("MATCH (n:Entity) RETURN count(n)").await, 100);
    assert_eq!(watched.http.status().await["quarantined"], 1200);
    watched.end().await;
}

/// Two entities share a key: the cache cannot hold one of them.
fn twins() -> String {
    format!(
        "CREATE (:Entity:`b``t` {{uuid: 'u', name: 'bad', created_at: {THEN}}}), \
         (:Entity {{uuid: 'u', name: 'good', created_at: {THEN}}}), (:Community {{uuid: 'c', name: 'c'}})"
    )
}

#[tokio::test]
async fn what_hangs_on_a_node_is_there_although_another_one_of_its_key_cannot_be_kept() {
    let watched = Watched::new("rule_twins", &[&twins()], |service| service).await;
    watched
        .write_and_wait(
            "MATCH (b:Entity {name: 'good'}), (a:Entity {name: 'bad'}), (c:Community) \
             CREATE (c)-[:HAS_MEMBER {uuid: 'of-good'}]->(b), (c)-[:HAS_MEMBER {uuid: 'of-bad'}]->(a)",
        )
        .await;
    let both = strings(&["of-bad", "of-good"]);
    assert_eq!(held(&watched.pair).await, (strings(&["c", "u"]), both), "{:?}", watched.entries().await);
    let [(kind, name)] = &listed(&watched).await[..] else { panic!("{:?}", watched.entries().await) };
    assert!(kind == "Entity" && name.starts_with("Neo4j id "), "{name}");
    watched.until_told("verified").await;

    // The good one goes: now the key itself stands for what cannot be kept, and takes what hangs on it along.
    watched.write_and_wait("MATCH (n:Entity {name: 'good'}) DETACH DELETE n").await;
    assert_eq!(held(&watched.pair).await, (strings(&["c"]), Vec::new()));
    let waits = entry("HAS_MEMBER", "relationships of (:Entity u)");
    assert_eq!(listed(&watched).await, [entry("Entity", "u"), waits]);
    // And it is mended.
    watched.write_and_wait("MATCH (n:Entity {name: 'bad'}) REMOVE n:`b``t`").await;
    assert_eq!(held(&watched.pair).await, (strings(&["c", "u"]), strings(&["of-bad"])));
    watched.assert_nothing_listed().await;
    watched.end().await;
}

#[tokio::test]
async fn relationships_of_one_key_of_which_one_cannot_be_kept_are_told_apart() {
    let make = format!(
        "CREATE (a:Entity {{uuid: 'a', created_at: {THEN}}}), (c:Community {{uuid: 'c'}}), (k:Entity {{created_at: {THEN}}}), \
         (c)-[:HAS_MEMBER {{uuid: 'h'}}]->(k), (c)-[:HAS_MEMBER {{uuid: 'h'}}]->(k)"
    );
    let watched = Watched::new("rule_same_key", &[&make], |service| service).await;
    let of_type = |listed: Vec<(String, String)>| listed.into_iter().filter(|(kind, _)| kind == "HAS_MEMBER").count();
    assert_eq!(of_type(listed(&watched).await), 2, "each of them: {:?}", watched.entries().await);
    watched.write_and_wait("MATCH (a:Entity {uuid: 'a'}), (c:Community) CREATE (c)-[:HAS_MEMBER {uuid: 'h'}]->(a)").await;
    assert_eq!(held(&watched.pair).await.1, ["h"], "{:?}", watched.entries().await);
    assert_eq!(of_type(listed(&watched).await), 2, "{:?}", watched.entries().await);
    watched.end().await;
}

/// A fact of which one end has a label that the cache cannot hold.
fn fact() -> String {
    format!(
        "CREATE (a:Entity {{uuid: 'a', created_at: {THEN}}})-[:RELATES_TO {{uuid: 'f', created_at: {THEN}}}]->\
         (b:Entity:`b``t` {{uuid: 'b', created_at: {THEN}}})"
    )
}

#[tokio::test]
async fn an_entry_hides_nothing_that_the_cache_could_hold() {
    let pair = synced("rule_healed", &fact()).await;
    run(&pair, "MATCH (b:Entity {uuid: 'b'}) REMOVE b:`b``t`").await;
    let differs = report(&pair, &["verify"], 1).await;
    assert_eq!((&differs["found"][0]["key"], &differs["found"][0]["difference"]), (&"b".into(), &"missing".into()), "{differs}");
    let mending = report(&pair, &["sync", "--mode", "differential"], 0).await;
    assert!(mending["equal_as_of"].is_null() && mending["differences"].as_u64() > Some(0), "{mending}");
    assert_eq!(held(&pair).await, (strings(&["a", "b"]), strings(&["f"])), "what waits for it is mended with it");
    let equal = report(&pair, &["sync", "--mode", "differential"], 0).await;
    assert!(equal["equal_as_of"].is_string() && equal["differences"] == 0, "{equal}");
    assert_eq!(report(&pair, &["verify"], 0).await["parts"]["quarantined"], 0);
}

#[tokio::test]
async fn a_proof_excepts_only_what_cannot_be_kept() {
    let pair = synced("rule_excepted", &fact()).await;
    let equal = report(&pair, &["sync", "--mode", "differential"], 0).await;
    assert!(equal["equal_as_of"].is_string() && equal["differences"] == 0, "{equal}");
    assert_eq!(report(&pair, &["verify"], 0).await["parts"]["quarantined"], 2, "the node, and what waits for it");
}

#[tokio::test]
async fn of_two_that_share_a_key_the_one_left_is_kept() {
    let make = format!(
        "CREATE (:Entity {{uuid: 'd', created_at: {THEN}}}), (:Entity {{uuid: 'd', created_at: {THEN}}}), \
         (a:Community {{uuid: 'a'}})-[:HAS_MEMBER {{uuid: 'm'}}]->(e:Entity {{uuid: 'e', created_at: {THEN}}}), \
         (a)-[:HAS_MEMBER {{uuid: 'm'}}]->(e)"
    );
    // A server gives numbers of deleted elements again, in any order, and the lowest number is kept.
    let nodes = "MATCH (n:Entity {uuid: 'd'}) WITH n ORDER BY id(n) WITH collect(n) AS both \
                 SET (both[0]).name = 'first' SET (both[1]).name = 'second'";
    let facts = "MATCH ()-[e:HAS_MEMBER]->() WITH e ORDER BY id(e) WITH collect(e) AS both \
                 SET (both[0]).v = 'first' SET (both[1]).v = 'second'";
    let watched = Watched::new("rule_duplicates", &[&make, nodes, facts], |service| service).await;
    let names = "MATCH (n:Entity {uuid: 'd'}) RETURN n.name";
    let values = "MATCH ()-[e:HAS_MEMBER]->() RETURN e.v";
    assert_eq!(
        (texts(&watched.pair, names).await, texts(&watched.pair, values).await),
        (strings(&["first"]), strings(&["first"]))
    );
    // What the full sync met is known after its graph took the place of the live one.
    watched.write_and_wait("MATCH ()-[e:HAS_MEMBER {v: 'first'}]->() DELETE e").await;
    assert_eq!(texts(&watched.pair, values).await, ["second"]);
    // And by another process.
    let Watched { pair, running, .. } = watched;
    assert_eq!(running.terminate().await, 0);
    let service = pair.service.clone().with("API_TOKEN", api::TOKEN).with("SYNC_SCRUB_ROWS_PER_SECOND", 0);
    let (running, http) = api::start(&service).await;
    http.until_ready(true).await;
    let watched = Watched { pair, running, http };
    watched.write_and_wait("MATCH (n:Entity {name: 'first'}) DELETE n").await;
    assert_eq!(texts(&watched.pair, names).await, ["second"]);
    watched.end().await;
}

#[tokio::test]
async fn a_relationship_is_listed_once_its_end_is_of_no_kind() {
    let make =
        format!("CREATE (a:Community {{uuid: 'a'}})-[:HAS_MEMBER {{uuid: 'h'}}]->(b:Entity {{uuid: 'b', created_at: {THEN}}})");
    let watched = Watched::new("rule_no_kind", &[&make], |service| service).await;
    watched.until_told("applied").await;
    watched.write_and_wait("MATCH (b:Entity) REMOVE b:Entity SET b:Thing").await;
    assert_eq!(held(&watched.pair).await, (strings(&["a"]), Vec::new()));
    assert_eq!(listed(&watched).await, [entry("HAS_MEMBER", "h")]);
    watched.write_and_wait("MATCH (b:Thing) SET b:Entity").await;
    watched.assert_nothing_listed().await;
    assert_eq!(held(&watched.pair).await, (strings(&["a", "b"]), strings(&["h"])));
    watched.end().await;
}

#[tokio::test]
async fn a_relationship_has_one_entry_whatever_is_mended_first() {
    let make = format!("CREATE (a:Community {{uuid: 'a'}})-[:HAS_MEMBER {{uuid: ' x'}}]->(b:Entity {{created_at: {THEN}}})");
    let watched = Watched::new("rule_one_entry", &[&make], |service| service).await;
    watched.write_and_wait("MATCH ()-[e:HAS_MEMBER]->() SET e.uuid = 'x'").await;
    assert_eq!(watched.listed("HAS_MEMBER").await.len(), 1, "{:?}", watched.entries().await);
    assert_eq!(watched.listed("HAS_MEMBER").await[0].0, "x");
    watched.write_and_wait("MATCH (b:Entity) SET b.uuid = 'b'").await;
    watched.assert_nothing_listed().await;
    watched.end().await;
}

#[tokio::test]
async fn an_element_without_key_is_listed_although_a_collapse_ends_with_it() {
    let make = "CREATE (:Saga {uuid: 'd'}), (:Saga {uuid: 'd'}), (:Saga {uuid: 'e'})";
    let watched = Watched::new("rule_collapse", &[make], |service| service.with("SYNC_LATE_CHECK_SECONDS", 900)).await;
    watched.until_told("applied").await;
    let text = "MATCH (n:Saga {uuid: 'd'}) WITH n ORDER BY id(n) DESC LIMIT 1 DELETE n CREATE (:Saga {name: 'keyless'})";
    watched.write_and_wait(text).await;
    let [(name, _)] = &watched.listed("Saga").await[..] else { panic!("{:?}", watched.entries().await) };
    assert!(name.starts_with("Neo4j id "), "{name}");
    watched.end().await;
}

#[tokio::test]
async fn a_key_that_reads_like_the_name_of_an_entry_takes_no_entry_away() {
    let watched =
        Watched::new("rule_names", &[&format!("CREATE (:Entity {{name: 'keyless', created_at: {THEN}}})")], |service| service)
            .await;
    let [(_, name)] = &listed(&watched).await[..] else { panic!("{:?}", watched.entries().await) };
    for round in 0..2 {
        let text = format!("CREATE (:Entity {{uuid: '{name}', name: 'n{round}', created_at: datetime()}})");
        watched.write_and_wait(&text).await;
        assert_eq!(listed(&watched).await, [entry("Entity", name)]);
        assert_eq!(held(&watched.pair).await.0, *std::slice::from_ref(name));
        watched.write_and_wait(&format!("MATCH (n:Entity {{uuid: '{name}'}}) DELETE n")).await;
        assert_eq!(listed(&watched).await, [entry("Entity", name)]);
        assert_eq!(held(&watched.pair).await.0, Vec::<String>::new());
    }
    watched.end().await;
}

#[tokio::test]
async fn what_waited_and_is_deleted_is_no_more_listed_once_it_is_verified() {
    let make = format!(
        "CREATE (a:Community {{uuid: 'a'}})-[:HAS_MEMBER {{uuid: 'h'}}]->(b:Entity:`b``t` {{uuid: 'b', created_at: {THEN}}})"
    );
    let watched = Watched::new("rule_waited", &[&make], |service| service).await;
    watched.until_told("applied").await;
    assert_eq!(watched.listed("HAS_MEMBER").await.len(), 1, "{:?}", watched.entries().await);
    watched.write("MATCH ()-[e:HAS_MEMBER]->() DELETE e").await;
    watched.until_told("verified").await;
    // The comparison that proved it is told before its last entry is.
    let began = std::time::Instant::now();
    while !watched.listed("HAS_MEMBER").await.is_empty() {
        assert!(began.elapsed() < EVENT, "{:?}", watched.entries().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    watched.end().await;
}
