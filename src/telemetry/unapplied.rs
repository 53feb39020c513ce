//! Commits of the source that were seen and that the cache lacks: they show how long it has been behind.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};

use crate::model::bookmark::Bookmark;

/// The most commits that are distinguished. Beyond that, the newest two count as one, seen when the older one was.
const TOLD_APART: usize = 256;

/// Commits in the order in which they were seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct UnappliedCommits(VecDeque<Unapplied>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Unapplied {
    bookmark: Bookmark,
    /// The time when the commit was made or seen, or a time after which it was made.
    at: DateTime<Utc>,
    /// Whether it may have been made long after that time.
    is_older: bool,
}

impl UnappliedCommits {
    /// Adds a commit. The time is that of the commit if known, otherwise the time when it was seen.
    pub(super) fn note(&mut self, bookmark: Bookmark, at: DateTime<Utc>) {
        self.add(Unapplied { bookmark, at, is_older: false });
    }

    /// Adds a commit that was made after this time, while nobody was watching.
    pub(super) fn note_made_after(&mut self, bookmark: Bookmark, at: DateTime<Utc>) {
        self.add(Unapplied { bookmark, at, is_older: true });
    }

    fn add(&mut self, commit: Unapplied) {
        let is_full = self.0.len() >= TOLD_APART;
        match self.0.back_mut() {
            Some(last) if last.bookmark == commit.bookmark => {}
            Some(last) if is_full => last.bookmark = commit.bookmark,
            _ => self.0.push_back(commit),
        }
    }

    /// Removes the commits that this bookmark includes. Returns the time of the first removed commit with a known time.
    pub(super) fn applied(&mut self, bookmark: &Bookmark) -> Option<DateTime<Utc>> {
        let included = self.0.iter().rposition(|seen| bookmark.includes(&seen.bookmark)).map_or(0, |last| last + 1);
        self.0.drain(..included).filter(|seen| !seen.is_older).map(|seen| seen.at).next()
    }

    /// The time of the first remaining commit.
    pub(super) fn since(&self) -> Option<DateTime<Utc>> {
        self.0.front().map(|seen| seen.at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn bookmark(transaction: u16) -> Bookmark {
        let [high, low] = transaction.to_be_bytes();
        let bytes = [&[0x91, 0xCC, 0x10], &[7; 16][..], &[0xC9, high, low, 0x90]].concat();
        Bookmark::new(format!("FB:{}", STANDARD.encode(bytes)))
    }

    fn at(seconds: u64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn each_commit_is_behind_until_a_pass_includes_it() {
        let mut commits = UnappliedCommits::default();
        for (transaction, seconds) in [(700, 10), (800, 20), (900, 30)] {
            commits.note(bookmark(transaction), at(seconds));
        }
        assert_eq!(commits.applied(&bookmark(650)), None);
        assert_eq!((commits.applied(&bookmark(820)), commits.since()), (Some(at(10)), Some(at(30))));
        assert_eq!((commits.applied(&bookmark(900)), commits.since()), (Some(at(30)), None));
    }

    #[test]
    fn what_was_made_while_nobody_looked_is_behind_and_tells_nothing_of_how_long_commits_take() {
        let mut commits = UnappliedCommits::default();
        commits.note_made_after(bookmark(700), at(10));
        assert_eq!((commits.since(), commits.applied(&bookmark(700))), (Some(at(10)), None));
    }

    #[test]
    fn bookmarks_of_another_layout_are_told_apart_by_equality() {
        let mut commits = UnappliedCommits::default();
        for (name, seconds) in [("one", 10), ("two", 20), ("three", 30)] {
            commits.note(Bookmark::new(name), at(seconds));
        }
        assert_eq!((commits.applied(&Bookmark::new("two")), commits.since()), (Some(at(10)), Some(at(30))));
    }

    #[test]
    fn a_backlog_takes_bounded_room_and_is_never_said_to_be_younger_than_it_is() {
        let mut commits = UnappliedCommits::default();
        for number in 1..1_000 {
            commits.note(bookmark(number), at(number.into()));
        }
        assert_eq!(commits.0.len(), TOLD_APART);
        assert_eq!((commits.applied(&bookmark(500)), commits.since()), (Some(at(1)), Some(at(256))));
    }
}
