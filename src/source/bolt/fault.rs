//! Faults of a Bolt connection, and their kinds of errors.

use std::io;
use std::time::Duration;

use thiserror::Error;

use super::chunk::MessageTooLong;
use super::packstream::DecodeError;
use crate::error::{Error, ErrorKind};
use crate::model::host_port::HostPort;
use crate::source::codes::kind_of_code;

/// The answer to the version handshake from a server that expects HTTP.
const HTTP: [u8; 4] = *b"HTTP";

/// The category of codes about authentication and permissions.
const SECURITY: &str = "Neo.ClientError.Security.";

/// A fault of a Bolt connection.
#[derive(Debug, Error)]
pub enum Fault {
    /// An error of the socket.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// Our own time limit ended the wait.
    #[error("no {what} within {limit:?}")]
    TimedOut {
        /// The thing that did not come in time.
        what: &'static str,
        /// The limit that was reached.
        limit: Duration,
    },
    /// Bytes that are not valid PackStream, or not the expected values.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A message longer than the limit.
    #[error(transparent)]
    TooLong(#[from] MessageTooLong),
    /// An error that the server reported.
    #[error("{code}: {message}")]
    Server {
        /// The server's status code.
        code: String,
        /// The server's message in words.
        message: String,
    },
    /// An answer out of its turn.
    #[error("answer {tag:#04x} instead of {expected}")]
    OutOfTurn {
        /// The tag of the answer.
        tag: u8,
        /// The answer that was expected.
        expected: &'static str,
    },
    /// A version handshake without a usable answer; the bytes are the answer.
    #[error("{}", version_sentence(*.0))]
    Version([u8; 4]),
    /// A cluster that has none of the members that are needed at the moment.
    #[error("the cluster has no {0} at the moment")]
    Unserved(&'static str),
    /// A fault of another server than the configured one.
    #[error("{member}, a member of the cluster: {fault}")]
    Member {
        /// The address under which the cluster names the member.
        member: HostPort,
        /// What the member did.
        fault: Box<Fault>,
    },
    /// Certificates or an address that cannot be used.
    #[error("{0}")]
    Setup(String),
}

fn version_sentence(answer: [u8; 4]) -> String {
    match answer {
        HTTP => "this is an HTTP port: neo4j.uri must name the Bolt port".to_owned(),
        [0, 0, 0, 0] => "the server does not support Bolt 5: Neo4j 5.0 or later is required".to_owned(),
        other => format!("{other:02x?} is not an answer to the version handshake"),
    }
}

impl Fault {
    /// Returns the kind of the error.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Io(_) | Self::Closed | Self::Unserved(_) => ErrorKind::SourceConnection,
            Self::TimedOut { .. } => ErrorKind::SourceTimeout,
            Self::Decode(_) | Self::TooLong(_) | Self::OutOfTurn { .. } => ErrorKind::SourceProtocol,
            Self::Server { code, .. } => kind_of_code(code),
            Self::Version([0, 0, 0, 0] | HTTP) | Self::Setup(_) => ErrorKind::Configuration,
            Self::Version(_) => ErrorKind::SourceProtocol,
            Self::Member { fault, .. } => fault.kind(),
        }
    }

    /// Whether the connection can be used again, after a reset. After an expired log on, a new connection is needed; after a wait
    /// for a commit in vain, too: it may lead to a member of the cluster that is less far behind.
    pub(super) fn leaves_connection(&self) -> bool {
        matches!(self, Self::Server { code, .. } if !code.starts_with(SECURITY)) && self.kind() != ErrorKind::SourceBehind
    }

    /// Whether another member of the cluster may do what this server does not: it is silent, or starts, or stops.
    pub(super) fn is_of_one_member(&self) -> bool {
        matches!(self.kind(), ErrorKind::SourceConnection | ErrorKind::SourceTimeout | ErrorKind::SourceTransient)
    }

    /// Wraps the fault in an error that names the interrupted task.
    pub(crate) fn during(self, doing: impl Into<String>) -> Error {
        Error::caused(self.kind(), doing, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_what_was_done_and_its_cause() {
        let fault = Fault::TimedOut { what: "answer", limit: Duration::from_secs(3) };
        let error = fault.during("cannot read Entity from Neo4j");
        assert_eq!(error.kind(), ErrorKind::SourceTimeout);
        assert_eq!(error.chain(), "cannot read Entity from Neo4j: no answer within 3s");
    }

    #[test]
    fn a_connection_goes_on_after_a_refused_query_alone() {
        let server = |code: &str| Fault::Server { code: code.to_owned(), message: String::new() };
        assert!(server("Neo.ClientError.Statement.SyntaxError").leaves_connection());
        assert!(!server("Neo.ClientError.Security.AuthorizationExpired").leaves_connection());
        assert!(!server("Neo.TransientError.Transaction.BookmarkTimeout").leaves_connection());
        assert!(!Fault::Closed.leaves_connection());
    }

    #[test]
    fn another_member_is_tried_unless_all_would_say_the_same() {
        let server = |code: &str| Fault::Server { code: code.to_owned(), message: String::new() };
        assert!(Fault::Closed.is_of_one_member());
        assert!(server("Neo.TransientError.General.DatabaseUnavailable").is_of_one_member());
        let refused = server("Neo.ClientError.Security.Unauthorized");
        assert!(!refused.is_of_one_member());
        let refused = Fault::Member { member: HostPort::new("b", 7687), fault: Box::new(refused) };
        assert_eq!(refused.kind(), ErrorKind::SourceAuthentication);
        assert_eq!(refused.to_string(), "b:7687, a member of the cluster: Neo.ClientError.Security.Unauthorized: ");
    }

    #[test]
    fn what_a_person_has_to_correct_is_told_from_what_passes() {
        assert_eq!(Fault::Version([0; 4]).kind(), ErrorKind::Configuration);
        assert_eq!(Fault::Version(HTTP).kind(), ErrorKind::Configuration);
        assert_eq!(Fault::Version([9; 4]).kind(), ErrorKind::SourceProtocol);
        assert_eq!(Fault::Io(io::ErrorKind::ConnectionReset.into()).kind(), ErrorKind::SourceConnection);
    }
}
