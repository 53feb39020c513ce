//! Finds range indices with which FalkorDB answers wrongly.
//!
//! Up to 4.22, a search through an index over text ignores `<` and `<=` if the values begin as the bound does, and finds no empty
//! text. Without the index the answers are right, only slower. So the service tests the server with its own graph: two nodes, one
//! index. If the server answers wrongly, every range index over text is *unsafe* except those on keys: elements are looked up by
//! them, and no key is empty.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use redis::{Cmd, Pipeline, cmd};
use tokio::time::{Instant, sleep};

use super::connection::{COMMAND_TIMEOUT, CacheConnection};
use super::fence::{keeps_changing, transaction, unwatch};
use super::graph::{self, read_failed, read_query, write_query};
use super::keys::GraphKeys;
use super::reply;
use crate::error::{Error, ErrorKind, Result};
use crate::model::graph_name::GraphName;
use crate::model::index::{IndexDefinition, IndexKind, IndexTarget, UnsafeIndexPolicy};
use crate::model::name::PropertyName;
use crate::model::profile::Profile;
use crate::sync::is_missing_graph;

/// The lifetime of our own graph if this process dies before it drops the graph.
const TRIAL_MILLISECONDS: u64 = 60_000;

/// The time limit for an index over two nodes: it takes milliseconds, unless the server builds a large index first.
const TRIAL_DEADLINE: Duration = Duration::from_secs(600);

const POLL: Duration = Duration::from_millis(2);

/// The action that an error names.
const DOING: &str = "test an index";

/// Two dates of one year, and an empty text beside another one.
const ELEMENTS: &str = "CREATE (:T {date: '2026-01-01', text: ''}), (:T {date: '2026-02-01', text: 'x'})";
const INDEX: &str = "CREATE INDEX FOR (n:T) ON (n.date, n.text)";
const STATUS: &str = "CALL db.indexes() YIELD status RETURN status";

/// Each question finds one node if the index answers correctly.
const QUESTIONS: [&str; 3] = [
    "MATCH (n:T) WHERE n.date < '2026-01-15' RETURN count(n)",
    "MATCH (n:T) WHERE n.date <= '2026-01-15' RETURN count(n)",
    "MATCH (n:T) WHERE n.text = '' RETURN count(n)",
];

/// The treatment of unsafe indices, and whether this server has any, once it was asked. Clones share the answer.
#[derive(Debug, Clone)]
pub struct UnsafeIndexCheck {
    /// The graph that the trial graph is named after.
    graph: GraphName,
    policy: UnsafeIndexPolicy,
    answers_wrongly: Arc<OnceLock<bool>>,
    /// Graphs of groups in which a client made an unsafe index since the last pass.
    disturbed: Arc<Mutex<BTreeSet<GraphName>>>,
}

impl UnsafeIndexCheck {
    /// Tests the server beside the graph of this name, which stays unchanged.
    pub fn new(graph: GraphName, policy: UnsafeIndexPolicy) -> Self {
        Self { graph, policy, answers_wrongly: Arc::default(), disturbed: Arc::default() }
    }

    /// Returns the policy for unsafe indices if the server answers wrongly, else `None`. Asks the server only once.
    pub(super) async fn policy(&self, connection: &mut CacheConnection) -> Result<Option<UnsafeIndexPolicy>> {
        let wrongly = match self.answers_wrongly.get() {
            Some(known) => *known,
            None => {
                let answer = answers_wrongly(connection, &GraphKeys::of(&self.graph).trial()).await?;
                *self.answers_wrongly.get_or_init(|| answer)
            }
        };
        Ok(wrongly.then_some(self.policy))
    }

    /// Like [`Self::policy`], but without asking the server, because building an index may take long. `None` if the answer is not known
    /// yet.
    pub(super) fn known_policy(&self) -> Option<UnsafeIndexPolicy> {
        self.answers_wrongly.get().and_then(|wrongly| wrongly.then_some(self.policy))
    }

    /// Makes the next pass check the indices of a group's graph again.
    pub(super) fn note_disturbed(&self, graph: GraphName) {
        self.disturbed.lock().unwrap_or_else(PoisonError::into_inner).insert(graph);
    }

    /// The graphs to check again.
    pub(super) fn take_disturbed(&self) -> BTreeSet<GraphName> {
        std::mem::take(&mut *self.disturbed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether the server's indices over text answer wrongly.
async fn answers_wrongly(connection: &mut CacheConnection, trial: &str) -> Result<bool> {
    let asked = ask(connection, trial).await;
    let dropped = match connection.command("drop the trial graph", &graph::delete(trial), COMMAND_TIMEOUT).await {
        Err(error) if is_missing_graph(&error) => Ok(()),
        dropped => dropped.map(drop),
    };
    match asked {
        // Without the right to make a graph of this name, the server cannot be tested, so it is not trusted.
        Err(error) if error.kind() == ErrorKind::CachePermission => Ok(true),
        Err(error) => Err(error),
        Ok(wrongly) => dropped.map(|()| wrongly),
    }
}

async fn ask(connection: &mut CacheConnection, trial: &str) -> Result<bool> {
    make(connection, trial).await?;
    // Until then, no search uses the index.
    let deadline = Instant::now() + TRIAL_DEADLINE;
    while status(connection, trial).await? != "OPERATIONAL" {
        if Instant::now() >= deadline {
            return Err(Error::new(ErrorKind::CacheTimeout, "FalkorDB did not build the index over two nodes in time"));
        }
        sleep(POLL).await;
    }
    for question in QUESTIONS {
        let answer = connection.command(DOING, &read_query(trial, question.as_bytes()), COMMAND_TIMEOUT).await;
        if reply::single_count(answer.map_err(read_failed)?)? != 1 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes the graph and its expiry in one step: the graph disappears by itself wherever this process stops.
async fn make(connection: &mut CacheConnection, trial: &str) -> Result<()> {
    let [elements, index] = [ELEMENTS, INDEX].map(|text| write_query(trial, text.as_bytes()));
    unwatch(connection, DOING, COMMAND_TIMEOUT).await?;
    let made = transaction(connection, DOING, [elements, index, expiry(trial)], COMMAND_TIMEOUT).await.map_err(read_failed)?;
    made.map(drop).ok_or_else(|| keeps_changing(DOING, trial))
}

fn expiry(trial: &str) -> Cmd {
    cmd("PEXPIRE").arg(trial).arg(TRIAL_MILLISECONDS).to_owned()
}

/// The status of the index. The call extends the graph's lifetime: the server builds large indices of others first.
async fn status(connection: &mut CacheConnection, trial: &str) -> Result<String> {
    let mut pipeline = Pipeline::new();
    pipeline.add_command(expiry(trial));
    pipeline.add_command(read_query(trial, STATUS.as_bytes()));
    let mut answers = connection.pipeline(DOING, &pipeline, COMMAND_TIMEOUT).await?;
    let answer = answers.pop().unwrap_or_else(|| Err(reply::unexpected("two answers")));
    let rows = reply::rows(answer.map_err(read_failed)?)?;
    let row = rows.first().ok_or_else(|| reply::unexpected("the status of an index"))?;
    reply::text(reply::cell(row, 0)?)
}

/// Whether a range index on a property would be unsafe.
pub(super) fn is_unsafe(profile: &Profile, definition: &IndexDefinition, property: &PropertyName) -> bool {
    definition.kind == IndexKind::Range && definition.text && !is_key(profile, &definition.on, property.as_str())
}

/// Whether elements of a label or type are looked up by a property.
pub(super) fn is_key(profile: &Profile, on: &IndexTarget, property: &str) -> bool {
    match on {
        IndexTarget::Label(label) => profile.node_kind(label).is_some_and(|id| profile.node(id).key.as_str() == property),
        IndexTarget::Type(name) => {
            profile.relationship_kind(name).is_some_and(|id| profile.relationship(id).key.as_str() == property)
        }
    }
}

/// The part of a definition that is made under a policy; nothing if no property is left.
pub(crate) fn made_of(
    profile: &Profile,
    definition: &IndexDefinition,
    policy: Option<UnsafeIndexPolicy>,
) -> Option<IndexDefinition> {
    let mut made = definition.clone();
    if policy == Some(UnsafeIndexPolicy::Drop) {
        made.properties.retain(|property| !is_unsafe(profile, definition, property));
    }
    (!made.properties.is_empty()).then_some(made)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn properties(definition: &IndexDefinition) -> Vec<&str> {
        definition.properties.iter().map(PropertyName::as_str).collect()
    }

    #[test]
    fn of_graphitis_indices_those_on_keys_and_full_text_are_left() {
        let profile = Profile::graphiti().unwrap();
        let made = |policy| profile.indexes.iter().filter_map(|index| made_of(&profile, index, policy)).collect::<Vec<_>>();
        assert_eq!(made(None), profile.indexes);
        assert_eq!(made(Some(UnsafeIndexPolicy::Keep)), profile.indexes);
        let safe = made(Some(UnsafeIndexPolicy::Drop));
        assert_eq!(safe.len(), profile.indexes.len(), "each kind has a key");
        for index in safe.iter().filter(|index| index.kind == IndexKind::Range) {
            assert_eq!(properties(index), ["uuid"], "{}", index.on);
        }
        assert_eq!(safe[9..], profile.indexes[9..], "full text stays as it is");
    }

    #[test]
    fn an_index_over_numbers_is_safe() {
        let text = "name: x\nnodes: [{label: A, key: id}]\nindexes:\n  - {kind: range, label: A, properties: [id, name]}\n  \
                    - {kind: range, label: A, properties: [age], text: false}\n  - {kind: range, label: B, properties: [id]}\n";
        let profile = Profile::parse(text).unwrap();
        let made = |index: usize| made_of(&profile, &profile.indexes[index], Some(UnsafeIndexPolicy::Drop));
        assert_eq!(properties(&made(0).unwrap()), ["id"]);
        assert_eq!(properties(&made(1).unwrap()), ["age"]);
        assert_eq!(made(2), None, "the label makes no kind, so nothing is looked up by it");
    }
}
