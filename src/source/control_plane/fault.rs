//! Faults of questions, and their kinds of errors.

use std::time::Duration;

use neo4rs::Error as Driver;
use thiserror::Error;

use crate::error::{Error, ErrorKind};
use crate::source::bolt::{Fault, refused_certificate};
use crate::source::codes::kind_of_code;

/// A fault of a question to Neo4j.
#[derive(Debug, Error)]
pub(super) enum DriverFault {
    /// An error of the driver itself.
    #[error(transparent)]
    Driver(#[from] Driver),
    /// Our own client cannot use the address, or reach a member of the cluster.
    #[error(transparent)]
    Unreachable(#[from] Fault),
    /// The query exceeded our own time limit.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The driver panicked; the log has the panic with its place.
    #[error("the driver panicked at the answer of the server")]
    Panicked,
    /// The program is ending.
    #[error("the query was cancelled")]
    Ended,
}

impl DriverFault {
    /// Returns the kind of the error.
    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            Self::Driver(error) => kind_of(error),
            Self::Unreachable(fault) => fault.kind(),
            Self::TimedOut(_) => ErrorKind::SourceTimeout,
            Self::Panicked => ErrorKind::SourceProtocol,
            Self::Ended => ErrorKind::SourceConnection,
        }
    }

    /// Whether the connection can be used again: the driver resets it before the next query.
    pub(super) fn leaves_connection(&self) -> bool {
        matches!(self, Self::Driver(Driver::Neo4j(error)) if !error.code().starts_with("Neo.ClientError.Security."))
    }

    /// Whether the server refused a log on: the driver drops the code that gives the reason.
    pub(super) fn lacks_its_code(&self) -> bool {
        matches!(self, Self::Driver(Driver::AuthenticationError(_)))
    }

    /// Wraps the fault in an error that names the interrupted task.
    pub(super) fn during(self, kind: ErrorKind, doing: impl Into<String>) -> Error {
        Error::caused(kind, doing, self)
    }
}

fn kind_of(error: &Driver) -> ErrorKind {
    match error {
        Driver::Neo4j(error) => kind_of_code(error.code()),
        Driver::AuthenticationError(_) => ErrorKind::SourceAuthentication,
        Driver::ConnectionTimedOut => ErrorKind::SourceTimeout,
        // A refused certificate does not become valid by a new try.
        Driver::IOError { detail } if refused_certificate(detail).is_some() => ErrorKind::Configuration,
        // `ConnectionError` means that the pool has no free connection.
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
