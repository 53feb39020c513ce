//! What counts and names alone do not tell apart: nodes without a label from those with two, and a label from a type of its name.

use neo4rs::query;
use serde_json::Value;

use super::super::bookmarks::wait_for;
use super::super::pipeline::Pair;
use crate::support::comparer::{GENERIC, compare_content};
use crate::support::copier;
use crate::support::http::Http;
use crate::support::service::Running;

/// How often a word is asked for whose entries could be taken back by the pass after it.
const TIMES: usize = 4;

struct Told {
    pair: Pair,
    running: Running,
    http: Http,
}

impl Told {
    async fn new(test: &str, begin_with: &str) -> Self {
        let mut pair = Pair::new(test).await;
        pair.service = pair
            .service
            .clone()
            .with("SYNC_PROFILE", "generic")
            .with("SYNC_SCRUB_ROWS_PER_SECOND", 0)
            .with("SYNC_DIFFERENTIAL_INTERVAL_SECONDS", 0)
            .with("SYNC_MAX_DELETE_FRACTION", 1)
            .with("LOG_LEVEL", "debug");
        pair.source.graph.run(query(begin_with)).await.unwrap();
        let (mut running, http) = Http::start(&pair.service).unwrap();
        running.line("pass ended").await;
        let told = Self { pair, running, http };
        told.is_applied().await;
        told.assert_equal("the first graph").await;
        told
    }

    async fn write(&self, text: &str) {
        self.pair.source.graph.run(query(text)).await.unwrap();
    }

    async fn is_applied(&self) {
        wait_for(&self.http, &self.pair.bookmark().await, &self.running).await;
    }

    async fn assert_equal(&self, what: &str) {
        let found = compare_content(&self.pair.source.graph, &self.pair.cache, &self.pair.graph, GENERIC).await.unwrap();
        assert!(found.is_empty(), "applied, but after {what}: {found:#?}\n{}", self.running.log());
    }

    /// Writes, and believes the word for it no more than the comparer.
    async fn applies(&self, text: &str) {
        self.write(text).await;
        self.is_applied().await;
        self.assert_equal(text).await;
    }

    async fn entries(&self) -> Vec<Value> {
        let (_, body) = self.http.get("/api/sync/quarantine").await.unwrap();
        let answer: Value = serde_json::from_str(&body).unwrap();
        answer["pipelines"]["default"]["entries"].as_array().unwrap().clone()
    }
}

/// All nodes less the labels that they carry is as before.
#[tokio::test]
async fn nodes_without_a_label_are_applied_beside_nodes_with_two() {
    let told = Told::new("unlabelled", "CREATE (:A {n: 'a'}), (:B {n: 'b'}), (:A:B {n: 'ab'})").await;
    told.applies("CREATE ({n: 'bare'}), (:A:B {n: 'ab2'})").await;
    told.applies("MATCH (n {n: 'bare'}), (m {n: 'ab2'}) DELETE n, m").await;
    told.applies("MATCH (n {n: 'ab'}) REMOVE n:A:B").await;
    told.applies("MATCH (n {n: 'ab'}) SET n:A").await;
    told.applies("MATCH (n {n: 'a'}) REMOVE n:A SET n:B CREATE ({n: 'bare'}), (:A:B {n: 'ab3'})").await;
    assert_eq!(told.running.terminate().await, 0);
}

/// A scan of all nodes takes a moment, and the source rests for many times as long: nobody who waits is told the old count.
#[tokio::test]
async fn nodes_without_a_label_are_applied_soon_after_one_another() {
    let told = Told::new("unlabelled_soon", "UNWIND range(1, 100000) AS i CREATE (:A:B {i: i})").await;
    let mut cache = told.pair.cache.connect().await.unwrap();
    for number in 1..=TIMES {
        told.write(&format!("MATCH (n:A:B {{i: {number}}}) REMOVE n:A:B")).await;
        told.is_applied().await;
        let found = copier::run(&mut cache, &told.pair.graph, "MATCH (n:_Unlabelled) RETURN count(n)").await.unwrap();
        assert!(format!("{found:?}").contains(&format!("int({number})")), "{number}: {found:?}\n{}", told.running.log());
    }
    assert_eq!(told.running.terminate().await, 0);
}

#[tokio::test]
async fn nodes_are_listed_although_a_type_has_the_name_of_their_label() {
    const NODES: usize = 30;
    let told = Told::new("one_name", "CREATE (:Foo {name: 'ok'})-[:Foo {p: 0}]->(:Bar)").await;
    told.write(&format!("UNWIND range(1, {NODES}) AS i CREATE (:Foo:`b``d` {{i: i}})")).await;
    for _ in 0..TIMES {
        told.is_applied().await;
        let entries = told.entries().await;
        assert_eq!(entries.len(), NODES, "{entries:?}\n{}", told.running.log());
        assert!(entries.iter().all(|entry| entry["kind"] == "Foo" && entry["element"] == "node"), "{entries:?}");
        assert_eq!(told.http.status().await.unwrap()["quarantined"], NODES);
    }
    // A relationship between two of them waits, and its entry is not one of theirs.
    told.write("MATCH (a:Foo {i: 1}), (b:Foo {i: 2}) CREATE (a)-[:Foo {p: 1}]->(b)").await;
    told.is_applied().await;
    let waiting = told.entries().await.into_iter().filter(|entry| entry["element"] == "relationship").count();
    assert_eq!(waiting, 1, "{:?}", told.entries().await);
    // They leave the list with what was wrong.
    told.applies("MATCH (n:`b``d`) REMOVE n:`b``d`").await;
    assert_eq!(told.entries().await, Vec::<Value>::new(), "{}", told.running.log());
    let mut cache = told.pair.cache.connect().await.unwrap();
    let found = copier::run(&mut cache, &told.pair.graph, "MATCH (n:Foo) RETURN count(n)").await.unwrap();
    assert!(format!("{found:?}").contains(&format!("int({})", NODES + 1)), "{found:?}");
    assert_eq!(told.running.terminate().await, 0);
}
