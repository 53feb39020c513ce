//! Random changes of a graph of any shape, the same for the same seed.

use neo4rs::{Graph, query};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::Result;
use crate::support::deadline::{self, within};

/// Elements that steps choose among: the ones with the highest numbers, so that what is new is met often.
const CHOICE: usize = 60;

/// A random sequence of changes.
pub struct Changes {
    graph: Graph,
    random: StdRng,
    labels: Vec<String>,
    types: Vec<String>,
    steps: usize,
    /// What was done, in order.
    pub log: Vec<String>,
}

impl Changes {
    /// With these labels and types.
    pub fn new(graph: &Graph, seed: u64, (labels, types): (Vec<String>, Vec<String>)) -> Self {
        Self { graph: graph.clone(), random: StdRng::seed_from_u64(seed), labels, types, steps: 0, log: Vec::new() }
    }

    /// One change.
    pub async fn step(&mut self) -> Result<()> {
        self.steps += 1;
        let step = self.steps;
        let (label, other, rel_type) = (self.label(), self.label(), self.rel_type());
        let (node, second, edge) = (self.node("n"), self.node("m"), self.edge());
        let text = match self.random.random_range(0..22) {
            0 | 1 => format!("CREATE (:{label} {{made: {step}, text: 'x{step}'}})"),
            2 => format!("CREATE (:{label}:{other} {{made: {step}, list: [{step}, 2]}})"),
            3 => format!("CREATE ({{made: {step}}})"),
            4 => "CREATE ()".to_owned(),
            5 | 6 => format!("{node} DETACH DELETE n"),
            7 => format!("{node} DETACH DELETE n CREATE (:{label} {{instead: {step}}})"),
            8 | 9 => format!("{node} SET n:{label}"),
            10 => format!("{node} REMOVE n:{label}"),
            11 => format!("{node} CALL (n) {{ UNWIND labels(n) AS l REMOVE n:$(l) }}"),
            12 => format!("{node} CALL (n) {{ UNWIND labels(n) AS l REMOVE n:$(l) }} SET n:{label}"),
            13 | 14 => format!("{node} SET n.changed = {step}, n.`with blank` = 'v{step}'"),
            15 => format!("{node} SET n = {{only: {step}}}"),
            16 => format!("{node} SET n = {{}}"),
            17 => format!("{node} {second} CREATE (n)-[:{rel_type} {{made: {step}}}]->(m)"),
            18 => format!("{node} CREATE (n)-[:{rel_type}]->(n)"),
            19 => format!("{edge} SET e.changed = {step}"),
            20 => format!("{edge} DELETE e"),
            _ => format!("{edge} WITH a, e, b DELETE e CREATE (b)-[:{rel_type} {{turned: {step}}}]->(a)"),
        };
        within(deadline::QUERY, &text, self.graph.run(query(&text))).await?;
        self.log.push(text);
        Ok(())
    }

    fn label(&mut self) -> String {
        let at = self.random.random_range(0..self.labels.len());
        format!("`{}`", self.labels[at])
    }

    fn rel_type(&mut self) -> String {
        let at = self.random.random_range(0..self.types.len());
        format!("`{}`", self.types[at])
    }

    /// Some node; of several elements the number says which.
    fn node(&mut self, variable: &str) -> String {
        let skip = self.random.random_range(0..CHOICE);
        let order = if self.random.random_bool(0.5) { "DESC" } else { "ASC" };
        format!("CALL () {{ MATCH (x) RETURN x AS {variable} ORDER BY id(x) {order} SKIP {skip} LIMIT 1 }} WITH *")
    }

    fn edge(&mut self) -> String {
        let skip = self.random.random_range(0..CHOICE);
        let order = if self.random.random_bool(0.5) { "DESC" } else { "ASC" };
        format!("CALL () {{ MATCH (a)-[e]->(b) RETURN a, e, b ORDER BY id(e) {order} SKIP {skip} LIMIT 1 }} WITH *")
    }
}
