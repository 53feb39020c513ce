//! The strategies: what a pass reads, in which order, and when it is over. They know nothing of actors or of FalkorDB: rows
//! go out through [`Emit`].

pub mod decision;
mod deferred;
mod full;
mod incremental;
mod reader;

use std::collections::BTreeSet;

use async_trait::async_trait;

use crate::error::Result;
use crate::model::batch::SourceContent;
use crate::model::element::RelationshipIdentity;

pub use reader::{BatchLimits, run};

/// Where a strategy's rows go: towards the loader, in the order in which they are emitted.
#[async_trait]
pub trait Emit: Send {
    /// Waits until there is room for this many rows. Called before they are read, so that a slow loader stops the reading.
    async fn reserve(&mut self, rows: usize) -> Result<()>;

    /// Sends a batch on; `bytes` is its weight in memory.
    async fn emit(&mut self, content: SourceContent, bytes: usize) -> Result<()>;

    /// Waits until everything emitted is acknowledged, and hands over the relationships deferred since the last call.
    async fn settle(&mut self) -> Result<BTreeSet<RelationshipIdentity>>;
}
