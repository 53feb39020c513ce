//! Keeps connections for the next query: no more than allowed, and none in an unknown state.

use std::sync::Arc;

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::connection::Connection;
use super::fault::Fault;
use super::limits::within;
use super::members::Purpose;
use super::router::Router;
use super::server::Server;
use crate::error::ErrorKind;
use crate::model::bookmark::Bookmark;
use crate::model::host_port::HostPort;
use crate::telemetry::tally::GaugeGuard;

/// A bounded pool of connections.
pub(super) struct Pool {
    router: Arc<Router>,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Kept>>>,
    told: Mutex<Option<Bookmark>>,
}

/// A connection that waits for the next query.
struct Kept {
    connection: Connection,
    since: Instant,
}

/// A connection from the pool. A drop closes it, and the server ends what ran on it.
pub(super) struct PooledConnection {
    /// The connection itself, while it is leased.
    pub connection: Connection,
    idle: Arc<Mutex<Vec<Kept>>>,
    router: Arc<Router>,
    _permit: OwnedSemaphorePermit,
    _busy: GaugeGuard,
}

impl Pool {
    /// Creates a pool that has no connection yet.
    pub(super) fn new(router: Arc<Router>, size: usize) -> Self {
        let permits = size.clamp(1, Semaphore::MAX_PERMITS);
        Self { router, permits: Arc::new(Semaphore::new(permits)), idle: Arc::default(), told: Mutex::default() }
    }

    /// The configured server.
    pub(super) fn server(&self) -> &Server {
        self.router.seed()
    }

    /// Remembers a bookmark that the server sent, unless a connection received a newer one.
    pub(super) fn heard(&self, bookmark: &str) {
        let mut told = self.told.lock();
        if told.as_ref().is_some_and(|told| told.as_str() == bookmark) {
            return;
        }
        let bookmark = Bookmark::new(bookmark);
        if told.as_ref().is_none_or(|told| bookmark.can_follow(told)) {
            *told = Some(bookmark);
        }
    }

    /// The newest bookmark that the server sent.
    pub(super) fn told(&self) -> Option<Bookmark> {
        self.told.lock().clone()
    }

    pub(super) fn is_of_cluster(&self) -> bool {
        self.router.is_cluster()
    }

    /// Leases a kept connection that is still alive, or a new one.
    pub(super) async fn lease(&self) -> Result<PooledConnection, Fault> {
        let permit = Arc::clone(&self.permits).acquire_owned().map(|permit| permit.map_err(|_| Fault::Closed));
        let permit = within(self.server().limits.pool, "free connection", permit).await?;
        let connection = match self.kept().await {
            Some(connection) => connection,
            None => self.router.open(Purpose::Reads).await?,
        };
        let (idle, router) = (Arc::clone(&self.idle), Arc::clone(&self.router));
        Ok(PooledConnection { connection, idle, router, _permit: permit, _busy: GaugeGuard::neo4j_busy() })
    }

    async fn kept(&self) -> Option<Connection> {
        loop {
            // The lock must be released while the connection is checked.
            let Kept { mut connection, since } = self.idle.lock().pop()?;
            if !connection.is_open() {
                continue;
            }
            if since.elapsed() < self.server().limits.idle || connection.is_alive().await {
                return Some(connection);
            }
            // The cause that broke this connection broke the others of the server, too, and each of them would cost a wait.
            forget(&self.idle, connection.peer());
        }
    }
}

/// Closes the idle connections to a server.
fn forget(idle: &Mutex<Vec<Kept>>, peer: &HostPort) {
    idle.lock().retain(|kept| kept.connection.peer() != peer);
}

impl PooledConnection {
    /// Returns the connection to the pool, unless an answer is still to come on it.
    pub(super) fn give_back(self) {
        if self.connection.is_ready() {
            self.idle.lock().push(Kept { connection: self.connection, since: Instant::now() });
        }
    }

    /// Returns the connection to the pool after an error, if the server reported the error and can go on.
    pub(super) async fn give_back_after(mut self, fault: &Fault) {
        if fault.kind() == ErrorKind::SourceBehind {
            self.router.avoid(self.connection.peer());
            forget(&self.idle, self.connection.peer());
        }
        if fault.leaves_connection() && self.connection.reset().await.is_ok() {
            self.give_back();
        }
    }
}
