//! FalkorDB: the only place that writes the cache. Traits stand here because tests put faults at this seam.

use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;
use crate::model::checkpoint::Checkpoint;
use crate::model::element::RelationshipIdentity;
use crate::model::prepared::{PreparedRows, Quarantined};

/// What one application of rows did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Nodes written.
    pub nodes: u64,
    /// Relationships written.
    pub relationships: u64,
    /// Elements named for deletion; the cache need not have held them.
    pub deleted: u64,
    /// Relationships that were not written because an endpoint is not in the cache.
    pub absent_endpoints: Vec<RelationshipIdentity>,
    /// Rows that FalkorDB refuses.
    pub refused: Vec<Quarantined>,
}

/// The one writer of a graph. Everything here can be repeated without harm.
#[async_trait]
pub trait Sink: Send {
    /// Whether the graph is there. Fails if something else holds its key.
    async fn exists(&mut self) -> Result<bool>;

    /// Makes the graph and the profile's indices where they are missing, and waits until all serve.
    async fn prepare(&mut self) -> Result<()>;

    /// Removes the graph with all it holds.
    async fn clear(&mut self) -> Result<()>;

    /// Writes and deletes rows.
    async fn apply(&mut self, rows: &PreparedRows) -> Result<Applied>;
}

/// Where the checkpoint and the quarantine of a graph are kept.
#[async_trait]
pub trait CheckpointStore: Send {
    /// The stored checkpoint, if there is one.
    async fn load(&mut self) -> Result<Option<Checkpoint>>;

    /// Replaces it, if this process still owns the graph.
    async fn store(&mut self, checkpoint: &Checkpoint) -> Result<()>;

    /// All that is quarantined.
    async fn quarantine(&mut self) -> Result<Vec<Quarantined>>;

    /// Adds to the quarantine, up to its bound, and takes away.
    async fn update_quarantine(&mut self, added: &[Quarantined], removed: &[Quarantined]) -> Result<()>;
}

/// How long a lease holds without being renewed: so long a graph is without a writer after one was killed.
pub const LEASE_TTL: Duration = Duration::from_secs(5);

/// The right to be the one writer of a graph, for a short time, renewed while it is used.
#[async_trait]
pub trait Lease: Send {
    /// Takes the lease, or takes it again; fails with the holder's name while another process has it.
    async fn acquire(&mut self) -> Result<()>;

    /// Extends it; fails if another process has taken it.
    async fn renew(&mut self) -> Result<()>;

    /// Gives it back, so that another process need not wait for its end.
    async fn release(&mut self) -> Result<()>;
}
