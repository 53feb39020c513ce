//! The strategies: what a pass reads, in which order, and when it is over. They know nothing of actors or of FalkorDB: rows
//! go out through [`Emitter`].

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
use crate::model::committed::Committed;
use crate::model::element::RelationshipIdentity;
use crate::model::excluded::Excluded;
use crate::model::guard::DeleteLimit;

use crate::transform::Encoder;

pub(crate) use cache_view::{Attached, CacheLookup, CacheView, GraphPlace, Keyed, MissingGraph, ScanPosition, is_missing_graph};
pub(crate) use key_sets::gaps;
pub(crate) use memory::{Memory, READ_AGAIN, Rhythm};
pub(crate) use pass::run;
pub(crate) use reader::BatchLimits;
pub(crate) use sweep::KeySetDifference;

/// What an incremental pass needs besides the source: a look at the cache, and what the passes before it remember.
pub(crate) struct PassContext<'a> {
    /// Read-only access to the cache.
    pub view: &'a mut dyn CacheView,
    /// The memory of this generation.
    pub memory: &'a mut Memory,
    /// When an incremental pass does what.
    pub rhythm: Rhythm,
    /// Up to where changes were read before the pass.
    pub watermark: Option<DateTime<Utc>>,
    /// What a differential pass does.
    pub slice: Slice,
    /// The largest share of a kind that may be deleted without a person's word.
    pub limit: DeleteLimit,
    /// Whether a person has let all deletes through.
    pub allow_deletes: bool,
    /// What a change feed told, where an incremental pass reads that.
    pub committed: Option<&'a Committed>,
    /// As of [`Checkpoint::log_gap`].
    ///
    /// [`Checkpoint::log_gap`]: crate::model::checkpoint::Checkpoint::log_gap
    pub log_gap: Option<u64>,
    /// Whether the cache may hold a part of what this pass brings, or lack relationships that were read between two of its commits:
    /// after a pass that broke off, and for the first one that a feed tells after a start or a full pass.
    pub resumes: bool,
    /// The rules that lead from source to cache, for comparisons.
    pub encoder: &'a Encoder,
    /// What the cache lacks because it cannot hold it.
    pub excluded: &'a Excluded,
    /// Whether a client waits for what was committed before the pass: no changed row is spared that was read a moment ago, late
    /// keys are looked for, and the key sets and labels of all kinds are compared.
    pub thorough: bool,
}

/// The part of a comparison that one pass does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Slice {
    /// How many elements it goes through at most.
    pub rows: usize,
    /// Whether an operator ordered the comparison: then one that runs in the background is no part of it.
    pub ordered: bool,
    /// The number of this order.
    pub number: u64,
}

/// Where a strategy's rows go: towards the loader, in the order in which they are emitted.
#[async_trait]
pub(crate) trait Emitter: Send {
    /// Waits until there is room for this many rows. Called before they are read, so that a slow loader stops the reading.
    async fn reserve(&mut self, rows: usize) -> Result<()>;

    /// Whether some relationships without an end were too many to be remembered since this was asked last.
    fn take_forgotten(&mut self) -> bool {
        false
    }

    /// Sends a batch on; `bytes` is its weight in memory.
    async fn emit(&mut self, content: SourceContent, bytes: usize) -> Result<()>;

    /// Waits until everything emitted is acknowledged, and hands over the relationships deferred since the last call.
    async fn settle(&mut self) -> Result<BTreeSet<RelationshipIdentity>>;
}
