//! The description of the API against the service that answers: by requests that a machine thinks up.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::api::{Http, TOKEN, start};
use super::pipeline::Pair;
use crate::support::graph::{GraphSpec, build};
use crate::support::python::{environment, run_to_end, script};
use crate::support::servers::blocking;

const REQUIREMENTS: &str = include_str!("../openapi/requirements.txt");

/// A thousand requests over loopback, and what a machine needs to think them up.
const RUN: Duration = Duration::from_secs(600);

/// How many requests a run makes at least.
const REQUESTS: usize = 1000;

/// What the answers must be. Which methods a path refuses is checked by the unit tests: schemathesis wants it of HEAD too.
const CHECKS: &str = "no_internal_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,negative_data_rejection,ignored_auth,unsupported_method";

async fn python() -> PathBuf {
    blocking(|| environment("openapi", REQUIREMENTS)).await.unwrap().join("bin/python")
}

/// Runs schemathesis, and returns how many requests it made.
async fn think_up_requests(http: &Http, token: Option<&str>) -> usize {
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("requests.ndjson");
    let mut command = Command::new(python().await);
    command
        .args(["-B", "-m", "schemathesis.cli", "run"])
        .arg(format!("http://127.0.0.1:{}/api/openapi.json", http.port))
        .args(["--checks", CHECKS, "--phases", "coverage,fuzzing", "--max-examples", "90", "--seed", "7"])
        // A WebSocket is described, and no request of HTTP.
        .args(["--exclude-path", "/ws/updates", "--generation-database", "none", "--no-color", "--warnings", "off"])
        .args(["--suppress-health-check", "all", "--continue-on-failure", "--output-sanitize", "false"])
        .args(["--report", "ndjson", "--report-ndjson-path"])
        .arg(&report)
        .env("SCHEMATHESIS_HOOKS", script("openapi/checks.py"))
        .env("PYTHONPATH", script("openapi"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(directory.path());
    if let Some(token) = token {
        command.arg("--header").arg(format!("Authorization: Bearer {token}"));
    }
    let printed = run_to_end(command, "schemathesis", RUN).await.unwrap_or_else(|error| panic!("{error}"));
    println!("{printed}");
    let requests = std::fs::read_to_string(&report).unwrap();
    requests.matches("\"status_code\"").count()
}

/// What a command could change. Passes and comparisons are no sign of one: who waits for a commit has them made.
async fn changeable(http: &Http) -> Value {
    let status = http.status().await;
    serde_json::json!([status["paused"], status["generation"], status["statistics"]["passes"]["full"]])
}

#[tokio::test]
async fn a_thousand_requests_are_answered_as_the_description_says() {
    let pair = Pair::new("openapi").await;
    build(&pair.source.graph, &GraphSpec { entities: 20, facts: 30, episodes: 5, ..GraphSpec::default() }).await.unwrap();
    // Without passes of its own, whatever happens is a request's doing.
    let quiet = pair.service.clone().with("SYNC_INTERVAL_SECONDS", 86_400).with("SYNC_SCRUB_ROWS_PER_SECOND", 0);
    let (mut running, http) = start(&quiet.with("API_TOKEN", TOKEN)).await;
    http.until_ready(true).await;
    running.line("pass ended").await;
    let before = changeable(&http).await;
    let without = think_up_requests(&http, None).await;
    assert_eq!(changeable(&http).await, before, "a request without the token changed something");
    let with = think_up_requests(&http, Some(TOKEN)).await;
    println!("{without} requests without the token, {with} with it");
    assert!(without >= REQUESTS && with >= REQUESTS, "{without} and {with}");
    assert_eq!(http.get("/health").await.0, 200, "it lives");
    assert!(!running.log().contains("\"panic\""), "{}", running.log());
    http.commanded("resume").await;
    assert_eq!(running.terminate().await, 0);
}

#[tokio::test]
async fn the_metrics_are_as_the_standard_says() {
    let pair = Pair::new("exposition").await;
    build(&pair.source.graph, &GraphSpec { entities: 20, facts: 30, episodes: 5, ..GraphSpec::default() }).await.unwrap();
    let (running, http) = start(&pair.service).await;
    http.until_ready(true).await;
    let mut metrics = http.get("/metrics").await.1;
    let began = Instant::now();
    // What actors waited for is sampled once a second.
    while !metrics.contains("waiting_seconds_total{") && began.elapsed() < RUN {
        tokio::time::sleep(Duration::from_millis(100)).await;
        metrics = http.get("/metrics").await.1;
    }
    let mut command = Command::new(python().await);
    command.arg("-B").arg(script("openapi/exposition.py"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut parser = command.spawn().unwrap();
    parser.stdin.take().unwrap().write_all(metrics.as_bytes()).await.unwrap();
    let output = tokio::time::timeout(RUN, parser.wait_with_output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}\n{metrics}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    for name in ["rows_read_total", "passes_total", "pass_duration_seconds_bucket", "waiting_seconds_total", "connections"] {
        assert!(names.lines().any(|line| line == format!("neo4j_falkordb_sync_{name}")), "{name}:\n{names}");
    }
    assert!(names.contains("process_resident_memory_bytes"), "{names}");
    assert_eq!(running.terminate().await, 0);
}
