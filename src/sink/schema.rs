//! The indices of the cache: what the profile asks for, what is there, and what has to be made.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connection::{COMMAND_TIMEOUT, Connection};
use super::graph::{read_failed, read_query, write_query};
use super::parameters::push_string;
use super::reply;
use crate::error::{Error, ErrorKind, Result};
use crate::model::name::{Label, RelationshipType};
use crate::model::profile::{IndexDefinition, IndexKind, IndexTarget};

/// One row for each indexed property: FalkorDB prints a list of properties as one text, in which a comma may be a name's.
const LIST: &[u8] = b"CALL db.indexes() YIELD label, entitytype, types, status UNWIND keys(types) AS property \
RETURN label, entitytype, property, types[property], status";

/// How often an index that is being built is looked at.
const POLL: Duration = Duration::from_millis(100);

/// One property's index, as the cache has it or the profile wants it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct IndexedProperty {
    on: Target,
    property: String,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Label(String),
    Type(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Range,
    Fulltext,
    Vector,
}

impl std::fmt::Display for IndexedProperty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            Kind::Range => "range",
            Kind::Fulltext => "full text",
            Kind::Vector => "vector",
        };
        match &self.on {
            Target::Label(label) => write!(f, "{kind} (:{label}).{}", self.property),
            Target::Type(name) => write!(f, "{kind} [:{name}].{}", self.property),
        }
    }
}

/// What became of the profile's indices.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct IndexReport {
    /// Statements that were run.
    pub made: Vec<String>,
    /// Indices that the profile does not name; they are left alone.
    pub foreign: Vec<String>,
    /// Whether there was not a single one: the graph is new, or is not the one that was prepared before.
    pub from_nothing: bool,
}

/// The indices as they are.
struct Existing {
    properties: BTreeSet<IndexedProperty>,
    /// Whether all of them serve queries.
    operational: bool,
}

/// The statement for an index definition, as graphiti's own driver writes it.
pub fn statement(definition: &IndexDefinition) -> String {
    let word = match definition.kind {
        IndexKind::Range => "INDEX",
        IndexKind::Fulltext => "FULLTEXT INDEX",
    };
    let (on, variable) = match &definition.on {
        IndexTarget::Label(label) => (format!("(n:{})", plain_or_quoted(label.as_str())), 'n'),
        IndexTarget::Type(name) => (format!("()-[e:{}]-()", plain_or_quoted(name.as_str())), 'e'),
    };
    let properties: Vec<String> =
        definition.properties.iter().map(|name| format!("{variable}.{}", plain_or_quoted(name.as_str()))).collect();
    let options = definition.stopwords.as_deref().map(options).unwrap_or_default();
    format!("CREATE {word} FOR {on} ON ({}){options}", properties.join(", "))
}

fn options(stopwords: &[String]) -> String {
    let words: Vec<String> = stopwords
        .iter()
        .map(|word| {
            let mut text = Vec::new();
            push_string(&mut text, word);
            String::from_utf8_lossy(&text).into_owned()
        })
        .collect();
    format!(" OPTIONS {{stopwords: [{}]}}", words.join(", "))
}

fn plain_or_quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain { name.to_owned() } else { format!("`{name}`") }
}

/// Makes what is missing and waits until all indices serve queries.
pub(super) async fn ensure(
    connection: &mut Connection,
    graph: &str,
    definitions: &[IndexDefinition],
    within: Duration,
) -> Result<IndexReport> {
    let existing = existing(connection, graph).await?;
    let mut report = IndexReport {
        foreign: foreign(&existing.properties, definitions),
        from_nothing: existing.properties.is_empty() && !definitions.is_empty(),
        ..IndexReport::default()
    };
    for definition in definitions {
        let Some(missing) = missing(definition, &existing.properties) else { continue };
        let statement = statement(&missing);
        create(connection, graph, &statement).await?;
        report.made.push(statement);
    }
    wait_operational(connection, graph, within).await?;
    Ok(report)
}

/// The part of a definition that is not there. FalkorDB stops at the first property that is indexed already, without a
/// word about the rest, so only the missing ones are named.
fn missing(definition: &IndexDefinition, existing: &BTreeSet<IndexedProperty>) -> Option<IndexDefinition> {
    let mut rest = definition.clone();
    rest.properties.retain(|name| !existing.contains(&wanted(definition, name.as_str())));
    let on = target(&definition.on);
    // Stop words are a label's, not an index', and cannot be set twice.
    if existing.iter().any(|index| index.on == on && index.kind == Kind::Fulltext) {
        rest.stopwords = None;
    }
    (!rest.properties.is_empty()).then_some(rest)
}

fn wanted(definition: &IndexDefinition, property: &str) -> IndexedProperty {
    let kind = match definition.kind {
        IndexKind::Range => Kind::Range,
        IndexKind::Fulltext => Kind::Fulltext,
    };
    IndexedProperty { on: target(&definition.on), property: property.to_owned(), kind }
}

fn target(on: &IndexTarget) -> Target {
    match on {
        IndexTarget::Label(label) => Target::Label(Label::as_str(label).to_owned()),
        IndexTarget::Type(name) => Target::Type(RelationshipType::as_str(name).to_owned()),
    }
}

fn foreign(existing: &BTreeSet<IndexedProperty>, definitions: &[IndexDefinition]) -> Vec<String> {
    let ours: BTreeSet<IndexedProperty> = definitions
        .iter()
        .flat_map(|definition| definition.properties.iter().map(|name| wanted(definition, name.as_str())))
        .collect();
    existing.difference(&ours).map(ToString::to_string).collect()
}

async fn create(connection: &mut Connection, graph: &str, statement: &str) -> Result<()> {
    let command = write_query(graph, statement.as_bytes());
    match connection.command("make an index", &command, COMMAND_TIMEOUT).await {
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
    let text = error.to_string();
    text.contains("already indexed") || text.contains("Can not override index configuration")
}

async fn existing(connection: &mut Connection, graph: &str) -> Result<Existing> {
    let answer = connection.command("list the indices", &read_query(graph, LIST), COMMAND_TIMEOUT).await;
    let nothing = || Existing { properties: BTreeSet::new(), operational: true };
    match answer {
        Ok(reply) => parse(reply),
        Err(error) if super::graph::is_missing(&error) => Ok(nothing()),
        Err(error) => Err(read_failed(error)),
    }
}

fn parse(answer: redis::Value) -> Result<Existing> {
    let mut existing = Existing { properties: BTreeSet::new(), operational: true };
    for row in reply::rows(answer)? {
        let column = |index| reply::text(reply::cell(&row, index)?);
        let (name, entity, property, kinds, status) = (column(0)?, column(1)?, column(2)?, column(3)?, column(4)?);
        let on = if entity == "NODE" { Target::Label(name) } else { Target::Type(name) };
        existing.operational &= status == "OPERATIONAL";
        for kind in kinds.trim_matches(['[', ']']).split(", ").filter_map(parse_kind) {
            existing.properties.insert(IndexedProperty { on: on.clone(), property: property.clone(), kind });
        }
    }
    Ok(existing)
}

fn parse_kind(word: &str) -> Option<Kind> {
    match word {
        "RANGE" => Some(Kind::Range),
        "FULLTEXT" => Some(Kind::Fulltext),
        "VECTOR" => Some(Kind::Vector),
        _ => None,
    }
}

async fn wait_operational(connection: &mut Connection, graph: &str, within: Duration) -> Result<()> {
    let deadline = Instant::now() + within;
    while !existing(connection, graph).await?.operational {
        if Instant::now() >= deadline {
            let message = format!("the indices of {graph} are not built after {} s", within.as_secs());
            return Err(Error::new(ErrorKind::CacheTimeout, message));
        }
        sleep(POLL).await;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::profile::Profile;

    const STOPWORDS: &str = "['a', 'is', 'the', 'an', 'and', 'are', 'as', 'at', 'be', 'but', 'by', 'for', 'if', 'in', 'into', 'it', \
        'no', 'not', 'of', 'on', 'or', 'such', 'that', 'their', 'then', 'there', 'these', 'they', 'this', 'to', 'was', 'will', 'with']";

    #[test]
    fn the_built_in_profile_gives_graphitis_own_statements() {
        let profile = Profile::graphiti().unwrap();
        let statements: Vec<String> = profile.indexes.iter().map(statement).collect();
        let wanted = [
            "CREATE INDEX FOR (n:Entity) ON (n.uuid, n.group_id, n.name, n.created_at)",
            "CREATE INDEX FOR (n:Episodic) ON (n.uuid, n.group_id, n.created_at, n.valid_at)",
            "CREATE INDEX FOR (n:Community) ON (n.uuid)",
            "CREATE INDEX FOR (n:Saga) ON (n.uuid, n.group_id, n.name)",
            "CREATE INDEX FOR ()-[e:RELATES_TO]-() ON (e.uuid, e.group_id, e.name, e.created_at, e.expired_at, e.valid_at, e.invalid_at)",
            "CREATE INDEX FOR ()-[e:MENTIONS]-() ON (e.uuid, e.group_id)",
            "CREATE INDEX FOR ()-[e:HAS_MEMBER]-() ON (e.uuid)",
            "CREATE INDEX FOR ()-[e:HAS_EPISODE]-() ON (e.uuid, e.group_id)",
            "CREATE INDEX FOR ()-[e:NEXT_EPISODE]-() ON (e.uuid, e.group_id)",
            &format!(
                "CREATE FULLTEXT INDEX FOR (n:Episodic) ON (n.content, n.source, n.source_description, n.group_id) OPTIONS {{stopwords: {STOPWORDS}}}"
            ),
            &format!(
                "CREATE FULLTEXT INDEX FOR (n:Entity) ON (n.name, n.summary, n.group_id) OPTIONS {{stopwords: {STOPWORDS}}}"
            ),
            &format!("CREATE FULLTEXT INDEX FOR (n:Community) ON (n.name, n.group_id) OPTIONS {{stopwords: {STOPWORDS}}}"),
            "CREATE FULLTEXT INDEX FOR ()-[e:RELATES_TO]-() ON (e.name, e.fact, e.group_id)",
        ];
        assert_eq!(statements, wanted);
    }

    fn has(label: &str, property: &str, kind: Kind) -> IndexedProperty {
        IndexedProperty { on: Target::Label(label.to_owned()), property: property.to_owned(), kind }
    }

    #[test]
    fn only_what_is_missing_is_made() {
        let profile = Profile::graphiti().unwrap();
        let existing = BTreeSet::from([has("Entity", "uuid", Kind::Range), has("Entity", "name", Kind::Fulltext)]);
        let range = missing(&profile.indexes[0], &existing).unwrap();
        assert_eq!(statement(&range), "CREATE INDEX FOR (n:Entity) ON (n.group_id, n.name, n.created_at)");
        let fulltext = missing(&profile.indexes[10], &existing).unwrap();
        assert_eq!(statement(&fulltext), "CREATE FULLTEXT INDEX FOR (n:Entity) ON (n.summary, n.group_id)");
        assert_eq!(missing(&profile.indexes[2], &BTreeSet::from([has("Community", "uuid", Kind::Range)])), None);
    }

    #[test]
    fn an_index_of_somebody_else_is_named() {
        let profile = Profile::graphiti().unwrap();
        let existing = BTreeSet::from([has("Entity", "uuid", Kind::Range), has("Entity", "name_embedding", Kind::Vector)]);
        assert_eq!(foreign(&existing, &profile.indexes), vec!["vector (:Entity).name_embedding"]);
    }
}
