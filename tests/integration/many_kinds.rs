//! Databases of thousands of labels and relationship types.

use std::time::{Duration, Instant};

use neo4rs::{Graph, query};

use super::bookmarks::wait_for;
use super::pipeline::{PROGRAM, last_bookmark};
use crate::support::comparer::{GENERIC, assert_same_content, compare_content};
use crate::support::graph::create_indices;
use crate::support::http::Http;
use crate::support::servers::{FalkorServer, Neo4jOptions, Neo4jServer, fresh_graph_name};
use crate::support::service::{Running, Service};

/// A program that is not optimised, with other tests beside it, may take so many times as long.
const SLOWNESS: u64 = if cfg!(debug_assertions) { 6 } else { 1 };

/// In step after this time, with a database that has planned nothing yet.
const IN_STEP: Duration = Duration::from_secs(30 * SLOWNESS);

/// A commit is applied after this time.
const APPLIED: Duration = Duration::from_secs(10 * SLOWNESS);

const POLL: Duration = Duration::from_millis(20);

/// A database of its own: names of labels and types stay in one for good.
async fn database() -> (Neo4jServer, Graph) {
    let server = Neo4jServer::start_with(Neo4jOptions::default()).await.unwrap();
    let graph = server.address().connect().await.unwrap();
    (server, graph)
}

async fn write(graph: &Graph, text: &str) {
    graph.run(query(text)).await.unwrap();
}

async fn until_ready(http: &Http, running: &Running) -> Duration {
    let begun = Instant::now();
    loop {
        match http.get("/ready").await {
            Ok((200, _)) => return begun.elapsed(),
            _ => assert!(begun.elapsed() < 4 * IN_STEP, "not in step:\n{}", running.log()),
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until the cache holds what was committed until now.
async fn until_applied(http: &Http, running: &Running, server: &Neo4jServer) -> Duration {
    let begun = Instant::now();
    wait_for(http, &last_bookmark(&server.address()).await, running).await;
    begun.elapsed()
}

#[tokio::test]
async fn two_thousand_labels_and_types_are_in_step_within_half_a_minute() {
    let (server, graph) = database().await;
    write(&graph, "UNWIND range(0, 1999) AS i CREATE (:$('L' + i) {n: i}), (:$('L' + i):$('L' + (i + 1) % 2000) {n: i})").await;
    write(&graph, "MATCH (n:L0) WITH n LIMIT 1 UNWIND range(0, 1999) AS i CREATE (n)-[:$('T' + i) {n: i}]->(n)").await;
    let cache_server = FalkorServer::start().await.unwrap();
    let cache = cache_server.address();
    let name = fresh_graph_name("kinds");
    let service = Service::new(PROGRAM, &server.address(), &cache, &name)
        .with("SYNC_PROFILE", "generic")
        .with("SYNC_SCRUB_ROWS_PER_SECOND", 0)
        .with("SYNC_LATE_CHECK_SECONDS", 1)
        .with("LOG_LEVEL", "debug");
    let (running, http) = Http::start(&service).unwrap();
    let ready = until_ready(&http, &running).await;
    println!("in step after {:.1} s", ready.as_secs_f64());
    assert!(ready < IN_STEP, "{ready:?}\n{}", running.log());
    assert_same_content(&graph, &cache, &name, GENERIC).await;

    // A change that counts betray, and then one that they do not.
    write(&graph, "CREATE (:L7 {n: 'new'})-[:T9 {n: 'new'}]->(:L8:L3)").await;
    let applied = until_applied(&http, &running, &server).await;
    println!("a commit applied after {:.1} s", applied.as_secs_f64());
    assert!(applied < APPLIED, "{applied:?}\n{}", running.log());
    assert_same_content(&graph, &cache, &name, GENERIC).await;
    write(&graph, "MATCH (n:L11) WITH n LIMIT 1 DETACH DELETE n CREATE (:L11 {n: 'instead'})").await;
    let begun = Instant::now();
    while !compare_content(&graph, &cache, &name, GENERIC).await.unwrap().is_empty() {
        assert!(begun.elapsed() < IN_STEP, "not found by its keys:\n{}", running.log());
        tokio::time::sleep(POLL).await;
    }
    assert_eq!(running.terminate().await, 0);
    let begun = Instant::now();
    let check = service.finish(&["check"]).await;
    assert_eq!(check.code, 0, "{}", check.stderr);
    println!("checked in {:.1} s", begun.elapsed().as_secs_f64());
    assert!(begun.elapsed() < IN_STEP, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn labels_of_other_programs_cost_a_commit_nothing() {
    let (server, graph) = database().await;
    create_indices(&graph).await.unwrap();
    write(&graph, "UNWIND range(0, 999) AS i CREATE (a:$('Other' + i)) CREATE (a)-[:$('OTHER_' + i)]->(a)").await;
    write(&graph, "CREATE (:Entity {uuid: 'e', name: 'e', group_id: 'g', created_at: datetime()})").await;
    let cache_server = FalkorServer::start().await.unwrap();
    let cache = cache_server.address();
    let name = fresh_graph_name("other_labels");
    let service =
        Service::new(PROGRAM, &server.address(), &cache, &name).with("SYNC_SCRUB_ROWS_PER_SECOND", 0).with("LOG_LEVEL", "debug");
    let (running, http) = Http::start(&service).unwrap();
    until_ready(&http, &running).await;
    for number in 0..3 {
        // A new label each time, so that no plan of before serves.
        let text =
            format!("CREATE (:Entity:New{number} {{uuid: 'n{number}', name: 'n', group_id: 'g', created_at: datetime()}})");
        write(&graph, &text).await;
        let applied = until_applied(&http, &running, &server).await;
        println!("a commit with a new label applied after {:.2} s", applied.as_secs_f64());
        assert!(applied < APPLIED, "{applied:?}\n{}", running.log());
    }
    assert_eq!(running.terminate().await, 0);
}
