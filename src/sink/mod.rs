//! FalkorDB: the only place that writes the cache.
//!
//! [`Sink`], [`CheckpointStore`] and [`GraphLease`] are the seams at which tests inject faults; [`FalkorSink`],
//! [`RedisCheckpointStore`] and [`RedisLease`] are the real ones. Each has its own connection, because on one connection every
//! command waits for the query before it.

mod address;
mod adoption;
mod applied;
mod bulk;
mod carry_over;
mod checkpoint_store;
mod classify;
mod cluster;
mod connection;
mod constraints;
mod content;
mod dial;
mod engine;
mod falkor;
mod fence;
mod foreign;
mod graph;
mod graph_requests;
mod graph_rotation;
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
mod presence;
mod questions;
mod recent_writes;
mod reply;
mod routing;
mod safety;
mod scan;
mod schema;
mod sentinel;
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
mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;

pub use address::CacheAddress;
pub(crate) use address::{CacheLocation, CacheTls, ClusterAddress, SentinelAddress};
pub(crate) use adoption::TakeOver;
pub(crate) use applied::ApplyResult;
pub use bulk::BulkLoader;
pub(crate) use bulk::after as stage_after;
pub use checkpoint_store::RedisCheckpointStore;
pub use connection::CacheConnection;
pub use engine::{Engine, EngineSigns};
pub use falkor::FalkorSink;
pub use fence::Ownership;
pub(crate) use graph::Counts;
pub use graph::GraphState;
pub use graph_set::GraphSet;
pub(crate) use index_report::IndexReport;
pub(crate) use index_statement::statement as index_statement;
pub use keys::{GraphKeys, GraphRole};
pub(crate) use lease::host_name;
pub use lease::{Holder, LEASE_TTL, RedisLease};
pub(crate) use permissions::TELLS_ENGINE;
pub use permissions::missing_permissions;
pub(crate) use presence::{Announced, Surroundings};
pub(crate) use recent_writes::RecentWrites;
pub use safety::UnsafeIndexCheck;
pub(crate) use safety::made_of;
pub use server::CacheServer;
pub use swap::{GraphSwap, Swapped};
pub(crate) use vectors::CONVERTED_AT_ONCE;

use crate::error::{Error, ErrorKind, Result};
use crate::model::checkpoint::Checkpoint;
use crate::model::graph_name::GraphName;
use crate::model::id_map::IdMap;
use crate::model::index::{IndexDefinition, UnsafeIndexPolicy};
use crate::model::leader::Leader;
use crate::model::prepared::PreparedRows;
use crate::model::profile::{Profile, RelationshipKind};
use crate::model::quarantined::Quarantined;
use crate::model::stage::StageTotals;
use crate::transform::bulk::BulkPayload;

/// The error if a graph that held nodes is empty, and this service did not empty it.
pub(crate) fn lost_content() -> Error {
    Error::new(ErrorKind::CacheChanged, "a graph of the cache lost its content")
}

/// A graph that batches are applied to. The holder of its [`GraphLease`] is its only writer.
#[async_trait]
pub trait Sink: Send {
    /// Identifies the server. A server other than FalkorDB is an error.
    async fn identify(&mut self) -> Result<CacheServer>;

    /// Whether the graph exists. A key of another type under its name is an error.
    async fn state(&mut self) -> Result<GraphState>;

    /// Whether graphs hold nodes: a few of the graphs at each call, in turn, because a pipeline may have thousands.
    async fn populated(&mut self) -> Result<BTreeMap<GraphName, bool>> {
        Ok(BTreeMap::new())
    }

    /// Whether any of the graphs exists and holds no node.
    async fn has_empty_graph(&mut self) -> Result<bool> {
        Ok(false)
    }

    /// Makes the missing indices of the profile, and the graph if it is missing, and waits until all indices serve queries.
    async fn prepare(&mut self) -> Result<IndexReport>;

    /// From now on, also makes these indices beside the profile's, as far as FalkorDB takes them, and waits for them.
    async fn mirror(&mut self, indexes: &[IndexDefinition]) -> Result<IndexReport>;

    /// Reports the indices and constraints without changing them.
    async fn indexes(&mut self) -> Result<IndexReport> {
        Ok(IndexReport::default())
    }

    /// Existing indices that [`Self::prepare`] drops. A short look.
    async fn disturbing_indexes(&mut self) -> Result<BTreeSet<String>> {
        Ok(BTreeSet::new())
    }

    /// The treatment of unsafe indices. Absent if the server answers correctly with all of them.
    async fn unsafe_indexes(&mut self) -> Result<Option<UnsafeIndexPolicy>> {
        Ok(None)
    }

    /// The server's `busy-reply-threshold`; nothing if the user may not ask.
    async fn busy_threshold(&mut self) -> Result<Option<Duration>> {
        Ok(None)
    }

    /// Deletes the graph with its indices, and returns whether it existed. Its foreign indices and constraints are made again
    /// when the graph is filled.
    async fn clear(&mut self) -> Result<bool>;

    /// Applies a batch. Retries errors that may pass. An error says nothing about what was applied before, so the batch must be
    /// applied again.
    async fn apply(&mut self, rows: &PreparedRows) -> Result<ApplyResult>;

    /// Counts the content of the graph; a missing graph holds nothing.
    async fn counts(&mut self) -> Result<Counts>;

    /// The property names that the graph has or ever had.
    async fn property_names(&mut self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// A graph that nobody reads yet, filled by payloads.
#[async_trait]
pub(crate) trait StageSink: Send {
    /// Drops an earlier stage with everything that belongs to it, and makes an empty one.
    async fn begin(&mut self) -> Result<()>;

    /// The current totals of the stage; nothing if there is no stage.
    async fn totals(&mut self) -> Result<Option<StageTotals>>;

    /// Applies a payload to a stage that holds `before`, at most once for these totals.
    async fn load(&mut self, payload: &BulkPayload, before: StageTotals) -> Result<StageTotals>;

    /// Converts the lists in the places of the profile's vectors to vectors, on the nodes of these ids, and returns how many
    /// there were. Can be repeated.
    async fn convert_nodes(&mut self, profile: &Profile, ids: Range<u64>) -> Result<u64>;

    /// As [`Self::convert_nodes`], on the relationships of a kind that start at the nodes of these ids.
    async fn convert_relationships(&mut self, kind: &RelationshipKind, ids: Range<u64>) -> Result<u64>;

    /// Reads the id of each node.
    async fn ids(&mut self, profile: &Profile) -> Result<IdMap>;
}

/// Replaces the live graph by a filled stage, and rolls back.
#[async_trait]
pub trait Swap: Send {
    /// Whether a stage graph exists.
    async fn is_staged(&mut self) -> Result<bool>;

    /// Makes the foreign indices and constraints of the live graph on the stage, and waits until it serves. Returns what the
    /// stage goes without, and why.
    async fn carry_over(&mut self, _: &Profile) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Replaces the live graph by the stage with everything that belongs to it. The live graph is kept or dropped.
    async fn swap(&mut self, keep_previous: bool) -> Result<Swapped>;

    /// Exchanges the live and the kept graph, and sets the pause flag to `pause`. The exchange is its own inverse.
    async fn rollback(&mut self, pause: &str) -> Result<()>;

    /// Drops the stage with everything that belongs to it.
    async fn drop_stage(&mut self) -> Result<()>;

    /// Fails if a full sync beside the live graph is unsafe or not permitted. Returns whether GRAPH.BULK may be used.
    async fn check(&mut self) -> Result<BulkUse>;
}

/// Whether a stage is filled by GRAPH.BULK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkUse {
    /// The stage is filled by GRAPH.BULK.
    Allowed,
    /// The server lacks GRAPH.BULK, or the user may not run it: the stage is filled by parameters.
    Refused,
}

/// The store for the checkpoint and the quarantine of a graph.
#[async_trait]
pub trait CheckpointStore: Send {
    /// The stored checkpoint, if there is one.
    async fn load(&mut self) -> Result<Option<Checkpoint>>;

    /// The run id of the server that keeps the checkpoint; absent if the user may not ask.
    async fn run_id(&mut self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Replaces the checkpoint. Fails with [`LeaseLost`](crate::error::ErrorKind::LeaseLost) if this process no longer owns the
    /// graph, and with [`CacheChanged`](crate::error::ErrorKind::CacheChanged) if the previous checkpoint is gone.
    async fn store(&mut self, checkpoint: &Checkpoint) -> Result<()>;

    /// Stores the first checkpoint of a new graph, even if a checkpoint exists.
    async fn store_first(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.store(checkpoint).await
    }

    /// Returns the whole quarantine.
    async fn quarantine(&mut self) -> Result<Vec<Quarantined>>;

    /// Adds entries to the quarantine, and removes others.
    async fn update_quarantine(&mut self, added: &[Quarantined], removed: &[Quarantined]) -> Result<()>;

    /// Whether an operator has paused the passes over this graph.
    async fn is_paused(&mut self) -> Result<bool>;

    /// Pauses the passes, or resumes them, unless another process leads: it reads the pause only when it begins. A leader whose lease
    /// has expired begins again. This is an operator's decision about the graph, so it needs no lease: a pipeline that waits for a
    /// server can be paused as well.
    async fn set_paused(&mut self, paused: bool) -> Result<()>;
}

/// The right to be the only writer of a graph, for a short time, renewed while it is used.
#[async_trait]
pub trait GraphLease: Send {
    /// Takes the lease, or takes it again; [`LeaseHeld`](crate::error::ErrorKind::LeaseHeld) names its holder.
    async fn acquire(&mut self) -> Result<()>;

    /// Returns the process that holds the lease, if any does.
    async fn leader(&mut self) -> Result<Option<Leader>>;

    /// Extends the lease. Takes it again if it expired and nobody has taken it or decided anything about the graph since. Otherwise
    /// fails with [`LeaseLost`](crate::error::ErrorKind::LeaseLost).
    async fn renew(&mut self) -> Result<()>;

    /// Gives the lease back, so that another process need not wait for its end. Does nothing if the lease is no longer ours.
    async fn release(&mut self) -> Result<()>;
}

/// This process among the instances of the service that lead a pipeline or could lead it.
#[async_trait]
pub(crate) trait Presence: Send {
    /// Returns the holder of the lease and the announced instances. Also announces this process for the next seconds, so it must be
    /// called again before they are over.
    async fn look(&mut self) -> Result<Surroundings>;

    /// Withdraws the announcement of this process, so that no other waits for its end.
    async fn withdraw(&mut self) -> Result<()>;
}
