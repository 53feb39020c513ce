//! The name of a graph in FalkorDB.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest name in bytes. FalkorDB sets no limit; this one keeps the name usable as a metric label, in a log line and in a
/// file name, and is far above every group id that graphiti makes.
pub(crate) const MAX_GRAPH_NAME_BYTES: usize = 255;

/// The name of a graph in FalkorDB, which is the Redis key that holds it.
///
/// Braces are refused: the keys beside a graph are named `{graph}:…`, and Redis Cluster takes the text between the first pair of
/// braces as the hash tag that decides the slot. A name with its own braces would separate a graph from its checkpoint, and a
/// swap of two graphs in one transaction needs all of them in one slot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GraphName(String);

/// The reason why a text cannot name a graph.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GraphNameError {
    /// Redis would accept the empty name, but FalkorDB's clients do not.
    #[error("a graph name cannot be empty")]
    Empty,
    /// The name exceeds [`MAX_GRAPH_NAME_BYTES`].
    #[error("a graph name of {0} bytes is too long (at most {MAX_GRAPH_NAME_BYTES})")]
    TooLong(usize),
    /// FalkorDB handles names as C strings, which end at a NUL; the other control characters would garble logs.
    #[error("a graph name cannot contain control characters")]
    ControlCharacter,
    /// The braces that [`GraphName`] refuses.
    #[error("a graph name cannot contain {{ or }}")]
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
        assert_eq!(GraphNameError::Brace.to_string(), "a graph name cannot contain { or }");
    }

    #[test]
    fn test_graph_name_is_checked_when_it_is_read_back() {
        let name: GraphName = serde_json::from_str("\"g\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"g\"");
        assert!(serde_json::from_str::<GraphName>("\"a{\"").is_err());
    }
}
