//! How near a full sync is to the fastest reader there can be.

use std::sync::Arc;
use std::time::Instant;

use neo4j_falkordb_sync::config::Secret;
use neo4j_falkordb_sync::model::profile::Profile;
use neo4j_falkordb_sync::source::BoltSource;
use neo4j_falkordb_sync::source::bolt::{BoltReader, Limits};
use neo4j_falkordb_sync::source::{Request, SourceAddress};

use crate::loader::{by_bulk, everything, payloads};
use crate::processor;
use crate::support::comparer::assert_equal;
use crate::support::graph::build;
use crate::support::servers::{Neo4jAddress, fresh_graph_name, shared, source_lock};
use crate::table::{Spread, print};

const ROUNDS: usize = 7;

pub fn address(neo4j: Neo4jAddress) -> SourceAddress {
    let Neo4jAddress { uri, user, password, database } = neo4j;
    SourceAddress { uri, user, password: Secret::new(password), database: Some(database), pool_size: 2, ca_file: None }
}

/// Streams every node and relationship of the profile with all that a copy needs, and throws it away unread.
pub async fn discard_everything(reader: &BoltReader, profile: &Profile) -> u64 {
    let mut rows = 0;
    for kind in &profile.nodes {
        let text = format!("MATCH (n:{}) RETURN id(n), labels(n), properties(n)", kind.label.quoted());
        rows += reader.count("nodes", Request::new(text)).await.unwrap().rows;
    }
    for kind in &profile.relationships {
        let text = format!(
            "MATCH (a)-[e:{}]->(b) RETURN id(e), labels(a), a.uuid, labels(b), b.uuid, properties(e)",
            kind.rel_type.quoted()
        );
        rows += reader.count("relationships", Request::new(text)).await.unwrap().rows;
    }
    rows
}

pub async fn run() {
    let source = source_lock().await;
    let spec = crate::graph();
    build(&source.graph, &spec).await.unwrap();
    let profile = Arc::new(Profile::graphiti().unwrap());
    let reader = BoltReader::connect(&address(source.address.clone()), Limits::default()).await.unwrap();
    let elements = (spec.nodes() + spec.relationships()) as u64;
    let graph = fresh_graph_name("limit");
    let service = crate::service(&graph).await;
    // Both once without looking: Neo4j compiles what it runs often.
    for _ in 0..3 {
        assert_eq!(discard_everything(&reader, &profile).await, elements);
        service.json(&["sync", "--mode", "full"]).await;
    }
    let source_of_rows = BoltSource::connect(&address(source.address.clone()), Arc::clone(&profile)).await.unwrap();
    let batches = payloads(everything(&source_of_rows, &profile, 10_000).await, &profile);
    let (neo4j, falkordb) = (shared().await.neo4j.pid(), shared().await.falkordb.pid());
    let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let mut figures: [Vec<f64>; 9] = Default::default();
    for _ in 0..ROUNDS {
        let (started, used) = (Instant::now(), processor::of(neo4j));
        discard_everything(&reader, &profile).await;
        let (limit, reading) = (started.elapsed().as_secs_f64(), processor::of(neo4j) - used);
        let loading = by_bulk(&batches, &profile).await.processor;
        let before = [processor::of(neo4j), processor::of(falkordb), processor::of_ended_children()];
        let started = Instant::now();
        let report = service.json(&["sync", "--mode", "full"]).await;
        let sync = started.elapsed().as_secs_f64();
        let after = [processor::of(neo4j), processor::of(falkordb), processor::of_ended_children()];
        assert_eq!(report[0]["totals"]["nodes"], spec.nodes());
        // Whoever copies has both servers do this work; nothing that the copier does itself is counted.
        let floor = (reading + loading) / processors / limit;
        let [of_neo4j, of_falkordb, of_ours] = [0, 1, 2].map(|place: usize| after[place] - before[place]);
        let all = [limit, sync, sync / limit, reading, loading, floor, of_neo4j, of_falkordb, of_ours];
        figures.iter_mut().zip(all).for_each(|(figures, figure)| figures.push(figure));
    }
    let [limits, syncs, ratios, reading, loading, floors, of_neo4j, of_falkordb, of_ours] = figures.map(Spread);
    assert_equal(&source.graph, &shared().await.falkordb.address(), &graph).await;
    print(
        &format!("{elements} elements, {} vectors of {}", spec.vectors(), spec.dimension),
        &[
            ("raw Bolt reader, discarding (s)", limits),
            ("full sync, start to swapped and indexed (s)", syncs),
            ("full sync / raw reader", ratios),
            ("Neo4j's processor time, raw reader (s)", reading),
            ("FalkorDB's processor time, bare loading (s)", loading),
            ("both on all processors / raw reader", floors),
            ("Neo4j's processor time, full sync (s)", of_neo4j),
            ("FalkorDB's processor time, full sync (s)", of_falkordb),
            ("our processor time, full sync (s)", of_ours),
        ],
    );
}

/// Keeps the servers for whoever looks at them with other tools.
pub async fn serve() {
    let source = source_lock().await;
    build(&source.graph, &crate::graph()).await.unwrap();
    let servers = shared().await;
    let (neo4j, falkordb) = (source.address.clone(), servers.falkordb.address());
    println!("export NEO4J_URI={} NEO4J_USER={} NEO4J_PASSWORD={}", neo4j.uri, neo4j.user, neo4j.password);
    println!("export FALKORDB_HOST={} FALKORDB_PORT={} FALKORDB_DATABASE=served HEALTH_PORT=0", falkordb.host, falkordb.port);
    println!("# processes: neo4j {}, falkordb {}", servers.neo4j.pid(), servers.falkordb.pid());
    let _ = tokio::signal::ctrl_c().await;
}
