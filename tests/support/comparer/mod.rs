//! Compares every node and relationship of a Neo4j database with those of a FalkorDB graph.
//!
//! It uses nothing of the product: it reads both sides by itself and converts by the documented rules, so an
//! error in the product's own conversion shows as a difference.

mod cache;
mod content;
mod rules;
mod snapshot;
mod source;
mod value;

use neo4rs::Graph;

use super::servers::{FalkorAddress, blocking};
use super::{Error, Result};
pub use cache::read as read_cache;
pub use content::{Additions, GENERIC, assert_same_content, compare_content};
pub use rules::{Promised, promised};
pub use snapshot::{Difference, Element, Key, NodeKey, RelationshipKey, Snapshot, differences};
pub use source::{Filter, read as read_source};
pub use value::Value;

/// Properties that the cache holds as vectors of 32 bit floats.
pub const VECTORS: [&str; 2] = ["name_embedding", "fact_embedding"];

/// How a node is identified: the first of these labels that it has, and its uuid.
pub const IDENTITY_LABELS: [&str; 4] = ["Entity", "Episodic", "Community", "Saga"];

/// All differences between the whole database and the graph. Both must be quiet.
pub async fn compare(source: &Graph, cache: &FalkorAddress, name: &str) -> Result<Vec<Difference>> {
    compare_part(source, &Filter::default(), cache, name).await
}

/// All differences between a part of the database and the graph.
pub async fn compare_part(source: &Graph, filter: &Filter, cache: &FalkorAddress, name: &str) -> Result<Vec<Difference>> {
    let (source, cache) = tokio::try_join!(read_source(source, filter), read_cache_apart(cache.clone(), name.to_owned()))?;
    Ok(differences(&source, &cache))
}

/// Reads the cache on a thread of its own: decoding is what takes the time, and a test's runtime has one thread.
async fn read_cache_apart(address: FalkorAddress, name: String) -> Result<Snapshot> {
    blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::Unexpected(format!("no runtime: {error}")))?;
        runtime.block_on(read_cache(&address, &name))
    })
    .await
}

/// Fails the test with the first differences and the number of all.
pub async fn assert_equal(source: &Graph, cache: &FalkorAddress, name: &str) {
    assert_part_equal(source, &Filter::default(), cache, name).await;
}

pub async fn assert_part_equal(source: &Graph, filter: &Filter, cache: &FalkorAddress, name: &str) {
    match compare_part(source, filter, cache, name).await {
        Ok(found) if found.is_empty() => {}
        Ok(found) => panic!("{}", report(&found)),
        Err(error) => panic!("the graphs could not be compared: {error}"),
    }
}

/// The first differences, a line each, and how many there are.
pub fn report(found: &[Difference]) -> String {
    let lines = found.iter().take(20).map(|difference| format!("  {difference}\n"));
    format!("{} differences:\n{}", found.len(), lines.collect::<String>())
}
