//! Waits until a cache holds what its source holds.

use std::time::{Duration, Instant};

use neo4rs::Graph;

use super::comparer::{compare, report};
use super::servers::FalkorAddress;

/// Two comparisons are apart by this.
const POLL: Duration = Duration::from_millis(100);

/// Compares again and again: there is no other event that says that two servers hold the same. How long it took, or what is still
/// different.
pub async fn until_equal(source: &Graph, cache: &FalkorAddress, graph: &str, within: Duration) -> Result<Duration, String> {
    let began = Instant::now();
    loop {
        // A graph that is replaced while it is read, or a server that is not there yet, cannot be compared: the next look decides.
        let found = match compare(source, cache, graph).await {
            Ok(found) if found.is_empty() => return Ok(began.elapsed()),
            Ok(found) => report(&found),
            Err(error) => error.to_string(),
        };
        if began.elapsed() > within {
            return Err(found);
        }
        tokio::time::sleep(POLL).await;
    }
}
