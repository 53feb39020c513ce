//! A connection pool to Neo4j that reads and only reads, and never waits without a limit.

use std::time::Duration;

use neo4rs::{ConfigBuilder, Graph, Query, Row};
use tokio::time::timeout;

use super::address::SourceAddress;
use super::codes::kind_of_code;
use super::reader::QUERY_TIMEOUT;
use crate::error::{Error, ErrorKind, Result};

/// The first answer of a server must come within this time: the driver itself waits for ever for the version handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The driver's limit for one message; the driver does not tell a slow query from a silent server, so not below the query's.
const MESSAGE_TIMEOUT: Duration = QUERY_TIMEOUT;

/// Rows that the driver buffers: its values take 96 bytes each, so a row with a vector of 1,024 floats is 98 KB.
const FETCH_SIZE: usize = 200;

/// The pool.
pub(super) struct Connection {
    graph: Graph,
    uri: String,
}

impl Connection {
    /// Connects and proves it with a query.
    pub(super) async fn open(address: &SourceAddress) -> Result<Self> {
        let mut builder = ConfigBuilder::new()
            .uri(&address.uri)
            .user(&address.user)
            .password(address.password.expose())
            .max_connections(address.pool_size)
            .fetch_size(FETCH_SIZE)
            .connection_timeout(MESSAGE_TIMEOUT);
        if let Some(database) = &address.database {
            builder = builder.db(database.as_str());
        }
        if let Some(ca_file) = &address.ca_file {
            builder = builder.with_client_certificate(ca_file);
        }
        let unusable =
            |error| Error::caused(ErrorKind::Configuration, format!("neo4j.uri {} cannot be used", address.uri), error);
        let graph = builder.build().and_then(Graph::connect).map_err(unusable)?;
        let connection = Self { graph, uri: address.uri.clone() };
        match timeout(CONNECT_TIMEOUT, connection.stream(Query::new("RETURN 1 AS one".to_owned()), |_| Ok(()))).await {
            Ok(outcome) => outcome.map_err(|error| connection.unreachable(error))?,
            Err(_) => return Err(connection.silent(CONNECT_TIMEOUT)),
        }
        Ok(connection)
    }

    /// Runs a query in read access mode and hands each row on as it comes.
    pub(super) async fn each(
        &self,
        doing: &str,
        query: Query,
        row: impl FnMut(Row) -> Result<(), neo4rs::DeError>,
    ) -> Result<()> {
        match timeout(QUERY_TIMEOUT, self.stream(query, row)).await {
            Ok(outcome) => outcome.map_err(|error| {
                let kind = kind_of(&error);
                Error::caused(kind, format!("cannot read {doing} from Neo4j"), error)
            }),
            Err(_) => Err(Error::new(
                ErrorKind::SourceTimeout,
                format!("reading {doing} from Neo4j took more than {} s", QUERY_TIMEOUT.as_secs()),
            )),
        }
    }

    async fn stream(&self, query: Query, mut row: impl FnMut(Row) -> Result<(), neo4rs::DeError>) -> Result<(), neo4rs::Error> {
        let milliseconds = i64::try_from(QUERY_TIMEOUT.as_millis()).unwrap_or(i64::MAX);
        let mut stream = self.graph.execute_read(query.extra("tx_timeout", milliseconds)).await?;
        let mut outcome = Ok(());
        while let Some(next) = stream.next().await? {
            outcome = row(next);
            if outcome.is_err() {
                break;
            }
        }
        // A dropped stream would leave its transaction open at the server.
        stream.finish().await?;
        outcome.map_err(neo4rs::Error::from)
    }

    fn unreachable(&self, error: neo4rs::Error) -> Error {
        let kind = kind_of(&error);
        let message = match kind {
            ErrorKind::SourceAuthentication => format!("Neo4j at {} refuses the user or the password", self.uri),
            ErrorKind::SourceRefused => format!("Neo4j at {} refuses the request", self.uri),
            _ => format!("cannot reach Neo4j at {}", self.uri),
        };
        Error::caused(kind, message, error)
    }

    fn silent(&self, limit: Duration) -> Error {
        Error::new(ErrorKind::SourceTimeout, format!("Neo4j at {} did not answer within {} s", self.uri, limit.as_secs()))
    }
}

/// The kind of a driver error. `ConnectionError` is the driver's word for "no free connection in the pool in time".
fn kind_of(error: &neo4rs::Error) -> ErrorKind {
    use neo4rs::Error as Driver;
    match error {
        Driver::Neo4j(error) => kind_of_code(error.code()),
        Driver::AuthenticationError(_) => ErrorKind::SourceAuthentication,
        Driver::ConnectionTimedOut => ErrorKind::SourceTimeout,
        Driver::IOError { .. } | Driver::ConnectionError | Driver::IncompleteBoltExchange | Driver::ServerUnavailableError(_) => {
            ErrorKind::SourceConnection
        }
        Driver::RequestIgnoredError | Driver::Ignored(_) => ErrorKind::SourceTransient,
        Driver::UrlParseError(_)
        | Driver::UnsupportedScheme(_)
        | Driver::InvalidDnsName(_)
        | Driver::InvalidConfig
        | Driver::UnsupportedVersion(..)
        | Driver::ProtocolMismatch(_) => ErrorKind::Configuration,
        _ => ErrorKind::SourceProtocol,
    }
}
