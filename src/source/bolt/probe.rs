//! Asks for the bookmark a few times a second, to learn of new commits.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connection::Connection;
use super::fault::Fault;
use super::limits::{Limits, within};
use super::members::Purpose;
use super::packstream::DecodeError;
use super::router::Router;
use super::server::Server;
use crate::error::Result;
use crate::model::bookmark::Bookmark;
use crate::source::address::SourceAddress;
use crate::source::request::Request;

/// A query that any user may run and that touches no data. The end of every query carries the bookmark.
pub(super) const QUESTION: &str = "RETURN 1";

/// The time between questions to a leader that is behind.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Asks Neo4j for its bookmark, on a connection of its own.
pub struct Probe {
    router: Arc<Router>,
    connection: Option<Connection>,
    /// The newest commit that is known.
    newest: Option<Bookmark>,
    /// The time since when the leader is behind that commit.
    behind_since: Option<Instant>,
}

impl Probe {
    /// Creates a probe that connects at its first question.
    pub fn new(address: &SourceAddress, limits: Limits) -> Result<Self> {
        let server = Server::new(address, limits).map_err(|fault| fault.during("cannot use Neo4j as configured"))?;
        Ok(Self::by(Arc::new(Router::new(server))))
    }

    /// Creates a probe of the leader that a router knows.
    pub(in crate::source) fn by(router: Arc<Router>) -> Self {
        Self { router, connection: None, newest: None, behind_since: None }
    }

    /// Creates a probe of the same server with a connection of its own.
    pub(crate) fn another(&self) -> Self {
        Self::by(Arc::clone(&self.router))
    }

    /// Returns the bookmark of the last commit. After an error, the next call connects anew; a connection that broke since the
    /// last call is replaced at once.
    ///
    /// A member of a cluster that became the leader a moment ago may not have applied what its predecessor told: it is asked
    /// again. A database that was restored from a backup never has, so the older commit counts after a while, also if nobody
    /// waited for all of it.
    pub async fn bookmark(&mut self) -> Result<Bookmark> {
        loop {
            let told = self.told().await?;
            if !self.is_late(&told) {
                (self.newest, self.behind_since) = (Some(told.clone()), None);
                return Ok(told);
            }
            sleep(ASK_AGAIN).await;
        }
    }

    /// Returns the bookmark of the last commit, as of a leader that has applied the given commit if there is one.
    pub(crate) async fn bookmark_from(&mut self, known: &Bookmark) -> Result<Bookmark> {
        if self.newest.as_ref().is_none_or(|newest| known.can_follow(newest)) {
            self.newest = Some(known.clone());
        }
        self.bookmark().await
    }

    /// Whether the leader may still apply a newer commit that is known. The only server of a database never is late.
    fn is_late(&mut self, told: &Bookmark) -> bool {
        let is_older = self.newest.as_ref().is_some_and(|newest| newest.includes(told) && !told.includes(newest));
        if !is_older || !self.router.is_cluster() {
            return false;
        }
        let since = *self.behind_since.get_or_insert_with(Instant::now);
        since.elapsed() < self.router.seed().limits.catch_up
    }

    async fn told(&mut self) -> Result<Bookmark> {
        // The question takes a millisecond, so it has the limit of a handshake, not of a query.
        let limit = self.router.seed().limits.handshake;
        let asked = self.ask(Request::new(QUESTION), limit).await;
        asked.map_err(|fault| fault.during(format!("cannot read the bookmark from Neo4j at {}", self.router.seed().uri())))
    }

    /// Returns the bookmark of the last commit once the server has applied the given commit. The server itself gives up after
    /// `db.transaction.bookmark_ready_timeout` (30 s by default).
    pub(crate) async fn bookmark_after(&mut self, commit: &Bookmark) -> Result<Bookmark> {
        let limit = self.router.seed().limits.query;
        let asked = self.ask(Request::new(QUESTION).after(Some(commit.clone())), limit).await;
        asked.map_err(|fault| fault.during(format!("Neo4j at {} has not reached the commit", self.router.seed().uri())))
    }

    async fn ask(&mut self, question: Request, limit: Duration) -> Result<Bookmark, Fault> {
        let mut connection = match self.kept() {
            Some(connection) => connection,
            None => self.router.open(Purpose::LastCommit).await?,
        };
        // A leader that fails may be none any more.
        let doubt = self.router.doubt();
        let summary = within(limit, "bookmark", connection.run_without_rows(&question, limit)).await?;
        doubt.settle();
        self.connection = Some(connection);
        summary.bookmark.map(Bookmark::new).ok_or(Fault::Decode(DecodeError::Missing("bookmark")))
    }

    /// The connection of the last question. It ends with the description of the cluster by which it was chosen: a member that no
    /// longer leads goes on to answer.
    fn kept(&mut self) -> Option<Connection> {
        let mut connection = self.connection.take()?;
        if !connection.is_open() {
            drop(self.router.doubt());
            return None;
        }
        self.router.is_current().then_some(connection)
    }
}
