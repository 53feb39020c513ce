//! Makes the foreign indices and constraints of one graph on another one as well: a full sync must not lose them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use redis::Value;

use super::connection::{COMMAND_TIMEOUT, CacheConnection};
use super::constraints::{self, Constraint};
use super::fence::Ownership;
use super::graph::{read_failed, read_query};
use super::index_inventory::{self, IndexedProperty, Target};
use super::parameters::push_string;
use super::reply;
use super::schema::{self, INDEX_DEADLINE};
use crate::error::{ErrorKind, Result};
use crate::model::index::{IndexKind, UnsafeIndexPolicy};
use crate::model::profile::Profile;
use crate::sync::is_missing_graph;

/// One row for each indexed property, with the options of vectors. Weight, stemming and phonetic matching of full text are only
/// in the column `info`, and asking for this column has crashed the server (4.16.3, `RediSearch_IndexInfo`).
const LIST: &[u8] = b"CALL db.indexes() YIELD label, entitytype, types, language, options UNWIND keys(types) AS property \
WITH label, entitytype, types[property] AS kinds, language, property, options[property] AS o \
RETURN label, entitytype, property, kinds, language, o['dimension'], o['similarityFunction'], o['M'], o['efConstruction'], \
o['efRuntime']";

const STOPWORDS: &[u8] =
    b"CALL db.indexes() YIELD label, entitytype, stopwords UNWIND stopwords AS word RETURN label, entitytype, word";

const DEFAULT_LANGUAGE: &str = "english";

/// The time limit for building an index.
const DEADLINE: Duration = INDEX_DEADLINE;

/// Makes on a stage what only the live graph has. Indices that the profile names and the stage lacks were left out on purpose.
pub(super) async fn carry_over(
    connection: &mut CacheConnection,
    live: &str,
    stage: &str,
    ownership: &Ownership,
    profile: &Profile,
) -> Result<Vec<String>> {
    let schema_objects = SchemaObjects::of(connection, live).await?;
    if schema_objects.is_empty() {
        return Ok(Vec::new());
    }
    schema_objects.make_on(connection, stage, ownership, |index| index_inventory::is_named(profile, index), DEADLINE).await
}

/// An index and the options that it was made with.
#[derive(Debug, Clone)]
struct Made {
    index: IndexedProperty,
    language: String,
    /// The options of a vector index, as written in a statement.
    options: Vec<String>,
}

/// The indices and constraints of a graph, as far as the server reports them.
#[derive(Debug, Clone, Default)]
pub(super) struct SchemaObjects {
    indexes: Vec<Made>,
    stopwords: BTreeMap<Target, Vec<String>>,
    constraints: Vec<Constraint>,
}

impl SchemaObjects {
    /// Reads the indices and constraints of a graph; a missing graph has none.
    pub(super) async fn of(connection: &mut CacheConnection, graph: &str) -> Result<Self> {
        let mut schema_objects = Self::default();
        let answer = match connection.command("list the indices", &read_query(graph, LIST), COMMAND_TIMEOUT).await {
            Err(error) if is_missing_graph(&error) => return Ok(schema_objects),
            answer => answer.map_err(read_failed)?,
        };
        for row in reply::rows(answer)? {
            schema_objects.indexes.extend(made(&row)?);
        }
        let words = connection.command("list the stop words", &read_query(graph, STOPWORDS), COMMAND_TIMEOUT).await;
        for row in reply::rows(words.map_err(read_failed)?)? {
            let column = |index| reply::text(reply::cell(&row, index)?);
            schema_objects.stopwords.entry(Target::read(&column(1)?, column(0)?)).or_default().push(column(2)?);
        }
        schema_objects.constraints = constraints::read(connection, graph).await?;
        Ok(schema_objects)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.indexes.is_empty() && self.constraints.is_empty()
    }

    /// Makes all of them again on a graph that was cleared and refilled, except unsafe ones. Returns what the graph goes without,
    /// and why.
    pub(super) async fn make_again(
        &self,
        connection: &mut CacheConnection,
        graph: &str,
        ownership: &Ownership,
        profile: &Profile,
        policy: Option<UnsafeIndexPolicy>,
    ) -> Result<Vec<String>> {
        let left_out =
            |index: &IndexedProperty| policy == Some(UnsafeIndexPolicy::Drop) && index_inventory::is_named(profile, index);
        self.make_on(connection, graph, ownership, left_out, DEADLINE).await
    }

    /// Makes what a graph lacks and waits until it is usable; `left_out` lists the indices that the graph lacks on purpose.
    /// Returns what the graph goes without, and why.
    async fn make_on(
        &self,
        connection: &mut CacheConnection,
        graph: &str,
        ownership: &Ownership,
        left_out: impl Fn(&IndexedProperty) -> bool,
        within: Duration,
    ) -> Result<Vec<String>> {
        let there = constraints::read(connection, graph).await?;
        let constraints: Vec<&Constraint> =
            self.constraints.iter().filter(|constraint| !there.iter().any(|known| known.is_same(constraint))).collect();
        let stands_on = |index: &IndexedProperty| constraints.iter().any(|constraint| supports(index, constraint));
        let mut existing = index_inventory::existing(connection, graph).await?.properties;
        let mut lost = Vec::new();
        for made in &self.indexes {
            if existing.contains(&made.index) || left_out(&made.index) && !stands_on(&made.index) {
                continue;
            }
            let statement = self.statement(made, &existing);
            match schema::make(connection, graph, ownership, &statement, within).await {
                Err(error) if error.kind() == ErrorKind::CacheUnsupported => {
                    lost.push(format!("{}: {}", made.index, error.chain()));
                    continue;
                }
                outcome => outcome?,
            }
            if made.index.kind == IndexKind::Fulltext {
                lost.push(format!(
                    "{}: created again without its weight, stemming and phonetic options, if it has any",
                    made.index
                ));
            }
            existing.insert(made.index.clone());
        }
        for constraint in constraints {
            if let Some(reason) = constraints::make(connection, graph, ownership, constraint, within).await? {
                lost.push(format!("{constraint}: {reason}"));
            }
        }
        Ok(lost)
    }

    /// Language and stop words belong to a label, and can be set only once.
    fn statement(&self, made: &Made, existing: &BTreeSet<IndexedProperty>) -> String {
        let IndexedProperty { on, property, kind } = &made.index;
        let mut options = made.options.clone();
        let begun = existing.iter().any(|index| index.on == *on && index.kind == IndexKind::Fulltext);
        if *kind == IndexKind::Fulltext && !begun {
            options.extend((made.language != DEFAULT_LANGUAGE).then(|| format!("language: {}", quoted(&made.language))));
            let words = self.stopwords.get(on).map(|words| words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", "));
            options.extend(words.map(|words| format!("stopwords: [{words}]")));
        }
        let word = match kind {
            IndexKind::Range => "INDEX",
            IndexKind::Fulltext => "FULLTEXT INDEX",
            IndexKind::Vector => "VECTOR INDEX",
        };
        let options = if options.is_empty() { String::new() } else { format!(" OPTIONS {{{}}}", options.join(", ")) };
        format!("CREATE {word} FOR {} ON (x.`{property}`){options}", on.declared())
    }
}

fn supports(index: &IndexedProperty, constraint: &Constraint) -> bool {
    let IndexedProperty { on, property, kind } = index;
    *kind == IndexKind::Range && constraint.is_unique() && constraint.on == *on && constraint.properties.contains(property)
}

/// The indices on a property, which may have one of each kind.
fn made(row: &[Value]) -> Result<Vec<Made>> {
    let column = |index| reply::text(reply::cell(row, index)?);
    let shown = |index| Ok::<_, crate::error::Error>(optional(reply::cell(row, index)?));
    let on = Target::read(&column(1)?, column(0)?);
    let (property, language) = (column(2)?, column(4)?);
    let of_vector = [("dimension", 5), ("similarityFunction", 6), ("M", 7), ("efConstruction", 8), ("efRuntime", 9)];
    let mut vector = Vec::new();
    for (name, place) in of_vector {
        let Some(value) = shown(place)? else { continue };
        let value = if name == "similarityFunction" { quoted(&value) } else { value };
        vector.push(format!("{name}: {value}"));
    }
    let made = |kind| Made {
        index: IndexedProperty { on: on.clone(), property: property.clone(), kind },
        language: language.clone(),
        options: match kind {
            IndexKind::Vector => vector.clone(),
            IndexKind::Range | IndexKind::Fulltext => Vec::new(),
        },
    };
    Ok(index_inventory::parse_kinds(&column(3)?).map(made).collect())
}

/// A number or a text, as text.
fn optional(value: &Value) -> Option<String> {
    match value {
        Value::Int(number) => Some(number.to_string()),
        Value::Double(number) => Some(number.to_string()),
        other => reply::optional_text(other).ok().flatten(),
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = Vec::new();
    push_string(&mut quoted, text);
    String::from_utf8_lossy(&quoted).into_owned()
}
