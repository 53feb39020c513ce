//! The meaning of an error from the driver or the server.
//!
//! FalkorDB's own errors carry no code word, so the driver takes the first word of the sentence as the code ("Query timed out"
//! becomes code `Query`, detail `timed out`): the sentence is joined again before it is read. Redis' real codes are distinguished
//! by [`code`](redis::RedisError::code), because the driver has no kind of its own for most of them.

use redis::{ErrorKind as DriverKind, RedisError, ServerError};

use crate::error::{Error, ErrorKind};
use crate::sync::MissingGraph;

/// Codes of Redis itself.
const CODES: [(&str, ErrorKind); 22] = [
    ("LOADING", ErrorKind::CacheBusy),
    ("BUSY", ErrorKind::CacheBusy),
    ("TRYAGAIN", ErrorKind::CacheBusy),
    ("CLUSTERDOWN", ErrorKind::CacheBusy),
    ("MASTERDOWN", ErrorKind::CacheBusy),
    ("NOREPLICAS", ErrorKind::CacheBusy),
    // The server drops a user or a client that an administrator removes: the next connection shows which.
    ("UNBLOCKED", ErrorKind::CacheConnection),
    ("OOM", ErrorKind::CacheOutOfMemory),
    ("MISCONF", ErrorKind::CacheCannotPersist),
    ("NOAUTH", ErrorKind::CacheAuthentication),
    ("WRONGPASS", ErrorKind::CacheAuthentication),
    ("NOPERM", ErrorKind::CachePermission),
    ("READONLY", ErrorKind::CacheReadOnly),
    ("WRONGTYPE", ErrorKind::CacheWrongType),
    ("NOPROTO", ErrorKind::CacheUnsupported),
    // This cluster node does not hold the graph's slot.
    ("MOVED", ErrorKind::CacheElsewhere),
    ("ASK", ErrorKind::CacheBusy),
    ("CROSSSLOT", ErrorKind::CacheUnsupported),
    ("NOSCRIPT", ErrorKind::CacheProtocol),
    ("EXECABORT", ErrorKind::CacheProtocol),
    ("DENIED", ErrorKind::CachePermission),
    ("NOTBUSY", ErrorKind::CacheProtocol),
];

/// Beginnings of sentences, in lower case, that do not concern the rows of a write.
const SENTENCES: [(&str, ErrorKind); 11] = [
    ("query timed out", ErrorKind::CacheTimeout),
    ("write queue is full", ErrorKind::CacheBusy),
    ("max pending queries exceeded", ErrorKind::CacheBusy),
    // A rename replaced the graph while this write was queued: nothing was written.
    ("encountered different graph value", ErrorKind::CacheBusy),
    ("err falkordb module is currently replicating", ErrorKind::CacheBusy),
    ("falkordb module is currently replicating", ErrorKind::CacheBusy),
    ("err unknown command", ErrorKind::CacheUnsupported),
    ("err unknown subcommand", ErrorKind::CacheUnsupported),
    ("err max number of clients reached", ErrorKind::CacheBusy),
    ("err auth", ErrorKind::CacheAuthentication),
    (MISSING_GRAPH, ErrorKind::CacheProtocol),
];

/// FalkorDB's answer to a read of a key that does not exist.
const MISSING_GRAPH: &str = "err invalid graph operation on empty key";

/// FalkorDB's refusals of an index that exists: the first quotes the property, the second concerns stop words and language.
const EXISTING_INDEX: [&str; 2] = ["already indexed", "Can not override index configuration"];

/// FalkorDB's refusal to drop an index that does not exist. The sentence begins with the index' names.
const MISSING_INDEX: &str = "no such index";

/// The text shown for both refusals of an existing index.
const INDEX_EXISTS: &str = "the index already exists";

/// The server's sentence, joined again.
pub(super) fn sentence(error: &ServerError) -> String {
    join(error.code(), error.details())
}

/// Whether the sentence says that the graph's key does not exist.
fn says_missing_graph(sentence: &str) -> bool {
    starts_with(sentence, MISSING_GRAPH) || starts_with(sentence, &MISSING_GRAPH["err ".len()..])
}

/// Whether the sentence says that an index exists already: FalkorDB's own sentence, or the text shown for it.
pub(super) fn says_index_exists(sentence: &str) -> bool {
    sentence == INDEX_EXISTS || EXISTING_INDEX.iter().any(|words| sentence.contains(words))
}

/// Whether the sentence says that there is no such index to drop: FalkorDB's own sentence, or the text shown for it.
pub(super) fn says_index_missing(sentence: &str) -> bool {
    sentence.contains(MISSING_INDEX)
}

/// The kind of a server's error text. An unknown text means that FalkorDB refused the query.
pub(super) fn server_kind(sentence: &str) -> ErrorKind {
    let mut word = sentence.split(' ').next().unwrap_or_default();
    // If the user may not end a transaction, EXEC reports it in its own words, with the reason inside.
    if word == "EXECABORT" && sentence.contains("NOPERM") {
        word = "NOPERM";
    }
    let by_code = CODES.iter().find(|(code, _)| *code == word);
    let by_text = || SENTENCES.iter().find(|(beginning, _)| starts_with(sentence, beginning));
    by_code.or_else(by_text).map_or(ErrorKind::CacheRefused, |(_, kind)| *kind)
}

/// The kind of an error of the driver.
pub(super) fn driver_kind(error: &RedisError) -> ErrorKind {
    match error.kind() {
        DriverKind::Server(_) | DriverKind::Extension => server_kind(&join(error.code().unwrap_or_default(), error.detail())),
        DriverKind::AuthenticationFailed => ErrorKind::CacheAuthentication,
        DriverKind::InvalidClientConfig => ErrorKind::Configuration,
        DriverKind::RESP3NotSupported => ErrorKind::CacheUnsupported,
        DriverKind::Io if error.is_timeout() => ErrorKind::CacheTimeout,
        DriverKind::Io => ErrorKind::CacheConnection,
        // A truncated reply looks like a reply that does not parse.
        DriverKind::Parse => ErrorKind::CacheConnection,
        _ => ErrorKind::CacheProtocol,
    }
}

/// Converts the driver's error to ours.
pub(super) fn driver_error(doing: impl Into<String>, error: RedisError) -> Error {
    Error::caused(driver_kind(&error), doing, DriverFailure(error))
}

/// The driver's error as the last link of a chain: it already prints its own cause.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct DriverFailure(pub(super) RedisError);

/// Converts a server's error reply to our error.
pub(super) fn server_error(doing: &str, error: &ServerError) -> Error {
    let sentence = sentence(error);
    let (kind, message) = (server_kind(&sentence), format!("cannot {doing}: {}", without_values(&sentence)));
    if says_missing_graph(&sentence) { Error::caused(kind, message, MissingGraph(sentence)) } else { Error::new(kind, message) }
}

/// The longest sentence of FalkorDB that is shown; its fixed sentences are shorter.
const SHOWN_SENTENCE: usize = 160;

/// Returns a server's sentence without anything that may be a property's value: FalkorDB's parser quotes the query's text, and
/// its fixed sentences quote nothing.
pub(super) fn without_values(sentence: &str) -> String {
    let quotes = |c: char| matches!(c, '\'' | '"' | '`');
    let harmless = sentence.len() <= SHOWN_SENTENCE && !sentence.contains(quotes) && !sentence.contains("errMsg");
    if harmless { sentence.to_owned() } else { outline(sentence).to_owned() }
}

fn outline(sentence: &str) -> &'static str {
    match sentence {
        s if s.contains("Invalid input") || s.contains("errMsg") => "FalkorDB cannot parse the statement",
        // The server's sentence is long, and quotes a setting.
        s if starts_with(s, "MISCONF") => "MISCONF the server cannot save its data and refuses writes until it can",
        // These sentences quote a setting, and an apostrophe.
        s if starts_with(s, "OOM") => "OOM the server has no memory left for writes",
        s if starts_with(s, "READONLY") => "READONLY the server is a read-only replica",
        s if starts_with(s, "NOPERM") => "NOPERM this user is not allowed to run the command",
        s if starts_with(s, "ERR unknown command") => "ERR unknown command",
        s if says_index_exists(s) => INDEX_EXISTS,
        s if says_index_missing(s) => MISSING_INDEX,
        s if s.contains("constraint violation") => "a constraint of the graph is violated",
        _ => "FalkorDB refuses the statement; its message is omitted because it quotes values",
    }
}

fn join(code: &str, detail: Option<&str>) -> String {
    match detail {
        Some(detail) => format!("{code} {detail}"),
        None => code.to_owned(),
    }
}

fn starts_with(text: &str, beginning: &str) -> bool {
    text.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning))
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn every_known_sentence_has_its_kind() {
        for (sentence, kind) in [
            ("LOADING Redis is loading the dataset in memory", ErrorKind::CacheBusy),
            ("BUSY Redis is busy running a script.", ErrorKind::CacheBusy),
            ("Query timed out", ErrorKind::CacheTimeout),
            ("Max pending queries exceeded", ErrorKind::CacheBusy),
            ("Write queue is full, please try again later", ErrorKind::CacheBusy),
            ("Encountered different graph value when opened key g", ErrorKind::CacheBusy),
            ("ERR FalkorDB module is currently replicating", ErrorKind::CacheBusy),
            ("OOM command not allowed when used memory > 'maxmemory'.", ErrorKind::CacheOutOfMemory),
            ("MISCONF Redis is configured to save RDB snapshots", ErrorKind::CacheCannotPersist),
            ("NOAUTH Authentication required.", ErrorKind::CacheAuthentication),
            ("WRONGPASS invalid username-password pair", ErrorKind::CacheAuthentication),
            ("NOPERM User x has no permissions to run the 'graph.query' command", ErrorKind::CachePermission),
            (
                "EXECABORT Transaction discarded because of: NOPERM User x has no permissions to run the 'exec' command",
                ErrorKind::CachePermission,
            ),
            ("READONLY You can't write against a read only replica.", ErrorKind::CacheReadOnly),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", ErrorKind::CacheWrongType),
            ("ERR unknown command 'GRAPH.QUERY', with args beginning with: 'g'", ErrorKind::CacheUnsupported),
            ("ERR Invalid graph operation on empty key", ErrorKind::CacheProtocol),
            ("Property values can only be of primitive types or arrays of primitive types", ErrorKind::CacheRefused),
            ("unique constraint violation on node of type Entity", ErrorKind::CacheRefused),
            ("errMsg: Invalid input 'x'", ErrorKind::CacheRefused),
        ] {
            assert_eq!(server_kind(sentence), kind, "{sentence}");
        }
    }

    #[test]
    fn errors_of_the_driver_have_their_kind() {
        let io = |kind: std::io::ErrorKind| RedisError::from(std::io::Error::from(kind));
        assert_eq!(driver_kind(&io(std::io::ErrorKind::TimedOut)), ErrorKind::CacheTimeout);
        assert_eq!(driver_kind(&io(std::io::ErrorKind::ConnectionRefused)), ErrorKind::CacheConnection);
        assert_eq!(driver_kind(&RedisError::from((DriverKind::AuthenticationFailed, "no"))), ErrorKind::CacheAuthentication);
        assert_eq!(driver_kind(&RedisError::from((DriverKind::UnexpectedReturnType, "no"))), ErrorKind::CacheProtocol);
    }

    #[test]
    fn a_failure_is_told_once() {
        let refused = RedisError::from(std::io::Error::other("connection refused"));
        assert_eq!(driver_error("ask", refused).chain(), "ask: connection refused");
    }

    #[test]
    fn a_missing_graph_is_recognised_with_and_without_its_code() {
        assert!(says_missing_graph("ERR Invalid graph operation on empty key"));
        assert!(says_missing_graph("Invalid graph operation on empty key"));
        assert!(!says_missing_graph("ERR no such key"));
    }

    fn reply(bytes: &[u8]) -> ServerError {
        match redis::parse_redis_value(bytes) {
            Ok(redis::Value::ServerError(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_missing_graph_is_the_cause_of_its_error_and_told_once() {
        let error = server_error("count", &reply(b"-ERR Invalid graph operation on empty key\r\n"));
        assert!(error.source().is_some_and(|cause| cause.is::<MissingGraph>()));
        assert_eq!(error.chain(), "cannot count: ERR Invalid graph operation on empty key");
        assert!(server_error("count", &reply(b"-ERR no such key\r\n")).source().is_none());
    }

    #[test]
    fn an_index_that_is_there_is_recognised_before_and_after_its_values_are_left_out() {
        for sentence in ["Attribute 'uuid' is already indexed", "Can not override index configuration: Stopwords are already set"]
        {
            assert!(says_index_exists(sentence) && says_index_exists(&without_values(sentence)), "{sentence}");
            assert!(!without_values(sentence).contains("uuid"));
        }
        assert!(!says_index_exists(&without_values("unknown index option 'x'")));
    }

    #[test]
    fn a_sentence_that_quotes_is_not_repeated() {
        let fixed = "Property values can only be of primitive types or arrays of primitive types";
        assert_eq!(without_values(fixed), fixed);
        let quoting = "errMsg: Invalid input 's': expected ... errCtx: CYPHER rows=[{k:\"secret\"}]";
        assert_eq!(without_values(quoting), "FalkorDB cannot parse the statement");
        assert!(!without_values("unknown value 'secret'").contains("secret"));
        let long = format!("MISCONF Redis is configured to save RDB snapshots, {}", "but it is currently unable to. ".repeat(8));
        assert!(without_values(&long).contains("MISCONF the server cannot save"));
    }
}
