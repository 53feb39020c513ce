//! What a change feed promises to the passes of a pipeline.
//!
//! A feed tells exactly which elements each commit changed. The strategies read only [`CommittedChanges`], so they do not know which
//! feed told it. The transaction log is the only feed today; a feed by `db.cdc.query` implements this trait, and gives its own
//! kind of position to [`LogPosition`](crate::model::log_position::LogPosition).

use std::fmt::Debug;

use async_trait::async_trait;

use crate::model::committed::CommittedChanges;

/// A feed of committed changes, in the order of the commits. One pipeline reads it.
///
/// A feed tells its changes in *segments*. Within a segment it leaves out no commit; between two segments it may have. A pass
/// relies on a segment only if the segment begins no later than what is applied.
#[async_trait]
pub(crate) trait ChangeFeed: Debug + Send + Sync {
    /// Returns the state of the feed. Does not wait.
    fn state(&self) -> FeedState;

    /// As [`Self::state`], after the feed was opened or could not be opened, or a time limit ended.
    async fn opened(&self) -> FeedState;

    /// Waits until the feed has told this transaction, or as much as it may keep, and takes all that it told since the last call.
    /// `None` if another segment has begun, or if the feed does not tell a transaction that the server has committed. What is
    /// taken is not told again.
    async fn take(&self, segment: u64, transaction: u64) -> Option<CommittedChanges>;

    /// Discards what waits for a pass, because passes look for changes themselves until they have caught up. Does nothing if the
    /// feed has told more than `last` meanwhile.
    fn skip(&self, last: u64);

    /// Whether passes rely on the feed. Without it, a prober asks the source for commits.
    fn is_in_use(&self) -> bool;

    /// Notes whether passes rely on the feed.
    fn note_use(&self, in_use: bool);

    /// Notes that the server may have restarted: the feed verifies its place before it tells more.
    fn doubt(&self);
}

/// The state of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FeedState {
    /// The feed is not opened yet.
    Opening,
    /// The feed tells changes, in this segment.
    Following(FeedSegment),
    /// The feed tells nothing, for this reason.
    Lost(String),
}

/// A part of the source's history that a feed tells without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FeedSegment {
    /// Distinguishes the segment from earlier ones: commits between two segments may have been missed.
    pub number: u64,
    /// The transaction before its first one.
    pub from: u64,
    /// The last transaction that was told.
    pub last: u64,
    /// Whether commits before the segment are missing from the feed.
    pub is_after_gap: bool,
}
