//! How the cost of a full sync grows with the graph.

use std::sync::Arc;
use std::time::Instant;

use neo4j_falkordb_sync::model::profile::Profile;
use neo4j_falkordb_sync::source::BoltSource;
use neo4j_falkordb_sync::source::bolt::{BoltReader, Limits};

use crate::limit::{address, discard_everything};
use crate::loader::{by_bulk, everything, payloads};
use crate::processor;
use crate::support::comparer::assert_equal;
use crate::support::graph::{GraphSpec, build};
use crate::support::servers::{fresh_graph_name, shared, source_lock};
use crate::support::service::peak_memory;
use crate::table::{Spread, print};

const ROUNDS: usize = 3;

/// The time within which a full sync ends, at any size that is measured.
const SYNC: std::time::Duration = std::time::Duration::from_secs(3600);

/// The sizes to measure: those that are named, or these.
pub fn sizes(otherwise: &[usize]) -> Vec<usize> {
    let named = std::env::var("FULL_SYNC_SIZES").unwrap_or_default();
    let named: Vec<usize> = named.split(',').filter_map(|size| size.trim().parse().ok()).collect();
    if named.is_empty() { otherwise.to_vec() } else { named }
}

/// A graph of this many elements: 27 % nodes, and vectors of 32 on entities and facts.
pub fn spec(elements: usize) -> GraphSpec {
    let percent = |share: usize| elements * share / 100;
    GraphSpec {
        entities: percent(20),
        episodes: percent(7),
        facts: percent(42),
        mentions: percent(31),
        communities: 0,
        members: 0,
        sagas: 0,
        dimension: 32,
        ..GraphSpec::default()
    }
}

pub async fn run() {
    for size in sizes(&[100_000, 1_000_000]) {
        of_size(size).await;
    }
}

async fn of_size(size: usize) {
    let source = source_lock().await;
    let spec = spec(size);
    build(&source.graph, &spec).await.unwrap();
    let profile = Arc::new(Profile::graphiti().unwrap());
    let reader = BoltReader::connect(&address(source.address.clone()), Limits::default()).await.unwrap();
    let graph = fresh_graph_name("scale");
    let service = crate::service(&graph).await;
    // Neo4j compiles what it runs often.
    discard_everything(&reader, &profile).await;
    let source_of_rows = BoltSource::connect(&address(source.address.clone()), Arc::clone(&profile)).await.unwrap();
    let batches = payloads(everything(&source_of_rows, &profile, 10_000).await, &profile);
    let (neo4j, falkordb) = (shared().await.neo4j.pid(), shared().await.falkordb.pid());
    let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let mut figures: [Vec<f64>; 11] = Default::default();
    for _ in 0..ROUNDS {
        let (started, used) = (Instant::now(), processor::of(neo4j));
        discard_everything(&reader, &profile).await;
        let (raw, reading) = (started.elapsed().as_secs_f64(), processor::of(neo4j) - used);
        let loading = by_bulk(&batches, &profile).await.processor;
        let bare = (reading + loading) / processors;
        let before = [processor::of(neo4j), processor::of(falkordb), processor::of_ended_children()];
        let started = Instant::now();
        let mut running = service.start(&["sync", "--mode", "full"]);
        let pid = running.pid();
        let mut peak = 0;
        while !running.is_over() {
            assert!(started.elapsed() < SYNC, "the full sync does not end:\n{}", running.log());
            peak = peak.max(peak_memory(pid));
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let sync = started.elapsed().as_secs_f64();
        assert_eq!(running.ended().await, 0, "{}", running.log());
        let after = [processor::of(neo4j), processor::of(falkordb), processor::of_ended_children()];
        let [of_neo4j, of_falkordb, of_ours] = [0, 1, 2].map(|place: usize| after[place] - before[place]);
        let each = sync / size as f64 * 1e6;
        let all =
            [raw, sync, sync / raw, bare / raw, sync / bare, each, loading, of_neo4j, of_falkordb, of_ours, peak as f64 / 1e6];
        figures.iter_mut().zip(all).for_each(|(figures, figure)| figures.push(figure));
    }
    drop(batches);
    let [raw, sync, ratio, bare, of_bare, each, loading, of_neo4j, of_falkordb, of_ours, peak] = figures.map(Spread);
    assert_equal(&source.graph, &shared().await.falkordb.address(), &graph).await;
    print(
        &format!("{} elements, {} vectors of {}", spec.nodes() + spec.relationships(), spec.vectors(), spec.dimension),
        &[
            ("raw Bolt reader, discarding (s)", raw),
            ("full sync, start to swapped and indexed (s)", sync),
            ("full sync / raw reader", ratio),
            ("bare work of both servers / raw reader", bare),
            ("full sync / bare work of both servers", of_bare),
            ("full sync, each element (µs)", each),
            ("FalkorDB's processor time, bare loading (s)", loading),
            ("Neo4j's processor time, full sync (s)", of_neo4j),
            ("FalkorDB's processor time, full sync (s)", of_falkordb),
            ("our processor time, full sync (s)", of_ours),
            ("our peak memory (MB)", peak),
        ],
    );
    println!("zero differences by the independent comparer");
}
