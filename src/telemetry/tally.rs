//! Counts for the whole process, for events that belong to no known pipeline.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::ErrorKind;

static RETRIES: [AtomicU64; ErrorKind::ALL.len()] = [const { AtomicU64::new(0) }; ErrorKind::ALL.len()];

static NEO4J_OPEN: AtomicU64 = AtomicU64::new(0);
static NEO4J_BUSY: AtomicU64 = AtomicU64::new(0);
static FALKORDB_OPEN: AtomicU64 = AtomicU64::new(0);

/// Counts a request that is made again.
pub(crate) fn count_retry(kind: ErrorKind) {
    RETRIES[kind as usize].fetch_add(1, Ordering::Relaxed);
}

/// The number of repeated requests for each kind of error.
pub(crate) fn retries() -> impl Iterator<Item = (ErrorKind, u64)> {
    ErrorKind::ALL.into_iter().map(|kind| (kind, RETRIES[kind as usize].load(Ordering::Relaxed)))
}

/// The open connections, and the busy ones among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionCounts {
    pub neo4j: u64,
    /// Connections to Neo4j on which a query runs.
    pub neo4j_busy: u64,
    /// Connections to FalkorDB. Requests are multiplexed over them, so there is no number of busy ones.
    pub falkordb: u64,
}

/// The present number of connections.
pub(crate) fn connections() -> ConnectionCounts {
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    ConnectionCounts { neo4j: read(&NEO4J_OPEN), neo4j_busy: read(&NEO4J_BUSY), falkordb: read(&FALKORDB_OPEN) }
}

/// A guard that counts until it is dropped.
#[derive(Debug)]
pub(crate) struct GaugeGuard(&'static AtomicU64);

impl GaugeGuard {
    /// Counts a connection to Neo4j.
    pub(crate) fn neo4j_connection() -> Self {
        Self::new(&NEO4J_OPEN)
    }

    /// Counts a busy connection to Neo4j.
    pub(crate) fn neo4j_busy() -> Self {
        Self::new(&NEO4J_BUSY)
    }

    /// Counts a connection to FalkorDB.
    pub(crate) fn falkordb_connection() -> Self {
        Self::new(&FALKORDB_OPEN)
    }

    fn new(count: &'static AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_place_of_its_own() {
        for (place, kind) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place, "{kind:?}");
        }
    }

    #[test]
    fn what_is_counted_goes_with_its_guard() {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let one = GaugeGuard::new(&COUNT);
        let two = GaugeGuard::new(&COUNT);
        drop(one);
        assert_eq!(COUNT.load(Ordering::Relaxed), 1);
        drop(two);
        assert_eq!(COUNT.load(Ordering::Relaxed), 0);
    }
}
