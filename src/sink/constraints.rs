//! Constraints of the cache. All are foreign: this service makes none.

use std::time::Duration;

use redis::{Cmd, cmd};
use tokio::time::{Instant, sleep};

use super::connection::{COMMAND_TIMEOUT, CacheConnection};
use super::fence::{Ownership, fenced_command};
use super::graph::{read_failed, read_query};
use super::index_inventory::{self, Target};
use super::reply;
use crate::error::{Error, ErrorKind, Result};
use crate::model::index::IndexKind;
use crate::sync::is_missing_graph;

const LIST: &[u8] = b"CALL db.constraints() YIELD type, label, properties, entitytype, status \
RETURN type, label, entitytype, properties, status";

/// The time limit for a look at all values of a property.
const VALUES_TIMEOUT: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(20);

/// The longest text, in characters, that a unique constraint surely supports: FalkorDB looks it up by at most 4,096 bytes.
const LONGEST_TEXT: usize = 1_024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Constraint {
    pub(super) on: Target,
    /// FalkorDB's word: `UNIQUE` or `MANDATORY`.
    sort: String,
    /// FalkorDB allows only letters, digits, `_` and `$` in their names.
    pub(super) properties: Vec<String>,
    /// FalkorDB's word: `OPERATIONAL`, `UNDER CONSTRUCTION` or `FAILED`.
    status: String,
}

impl std::fmt::Display for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}.{}", self.sort.to_lowercase(), self.on, self.properties.join(", "))
    }
}

impl Constraint {
    pub(super) fn is_unique(&self) -> bool {
        self.sort == "UNIQUE"
    }

    /// Whether both constraints demand the same of the same properties, in whatever state they are.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.on, &self.sort, &self.properties) == (&other.on, &other.sort, &other.properties)
    }

    fn command(&self, word: &str, graph: &str) -> Cmd {
        let (entity, name) = match &self.on {
            Target::Label(label) => ("NODE", label),
            Target::Type(name) => ("RELATIONSHIP", name),
        };
        let mut command = cmd("GRAPH.CONSTRAINT");
        command.arg(word).arg(graph).arg(&self.sort).arg(entity).arg(name);
        command.arg("PROPERTIES").arg(self.properties.len()).arg(&self.properties);
        command
    }
}

/// The constraints of a graph; a missing graph has none.
pub(super) async fn read(connection: &mut CacheConnection, graph: &str) -> Result<Vec<Constraint>> {
    let answer = match connection.command("list the constraints", &read_query(graph, LIST), COMMAND_TIMEOUT).await {
        Err(error) if is_missing_graph(&error) => return Ok(Vec::new()),
        answer => answer.map_err(read_failed)?,
    };
    let constraint = |row: &Vec<redis::Value>| {
        let column = |index| reply::text(reply::cell(row, index)?);
        let properties = column(3)?.trim_matches(['[', ']']).split(", ").map(str::to_owned).collect();
        Ok::<_, Error>(Constraint { on: Target::read(&column(2)?, column(1)?), sort: column(0)?, properties, status: column(4)? })
    };
    reply::rows(answer)?.iter().map(constraint).collect()
}

/// The reason why a unique constraint must not be made on a property.
const FATAL: &str = "has values with which a unique constraint crashes the server: empty, blank at an end, long \
                     or NaN, or 0 or false beside a full-text index";

/// Returns why a constraint must not be made on a graph, if there is a reason. A unique constraint crashes the server at a value
/// that its index cannot tell apart: an empty text, a text with blanks at its ends or with U+0001, a very long text, NaN; and at
/// 0 or false if a full-text index of the label names a language, because a range index does not find them there (4.16.3).
pub(super) async fn obstacle(connection: &mut CacheConnection, graph: &str, constraint: &Constraint) -> Result<Option<String>> {
    if !constraint.is_unique() {
        return Ok(None);
    }
    let existing = index_inventory::existing(connection, graph).await?.properties;
    let has_fulltext = existing.iter().any(|index| index.on == constraint.on && index.kind == IndexKind::Fulltext);
    for property in &constraint.properties {
        for question in fatal_values(&constraint.on, property, has_fulltext) {
            let answer = connection
                .command("check the values of the constraint", &read_query(graph, question.as_bytes()), VALUES_TIMEOUT)
                .await;
            if reply::single_count(answer.map_err(read_failed)?)? > 0 {
                return Ok(Some(format!("{property} {FATAL}")));
            }
        }
    }
    Ok(None)
}

/// Questions that count such values. No index serves a condition after `WITH`, so no index can serve it wrongly.
fn fatal_values(on: &Target, property: &str, has_fulltext: bool) -> Vec<String> {
    let of_type =
        |name: &str| format!("MATCH {} WHERE typeOf(x.`{property}`) = '{name}' WITH x.`{property}` AS v WHERE", on.pattern());
    let blank = |side: &str| format!("{side}(v, 1) IN [' ', '\\t', '\\n', '\\r', '\\v', '\\f']");
    let texts = format!(
        "{} size(v) = 0 OR size(v) > {LONGEST_TEXT} OR {} OR {} OR v CONTAINS '\u{1}' RETURN count(v)",
        of_type("String"),
        blank("left"),
        blank("right")
    );
    let mut questions = vec![texts, format!("{} v <> v RETURN count(v)", of_type("Float"))];
    if has_fulltext {
        let zeros = [("Integer", "v = 0"), ("Float", "v = 0"), ("Boolean", "NOT v")];
        questions.extend(zeros.map(|(name, condition)| format!("{} {condition} RETURN count(v)", of_type(name))));
    }
    questions
}

/// Makes a constraint and waits until it holds. Returns the reason if the graph or the user prevents it.
pub(super) async fn make(
    connection: &mut CacheConnection,
    graph: &str,
    ownership: &Ownership,
    constraint: &Constraint,
    within: Duration,
) -> Result<Option<String>> {
    if let Some(reason) = obstacle(connection, graph, constraint).await? {
        return Ok(Some(reason));
    }
    let create = constraint.command("CREATE", graph);
    match fenced_command(connection, "create a constraint", ownership, create, COMMAND_TIMEOUT).await {
        Err(error) if matches!(error.kind(), ErrorKind::CachePermission | ErrorKind::CacheRefused) => {
            return Ok(Some(error.chain()));
        }
        made => drop(made?),
    }
    let deadline = Instant::now() + within;
    loop {
        let now = read(connection, graph).await?.into_iter().find(|now| now.is_same(constraint));
        match now.map(|now| now.status).as_deref() {
            Some("OPERATIONAL") => return Ok(None),
            Some("FAILED") | None => {
                let drop = constraint.command("DROP", graph);
                fenced_command(connection, "drop a constraint", ownership, drop, COMMAND_TIMEOUT).await?;
                return Ok(Some("data of the source violates it".to_owned()));
            }
            Some(_) if Instant::now() >= deadline => {
                let message =
                    format!("FalkorDB did not build the constraint {constraint} of {graph} within {} s", within.as_secs());
                return Err(Error::new(ErrorKind::CacheTimeout, message));
            }
            Some(_) => sleep(POLL).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constraint_is_named_and_made_by_its_parts() {
        let constraint = Constraint {
            on: Target::Type("KNOWS".to_owned()),
            sort: "UNIQUE".to_owned(),
            properties: vec!["a".to_owned(), "b".to_owned()],
            status: "OPERATIONAL".to_owned(),
        };
        assert_eq!(constraint.to_string(), "unique [:KNOWS].a, b");
        let command = constraint.command("CREATE", "g").get_packed_command();
        let text = String::from_utf8_lossy(&command).replace("\r\n", " ");
        let words: Vec<&str> = text.split(' ').filter(|word| !word.starts_with(['$', '*']) && !word.is_empty()).collect();
        let wanted = ["GRAPH.CONSTRAINT", "CREATE", "g", "UNIQUE", "RELATIONSHIP", "KNOWS", "PROPERTIES", "2", "a", "b"];
        assert_eq!(words, wanted);
    }
}
