//! Decides whether a pass reads what the change feed told, or looks for changes itself.
//!
//! A stretch of the log is read from once it is known to tell everything after what is applied: it begins no later, and it has told
//! the last commit that is applied, which a log of another server or an old copy has not. Until then, and whenever the log is lost,
//! passes look for changes by timestamps and counts.

use crate::model::bookmark::Bookmark;
use crate::model::checkpoint::Checkpoint;
use crate::model::committed::Committed;
use crate::model::pass::{Mode, PassSummary};
use crate::source::Source;
use crate::source::transaction_log::{FeedState, LogFeed, LogSegment};

/// The feed as passes read it.
#[derive(Debug)]
pub(crate) struct FeedReader {
    feed: LogFeed,
    /// Whether a pass has waited for the log to be opened.
    has_waited: bool,
    /// The stretch that passes read.
    stretch: Option<u64>,
    /// The last stretch that was looked at.
    seen: Option<u64>,
    /// The last transaction of which everything is applied.
    applied: Option<u64>,
    gap: Option<u64>,
}

impl FeedReader {
    /// For a cache that stands where this checkpoint says. What passes before it looked for may have left no trace, unless the log told
    /// it, everything was read, or a comparison has proven that nothing is missing.
    pub(crate) fn new(feed: LogFeed, checkpoint: &Checkpoint) -> Self {
        let applied = checkpoint.bookmark.as_ref();
        let is_read_whole = |pass: &PassSummary| pass.mode == Mode::Full && pass.bookmark.as_ref() == applied;
        let is_whole = checkpoint.last_pass.as_ref().is_some_and(is_read_whole);
        let is_proven = checkpoint.log.is_some() || is_whole || checkpoint.equal_as_of.as_ref() == applied;
        let applied = applied.and_then(Bookmark::transaction);
        let gap = checkpoint.log_gap.or(applied.filter(|_| !is_proven));
        Self { feed, has_waited: false, stretch: None, seen: None, applied, gap }
    }

    /// All that was committed and not taken yet, up to the newest commit that the source is known to have at least; nothing where the
    /// pass has to look for it. Whatever is read after it has seen all of it.
    pub(crate) async fn take(&mut self, source: &dyn Source) -> Option<Committed> {
        let committed = self.take_told(source).await;
        self.feed.note_use(committed.is_some());
        let committed = committed?;
        source.read_after(&committed.bookmark);
        Some(committed)
    }

    async fn take_told(&mut self, source: &dyn Source) -> Option<Committed> {
        // Only the first pass waits: a file system that hangs must not hold every pass back.
        let standing =
            if std::mem::replace(&mut self.has_waited, true) { self.feed.standing() } else { self.feed.opened().await };
        let FeedState::Following(stretch) = standing else { return None };
        if self.seen.replace(stretch.number) != Some(stretch.number) && stretch.is_after_gap {
            self.note_gap(stretch.from);
        }
        if self.stretch != Some(stretch.number) {
            self.stretch = self.covers(stretch).then_some(stretch.number);
            if self.gap.is_some() {
                // What passes have looked for before the log told it.
                self.note_gap(stretch.from);
            }
        }
        if self.stretch.is_none() && self.applied.is_some_and(|applied| applied > stretch.last) {
            // Passes are ahead of what waits here, and may have missed some of it.
            self.feed.skip(stretch.last);
            self.note_gap(stretch.last);
        }
        let newest = source.newest_commit().as_ref().and_then(Bookmark::transaction).unwrap_or_default();
        self.feed.take(self.stretch?, newest).await
    }

    fn covers(&self, stretch: LogSegment) -> bool {
        self.applied.is_some_and(|applied| stretch.from <= applied && applied <= stretch.last)
    }

    fn note_gap(&mut self, until: u64) {
        self.gap = Some(self.gap.map_or(until, |gap| gap.max(until)));
    }

    /// Up to which transaction something may be missing.
    pub(crate) fn gap(&self) -> Option<u64> {
        self.gap
    }

    /// Sets the gap that is left after a pass.
    pub(crate) fn set_gap(&mut self, gap: Option<u64>) {
        self.gap = gap;
    }

    /// Notes that everything up to this commit is applied.
    pub(crate) fn note_applied(&mut self, bookmark: Option<&Bookmark>) {
        self.applied = bookmark.and_then(Bookmark::transaction);
    }
}
