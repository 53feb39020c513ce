//! Where the time of a full sync goes, phase by phase.

use std::time::{Duration, Instant};

use crate::processor::{self, FalkorTime};
use crate::scale::{sizes, spec};
use crate::support::graph::build;
use crate::support::servers::{fresh_graph_name, shared, source_lock};

/// The lines of the log with which a phase ends.
const ENDS: [&str; 5] = ["full sync begins", "kind loaded", "stage filled", "stage advanced", "full sync ended"];

/// The time between two looks at the log.
const LOOK: Duration = Duration::from_millis(10);

/// The accounts at one moment.
#[derive(Clone, Copy)]
struct Accounts {
    at: Instant,
    neo4j: f64,
    falkordb: FalkorTime,
    ours: f64,
}

impl Accounts {
    fn of(neo4j: u32, falkordb: u32, ours: u32) -> Self {
        Self {
            at: Instant::now(),
            neo4j: processor::of(neo4j),
            falkordb: processor::of_falkordb(falkordb),
            ours: processor::of(ours),
        }
    }

    fn print(&self, since: &Self, phase: &str) {
        let (now, before) = (self.falkordb, since.falkordb);
        println!(
            "{phase:<56} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>8.2}",
            (self.at - since.at).as_secs_f64(),
            self.neo4j - since.neo4j,
            now.main - before.main,
            now.pool - before.pool,
            now.indexer - before.indexer,
            (self.ours - since.ours).max(0.0),
        );
    }
}

pub async fn run() {
    for size in sizes(&[1_000_000]) {
        of_size(size).await;
    }
}

async fn of_size(size: usize) {
    let source = source_lock().await;
    build(&source.graph, &spec(size)).await.unwrap();
    let (neo4j, falkordb) = (shared().await.neo4j.pid(), shared().await.falkordb.pid());
    let graph = fresh_graph_name("timeline");
    // The first full sync fills an empty cache; the second replaces a graph.
    for round in ["first full sync", "second full sync"] {
        println!("\n{size} elements, {round}; seconds, and seconds of processor time until the line of the log");
        println!("{:<56} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}", "", "wall", "neo4j", "main", "pool", "indexer", "ours");
        let service = crate::service(&graph).await.with("LOG_LEVEL", "debug").with("LOG_FORMAT", "text");
        let mut running = service.start(&["sync", "--mode", "full"]);
        let pid = running.pid();
        let began = Accounts::of(neo4j, falkordb, pid);
        let (mut last, mut seen) = (began, 0);
        loop {
            let over = running.is_over();
            let lines = running.log_from(seen);
            for line in lines.lines() {
                seen += 1;
                if let Some(end) = ENDS.iter().find(|end| line.contains(*end)) {
                    let now = Accounts::of(neo4j, falkordb, pid);
                    let kind = line.split("kind=").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
                    now.print(&last, &format!("{end} {kind}"));
                    last = now;
                }
            }
            if over {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        let now = Accounts { ours: last.ours, ..Accounts::of(neo4j, falkordb, pid) };
        now.print(&last, "the end of the process");
        now.print(&began, "all");
        assert_eq!(running.ended().await, 0, "{}", running.log());
    }
}
