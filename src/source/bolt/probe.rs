//! Asks for the bookmark a few times a second, to learn of new commits.

use std::sync::Arc;
use std::time::Duration;

use super::connection::Connection;
use super::fault::Fault;
use super::limits::{Limits, within};
use super::packstream::DecodeError;
use super::router::{Purpose, Router};
use super::server::Server;
use crate::error::{ErrorKind, Result};
use crate::model::bookmark::Bookmark;
use crate::source::address::SourceAddress;
use crate::source::request::Request;

/// A query that any user may run and that touches no data. The end of every query carries the bookmark.
pub(super) const QUESTION: &str = "RETURN 1";

/// Asks Neo4j for its bookmark, on a connection of its own.
pub struct Probe {
    router: Arc<Router>,
    connection: Option<Connection>,
    /// The newest commit that a leader told.
    newest: Option<Bookmark>,
}

impl Probe {
    /// Creates a probe that connects at its first question.
    pub fn new(address: &SourceAddress, limits: Limits) -> Result<Self> {
        let server = Server::new(address, limits).map_err(|fault| fault.during("cannot use Neo4j as configured"))?;
        Ok(Self { router: Arc::new(Router::new(server)), connection: None, newest: None })
    }

    /// Creates a probe of the same server with a connection of its own.
    pub(crate) fn another(&self) -> Self {
        Self { router: Arc::clone(&self.router), connection: None, newest: None }
    }

    /// Returns the bookmark of the last commit. After an error, the next call connects anew; a connection that broke since the
    /// last call is replaced at once.
    pub async fn bookmark(&mut self) -> Result<Bookmark> {
        let told = self.told().await?;
        let bookmark = match self.newest.take() {
            Some(newest) if self.may_lag(&told, &newest) => {
                // Kept if nobody waits for the answer any longer.
                self.newest = Some(newest.clone());
                self.caught_up(told, &newest).await?
            }
            _ => told,
        };
        self.newest = Some(bookmark.clone());
        Ok(bookmark)
    }

    /// Returns the bookmark of the last commit, as of a member of the cluster that has applied the given commit if any has.
    pub(crate) async fn bookmark_from(&mut self, known: &Bookmark) -> Result<Bookmark> {
        if self.newest.as_ref().is_none_or(|newest| known.can_follow(newest)) {
            self.newest = Some(known.clone());
        }
        self.bookmark().await
    }

    /// Whether a server that tells an older commit than a known one may only be late. The only server of a database never is.
    fn may_lag(&self, told: &Bookmark, newest: &Bookmark) -> bool {
        self.router.seed().routes() && !told.includes(newest) && newest.includes(told)
    }

    /// A member that became the leader a moment ago may not have applied what its predecessor told. A database that was restored
    /// from a backup never has: then the older commit is the last one.
    async fn caught_up(&mut self, told: Bookmark, newest: &Bookmark) -> Result<Bookmark> {
        match self.bookmark_after(newest).await {
            Err(error) if error.kind() == ErrorKind::SourceBehind => Ok(told),
            reached => reached,
        }
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
        let summary = within(limit, "bookmark", connection.run_without_rows(&question, limit)).await?;
        self.connection = Some(connection);
        summary.bookmark.map(Bookmark::new).ok_or(Fault::Decode(DecodeError::Missing("bookmark")))
    }

    /// The connection of the last question. It ends with the description of the cluster by which it was chosen: a member that no
    /// longer leads goes on to answer.
    fn kept(&mut self) -> Option<Connection> {
        let mut connection = self.connection.take()?;
        (connection.is_open() && self.router.is_current()).then_some(connection)
    }
}
