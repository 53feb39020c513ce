//! The meaning of Neo4j's status codes for the service: one table for all clients.

use std::fmt::Display;

use crate::error::ErrorKind;

/// Returns the kind of an error from Neo4j's code, such as `Neo.ClientError.Security.Unauthorized`.
///
/// Source: "Neo4j error codes" of the status code manual, 5.x.
pub(super) fn kind_of_code(code: &str) -> ErrorKind {
    let mut parts = code.split('.').skip(1);
    let mut part = || parts.next().unwrap_or_default();
    match (part(), part(), part()) {
        ("TransientError", "Transaction", "BookmarkTimeout") => ErrorKind::SourceBehind,
        ("TransientError", ..) => ErrorKind::SourceTransient,
        ("ClientError", category, title) => kind_of_client_error(category, title),
        // A defect of the database, or a code of another version: the error may pass, and the log shows more if it does not.
        _ => ErrorKind::SourceTransient,
    }
}

/// Returns the sentence for a server that cannot be reached, for all clients.
pub(super) fn why_unreachable(kind: ErrorKind, uri: impl Display) -> String {
    match kind {
        ErrorKind::SourceAuthentication => format!("Neo4j at {uri} refuses the user or password"),
        ErrorKind::SourceRefused => format!("Neo4j at {uri} refuses the request"),
        ErrorKind::SourceTimeout => format!("Neo4j at {uri} does not answer"),
        ErrorKind::Configuration => format!("cannot use Neo4j at {uri}"),
        _ => format!("cannot reach Neo4j at {uri}"),
    }
}

fn kind_of_client_error(category: &str, title: &str) -> ErrorKind {
    match (category, title) {
        ("Security", "AuthorizationExpired") => ErrorKind::SourceTransient,
        ("Security", "Unauthorized" | "TokenExpired" | "CredentialsExpired" | "AuthenticationRateLimit") => {
            ErrorKind::SourceAuthentication
        }
        // The limit is our own: the query was slow, not wrong.
        ("Transaction", "TransactionTimedOut" | "TransactionTimedOutClientConfiguration") => ErrorKind::SourceTimeout,
        // A bookmark that the server sent earlier and that its database does not know now.
        ("Transaction", "InvalidBookmark" | "InvalidBookmarkMixture") => ErrorKind::SourceChanged,
        // Another member of a cluster leads now, or somebody ended the query.
        ("Cluster", "NotALeader")
        | ("General", "ForbiddenOnReadOnlyDatabase")
        | ("Transaction", "Terminated" | "LockClientStopped") => ErrorKind::SourceTransient,
        // Each side understood the other's protocol differently.
        ("Request", _) => ErrorKind::SourceProtocol,
        _ => ErrorKind::SourceRefused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_kind_that_decides_what_happens() {
        for (code, kind) in [
            ("Neo.TransientError.Transaction.DeadlockDetected", ErrorKind::SourceTransient),
            ("Neo.TransientError.General.DatabaseUnavailable", ErrorKind::SourceTransient),
            ("Neo.TransientError.Transaction.BookmarkTimeout", ErrorKind::SourceBehind),
            ("Neo.ClientError.Transaction.InvalidBookmark", ErrorKind::SourceChanged),
            ("Neo.ClientError.Security.Unauthorized", ErrorKind::SourceAuthentication),
            ("Neo.ClientError.Security.AuthenticationRateLimit", ErrorKind::SourceAuthentication),
            ("Neo.ClientError.Security.AuthorizationExpired", ErrorKind::SourceTransient),
            ("Neo.ClientError.Security.Forbidden", ErrorKind::SourceRefused),
            ("Neo.ClientError.Statement.AccessMode", ErrorKind::SourceRefused),
            ("Neo.ClientError.Statement.SyntaxError", ErrorKind::SourceRefused),
            ("Neo.ClientError.Database.DatabaseNotFound", ErrorKind::SourceRefused),
            ("Neo.ClientError.Transaction.TransactionTimedOutClientConfiguration", ErrorKind::SourceTimeout),
            ("Neo.ClientError.Request.Invalid", ErrorKind::SourceProtocol),
            ("Neo.DatabaseError.General.UnknownError", ErrorKind::SourceTransient),
            ("nonsense", ErrorKind::SourceTransient),
        ] {
            assert_eq!(kind_of_code(code), kind, "{code}");
        }
    }
}
