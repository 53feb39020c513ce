//! A connection pool to Neo4j that reads and only reads, and never waits without a limit.

use std::path::PathBuf;
use std::time::Duration;

use neo4rs::{ConfigBuilder, Graph, Neo4jClientErrorKind, Neo4jErrorKind, Neo4jSecurityErrorKind, Query, Row};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};

/// The first answer of a server must come within this time: the driver itself waits for ever for the version handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// No query here takes longer on a healthy server: the longest reads one page. It is also the transaction's timeout at the
/// server, because a query given up here would otherwise stay open there.
const QUERY_TIMEOUT: Duration = Duration::from_secs(120);

/// The driver's limit for one message; the driver does not tell a slow query from a silent server, so not below the query's.
const MESSAGE_TIMEOUT: Duration = QUERY_TIMEOUT;

/// Rows that the driver buffers: its values take 96 bytes each, so a row with a vector of 1,024 floats is 98 KB.
const FETCH_SIZE: usize = 200;

/// Where and as whom to read.
#[derive(Debug, Clone)]
pub struct SourceAddress {
    /// `bolt://host:7687` and its kin.
    pub uri: String,
    /// The user.
    pub user: String,
    /// The password.
    pub password: Secret,
    /// The database; the server's default where absent.
    pub database: Option<String>,
    /// Connections at most.
    pub pool_size: usize,
    /// A CA of one's own, PEM.
    pub ca_file: Option<PathBuf>,
}

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

    /// All rows of a query.
    pub(super) async fn all<T: DeserializeOwned>(&self, doing: &str, query: Query) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        self.each(doing, query, |row| {
            rows.push(row.to()?);
            Ok(())
        })
        .await?;
        Ok(rows)
    }

    /// The only row of a query.
    pub(super) async fn one<T: DeserializeOwned>(&self, doing: &str, query: Query) -> Result<T> {
        let nothing = || Error::new(ErrorKind::SourceProtocol, format!("Neo4j gave no row for {doing}"));
        self.all(doing, query).await?.into_iter().next().ok_or_else(nothing)
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
        Driver::Neo4j(error) => kind_of_code(error.kind()),
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

fn kind_of_code(kind: Neo4jErrorKind) -> ErrorKind {
    match kind {
        Neo4jErrorKind::Transient => ErrorKind::SourceTransient,
        Neo4jErrorKind::Client(Neo4jClientErrorKind::Security(Neo4jSecurityErrorKind::AuthorizationExpired))
        | Neo4jErrorKind::Client(Neo4jClientErrorKind::SessionExpired | Neo4jClientErrorKind::TransactionTerminated) => {
            ErrorKind::SourceTransient
        }
        Neo4jErrorKind::Client(Neo4jClientErrorKind::Security(
            Neo4jSecurityErrorKind::Authentication | Neo4jSecurityErrorKind::TokenExpired,
        )) => ErrorKind::SourceAuthentication,
        Neo4jErrorKind::Client(_) => ErrorKind::SourceRefused,
        Neo4jErrorKind::Database | Neo4jErrorKind::Unknown => ErrorKind::SourceTransient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_printed() {
        let address = SourceAddress {
            uri: "bolt://h:1".to_owned(),
            user: "u".to_owned(),
            password: Secret::new("tr0ub4dor"),
            database: None,
            pool_size: 1,
            ca_file: None,
        };
        assert!(!format!("{address:?}").contains("tr0ub4dor"));
    }
}
