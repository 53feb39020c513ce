//! Decides whether a pass reads what the change feed told, or looks for changes itself.
//!
//! Passes read a segment of the log once it is known to tell everything after the last applied commit: it begins no later, and it
//! has told that commit, which a log of another server or an old copy has not. Until then, and whenever the log is lost, passes
//! look for changes by timestamps and counts.

use std::sync::Arc;

use crate::model::bookmark::Bookmark;
use crate::model::checkpoint::Checkpoint;
use crate::model::committed::CommittedChanges;
use crate::model::pass::{PassMode, PassSummary};
use crate::source::Source;
use crate::source::change_feed::{ChangeFeed, FeedSegment, FeedState};

/// The change feed as passes read it.
#[derive(Debug)]
pub(crate) struct FeedReader {
    feed: Arc<dyn ChangeFeed>,
    /// Whether a pass has waited for the log to be opened.
    has_waited: bool,
    /// The segment that passes read.
    segment: Option<u64>,
    /// The last segment that was looked at.
    seen: Option<u64>,
    /// The last transaction up to which everything is applied.
    applied: Option<u64>,
    gap: Option<u64>,
}

impl FeedReader {
    /// Creates a reader for a cache with this checkpoint. Earlier passes may have missed changes that leave no trace, unless the
    /// log told the changes, everything was read, or a comparison has proven that nothing is missing.
    pub(crate) fn new(feed: Arc<dyn ChangeFeed>, checkpoint: &Checkpoint) -> Self {
        let applied = checkpoint.bookmark.as_ref();
        let is_read_whole = |pass: &PassSummary| pass.mode == PassMode::Full && pass.bookmark.as_ref() == applied;
        let is_whole = checkpoint.last_pass.as_ref().is_some_and(is_read_whole);
        let is_proven = checkpoint.log.is_some() || is_whole || checkpoint.equal_as_of.as_ref() == applied;
        let applied = applied.and_then(Bookmark::transaction);
        let gap = checkpoint.log_gap.or(applied.filter(|_| !is_proven));
        Self { feed, has_waited: false, segment: None, seen: None, applied, gap }
    }

    /// Takes all commits that were told and not taken yet, up to the newest commit that the source is known to have at least.
    /// Returns nothing if the pass has to look for changes itself. Every later read sees all of these commits.
    pub(crate) async fn take(&mut self, source: &dyn Source) -> Option<CommittedChanges> {
        let committed = self.take_told(source).await;
        self.feed.note_use(committed.is_some());
        let committed = committed?;
        source.read_after(&committed.bookmark);
        Some(committed)
    }

    async fn take_told(&mut self, source: &dyn Source) -> Option<CommittedChanges> {
        // Only the first pass waits: a file system that hangs must not hold every pass back.
        let state = if std::mem::replace(&mut self.has_waited, true) { self.feed.state() } else { self.feed.opened().await };
        let FeedState::Following(segment) = state else { return None };
        if self.seen.replace(segment.number) != Some(segment.number) && segment.is_after_gap {
            self.note_gap(segment.from);
        }
        if self.segment != Some(segment.number) {
            self.segment = self.covers(segment).then_some(segment.number);
            if self.gap.is_some() {
                // Passes have looked for these changes themselves before the log told them.
                self.note_gap(segment.from);
            }
        }
        if self.segment.is_none() && self.applied.is_some_and(|applied| applied > segment.last) {
            // Passes are ahead of the commits that are queued here, and may have missed some of them.
            self.feed.skip(segment.last);
            self.note_gap(segment.last);
        }
        let newest = source.newest_commit().as_ref().and_then(Bookmark::transaction).unwrap_or_default();
        self.feed.take(self.segment?, newest).await
    }

    fn covers(&self, segment: FeedSegment) -> bool {
        self.applied.is_some_and(|applied| segment.from <= applied && applied <= segment.last)
    }

    fn note_gap(&mut self, until: u64) {
        self.gap = Some(self.gap.map_or(until, |gap| gap.max(until)));
    }

    /// Returns the transaction up to which changes may be missing.
    pub(crate) fn gap(&self) -> Option<u64> {
        self.gap
    }

    /// Sets the gap that remains after a pass.
    pub(crate) fn set_gap(&mut self, gap: Option<u64>) {
        self.gap = gap;
    }

    /// Notes that everything up to this commit is applied.
    pub(crate) fn note_applied(&mut self, bookmark: Option<&Bookmark>) {
        self.applied = bookmark.and_then(Bookmark::transaction);
    }
}
