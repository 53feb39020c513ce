//! The log as a change feed: a follower reads it, and one pass after the other takes what it told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::directory::LogDirectory;
use super::elements::OldValues;
use super::reach_watch::ReachWatch;
use super::refusal::LogRefusal;
use super::tail::{NextTransaction, Tail};
use super::transaction::Transaction;
use crate::model::bookmark::Bookmark;
use crate::model::committed::{Changed, Committed};
use crate::model::key::Key;
use crate::model::log_position::LogPosition;
use crate::model::log_reach::LogReach;

/// Changed elements that wait for a pass at most, so that a source that is written faster than the cache costs bounded memory: the
/// log keeps the rest. One transaction may bring more.
const MAX_WAITING: usize = 100_000;

/// Bytes of their old texts at most.
const MAX_WAITING_TEXT: usize = 16 << 20;

/// How long the follower sleeps before it looks for another transaction. A look reads one byte of a page in memory.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// The same for a log to which nothing was written for a while: half a percent of a core.
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

/// The longest pause before a transaction is read again that is not whole yet, in shortest pauses.
const UNWHOLE_PAUSE: u32 = 100;

/// For this long after the last transaction, the follower looks again after the shortest pause.
const LIVELY: Duration = Duration::from_secs(2);

/// How often a log that cannot be followed is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// How long a log is left alone that did not tell what the server had committed: passes waited for it in vain.
const DISTRUST: Duration = Duration::from_secs(600);

/// How long the log may take to tell a transaction of which the server gave the bookmark: it is written before. Longer than the
/// writing of a transaction of a million elements.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// How often it is looked whether the last transaction is still there.
const VERIFIED_EVERY: Duration = Duration::from_secs(1);

/// A longer one is read again only where there is a reason to doubt it.
const VERIFIED_BYTES: u64 = 1 << 20;

/// What an operator can do about a log that does not tell what was committed.
const NOT_TOLD: &str = "name the directory that the server itself writes to: a copy, and a network file system, are late";

/// Where to begin to follow a log.
#[derive(Debug, Clone)]
pub enum LogStart {
    /// At a place that was stored.
    At(Box<LogPosition>),
    /// After a transaction.
    After(u64),
    /// At its end.
    Newest,
}

/// The database whose log is followed, as its server tells it.
#[derive(Debug, Clone)]
pub struct LoggedDatabase {
    /// Any bookmark of it.
    pub bookmark: Bookmark,
    /// When its store was created, in milliseconds since 1970, if that is known.
    pub created_ms: Option<i64>,
}

/// What the log tells, for one pipeline. Clones share it.
#[derive(Debug, Clone)]
pub struct LogFeed(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<Untaken>,
    news: Notify,
    /// Whether passes read what the log tells.
    in_use: AtomicBool,
    /// Whether the server may have been started again: then its log is looked at before it is read on.
    doubted: AtomicBool,
    /// Any bookmark of the database.
    database: Bookmark,
}

/// How the log is followed, and what it told since a pass last took it.
#[derive(Debug)]
struct Untaken {
    standing: Standing,
    nodes: Changed,
    relationships: Changed,
    /// Bytes of the old texts of both.
    text_bytes: usize,
    committed_ms: Option<i64>,
    position: Option<LogPosition>,
}

impl Untaken {
    /// Whether more is to be told before a pass has taken what was.
    fn has_room(&self) -> bool {
        let elements = self.nodes.elements.len() + self.relationships.elements.len();
        elements < MAX_WAITING && self.text_bytes < MAX_WAITING_TEXT
    }

    fn forget_changes(&mut self) {
        (self.nodes, self.relationships, self.text_bytes, self.committed_ms) = Default::default();
    }
}

/// How a log is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is not opened yet.
    Opening,
    /// It is followed.
    Following(Stretch),
    /// It is not, for this reason.
    Lost(String),
}

/// A part of a log that is told without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Tells it from the stretches before it, between which something may have been missed.
    pub number: u64,
    /// The transaction before its first one.
    pub from: u64,
    /// The last transaction that was read.
    pub last: u64,
    /// Whether what was committed before it is not told.
    pub is_after_gap: bool,
}

impl LogFeed {
    /// How the log is followed.
    pub fn standing(&self) -> Standing {
        self.0.state.lock().standing.clone()
    }

    /// As [`Self::standing`], once the log was opened, or could not be, or takes its time.
    pub async fn opened(&self) -> Standing {
        // Nothing is lost by an end of the time: the next pass looks again.
        let _ = tokio::time::timeout(TOLD_WITHIN, self.is_open()).await;
        self.standing()
    }

    async fn is_open(&self) {
        loop {
            let news = self.0.news.notified();
            match self.standing() {
                Standing::Opening => news.await,
                Standing::Following(_) | Standing::Lost(_) => return,
            }
        }
    }

    /// Whether passes read what the log tells.
    pub fn is_in_use(&self) -> bool {
        self.0.in_use.load(Ordering::Relaxed)
    }

    /// Notes whether passes read what the log tells.
    pub fn note_use(&self, in_use: bool) {
        self.0.in_use.store(in_use, Ordering::Relaxed);
    }

    /// Notes that the server may have been started again.
    pub fn doubt(&self) {
        self.0.doubted.store(true, Ordering::Relaxed);
    }

    /// Waits until the log has told this transaction, or as much as may wait, and takes all that it told since the last time; nothing
    /// where it is another stretch, or does not tell the transaction although the server knows it.
    pub async fn take(&self, stretch: u64, transaction: u64) -> Option<Committed> {
        if !self.has_told(stretch, transaction).await {
            self.lose(format!("the log does not tell transaction {transaction}, which the server has committed"));
        }
        let mut state = self.0.state.lock();
        let following = matches!(&state.standing, Standing::Following(now) if now.number == stretch);
        let position = state.position.clone().filter(|_| following)?;
        let bookmark = self.0.database.of_transaction(position.transaction)?;
        let (nodes, relationships) = (std::mem::take(&mut state.nodes), std::mem::take(&mut state.relationships));
        let committed_at = state.committed_ms.and_then(DateTime::from_timestamp_millis);
        state.forget_changes();
        let is_partial = position.transaction < transaction;
        Some(Committed { bookmark, committed_at, nodes, relationships, position, is_partial })
    }

    /// Whether it tells a transaction, as long as it tells anything.
    async fn has_told(&self, stretch: u64, transaction: u64) -> bool {
        loop {
            let news = self.0.news.notified();
            let (standing, has_room) = {
                let state = self.0.state.lock();
                (state.standing.clone(), state.has_room())
            };
            let waits = match standing {
                Standing::Following(now) => now.number == stretch && now.last < transaction && has_room,
                Standing::Opening => true,
                Standing::Lost(_) => false,
            };
            if !waits {
                return true;
            }
            if tokio::time::timeout(TOLD_WITHIN, news).await.is_err() {
                return false;
            }
        }
    }

    /// Says that the log is not to be relied upon.
    fn lose(&self, reason: String) {
        self.note_use(false);
        self.0.state.lock().standing = Standing::Lost(reason);
        self.0.news.notify_waiters();
    }
}

/// What a follower says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogNews {
    /// Commits that it has read.
    Committed {
        /// The bookmark of the last one.
        bookmark: Bookmark,
        /// When the first one was made, by the server's clock.
        committed_at: Option<DateTime<Utc>>,
    },
    /// How far back the log reaches by now.
    Reach(LogReach),
}

/// Follows a log for a feed.
#[derive(Debug)]
pub struct LogFollower {
    directory: LogDirectory,
    feed: LogFeed,
    start: LogStart,
    /// As in [`LoggedDatabase`].
    created_ms: Option<i64>,
    tail: Option<Tail>,
    /// How many stretches there were.
    stretches: u64,
    /// How often in a row the next transaction was not whole yet: a large one is not read again and again while it is written.
    unwhole: u32,
}

impl LogFollower {
    /// A follower of the log in a directory, and its feed.
    pub fn new(directory: LogDirectory, start: LogStart, database: LoggedDatabase) -> (Self, LogFeed) {
        let LoggedDatabase { bookmark: database, created_ms } = database;
        let state = Untaken {
            standing: Standing::Opening,
            nodes: Changed::default(),
            relationships: Changed::default(),
            text_bytes: 0,
            committed_ms: None,
            position: None,
        };
        let shared = Shared {
            state: Mutex::new(state),
            news: Notify::new(),
            in_use: AtomicBool::new(false),
            doubted: AtomicBool::new(false),
            database,
        };
        let feed = LogFeed(Arc::new(shared));
        (Self { directory, feed: feed.clone(), start, created_ms, tail: None, stretches: 0, unwhole: 0 }, feed)
    }

    /// Follows until it is told to end, and says what it has read after each part. Blocks. Fails where the log does not hold any more
    /// what was read of it: then the cache holds what the database does not.
    pub fn run(mut self, quit: &CancellationToken, said: impl Fn(LogNews)) -> Result<(), LogRefusal> {
        let (mut last_news, mut verified) = (Instant::now(), Instant::now());
        let mut reach = ReachWatch::default();
        while !quit.is_cancelled() {
            if let Some(tail) = &mut self.tail {
                let is_due = verified.elapsed() >= VERIFIED_EVERY && tail.last_bytes() <= VERIFIED_BYTES;
                if self.feed.0.doubted.swap(false, Ordering::Relaxed) || is_due {
                    tail.verify()?;
                    verified = Instant::now();
                }
                reach.look(&self.directory).map(LogNews::Reach).into_iter().for_each(&said);
            }
            if let Some(reason) = self.given_up() {
                tracing::warn!(reason, remedy = NOT_TOLD, "transaction log not followed: the source is probed");
                (self.tail, self.start) = (None, LogStart::Newest);
                sleep_until_quit(DISTRUST, quit);
                continue;
            }
            match self.step() {
                Ok(Some(committed_ms)) => {
                    last_news = Instant::now();
                    let last = self.tail.as_ref().map(|tail| tail.position().transaction);
                    let bookmark = last.and_then(|last| self.feed.0.database.of_transaction(last));
                    let committed_at = DateTime::from_timestamp_millis(committed_ms);
                    bookmark.map(|bookmark| LogNews::Committed { bookmark, committed_at }).into_iter().for_each(&said);
                }
                Ok(None) => std::thread::sleep(self.pause(last_news.elapsed())),
                Err(refusal) => {
                    reach = ReachWatch::default();
                    let is_first = !matches!(self.start, LogStart::Newest);
                    self.note_lost(&refusal);
                    if !(is_first && refusal.is_another_history()) {
                        sleep_until_quit(RETRY, quit);
                    }
                }
            }
        }
        Ok(())
    }

    fn pause(&self, quiet: Duration) -> Duration {
        let of_unwhole = SHORTEST_PAUSE * self.unwhole.min(UNWHOLE_PAUSE);
        of_unwhole.max(if quiet < LIVELY { SHORTEST_PAUSE } else { LONGEST_PAUSE })
    }

    /// Why a pass has given the log up that waited for it in vain.
    fn given_up(&self) -> Option<String> {
        match self.feed.standing() {
            Standing::Lost(reason) if self.tail.is_some() => Some(reason),
            _ => None,
        }
    }

    /// Reads what is there. Says when the first of it was committed, in milliseconds since 1970; nothing where there is nothing.
    fn step(&mut self) -> Result<Option<i64>, LogRefusal> {
        let tail = match &mut self.tail {
            Some(tail) => tail,
            None => {
                let store = self.directory.newest()?.header.store;
                if self.created_ms.is_some_and(|expected| expected != store.created_ms) {
                    return Err(LogRefusal::OtherDatabase(self.directory.path().to_owned()));
                }
                let tail = open(&self.directory, &self.start)?;
                self.begin_stretch(&tail);
                self.directory.note_readable();
                self.tail.insert(tail)
            }
        };
        let mut first = None;
        while self.feed.has_room() {
            match tail.next(&|_| true)? {
                NextTransaction::Transaction(transaction) => {
                    first.get_or_insert(transaction.committed_ms);
                    self.feed.tell(*transaction, tail.position());
                }
                NextTransaction::Nothing => break,
                NextTransaction::Unwhole(_) => {
                    self.unwhole += 1;
                    break;
                }
            }
            self.unwhole = 0;
        }
        // A file that is open stays readable when the server deletes it.
        tail.look_ahead()?;
        Ok(first)
    }

    /// A place that was stored, or that the last stretch ended with, goes on with what is not taken yet.
    fn begin_stretch(&mut self, tail: &Tail) {
        let position = tail.position().clone();
        let mut state = self.feed.0.state.lock();
        let goes_on = state.position.as_ref() == Some(&position);
        if !goes_on {
            self.stretches += 1;
            state.forget_changes();
        }
        let last = position.transaction;
        state.position = Some(position);
        let is_first = self.stretches == 1;
        let is_after_gap = !goes_on && (!is_first || matches!(self.start, LogStart::Newest));
        state.standing = Standing::Following(Stretch { number: self.stretches, from: last, last, is_after_gap });
        drop(state);
        self.feed.0.news.notify_waiters();
        tracing::info!(transaction = last, directory = %self.directory.path().display(), "transaction log followed");
    }

    fn note_lost(&mut self, refusal: &LogRefusal) {
        let reason = refusal.to_string();
        if let Some(tail) = self.tail.take() {
            self.start = LogStart::At(Box::new(tail.position().clone()));
        }
        if refusal.is_another_history() {
            self.start = LogStart::Newest;
        }
        if self.directory.is_news(&reason) {
            tracing::warn!(%reason, remedy = refusal.remedy(), "transaction log not followed: the source is probed");
        }
        self.feed.lose(reason);
    }
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

impl LogFeed {
    fn has_room(&self) -> bool {
        let state = self.0.state.lock();
        matches!(state.standing, Standing::Following(_)) && state.has_room()
    }

    fn tell(&self, transaction: Transaction, position: &LogPosition) {
        let mut state = self.0.state.lock();
        let Untaken { standing, nodes, relationships, text_bytes, committed_ms, position: place } = &mut *state;
        // One that was lost meanwhile tells nothing more.
        let Standing::Following(stretch) = standing else { return };
        stretch.last = transaction.id;
        let OldValues { nodes: of_nodes, relationships: of_relationships } = transaction.old_values;
        let mut weighed = |text: &(u64, String)| *text_bytes += text.1.len();
        nodes.add(&transaction.nodes, possible_keys(of_nodes).inspect(&mut weighed));
        relationships.add(&transaction.relationships, possible_keys(of_relationships).inspect(&mut weighed));
        nodes.relabelled.extend(transaction.relabelled);
        *committed_ms = Some(transaction.committed_ms);
        *place = Some(position.clone());
        drop(state);
        self.0.news.notify_waiters();
    }

    /// Gives up what waits for a pass, because the passes look for changes themselves until they have caught up. Where the log has
    /// told more than `last` meanwhile, it does nothing.
    pub fn skip(&self, last: u64) {
        let mut state = self.0.state.lock();
        if let Standing::Following(stretch) = &mut state.standing
            && stretch.last == last
        {
            stretch.from = last;
            state.forget_changes();
        }
    }
}

/// Texts that can have been keys, each with the number of its element.
fn possible_keys(values: BTreeMap<u64, BTreeMap<u32, Option<String>>>) -> impl Iterator<Item = (u64, String)> {
    let of_element =
        |(number, texts): (u64, BTreeMap<u32, Option<String>>)| texts.into_values().flatten().map(move |text| (number, text));
    values.into_iter().flat_map(of_element).filter(|(_, text)| Key::parse(text).is_ok())
}
