//! The program's peak memory. A tenth of the elements has vectors of 256.

use crate::support::graph::{GraphSpec, build};
use crate::support::servers::{fresh_graph_name, source_lock};
use crate::support::service::peak_memory;
use crate::table::{Spread, print};

fn spec(elements: usize) -> GraphSpec {
    GraphSpec {
        entities: elements * 5 / 100,
        facts: elements * 5 / 100,
        episodes: elements * 25 / 100,
        mentions: elements * 40 / 100,
        communities: 0,
        members: 0,
        sagas: elements / 10_000,
        ..GraphSpec::default()
    }
}

pub async fn run() {
    let mut rows = Vec::new();
    let sizes: &[usize] = if std::env::var_os("FULL_SYNC_MEMORY").is_some() { &[100_000, 1_000_000] } else { &[100_000] };
    for size in sizes {
        let source = source_lock().await;
        let spec = spec(*size);
        build(&source.graph, &spec).await.unwrap();
        let graph = fresh_graph_name("memory");
        let mut running = crate::service(&graph).await.start(&["run"]);
        running.line("full sync ended").await;
        let peak = peak_memory(running.pid());
        running.kill().await;
        rows.push((format!("{} elements (MB)", spec.nodes() + spec.relationships()), peak as f64 / 1e6));
    }
    let rows: Vec<(&str, Spread)> = rows.iter().map(|(name, peak)| (name.as_str(), Spread(vec![*peak]))).collect();
    print("peak memory of the program", &rows);
}
