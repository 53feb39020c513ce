//! What cannot work says so in one sentence, with the right exit code, and writes nothing.

use redis::aio::MultiplexedConnection;

use super::pipeline::{PROGRAM, Pair};
use crate::support::graph::{GraphSpec, build};
use crate::support::servers::{FalkorAddress, FalkorOptions, FalkorServer, Neo4jAddress};
use crate::support::service::{Finished, Service};

const FAILED: i32 = 1;
const UNKNOWN: i32 = 2;
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
        &["refuses the user or password", "neo4j.password"],
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
    refused(service, FAILED, &["exists, but it is a string and not a graph", "falkordb.database"]).await;
    let kept: String = redis::cmd("GET").arg(&pair.graph).query_async(&mut cache).await.unwrap();
    assert_eq!((kept.as_str(), keys(&mut cache, &pair.graph).await.len()), ("precious", 1));
}

/// Every line that a service printed, if it ended as it should.
fn all_lines(finished: &Finished, code: i32) -> Vec<&str> {
    assert_eq!(finished.code, code, "{}{}", finished.stdout, finished.stderr);
    finished.stdout.lines().chain(finished.stderr.lines()).filter(|line| !line.is_empty()).collect()
}

/// A service that nothing but this address would stop.
fn without_servers() -> Service {
    let uri = format!("bolt://127.0.0.1:{}", closed_port());
    let (user, password, database) = ("neo4j".to_owned(), "some-word".to_owned(), "neo4j".to_owned());
    let cache = FalkorAddress { host: "127.0.0.1".to_owned(), port: closed_port(), username: None, password: None };
    Service::new(PROGRAM, &Neo4jAddress { uri, user, password, database }, &cache, "unused")
}

#[tokio::test]
async fn a_port_in_use_ends_the_service_with_one_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let finished = without_servers().with("HEALTH_PORT", port).with("HEALTH_BIND", "127.0.0.1").finish(&["run"]).await;
    let lines = all_lines(&finished, FAILED);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains(&format!("cannot listen on 127.0.0.1:{port}")) && lines[0].contains("health_port"), "{}", lines[0]);
}

/// The same for whatever fails after the first actors are there, and before they had their turn.
#[tokio::test]
async fn a_profile_that_is_not_there_ends_every_command_with_one_sentence() {
    let service = without_servers().with("SYNC_PROFILE", "/nonexistent.yaml");
    for command in [&["run"][..], &["sync"], &["verify"], &["verify", "--repair"], &["check"], &["rollback"]] {
        let finished = service.finish(command).await;
        let said: Vec<&str> = finished.stderr.lines().filter(|line| !line.is_empty()).collect();
        assert!(said.len() == 1 && said[0].contains("/nonexistent.yaml"), "{command:?}: {said:#?}");
        assert!(!finished.stdout.contains("unexpectedly"), "{command:?}: {}", finished.stdout);
        assert!([FAILED, UNKNOWN].contains(&finished.code), "{command:?}: {}", finished.code);
    }
}

/// A port on which something answers every connection in the same way.
fn impostor(answer: &'static [u8]) -> u16 {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // It ends with the process.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 1024];
            let _ = (stream.read(&mut request), stream.write_all(answer));
        }
    });
    port
}

#[tokio::test]
async fn a_server_that_is_not_the_one_is_named_once() {
    let pair = Pair::new("impostor").await;
    let http = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    for (answer, words) in [(&http[..], "does not answer like Redis"), (&b""[..], "closes the connection at the first command")] {
        let port = impostor(answer);
        let service = pair.service.clone().with("FALKORDB_PORT", port);
        for command in [&["check"][..], &["sync", "--mode", "full"]] {
            let finished = service.finish(command).await;
            let said = finished.stderr.lines().last().unwrap_or_default();
            let named = said.contains(words) && said.contains(&port.to_string()) && said.contains("falkordb.port");
            assert!(named, "{command:?}: {}", finished.stderr);
        }
    }
    for (uri, cause) in [
        (format!("bolt://127.0.0.1:{}", closed_port()), "Connection refused"),
        ("bolt://nosuch.invalid:7687".to_owned(), "lookup"),
    ] {
        let finished = pair.service.clone().with("NEO4J_URI", &uri).finish(&["check"]).await;
        let said = finished.stderr.lines().last().unwrap_or_default();
        assert_eq!(said.matches(cause).count(), 1, "{said}");
        assert!(said.contains("neo4j.uri"), "{said}");
    }
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
