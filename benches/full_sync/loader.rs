//! The loader alone: GRAPH.BULK against parameters, of rows that are encoded before the clock starts.

use std::sync::Arc;
use std::time::Instant;

use neo4j_falkordb_sync::model::batch::SourceRows;
use neo4j_falkordb_sync::model::graph_name::GraphName;
use neo4j_falkordb_sync::model::id_map::IdMap;
use neo4j_falkordb_sync::model::kind_rows::KindRows;
use neo4j_falkordb_sync::model::profile::Profile;
use neo4j_falkordb_sync::model::projection::Projection;
use neo4j_falkordb_sync::model::stage::StageTotals;
use neo4j_falkordb_sync::sink::{CacheAddress, GraphLease, GraphRole, GraphSet, Ownership, RedisLease, Sink};
use neo4j_falkordb_sync::source::BoltSource;
use neo4j_falkordb_sync::source::Source;
use neo4j_falkordb_sync::transform::bulk::{BulkBatch, StageEncoder};
use neo4j_falkordb_sync::transform::{Encoder, VectorDimensions};

use crate::limit::address;
use crate::processor;
use crate::support::graph::build;
use crate::support::servers::{fresh_graph_name, shared, source_lock};
use crate::table::{Spread, print};

const ROUNDS: usize = 5;

/// Rows of one payload's batch, as a full sync reads them, and of one batch of parameters, as the configuration has it.
const PAYLOAD_ROWS: usize = 10_000;
const PARAMETER_ROWS: usize = 1_000;

/// What one way of loading took.
pub struct Took {
    pub seconds: f64,
    pub processor: f64,
}

/// Everything of the source, kind by kind.
pub async fn everything(source: &BoltSource, profile: &Profile, limit: usize) -> Vec<KindRows> {
    let mut all = Vec::new();
    for kind in profile.kinds() {
        let mut after = Some(String::new());
        while let Some(key) = after {
            let page = source.page(kind, Projection::Whole, &key, limit).await.unwrap();
            after = page.next;
            all.push(page.rows);
        }
    }
    all
}

fn transformer(profile: &Arc<Profile>) -> Encoder {
    Encoder::new(Arc::clone(profile), VectorDimensions::default())
}

fn cache(host: &str, port: u16) -> CacheAddress {
    CacheAddress::plain(host.to_owned(), port)
}

/// Loads into a stage by GRAPH.BULK, converts the vectors and makes the indices: what a full sync asks of FalkorDB, and no more.
pub async fn by_bulk(batches: &[BulkBatch], profile: &Arc<Profile>) -> Took {
    let falkordb = &shared().await.falkordb;
    let address = cache(falkordb.host(), falkordb.port());
    let name = GraphName::new(fresh_graph_name("bulk")).unwrap();
    let ownership = Ownership::claim(&name).unwrap();
    let mut lease = RedisLease::new(address.clone(), ownership.clone());
    lease.acquire().await.unwrap();
    let graphs = GraphSet::new(address.clone(), Arc::clone(profile), ownership.clone());
    let mut loader = graphs.bulk_loader().expect("there is one graph");
    let (started, used) = (Instant::now(), processor::of(falkordb.pid()));
    let mut totals: StageTotals = loader.begin().await.unwrap();
    for payload in batches.iter().flat_map(|batch| &batch.payloads) {
        lease.renew().await.unwrap();
        totals = loader.load(payload, totals).await.unwrap();
    }
    loader.convert_nodes(profile, 0..totals.nodes).await.unwrap();
    for kind in &profile.relationships {
        loader.convert_relationships(kind, 0..totals.nodes).await.unwrap();
    }
    let mut sink = graphs.sink(GraphRole::Stage);
    sink.prepare().await.unwrap();
    let took = Took { seconds: started.elapsed().as_secs_f64(), processor: processor::of(falkordb.pid()) - used };
    sink.clear().await.unwrap();
    lease.release().await.unwrap();
    took
}

/// Writes the same rows by parameters into a graph whose indices are there, as an upsert needs them.
async fn by_parameters(rows: &[KindRows], profile: &Arc<Profile>) -> Took {
    let falkordb = &shared().await.falkordb;
    let encoder = transformer(profile);
    let prepared: Vec<_> = rows.iter().map(|rows| encoder.encode(rows.clone())).collect();
    let address = cache(falkordb.host(), falkordb.port());
    let name = GraphName::new(fresh_graph_name("parameters")).unwrap();
    let ownership = Ownership::claim(&name).unwrap();
    let mut lease = RedisLease::new(address.clone(), ownership.clone());
    lease.acquire().await.unwrap();
    let mut sink = GraphSet::new(address, Arc::clone(profile), ownership).sink(GraphRole::Live);
    let (started, used) = (Instant::now(), processor::of(falkordb.pid()));
    sink.prepare().await.unwrap();
    for rows in &prepared {
        assert!(sink.apply(rows).await.unwrap().refused.is_empty());
    }
    let took = Took { seconds: started.elapsed().as_secs_f64(), processor: processor::of(falkordb.pid()) - used };
    sink.clear().await.unwrap();
    // It has run out by now, and nobody else wants it.
    lease.release().await.unwrap();
    took
}

/// The rows as payloads.
pub fn payloads(rows: Vec<KindRows>, profile: &Arc<Profile>) -> Vec<BulkBatch> {
    let mut stage = StageEncoder::new(Arc::new(transformer(profile)), IdMap::default());
    rows.into_iter().map(|rows| stage.encode(SourceRows::Kind(rows)).unwrap()).collect()
}

pub async fn run() {
    let source = source_lock().await;
    let spec = crate::graph();
    build(&source.graph, &spec).await.unwrap();
    let profile = Arc::new(Profile::graphiti().unwrap());
    let reader = BoltSource::connect(&address(source.address.clone()), Arc::clone(&profile)).await.unwrap();
    let batches = payloads(everything(&reader, &profile, PAYLOAD_ROWS).await, &profile);
    let rows = everything(&reader, &profile, PARAMETER_ROWS).await;
    let (mut bulk, mut parameters, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let elements = spec.nodes() + spec.relationships();
    for _ in 0..ROUNDS {
        let (fast, slow) = (by_bulk(&batches, &profile).await, by_parameters(&rows, &profile).await);
        ratios.push(slow.seconds / fast.seconds);
        bulk.push(fast.seconds);
        parameters.push(slow.seconds);
    }
    print(
        &format!("the loader alone, {elements} elements, vectors and indices included"),
        &[("GRAPH.BULK (s)", Spread(bulk)), ("parameters (s)", Spread(parameters)), ("parameters / GRAPH.BULK", Spread(ratios))],
    );
}
