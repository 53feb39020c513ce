//! The strategies: what a pass reads, in which order, and when it ends. They know nothing of actors or of FalkorDB: rows
//! leave through [`Emitter`].

mod attached;
mod bundles;
mod cache_view;
mod committed;
pub(crate) mod comparison;
mod deferred;
pub(crate) mod delete_guard;
mod differential;
pub(crate) mod dimensions;
pub(crate) mod first_pass;
mod follow;
mod full;
mod incremental;
mod key_sets;
mod keys;
mod labels;
mod memory;
mod mirror;
mod pass;
mod reader;
mod refusals;
pub(crate) mod survey;
mod sweep;
mod unusable;

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::error::Result;
use crate::model::batch::SourceContent;
use crate::model::committed::CommittedChanges;
use crate::model::element::RelationshipIdentity;
use crate::model::guard::DeleteLimit;
use crate::model::quarantine_index::QuarantineIndex;

use crate::transform::Encoder;

pub(crate) use cache_view::{
    AttachedCounts, CacheLookup, CacheView, GraphScanCursor, MissingGraph, ScanCursor, ScannedElement, is_missing_graph,
};
pub(crate) use key_sets::{ElementHasher, gaps};
pub(crate) use memory::{CheckIntervals, Memory, READ_AGAIN};
pub(crate) use pass::run;
pub(crate) use reader::BatchLimits;
pub(crate) use sweep::KeySetDifference;

/// Everything that an incremental pass needs besides the source: a view of the cache, and the memory of the earlier passes.
pub(crate) struct PassContext<'a> {
    /// Read-only access to the cache.
    pub view: &'a mut dyn CacheView,
    /// The memory of this generation.
    pub memory: &'a mut Memory,
    /// The intervals at which an incremental pass does its checks.
    pub rhythm: CheckIntervals,
    /// The time up to which changes were read before the pass.
    pub watermark: Option<DateTime<Utc>>,
    /// The slice that a differential pass compares.
    pub slice: SliceOrder,
    /// The largest share of a kind that may be deleted without approval.
    pub limit: DeleteLimit,
    /// Whether an operator has approved all deletes.
    pub allow_deletes: bool,
    /// The commits that a change feed told, if an incremental pass reads them.
    pub committed: Option<&'a CommittedChanges>,
    /// The gap in the log, as in [`Checkpoint::log_gap`].
    ///
    /// [`Checkpoint::log_gap`]: crate::model::checkpoint::Checkpoint::log_gap
    pub log_gap: Option<u64>,
    /// Whether the cache may already hold a part of what this pass brings, or lack relationships that were read between two of
    /// its commits: after a pass that broke off, and in the first pass that a feed tells after a start or a full pass.
    pub resumes: bool,
    /// The rules that convert source rows into cache contents, for comparisons.
    pub encoder: &'a Encoder,
    /// Elements and properties that the cache cannot hold.
    pub excluded: &'a QuarantineIndex,
    /// Whether a client waits for what was committed before the pass: then the pass also reads changed rows that were read a
    /// moment ago, looks for late keys, and compares the key sets and labels of all kinds.
    pub thorough: bool,
}

/// The part of a comparison that one pass does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SliceOrder {
    /// The most elements that the slice goes through.
    pub rows: usize,
    /// Whether an operator ordered the comparison. A comparison in the background is no part of an ordered one.
    pub ordered: bool,
    /// The number of this order.
    pub number: u64,
}

/// The destination of a strategy's rows: the loader, in the order in which they are emitted.
#[async_trait]
pub(crate) trait Emitter: Send {
    /// Waits until there is room for this many rows. It is called before they are read, so that a slow loader stops the reading.
    async fn reserve(&mut self, rows: usize) -> Result<()>;

    /// Returns whether, since the last call, there were more relationships without an end than can be remembered.
    fn take_forgotten(&mut self) -> bool {
        false
    }

    /// Sends a batch on; `bytes` is its weight in memory.
    async fn emit(&mut self, content: SourceContent, bytes: usize) -> Result<()>;

    /// Waits until everything emitted is acknowledged, and hands over the relationships deferred since the last call.
    async fn settle(&mut self) -> Result<BTreeSet<RelationshipIdentity>>;
}
