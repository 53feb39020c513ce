//! The graph as a whole: whether it exists, what it holds, and how it is deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::{Cmd, Pipeline, Value, cmd};

use super::connection::{COMMAND_TIMEOUT, CacheConnection};
use super::{content, reply};
use crate::error::{Error, ErrorKind, Result};
use crate::model::name::{Label, RelationshipType};
use crate::model::profile::Profile;
use crate::sync::is_missing_graph;

/// The type that Redis reports for a graph's key.
pub(super) const GRAPH_TYPE: &str = "graphdata";

/// The time limit of a count. FalkorDB keeps a label's count; the nodes of each kind are counted by a scan.
const COUNT_TIMEOUT: Duration = Duration::from_secs(60);

/// The time limit for deleting a graph.
pub(super) const DELETE_TIMEOUT: Duration = Duration::from_secs(60);

/// Whether a graph exists under the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GraphState {
    /// No key has this name.
    Missing,
    /// A graph has this name.
    Present,
}

/// The content of a graph, counted at one moment (nobody else writes it).
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Counts {
    /// The number of nodes.
    pub nodes: u64,
    /// The number of relationships.
    pub relationships: u64,
    /// Nodes by the profile's kind: those that carry its label and no label of an earlier kind. One count for each kind, in
    /// order.
    pub kinds: Vec<u64>,
    /// Nodes by label, for every label of the graph and of the profile.
    pub labels: BTreeMap<String, u64>,
    /// Relationships by type, for every type of the graph and of the profile.
    pub(crate) types: BTreeMap<String, u64>,
}

impl Counts {
    /// A graph that holds nothing.
    pub(super) fn nothing(profile: &Profile) -> Self {
        Self { kinds: vec![0; profile.nodes.len()], ..Self::default() }
    }

    /// Adds the counts of another graph.
    pub(super) fn add(&mut self, part: Self) {
        self.nodes += part.nodes;
        self.relationships += part.relationships;
        self.kinds.iter_mut().zip(part.kinds).for_each(|(sum, part)| *sum += part);
        part.labels.into_iter().for_each(|(label, count)| *self.labels.entry(label).or_default() += count);
        part.types.into_iter().for_each(|(name, count)| *self.types.entry(name).or_default() += count);
    }

    /// Whether the graph is empty.
    pub fn is_empty(&self) -> bool {
        self.nodes == 0
    }
}

/// A query that cannot change anything: on a missing graph it fails, whereas GRAPH.QUERY would make an empty one.
pub(super) fn read_query(graph: &str, text: &[u8]) -> Cmd {
    let mut command = Cmd::with_capacity(3, text.len() + graph.len() + 32);
    command.arg("GRAPH.RO_QUERY").arg(graph).arg(text);
    command
}

/// A query that writes.
pub(super) fn write_query(graph: &str, text: &[u8]) -> Cmd {
    let mut command = Cmd::with_capacity(3, text.len() + graph.len() + 32);
    command.arg("GRAPH.QUERY").arg(graph).arg(text);
    command
}

/// Deletes an existing graph. Another thread frees the memory, as after UNLINK; but after UNLINK the server's list of graphs
/// lacks whatever takes the name in the meantime (7 of 10 times, 4.16.3).
pub(super) fn delete(graph: &str) -> Cmd {
    cmd("GRAPH.DELETE").arg(graph).to_owned()
}

/// Converts a read's error: only rows of a write can be refused, so a refused read is a defect.
pub(super) fn read_failed(error: Error) -> Error {
    match error.kind() {
        ErrorKind::CacheRefused => Error::caused(ErrorKind::CacheProtocol, "FalkorDB refuses a query", error),
        _ => error,
    }
}

/// Whether a graph exists under a name; a key of another type is an error.
pub(super) async fn state(connection: &mut CacheConnection, graph: &str) -> Result<GraphState> {
    let answer = connection.command("find the graph", cmd("TYPE").arg(graph), COMMAND_TIMEOUT).await?;
    state_of(graph, &answer)
}

/// As [`state`], from the answer to `TYPE`.
pub(super) fn state_of(graph: &str, answer: &Value) -> Result<GraphState> {
    match reply::text(answer)?.as_str() {
        "none" => Ok(GraphState::Missing),
        GRAPH_TYPE => Ok(GraphState::Present),
        other => {
            let message = format!("the key '{graph}' exists, but it is a {other} and not a graph");
            Err(Error::new(ErrorKind::CacheWrongType, message))
        }
    }
}

const COUNT_NODES: &[u8] = b"MATCH (n) RETURN count(n)";

/// The number of nodes of an existing graph.
pub(super) async fn node_count(connection: &mut CacheConnection, graph: &str) -> Result<u64> {
    let question = read_query(graph, COUNT_NODES);
    reply::single_count(connection.command("count the nodes of the graph", &question, COMMAND_TIMEOUT).await?)
}

/// The number of nodes of each graph. Absent if the graph is missing.
pub(super) async fn node_counts(connection: &mut CacheConnection, graphs: &[String]) -> Result<Vec<Option<u64>>> {
    let mut questions = Pipeline::new();
    for graph in graphs {
        questions.add_command(read_query(graph, COUNT_NODES));
    }
    let answers = connection.pipeline("count the nodes of the graphs", &questions, COMMAND_TIMEOUT).await?;
    let count = |answer| match answer {
        Ok(answer) => reply::single_count(answer).map(Some),
        Err(error) if is_missing_graph(&error) => Ok(None),
        Err(error) => Err(read_failed(error)),
    };
    answers.into_iter().map(count).collect()
}

/// Counts the content of a graph; a missing graph holds nothing.
pub(super) async fn counts(connection: &mut CacheConnection, graph: &str, profile: &Profile) -> Result<Counts> {
    let Some(names) = names(connection, graph, profile).await? else {
        return Ok(Counts::nothing(profile));
    };
    let mut questions = vec!["MATCH (n) RETURN count(n)".to_owned(), "MATCH ()-[e]->() RETURN count(e)".to_owned()];
    questions.extend(names.labels.iter().map(|label| format!("MATCH (n:{}) RETURN count(n)", label.quoted())));
    questions.extend(names.types.iter().map(|name| format!("MATCH ()-[e:{}]->() RETURN count(e)", name.quoted())));
    let mut answers = ask(connection, graph, &questions).await?.into_iter();
    let mut next = || answers.next().ok_or_else(|| reply::unexpected("a count for each question"));
    let (nodes, relationships) = (next()?, next()?);
    let mut counts = Counts { nodes, relationships, ..Counts::default() };
    for label in &names.labels {
        counts.labels.insert(label.to_string(), next()?);
    }
    for name in &names.types {
        counts.types.insert(name.to_string(), next()?);
    }
    counts.kinds = kinds(connection, graph, profile).await?;
    Ok(counts)
}

/// Labels and types that the graph or the profile knows.
struct KnownNames {
    labels: Vec<Label>,
    types: Vec<RelationshipType>,
}

/// Returns nothing if there is no graph.
async fn names(connection: &mut CacheConnection, graph: &str, profile: &Profile) -> Result<Option<KnownNames>> {
    let mut pipeline = Pipeline::new();
    pipeline.add_command(read_query(graph, b"CALL db.labels() YIELD label RETURN label"));
    pipeline.add_command(read_query(graph, b"CALL db.relationshipTypes() YIELD relationshipType RETURN relationshipType"));
    connection.wake().await;
    let mut answers = connection.pipeline("list labels and types", &pipeline, COUNT_TIMEOUT).await?.into_iter();
    let mut next = || answers.next().unwrap_or_else(|| Err(reply::unexpected("two lists")));
    let (labels, types) = match (next(), next()) {
        (Err(error), _) | (_, Err(error)) if is_missing_graph(&error) => return Ok(None),
        (labels, types) => (first_column(labels.map_err(read_failed)?)?, first_column(types.map_err(read_failed)?)?),
    };
    // A name that our own type refuses is empty or has a backtick: no query can name it, and we did not write it.
    let mut names = KnownNames {
        labels: labels.iter().filter_map(|name| Label::parse(name).ok()).collect(),
        types: types.iter().filter_map(|name| RelationshipType::parse(name).ok()).collect(),
    };
    names.labels.extend(profile.nodes.iter().map(|kind| kind.label.clone()));
    names.types.extend(profile.relationships.iter().map(|kind| kind.rel_type.clone()));
    names.labels.sort();
    names.labels.dedup();
    names.types.sort();
    names.types.dedup();
    Ok(Some(names))
}

/// The property names that a graph has or ever had; a missing graph has none.
pub(super) async fn property_names(connection: &mut CacheConnection, graph: &str) -> Result<Vec<String>> {
    let question = read_query(graph, b"CALL db.propertyKeys() YIELD propertyKey RETURN propertyKey");
    match connection.command("list the property names", &question, COUNT_TIMEOUT).await {
        Err(error) if is_missing_graph(&error) => Ok(Vec::new()),
        answer => first_column(answer.map_err(read_failed)?),
    }
}

fn first_column(answer: Value) -> Result<Vec<String>> {
    reply::rows(answer)?.iter().map(|row| reply::text(reply::cell(row, 0)?)).collect()
}

async fn ask(connection: &mut CacheConnection, graph: &str, questions: &[String]) -> Result<Vec<u64>> {
    let mut pipeline = Pipeline::new();
    for question in questions {
        pipeline.add_command(read_query(graph, question.as_bytes()));
    }
    connection.wake().await;
    let answers = connection.pipeline("count", &pipeline, COUNT_TIMEOUT).await?;
    answers.into_iter().map(|answer| reply::single_count(answer.map_err(read_failed)?)).collect()
}

/// Nodes by kind, by one scan: a node with the labels of several kinds belongs to the first of them.
async fn kinds(connection: &mut CacheConnection, graph: &str, profile: &Profile) -> Result<Vec<u64>> {
    let mut command =
        read_query(graph, b"MATCH (n) WITH labels(n) AS labels, count(n) AS number RETURN labels, toString(number)");
    command.arg("--compact");
    let answer = connection.command("count the nodes of each label", &command, COUNT_TIMEOUT).await.map_err(read_failed)?;
    let mut kinds = vec![0; profile.nodes.len()];
    for row in reply::rows(answer)? {
        let number = content::text(reply::cell(&row, 1)?)?.and_then(|text| text.parse::<u64>().ok());
        let number = number.ok_or_else(|| reply::unexpected("a count"))?;
        if let Some(kind) = profile.kind_of(&content::texts(reply::cell(&row, 0)?)?) {
            kinds[kind.0] += number;
        }
    }
    Ok(kinds)
}
