//! Under which names a running service answers: a page of another site may have its name pointed to this machine.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::pipeline::PROGRAM;
use crate::support::servers::{FalkorAddress, Neo4jAddress, ports};
use crate::support::service::Service;

/// A service whose servers are not there answers all the same.
fn service(port: u16) -> Service {
    let neo4j = Neo4jAddress {
        uri: "bolt://127.0.0.1:1".to_owned(),
        user: "neo4j".to_owned(),
        password: "some-word".to_owned(),
        database: "neo4j".to_owned(),
    };
    let cache = FalkorAddress { host: "127.0.0.1".to_owned(), port: 1, username: None, password: None };
    Service::new(PROGRAM, &neo4j, &cache, "unused").with("HEALTH_PORT", port).with("HEALTH_BIND", "127.0.0.1")
}

/// The status and whatever follows the head. `host` is the whole header, or none.
async fn ask(port: u16, path: &str, host: Option<&str>, more: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let host = host.map(|host| format!("Host: {host}\r\n")).unwrap_or_default();
    let more = if more.is_empty() { "Connection: close\r\n" } else { more };
    let request = format!("GET {path} HTTP/1.{}\r\n{host}{more}\r\n", u8::from(!host.is_empty()));
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    (status, answer)
}

const UPGRADE: &str =
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test]
async fn a_page_whose_name_is_pointed_here_reads_nothing() {
    let port = ports::free().unwrap();
    let mut running = service(port).with("ALLOWED_HOSTS", "sync.example.com, 10.1.2.3").start(&["run"]);
    running.line("HTTP server started").await;
    let with_port = |host: &str| format!("{host}:{port}");
    for path in ["/", "/api/sync/status", "/api/sync/quarantine", "/api/openapi.json", "/api/sync/wait?bookmark=x"] {
        for strange in ["evil.example", "127.0.0.1.evil.example", "192.168.1.7"] {
            let (status, answer) = ask(port, path, Some(&with_port(strange)), "").await;
            assert!(status == 403 && answer.contains("monitoring.allowed_hosts"), "{path} for {strange}: {answer}");
        }
        for own in ["localhost", "127.0.0.1", "[::1]", "sync.example.com", "10.1.2.3"] {
            let (status, answer) = ask(port, path, Some(&with_port(own)), "").await;
            assert_ne!(status, 403, "{path} for {own}: {answer}");
        }
        // An old client that names no host is no browser.
        assert_ne!(ask(port, path, None, "").await.0, 403, "{path}");
    }
    // The WebSocket, whose origin is the same strange name.
    let evil = format!("Origin: http://{}\r\n{UPGRADE}", with_port("evil.example"));
    assert_eq!(ask(port, "/ws/updates", Some(&with_port("evil.example")), &evil).await.0, 403);
    let own = format!("Origin: http://{}\r\n{UPGRADE}", with_port("localhost"));
    assert_eq!(ask(port, "/ws/updates", Some(&with_port("localhost")), &own).await.0, 101);
    // Monitors call the service by whatever name they know.
    for path in ["/health", "/metrics"] {
        assert_eq!(ask(port, path, Some("sync-0.sync.default.svc:8080"), "").await.0, 200, "{path}");
    }
    assert_eq!(ask(port, "/ready", Some("sync-0.sync.default.svc:8080"), "").await.0, 503, "its servers are not there");
    assert_eq!(running.terminate().await, 0);
}
