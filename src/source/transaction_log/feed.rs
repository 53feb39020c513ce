//! The log as a change feed: what a follower has read waits here until a pass takes it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::elements::OldValues;
use super::transaction::Transaction;
use crate::model::bookmark::Bookmark;
use crate::model::committed::{Changed, Committed};
use crate::model::key::Key;
use crate::model::log_position::LogPosition;

/// Changed elements that wait for a pass at most, so that a source that is written faster than the cache costs bounded memory: the
/// log keeps the rest. One transaction may bring more.
const MAX_WAITING: usize = 100_000;

/// Bytes of their old texts at most.
const MAX_WAITING_TEXT: usize = 16 << 20;

/// How long the log may take to tell a transaction of which the server gave the bookmark: it is written before. Longer than the
/// writing of a transaction of a million elements.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

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
    standing: FeedState,
    nodes: Changed,
    relationships: Changed,
    /// Bytes of the old texts of both.
    text_bytes: usize,
    committed_ms: Option<i64>,
    /// When the first of the commits was made that nobody has been told of.
    untold_ms: Option<i64>,
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
pub enum FeedState {
    /// It is not opened yet.
    Opening,
    /// It is followed.
    Following(LogSegment),
    /// It is not, for this reason.
    Lost(String),
}

/// A part of a log that is told without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSegment {
    /// Tells it from the stretches before it, between which something may have been missed.
    pub number: u64,
    /// The transaction before its first one.
    pub from: u64,
    /// The last transaction that was read.
    pub last: u64,
    /// Whether what was committed before it is not told.
    pub is_after_gap: bool,
}

/// A stretch that begins.
pub(super) struct Begun {
    pub(super) stretch: LogSegment,
    /// Whether it is the one before it, which goes on.
    pub(super) goes_on: bool,
}

impl LogFeed {
    /// A feed of a database that nobody follows yet.
    pub(super) fn new(database: Bookmark) -> Self {
        let state = Untaken {
            standing: FeedState::Opening,
            nodes: Changed::default(),
            relationships: Changed::default(),
            text_bytes: 0,
            committed_ms: None,
            untold_ms: None,
            position: None,
        };
        let shared = Shared {
            state: Mutex::new(state),
            news: Notify::new(),
            in_use: AtomicBool::new(false),
            doubted: AtomicBool::new(false),
            database,
        };
        Self(Arc::new(shared))
    }

    /// How the log is followed.
    pub(crate) fn standing(&self) -> FeedState {
        self.0.state.lock().standing.clone()
    }

    /// As [`Self::standing`], once the log was opened, or could not be, or takes its time.
    pub(crate) async fn opened(&self) -> FeedState {
        // Nothing is lost by an end of the time: the next pass looks again.
        let _ = tokio::time::timeout(TOLD_WITHIN, self.is_open()).await;
        self.standing()
    }

    async fn is_open(&self) {
        loop {
            let news = self.0.news.notified();
            match self.standing() {
                FeedState::Opening => news.await,
                FeedState::Following(_) | FeedState::Lost(_) => return,
            }
        }
    }

    /// Whether passes read what the log tells.
    pub(crate) fn is_in_use(&self) -> bool {
        self.0.in_use.load(Ordering::Relaxed)
    }

    /// Notes whether passes read what the log tells.
    pub(crate) fn note_use(&self, in_use: bool) {
        self.0.in_use.store(in_use, Ordering::Relaxed);
    }

    /// Notes that the server may have been started again.
    pub(crate) fn doubt(&self) {
        self.0.doubted.store(true, Ordering::Relaxed);
    }

    /// Waits until the log has told this transaction, or as much as may wait, and takes all that it told since the last time; nothing
    /// where it is another stretch, or does not tell the transaction although the server knows it.
    pub(crate) async fn take(&self, stretch: u64, transaction: u64) -> Option<Committed> {
        if !self.has_told(stretch, transaction).await {
            self.lose(format!("the log does not tell transaction {transaction}, which the server has committed"));
        }
        let mut state = self.0.state.lock();
        let following = matches!(&state.standing, FeedState::Following(now) if now.number == stretch);
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
                FeedState::Following(now) => now.number == stretch && now.last < transaction && has_room,
                FeedState::Opening => true,
                FeedState::Lost(_) => false,
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
    pub(super) fn lose(&self, reason: String) {
        self.note_use(false);
        self.0.state.lock().standing = FeedState::Lost(reason);
        self.0.news.notify_waiters();
    }
}

impl LogFeed {
    /// Whether more is to be told now.
    pub(super) fn has_room(&self) -> bool {
        let state = self.0.state.lock();
        matches!(state.standing, FeedState::Following(_)) && state.has_room()
    }

    /// Adds a transaction, and the place after it.
    pub(super) fn tell(&self, transaction: &Transaction, position: &LogPosition) {
        let mut state = self.0.state.lock();
        let Untaken { standing, nodes, relationships, text_bytes, committed_ms, untold_ms, position: place } = &mut *state;
        // One that was lost meanwhile tells nothing more.
        let FeedState::Following(stretch) = standing else { return };
        stretch.last = transaction.id;
        let OldValues { nodes: of_nodes, relationships: of_relationships } = &transaction.old_values;
        let mut weighed = |text: &(u64, String)| *text_bytes += text.1.len();
        nodes.add(&transaction.nodes, possible_keys(of_nodes).inspect(&mut weighed));
        relationships.add(&transaction.relationships, possible_keys(of_relationships).inspect(&mut weighed));
        nodes.relabelled.extend(&transaction.relabelled);
        *committed_ms = Some(transaction.committed_ms);
        untold_ms.get_or_insert(transaction.committed_ms);
        *place = Some(position.clone());
        drop(state);
        self.0.news.notify_waiters();
    }

    /// The bookmark of the last commit, and when the first one was made, of those that this has not returned before.
    pub(super) fn take_untold(&self) -> Option<(Bookmark, Option<DateTime<Utc>>)> {
        let mut state = self.0.state.lock();
        let first = state.untold_ms.take()?;
        let last = state.position.as_ref()?.transaction;
        Some((self.0.database.of_transaction(last)?, DateTime::from_timestamp_millis(first)))
    }

    /// Whether [`Self::take_untold`] would return something.
    pub(super) fn has_untold(&self) -> bool {
        self.0.state.lock().untold_ms.is_some()
    }

    /// The place after the last transaction that was told.
    pub(super) fn position(&self) -> Option<LogPosition> {
        self.0.state.lock().position.clone()
    }

    /// Whether somebody doubts what was read, since this was last asked.
    pub(super) fn take_doubt(&self) -> bool {
        self.0.doubted.swap(false, Ordering::Relaxed)
    }

    /// Begins a stretch, or goes on with the last one: where it ended with this place, what is not taken yet is kept.
    pub(super) fn begin(&self, position: LogPosition, last: Option<LogSegment>, is_after_gap: bool) -> Begun {
        let transaction = position.transaction;
        let mut state = self.0.state.lock();
        let goes_on = last.filter(|_| state.position.as_ref() == Some(&position));
        let stretch = match goes_on {
            Some(stretch) => LogSegment { last: transaction, ..stretch },
            None => {
                state.forget_changes();
                let number = last.map_or(1, |last| last.number + 1);
                LogSegment { number, from: transaction, last: transaction, is_after_gap: is_after_gap || last.is_some() }
            }
        };
        state.position = Some(position);
        state.standing = FeedState::Following(stretch);
        drop(state);
        self.0.news.notify_waiters();
        Begun { stretch, goes_on: goes_on.is_some() }
    }

    /// Gives up what waits for a pass, because the passes look for changes themselves until they have caught up. Where the log has
    /// told more than `last` meanwhile, it does nothing.
    pub(crate) fn skip(&self, last: u64) {
        let mut state = self.0.state.lock();
        if let FeedState::Following(stretch) = &mut state.standing
            && stretch.last == last
        {
            stretch.from = last;
            state.forget_changes();
        }
    }
}

/// Texts that can have been keys, each with the number of its element.
fn possible_keys(values: &BTreeMap<u64, BTreeMap<u32, Option<String>>>) -> impl Iterator<Item = (u64, String)> {
    values.iter().flat_map(|(number, texts)| {
        let keys = texts.values().flatten().filter(|text| Key::parse(text).is_ok());
        keys.map(|text| (*number, text.clone()))
    })
}
