//! Bounds for everything that waits on a server: neo4rs has no timeout of its own on a handshake.

use std::future::Future;
use std::time::Duration;

use super::{Error, Result};

/// Long enough for a slow machine, short enough that a hang is reported with its name.
pub const QUERY: Duration = Duration::from_secs(120);

/// The longest wait for anything that a test waits for. It only ends a test that would hang, so it is long enough for a machine that
/// does much else; a test that promises a time has a bound of its own.
pub const EVENT: Duration = Duration::from_secs(180);

/// The longest wait for a connection to a server that runs. Servers that many tests share stand still for seconds at times.
pub const CONNECT: Duration = Duration::from_secs(60);

/// Awaits a driver's call for at most `after`, and says what was waited for when it takes longer.
pub async fn within<T, E>(after: Duration, what: &str, call: impl Future<Output = std::result::Result<T, E>>) -> Result<T>
where
    Error: From<E>,
{
    match tokio::time::timeout(after, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Error::Timeout { what: what.to_owned(), after }),
    }
}
