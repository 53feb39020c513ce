//! The service's HTTP: whoever wrote waits for the cache, and whoever has the token commands.

use std::time::Duration;

use neo4rs::query;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::pipeline::{PROGRAM, Pair};
use crate::support::deadline::EVENT;
use crate::support::graph::{GraphSpec, build};
use crate::support::servers::{FalkorServer, ports};
use crate::support::service::{Running, Service};

pub(crate) const TOKEN: &str = "correct-horse-battery";

fn spec() -> GraphSpec {
    GraphSpec { entities: 40, facts: 60, ..GraphSpec::default() }
}

pub(crate) struct Http {
    pub(crate) port: u16,
}

impl Http {
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &str) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        Ok((status, answer.split_once("\r\n\r\n").unwrap().1.to_owned()))
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path, "").await.unwrap()
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    pub(crate) async fn status(&self) -> Value {
        self.json("/api/sync/status").await["pipelines"]["default"].clone()
    }

    pub(crate) async fn command(&self, name: &str) -> (u16, String) {
        self.ask("POST", &format!("/api/sync/{name}"), &format!("Authorization: Bearer {TOKEN}\r\n")).await.unwrap()
    }

    /// Orders this until the cache has answered: what is to be kept is not done if the cache is silent.
    pub(crate) async fn commanded(&self, name: &str) {
        let began = Instant::now();
        loop {
            match self.command(name).await {
                (200, _) => return,
                (status, body) => assert!(status == 503 && began.elapsed() < EVENT, "{status} {body}"),
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Does this while the pipeline is paused: a read of Neo4j can see a part of a commit, and then a pass sees less than was
    /// written at once.
    pub(crate) async fn while_paused<T>(&self, work: impl Future<Output = T>) -> T {
        self.pause().await;
        let done = work.await;
        self.commanded("resume").await;
        done
    }

    /// Pauses, and waits until no pass runs: what is under way goes on to its end, and may still see what is committed meanwhile.
    async fn pause(&self) {
        self.commanded("pause").await;
        let began = Instant::now();
        loop {
            let status = self.status().await;
            if status["state"]["state"] == "paused" {
                return;
            }
            assert!(began.elapsed() < EVENT, "not paused: {status}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks to wait until the answer is yes: on a busy machine one request is not patient enough.
    pub(crate) async fn until_told(&self, question: &str, running: &Running) {
        let began = Instant::now();
        loop {
            let (status, body) = self.get(&format!("/api/sync/wait?{question}&timeout_ms=60000")).await;
            if status == 200 {
                return;
            }
            assert!(is_not_yet(status) && began.elapsed() < EVENT, "{question}: {status} {body}\n{}", running.log());
        }
    }

    /// Waits for `/ready` to say so, or the contrary; its last answer.
    pub(crate) async fn until_ready(&self, wanted: bool) -> String {
        let began = Instant::now();
        loop {
            let answer = self.ask("GET", "/ready", "").await;
            match answer {
                Ok((status, body)) if (status == 200) == wanted => return body,
                other => assert!(began.elapsed() < EVENT, "{other:?}"),
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Whether this answer to a wait leaves open what another question would be told: its time is over, or a server did not answer.
pub(crate) fn is_not_yet(status: u16) -> bool {
    matches!(status, 503 | 504)
}

pub(crate) async fn start(service: &Service) -> (Running, Http) {
    start_with(service, &["run"]).await
}

/// As [`start`], with arguments of one's own.
pub(crate) async fn start_with(service: &Service, arguments: &[&str]) -> (Running, Http) {
    let http = Http { port: ports::free().unwrap() };
    let running = service.clone().with("HEALTH_PORT", http.port).with("HEALTH_BIND", "127.0.0.1").start(arguments);
    (running, http)
}

/// Commits an entity, and returns the commit's bookmark as a part of an address.
async fn commit(pair: &Pair, uuid: &str) -> String {
    let mut transaction = pair.source.graph.start_txn().await.unwrap();
    let text = "CREATE (:Entity {uuid: $uuid, name: 'new', group_id: 'g', created_at: datetime()})";
    transaction.run(query(text).param("uuid", uuid)).await.unwrap();
    transaction.commit().await.unwrap();
    let bookmark = pair.bookmark().await;
    bookmark.as_str().replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
}

async fn is_in_cache(pair: &Pair, uuid: &str) -> bool {
    let mut cache = pair.cache.connect().await.unwrap();
    let text = format!("MATCH (n:Entity {{uuid: '{uuid}'}}) RETURN count(n)");
    let answer: redis::Value = redis::cmd("GRAPH.QUERY").arg(&pair.graph).arg(text).query_async(&mut cache).await.unwrap();
    let redis::Value::Array(parts) = answer else { panic!("{answer:?}") };
    parts[1] == redis::Value::Array(vec![redis::Value::Array(vec![redis::Value::Int(1)])])
}

#[tokio::test]
async fn whoever_wrote_reads_it_after_the_wait() {
    let pair = Pair::new("api_wait").await;
    build(&pair.source.graph, &spec()).await.unwrap();
    // With and without the probe that sees a commit by itself.
    for probe in [200, 0] {
        let (running, http) = start(&pair.service.clone().with("SYNC_PROBE_INTERVAL_MS", probe)).await;
        http.until_ready(true).await;
        for round in 0..5 {
            let uuid = format!("written-{probe}-{round}");
            let bookmark = commit(&pair, &uuid).await;
            let (status, body) = http.get(&format!("/api/sync/wait?bookmark={bookmark}&level=applied&timeout_ms=60000")).await;
            assert_eq!(status, 200, "{body}");
            assert!(is_in_cache(&pair, &uuid).await, "{uuid}");
        }
        let status = http.status().await;
        assert_eq!(status["seconds_behind"], 0.0, "{status}");
        let (_, metrics) = http.get("/metrics").await;
        assert!(metrics.ends_with("# EOF\n"), "{metrics}");
        for line in metrics.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let known = ["neo4j_falkordb_sync_", "process_"].iter().any(|prefix| name.starts_with(prefix));
            assert!(known && value.parse::<f64>().is_ok(), "{line}");
        }
        for name in ["rows_read_total", "rows_written_total", "passes_total", "pass_duration_seconds_bucket", "seconds_behind"] {
            let series = format!("neo4j_falkordb_sync_{name}{{");
            let found = metrics.lines().any(|line| line.starts_with(&series) && line.contains("pipeline=\"default\""));
            assert!(found, "{name}:\n{metrics}");
        }
        let history = http.json("/api/sync/history").await;
        assert!(history["pipelines"]["default"].as_array().unwrap().len() > 1, "{history}");
        assert_eq!(running.terminate().await, 0);
    }
    pair.assert_equal().await;
}

/// A service that was down is not ready before it has applied what was committed meanwhile, and says for how long it lacks that.
#[tokio::test]
async fn a_service_that_was_down_is_ready_once_it_has_caught_up() {
    let pair = Pair::new("api_down").await;
    build(&pair.source.graph, &spec()).await.unwrap();
    let (running, http) = start(&pair.service).await;
    http.until_ready(true).await;
    assert_eq!(running.terminate().await, 0);
    for round in 0..5 {
        let down = Instant::now();
        let uuid = format!("while-down-{round}");
        commit(&pair, &uuid).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        let (running, http) = start(&pair.service).await;
        let (mut behind, mut is_waiting) = (None, false);
        loop {
            // Nobody answers before the service has begun.
            let Ok((code, verdict)) = http.ask("GET", "/ready", "").await else {
                sleep(Duration::from_millis(10)).await;
                continue;
            };
            if code == 200 {
                break;
            }
            let verdict: serde_json::Value = serde_json::from_str(&verdict).unwrap();
            let verdict = &verdict["pipelines"]["default"];
            if verdict["reason"].as_str().is_some_and(|reason| reason.contains("first pass")) {
                (behind, is_waiting) = (verdict["seconds_behind"].as_f64(), true);
            }
            assert!(down.elapsed() < EVENT, "never ready: {verdict}");
        }
        assert!(is_in_cache(&pair, &uuid).await, "ready without {uuid}, round {round}");
        // The pass may have ended between two questions.
        assert!(!is_waiting || behind > Some(0.3), "{behind:?} s behind, round {round}");
        assert_eq!(running.terminate().await, 0);
    }
}

/// A lone rewrite that leaves no trace, and no comparison in the background: whoever asks for a proof has one made.
#[tokio::test]
async fn whoever_rewrote_silently_reads_it_after_the_proof() {
    let pair = Pair::new("api_proof").await;
    build(&pair.source.graph, &spec()).await.unwrap();
    let service = pair.service.clone().with("SYNC_SCRUB_ROWS_PER_SECOND", 0).with("SYNC_DIFFERENTIAL_INTERVAL_SECONDS", 0);
    let (running, http) = start(&service.with("API_TOKEN", TOKEN)).await;
    http.until_ready(true).await;
    for round in 0..3 {
        let text = format!("MATCH (e:Entity) WITH e ORDER BY e.uuid LIMIT 3 SET e.summary = 'silently {round}'");
        pair.source.graph.run(query(&text)).await.unwrap();
        let bookmark = pair.bookmark().await;
        let escaped = bookmark.as_str().replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let (status, body) = http.get(&format!("/api/sync/wait?bookmark={escaped}&level=verified&timeout_ms=60000")).await;
        assert_eq!(status, 200, "{body}\n{}", running.log());
        pair.assert_equal().await;
        let status = http.status().await;
        assert_eq!(status["equal_as_of"], bookmark.as_str(), "{status}");
        let (_, metrics) = http.get("/metrics").await;
        assert!(metrics.lines().any(|line| line == "neo4j_falkordb_sync_proven_equal{pipeline=\"default\"} 1.0"), "{metrics}");
    }
    // On demand.
    let compared = http.status().await["compared_at"].clone();
    assert_eq!(http.command("differential").await.0, 202);
    let began = Instant::now();
    while http.status().await["compared_at"] == compared {
        assert!(began.elapsed() < EVENT, "no comparison: {}", running.log());
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(running.terminate().await, 0);
}

#[tokio::test]
async fn a_pause_survives_a_restart() {
    let pair = Pair::new("api_pause").await;
    build(&pair.source.graph, &spec()).await.unwrap();
    let service = pair.service.clone().with("API_TOKEN", TOKEN);
    let (running, http) = start(&service).await;
    http.until_ready(true).await;
    assert_eq!(http.ask("POST", "/api/sync/pause", "Authorization: Bearer wrong\r\n").await.unwrap().0, 401);
    http.pause().await;
    let bookmark = commit(&pair, "while-paused").await;
    let wait = format!("/api/sync/wait?bookmark={bookmark}&timeout_ms=1500");
    let (status, body) = http.get(&wait).await;
    assert_eq!(status, 504, "{body}");
    assert!(body.contains("paused"), "{body}");
    let began = Instant::now();
    while !http.status().await["behind_since"].is_string() {
        assert!(began.elapsed() < EVENT, "no probe has seen the commit: {}", running.log());
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(running.terminate().await, 0);

    let (running, http) = start(&service).await;
    http.until_ready(true).await;
    assert_eq!(http.get(&wait).await.0, 504);
    assert_eq!(http.status().await["state"]["state"], "paused");
    assert!(!is_in_cache(&pair, "while-paused").await);
    http.commanded("resume").await;
    assert_eq!(http.get(&format!("/api/sync/wait?bookmark={bookmark}&timeout_ms=60000")).await.0, 200);
    assert!(is_in_cache(&pair, "while-paused").await);
    assert_eq!(http.command("full").await.0, 202);
    let began = Instant::now();
    while http.json("/api/sync/statistics").await["pipelines"]["default"]["statistics"]["passes"]["full"]["ended"] != 1 {
        assert!(began.elapsed() < EVENT, "no full pass");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(running.terminate().await, 0);
    pair.assert_equal().await;
}

#[tokio::test]
async fn without_a_token_nothing_can_be_changed() {
    let pair = Pair::new("api_token").await;
    build(&pair.source.graph, &spec()).await.unwrap();
    let (running, http) = start(&pair.service.clone().with("METRICS_ENABLED", false)).await;
    http.until_ready(true).await;
    for name in ["full", "incremental", "pause", "resume"] {
        let (status, body) = http.command(name).await;
        assert_eq!(status, 403, "{name}");
        assert!(body.contains("api_token"), "{body}");
    }
    let status = http.status().await;
    assert_eq!((&status["paused"], &status["statistics"]["passes"]["full"]["ended"]), (&false.into(), &1.into()), "{status}");
    assert_eq!(http.get("/metrics").await.0, 404);
    assert_eq!(running.terminate().await, 0);
}

/// The promised time until a silent server makes `/ready` say so, and what a machine that does much else adds.
const NOT_READY: Duration = Duration::from_secs(15);
const SLACK: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_silent_cache_is_not_ready_within_fifteen_seconds() {
    let mut pair = Pair::new("api_silent").await;
    let server = FalkorServer::start().await.unwrap();
    pair.cache = server.address();
    pair.service = Service::new(PROGRAM, &pair.source.address, &pair.cache, &pair.graph);
    build(&pair.source.graph, &spec()).await.unwrap();
    let (running, http) = start(&pair.service).await;
    http.until_ready(true).await;
    server.pause();
    let began = Instant::now();
    let verdict = http.until_ready(false).await;
    let took = began.elapsed();
    server.resume();
    assert!(took < NOT_READY + SLACK, "{took:?}");
    assert!(verdict.contains("FalkorDB"), "{verdict}");
    http.until_ready(true).await;
    running.kill().await;
}
