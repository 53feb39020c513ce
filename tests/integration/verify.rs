//! `verify` tells whether both sides are equal, names exactly what differs, and mends it if it is told to.

use std::collections::BTreeSet;

use neo4rs::query;
use serde_json::Value;

use super::pipeline::{PROGRAM, Pair};
use crate::support::comparer::{compare, read_cache};
use crate::support::copier;
use crate::support::graph::{GraphSpec, build};
use crate::support::servers::ports;
use crate::support::service::{Finished, Service};

/// Nodes that nothing hangs on: one that the cache loses takes nothing else with it.
const ALONE: usize = 3;

/// A difference as `verify` names it: kind, key, how, and what.
type Named = (String, String, String, Vec<String>);

/// Corrupts a cache by hand, and remembers how.
struct Corruptor<'a> {
    pair: &'a Pair,
    cache: redis::aio::MultiplexedConnection,
    /// Keys that are corrupted already: each element once.
    used: BTreeSet<String>,
    done: BTreeSet<Named>,
}

impl<'a> Corruptor<'a> {
    async fn new(pair: &'a Pair) -> Self {
        let cache = pair.cache.connect().await.unwrap();
        Self { pair, cache, used: BTreeSet::new(), done: BTreeSet::new() }
    }

    async fn keys(&mut self, text: &str) -> Vec<String> {
        let answer = copier::run(&mut self.cache, &self.pair.graph, text).await.unwrap();
        let redis::Value::Array(parts) = answer else { panic!("{answer:?}") };
        let redis::Value::Array(rows) = &parts[1] else { panic!("{parts:?}") };
        rows.iter().map(|row| redis::from_redis_value::<Vec<String>>(row.clone()).unwrap().remove(0)).collect()
    }

    /// Changes so many elements of a kind: `pattern` names them `x`.
    async fn change(&mut self, pattern: &str, kind: &str, number: usize, change: &str, how: &str, names: &[&str]) {
        let used: Vec<String> = self.used.iter().map(|key| format!("'{key}'")).collect();
        let text = format!(
            "MATCH {pattern} WHERE NOT x.uuid IN [{}] WITH x, x.uuid AS key ORDER BY key LIMIT {number} {change} RETURN key",
            used.join(",")
        );
        let keys = self.keys(&text).await;
        assert_eq!(keys.len(), number, "{text}");
        self.note(kind, keys, how, names);
    }

    fn note(&mut self, kind: &str, keys: Vec<String>, how: &str, names: &[&str]) {
        for key in keys {
            assert!(self.used.insert(key.clone()), "{key} is corrupted twice");
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            self.done.insert((kind.to_owned(), key, how.to_owned(), names));
        }
    }

    /// Changes one component of vectors.
    async fn bend(&mut self, pattern: &str, kind: &str, property: &str, number: usize) {
        let used: Vec<String> = self.used.iter().map(|key| format!("'{key}'")).collect();
        let some = format!(
            "MATCH {pattern} WHERE x.{property} IS NOT NULL AND NOT x.uuid IN [{}] RETURN x.uuid ORDER BY x.uuid LIMIT {number}",
            used.join(",")
        );
        let keys = self.keys(&some).await;
        let snapshot = read_cache(&self.pair.cache, &self.pair.graph).await.unwrap();
        for key in &keys {
            let of_node = snapshot.nodes.iter().find(|(node, _)| node.uuid == *key).map(|(_, element)| element);
            let of_relationship = || snapshot.relationships.iter().find(|(fact, _)| fact.uuid == *key).map(|(_, found)| found);
            let element = of_node.or_else(of_relationship).unwrap();
            let crate::support::comparer::Value::Vector(numbers) = &element.properties[property] else { panic!("no vector") };
            let mut numbers = numbers.clone();
            let middle = numbers.len() / 2;
            numbers[middle] += 0.25;
            // In two steps: FalkorDB skips the assignment of a vector that it deems equal.
            for value in ["NULL".to_owned(), format!("vecf32({numbers:?})")] {
                let text = format!("MATCH {pattern} WHERE x.uuid = '{key}' SET x.{property} = {value} RETURN x.uuid");
                assert_eq!(self.keys(&text).await.len(), 1);
            }
        }
        self.note(kind, keys, "changed", &[property]);
    }

    /// Fifty of them.
    async fn corrupt(&mut self) {
        let node = |label: &str| format!("(x:{label})");
        let edge = |typ: &str| format!("()-[x:{typ}]->()");
        self.change("(x:Alone)", "Entity", ALONE, "DELETE x", "missing", &[]).await;
        self.change(&node("Entity"), "Entity", 6, "SET x.summary = 'corrupted'", "changed", &["summary"]).await;
        self.change(&node("Entity"), "Entity", 3, "SET x:Wrong", "changed", &[":Wrong"]).await;
        self.change(&node("Person"), "Entity", 2, "REMOVE x:Person", "changed", &[":Person"]).await;
        self.change(&node("Entity"), "Entity", 3, "SET x.surplus = 1", "changed", &["surplus"]).await;
        self.bend(&node("Entity"), "Entity", "name_embedding", 4).await;
        self.change(&node("Episodic"), "Episodic", 3, "SET x.entity_edges = NULL", "changed", &["entity_edges"]).await;
        self.change(&node("Episodic"), "Episodic", 2, "SET x.content = 7", "changed", &["content"]).await;
        self.change(&node("Episodic"), "Episodic", 2, "SET x.valid_at = '2001-01-01T00:00:00+00:00'", "changed", &["valid_at"])
            .await;
        self.change(&node("Saga"), "Saga", 3, "SET x.name = 'corrupted', x.summary = NULL", "changed", &["name", "summary"])
            .await;
        self.change(&edge("RELATES_TO"), "RELATES_TO", 6, "SET x.fact = 'corrupted'", "changed", &["fact"]).await;
        self.bend(&edge("RELATES_TO"), "RELATES_TO", "fact_embedding", 2).await;
        self.change(&edge("RELATES_TO"), "RELATES_TO", 4, "DELETE x", "missing", &[]).await;
        self.change(&edge("MENTIONS"), "MENTIONS", 3, "SET x.created_at = 1.5", "changed", &["created_at"]).await;
        let orphans = "UNWIND ['orphan-1', 'orphan-2'] AS key CREATE (:Community {uuid: key, name: 'o'}) RETURN key";
        let keys = self.keys(orphans).await;
        self.note("Community", keys, "orphaned", &[]);
        let stray = "MATCH (a:Entity) WITH a ORDER BY a.uuid LIMIT 2 WITH collect(a) AS ends WITH ends[0] AS a, ends[1] AS b \
                     CREATE (a)-[:RELATES_TO {uuid: 'stray-1'}]->(b), (b)-[:RELATES_TO {uuid: 'stray-2'}]->(a) \
                     WITH a UNWIND ['stray-1', 'stray-2'] AS key RETURN key";
        let keys = self.keys(stray).await;
        self.note("RELATES_TO", keys, "orphaned", &[]);
        assert_eq!(self.done.len(), 50);
    }
}

fn report(finished: &Finished) -> Value {
    serde_json::from_str::<Value>(&finished.stdout).unwrap_or_else(|_| panic!("{finished:?}"))[0].clone()
}

fn named(report: &Value) -> BTreeSet<Named> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let names = |value: &Value| value.as_array().map(|names| names.iter().map(text).collect()).unwrap_or_default();
    let found = report["found"].as_array().unwrap();
    let all: BTreeSet<Named> = found
        .iter()
        .map(|found| (text(&found["kind"]), text(&found["key"]), text(&found["difference"]), names(&found["names"])))
        .collect();
    assert_eq!(all.len(), found.len(), "each once");
    all
}

/// Writes nodes that nothing hangs on, for [`names_and_mends`].
pub(crate) async fn write_alone(pair: &Pair) {
    let text = "UNWIND range(1, $number) AS i CREATE (:Entity:Alone {uuid: 'alone-' + i, name: 'a', group_id: '', summary: '', \
                created_at: datetime()})";
    pair.source.graph.run(query(text).param("number", i64::try_from(ALONE).unwrap())).await.unwrap();
}

/// Finds nothing where nothing differs, writes nothing, names exactly what was corrupted, and mends it. Nobody else may be
/// at work on the graph.
pub(crate) async fn names_and_mends(pair: &Pair) {
    let verify = async |arguments: &[&str]| {
        let arguments: Vec<&str> = ["verify", "--output", "json"].iter().chain(arguments).copied().collect();
        pair.service.finish(&arguments).await
    };
    let equal = verify(&[]).await;
    assert_eq!(equal.code, 0, "{equal:?}");
    let (equal, bookmark) = (report(&equal), pair.bookmark().await);
    assert_eq!((&equal["equal"], &equal["differences"]), (&true.into(), &0.into()), "{equal}");
    assert_eq!(equal["equal_as_of"], bookmark.as_str(), "{equal}");

    let mut corruptor = Corruptor::new(pair).await;
    corruptor.corrupt().await;
    let corrupted = compare(&pair.source.graph, &pair.cache, &pair.graph).await.unwrap().len();
    let beside = beside(pair).await;
    let differs = verify(&[]).await;
    assert_eq!(differs.code, 1, "{differs:?}");
    let found = named(&report(&differs));
    let (extra, lacking): (Vec<_>, Vec<_>) =
        (found.difference(&corruptor.done).collect(), corruptor.done.difference(&found).collect());
    assert!(extra.is_empty() && lacking.is_empty(), "too much: {extra:?}\nnot named: {lacking:?}");
    assert_eq!(report(&differs)["rows"], equal["rows"]);
    let text = pair.service.finish(&["verify"]).await;
    assert!(text.stdout.contains("50 different") && text.stdout.contains("orphan-1"), "{}", text.stdout);
    let untouched = compare(&pair.source.graph, &pair.cache, &pair.graph).await.unwrap().len();
    assert_eq!((untouched, self::beside(pair).await), (corrupted, beside), "without the repair nothing is written");

    let mended = verify(&["--repair"]).await;
    assert_eq!(mended.code, 0, "{mended:?}");
    assert_eq!(named(&report(&mended)), corruptor.done);
    assert_eq!((&report(&mended)["mended"], &report(&mended)["equal"]), (&50.into(), &true.into()));
    pair.assert_equal().await;
    assert_eq!(verify(&[]).await.code, 0);
}

/// What stands beside the graph.
async fn beside(pair: &Pair) -> (Option<String>, bool) {
    let mut cache = pair.cache.connect().await.unwrap();
    let key = |name: &str| format!("{{{}}}:{name}", pair.graph);
    let checkpoint = redis::cmd("GET").arg(key("checkpoint")).query_async(&mut cache).await.unwrap();
    (checkpoint, redis::cmd("EXISTS").arg(key("owner")).query_async(&mut cache).await.unwrap())
}

#[tokio::test]
async fn fifty_corruptions_are_named_and_mended() {
    let pair = Pair::new("verify").await;
    build(&pair.source.graph, &GraphSpec { dimension: 16, ..GraphSpec::default() }).await.unwrap();
    write_alone(&pair).await;
    pair.sync("full").await;
    names_and_mends(&pair).await;
}

/// More nodes than a scan of the cache asks for at once, and a hub with more relationships than one answer holds.
#[tokio::test]
async fn orphans_of_a_large_kind_and_of_a_hub_are_named() {
    let pair = Pair::new("verify_parts").await;
    for text in [
        "UNWIND range(1, 26000) AS i CREATE (:Entity {uuid: 'e' + i, name: 'n', group_id: '', created_at: datetime()})",
        "MATCH (hub:Entity {uuid: 'e1'}), (n:Entity) \
         CREATE (hub)-[:RELATES_TO {uuid: 'f-' + n.uuid, name: 'n', group_id: '', created_at: datetime()}]->(n)",
    ] {
        pair.source.graph.run(query(text)).await.unwrap();
    }
    pair.sync("full").await;
    let equal = pair.service.finish(&["verify", "--output", "json"]).await;
    assert_eq!(equal.code, 0, "{equal:?}");

    let mut corruptor = Corruptor::new(&pair).await;
    let keys = corruptor.keys("UNWIND ['o1', 'o2', 'o3'] AS key CREATE (:Entity {uuid: key, name: 'o'}) RETURN key").await;
    corruptor.note("Entity", keys, "orphaned", &[]);
    let stray = "MATCH (a:Entity {uuid: 'e1'}), (b:Entity {uuid: 'e26000'}) CREATE (a)-[:RELATES_TO {uuid: 'stray-1'}]->(b), \
                 (b)-[:RELATES_TO {uuid: 'stray-2'}]->(a) WITH a UNWIND ['stray-1', 'stray-2'] AS key RETURN key";
    let keys = corruptor.keys(stray).await;
    corruptor.note("RELATES_TO", keys, "orphaned", &[]);
    let differs = pair.service.finish(&["verify", "--output", "json"]).await;
    assert_eq!((differs.code, named(&report(&differs))), (1, corruptor.done.clone()), "{differs:?}");
    let mended = pair.service.finish(&["verify", "--repair", "--output", "json"]).await;
    assert_eq!((mended.code, named(&report(&mended))), (0, corruptor.done), "{mended:?}");
}

#[tokio::test]
async fn what_stands_in_the_cache_twice_is_named_and_mended() {
    let pair = Pair::new("verify_copies").await;
    build(&pair.source.graph, &GraphSpec { dimension: 16, ..GraphSpec::default() }).await.unwrap();
    write_alone(&pair).await;
    pair.sync("full").await;
    let mut corruptor = Corruptor::new(&pair).await;
    let node = "MATCH (x:Alone) WITH x ORDER BY x.uuid LIMIT 1 CREATE (y:Entity:Alone) SET y = properties(x) RETURN y.uuid";
    let keys = corruptor.keys(node).await;
    corruptor.note("Entity", keys, "changed", &["(copies)"]);
    let edge = "MATCH (a)-[x:MENTIONS]->(b) WITH a, x, b ORDER BY x.uuid LIMIT 1 CREATE (a)-[y:MENTIONS]->(b) SET y = properties(x) \
                RETURN y.uuid";
    let keys = corruptor.keys(edge).await;
    corruptor.note("MENTIONS", keys, "changed", &["(copies)"]);
    let differs = pair.service.finish(&["verify", "--output", "json"]).await;
    assert_eq!((differs.code, named(&report(&differs))), (1, corruptor.done.clone()), "{differs:?}");
    let mended = pair.service.finish(&["verify", "--repair", "--output", "json"]).await;
    assert_eq!((mended.code, named(&report(&mended))), (0, corruptor.done), "{mended:?}");
    pair.assert_equal().await;
    assert_eq!(pair.service.finish(&["verify"]).await.code, 0);
}

#[tokio::test]
async fn a_service_at_work_does_not_look_different_and_keeps_the_repair_to_itself() {
    let pair = Pair::new("verify_beside").await;
    let mut world = build(&pair.source.graph, &GraphSpec { dimension: 16, ..GraphSpec::default() }).await.unwrap();
    let mut running = pair.service.start(&["run"]);
    running.line("pass ended").await;
    for _ in 0..4 {
        world.add_episode(2, 3).await.unwrap();
        let text = "MATCH ()-[m:MENTIONS]->() WITH m LIMIT 1 DELETE m";
        pair.source.graph.run(query(text)).await.unwrap();
        let finished = pair.service.finish(&["verify", "--output", "json"]).await;
        assert_eq!(finished.code, 0, "{finished:?}");
    }
    let refused = pair.service.finish(&["verify", "--repair"]).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("is held by"), "{}", refused.stderr);
    assert_eq!(running.terminate().await, 0);
    let report = pair.service.json(&["sync", "--mode", "differential"]).await[0].clone();
    assert_eq!((&report["mode"], &report["differences"]), (&"differential".into(), &0.into()), "{report}");
    assert_eq!(report["equal_as_of"], pair.bookmark().await.as_str());
}

#[tokio::test]
async fn what_cannot_be_told_is_neither_equal_nor_different() {
    let pair = Pair::new("verify_unknown").await;
    build(&pair.source.graph, &GraphSpec { dimension: 16, ..GraphSpec::default() }).await.unwrap();
    let nowhere = pair.service.clone().with("FALKORDB_PORT", ports::free().unwrap());
    assert_eq!(nowhere.finish(&["verify"]).await.code, 2);
    let mut wrong = pair.source.address.clone();
    wrong.password = "wrong-password".to_owned();
    assert_eq!(Service::new(PROGRAM, &wrong, &pair.cache, &pair.graph).finish(&["verify"]).await.code, 2);
    let missing = pair.service.finish(&["verify", "--output", "json"]).await;
    assert_eq!(missing.code, 1, "there is no graph: {missing:?}");
    assert!(report(&missing)["differences"].as_u64().unwrap() > 600, "{missing:?}");
}

/// A comparison that is broken off goes on where it was, once it is ordered again.
pub(crate) async fn goes_on_after_a_crash(pair: &Pair, elements: usize) {
    let running = pair.service.start(&["sync", "--mode", "differential"]);
    let begun = std::time::Instant::now();
    let stored = loop {
        let (checkpoint, _) = beside(pair).await;
        let checkpoint: Value = serde_json::from_str(&checkpoint.unwrap()).unwrap();
        if let Some(rows) = checkpoint["comparison"]["rows"].as_u64().filter(|rows| *rows > 0) {
            break rows;
        }
        assert!(begun.elapsed().as_secs() < 60, "no place is stored: {}", running.log());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    running.kill().await;
    let key = format!("{{{}}}:owner", pair.graph);
    let mut cache = pair.cache.connect().await.unwrap();
    while redis::cmd("EXISTS").arg(&key).query_async::<bool>(&mut cache).await.unwrap() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let mut running = pair.service.start(&["sync", "--mode", "differential"]);
    let goes_on: Value = serde_json::from_str(&running.line("comparison resumes").await).unwrap();
    assert!(goes_on["rows"].as_u64().unwrap() >= stored, "{goes_on}");
    let ended: Value = serde_json::from_str(&running.line("comparison ended").await).unwrap();
    assert_eq!((&ended["rows"], &ended["differences"]), (&elements.into(), &0.into()), "each once: {ended}");
    assert!(ended["equal_as_of"].is_null(), "what happened to the first part is not known: {ended}");
    assert_eq!(running.ended().await, 0);
}
