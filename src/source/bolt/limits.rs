//! How long anything may take.

use std::future::Future;
use std::time::Duration;

use super::fault::Fault;
use crate::source::reader::QUERY_TIMEOUT;

/// The limits of a connection. Tests shorten them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For the name, the socket and TLS together.
    pub connect: Duration,
    /// For versions and log on together.
    pub handshake: Duration,
    /// For one message to be sent or to arrive, however many signs of life come instead.
    pub message: Duration,
    /// For a free connection of the pool.
    pub pool: Duration,
    /// A connection that was kept for longer than this may have lost its other end without a word, and is asked before it is used.
    pub idle: Duration,
    /// For its answer.
    pub sign_of_life: Duration,
    /// For one query with all its rows; a stream of rows has no such limit.
    pub query: Duration,
    /// The longest message, in bytes.
    pub message_bytes: usize,
}

impl Default for Limits {
    /// The first row of a query can take as long as the query, so a message may as well. A row's text for the cache is about
    /// twice as long as the row, and the cache takes 512 MiB at most in one piece: no longer row could be of use.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            message: QUERY_TIMEOUT,
            pool: QUERY_TIMEOUT,
            // While passes follow one another nothing is asked; after that a round trip is not felt. Much shorter than what may begin
            // a pass by itself is apart: a pass that trusts a silent connection waits for it as long as a query may take.
            idle: Duration::from_millis(250),
            // Far more than a round trip, and less than what a reader of the cache should wait for.
            sign_of_life: Duration::from_secs(3),
            query: QUERY_TIMEOUT,
            message_bytes: 256 << 20,
        }
    }
}

/// Waits no longer than the limit.
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
