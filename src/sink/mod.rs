//! FalkorDB: the only place that writes the cache.
//!
//! [`Sink`] and [`CheckpointStore`] are the seams at which tests put faults; [`FalkorSink`] and [`RedisCheckpointStore`] are
//! the real ones. Each of them, and the [`Lease`], has a connection of its own, because on one connection every command waits
//! for the query before it.

mod address;
mod applied;
mod checkpoint_store;
mod classify;
mod connection;
mod falkor;
mod graph;
mod lease;
mod ownership;
mod parameters;
mod reply;
mod rounds;
mod schema;
mod server;
pub mod statements;
mod upsert;

use async_trait::async_trait;

pub use address::{CacheAddress, CacheTls, Password};
pub use applied::Applied;
pub use checkpoint_store::{CheckpointStore, RedisCheckpointStore};
pub use connection::{COMMAND_TIMEOUT, Connection};
pub use falkor::FalkorSink;
pub use graph::{Counts, GraphState};
pub use lease::{Holder, LEASE_TTL, Lease};
pub use ownership::Ownership;
pub use schema::{IndexReport, statement as index_statement};
pub use server::CacheServer;

use crate::error::Result;
use crate::model::prepared::PreparedRows;

/// A graph that batches are applied to. It has one writer: whoever holds the graph's [`Lease`].
#[async_trait]
pub trait Sink: Send {
    /// Which server this is; one that is not FalkorDB is an error.
    async fn identify(&mut self) -> Result<CacheServer>;

    /// Whether the graph is there; a key of another type under its name is an error.
    async fn state(&mut self) -> Result<GraphState>;

    /// Makes what is missing of the profile's indices, and the graph with them, and waits until all serve queries.
    async fn prepare(&mut self) -> Result<IndexReport>;

    /// Deletes the graph with its indices; says whether there was one.
    async fn clear(&mut self) -> Result<bool>;

    /// Applies a batch. It can be repeated without harm, and must be when it fails: an error says nothing about what was
    /// applied before.
    async fn apply(&mut self, rows: &PreparedRows) -> Result<Applied>;

    /// Counts what the graph holds; a graph that is not there holds nothing.
    async fn counts(&mut self) -> Result<Counts>;
}
