//! The messages that the actors exchange. Each carries the generation that it belongs to; a stale one is dropped.

use std::sync::Arc;

use actix::Message;
use chrono::{DateTime, Utc};

use super::credit::{Credit, CreditPool};
use super::member::Member;
use super::pass_order::PassOrder;
use crate::error::Error;
use crate::model::batch::{Generation, SourceContent};
use crate::model::bookmark::Bookmark;
use crate::model::changes::BatchChanges;
use crate::model::element::RelationshipIdentity;
use crate::model::guard::HeldDeletes;
use crate::model::log_reach::LogReach;
use crate::model::pass::{Cursor, Mode, PassSummary, Totals};
use crate::model::pass_outcome::PassOutcome;
use crate::model::prepared::Quarantined;
use crate::telemetry::status::{IndexStatus, PipelineStatus, Side};
use crate::transform::PreparedContent;

#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ExtractedBatch {
    /// Whose batch it is.
    pub generation: Generation,
    pub content: SourceContent,
    /// The newest commit that it may hold something of.
    pub newest: Option<Bookmark>,
    /// Released with the batch.
    pub credit: Credit,
}

#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct PreparedBatch {
    /// Whose batch it is.
    pub generation: Generation,
    pub content: PreparedContent,
    pub newest: Option<Bookmark>,
    /// Released with the batch.
    pub credit: Credit,
}

/// Loader to supervisor, which tells the extractor: a batch is applied and the checkpoint says so.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Acknowledged {
    /// Whose batch it was.
    pub generation: Generation,
    /// The checkpoint's sequence number.
    pub sequence: u64,
    /// What the pass did so far.
    pub totals: Totals,
    /// Where the pass stands.
    pub cursor: Option<Cursor>,
    /// Relationships of this batch whose endpoint is not in the cache.
    pub deferred: Vec<RelationshipIdentity>,
    /// Set by the last batch of a pass.
    pub ended: Option<PassSummary>,
    /// What an ended pass tells the scheduler of the next one.
    pub outcome: PassOutcome,
    /// As of when both sides are known to be equal, where a pass ended.
    pub equal_as_of: Option<Bookmark>,
    /// How much is quarantined.
    pub quarantined: u64,
    /// What is quarantined, where that changed: as many entries as are shown.
    pub quarantine: Option<Arc<Vec<Quarantined>>>,
    /// The state of the indices, where that changed.
    pub indexes: Option<IndexStatus>,
    /// Deletes that wait for a person.
    pub held: Vec<HeldDeletes>,
    /// What the batch read and changed.
    pub changes: Arc<BatchChanges>,
}

/// Supervisor to extractor: run a pass.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct StartPass {
    pub order: PassOrder,
    /// Up to where changes were read before it.
    pub watermark: Option<DateTime<Utc>>,
    /// Whether a client waits for it, so that it spares no changed row.
    pub thorough: bool,
    /// Whether a person has let all deletes through.
    pub allow_deletes: bool,
}

/// Supervisor to an actor: take nothing more, finish what is here, end.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Drain;

/// Supervisor to an actor: end as soon as no request is half done.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Quit;

/// Supervisor to the loader: the deadline is over, end wherever you are.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Abandon;

/// How a member's worker ended.
#[derive(Debug)]
pub(crate) enum WorkerExit {
    /// It had nothing more to do, or was told to end.
    Finished,
    /// It failed, or panicked.
    Failed(Error),
}

/// A worker to its supervisor: it has ended. Sent exactly once by each worker, whatever happens to it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct WorkerExited {
    pub generation: Generation,
    pub member: Member,
    pub exit: WorkerExit,
}

/// An actor to its supervisor: its shell has stopped.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct ActorStopped {
    pub generation: Generation,
    pub member: Member,
}

/// Prober or log follower to supervisor: something was committed since the last look, or this is the first look.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct SourceMoved {
    /// The generation of the sender.
    pub generation: Generation,
    pub bookmark: Bookmark,
    /// When its commit was made, by the server's clock, where a transaction log tells it.
    pub committed_at: Option<DateTime<Utc>>,
}

/// The log follower to the supervisor: how far back the log reaches by now.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct LogReached {
    /// The generation of the sender.
    pub generation: Generation,
    /// How far; absent where it is not followed any more.
    pub reach: Option<LogReach>,
}

/// Anyone to a supervisor: run a pass of this mode as soon as the one under way has ended.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct RequestPass(pub Mode);

/// Prober to supervisor: how the last look at a side went, where it failed or is the first one after a failure.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct SideProbed {
    /// The generation of the sender.
    pub generation: Generation,
    pub side: Side,
    /// Why it failed; absent if it answered.
    pub failure: Option<String>,
}

/// Prober to supervisor: the cache has an index that the next pass drops.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct IndexMade {
    /// The generation of the sender.
    pub generation: Generation,
}

/// Anyone to a supervisor: the commit of this bookmark is to be applied soon. Answered with the number of the first pass that
/// begins after the source has reached that commit: once it has ended, the cache holds all of it. Fails where no generation
/// runs, and where the source does not reach the commit.
#[derive(Debug, Clone, Message)]
#[rtype(result = "crate::error::Result<u64>")]
pub(crate) struct AwaitApplied(pub Bookmark);

/// Anyone to a supervisor: the equality of both sides is to be proven soon, with the commit of this bookmark in both. Answered
/// with the number of the first order of a comparison that can prove it: any comparison that begins with it or a later one
/// begins after the source has reached that commit. Fails as [`AwaitApplied`] does.
#[derive(Debug, Clone, Message)]
#[rtype(result = "crate::error::Result<u64>")]
pub(crate) struct AwaitVerified(pub Bookmark);

/// An operator to a supervisor: deletes that are held may go.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Approve;

/// An operator to a supervisor: hold passes back from now on, or no longer. Answered once that survives a restart.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "crate::error::Result<()>")]
pub(crate) struct SetPaused(pub bool);

/// A full sync to the supervisor of the live graph: write nothing to it from now on. Answered, once that is so, with the number
/// of its last checkpoint.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Quiesce(pub tokio::sync::oneshot::Sender<u64>);

/// A supervisor to itself: begin a full sync beside the live graph, unless one is under way.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct BeginFullSync;

/// An operator to a supervisor: let the kept previous graph take the live one's place, and pause. Answered once that is done.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "crate::error::Result<()>")]
pub(crate) struct RollBack;

/// An operator to a supervisor: let what is quarantined be. Answered, once that is stored, with how many entries that are.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "crate::error::Result<usize>")]
pub(crate) struct IgnoreQuarantine;

/// Anyone to a supervisor: stop extracting, drain, store the checkpoint, end.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Shutdown;

/// Supervisor to health: its state changed.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct StatusChanged {
    pub status: PipelineStatus,
    /// What is in flight is read from here, without asking anyone.
    pub credit: Option<Arc<CreditPool>>,
    /// The batch that was acknowledged, if that is what changed it.
    pub changes: Option<Arc<BatchChanges>>,
    /// Whether that batch went to a graph that is still being built.
    pub staged: bool,
}
