//! The indices of the cache: what the profile asks for, what is there, and what has to be made.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connection::{COMMAND_TIMEOUT, CacheConnection};
use super::graph::{read_failed, read_query, write_query};
use super::index_report::IndexReport;
use super::index_statement::statement;
use super::ownership::{Ownership, fenced, fenced_command};
use super::{classify, inspection, reply, safety};
use crate::error::{Error, ErrorKind, Result};
use crate::model::index::{IndexDefinition, IndexKind, IndexTarget, UnsafeIndexes};
use crate::model::name::{Label, PropertyName, RelationshipType};
use crate::model::profile::Profile;
use crate::sync::is_missing_graph;

/// One row for each indexed property: FalkorDB prints a list of properties as one text, in which a comma may be a name's.
const LIST: &[u8] = b"CALL db.indexes() YIELD label, entitytype, types, status UNWIND keys(types) AS property \
RETURN label, entitytype, property, types[property], status";

/// Indices that do not serve queries yet.
const UNFINISHED: &[u8] = b"CALL db.indexes() YIELD status WHERE status <> 'OPERATIONAL' RETURN count(status)";

/// So many indices are made one after the other.
const FEW: usize = 32;

/// More are made in pieces of so many: FalkorDB makes 8,000 in a second.
const MADE_TOGETHER: usize = 200;

/// An index that is being built is looked at after this long, then after twice as long, and so on up to [`LAST_POLL`]: an empty
/// one is there at once, and a full sync waits for all of them.
const FIRST_POLL: Duration = Duration::from_millis(1);
const LAST_POLL: Duration = Duration::from_millis(20);

/// One property's index, as the cache has it or the profile wants it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct IndexedProperty {
    pub(super) on: Target,
    pub(super) property: String,
    pub(super) kind: IndexKind,
}

/// A label or type of the cache, which somebody else may have named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Label(String),
    Type(String),
}

impl Target {
    /// From FalkorDB's words for it.
    pub(super) fn read(entity: &str, name: String) -> Self {
        if entity == "NODE" { Target::Label(name) } else { Target::Type(name) }
    }

    /// A pattern of its elements as `x`. No name of FalkorDB holds a backtick.
    pub(super) fn pattern(&self) -> String {
        match self {
            Target::Label(label) => format!("(x:`{label}`)"),
            Target::Type(name) => format!("()-[x:`{name}`]->()"),
        }
    }

    /// As an index on it is declared, with `x` for its elements.
    pub(super) fn declared(&self) -> String {
        match self {
            Target::Label(label) => format!("(x:`{label}`)"),
            Target::Type(name) => format!("()-[x:`{name}`]-()"),
        }
    }

    /// The same as the profile has it, if the profile can name it.
    fn named(&self) -> Option<IndexTarget> {
        match self {
            Target::Label(label) => Label::parse(label).ok().map(IndexTarget::Label),
            Target::Type(name) => RelationshipType::parse(name).ok().map(IndexTarget::Type),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Label(label) => write!(f, "(:{label})"),
            Target::Type(name) => write!(f, "[:{name}]"),
        }
    }
}

impl std::fmt::Display for IndexedProperty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            IndexKind::Range => "range",
            IndexKind::Fulltext => "full text",
            IndexKind::Vector => "vector",
        };
        write!(f, "{kind} {}.{}", self.on, self.property)
    }
}

/// The indices as they are.
pub(super) struct Existing {
    pub(super) properties: BTreeSet<IndexedProperty>,
    /// Whether all of them serve queries.
    operational: bool,
}

/// The indices that a graph is to have.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The profile's: without one of them the cache is of no use.
    pub(super) own: &'a [IndexDefinition],
    /// The source's: as far as FalkorDB takes them.
    pub(super) mirrored: &'a [IndexDefinition],
    /// What they are of.
    pub(super) profile: &'a Profile,
    /// What is done about unsafe indices; absent where the server answers right by all of them.
    pub(super) policy: Option<UnsafeIndexes>,
}

impl<'a> Wanted<'a> {
    pub(super) fn definitions(&self) -> impl Iterator<Item = &'a IndexDefinition> + use<'a> {
        self.own.iter().chain(self.mirrored)
    }

    fn each(&self) -> impl Iterator<Item = (&'a IndexDefinition, &'a PropertyName)> + use<'a> {
        self.definitions().flat_map(|definition| definition.properties.iter().map(move |property| (definition, property)))
    }

    /// Indices of the definitions that are unsafe here.
    pub(super) fn unsafe_ones(&self) -> BTreeSet<IndexedProperty> {
        let is_unsafe = |(definition, property): &(&IndexDefinition, &PropertyName)| {
            self.policy.is_some() && safety::is_unsafe(self.profile, definition, property)
        };
        self.each().filter(is_unsafe).map(|(definition, property)| wanted(definition, property.as_str())).collect()
    }

    /// Whether an index that is there may be unsafe: it is over a property that is no key, and nobody knows that it holds no text.
    pub(super) fn may_be_unsafe(&self, index: &IndexedProperty) -> bool {
        let is_key = |on| safety::is_key(self.profile, &on, &index.property);
        let holds_no_text = |(definition, property): (&IndexDefinition, &PropertyName)| {
            !definition.text && wanted(definition, property.as_str()) == *index
        };
        self.policy.is_some()
            && index.kind == IndexKind::Range
            && !index.on.named().is_some_and(is_key)
            && !self.each().any(holds_no_text)
    }
}

/// Whether the profile itself names an index.
pub(super) fn is_named(profile: &Profile, index: &IndexedProperty) -> bool {
    let each =
        |definition: &IndexDefinition| definition.properties.iter().any(|name| wanted(definition, name.as_str()) == *index);
    profile.indexes.iter().any(each)
}

/// Makes what is missing and waits until all indices serve queries.
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
        properties.extend(missing.properties.iter().map(|name| self::wanted(&missing, name.as_str())));
        absent.push((definition, statement(&missing), is_mirrored));
    }
    let statements: Vec<String> = absent.iter().map(|(_, text, _)| text.clone()).collect();
    let made = make_all(connection, graph, ownership, &statements, within).await?;
    for ((definition, text, is_mirrored), made) in absent.into_iter().zip(made) {
        match made {
            Err(error) if is_mirrored && error.kind() == ErrorKind::CacheUnsupported => {
                tracing::warn!(statement = text, error = %error.chain(), "an index of the source is refused");
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

/// The part of a definition that is not there. FalkorDB stops at the first property that is indexed already, without a
/// word about the rest, so only the missing ones are named.
fn missing(definition: &IndexDefinition, existing: &BTreeSet<IndexedProperty>) -> Option<IndexDefinition> {
    let mut rest = definition.clone();
    rest.properties.retain(|name| !existing.contains(&wanted(definition, name.as_str())));
    if rest.properties.is_empty() {
        return None;
    }
    let on = target(&definition.on);
    // Stop words and language are a label's, not an index', and cannot be set twice.
    let has_words = rest.stopwords.is_some() || rest.language.is_some();
    if has_words && existing.iter().any(|index| index.on == on && index.kind == IndexKind::Fulltext) {
        rest.stopwords = None;
        rest.language = None;
    }
    Some(rest)
}

fn wanted(definition: &IndexDefinition, property: &str) -> IndexedProperty {
    IndexedProperty { on: target(&definition.on), property: property.to_owned(), kind: definition.kind }
}

fn target(on: &IndexTarget) -> Target {
    match on {
        IndexTarget::Label(label) => Target::Label(Label::as_str(label).to_owned()),
        IndexTarget::Type(name) => Target::Type(RelationshipType::as_str(name).to_owned()),
    }
}

/// The indices that no definition names.
pub(super) fn foreign<'a>(
    existing: &BTreeSet<IndexedProperty>,
    definitions: impl Iterator<Item = &'a IndexDefinition>,
) -> Vec<String> {
    let ours: BTreeSet<IndexedProperty> =
        definitions.flat_map(|definition| definition.properties.iter().map(|name| wanted(definition, name.as_str()))).collect();
    existing.difference(&ours).map(ToString::to_string).collect()
}

/// Makes an index and waits until it serves queries. Whatever writes the graph while FalkorDB builds an index waits for the
/// graph's lock, and bulk loads and the making of another index do so where all other clients of the server wait with them (half
/// a second for 40,000 relationships, 4.16.3).
pub(super) async fn make(
    connection: &mut CacheConnection,
    graph: &str,
    ownership: &Ownership,
    statement: &str,
    within: Duration,
) -> Result<()> {
    let command = write_query(graph, statement.as_bytes());
    let answer = fenced_command(connection, "make an index", ownership, command, COMMAND_TIMEOUT).await;
    let is_new = answer.is_ok();
    made(statement, answer)?;
    if is_new { wait_operational(connection, graph, within).await } else { Ok(()) }
}

/// Makes indices and waits until they serve queries; what became of each. A few are made one after the other, for the reason that
/// [`make`] tells. Thousands are on labels and types that have few elements each: they are there at once, and the questions
/// whether they are would take most of the time.
pub(super) async fn make_all(
    connection: &mut CacheConnection,
    graph: &str,
    ownership: &Ownership,
    statements: &[String],
    within: Duration,
) -> Result<Vec<Result<()>>> {
    let mut all = Vec::with_capacity(statements.len());
    if statements.len() <= FEW {
        for statement in statements {
            match make(connection, graph, ownership, statement, within).await {
                Err(error) if error.kind() != ErrorKind::CacheUnsupported => return Err(error),
                made => all.push(made),
            }
        }
        return Ok(all);
    }
    for statements in statements.chunks(MADE_TOGETHER) {
        let commands: Vec<redis::Cmd> = statements.iter().map(|statement| write_query(graph, statement.as_bytes())).collect();
        let answers = fenced(connection, "make indices", ownership, &commands, within).await?;
        for (statement, answer) in statements.iter().zip(answers) {
            match made(statement, answer) {
                Err(error) if error.kind() != ErrorKind::CacheUnsupported => return Err(error),
                made => all.push(made),
            }
        }
        wait_operational(connection, graph, within).await?;
    }
    Ok(all)
}

/// What became of an index by what FalkorDB answered.
fn made(statement: &str, answer: Result<redis::Value>) -> Result<()> {
    match answer {
        Ok(_) => Ok(()),
        // graphiti's own driver makes the same ones at the same time.
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

pub(super) async fn existing(connection: &mut CacheConnection, graph: &str) -> Result<Existing> {
    let answer = connection.command("list the indices", &read_query(graph, LIST), COMMAND_TIMEOUT).await;
    let nothing = || Existing { properties: BTreeSet::new(), operational: true };
    match answer {
        Ok(reply) => parse(reply),
        Err(error) if is_missing_graph(&error) => Ok(nothing()),
        Err(error) => Err(read_failed(error)),
    }
}

fn parse(answer: redis::Value) -> Result<Existing> {
    let mut existing = Existing { properties: BTreeSet::new(), operational: true };
    for row in reply::rows(answer)? {
        let column = |index| reply::text(reply::cell(&row, index)?);
        let (name, entity, property, kinds, status) = (column(0)?, column(1)?, column(2)?, column(3)?, column(4)?);
        let on = Target::read(&entity, name);
        existing.operational &= status == "OPERATIONAL";
        for kind in parse_kinds(&kinds) {
            existing.properties.insert(IndexedProperty { on: on.clone(), property: property.clone(), kind });
        }
    }
    Ok(existing)
}

/// From FalkorDB's text of a list of them.
pub(super) fn parse_kinds(words: &str) -> impl Iterator<Item = IndexKind> {
    words.trim_matches(['[', ']']).split(", ").filter_map(parse_kind)
}

fn parse_kind(word: &str) -> Option<IndexKind> {
    match word {
        "RANGE" => Some(IndexKind::Range),
        "FULLTEXT" => Some(IndexKind::Fulltext),
        "VECTOR" => Some(IndexKind::Vector),
        _ => None,
    }
}

/// Whether all indices serve queries.
async fn is_operational(connection: &mut CacheConnection, graph: &str) -> Result<bool> {
    match connection.command("look at the indices", &read_query(graph, UNFINISHED), COMMAND_TIMEOUT).await {
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
            let message = format!("the indices of {graph} are not built after {} s", within.as_secs());
            return Err(Error::new(ErrorKind::CacheTimeout, message));
        }
        sleep(pause).await;
        pause = LAST_POLL.min(pause * 2);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::profile::Profile;

    fn has(label: &str, property: &str, kind: IndexKind) -> IndexedProperty {
        IndexedProperty { on: Target::Label(label.to_owned()), property: property.to_owned(), kind }
    }

    #[test]
    fn only_what_is_missing_is_made() {
        let profile = Profile::graphiti().unwrap();
        let existing = BTreeSet::from([has("Entity", "uuid", IndexKind::Range), has("Entity", "name", IndexKind::Fulltext)]);
        let range = missing(&profile.indexes[0], &existing).unwrap();
        assert_eq!(statement(&range), "CREATE INDEX FOR (n:Entity) ON (n.group_id, n.name, n.created_at)");
        let fulltext = missing(&profile.indexes[10], &existing).unwrap();
        assert_eq!(statement(&fulltext), "CREATE FULLTEXT INDEX FOR (n:Entity) ON (n.summary, n.group_id)");
        assert_eq!(missing(&profile.indexes[2], &BTreeSet::from([has("Community", "uuid", IndexKind::Range)])), None);
    }

    #[test]
    fn an_index_of_somebody_else_is_named() {
        let profile = Profile::graphiti().unwrap();
        let existing =
            BTreeSet::from([has("Entity", "uuid", IndexKind::Range), has("Entity", "name_embedding", IndexKind::Vector)]);
        assert_eq!(foreign(&existing, profile.indexes.iter()), vec!["vector (:Entity).name_embedding"]);
    }
}
