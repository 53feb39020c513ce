//! A configuration that changes while the service runs.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::api::{Http, TOKEN};
use super::pipeline::Pair;
use crate::support::deadline::EVENT;
use crate::support::graph::{GraphSpec, build};
use crate::support::servers::ports;

const OTHER_TOKEN: &str = "battery-staple-correct";

async fn reload(http: &Http, token: &str) -> (u16, Value) {
    let (status, body) = http.ask("POST", "/api/reload", &format!("Authorization: Bearer {token}\r\n")).await.unwrap();
    (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
}

fn write(file: &Path, settings: &str) {
    std::fs::write(file, settings).unwrap();
}

async fn until(http: &Http, what: &str, holds: impl Fn(&Value) -> bool) {
    let began = Instant::now();
    while !holds(&http.status().await) {
        assert!(began.elapsed() < EVENT, "{what}: {}", http.status().await);
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn what_can_be_followed_is_and_the_rest_is_named() {
    let pair = Pair::new("reload").await;
    build(&pair.source.graph, &GraphSpec { entities: 40, facts: 60, ..GraphSpec::default() }).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (file, token) = (directory.path().join("sync.yaml"), directory.path().join("token"));
    write(&token, TOKEN);
    write(&file, "sync: {batch_size: 500}");
    let http = Http { port: ports::free().unwrap() };
    let service = pair.service.clone().with("HEALTH_PORT", http.port).with("HEALTH_BIND", "127.0.0.1");
    let service = service.with("API_TOKEN_FILE", token.display());
    let mut running = service.start(&["run", "--config", file.to_str().unwrap()]);
    http.until_ready(true).await;
    until(&http, "idle", |status| status["state"]["state"] == "idle" && status["full_sync"].is_null()).await;

    // Nothing changed.
    assert_eq!(reload(&http, TOKEN).await, (200, json!({ "applied": [], "needs_restart": [] })));
    let generation = http.status().await["generation"].as_u64().unwrap();

    write(&token, OTHER_TOKEN);
    write(
        &file,
        "sync: {batch_size: 400}\nlogging: {level: debug, keep_files: 3}\nmonitoring: {ready_lag_seconds: 7, allowed_hosts: [sync]}",
    );
    let (status, answer) = reload(&http, TOKEN).await;
    let applied =
        ["pipeline default", "logging.level", "monitoring.api_token", "monitoring.allowed_hosts", "monitoring.ready_lag_seconds"];
    assert_eq!((status, answer), (200, json!({ "applied": applied, "needs_restart": ["logging"] })));
    assert_eq!(reload(&http, TOKEN).await.0, 401, "the old token is no token any more");
    until(&http, "a new generation", |status| {
        status["generation"].as_u64() > Some(generation) && status["state"]["state"] == "idle"
    })
    .await;
    running.line("\"level\":\"DEBUG\"").await;

    // A configuration that cannot be used changes nothing, and every problem is told.
    write(&file, "sync: {batch_size: 0, interval: 7}");
    let (status, answer) = reload(&http, OTHER_TOKEN).await;
    let reason = answer["error"].as_str().unwrap();
    assert!(status == 409 && reason.contains("sync.batch_size") && reason.contains("sync.interval"), "{answer}");
    http.until_ready(true).await;

    // The signal that services are reloaded by.
    write(&file, "sync: {batch_size: 300}");
    let from = running.length();
    running.signal("-HUP").await;
    let line = running.line_from(from, "configuration reloaded").await;
    assert!(line.contains("pipeline default"), "{line}");
    http.until_ready(true).await;
    assert_eq!(running.terminate().await, 0);
    pair.assert_equal().await;
}
