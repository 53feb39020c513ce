//! What a Neo4j does that stops, loses its indices, or knows another password.

use std::time::Duration;

use neo4rs::{Graph, query};

use super::Proxied;
use crate::support::servers::Neo4jServer;

/// As of the cache's.
const PAUSE: Duration = Duration::from_secs(12);

async fn system(graph: &Graph, text: &str) {
    graph.run_on("system", query(text)).await.unwrap();
}

/// One Neo4j for all of these: it takes seconds to start.
#[tokio::test]
#[ignore = "with make test-faults"]
async fn a_source_that_goes_and_comes_is_followed() {
    let server = Neo4jServer::start().await.unwrap();
    let mut proxied = Proxied::with_source("source", &server).await;

    for what in ["Neo4j killed", "Neo4j stopped"] {
        proxied.write().await;
        match what {
            "Neo4j killed" => server.kill(),
            _ => server.stop().await,
        }
        let verdict = proxied.http.until_ready(false).await;
        assert!(verdict.contains("Neo4j"), "{verdict}");
        server.restart().await.unwrap();
        proxied.write().await;
        proxied.converges(what).await;
        proxied.http.until_ready(true).await;
    }

    server.pause();
    proxied.http.until_ready(false).await;
    // The pause is the fault: that long, whatever happens meanwhile.
    tokio::time::sleep(PAUSE).await;
    server.resume();
    proxied.write().await;
    proxied.converges("Neo4j paused").await;

    let graph = proxied.source.clone();
    let text = "SHOW INDEXES YIELD name, type, labelsOrTypes WHERE type = 'RANGE' AND any(l IN labelsOrTypes WHERE l IN \
                ['Entity', 'RELATES_TO', 'Episodic']) RETURN name";
    let mut rows = graph.execute(query(text)).await.unwrap();
    let mut names = Vec::new();
    while let Some(row) = rows.next().await.unwrap() {
        names.push(row.get::<String>("name").unwrap());
    }
    assert!(!names.is_empty());
    for name in names {
        graph.run(query(&format!("DROP INDEX `{name}`"))).await.unwrap();
    }
    proxied.write().await;
    proxied.converges("Neo4j without its indices").await;

    let password = server.password();
    system(&graph, "ALTER USER neo4j SET PASSWORD 'another-one' CHANGE NOT REQUIRED").await;
    // Who is logged on stays so.
    proxied.bolt.reset().await;
    let verdict = proxied.http.until_ready(false).await;
    assert!(verdict.contains("neo4j.password"), "{verdict}");
    assert!(!proxied.running.log().contains(password), "the password is in the log");
    system(&graph, &format!("ALTER USER neo4j SET PASSWORD '{password}' CHANGE NOT REQUIRED")).await;
    proxied.write().await;
    proxied.converges("Neo4j's password changed and back").await;
    proxied.http.until_ready(true).await;
    proxied.ends().await;
}
