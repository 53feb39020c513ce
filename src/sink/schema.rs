//! The indices of the cache: those that the profile defines, those that exist, and those that are missing.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connection::{COMMAND_TIMEOUT, CacheConnection};
use super::fence::{Ownership, fenced, fenced_command};
use super::graph::{read_failed, read_query, write_query};
use super::index_inventory::{self, Existing, Wanted, existing, missing};
use super::index_report::IndexReport;
use super::index_statement::statement;
use super::{classify, inspection, reply, safety};
use crate::error::{Error, ErrorKind, Result};
use crate::model::index::IndexTarget;
use crate::sync::is_missing_graph;

/// The time limit for building indices: FalkorDB indexes some 100,000 elements a second, so this is enough for tens of millions
/// and still ends if the indexer is stuck.
pub(super) const INDEX_DEADLINE: Duration = Duration::from_secs(600);

/// Indices that do not serve queries yet.
const UNFINISHED: &[u8] = b"CALL db.indexes() YIELD status WHERE status <> 'OPERATIONAL' RETURN count(status)";

/// The most indices that are made one after another.
const FEW: usize = 32;

/// The size of a piece if there are more: FalkorDB makes 8,000 indices in a second.
const MADE_TOGETHER: usize = 200;

/// The first wait for an index that is being built; each further wait is twice as long, up to [`LAST_POLL`]: an empty index is
/// ready at once, and a full sync waits for all of them.
const FIRST_POLL: Duration = Duration::from_millis(1);
const LAST_POLL: Duration = Duration::from_millis(20);

/// Makes the missing indices and waits until all indices serve queries.
pub(super) async fn ensure(
    connection: &mut CacheConnection,
    graph: &str,
    ownership: &Ownership,
    wanted: Wanted<'_>,
    within: Duration,
) -> Result<IndexReport> {
    let Existing { mut properties, operational } = existing(connection, graph).await?;
    if !operational {
        wait_operational(connection, graph, within).await?;
    }
    let mut report = inspection::report(connection, graph, wanted, &properties).await?;
    inspection::drop_unsafe(connection, graph, ownership, wanted, &mut properties, &mut report).await?;
    let mirrored = wanted.mirrored.iter().map(|definition| (definition, true));
    let mut absent = Vec::new();
    for (definition, is_mirrored) in wanted.own.iter().map(|definition| (definition, false)).chain(mirrored) {
        let Some(made) = safety::made_of(wanted.profile, definition, wanted.policy) else { continue };
        let Some(missing) = missing(&made, &properties) else { continue };
        // Definitions may overlap.
        properties.extend(missing.properties.iter().map(|name| index_inventory::wanted(&missing, name.as_str())));
        absent.push((definition, statement(&missing), is_mirrored));
    }
    // The sort keeps the order within a label or type, and with it the precedence of the profile.
    absent.sort_by(|(one, ..), (other, ..)| one.on.cmp(&other.on));
    let statements: Vec<(&IndexTarget, String)> = absent.iter().map(|(made, text, _)| (&made.on, text.clone())).collect();
    let made = make_all(connection, graph, ownership, &statements, within).await?;
    for ((definition, text, is_mirrored), made) in absent.into_iter().zip(made) {
        match made {
            Err(error) if is_mirrored && error.kind() == ErrorKind::CacheUnsupported => {
                tracing::warn!(statement = text, error = %error.chain(), "FalkorDB refused an index mirrored from the source");
                report.refused.push(statement(definition));
            }
            made => {
                made?;
                report.made.push(text);
            }
        }
    }
    Ok(report)
}

/// Makes an index and waits until it serves queries. While FalkorDB builds an index, every writer of the graph waits for the
/// graph's lock. Bulk loads and the making of another index wait in a place where all other clients of the server wait with them
/// (half a second for 40,000 relationships, 4.16.3).
pub(super) async fn make(
    connection: &mut CacheConnection,
    graph: &str,
    ownership: &Ownership,
    statement: &str,
    within: Duration,
) -> Result<()> {
    let command = write_query(graph, statement.as_bytes());
    let answer = fenced_command(connection, "create an index", ownership, command, COMMAND_TIMEOUT).await;
    let is_new = answer.is_ok();
    made(statement, answer)?;
    if is_new { wait_operational(connection, graph, within).await } else { Ok(()) }
}

/// Makes indices, waits until they serve queries, and returns the outcome of each. A few are made one label or type after
/// another, for the reason in [`make`]; those of one label or type together, because FalkorDB keeps them in one index, which it
/// would otherwise fill anew for each (a quarter of the time). Thousands are on labels and types with few elements each: they are
/// ready at once, and asking for their status would take most of the time.
async fn make_all(
    connection: &mut CacheConnection,
    graph: &str,
    ownership: &Ownership,
    statements: &[(&IndexTarget, String)],
    within: Duration,
) -> Result<Vec<Result<()>>> {
    let mut all = Vec::with_capacity(statements.len());
    let pieces: Vec<_> = if statements.len() <= FEW {
        statements.chunk_by(|(one, _), (other, _)| one == other).collect()
    } else {
        statements.chunks(MADE_TOGETHER).collect()
    };
    for statements in pieces {
        let commands = || statements.iter().map(|(_, statement)| write_query(graph, statement.as_bytes())).collect();
        let answers = fenced(connection, "create indices", ownership, commands, within).await?;
        for ((_, statement), answer) in statements.iter().zip(answers) {
            match made(statement, answer) {
                Err(error) if error.kind() != ErrorKind::CacheUnsupported => return Err(error),
                made => all.push(made),
            }
        }
        wait_operational(connection, graph, within).await?;
    }
    Ok(all)
}

/// Converts FalkorDB's answer to the outcome of an index.
fn made(statement: &str, answer: Result<redis::Value>) -> Result<()> {
    match answer {
        Ok(_) => Ok(()),
        // graphiti's own driver makes the same indices at the same time.
        Err(error) if error.kind() == ErrorKind::CacheRefused && is_there_already(&error) => Ok(()),
        Err(error) if error.kind() == ErrorKind::CacheRefused => {
            Err(Error::caused(ErrorKind::CacheUnsupported, format!("FalkorDB refuses {statement}"), error))
        }
        Err(error) => Err(error),
    }
}

fn is_there_already(error: &Error) -> bool {
    error.to_string().split(": ").any(classify::says_index_exists)
}

/// Whether all indices serve queries.
async fn is_operational(connection: &mut CacheConnection, graph: &str) -> Result<bool> {
    match connection.command("list the indices", &read_query(graph, UNFINISHED), COMMAND_TIMEOUT).await {
        Ok(answer) => Ok(reply::single_count(answer)? == 0),
        Err(error) if is_missing_graph(&error) => Ok(true),
        Err(error) => Err(read_failed(error)),
    }
}

pub(super) async fn wait_operational(connection: &mut CacheConnection, graph: &str, within: Duration) -> Result<()> {
    let deadline = Instant::now() + within;
    let mut pause = FIRST_POLL;
    while !is_operational(connection, graph).await? {
        if Instant::now() >= deadline {
            let message = format!("FalkorDB did not build the indices of {graph} within {} s", within.as_secs());
            return Err(Error::new(ErrorKind::CacheTimeout, message));
        }
        sleep(pause).await;
        pause = LAST_POLL.min(pause * 2);
    }
    Ok(())
}
