//! The time and size limits of a connection.

use std::future::Future;
use std::time::Duration;

use super::fault::Fault;
use crate::source::reader::QUERY_TIMEOUT;

/// The limits of a connection. Tests lower them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The limit for the name, the socket and TLS together.
    pub connect: Duration,
    /// The limit for version handshake and log on together.
    pub handshake: Duration,
    /// The limit for one message to be sent or to arrive, however many signs of life come instead.
    pub message: Duration,
    /// The limit for a free connection of the pool.
    pub pool: Duration,
    /// The idle time after which a connection is tested before use: the other end may have vanished silently.
    pub idle: Duration,
    /// The limit for the answer to that test.
    pub sign_of_life: Duration,
    /// The time after which a commit that no leader of the cluster knows any more counts as lost.
    pub catch_up: Duration,
    /// The limit for one query with all its rows; a stream of rows has no such limit.
    pub query: Duration,
    /// The longest message, in bytes.
    pub message_bytes: usize,
}

impl Default for Limits {
    /// The first row of a query can take as long as the query, so a message may, too. A row's text for the cache is about twice
    /// as long as the row, and the cache takes at most 512 MiB in one piece: a longer row would be of no use.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            message: QUERY_TIMEOUT,
            pool: QUERY_TIMEOUT,
            // While passes follow one another, no connection is tested; after a pause, a round trip does not matter. The limit is
            // much shorter than the intervals at which passes begin by themselves: a pass that trusts a dead connection waits for
            // it as long as a query may take.
            idle: Duration::from_millis(250),
            // Far more than a round trip, and less than a reader of the cache should have to wait.
            sign_of_life: Duration::from_secs(3),
            // As long as a member waits for a commit that a read names, by default.
            catch_up: Duration::from_secs(30),
            query: QUERY_TIMEOUT,
            message_bytes: 256 << 20,
        }
    }
}

/// Awaits a future, but no longer than the limit.
pub(super) async fn within<T, E: Into<Fault>>(
    limit: Duration,
    what: &'static str,
    future: impl Future<Output = Result<T, E>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(limit, future).await {
        Ok(outcome) => outcome.map_err(Into::into),
        Err(_) => Err(Fault::TimedOut { what, limit }),
    }
}
