//! Two processes with one configuration: one leads, the other stands by and takes over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use neo4rs::{Graph, query};
use serde_json::Value;

use super::api::{Http, TOKEN, start};
use super::pipeline::{Pair, percent_encoded};
use crate::support::deadline::EVENT;
use crate::support::graph::create_indices;
use crate::support::service::{Running, Service};

/// The lease holds for 5 s after the last renewal, and the successor needs a moment.
const AFTER_A_KILL: Duration = Duration::from_secs(6);

/// A leader that ends gives the lease back.
const AFTER_AN_END: Duration = Duration::from_secs(1);

/// What a debug build on a busy machine may take beyond that.
const SLACK: Duration = Duration::from_secs(15);

/// The pause between two commits of the writer.
const WRITES_APART: Duration = Duration::from_millis(20);

/// A process of the service.
struct Process {
    running: Running,
    http: Http,
}

impl Process {
    async fn start(service: &Service) -> Self {
        let (running, http) = start(service).await;
        Self { running, http }
    }

    /// A process that has found out that another one leads.
    async fn on_standby(service: &Service) -> Self {
        let mut process = Self::start(service).await;
        process.running.line("standing by").await;
        // The supervisor logs it and tells the health actor at the same time.
        let began = Instant::now();
        while process.http.status().await["state"]["state"] != "standby" {
            assert!(began.elapsed() < EVENT, "it does not show that it stands by:\n{}", process.running.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        process
    }

    async fn until_paused(&self) {
        let began = Instant::now();
        let mut status = self.http.status().await;
        while status["state"]["state"] != "paused" {
            assert!(began.elapsed() < EVENT, "{status}");
            tokio::time::sleep(Duration::from_millis(50)).await;
            status = self.http.status().await;
        }
    }
}

/// Commits one new node after the other until it is stopped.
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    written: tokio::task::JoinHandle<usize>,
}

impl Writer {
    pub(crate) fn start(graph: Graph) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let written = tokio::spawn(async move {
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                let text =
                    "CREATE (:Entity {uuid: $uuid, name: 'n', group_id: 'g', summary: '', created_at: datetime.realtime()})";
                graph.run(query(text).param("uuid", format!("w{number:06}"))).await.unwrap();
                number += 1;
                tokio::time::sleep(WRITES_APART).await;
            }
            number
        });
        Self { stop, written }
    }

    pub(crate) async fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.written.await.unwrap()
    }
}

async fn served(test: &str) -> (Pair, Service) {
    let pair = Pair::new(test).await;
    create_indices(&pair.source.graph).await.unwrap();
    pair.source.graph.run(query("CREATE (:Entity {uuid: 'first', group_id: 'g', created_at: datetime()})")).await.unwrap();
    let service = pair.service.clone().with("API_TOKEN", TOKEN).with("SYNC_SCRUB_ROWS_PER_SECOND", 0);
    (pair, service)
}

/// The process that holds the lease, if any does.
async fn leader(pair: &Pair) -> Option<u32> {
    let mut cache = pair.cache.connect().await.unwrap();
    let held: Option<String> = redis::cmd("GET").arg(format!("{{{}}}:owner", pair.graph)).query_async(&mut cache).await.unwrap();
    let holder: Value = serde_json::from_str(&held?).unwrap();
    u32::try_from(holder["pid"].as_u64()?).ok()
}

/// Waits until a process leads, and returns the time since `began`.
async fn until_leads(pair: &Pair, process: &Process, began: Instant) -> Duration {
    while leader(pair).await != Some(process.running.pid()) {
        assert!(began.elapsed() < EVENT, "it does not take over:\n{}", process.running.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    began.elapsed()
}

async fn wait_applied(pair: &Pair, http: &Http) -> (u16, String) {
    let bookmark = percent_encoded(&pair.bookmark().await);
    http.get(&format!("/api/sync/wait?bookmark={bookmark}&level=applied&timeout_ms=60000")).await
}

#[tokio::test]
async fn a_standby_says_who_leads_and_nothing_is_a_fault() {
    let (pair, service) = served("standby_words").await;
    let leads = Process::start(&service).await;
    leads.http.until_ready(true).await;
    let stands_by = Process::on_standby(&service).await;
    let status = stands_by.http.status().await;
    assert_eq!(status["state"]["state"], "standby", "{status}");
    assert_eq!(status["state"]["leader"]["pid"], leads.running.pid(), "{status}");
    let url = status["state"]["leader"]["url"].as_str().unwrap().to_owned();
    assert_eq!(url, format!("http://127.0.0.1:{}", leads.http.port), "the address that it listens on");
    assert_eq!((&status["faults"], &status["last_fault"]), (&Value::from(0), &Value::Null), "{status}");
    assert_eq!(stands_by.http.get("/health").await.0, 200);
    let (code, ready) = stands_by.http.get("/ready").await;
    let said = format!("process {} on", leads.running.pid());
    assert!(code == 503 && ready.contains("on standby") && ready.contains(&said) && ready.contains(&url), "{code} {ready}");
    for (code, body) in [stands_by.http.command("incremental").await, stands_by.http.command("pause").await] {
        assert!(code == 421 && body.contains(&said) && body.contains(&url), "{code} {body}");
    }
    let (code, body) = wait_applied(&pair, &stands_by.http).await;
    assert!(code == 421 && body.contains(&url), "{code} {body}");
    let (_, metrics) = stands_by.http.get("/metrics").await;
    let value = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(&format!("neo4j_falkordb_sync_{name}{{"))).unwrap_or_default();
        line.rsplit(' ').next().unwrap_or_default().to_owned()
    };
    assert_eq!((value("standby"), value("halted")), ("1.0".to_owned(), "0.0".to_owned()), "{metrics}");
    let log = stands_by.running.log();
    assert_eq!(log.matches("standing by").count(), 1, "{log}");
    assert!(!log.contains("\"level\":\"ERROR\"") && !log.contains("\"level\":\"WARN\""), "{log}");
    assert_eq!(wait_applied(&pair, &leads.http).await.0, 200, "the leader does what it did");

    let ready = Process::on_standby(&service.clone().with("STANDBY_IS_READY", "true").with("ADVERTISED_URL", "http://b")).await;
    let (code, body) = ready.http.get("/ready").await;
    assert!(code == 200 && body.contains("on standby"), "{code} {body}");
    assert_eq!(leads.running.terminate().await, 0);
    for process in [stands_by, ready] {
        assert_eq!(process.running.terminate().await, 0, "a standby ends as it is asked to");
    }
}

/// A leader that remembers that an operator has resumed the pipeline, and is stopped; and its successor, which was paused since.
async fn stopped_and_succeeded(test: &str) -> (Pair, Process, Process) {
    let (pair, service) = served(test).await;
    let first = Process::start(&service).await;
    first.http.until_ready(true).await;
    assert_eq!(first.http.command("pause").await.0, 200);
    assert_eq!(first.http.command("resume").await.0, 200);
    let second = Process::on_standby(&service).await;
    first.running.signal("-STOP").await;
    until_leads(&pair, &second, Instant::now()).await;
    second.http.until_ready(true).await;
    assert_eq!(second.http.command("pause").await.0, 200);
    (pair, first, second)
}

/// What an operator decided while another process led stands, whatever this process was told before.
#[tokio::test]
async fn a_leader_that_comes_back_keeps_to_what_was_decided_meanwhile() {
    let (pair, mut first, second) = stopped_and_succeeded("standby_back").await;
    first.running.signal("-CONT").await;
    first.running.line("standing by").await;
    assert_eq!(second.running.terminate().await, 0);
    until_leads(&pair, &first, Instant::now()).await;
    first.until_paused().await;
    assert_eq!(first.running.terminate().await, 0);
}

/// As above, where the successor is gone when the former leader goes on: it takes the lease without having seen another leader.
#[tokio::test]
async fn a_leader_that_was_succeeded_in_its_absence_keeps_to_what_was_decided_meanwhile() {
    let (_pair, first, second) = stopped_and_succeeded("standby_absent").await;
    assert_eq!(second.running.terminate().await, 0);
    first.running.signal("-CONT").await;
    first.until_paused().await;
    assert_eq!(first.running.terminate().await, 0);
}

/// Kills the leader or ends it, again and again, while the source is written; a new process stands by each time.
async fn taken_over(test: &str, rounds: usize, slack: Duration) {
    let (pair, service) = served(test).await;
    let mut leads = Process::start(&service).await;
    leads.http.until_ready(true).await;
    let writer = Writer::start(pair.source.graph.clone());
    let (mut killed, mut ended) = (Vec::new(), Vec::new());
    for round in 0..2 * rounds {
        let stands_by = Process::on_standby(&service).await;
        let began = Instant::now();
        if round % 2 == 0 {
            leads.running.kill().await;
            killed.push(until_leads(&pair, &stands_by, began).await);
        } else {
            let pid = leads.running.pid();
            assert_eq!(leads.running.terminate().await, 0);
            // The standby may not lead yet: a lease that was not given back would still name the process.
            assert_ne!(leader(&pair).await, Some(pid), "a process that ends gives its lease back");
            ended.push(until_leads(&pair, &stands_by, began).await);
        }
        leads = stands_by;
    }
    let (code, body) = wait_applied(&pair, &leads.http).await;
    assert_eq!(code, 200, "{body}\n{}", leads.running.log());
    let written = writer.end().await;
    assert_eq!(wait_applied(&pair, &leads.http).await.0, 200);
    pair.assert_equal().await;
    let worst = |all: &[Duration]| all.iter().max().copied().unwrap_or_default();
    println!("{written} commits; after a kill {killed:.2?}, worst {:.2?}", worst(&killed));
    println!("after an end {ended:.2?}, worst {:.2?}", worst(&ended));
    assert!(worst(&killed) < AFTER_A_KILL + slack && worst(&ended) < AFTER_AN_END + slack);
    assert_eq!(leads.running.terminate().await, 0);
}

#[tokio::test]
async fn a_standby_takes_over_from_a_leader_that_ends_or_dies() {
    taken_over("standby_taken_over", 2, SLACK).await;
}

#[tokio::test]
#[ignore = "takes ten minutes, and its times are those of a release build"]
async fn a_standby_takes_over_fifty_times_each_within_the_promised_time() {
    taken_over("standby_fifty", 50, Duration::ZERO).await;
}
