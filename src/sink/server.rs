//! Identifies the server: FalkorDB's version, and the id that distinguishes one life of the server from the next.

use redis::{Value, cmd};

use super::connection::{COMMAND_TIMEOUT, CacheConnection};
use super::reply;
use crate::error::{Error, ErrorKind, Result};

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
    fn version_and_run_id_are_read() {
        let server =
            CacheServer { module_version: Some(41603), run_id: reply::run_id("# Server\r\nrun_id:abc\r\ntcp_port:1\r\n") };
        assert_eq!((server.version_text().as_deref(), server.run_id.as_deref()), (Some("4.16.3"), Some("abc")));
    }
}
