//! Whether the user may do what a full sync needs, before hours of it are done.
//!
//! Each command is tried on a key that nobody uses, where it cannot do anything. `ACL DRYRUN` would need the right to use `ACL`,
//! which a user of a service should not have.

use redis::{Cmd, cmd};

use super::connection::{COMMAND_TIMEOUT, Connection};
use crate::error::{ErrorKind, Result};
use crate::model::graph_name::GraphName;

/// What a full sync beside the graph needs besides what every pass needs.
pub const BULK_COMMANDS: [&str; 4] = ["GRAPH.BULK", "RENAME", "UNLINK", "TYPE"];

/// Those of [`BULK_COMMANDS`] that the user may not run on the keys beside this graph, or that the server does not have.
pub async fn missing_permissions(connection: &mut Connection, graph: &GraphName) -> Result<Vec<&'static str>> {
    let (trial, other) = (graph.trial_key(), graph.trial_key());
    let mut missing = Vec::new();
    for name in BULK_COMMANDS {
        match connection.command("try a permission", &harmless(name, &trial, &other), COMMAND_TIMEOUT).await {
            Err(error) if matches!(error.kind(), ErrorKind::CachePermission | ErrorKind::CacheUnsupported) => missing.push(name),
            // "no such key" and "empty key": it may be run.
            Err(error) if matches!(error.kind(), ErrorKind::CacheRefused | ErrorKind::CacheProtocol) => {}
            outcome => drop(outcome?),
        }
    }
    Ok(missing)
}

/// The command on keys that are not there. GRAPH.BULK without `BEGIN` makes none.
fn harmless(name: &str, trial: &str, other: &str) -> Cmd {
    let mut command = cmd(name);
    command.arg(trial);
    match name {
        "GRAPH.BULK" => command.arg(0).arg(0).arg(0).arg(0),
        "RENAME" => command.arg(other),
        _ => &mut command,
    };
    command
}
