//! The state of a graph's indices: which are foreign, which are unsafe, and which of the unsafe ones are dropped.

use std::collections::BTreeSet;
use std::time::Duration;

use redis::Pipeline;

use super::connection::{COMMAND_TIMEOUT, CacheConnection};
use super::fence::{Ownership, fenced_command};
use super::graph::{read_failed, read_query, write_query};
use super::index_inventory::{self, Existing, IndexedProperty, Wanted};
use super::index_report::IndexReport;
use super::{classify, constraints, reply};
use crate::error::{ErrorKind, Result};
use crate::model::index::UnsafeIndexPolicy;

/// The time limit for finding a text under each index: a seek, or a scan while an index is being built.
const OVER_TEXT_TIMEOUT: Duration = Duration::from_secs(60);

/// Reports the indices without changing them.
pub(super) async fn look(connection: &mut CacheConnection, graph: &str, wanted: Wanted<'_>) -> Result<IndexReport> {
    let Existing { properties, .. } = index_inventory::existing(connection, graph).await?;
    let mut report = report(connection, graph, wanted, &properties).await?;
    let standing = wanted.unsafe_ones().intersection(&properties).map(ToString::to_string).collect::<BTreeSet<_>>();
    report.unsafe_ones.extend(standing);
    report.unsafe_ones.sort();
    report.unsafe_ones.dedup();
    for constraint in constraints::read(connection, graph).await? {
        let reason = constraints::obstacle(connection, graph, &constraint).await?;
        report.lost.extend(reason.map(|reason| format!("{constraint}: {reason}")));
    }
    Ok(report)
}

/// Existing indices that a pass drops.
pub(super) async fn disturbing(connection: &mut CacheConnection, graph: &str, wanted: Wanted<'_>) -> Result<BTreeSet<String>> {
    if wanted.policy != Some(UnsafeIndexPolicy::Drop) {
        return Ok(BTreeSet::new());
    }
    let Existing { properties, .. } = index_inventory::existing(connection, graph).await?;
    Ok(wanted.unsafe_ones().intersection(&properties).map(ToString::to_string).collect())
}

/// Reports the state of the indices before anything is done about them.
pub(super) async fn report(
    connection: &mut CacheConnection,
    graph: &str,
    wanted: Wanted<'_>,
    properties: &BTreeSet<IndexedProperty>,
) -> Result<IndexReport> {
    let ours = wanted.unsafe_ones();
    let left_out = if wanted.policy == Some(UnsafeIndexPolicy::Drop) { ours.clone() } else { BTreeSet::new() };
    let asked: Vec<&IndexedProperty> =
        properties.iter().filter(|index| wanted.may_be_unsafe(index) && !left_out.contains(*index)).collect();
    let holding = over_text(connection, graph, &asked).await?;
    Ok(IndexReport {
        foreign: index_inventory::foreign(properties, wanted.definitions()),
        from_nothing: wanted.lacks_all_on_keys(properties),
        unsafe_ones: holding.into_iter().map(ToString::to_string).collect(),
        left_out: left_out.iter().map(ToString::to_string).collect(),
        constraints: constraints::read(connection, graph).await?.iter().map(ToString::to_string).collect(),
        ..IndexReport::default()
    })
}

/// The range indices among these that cover text. The index itself answers this question correctly.
async fn over_text<'i>(
    connection: &mut CacheConnection,
    graph: &str,
    indexes: &[&'i IndexedProperty],
) -> Result<Vec<&'i IndexedProperty>> {
    let mut questions = Pipeline::new();
    for index in indexes {
        let question = format!("MATCH {} WHERE x.`{}` > '' RETURN 1 LIMIT 1", index.on.pattern(), index.property);
        questions.add_command(read_query(graph, question.as_bytes()));
    }
    let answers = connection.pipeline("find indices on text", &questions, OVER_TEXT_TIMEOUT).await?;
    let mut found = Vec::new();
    for (index, answer) in indexes.iter().zip(answers) {
        if !reply::rows(answer.map_err(read_failed)?)?.is_empty() {
            found.push(*index);
        }
    }
    Ok(found)
}

/// Drops the unsafe indices that the profile or the source names, unless they are to be kept.
pub(super) async fn drop_unsafe(
    connection: &mut CacheConnection,
    graph: &str,
    ownership: &Ownership,
    wanted: Wanted<'_>,
    properties: &mut BTreeSet<IndexedProperty>,
    report: &mut IndexReport,
) -> Result<()> {
    if wanted.policy != Some(UnsafeIndexPolicy::Drop) {
        return Ok(());
    }
    for index in wanted.unsafe_ones().intersection(&properties.clone()) {
        let statement = format!("DROP INDEX FOR {} ON (x.`{}`)", index.on.declared(), index.property);
        let command = write_query(graph, statement.as_bytes());
        match fenced_command(connection, "drop an index", ownership, command, COMMAND_TIMEOUT).await {
            Ok(_) => report.dropped.push(index.to_string()),
            Err(error) if error.to_string().split(": ").any(classify::says_index_missing) => {}
            // A constraint needs it.
            Err(error) if error.kind() == ErrorKind::CacheRefused => {
                report.unsafe_ones.push(format!("{index} (a constraint needs it)"));
                continue;
            }
            Err(error) => return Err(error),
        }
        properties.remove(index);
    }
    Ok(())
}
