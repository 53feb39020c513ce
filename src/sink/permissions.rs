//! Checks whether the user has the necessary permissions, before hours of work are done.
//!
//! `ACL DRYRUN` would need the right to use `ACL`, which a service's user should not have. So each command is tried where it has
//! no effect: on a key that nobody uses, or in a transaction that is never carried out.

use redis::{Cmd, Pipeline, cmd};

use super::address::CacheAddress;
use super::connection::{COMMAND_TIMEOUT, CacheConnection};
use super::engine::{Engine, EngineSigns};
use super::keys::GraphKeys;
use crate::error::{Error, ErrorKind, Result};
use crate::model::graph_name::GraphName;

/// The commands of a full sync beside the graph that other passes do not need.
const BULK_COMMANDS: [&str; 4] = ["GRAPH.BULK", "RENAME", "UNLINK", "TYPE"];

/// Returns those of `BULK_COMMANDS` that the user may not run on the keys beside this graph, or that the server does not have.
pub async fn missing_permissions(connection: &mut CacheConnection, graph: &GraphName) -> Result<Vec<&'static str>> {
    let (trial, other) = (GraphKeys::of(graph).trial(), GraphKeys::of(graph).trial());
    let mut missing = Vec::new();
    for name in BULK_COMMANDS {
        match connection.command("test a permission", &harmless(name, &trial, &other), COMMAND_TIMEOUT).await {
            Err(error) if matches!(error.kind(), ErrorKind::CachePermission | ErrorKind::CacheUnsupported) => missing.push(name),
            // "no such key" and "empty key" mean that the user may run the command.
            Err(error) if matches!(error.kind(), ErrorKind::CacheRefused | ErrorKind::CacheProtocol) => {}
            outcome => drop(outcome?),
        }
    }
    Ok(missing)
}

/// The command on missing keys. GRAPH.BULK without `BEGIN` makes none.
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

/// Without this command, a full sync beside the graph cannot know whether the server keeps a renamed graph; GRAPH.CONFIG GET
/// tells it as well.
pub(crate) const TELLS_ENGINE: &str = "MODULE LIST";

/// Returns the commands that the user may not run on this graph or beside it, of those that every pass needs, of
/// `BULK_COMMANDS`, and of those that spreading pipelines over instances needs.
pub(super) async fn missing_commands(address: CacheAddress, graph: &GraphName, spreads: bool) -> Result<Vec<&'static str>> {
    const DOING: &str = "test permissions";
    // Discarded at the end, and the transaction with it.
    let mut connection = CacheConnection::new(address);
    let mut missing = Vec::new();
    if EngineSigns::of(&mut connection).await?.engine() == Engine::Unknown {
        missing.push(TELLS_ENGINE);
    }
    // A broken connection is an error for the next command, so every command after MULTI is in its transaction. Outside of a
    // transaction these commands do nothing, and inside of one they cannot be tried.
    for (name, command) in [
        ("WATCH", cmd("WATCH").arg(GraphKeys::of(graph).trial()).to_owned()),
        ("UNWATCH", cmd("UNWATCH")),
        ("EXEC", cmd("EXEC")),
        ("MULTI", cmd("MULTI")),
    ] {
        match connection.command(DOING, &command, COMMAND_TIMEOUT).await {
            Err(error) if is_missing(&error) => missing.push(name),
            Err(error) if error.kind() != ErrorKind::CacheRefused => return Err(error),
            _ => {}
        }
    }
    if missing.contains(&"MULTI") {
        // Without a transaction, the following commands would be carried out.
        return Ok(missing);
    }
    let mut queued = queued(graph);
    if spreads {
        queued.extend(queued_to_spread(graph));
    }
    let mut pipeline = Pipeline::new();
    for (_, command) in &queued {
        pipeline.add_command(command.clone());
    }
    let mut answers = connection.pipeline(DOING, &pipeline, COMMAND_TIMEOUT).await?;
    if let Some(place) = answers.iter().position(|answer| answer.as_ref().is_err_and(is_elsewhere)) {
        // The node refuses every command about the graph, for every user.
        return answers.swap_remove(place).map(|_| missing);
    }
    let refused = |answer: &Result<redis::Value>| answer.as_ref().is_err_and(is_missing);
    missing.extend(queued.iter().zip(&answers).filter(|(_, answer)| refused(answer)).map(|((name, _), _)| *name));
    Ok(missing)
}

fn is_missing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::CachePermission | ErrorKind::CacheUnsupported)
}

fn is_elsewhere(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::CacheElsewhere | ErrorKind::CacheConnection)
}

/// Even if carried out, none of these commands would touch the graph: they are incomplete, or use keys that nobody uses.
fn queued(graph: &GraphName) -> Vec<(&'static str, Cmd)> {
    let (name, beside) = (graph.as_str(), GraphKeys::of(graph).trial());
    let of = |command: &'static str, arguments: &[&str]| (command, cmd(command).arg(arguments).to_owned());
    vec![
        of("GRAPH.QUERY", &[name]),
        of("GRAPH.RO_QUERY", &[name]),
        of("GRAPH.DELETE", &[&beside]),
        of("TYPE", &[name]),
        of("GET", &[&beside]),
        of("SET", &[&beside, "x", "XX"]),
        of("DEL", &[&beside]),
        of("PEXPIRE", &[&beside, "1"]),
        of("SADD", &[&beside, "x"]),
        of("SREM", &[&beside, "x"]),
        of("SMEMBERS", &[&beside]),
        of("GRAPH.BULK", &[&beside, "0", "0", "0", "0"]),
        of("RENAME", &[&beside, &beside]),
        of("UNLINK", &[&beside]),
    ]
}

/// As [`queued`]: with these commands, an instance announces itself and finds the others.
fn queued_to_spread(graph: &GraphName) -> [(&'static str, Cmd); 4] {
    let beside = GraphKeys::of(graph).trial();
    [
        ("TIME", cmd("TIME")),
        ("HSET", cmd("HSET").arg(&beside).arg("x").arg("x").to_owned()),
        ("HGETALL", cmd("HGETALL").arg(&beside).to_owned()),
        ("HDEL", cmd("HDEL").arg(&beside).arg("x").to_owned()),
    ]
}
