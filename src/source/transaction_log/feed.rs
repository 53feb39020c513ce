//! The log as a change feed: changes that a follower has read wait here until a pass takes them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::elements::OldValues;
use super::transaction::Transaction;
use crate::model::bookmark::Bookmark;
use crate::model::committed::{ChangeSet, CommittedChanges};
use crate::model::key::Key;
use crate::model::log_position::LogPosition;
use crate::source::change_feed::{ChangeFeed, FeedSegment, FeedState};

/// The most changed elements that wait for a pass. The limit bounds the memory if the source is written faster than the cache:
/// the log keeps the rest. One transaction may bring more.
const MAX_WAITING: usize = 100_000;

/// The most bytes of their old texts.
const MAX_WAITING_TEXT: usize = 16 << 20;

/// The time within which the log must tell a transaction once the server gave its bookmark: the server writes the log first. The
/// limit exceeds the time to write a transaction of a million elements.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// The database whose log is followed, as its server describes it.
#[derive(Debug, Clone)]
pub(crate) struct LoggedDatabase {
    /// Any bookmark of this database.
    pub bookmark: Bookmark,
    /// The creation time of its store, in milliseconds since 1970, if known.
    pub created_ms: Option<i64>,
}

/// The changes that the log tells to one pipeline. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct LogFeed(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<Untaken>,
    news: Notify,
    /// Whether passes read what the log tells.
    in_use: AtomicBool,
    /// Whether the server may have restarted: then the follower verifies the log before it reads on.
    doubted: AtomicBool,
    /// Any bookmark of the database.
    database: Bookmark,
}

/// The state of the feed, and the changes told since a pass last took them.
#[derive(Debug)]
struct Untaken {
    followed: FeedState,
    nodes: ChangeSet,
    relationships: ChangeSet,
    /// The bytes of the old texts of both kinds.
    text_bytes: usize,
    committed_ms: Option<i64>,
    /// The time of the first commit that is not announced yet.
    untold_ms: Option<i64>,
    position: Option<LogPosition>,
}

impl Untaken {
    /// Whether the log may tell more before a pass takes what waits.
    fn has_room(&self) -> bool {
        let elements = self.nodes.elements.len() + self.relationships.elements.len();
        elements < MAX_WAITING && self.text_bytes < MAX_WAITING_TEXT
    }

    fn forget_changes(&mut self) {
        (self.nodes, self.relationships, self.text_bytes, self.committed_ms) = Default::default();
    }
}

/// A segment that a follower begins.
pub(super) struct Begun {
    pub(super) segment: FeedSegment,
    /// Whether the segment continues the last one.
    pub(super) goes_on: bool,
}

impl LogFeed {
    /// Creates the feed of a database whose log is not followed yet.
    pub(super) fn new(database: Bookmark) -> Self {
        let state = Untaken {
            followed: FeedState::Opening,
            nodes: ChangeSet::default(),
            relationships: ChangeSet::default(),
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

    async fn is_open(&self) {
        loop {
            let news = self.0.news.notified();
            match self.state() {
                FeedState::Opening => news.await,
                FeedState::Following(_) | FeedState::Lost(_) => return,
            }
        }
    }

    /// Waits while the log can still tell a transaction; `false` if it tells nothing within the time limit.
    async fn has_told(&self, segment: u64, transaction: u64) -> bool {
        loop {
            let news = self.0.news.notified();
            let (followed, has_room) = {
                let state = self.0.state.lock();
                (state.followed.clone(), state.has_room())
            };
            let waits = match followed {
                FeedState::Following(now) => now.number == segment && now.last < transaction && has_room,
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

    /// Marks the log as lost: passes must not rely on it.
    pub(super) fn lose(&self, reason: String) {
        self.note_use(false);
        self.0.state.lock().followed = FeedState::Lost(reason);
        self.0.news.notify_waiters();
    }

    /// Whether the feed has room for more now.
    pub(super) fn has_room(&self) -> bool {
        let state = self.0.state.lock();
        matches!(state.followed, FeedState::Following(_)) && state.has_room()
    }

    /// Adds a transaction and the position after it.
    pub(super) fn tell(&self, transaction: &Transaction, position: &LogPosition) {
        let mut state = self.0.state.lock();
        let Untaken { followed, nodes, relationships, text_bytes, committed_ms, untold_ms, position: place } = &mut *state;
        // A log that was lost meanwhile tells nothing more.
        let FeedState::Following(segment) = followed else { return };
        segment.last = transaction.id;
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

    /// Returns the bookmark of the last commit and the time of the first one, among the commits not returned before.
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

    /// The position after the last transaction that the log told.
    pub(super) fn position(&self) -> Option<LogPosition> {
        self.0.state.lock().position.clone()
    }

    /// Whether somebody called [`Self::doubt`] since the last call.
    pub(super) fn take_doubt(&self) -> bool {
        self.0.doubted.swap(false, Ordering::Relaxed)
    }

    /// Begins a segment, or continues the last one: if the last one ended at this position, changes not taken yet are kept.
    pub(super) fn begin(&self, position: LogPosition, last: Option<FeedSegment>, is_after_gap: bool) -> Begun {
        let transaction = position.transaction;
        let mut state = self.0.state.lock();
        let goes_on = last.filter(|_| state.position.as_ref() == Some(&position));
        let segment = match goes_on {
            Some(segment) => FeedSegment { last: transaction, ..segment },
            None => {
                state.forget_changes();
                let number = last.map_or(1, |last| last.number + 1);
                FeedSegment { number, from: transaction, last: transaction, is_after_gap: is_after_gap || last.is_some() }
            }
        };
        state.position = Some(position);
        state.followed = FeedState::Following(segment);
        drop(state);
        self.0.news.notify_waiters();
        Begun { segment, goes_on: goes_on.is_some() }
    }
}

#[async_trait]
impl ChangeFeed for LogFeed {
    fn state(&self) -> FeedState {
        self.0.state.lock().followed.clone()
    }

    async fn opened(&self) -> FeedState {
        // A timeout loses nothing: the next pass looks again.
        let _ = tokio::time::timeout(TOLD_WITHIN, self.is_open()).await;
        self.state()
    }

    fn is_in_use(&self) -> bool {
        self.0.in_use.load(Ordering::Relaxed)
    }

    fn note_use(&self, in_use: bool) {
        self.0.in_use.store(in_use, Ordering::Relaxed);
    }

    fn doubt(&self) {
        self.0.doubted.store(true, Ordering::Relaxed);
    }

    async fn take(&self, segment: u64, transaction: u64) -> Option<CommittedChanges> {
        if !self.has_told(segment, transaction).await {
            self.lose(format!("the log does not contain transaction {transaction}, which the server has committed"));
        }
        let mut state = self.0.state.lock();
        let following = matches!(&state.followed, FeedState::Following(now) if now.number == segment);
        let position = state.position.clone().filter(|_| following)?;
        let bookmark = self.0.database.of_transaction(position.transaction)?;
        let (nodes, relationships) = (std::mem::take(&mut state.nodes), std::mem::take(&mut state.relationships));
        let committed_at = state.committed_ms.and_then(DateTime::from_timestamp_millis);
        state.forget_changes();
        let is_partial = position.transaction < transaction;
        Some(CommittedChanges { bookmark, committed_at, nodes, relationships, position, is_partial })
    }

    fn skip(&self, last: u64) {
        let mut state = self.0.state.lock();
        if let FeedState::Following(segment) = &mut state.followed
            && segment.last == last
        {
            segment.from = last;
            state.forget_changes();
        }
    }
}

/// Returns the texts that can have been keys, each with the number of its element.
fn possible_keys(values: &BTreeMap<u64, BTreeMap<u32, Option<String>>>) -> impl Iterator<Item = (u64, String)> {
    values.iter().flat_map(|(number, texts)| {
        let keys = texts.values().flatten().filter(|text| Key::parse(text).is_ok());
        keys.map(|text| (*number, text.clone()))
    })
}
