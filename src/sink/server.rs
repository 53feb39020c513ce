//! Identifies the server: FalkorDB's version, and the id that distinguishes one life of the server from the next.

use std::time::Duration;

use redis::{Value, cmd};

use super::connection::{COMMAND_TIMEOUT, CacheConnection};
use super::reply;
use crate::error::{Error, ErrorKind, Result};

/// The setting of Redis after which a working server answers other clients.
const BUSY_THRESHOLD: &str = "busy-reply-threshold";

/// Longer than any write of this program works before it locks the graph.
const SAFE_BUSY_THRESHOLD: Duration = Duration::from_secs(60);

/// The first version of FalkorDB that lets no client in during a transaction.
const KEEPS_OTHERS_OUT: u64 = 41_800;

/// The name that FalkorDB's module reports.
const MODULE: &str = "graph";

/// The known facts about the server. If the user may not ask, a field is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct CacheServer {
    /// Changes whenever the server is started.
    pub run_id: Option<String>,
    /// The module's version: 41603 is 4.16.3.
    pub module_version: Option<u64>,
}

impl CacheServer {
    /// The module's version in the usual notation.
    pub(crate) fn version_text(&self) -> Option<String> {
        self.module_version.map(|number| format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100))
    }

    /// Whether the server may end itself during a write with this `busy-reply-threshold`: while a transaction works for longer,
    /// FalkorDB 4.16 lets other clients in, and a check of Redis fails.
    pub(crate) fn may_end_itself(&self, busy_threshold: Duration) -> bool {
        busy_threshold < SAFE_BUSY_THRESHOLD && self.module_version.is_none_or(|version| version < KEEPS_OTHERS_OUT)
    }
}

/// Identifies the server: the present master if it can change. A server without the graph module is an error.
pub(super) async fn identify(connection: &mut CacheConnection) -> Result<CacheServer> {
    connection.follow_master().await;
    let modules = permitted(connection.command("list the modules", cmd("MODULE").arg("LIST"), COMMAND_TIMEOUT).await)?;
    let module_version = modules.map(graph_module).transpose()?;
    Ok(CacheServer { run_id: run_id(connection).await?, module_version })
}

/// Returns the run id of the server. If the master can change, the run id is the only sign that it did, so the user must be allowed to
/// ask for it.
pub(super) async fn run_id(connection: &mut CacheConnection) -> Result<Option<String>> {
    const DOING: &str = "read the server's run id";
    let info = connection.command(DOING, cmd("INFO").arg("server"), COMMAND_TIMEOUT).await;
    let info = if connection.is_followed() { info.map(Some) } else { permitted(info) }?;
    Ok(info.as_ref().map(reply::text).transpose()?.and_then(|text| reply::run_id(&text)))
}

/// Returns the server's `busy-reply-threshold`; nothing if the user may not ask.
pub(super) async fn busy_threshold(connection: &mut CacheConnection) -> Result<Option<Duration>> {
    let mut question = cmd("CONFIG");
    question.arg("GET").arg(BUSY_THRESHOLD);
    let answer = permitted(connection.command("read busy-reply-threshold", &question, COMMAND_TIMEOUT).await)?;
    answer.map_or(Ok(None), read_threshold)
}

fn read_threshold(answer: Value) -> Result<Option<Duration>> {
    let settings = reply::pairs(answer)?;
    let Some((_, value)) = settings.iter().find(|(name, _)| name == BUSY_THRESHOLD) else { return Ok(None) };
    let milliseconds = reply::text(value)?.parse().map_err(|_| reply::unexpected("a number of milliseconds"))?;
    Ok(Some(Duration::from_millis(milliseconds)))
}

/// Returns nothing if the user may not ask.
fn permitted(answer: Result<Value>) -> Result<Option<Value>> {
    match answer {
        Err(error) if error.kind() == ErrorKind::CachePermission => Ok(None),
        answer => answer.map(Some),
    }
}

fn graph_module(modules: Value) -> Result<u64> {
    for module in reply::array(modules)? {
        let fields = reply::pairs(module)?;
        let is_graph = fields.iter().any(|(name, value)| name == "name" && reply::text(value).is_ok_and(|name| name == MODULE));
        let version = fields.iter().find(|(name, _)| name == "ver");
        if let (true, Some((_, Value::Int(version)))) = (is_graph, version) {
            return u64::try_from(*version).map_err(|_| reply::unexpected("a version"));
        }
    }
    Err(Error::new(ErrorKind::CacheUnsupported, "the server has no graph module: it is Redis and not FalkorDB"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn module(name: &str, version: i64) -> Value {
        let bulk = |text: &str| Value::BulkString(text.into());
        Value::Map(vec![(bulk("name"), bulk(name)), (bulk("ver"), Value::Int(version))])
    }

    #[test]
    fn the_graph_module_is_found_among_others() {
        let modules = Value::Array(vec![module("vectorset", 1), module("graph", 41603)]);
        assert_eq!(graph_module(modules).unwrap(), 41603);
        let plain = graph_module(Value::Array(vec![module("vectorset", 1)])).unwrap_err();
        assert_eq!(plain.kind(), ErrorKind::CacheUnsupported);
    }

    #[test]
    fn the_busy_threshold_is_read_from_a_list_or_a_map() {
        let bulk = |text: &str| Value::BulkString(text.into());
        let list = Value::Array(vec![bulk("busy-reply-threshold"), bulk("5000")]);
        let map = Value::Map(vec![(bulk("busy-reply-threshold"), bulk("5000"))]);
        for answer in [list, map] {
            assert_eq!(read_threshold(answer).unwrap(), Some(Duration::from_secs(5)));
        }
        assert_eq!(read_threshold(Value::Array(vec![])).unwrap(), None);
        assert!(read_threshold(Value::Array(vec![bulk("busy-reply-threshold"), bulk("soon")])).is_err());
    }

    #[test]
    fn only_an_older_server_with_a_short_threshold_may_end_itself() {
        let server = |module_version| CacheServer { module_version, run_id: None };
        for (version, seconds, may_end) in
            [(Some(41_603), 5, true), (Some(41_603), 600, false), (Some(42_201), 5, false), (None, 5, true)]
        {
            assert_eq!(server(version).may_end_itself(Duration::from_secs(seconds)), may_end, "{version:?} {seconds}");
        }
    }

    #[test]
    fn version_and_run_id_are_read() {
        let server =
            CacheServer { module_version: Some(41603), run_id: reply::run_id("# Server\r\nrun_id:abc\r\ntcp_port:1\r\n") };
        assert_eq!((server.version_text().as_deref(), server.run_id.as_deref()), (Some("4.16.3"), Some("abc")));
    }
}
