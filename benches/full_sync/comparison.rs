//! How long a proof of equality takes, beside the time to read the source once.

use std::time::Instant;

use neo4j_falkordb_sync::model::profile::Profile;
use neo4j_falkordb_sync::source::bolt::{BoltReader, Limits};

use crate::limit::{address, discard_everything};
use crate::processor;
use crate::scale::{sizes, spec};
use crate::support::graph::build;
use crate::support::servers::{fresh_graph_name, shared, source_lock};
use crate::table::{Spread, print};

const ROUNDS: usize = 3;

pub async fn run() {
    for size in sizes(&[100_000]) {
        of_size(size).await;
    }
}

async fn of_size(size: usize) {
    let source = source_lock().await;
    let spec = spec(size);
    build(&source.graph, &spec).await.unwrap();
    let profile = Profile::graphiti().unwrap();
    let reader = BoltReader::connect(&address(source.address.clone()), Limits::default()).await.unwrap();
    let service = crate::service(&fresh_graph_name("comparison")).await;
    service.json(&["sync", "--mode", "full"]).await;
    // Neo4j compiles what it runs often.
    discard_everything(&reader, &profile).await;
    service.json(&["verify"]).await;
    let (neo4j, falkordb) = (source.server.pid(), shared().await.falkordb.pid());
    let elements = spec.nodes() + spec.relationships();
    let mut figures: [Vec<f64>; 6] = Default::default();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        discard_everything(&reader, &profile).await;
        let raw = started.elapsed().as_secs_f64();
        let before = [processor::of(neo4j), processor::of(falkordb), processor::of_ended_children()];
        let started = Instant::now();
        let report = service.json(&["verify"]).await;
        let verify = started.elapsed().as_secs_f64();
        let after = [processor::of(neo4j), processor::of(falkordb), processor::of_ended_children()];
        assert_eq!((&report[0]["equal"], &report[0]["rows"]), (&true.into(), &elements.into()), "{report}");
        let [of_neo4j, of_falkordb, of_ours] = [0, 1, 2].map(|place: usize| after[place] - before[place]);
        let all = [raw, verify, verify / raw, of_neo4j, of_falkordb, of_ours];
        figures.iter_mut().zip(all).for_each(|(figures, figure)| figures.push(figure));
    }
    let [raw, verify, ratio, of_neo4j, of_falkordb, of_ours] = figures.map(Spread);
    print(
        &format!("{elements} elements, {} vectors of {}", spec.vectors(), spec.dimension),
        &[
            ("raw Bolt reader, discarding (s)", raw),
            ("verify, start to end (s)", verify),
            ("verify / raw reader", ratio),
            ("Neo4j's processor time, verify (s)", of_neo4j),
            ("FalkorDB's processor time, verify (s)", of_falkordb),
            ("our processor time, verify (s)", of_ours),
        ],
    );
}
