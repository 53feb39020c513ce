//! The routes from groups to their graphs, if each group has its own graph.

use super::graph_name::{GraphName, GraphNameError};
use super::value::Value;

/// Graphiti's own names for no particular group: the one on Neo4j, and the one on FalkorDB.
const NO_GROUP: [&str; 2] = ["", "_"];

/// The routes from groups to their graphs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    default_graph: GraphName,
}

impl Routes {
    /// Every group goes to the graph of its name, and elements of no particular group go to this graph.
    pub fn new(default_graph: GraphName) -> Self {
        Self { default_graph }
    }

    /// The graph for elements of no particular group.
    pub(crate) fn default_graph(&self) -> &GraphName {
        &self.default_graph
    }

    /// The group that a property names, if it is a text. An element without the property belongs to no particular group.
    pub(crate) fn group_text(value: Option<&Value>) -> Option<&str> {
        match value {
            None => Some(""),
            Some(Value::String(group)) => Some(group),
            Some(_) => None,
        }
    }

    /// The graph of a group, or the reason why it cannot have one.
    pub(crate) fn graph_of(&self, group: &str) -> Result<GraphName, GraphNameError> {
        if NO_GROUP.contains(&group) {
            return Ok(self.default_graph.clone());
        }
        GraphName::new(group)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_group_goes_to_the_graph_of_its_name() {
        let routes = Routes::new(GraphName::new("default_db").unwrap());
        let graph_of = |group: &str| routes.graph_of(group).map(|graph| graph.to_string());
        assert_eq!(graph_of("team-a").unwrap(), "team-a");
        assert_eq!((graph_of("").unwrap(), graph_of("_").unwrap()), ("default_db".to_owned(), "default_db".to_owned()));
        assert_eq!(graph_of("default_db").unwrap(), "default_db");
        assert_eq!(graph_of("a{b}"), Err(GraphNameError::Brace));
    }
}
