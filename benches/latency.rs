//! How long a commit in Neo4j takes to be readable in FalkorDB, by what it changed, and what it costs the source.
//!
//! `cargo bench --bench latency`: 20 commits a second for longer than the overlap, on a graph of 25,000 nodes and 70,000
//! relationships with 256 floats each: first where the source is probed, then where its transaction log tells the changes, those
//! that leave no trace among them; then changes that nothing betrays to the probe, which only the comparison finds. Prints a table
//! for each and, as its last line, the same as JSON. `LATENCY_SECONDS` shortens or lengthens it, `LATENCY_SCALE` multiplies the
//! graph, and an argument, `commits`, `logged` or `lone`, has one part run alone.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::print_stdout, clippy::large_futures)]

#[path = "../tests/support/mod.rs"]
mod support;

#[path = "latency/changes.rs"]
mod changes;
#[path = "latency/watcher.rs"]
mod watcher;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use changes::{Change, Changes, Kind, Writer};
use neo4rs::query;
use serde_json::{Value, json};
use support::graph::{GraphSpec, build};
use support::http::Http;
use support::servers::{FalkorServer, Neo4jServer};
use support::service::{Running, Service};
use watcher::Watcher;

const COMMITS_PER_SECOND: u32 = 20;

/// Longer than the overlap, so that its end is seen as well.
const OVERLAP_SECONDS: u64 = 60;
const SECONDS: u64 = 120;

/// A Neo4j that was just started compiles each query at its first use, for up to a second each. That is told apart.
const WARM_UP_SECONDS: u64 = 10;

/// What the comparison is given to find a lone rewrite in, at each rate: rows a second, seconds.
const COMPARISONS: [(u64, f64); 2] = [(2_000, 48.0), (20_000, 6.0)];

/// Where the log tells the changes, one comparison is all that it takes: from then on each pass proves equality.
const FIRST_PROOF_ROWS_PER_SECOND: u64 = 20_000;

/// How many rows may be read for each that was changed.
fn rows_per_changed_row(changes: Changes) -> f64 {
    match changes {
        Changes::Probed => 10.0,
        Changes::Logged => 1.2,
    }
}

/// Nothing that is waited for here takes longer, or the benchmark has failed.
const PATIENCE: Duration = Duration::from_secs(240);

const GRAPH: &str = "latency";

#[tokio::main]
async fn main() {
    // `cargo test --benches` and `cargo bench -- --list` only want to know that it is there.
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    let parts = ["commits", "logged", "lone"];
    let only = |part: &str| !std::env::args().any(|argument| parts.contains(&argument.as_str()) && argument != part);
    let (neo4j, falkor) = tokio::try_join!(Neo4jServer::start(), FalkorServer::start()).unwrap();
    let address = neo4j.address();
    let graph = address.connect().await.unwrap();
    let spec = GraphSpec::large().times(setting("LATENCY_SCALE").unwrap_or(1) as usize);
    let world = build(&graph, &spec).await.unwrap();
    println!("{} nodes and {} relationships are in Neo4j", spec.nodes(), spec.relationships());
    let service = Service::new(env!("CARGO_BIN_EXE_neo4j-falkordb-sync"), &address, &falkor.address(), GRAPH)
        .with("SYNC_OVERLAP_SECONDS", OVERLAP_SECONDS);
    let mut writer = Writer::new(graph.clone(), world).await.unwrap();
    let mut found = json!({});
    if only("commits") {
        found["probed"] = commits(&service, &falkor, &mut writer, Changes::Probed).await;
    }
    if only("logged") {
        let service = service
            .clone()
            .with("NEO4J_TRANSACTION_LOG_DIRECTORY", neo4j.transaction_log().display())
            .with("SYNC_SCRUB_ROWS_PER_SECOND", FIRST_PROOF_ROWS_PER_SECOND);
        found["logged"] = commits(&service, &falkor, &mut writer, Changes::Logged).await;
    }
    let mut lone = vec![];
    for (rate, limit) in COMPARISONS.into_iter().filter(|_| only("lone")) {
        let (running, http) = Http::start(&service.clone().with("SYNC_SCRUB_ROWS_PER_SECOND", rate)).unwrap();
        lone.push(lone_rewrites(&graph, &falkor, http, &running, rate, limit).await);
        assert_eq!(running.terminate().await, 0);
    }
    found["lone_rewrites"] = lone.iter().map(report_lone).collect();
    println!("{found}");
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

/// Commits at their rate, each until it is readable, under a service of its own.
async fn commits(service: &Service, falkor: &FalkorServer, writer: &mut Writer, changes: Changes) -> Value {
    let (mut running, http) = Http::start(service).unwrap();
    running.line("pass ended").await;
    if changes == Changes::Logged {
        proven(&http, "before the first commit").await;
    }
    let watcher = Watcher::start(falkor.address(), GRAPH);
    write(writer, &watcher, WARM_UP_SECONDS, changes).await;
    let cold = watcher.finish(PATIENCE).await;
    report_warm_up(&cold);
    let watcher = Watcher::start(falkor.address(), GRAPH);
    let (before, changed_before) = (http.status().await.unwrap(), writer.rows_changed);
    let commits = write(writer, &watcher, setting("LATENCY_SECONDS").unwrap_or(SECONDS), changes).await;
    let latencies = watcher.finish(PATIENCE).await;
    let after = http.status().await.unwrap();
    assert_ne!(after["source_bookmark"], before["source_bookmark"]);
    let costs = costs(&before, &after, writer.rows_changed - changed_before);
    let mut found = report_commits(changes, commits, latencies);
    found["rows"] = report_costs(changes, &costs);
    assert_eq!(running.terminate().await, 0);
    found
}

/// As many commits as there is time for, at their rate; how many a second it were.
async fn write(writer: &mut Writer, watcher: &Watcher, seconds: u64, changes: Changes) -> f64 {
    let count = u32::try_from(seconds).unwrap() * COMMITS_PER_SECOND;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / COMMITS_PER_SECOND);
    let begun = Instant::now();
    for number in 0..count {
        ticks.tick().await;
        let Change { kind, expected } = writer.change(changes, number as usize).await.unwrap();
        watcher.expect(kind, writer.committed_at, expected);
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}

/// Waits until equality is proven as of the source's last commit; its bookmark.
async fn proven(http: &Http, when: &str) -> Value {
    let begun = Instant::now();
    loop {
        // A service that has just been started does not listen yet.
        let status = http.status().await.unwrap_or_default();
        if status["equal_as_of"].is_string() && status["equal_as_of"] == status["source_bookmark"] {
            return status["equal_as_of"].clone();
        }
        assert!(begun.elapsed() < PATIENCE, "{when}: not proven equal: {status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

struct Costs {
    rows_read: u64,
    rows_changed: u64,
    passes: u64,
    seconds_in_passes: f64,
}

fn costs(before: &Value, after: &Value, rows_changed: u64) -> Costs {
    let of = |status: &Value, path: &str| status.pointer(path).and_then(Value::as_f64).unwrap_or_default();
    let grown = |path: &str| of(after, path) - of(before, path);
    Costs {
        rows_read: grown("/statistics/rows_read") as u64,
        rows_changed,
        passes: grown("/statistics/passes/incremental/ended") as u64,
        seconds_in_passes: grown("/statistics/passes/incremental/seconds"),
    }
}

/// Of a lone rewrite of the last entity, and of the last element of all that is compared: seconds until it is in the cache.
struct Lone {
    rate: u64,
    limit: f64,
    node: f64,
    last: f64,
}

async fn lone_rewrites(
    graph: &neo4rs::Graph,
    falkor: &FalkorServer,
    http: Http,
    running: &Running,
    rate: u64,
    limit: f64,
) -> Lone {
    let rewrites = [
        (
            "MATCH (n:Entity) WITH n ORDER BY n.uuid DESC LIMIT 1 SET n.summary = $text",
            "MATCH (n:Entity {summary: $text}) RETURN count(n)",
        ),
        (
            "MATCH ()-[e:NEXT_EPISODE]->() WITH e ORDER BY e.uuid DESC LIMIT 1 SET e.note = $text",
            "MATCH ()-[e:NEXT_EPISODE {note: $text}]->() RETURN count(e)",
        ),
    ];
    let mut took = [0.0; 2];
    for (place, (rewrite, look)) in rewrites.into_iter().enumerate() {
        proven(&http, "before a lone rewrite").await;
        let text = format!("rewritten alone {rate} {place}");
        graph.run(query(rewrite).param("text", text.as_str())).await.unwrap();
        let begun = Instant::now();
        let look = format!("CYPHER text=\"{text}\" {look}");
        let mut cache = falkor.connect().await.unwrap();
        while !format!("{:?}", support::copier::run(&mut cache, GRAPH, &look).await.unwrap()).contains("int(1)") {
            assert!(begun.elapsed() < PATIENCE, "{}", running.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        took[place] = begun.elapsed().as_secs_f64();
    }
    Lone { rate, limit, node: took[0], last: took[1] }
}

fn report_warm_up(latencies: &BTreeMap<Kind, Vec<f64>>) {
    let most = latencies.values().flatten().copied().fold(0.0, f64::max);
    println!("the first {WARM_UP_SECONDS} s, while Neo4j compiles the queries: at most {most:.1} s; not counted below");
}

fn report_commits(changes: Changes, commits: f64, mut latencies: BTreeMap<Kind, Vec<f64>>) -> Value {
    println!("\n{}: {commits:.1} commits a second; from commit to readable, in seconds", changes.name());
    println!("{:<48}{:>8}{:>9}{:>9}{:>9}  target", "", "number", "median", "99 %", "most");
    let mut kinds = vec![];
    for (kind, times) in &mut latencies {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
        let (median, high, most) = (at(0.5), at(0.99), at(1.0));
        let met = met(median <= changes.median() && high <= kind.limit(changes));
        println!("{:<48}{:>8}{median:>9.3}{high:>9.3}{most:>9.3}  {met}", kind.name(), times.len());
        kinds
            .push(json!({"kind": kind.name(), "number": times.len(), "median": median, "p99": high, "max": most, "target": met}));
    }
    json!({"commits_per_second": commits, "kinds": kinds})
}

fn report_costs(changes: Changes, costs: &Costs) -> Value {
    let Costs { rows_read, rows_changed, passes, seconds_in_passes } = *costs;
    let (per_row, each) = (rows_read as f64 / rows_changed as f64, seconds_in_passes / passes as f64);
    let met = met(per_row <= rows_per_changed_row(changes));
    println!("{rows_read} rows read for {rows_changed} changed: {per_row:.1} for each  {met}");
    println!("{passes} passes of {each:.3} s each");
    json!({"read": rows_read, "changed": rows_changed, "read_per_changed": per_row, "target": met, "passes": passes, "seconds_per_pass": each})
}

fn report_lone(lone: &Lone) -> Value {
    let Lone { rate, limit, node, last } = *lone;
    let met = met(node <= limit);
    println!(
        "a lone rewrite at {rate} rows a second: the last entity after {node:.1} s, the last of all after {last:.1} s  {met}"
    );
    json!({"rows_per_second": rate, "limit": limit, "last_entity": node, "last_element": last, "target": met})
}

fn met(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}
