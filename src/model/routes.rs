//! Which graph a group goes to, where each group has a graph of its own.

use super::graph_name::{GraphName, GraphNameError};

/// Graphiti's own names for no group in particular: what it stores on Neo4j, and what on FalkorDB.
const NO_GROUP: [&str; 2] = ["", "_"];

/// The way from a group to its graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    default_graph: GraphName,
}

impl Routes {
    /// Every group to the graph of its name, and what is of no group in particular to this one.
    pub fn new(default_graph: GraphName) -> Self {
        Self { default_graph }
    }

    /// The graph of what is of no group in particular.
    pub(crate) fn default_graph(&self) -> &GraphName {
        &self.default_graph
    }

    /// The graph of a group, or why it cannot have one.
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
