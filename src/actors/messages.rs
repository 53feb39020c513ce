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
use crate::model::leader::Leader;
use crate::model::log_reach::LogReach;
use crate::model::pass::{Cursor, PassMode, PassSummary, Totals};
use crate::model::pass_outcome::PassOutcome;
use crate::model::quarantined::Quarantined;
use crate::telemetry::status::{IndexStatus, PipelineStatus, Side};
use crate::transform::PreparedContent;

#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ExtractedBatch {
    /// The generation of the batch.
    pub generation: Generation,
    pub content: SourceContent,
    /// The newest commit that the batch may contain changes of.
    pub newest: Option<Bookmark>,
    /// The permits, which are released with the batch.
    pub credit: Credit,
}

#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct PreparedBatch {
    /// The generation of the batch.
    pub generation: Generation,
    pub content: PreparedContent,
    pub newest: Option<Bookmark>,
    /// The permits, which are released with the batch.
    pub credit: Credit,
}

/// Loader to supervisor, which tells the extractor: a batch is applied and the checkpoint says so.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Acknowledged {
    /// The generation of the batch.
    pub generation: Generation,
    /// The checkpoint's sequence number.
    pub sequence: u64,
    /// The totals of the pass so far.
    pub totals: Totals,
    /// The current place of the pass.
    pub cursor: Option<Cursor>,
    /// Relationships of this batch with an endpoint that is not in the cache.
    pub deferred: Vec<RelationshipIdentity>,
    /// The summary of the pass, with the last batch of a pass.
    pub ended: Option<PassSummary>,
    /// The information of an ended pass for the scheduler of the next one.
    pub outcome: PassOutcome,
    /// The bookmark at which both sides are known to be equal, if a pass ended.
    pub equal_as_of: Option<Bookmark>,
    /// The commit up to which passes over a change feed show that the cache holds everything, if a pass ended.
    pub told_as_of: Option<Bookmark>,
    /// Whether the log proves equality: then each pass proves it anew.
    pub is_proven_by_log: bool,
    /// The number of quarantine entries.
    pub quarantined: u64,
    /// The quarantine if it changed: as many entries as are shown.
    pub quarantine: Option<Arc<Vec<Quarantined>>>,
    /// The state of the indices, if it changed.
    pub indexes: Option<IndexStatus>,
    /// Deletes that wait for an operator's approval.
    pub held: Vec<HeldDeletes>,
    /// The reads and changes of the batch.
    pub changes: Arc<BatchChanges>,
}

/// Supervisor to extractor: run a pass.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct StartPass {
    pub order: PassOrder,
    /// The time up to which changes were read before the pass.
    pub watermark: Option<DateTime<Utc>>,
    /// Whether a client waits for the pass, so that it skips no changed row.
    pub thorough: bool,
    /// Whether an operator has approved all deletes.
    pub allow_deletes: bool,
}

/// Supervisor to an actor: take no more work, finish the work at hand, end.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Drain;

/// Supervisor to an actor: end as soon as no request is under way.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Quit;

/// Supervisor to the loader: the deadline has passed, end at once.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Abandon;

/// The result of a member's worker.
#[derive(Debug)]
pub(crate) enum WorkerExit {
    /// The worker had nothing more to do, or was told to end.
    Finished,
    /// The worker failed, or panicked.
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
    /// The commit time by the server's clock, if a transaction log tells it.
    pub committed_at: Option<DateTime<Utc>>,
}

/// The supervisor to itself, while it stands by: this process leads the pipeline.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct LeaderFound {
    /// The generation that found the lease held.
    pub generation: Generation,
    pub leader: Leader,
    /// The number of the leader's last checkpoint; absent if it is not known, or if the cache was restarted since.
    pub sequence: Option<u64>,
}

/// The log follower to the supervisor: the current reach of the log.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct LogReached {
    /// The generation of the sender.
    pub generation: Generation,
    /// The reach; absent if the log is not followed any more.
    pub reach: Option<LogReach>,
}

/// Anyone to a supervisor: run a pass of this mode as soon as the one under way has ended.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct RequestPass(pub PassMode);

/// Prober to supervisor: the result of the last probe of a side, if it failed or is the first success after a failure.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct SideProbed {
    /// The generation of the sender.
    pub generation: Generation,
    pub side: Side,
    /// The cause of a failure; absent if the side answered.
    pub failure: Option<String>,
}

/// Prober to supervisor: the cache has an index that the next pass drops.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct IndexMade {
    /// The generation of the sender.
    pub generation: Generation,
}

/// Anyone to a supervisor: the commit of this bookmark is to be applied soon. The answer promises the first pass that
/// begins after the source has reached that commit: once that pass has ended in the same generation, the cache holds all of the
/// commit. Fails if no generation runs, and if the source does not reach the commit.
#[derive(Debug, Clone, Message)]
#[rtype(result = "crate::error::Result<crate::telemetry::status::Promise>")]
pub(crate) struct AwaitApplied(pub Bookmark);

/// Anyone to a supervisor: the equality of both sides is to be proven soon, with the commit of this bookmark in both. The answer
/// promises the first order of a comparison that can prove it: any comparison that begins with this order or a later one
/// begins after the source has reached that commit. Fails as [`AwaitApplied`] does.
#[derive(Debug, Clone, Message)]
#[rtype(result = "crate::error::Result<crate::telemetry::status::Promise>")]
pub(crate) struct AwaitVerified(pub Bookmark);

/// An operator to a supervisor: deletes that are held are approved.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Approve;

/// An operator to a supervisor: pause the passes from now on, or end the pause. The answer comes once this survives a restart.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "crate::error::Result<()>")]
pub(crate) struct SetPaused(pub bool);

/// A full sync to the supervisor of the live graph: write nothing to it from now on. The answer, once writing has stopped, is the
/// number of its last checkpoint.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Quiesce(pub tokio::sync::oneshot::Sender<u64>);

/// A supervisor to itself: begin a full sync beside the live graph, unless one is under way.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct BeginFullSync;

/// An operator to a supervisor: replace the live graph by the kept previous one, and pause. The answer comes once that is done.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "crate::error::Result<()>")]
pub(crate) struct RollBack;

/// An operator to a supervisor: ignore what is quarantined. The answer, once that is stored, is the number of entries.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "crate::error::Result<usize>")]
pub(crate) struct IgnoreQuarantine;

/// Anyone to a supervisor: stop extracting, drain, store the checkpoint, end.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Shutdown;

/// Supervisor to health: the supervisor's state changed.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct StatusChanged {
    pub status: PipelineStatus,
    /// The pool that shows what is in flight, without a question to any actor.
    pub credit: Option<Arc<CreditPool>>,
    /// The changes of an acknowledged batch, if a batch caused the message.
    pub changes: Option<Arc<BatchChanges>>,
    /// Whether the batch went to a graph that is still being built.
    pub staged: bool,
}
