//! Isolates neo4rs: every call has a time limit and a task of its own.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use neo4rs::{BoltMap, BoltType, ConfigBuilder, Graph, Query};
use parking_lot::Mutex;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::fault::DriverFault;
use crate::config::ConnectionUri;
use crate::model::bookmark::Bookmark;
use crate::source::address::SourceAddress;
use crate::source::bolt::{AGENT, Fault, Limits, Router, Server};
use crate::source::reader::QUERY_TIMEOUT;
use crate::telemetry::tally::GaugeGuard;

/// The most connections. The questions of one generation come one after the other; the second connection is for the generation
/// that fills a graph beside the live one.
const CONNECTIONS: usize = 2;

/// The number of rows that the driver buffers. Most answers have fewer.
const FETCH_SIZE: usize = 200;

/// The user name for a server without authentication: the driver always sends a name.
const ANYBODY: &str = "neo4j";

/// The time limits of the driver. Tests shorten them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DriverLimits {
    /// The limit for a connection with its log on and one trivial query.
    pub(crate) connect: Duration,
    /// The limit for a question on an open connection.
    pub(crate) question: Duration,
    /// The time without a question after which a connection is closed.
    pub(crate) idle: Duration,
}

impl Default for DriverLimits {
    fn default() -> Self {
        Self {
            // The sum of our own Bolt client's limits for a socket and a log on.
            connect: Duration::from_secs(20),
            question: QUERY_TIMEOUT,
            // The questions of a start come within seconds, and the next ones after minutes or hours.
            idle: Duration::from_secs(10),
        }
    }
}

/// A client with few connections.
pub(super) struct Driver {
    address: SourceAddress,
    limits: DriverLimits,
    permits: Semaphore,
    idle: Arc<Mutex<Vec<DriverConnection>>>,
    closer: Mutex<Option<AbortOnDropHandle<()>>>,
    /// Knows the members of a cluster from one connection to the next.
    router: OnceLock<Arc<Router>>,
}

/// One connection. A drop closes it, and the server ends what runs on it.
struct DriverConnection {
    graph: Graph,
    _open: GaugeGuard,
}

impl Driver {
    pub(super) fn new(address: &SourceAddress, limits: DriverLimits) -> Self {
        let (idle, closer) = (Arc::default(), Mutex::new(None));
        let (permits, router) = (Semaphore::new(CONNECTIONS), OnceLock::new());
        Self { address: address.clone(), limits, permits, idle, closer, router }
    }

    /// Connects and proves with a query that the database can be read, unless a connection is open.
    pub(super) async fn connect(&self) -> Result<(), DriverFault> {
        let _permit = self.permit().await?;
        if self.idle.lock().is_empty() {
            let connection = self.open().await?;
            self.keep(connection);
        }
        Ok(())
    }

    /// Runs a query in read access mode and returns its rows.
    pub(super) async fn ask<T>(&self, text: String, after: Option<Bookmark>) -> Result<Vec<T>, DriverFault>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let _permit = self.permit().await?;
        let kept = self.idle.lock().pop();
        let connection = match kept {
            Some(connection) => connection,
            None => self.open().await?,
        };
        let limit = self.limits.question;
        let question = query(text, after, limit);
        let (connection, rows) = fenced(limit, async move {
            let _busy = GaugeGuard::neo4j_busy();
            let rows = read(&connection.graph, question).await;
            Ok((connection, rows))
        })
        .await?;
        if rows.as_ref().err().is_none_or(DriverFault::leaves_connection) {
            self.keep(connection);
        }
        rows
    }

    async fn permit(&self) -> Result<tokio::sync::SemaphorePermit<'_>, DriverFault> {
        let limit = self.limits.question;
        let permit = timeout(limit, self.permits.acquire()).await;
        permit.map_err(|_| DriverFault::TimedOut(limit))?.map_err(|_| DriverFault::Ended)
    }

    async fn open(&self) -> Result<DriverConnection, DriverFault> {
        let (address, limits, router) = (self.address.clone(), self.limits, self.router()?);
        fenced(limits.connect, async move {
            let uri = router.answering().await?;
            let graph = Graph::connect(config(&address, uri, limits)?)?;
            let connection = DriverConnection { graph, _open: GaugeGuard::neo4j_connection() };
            read::<One>(&connection.graph, query("RETURN 1 AS one".to_owned(), None, limits.connect)).await?;
            Ok(connection)
        })
        .await
    }

    /// Finds the server to ask: the driver does not route.
    pub(super) fn router(&self) -> Result<Arc<Router>, Fault> {
        if let Some(router) = self.router.get() {
            return Ok(Arc::clone(router));
        }
        let router = Arc::new(Router::new(Server::new(&self.address, Limits::default())?));
        Ok(Arc::clone(self.router.get_or_init(|| router)))
    }

    fn keep(&self, connection: DriverConnection) {
        self.idle.lock().push(connection);
        let (idle, after) = (Arc::clone(&self.idle), self.limits.idle);
        let close = async move {
            sleep(after).await;
            idle.lock().clear();
        };
        *self.closer.lock() = Some(AbortOnDropHandle::new(tokio::spawn(close)));
    }
}

#[derive(Deserialize)]
struct One {
    #[serde(rename = "one")]
    _one: i64,
}

fn config(address: &SourceAddress, uri: ConnectionUri, limits: DriverLimits) -> Result<neo4rs::Config, DriverFault> {
    let user = if address.user.is_empty() { ANYBODY } else { &address.user };
    let mut builder = ConfigBuilder::new()
        .uri(uri.without_routing().to_string())
        .user(user)
        .password(address.password.expose())
        .max_connections(1)
        .fetch_size(FETCH_SIZE)
        // The driver's limit for a message: the driver cannot tell a slow query from a silent server, so the limit is not below
        // the query's.
        .connection_timeout(limits.question);
    if let Some(database) = &address.database {
        builder = builder.db(database.as_str());
    }
    if let Some(ca_file) = &address.ca_file {
        builder = builder.with_client_certificate(ca_file);
    }
    Ok(builder.build()?)
}

fn query(text: String, after: Option<Bookmark>, limit: Duration) -> Query {
    let bookmarks: Vec<String> = after.iter().map(ToString::to_string).collect();
    let milliseconds = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
    let mut metadata = BoltMap::new();
    metadata.put("app".into(), AGENT.into());
    // The driver repeats a query by itself, so the server's limit does not cover the whole question.
    Query::new(text).extra("bookmarks", bookmarks).extra("tx_timeout", milliseconds).extra("tx_metadata", BoltType::Map(metadata))
}

async fn read<T: DeserializeOwned>(graph: &Graph, query: Query) -> Result<Vec<T>, DriverFault> {
    let mut stream = graph.execute_read(query).await?;
    let mut rows = Vec::new();
    let mut unlike = None;
    while let Some(row) = stream.next().await? {
        match row.to::<T>() {
            Ok(row) => rows.push(row),
            Err(error) => {
                unlike = Some(error);
                break;
            }
        }
    }
    // A dropped stream leaves its transaction open at the server.
    stream.finish().await?;
    unlike.map_or(Ok(rows), |error| Err(neo4rs::Error::from(error).into()))
}

/// Runs the driver in a task of its own, which ends with this call: a panic in the task becomes a fault, and so does an endless
/// wait. The task begins at once: inside the caller's future, the driver's future would make each caller's future 20 KB larger.
fn fenced<T: Send + 'static>(
    limit: Duration,
    work: impl Future<Output = Result<T, DriverFault>> + Send + 'static,
) -> impl Future<Output = Result<T, DriverFault>> + Send {
    let task = AbortOnDropHandle::new(tokio::spawn(work.in_current_span()));
    async move {
        match timeout(limit, task).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) if error.is_panic() => Err(DriverFault::Panicked),
            Ok(Err(_)) => Err(DriverFault::Ended),
            Err(_) => Err(DriverFault::TimedOut(limit)),
        }
    }
}
