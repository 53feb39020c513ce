//! What happens before a generation's actors start: connect, take the lease, read the checkpoint, decide.
//!
//! The order matters: nothing is written before both servers have been reached and the graph's key has been looked at.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::Utc;

use super::messages::PassOrder;
use crate::error::Result;
use crate::model::bookmark::Bookmark;
use crate::model::checkpoint::Checkpoint;
use crate::model::pass::Mode;
use crate::model::prepared::Quarantined;
use crate::model::profile::ProfileFingerprint;
use crate::sink::{CacheView, CheckpointStore, GraphState, Lease, Sink};
use crate::source::{Source, SourceIdentity};
use crate::sync::decision::{Decision, Facts, Reason, first_pass};

/// Makes the connections of a generation; each generation gets new ones.
#[async_trait]
pub trait Connector: Send + Sync + 'static {
    /// The source.
    async fn source(&self) -> Result<Arc<dyn Source>>;
    /// The graph.
    async fn sink(&self) -> Result<Box<dyn Sink>>;
    /// What is kept beside the graph.
    async fn store(&self) -> Result<Box<dyn CheckpointStore>>;
    /// The graph, looked at from outside its writer.
    async fn view(&self) -> Result<Box<dyn CacheView>>;
    /// The right to write.
    async fn lease(&self) -> Result<Box<dyn Lease>>;
}

/// All that a generation starts with.
pub struct Launched {
    /// The source.
    pub source: Arc<dyn Source>,
    /// The graph.
    pub sink: Box<dyn Sink>,
    /// What is kept beside it.
    pub store: Box<dyn CheckpointStore>,
    /// The right to write it, held.
    pub lease: Box<dyn Lease>,
    /// The graph, looked at.
    pub view: Box<dyn CacheView>,
    /// The graph and what is kept beside it, for the prober.
    pub watched: (Box<dyn Sink>, Box<dyn CheckpointStore>),
    /// Where it stands.
    pub checkpoint: Checkpoint,
    /// What it cannot hold.
    pub quarantine: Vec<Quarantined>,
    /// Whether an operator holds passes back.
    pub paused: bool,
    /// The first pass.
    pub order: PassOrder,
    /// Why that one; absent for a pass that goes on.
    pub reason: Option<Reason>,
}

/// What this process knows from its earlier generations.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The number of the last checkpoint.
    pub last_sequence: u64,
    /// The last bookmark of the source.
    pub last_bookmark: Option<Bookmark>,
}

/// Does all of it. On an error the lease is not held.
pub async fn launch(
    connector: &dyn Connector,
    profile: &ProfileFingerprint,
    wanted: Option<Mode>,
    known: Known,
) -> Result<Launched> {
    let source = connector.source().await?;
    let identity = source.identity().await?;
    let bookmark = source.bookmark().await?;
    let mut sink = connector.sink().await?;
    let run_id = sink.identify().await?.run_id;
    let graph_exists = sink.state().await? == GraphState::Present;
    let mut store = connector.store().await?;
    let mut lease = connector.lease().await?;
    lease.acquire().await?;
    let stored = match read(store.as_mut()).await {
        Ok(stored) => stored,
        Err(error) => {
            // The error at hand matters more than a lease that runs out by itself.
            let _ = lease.release().await;
            return Err(error);
        }
    };
    let (checkpoint, quarantine, paused) = stored;
    let facts = Facts {
        checkpoint: checkpoint.as_ref(),
        profile,
        source: &identity,
        bookmark: Some(&bookmark),
        last_bookmark: known.last_bookmark.as_ref(),
        cache_run_id: run_id.as_deref(),
        last_sequence: known.last_sequence,
        graph_exists,
        now: Utc::now(),
    };
    let decision = first_pass(&facts, wanted);
    let (mut checkpoint, order, reason) = starting_point(decision, checkpoint, profile, identity);
    checkpoint.cache_run_id = run_id;
    // Never a number twice: a state from before a wipe would pass for a newer one.
    checkpoint.sequence = checkpoint.sequence.max(known.last_sequence);
    let view = connector.view().await?;
    let watched = (connector.sink().await?, connector.store().await?);
    Ok(Launched { source, sink, store, lease, view, watched, checkpoint, quarantine, paused, order, reason })
}

async fn read(store: &mut dyn CheckpointStore) -> Result<(Option<Checkpoint>, Vec<Quarantined>, bool)> {
    Ok((store.load().await?, store.quarantine().await?, store.is_paused().await?))
}

fn starting_point(
    decision: Decision,
    stored: Option<Checkpoint>,
    profile: &ProfileFingerprint,
    source: SourceIdentity,
) -> (Checkpoint, PassOrder, Option<Reason>) {
    let sequence = stored.as_ref().map_or(0, |checkpoint| checkpoint.sequence);
    let mut checkpoint = stored.unwrap_or_else(|| Checkpoint::new(profile.clone(), source.clone()));
    // A full pass makes the cache one of this source and this profile; the numbering goes on.
    if matches!(decision, Decision::Begin(Mode::Full, _)) {
        let last_pass = checkpoint.last_pass.take();
        checkpoint = Checkpoint { sequence, last_pass, ..Checkpoint::new(profile.clone(), source) };
    }
    match decision {
        Decision::Resume(pass) => (checkpoint, PassOrder::Resume(pass), None),
        Decision::Begin(mode, reason) => (checkpoint, PassOrder::Begin(mode), Some(reason)),
    }
}
