//! Graphs whose shape is not Graphiti's, and random changes of any graph.

mod changes;
mod crimes;
mod films;
mod labels;
mod network;
mod recommendations;
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
    /// Crimes, people and places: points, dates, times and durations.
    Crimes,
    /// Films, people and ratings: vectors and full-text indices.
    Recommendations,
    /// A data centre: many kinds, deep chains, parallel connections.
    Network,
    /// Two hundred labels and as many types, with names of all kinds, sparse.
    Labels,
}

impl Foreign {
    pub const ALL: [Foreign; 6] =
        [Foreign::Films, Foreign::Shop, Foreign::Crimes, Foreign::Recommendations, Foreign::Network, Foreign::Labels];

    /// Builds it in an empty database.
    pub async fn build(self, graph: &Graph) -> Result<()> {
        let statements = match self {
            Foreign::Films => films::statements(),
            Foreign::Shop => shop::statements(),
            Foreign::Crimes => crimes::statements(),
            Foreign::Recommendations => recommendations::statements(),
            Foreign::Network => network::statements(),
            Foreign::Labels => labels::statements(),
        };
        for statement in statements {
            run(graph, &statement).await?;
        }
        Ok(())
    }

    /// Drops what it made besides data: the source is shared, and other tests count its indices.
    pub async fn drop_schema(self, graph: &Graph) -> Result<()> {
        let Some(prefix) = self.schema_prefix() else { return Ok(()) };
        for (list, drop) in [("SHOW CONSTRAINTS", "DROP CONSTRAINT"), ("SHOW INDEXES", "DROP INDEX")] {
            let text = format!("{list} YIELD name WHERE name STARTS WITH '{prefix}' RETURN name");
            let mut rows = within(deadline::QUERY, &text, graph.execute(query(&text))).await?;
            let mut names: Vec<String> = Vec::new();
            while let Some(row) = within(deadline::QUERY, &text, rows.next()).await? {
                names.extend(row.get::<String>("name").ok());
            }
            for name in names {
                run(graph, &format!("{drop} {name} IF EXISTS")).await?;
            }
        }
        Ok(())
    }

    fn schema_prefix(self) -> Option<&'static str> {
        match self {
            Foreign::Crimes => Some("crimes_"),
            Foreign::Recommendations => Some("recommended_"),
            Foreign::Network => Some("network_"),
            Foreign::Films | Foreign::Shop | Foreign::Labels => None,
        }
    }

    /// The profile that it needs, where the built-in one for any graph does not say enough.
    pub fn profile(self) -> Option<&'static str> {
        (self == Foreign::Recommendations).then_some(recommendations::PROFILE)
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
            Foreign::Crimes => (
                names(&["Person", "Officer", "Crime", "Location", "Area"]),
                names(&["KNOWS", "CALLED", "PARTY_TO", "OCCURRED_AT"]),
            ),
            Foreign::Recommendations => (
                names(&["Movie", "Person", "Actor", "Director", "Genre", "User"]),
                names(&["RATED", "ACTED_IN", "DIRECTED", "IN_GENRE"]),
            ),
            Foreign::Network => (
                names(&["Machine", "Interface", "Port", "Software", "OS", "Process", "Version", "Network", "Zone"]),
                names(&["CONNECTS", "ROUTES", "RUNS", "INSTANCE", "EXPOSES"]),
            ),
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
