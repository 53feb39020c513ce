//! Follows a log for a feed, from a place that was stored or from its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::directory::LogDirectory;
use super::feed::{Begun, LogFeed, LoggedDatabase};
use super::reach_watch::ReachWatch;
use super::refusal::LogRefusal;
use super::shared_tail::{MemberRole, ReadOutcome, SharedTail, TailSubscription};
use super::tail::{NextTransaction, Tail};
use crate::model::bookmark::Bookmark;
use crate::model::log_position::LogPosition;
use crate::model::log_reach::LogReach;
use crate::source::change_feed::{ChangeFeed, FeedSegment, FeedState};

/// The follower's pause before it looks for another transaction. A look reads one byte of a page in memory.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// The pause for a log to which nothing was written for a while: its looks take half a percent of a core.
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

/// The longest pause before the follower reads an incomplete transaction again, as a multiple of the shortest pause.
const UNWHOLE_PAUSE: u32 = 100;

/// For this long after the last transaction, the follower looks again after the shortest pause.
const LIVELY: Duration = Duration::from_secs(2);

/// The interval between tries to follow a log that cannot be followed.
const RETRY: Duration = Duration::from_secs(10);

/// The time for which the follower ignores a log that did not tell a committed transaction: passes waited for it in vain.
const DISTRUST: Duration = Duration::from_secs(600);

/// The interval between checks whether the last transaction is still there.
const VERIFIED_EVERY: Duration = Duration::from_secs(1);

/// The most bytes of a transaction that is checked routinely. A longer one is read again only if there is a reason to doubt it.
const VERIFIED_BYTES: u64 = 1 << 20;

/// The advice to an operator for a log that does not tell what was committed.
const NOT_TOLD: &str = "name the directory that the server itself writes to: copies and network file systems lag behind";

/// The place where a follower begins.
#[derive(Debug, Clone)]
pub(crate) enum LogStart {
    /// At a stored position.
    At(Box<LogPosition>),
    /// After the transaction with this id.
    After(u64),
    /// At the end of the log.
    Newest,
}

/// The news that a follower reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogEvent {
    /// Commits that the follower has read.
    Committed {
        /// The bookmark of the last one.
        bookmark: Bookmark,
        /// The time of the first one, by the server's clock.
        committed_at: Option<DateTime<Utc>>,
    },
    /// The current reach of the log; absent if it is no longer followed.
    Reach(Option<LogReach>),
}

/// Follows a log for a feed.
#[derive(Debug)]
pub(crate) struct LogFollower {
    directory: LogDirectory,
    shared_tail: Arc<SharedTail>,
    feed: LogFeed,
    start: LogStart,
    /// The creation time of the store, as in [`LoggedDatabase`].
    created_ms: Option<i64>,
    /// Present while the follower reads by itself.
    tail: Option<Tail>,
    /// Present while the follower reads together with others.
    member: Option<TailSubscription>,
    /// The last segment that the follower began.
    segment: Option<FeedSegment>,
    /// The number of times in a row that the next transaction was incomplete: a large one is not read again and again while it is
    /// written.
    unwhole: u32,
    verified: Instant,
}

/// The outcome of a step.
enum FollowStep {
    /// The step read, or waited for another follower that reads.
    Done,
    /// There was nothing to read.
    Nothing,
}

impl LogFollower {
    /// Creates a follower of the log in a directory, and its feed.
    pub(crate) fn new(directory: LogDirectory, start: LogStart, database: LoggedDatabase) -> (Self, LogFeed) {
        let LoggedDatabase { bookmark, created_ms } = database;
        let feed = LogFeed::new(bookmark);
        let follower = Self {
            shared_tail: SharedTail::of(directory.path()),
            directory,
            feed: feed.clone(),
            start,
            created_ms,
            tail: None,
            member: None,
            segment: None,
            unwhole: 0,
            verified: Instant::now(),
        };
        (follower, feed)
    }

    /// Follows the log until `quit` is cancelled, and reports after each part what it read. Blocks. Fails if the log no longer
    /// holds what was read from it: then the cache holds data that the database does not.
    pub(crate) fn run(mut self, quit: &CancellationToken, said: impl Fn(LogEvent)) -> Result<(), LogRefusal> {
        let mut last_news = Instant::now();
        let mut reach = ReachWatch::default();
        while !quit.is_cancelled() {
            if self.is_following() {
                reach.look(&self.directory).map(|reach| LogEvent::Reach(Some(reach))).into_iter().for_each(&said);
            }
            if let Some(reason) = self.given_up() {
                tracing::warn!(reason, remedy = NOT_TOLD, "transaction log not followed: the source is probed");
                self.stop_reading();
                self.start = LogStart::Newest;
                reach = ReachWatch::default();
                said(LogEvent::Reach(None));
                sleep_until_quit(DISTRUST, quit);
                continue;
            }
            match self.step() {
                Ok(FollowStep::Done) => {}
                Ok(FollowStep::Nothing) => std::thread::sleep(self.pause(last_news.elapsed())),
                Err(refusal) if self.is_rewritten(&refusal) => return Err(refusal),
                Err(refusal) => {
                    reach = ReachWatch::default();
                    said(LogEvent::Reach(None));
                    let is_first = !matches!(self.start, LogStart::Newest);
                    self.note_lost(&refusal);
                    if !(is_first && refusal.is_another_history()) {
                        sleep_until_quit(RETRY, quit);
                    }
                }
            }
            if let Some((bookmark, committed_at)) = self.feed.take_untold() {
                last_news = Instant::now();
                said(LogEvent::Committed { bookmark, committed_at });
            }
        }
        Ok(())
    }

    fn is_following(&self) -> bool {
        self.tail.is_some() || self.member.is_some()
    }

    fn pause(&self, quiet: Duration) -> Duration {
        let of_unwhole = SHORTEST_PAUSE * self.unwhole.min(UNWHOLE_PAUSE);
        of_unwhole.max(if quiet < LIVELY { SHORTEST_PAUSE } else { LONGEST_PAUSE })
    }

    /// Returns the reason for which a pass gave up the log after waiting in vain.
    fn given_up(&self) -> Option<String> {
        match self.feed.state() {
            FeedState::Lost(reason) if self.is_following() => Some(reason),
            _ => None,
        }
    }

    /// Whether the log no longer holds what was read from it.
    fn is_rewritten(&self, refusal: &LogRefusal) -> bool {
        self.segment.is_some() && matches!(refusal, LogRefusal::OtherHistory(_) | LogRefusal::OtherStore)
    }

    /// Returns the most bytes of a last transaction to verify now; `None` if no check is due. Only a doubt lifts the usual limit.
    fn is_verified_again(&mut self) -> Option<u64> {
        if self.feed.take_doubt() {
            self.verified = Instant::now();
            return Some(u64::MAX);
        }
        if self.verified.elapsed() < VERIFIED_EVERY {
            return None;
        }
        self.verified = Instant::now();
        Some(VERIFIED_BYTES)
    }

    fn step(&mut self) -> Result<FollowStep, LogRefusal> {
        match self.member.take() {
            Some(member) => self.step_together(member),
            None => self.step_alone(),
        }
    }

    /// Reads for all followers at the end of this log, or waits for the one that reads.
    fn step_together(&mut self, member: TailSubscription) -> Result<FollowStep, LogRefusal> {
        let turn = member.turn();
        if turn == MemberRole::Left {
            // A log that a pass has given up is not begun again here.
            self.member = Some(member).filter(|_| matches!(self.feed.state(), FeedState::Lost(_)));
            if self.member.is_none() {
                self.stop_reading();
            }
            return Ok(FollowStep::Done);
        }
        // A member that doubts verifies by itself, so the member that reads need not know of the doubt.
        let verified = match self.is_verified_again() {
            Some(longest) if turn == MemberRole::Read || longest > VERIFIED_BYTES => member.verify(longest),
            _ => Ok(()),
        };
        let brought = match turn {
            MemberRole::Read => verified.and_then(|()| member.read()),
            MemberRole::Wait | MemberRole::Left => verified.map(|()| ReadOutcome::Some),
        };
        match brought.inspect_err(|_| self.stop_reading())? {
            ReadOutcome::Some => {
                self.member = Some(member);
                Ok(FollowStep::Done)
            }
            ReadOutcome::Nothing { unwhole } => {
                self.member = Some(member);
                self.unwhole = unwhole;
                Ok(FollowStep::Nothing)
            }
        }
    }

    /// Reads as much as there is room for, and joins the others at the end of the log.
    fn step_alone(&mut self) -> Result<FollowStep, LogRefusal> {
        let longest = self.is_verified_again();
        let mut tail = match self.tail.take() {
            Some(tail) => tail,
            None => self.open()?,
        };
        let read = longest.filter(|longest| tail.last_bytes() <= *longest).map_or(Ok(()), |_| tail.verify());
        let read = read.and_then(|()| self.read(&mut tail));
        match read {
            Ok(Read { any, is_at_end }) => {
                let joined = if is_at_end { self.shared_tail.join(tail, self.feed.clone()) } else { Err(Box::new(tail)) };
                match joined {
                    Ok(member) => self.member = Some(member),
                    Err(tail) => self.tail = Some(*tail),
                }
                Ok(if any { FollowStep::Done } else { FollowStep::Nothing })
            }
            Err(refusal) => {
                self.tail = Some(tail);
                self.stop_reading();
                Err(refusal)
            }
        }
    }

    fn read(&mut self, tail: &mut Tail) -> Result<Read, LogRefusal> {
        let (mut any, mut is_at_end) = (false, false);
        while self.feed.has_room() {
            match tail.next(&|_| true)? {
                NextTransaction::Transaction(transaction) => self.feed.tell(&transaction, tail.position()),
                NextTransaction::Nothing => {
                    is_at_end = true;
                    break;
                }
                NextTransaction::Unwhole => {
                    self.unwhole += 1;
                    break;
                }
            }
            (any, self.unwhole) = (true, 0);
        }
        // An open file stays readable when the server deletes it.
        tail.look_ahead()?;
        Ok(Read { any, is_at_end })
    }

    fn open(&mut self) -> Result<Tail, LogRefusal> {
        let store = self.directory.newest()?.header.store;
        if self.created_ms.is_some_and(|expected| expected != store.created_ms) {
            return Err(LogRefusal::OtherDatabase(self.directory.path().to_owned()));
        }
        let tail = open(&self.directory, &self.start)?;
        let is_after_gap = matches!(self.start, LogStart::Newest);
        let Begun { segment, goes_on } = self.feed.begin(tail.position().clone(), self.segment, is_after_gap);
        if !goes_on {
            tracing::info!(transaction = segment.last, directory = %self.directory.path().display(), "transaction log followed");
        }
        self.segment = Some(segment);
        self.directory.note_readable();
        Ok(tail)
    }

    /// Stops reading: the next tail begins where the feed ends.
    fn stop_reading(&mut self) {
        let _ = (self.tail.take(), self.member.take());
        if let Some(position) = self.feed.position() {
            self.start = LogStart::At(Box::new(position));
        }
    }

    fn note_lost(&mut self, refusal: &LogRefusal) {
        let reason = refusal.to_string();
        if refusal.is_another_history() {
            self.start = LogStart::Newest;
        }
        if self.directory.is_news(&reason) {
            tracing::warn!(%reason, remedy = refusal.remedy(), "transaction log not followed: the source is probed");
        }
        self.feed.lose(reason);
    }
}

/// The result of a follower that read by itself.
struct Read {
    any: bool,
    is_at_end: bool,
}

fn open(directory: &LogDirectory, start: &LogStart) -> Result<Tail, LogRefusal> {
    let directory = directory.clone();
    match start {
        LogStart::At(position) => Tail::resume(directory, position),
        LogStart::After(transaction) => Tail::after(directory, *transaction),
        LogStart::Newest => Tail::newest(directory),
    }
}

fn sleep_until_quit(pause: Duration, quit: &CancellationToken) {
    let until = Instant::now() + pause;
    while !quit.is_cancelled() && Instant::now() < until {
        std::thread::sleep(LONGEST_PAUSE);
    }
}
