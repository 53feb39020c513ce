//! Three processes with one configuration of six pipelines: each leads as many as the others, also after one has died or joined.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use neo4rs::query;
use redis::aio::MultiplexedConnection;
use serde_json::Value;
use tempfile::TempDir;

use super::api::{Http, start_with};
use super::pipeline::Pair;
use crate::support::arrival::until_equal;
use crate::support::deadline::EVENT;
use crate::support::graph::create_indices;
use crate::support::servers::fresh_graph_name;
use crate::support::service::{Running, Service};

const PROCESSES: usize = 3;
const PIPELINES: usize = 6;

/// The longest time for which a pipeline may have no leader.
const WITHOUT_LEADER: Duration = Duration::from_secs(7);

/// A leader that ends gives its leases back.
const AFTER_AN_END: Duration = Duration::from_secs(1);

/// What debug builds on a busy machine may take beyond that.
const SLACK: Duration = Duration::from_secs(15);

/// The time for six first full syncs, ten seconds to settle, and handovers.
const SPREAD: Duration = Duration::from_secs(120);

/// The pause between two looks at the leases.
const POLL: Duration = Duration::from_millis(20);

/// The graphs with a living leader, and its process.
type Leaders = BTreeMap<String, u32>;

struct Process {
    running: Running,
    http: Http,
    pid: u32,
}

struct Shared {
    pair: Pair,
    service: Service,
    file: String,
    _directory: TempDir,
    connection: MultiplexedConnection,
    graphs: Vec<String>,
    living: BTreeSet<u32>,
    /// When each graph was last seen with a living leader.
    led_at: BTreeMap<String, Instant>,
}

impl Shared {
    async fn new() -> Self {
        let pair = Pair::new("spread").await;
        create_indices(&pair.source.graph).await.unwrap();
        let graphs: Vec<String> = (0..PIPELINES).map(|_| fresh_graph_name("spread")).collect();
        let entry = |(at, graph): (usize, &String)| format!("- {{name: p{at}, falkordb: {{database: {graph}}}}}\n");
        let entries: String = graphs.iter().enumerate().map(entry).collect();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sync.yaml");
        std::fs::write(&file, format!("pipelines:\n{entries}")).unwrap();
        let service = pair.service.clone().without("FALKORDB_DATABASE").with("SYNC_SPREAD", "true");
        let service = service.with("SYNC_SCRUB_ROWS_PER_SECOND", 0);
        let connection = pair.cache.connect().await.unwrap();
        let (file, led_at) = (file.to_str().unwrap().to_owned(), BTreeMap::new());
        let shared = Self { pair, service, file, _directory: directory, connection, graphs, living: BTreeSet::new(), led_at };
        shared.write("first").await;
        shared
    }

    async fn write(&self, uuid: &str) {
        let text = "CREATE (:Entity {uuid: $uuid, name: 'n', group_id: 'g', summary: '', created_at: datetime.realtime()})";
        self.pair.source.graph.run(query(text).param("uuid", uuid)).await.unwrap();
    }

    async fn start(&mut self) -> Process {
        let (running, http) = start_with(&self.service, &["run", "--config", &self.file]).await;
        let pid = running.pid();
        self.living.insert(pid);
        Process { running, http, pid }
    }

    /// Reads the leases. No pipeline may be without a leader for too long once it had one.
    async fn leaders(&mut self) -> Leaders {
        let mut leaders = Leaders::new();
        for graph in &self.graphs {
            let key = format!("{{{graph}}}:owner");
            let held: Option<String> = redis::cmd("GET").arg(key).query_async(&mut self.connection).await.unwrap();
            let Some(held) = held else { continue };
            let holder: Value = serde_json::from_str(&held).unwrap();
            let pid = u32::try_from(holder["pid"].as_u64().unwrap()).unwrap();
            if self.living.contains(&pid) {
                leaders.insert(graph.clone(), pid);
                self.led_at.insert(graph.clone(), Instant::now());
            }
        }
        for (graph, led_at) in &self.led_at {
            let without = led_at.elapsed();
            assert!(without < WITHOUT_LEADER + SLACK, "{graph} has no leader for {without:.1?}");
        }
        leaders
    }

    async fn until(&mut self, what: &str, within: Duration, wanted: impl Fn(&Leaders) -> bool) -> Leaders {
        let began = Instant::now();
        loop {
            let leaders = self.leaders().await;
            if wanted(&leaders) {
                return leaders;
            }
            assert!(began.elapsed() < within, "never: {what}: {leaders:?}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until each of these processes leads the same number of pipelines.
    async fn until_even(&mut self, processes: &[Process]) -> Leaders {
        let pids: Vec<u32> = processes.iter().map(|process| process.pid).collect();
        let each = PIPELINES / pids.len();
        let leads = |leaders: &Leaders, pid: u32| leaders.values().filter(|leader| **leader == pid).count();
        self.until("evenly spread", SPREAD, |leaders| pids.iter().all(|pid| leads(leaders, *pid) == each)).await
    }

    /// Waits until a process shows the leader of each pipeline.
    async fn until_shown(&mut self, process: &Process) {
        let began = Instant::now();
        loop {
            let (status, leaders) = (process.http.json("/api/sync/status").await, self.leaders().await);
            if shown(&status, process.pid) == leaders {
                return;
            }
            assert!(began.elapsed() < SPREAD, "never shown: {leaders:?}: {status}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the leaders have ended a pass over each graph. A full sync ends a generation, and between two generations the
    /// lease is free for the process that should lead.
    async fn until_in_step(&mut self, processes: &[Process]) {
        let began = Instant::now();
        loop {
            let mut in_step = 0;
            for process in processes {
                let status = process.http.json("/api/sync/status").await;
                let pipelines = status["pipelines"].as_object().unwrap().values();
                let ended =
                    |pipeline: &&Value| pipeline["passes_ended"].as_u64() > Some(0) && pipeline["state"]["state"] == "idle";
                in_step += pipelines.filter(ended).count();
            }
            self.leaders().await;
            if in_step == PIPELINES {
                return;
            }
            assert!(began.elapsed() < SPREAD, "{in_step} in step");
            tokio::time::sleep(POLL).await;
        }
    }

    async fn assert_equal(&self) {
        for graph in &self.graphs {
            let arrived = until_equal(&self.pair.source.graph, &self.pair.cache, graph, EVENT).await;
            arrived.unwrap_or_else(|found| panic!("{graph}: {found}"));
        }
    }
}

/// The leader of each graph, as a process shows it.
fn shown(status: &Value, pid: u32) -> Leaders {
    let leader = |pipeline: &Value| match pipeline["state"]["state"].as_str() {
        Some("standby") => pipeline["state"]["leader"]["pid"].as_u64(),
        Some("running" | "idle") => Some(u64::from(pid)),
        _ => None,
    };
    let pipelines = status["pipelines"].as_object().unwrap();
    let shown = pipelines.values().filter_map(|pipeline| {
        let graph = pipeline["graph"].as_str()?.to_owned();
        Some((graph, u32::try_from(leader(pipeline)?).unwrap()))
    });
    shown.collect()
}

/// The graphs whose leader is another one than before.
fn moved<'l>(before: &'l Leaders, after: &Leaders) -> Vec<&'l String> {
    before.iter().filter(|(graph, leader)| after.get(*graph) != Some(*leader)).map(|(graph, _)| graph).collect()
}

/// How often each process handed a pipeline over since its log had this length.
fn handovers(processes: &[Process], since: &[usize]) -> Vec<usize> {
    let logs = processes.iter().zip(since).map(|(process, from)| process.running.log_from(*from));
    logs.map(|log| log.matches("handing over").count()).collect()
}

#[tokio::test]
async fn processes_share_the_pipelines_evenly_and_move_only_what_has_to_move() {
    let mut shared = Shared::new().await;
    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        processes.push(shared.start().await);
    }
    shared.until_even(&processes).await;
    shared.until_in_step(&processes).await;
    let before = shared.until_even(&processes).await;
    for process in &processes {
        shared.until_shown(process).await;
    }

    let killed = processes.remove(0);
    shared.living.remove(&killed.pid);
    let began = Instant::now();
    killed.running.kill().await;
    shared.write("after a kill").await;
    let after = shared.until("each pipeline has a leader again", SPREAD, |leaders| leaders.len() == PIPELINES).await;
    let took = began.elapsed();
    println!("each pipeline has a leader {took:.2?} after a kill");
    assert!(took < WITHOUT_LEADER + SLACK, "{took:?}");
    let of_killed = |graph: &&String| before[*graph] == killed.pid;
    assert!(moved(&before, &after).iter().all(of_killed), "only its pipelines move: {before:?} {after:?}");

    shared.until_even(&processes).await;
    shared.until_in_step(&processes).await;
    let before = shared.until_even(&processes).await;
    let logged: Vec<usize> = processes.iter().map(|process| process.running.length()).collect();
    let joined = shared.start().await;
    let pid = joined.pid;
    processes.push(joined);
    let after = shared.until_even(&processes).await;
    let moved = moved(&before, &after);
    assert!(moved.len() == PIPELINES / PROCESSES && moved.iter().all(|graph| after[*graph] == pid), "{before:?} {after:?}");
    // A line of the log arrives a moment after what it tells.
    let began = Instant::now();
    while handovers(&processes, &logged) != [1, 1] {
        let logs: Vec<String> = processes.iter().map(|process| process.running.log()).collect();
        assert!(began.elapsed() < SLACK, "each of those that were there hands over one: {logs:#?}");
        tokio::time::sleep(POLL).await;
    }
    for process in &processes {
        shared.until_shown(process).await;
        assert!(!process.running.log().contains("\"level\":\"ERROR\""), "{}", process.running.log());
    }
    shared.write("after a start").await;
    shared.assert_equal().await;

    shared.until_even(&processes).await;
    let ended = processes.remove(0);
    shared.living.remove(&ended.pid);
    let began = Instant::now();
    let others = shared.until("the others lead all", SPREAD, |leaders| leaders.len() == PIPELINES);
    let (code, _) = tokio::join!(ended.running.terminate(), others);
    let took = began.elapsed();
    println!("each pipeline has a leader {took:.2?} after an end");
    assert!(code == 0 && took < AFTER_AN_END + SLACK, "{code} {took:?}");
    shared.write("after an end").await;
    shared.assert_equal().await;
    for process in processes {
        assert_eq!(process.running.terminate().await, 0);
    }
}
