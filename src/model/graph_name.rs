//! The name of a graph in FalkorDB, and the Redis keys that are kept beside it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest name in bytes. FalkorDB sets no limit of its own; this one keeps the name usable as a metric label, in a
/// log line and in a file name, and is far above every group id that graphiti makes.
pub const MAX_GRAPH_NAME_BYTES: usize = 255;

/// The name of a graph in FalkorDB, which is the Redis key that holds it.
///
/// Braces are refused: the keys beside a graph are named `{graph}:…`, and Redis Cluster takes what stands between the
/// first pair of braces as the hash tag that decides the slot. A name with braces of its own would part a graph from its
/// checkpoint, and a swap of two graphs in one transaction needs all of them in one slot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GraphName(String);

/// Why a text cannot name a graph.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GraphNameError {
    /// Redis would take it, FalkorDB's clients do not.
    #[error("a graph name cannot be empty")]
    Empty,
    /// See [`MAX_GRAPH_NAME_BYTES`].
    #[error("a graph name of {0} bytes is too long (at most {MAX_GRAPH_NAME_BYTES})")]
    TooLong(usize),
    /// FalkorDB handles names as C strings, which end at a NUL; the other control characters would garble logs.
    #[error("a graph name cannot hold control characters")]
    ControlCharacter,
    /// See [`GraphName`].
    #[error("a graph name cannot hold {{ or }}")]
    Brace,
}

impl GraphName {
    /// Takes a text as the name of a graph.
    pub fn new(name: impl Into<String>) -> Result<Self, GraphNameError> {
        let name = name.into();
        if name.is_empty() {
            return Err(GraphNameError::Empty);
        }
        if name.len() > MAX_GRAPH_NAME_BYTES {
            return Err(GraphNameError::TooLong(name.len()));
        }
        if name.chars().any(char::is_control) {
            return Err(GraphNameError::ControlCharacter);
        }
        if name.contains(['{', '}']) {
            return Err(GraphNameError::Brace);
        }
        Ok(Self(name))
    }

    /// The name as text, which is also the key of the live graph.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The graph that a full sync fills before it replaces the live one.
    pub fn stage_key(&self) -> String {
        self.key("stage")
    }

    /// The graph that the last full sync replaced, where it is kept for a rollback.
    pub fn previous_key(&self) -> String {
        self.key("previous")
    }

    /// Where a new start resumes from.
    pub fn checkpoint_key(&self) -> String {
        self.key("checkpoint")
    }

    /// The checkpoint that becomes the graph's with the swap of the stage.
    pub fn stage_checkpoint_key(&self) -> String {
        self.key("stage:checkpoint")
    }

    /// The quarantine that becomes the graph's with the swap of the stage.
    pub fn stage_quarantine_key(&self) -> String {
        self.key("stage:quarantine")
    }

    /// The quarantine of the graph that is kept for a rollback.
    pub fn previous_quarantine_key(&self) -> String {
        self.key("previous:quarantine")
    }

    /// Where a quarantine stands for the moment in which two graphs change places.
    pub fn exchange_quarantine_key(&self) -> String {
        self.key("exchange:quarantine")
    }

    /// The checkpoint of the graph that is kept for a rollback.
    pub fn previous_checkpoint_key(&self) -> String {
        self.key("previous:checkpoint")
    }

    /// Where a graph stands for the moment in which two change places.
    pub fn exchange_key(&self) -> String {
        self.key("exchange")
    }

    /// Where a checkpoint stands for the moment in which two change places.
    pub fn exchange_checkpoint_key(&self) -> String {
        self.key("exchange:checkpoint")
    }

    /// The graphs that the pipeline of this name has made for its groups.
    pub fn graphs_key(&self) -> String {
        self.key("graphs")
    }

    /// The stages that the pipeline of this name has made for its groups.
    pub fn stage_graphs_key(&self) -> String {
        self.key("stage:graphs")
    }

    /// The groups' graphs that are kept for a rollback.
    pub fn previous_graphs_key(&self) -> String {
        self.key("previous:graphs")
    }

    /// Where the list of a pipeline's graphs stands for the moment in which two change places.
    pub fn exchange_graphs_key(&self) -> String {
        self.key("exchange:graphs")
    }

    /// Which pipeline has made this graph for a group.
    pub fn marker_key(&self) -> String {
        self.key("pipeline")
    }

    /// A key that nobody uses, to try commands on.
    pub fn trial_key(&self) -> String {
        self.key(&format!("trial:{:032x}", rand::random::<u128>()))
    }

    /// The lease of the one process that may write the graph.
    pub fn owner_key(&self) -> String {
        self.key("owner")
    }

    /// Names the process that took the lease last. Every write watches this key, which renewals of the lease do not touch.
    pub fn fence_key(&self) -> String {
        self.key("fence")
    }

    /// The elements that could not be stored, each with its reason.
    pub fn quarantine_key(&self) -> String {
        self.key("quarantine")
    }

    /// Set while an operator has paused the pipeline.
    pub fn pause_key(&self) -> String {
        self.key("pause")
    }

    fn key(&self, suffix: &str) -> String {
        format!("{{{}}}:{suffix}", self.0)
    }
}

impl fmt::Display for GraphName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for GraphName {
    type Err = GraphNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for GraphName {
    type Error = GraphNameError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl From<GraphName> for String {
    fn from(name: GraphName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_graph_name_derives_its_keys_with_a_hash_tag() {
        let name = GraphName::new("graphiti_cache").unwrap();
        assert_eq!(name.as_str(), "graphiti_cache");
        assert_eq!(name.stage_key(), "{graphiti_cache}:stage");
        assert_eq!(name.previous_key(), "{graphiti_cache}:previous");
        assert_eq!(name.stage_checkpoint_key(), "{graphiti_cache}:stage:checkpoint");
        assert_eq!(name.previous_checkpoint_key(), "{graphiti_cache}:previous:checkpoint");
        assert_eq!(name.stage_quarantine_key(), "{graphiti_cache}:stage:quarantine");
        assert!(name.trial_key().starts_with("{graphiti_cache}:trial:"));
        assert_eq!(name.checkpoint_key(), "{graphiti_cache}:checkpoint");
        assert_eq!(name.owner_key(), "{graphiti_cache}:owner");
        assert_eq!(name.fence_key(), "{graphiti_cache}:fence");
        assert_eq!(name.quarantine_key(), "{graphiti_cache}:quarantine");
        assert_eq!(name.pause_key(), "{graphiti_cache}:pause");
    }

    #[test]
    fn test_graph_name_takes_what_graphiti_uses() {
        for name in ["default_db", "_", "a-B_9", "größe", "with space", "a:b"] {
            assert_eq!(GraphName::new(name).unwrap().to_string(), name);
        }
        assert!(GraphName::new("x".repeat(MAX_GRAPH_NAME_BYTES)).is_ok());
    }

    #[test]
    fn test_graph_name_refuses_what_would_break_keys() {
        assert_eq!(GraphName::new(""), Err(GraphNameError::Empty));
        assert_eq!(GraphName::new("a\0b"), Err(GraphNameError::ControlCharacter));
        assert_eq!(GraphName::new("a\nb"), Err(GraphNameError::ControlCharacter));
        assert_eq!(GraphName::new("{group_id}"), Err(GraphNameError::Brace));
        assert_eq!(GraphName::new("a}"), Err(GraphNameError::Brace));
        assert_eq!(GraphName::new("x".repeat(256)), Err(GraphNameError::TooLong(256)));
        assert_eq!(GraphNameError::Brace.to_string(), "a graph name cannot hold { or }");
    }

    #[test]
    fn test_graph_name_is_checked_when_it_is_read_back() {
        let name: GraphName = serde_json::from_str("\"g\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"g\"");
        assert!(serde_json::from_str::<GraphName>("\"a{\"").is_err());
    }
}
