//! Graphs whose shape is not Graphiti's, and random changes of any graph.

mod changes;
mod films;
mod labels;
mod shop;

use neo4rs::{Graph, query};

use super::Result;
use super::deadline::{self, within};

pub use changes::Changes;

/// A graph of another shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// Films and people: several labels on a node, parallel relationships, self-loops, a node without a label.
    Films,
    /// Customers, orders and products: dense, with keys of text and of numbers.
    Shop,
    /// Two hundred labels and as many types, with names of all kinds, sparse.
    Labels,
}

impl Foreign {
    pub const ALL: [Foreign; 3] = [Foreign::Films, Foreign::Shop, Foreign::Labels];

    /// Builds it in an empty database.
    pub async fn build(self, graph: &Graph) -> Result<()> {
        let statements = match self {
            Foreign::Films => films::statements(),
            Foreign::Shop => shop::statements(),
            Foreign::Labels => labels::statements(),
        };
        for statement in statements {
            run(graph, &statement).await?;
        }
        Ok(())
    }

    /// Labels and types that random changes may use: each of them stands in the graph from the beginning.
    pub fn names(self) -> (Vec<String>, Vec<String>) {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        match self {
            Foreign::Films => (
                names(&["Movie", "Epic", "Person", "Actor", "Director"]),
                names(&["ACTED_IN", "DIRECTED", "FOLLOWS", "REVIEWED"]),
            ),
            Foreign::Shop => {
                (names(&["Customer", "Order", "Product", "Category"]), names(&["PLACED", "CONTAINS", "IN_CATEGORY"]))
            }
            Foreign::Labels => {
                ((0..labels::LABELS).map(labels::label).collect(), (0..labels::LABELS).map(labels::rel_type).collect())
            }
        }
    }
}

async fn run(graph: &Graph, text: &str) -> Result<()> {
    within(deadline::QUERY, text, graph.run(query(text))).await?;
    Ok(())
}
