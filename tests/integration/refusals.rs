//! What cannot work says so in one sentence, with the right exit code, and writes nothing.

use redis::aio::MultiplexedConnection;

use super::pipeline::{PROGRAM, Pair};
use crate::support::graph::{GraphSpec, build};
use crate::support::servers::{FalkorAddress, FalkorOptions, FalkorServer, Neo4jAddress};
use crate::support::service::{Finished, Service};

const FAILED: i32 = 1;
const USAGE: i32 = 64;

/// A port of the loopback interface on which nothing listens.
fn closed_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn keys(connection: &mut MultiplexedConnection, graph: &str) -> Vec<String> {
    redis::cmd("KEYS").arg(format!("*{graph}*")).query_async(connection).await.unwrap()
}

/// The sentence for the person; a refusal must not be preceded by a panic or a trace.
fn sentence(finished: &Finished) -> &str {
    assert_eq!(finished.stdout.trim(), if finished.code == USAGE { "" } else { "[]" }, "nothing but the empty result");
    assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
    finished.stderr.lines().last().unwrap_or_default()
}

async fn refused(service: &Service, code: i32, words: &[&str]) {
    let arguments = ["sync", "--mode", "full", "--output", "json"];
    let finished = service.finish(&arguments).await;
    assert_eq!(finished.code, code, "{}", finished.stderr);
    let sentence = if code == USAGE { finished.stderr.as_str() } else { sentence(&finished) };
    for word in words {
        assert!(sentence.contains(word), "{word:?} is not in: {sentence}");
    }
}

#[tokio::test]
async fn nothing_is_written_when_something_cannot_work() {
    let pair = Pair::new("refusal").await;
    build(&pair.source.graph, &GraphSpec { entities: 5, facts: 5, ..GraphSpec::default() }).await.unwrap();
    let mut cache = pair.cache.connect().await.unwrap();
    let service = &pair.service;

    refused(
        &service.clone().with("NEO4J_PASSWORD", "wrong-password"),
        FAILED,
        &["refuses the user or the password", "neo4j.password"],
    )
    .await;
    let nowhere = closed_port();
    refused(
        &service.clone().with("NEO4J_URI", format!("bolt://127.0.0.1:{nowhere}")),
        FAILED,
        &["cannot reach Neo4j", "neo4j.uri"],
    )
    .await;
    refused(&service.clone().with("FALKORDB_PORT", nowhere), FAILED, &["cannot connect to 127.0.0.1", "falkordb.port"]).await;
    refused(&service.clone().with("FALKORDB_PORT", "70000"), USAGE, &["FALKORDB_PORT", "70000"]).await;
    refused(&service.clone().with("NEO4J_DATABASE", "nosuchdatabase"), FAILED, &["neo4j.database"]).await;
    assert_eq!(keys(&mut cache, &pair.graph).await, Vec::<String>::new());

    let _: () = redis::cmd("SET").arg(&pair.graph).arg("precious").query_async(&mut cache).await.unwrap();
    refused(service, FAILED, &["exists and is not a graph but a string", "falkordb.database"]).await;
    let kept: String = redis::cmd("GET").arg(&pair.graph).query_async(&mut cache).await.unwrap();
    assert_eq!((kept.as_str(), keys(&mut cache, &pair.graph).await.len()), ("precious", 1));
}

#[tokio::test]
async fn a_wrong_password_of_the_cache_is_said() {
    let pair = Pair::new("refusal_cache").await;
    let options = FalkorOptions { password: Some("right".to_owned()), ..FalkorOptions::default() };
    let locked = FalkorServer::start_with(options).await.unwrap();
    let service = Service::new(PROGRAM, &pair.source.address, &locked.address(), &pair.graph);
    refused(&service.clone().with("FALKORDB_PASSWORD", "wrong-password"), FAILED, &["falkordb.password"]).await;
    let mut cache = locked.address().connect().await.unwrap();
    assert_eq!(keys(&mut cache, "*").await, Vec::<String>::new());
    assert_eq!(service.finish(&["check"]).await.code, 0, "with the right one it works");
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_is_refused_before_anything_else() {
    let nowhere = Neo4jAddress {
        uri: "bolt://127.0.0.1:1".to_owned(),
        user: "neo4j".to_owned(),
        password: "s3cr3t-word".to_owned(),
        database: "neo4j".to_owned(),
    };
    let cache = FalkorAddress { host: "127.0.0.1".to_owned(), port: 1, username: None, password: None };
    let service = Service::new(PROGRAM, &nowhere, &cache, "unused");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sync.yaml");
    std::fs::write(&file, "neo4j:\n  uri: bolt://localhost:7687\n  passwrod: hunter2\nsync:\n  batch_size: 0\n").unwrap();
    let finished = service.finish(&["sync", "--config", file.to_str().unwrap()]).await;
    assert_eq!(finished.code, USAGE);
    for word in ["neo4j.passwrod", "sync.batch_size"] {
        assert!(finished.stderr.contains(word), "{}", finished.stderr);
    }
    for secret in ["hunter2", "s3cr3t-word"] {
        assert!(!finished.stderr.contains(secret), "{}", finished.stderr);
    }
    assert_eq!(service.finish(&["sync", "--mode", "sideways"]).await.code, USAGE);
    assert_eq!(service.finish(&["sync", "--config", "/nonexistent.yaml"]).await.code, USAGE);
}
