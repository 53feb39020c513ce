//! Connections that are kept for the next query: no more of them than allowed, and none in an unknown state.

use std::sync::Arc;

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::connection::Connection;
use super::fault::Fault;
use super::limits::within;
use super::server::Server;
use crate::model::bookmark::Bookmark;
use crate::telemetry::tally::GaugeGuard;

/// A bounded pool.
pub(super) struct Pool {
    server: Server,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Kept>>>,
    told: Mutex<Option<Bookmark>>,
}

/// A connection for the next query.
struct Kept {
    connection: Connection,
    since: Instant,
}

/// A connection out of the pool. Dropped, it is closed, and the server ends what ran on it.
pub(super) struct PooledConnection {
    /// The connection.
    pub connection: Connection,
    idle: Arc<Mutex<Vec<Kept>>>,
    _permit: OwnedSemaphorePermit,
    _busy: GaugeGuard,
}

impl Pool {
    /// A pool without a connection yet.
    pub(super) fn new(server: Server, size: usize) -> Self {
        let permits = size.clamp(1, Semaphore::MAX_PERMITS);
        Self { server, permits: Arc::new(Semaphore::new(permits)), idle: Arc::default(), told: Mutex::default() }
    }

    /// Where the connections lead.
    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Remembers a bookmark that the server told, unless a connection told a newer one.
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

    /// The newest bookmark that the server told.
    pub(super) fn told(&self) -> Option<Bookmark> {
        self.told.lock().clone()
    }

    /// A kept connection that still lives, or a new one.
    pub(super) async fn lease(&self) -> Result<PooledConnection, Fault> {
        let permit = Arc::clone(&self.permits).acquire_owned().map(|permit| permit.map_err(|_| Fault::Closed));
        let permit = within(self.server.limits.pool, "free connection", permit).await?;
        let connection = match self.kept().await {
            Some(connection) => connection,
            None => Connection::open(&self.server).await?,
        };
        Ok(PooledConnection { connection, idle: Arc::clone(&self.idle), _permit: permit, _busy: GaugeGuard::neo4j_busy() })
    }

    async fn kept(&self) -> Option<Connection> {
        loop {
            // The guard must not live on while the connection is looked at.
            let Kept { mut connection, since } = self.idle.lock().pop()?;
            if !connection.is_open() {
                continue;
            }
            if since.elapsed() < self.server.limits.idle || connection.is_alive().await {
                return Some(connection);
            }
            // Whatever took its other end away took those of the others, and each would have to be waited for.
            self.idle.lock().clear();
        }
    }
}

impl PooledConnection {
    /// Gives the connection back, unless an answer is still to come on it.
    pub(super) fn give_back(self) {
        if self.connection.is_ready() {
            self.idle.lock().push(Kept { connection: self.connection, since: Instant::now() });
        }
    }

    /// Gives the connection back after an error, if the server has told it and can go on.
    pub(super) async fn give_back_after(mut self, fault: &Fault) {
        if fault.leaves_connection() && self.connection.reset().await.is_ok() {
            self.give_back();
        }
    }
}
