//! FalkorDB: the only place that writes the cache.
//!
//! [`Sink`], [`CheckpointStore`] and [`GraphLease`] are the seams at which tests put faults; [`FalkorSink`],
//! [`RedisCheckpointStore`] and [`RedisLease`] are the real ones. Each of them has a connection of its own, because on one
//! connection every command waits for the query before it.

mod address;
mod adoption;
mod applied;
mod bulk;
mod carry_over;
mod checkpoint_store;
mod classify;
mod connection;
mod constraints;
mod content;
mod engine;
mod falkor;
mod fence;
mod foreign;
mod graph;
mod graph_requests;
mod graph_set;
mod graph_view;
mod index_inventory;
mod index_plan;
mod index_report;
mod index_statement;
mod index_sweep;
mod inspection;
mod keys;
mod lease;
mod parameters;
mod permissions;
mod pipeline_graphs;
mod questions;
mod recent_writes;
mod reply;
mod routing;
mod safety;
mod scan;
mod schema;
mod server;
mod stage_ids;
pub mod statements;
mod statistics;
mod swap;
mod swap_commands;
mod upsert;
pub mod vectors;
mod view;
mod weight;

use std::collections::BTreeSet;
use std::ops::Range;

use async_trait::async_trait;

pub use address::{CacheAddress, CacheTls};
pub(crate) use adoption::TakeOver;
pub use applied::Applied;
pub use bulk::BulkLoader;
pub(crate) use bulk::after as stage_after;
pub use checkpoint_store::RedisCheckpointStore;
pub use connection::CacheConnection;
pub use engine::{Engine, EngineSigns};
pub use falkor::FalkorSink;
pub use fence::Ownership;
pub use graph::{Counts, GraphState};
pub use graph_set::GraphSet;
pub use index_report::IndexReport;
pub(crate) use index_statement::statement as index_statement;
pub use keys::{GraphKeys, GraphRole};
pub use lease::{Holder, LEASE_TTL, RedisLease};
pub(crate) use permissions::TELLS_ENGINE;
pub use permissions::missing_permissions;
pub(crate) use recent_writes::RecentWrites;
pub use safety::Safety;
pub(crate) use safety::made_of;
pub use server::CacheServer;
pub use swap::{GraphSwap, Swapped};

use crate::error::Result;
use crate::model::checkpoint::Checkpoint;
use crate::model::id_map::IdMap;
use crate::model::index::{IndexDefinition, IndexTarget, UnsafeIndexes};
use crate::model::prepared::{PreparedRows, Quarantined};
use crate::model::profile::{Profile, RelationshipKind};
use crate::model::stage::StageTotals;
use crate::transform::bulk::BulkPayload;

/// A graph that batches are applied to. Its one writer is the holder of its [`GraphLease`].
#[async_trait]
pub trait Sink: Send {
    /// Which server this is; one that is not FalkorDB is an error.
    async fn identify(&mut self) -> Result<CacheServer>;

    /// Whether the graph is there; a key of another type under its name is an error.
    async fn state(&mut self) -> Result<GraphState>;

    /// Makes what is missing of the profile's indices, and the graph with them, and waits until all serve queries.
    async fn prepare(&mut self) -> Result<IndexReport>;

    /// Makes the profile's indices on these labels and types of a graph that has none of them.
    async fn make_indices(&mut self, on: &[IndexTarget]) -> Result<()>;

    /// From here on these indices are made and waited for as well, beside the profile's: those that FalkorDB takes.
    async fn mirror(&mut self, indexes: &[IndexDefinition]) -> Result<IndexReport>;

    /// The indices and constraints as they are, without a change.
    async fn indexes(&mut self) -> Result<IndexReport> {
        Ok(IndexReport::default())
    }

    /// Indices that are there and that [`Self::prepare`] drops. A short look.
    async fn disturbing_indexes(&mut self) -> Result<BTreeSet<String>> {
        Ok(BTreeSet::new())
    }

    /// What is done about unsafe indices; absent where the server answers right by all of them.
    async fn unsafe_indexes(&mut self) -> Result<Option<UnsafeIndexes>> {
        Ok(None)
    }

    /// Deletes the graph with its indices; says whether there was one. What somebody else had made on it is made again when the
    /// graph is filled.
    async fn clear(&mut self) -> Result<bool>;

    /// Applies a batch. What may pass is tried again. After an error, which says nothing about what was applied before, the batch has to
    /// be applied again.
    async fn apply(&mut self, rows: &PreparedRows) -> Result<Applied>;

    /// Counts what the graph holds; a graph that is not there holds nothing.
    async fn counts(&mut self) -> Result<Counts>;

    /// The names that properties of the graph have or ever had.
    async fn property_names(&mut self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// A graph that nobody reads yet, filled by payloads.
#[async_trait]
pub trait StageSink: Send {
    /// Drops a stage of before, with all that belongs to it, and makes an empty one.
    async fn begin(&mut self) -> Result<()>;

    /// What it holds now; nothing where there is none.
    async fn totals(&mut self) -> Result<Option<StageTotals>>;

    /// Applies a payload to a stage that holds `before`, at most once for these totals.
    async fn load(&mut self, payload: &BulkPayload, before: StageTotals) -> Result<StageTotals>;

    /// Makes vectors of the lists in the places of the profile's vectors, on the nodes of these ids, and returns how many there
    /// were. Can be repeated.
    async fn convert_nodes(&mut self, profile: &Profile, ids: Range<u64>) -> Result<u64>;

    /// As [`Self::convert_nodes`], on all relationships of a kind.
    async fn convert_relationships(&mut self, kind: &RelationshipKind) -> Result<u64>;

    /// Which node has which id.
    async fn ids(&mut self, profile: &Profile) -> Result<IdMap>;
}

/// How a filled stage becomes the live graph, and the way back.
#[async_trait]
pub trait Swap: Send {
    /// Whether a stage graph is there.
    async fn is_staged(&mut self) -> Result<bool>;

    /// Makes on the stage what somebody else has made on the live graph, indices and constraints, and waits until it serves; returns
    /// what the stage goes without, and why.
    async fn carry_over(&mut self, _: &Profile) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Puts the stage with what belongs to it in the place of the live graph, which is kept or dropped.
    async fn swap(&mut self, keep_previous: bool) -> Result<Swapped>;

    /// Lets the live and the kept graph change places, and sets the pause flag to `pause`. It is its own inverse.
    async fn rollback(&mut self, pause: &str) -> Result<()>;

    /// Drops the stage with what belongs to it.
    async fn drop_stage(&mut self) -> Result<()>;

    /// Fails where a full sync beside the live graph must not or may not be done; says whether GRAPH.BULK may be used.
    async fn check(&mut self) -> Result<BulkUse>;
}

/// Whether a stage is filled by GRAPH.BULK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkUse {
    /// The stage is filled by GRAPH.BULK.
    Allowed,
    /// The server lacks it, or the user may not run it: by parameters then.
    Refused,
}

/// Where the checkpoint and the quarantine of a graph are kept.
#[async_trait]
pub trait CheckpointStore: Send {
    /// The stored checkpoint, if there is one.
    async fn load(&mut self) -> Result<Option<Checkpoint>>;

    /// Replaces it. [`LeaseLost`](crate::error::ErrorKind::LeaseLost) when this process owns the graph no longer,
    /// [`CacheChanged`](crate::error::ErrorKind::CacheChanged) when the one that was there is gone.
    async fn store(&mut self, checkpoint: &Checkpoint) -> Result<()>;

    /// Stores the first one of a graph that was just made, whether there was one before or not.
    async fn store_first(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.store(checkpoint).await
    }

    /// All that is quarantined.
    async fn quarantine(&mut self) -> Result<Vec<Quarantined>>;

    /// Adds to the quarantine, and takes away.
    async fn update_quarantine(&mut self, added: &[Quarantined], removed: &[Quarantined]) -> Result<()>;

    /// Whether an operator holds passes over this graph back.
    async fn is_paused(&mut self) -> Result<bool>;

    /// Holds passes back, or no longer. A word of the operator about the graph, so it needs no ownership: a pipeline that waits
    /// for a server can be paused as well.
    async fn set_paused(&mut self, paused: bool) -> Result<()>;
}

/// The right to be the one writer of a graph, for a short time, renewed while it is used.
#[async_trait]
pub trait GraphLease: Send {
    /// Takes the lease, or takes it again; [`LeaseHeld`](crate::error::ErrorKind::LeaseHeld) says who has it.
    async fn acquire(&mut self) -> Result<()>;

    /// Extends it if it is still ours; else [`LeaseLost`](crate::error::ErrorKind::LeaseLost).
    async fn renew(&mut self) -> Result<()>;

    /// Gives it back, so that another process need not wait for its end. Does nothing if it is not ours any more.
    async fn release(&mut self) -> Result<()>;
}
