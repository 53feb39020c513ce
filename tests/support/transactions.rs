//! Random transactions of everything that a transaction log can hold, the same for the same seed.
//!
//! Which element a statement acts on depends on the graph as well: a statement that finds none does nothing.

use neo4rs::{Graph, query};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Result;

/// A sequence of transactions in one graph.
pub struct Transactions {
    graph: Graph,
    random: StdRng,
    /// Tells the keys and texts of all sequences apart.
    next: u64,
    seed: u64,
    /// What was done, in order.
    pub log: Vec<String>,
}

/// Relationship types between entities.
const TYPE: &str = "RELATES_TO";

/// One transaction of so many is of twenty thousand nodes.
const MASS_ONE_IN: u32 = 80;

/// One in so many is rolled back.
const ROLLED_BACK_ONE_IN: u32 = 8;

impl Transactions {
    pub fn new(graph: &Graph, seed: u64) -> Self {
        Self { graph: graph.clone(), random: StdRng::seed_from_u64(seed), next: 0, seed, log: Vec::new() }
    }

    /// Does one transaction, or a change of the schema.
    pub async fn step(&mut self) -> Result<()> {
        if self.random.random_ratio(1, 12) {
            return self.change_schema().await;
        }
        let statements: Vec<String> =
            if self.random.random_ratio(1, MASS_ONE_IN) { vec![self.mass()] } else { self.statements() };
        let mut transaction = self.graph.start_txn().await?;
        for statement in &statements {
            transaction.run(query(statement)).await?;
        }
        self.log.extend(statements);
        if self.random.random_ratio(1, ROLLED_BACK_ONE_IN) {
            transaction.rollback().await?;
            self.log.push("rolled back".to_owned());
        } else {
            transaction.commit().await?;
        }
        Ok(())
    }

    async fn change_schema(&mut self) -> Result<()> {
        let number = self.random.random_range(0..4);
        let text = match self.random.random_range(0..4) {
            0 => format!("CREATE INDEX schema_{number} IF NOT EXISTS FOR (n:Extra{number}) ON (n.extra)"),
            1 => format!("DROP INDEX schema_{number} IF EXISTS"),
            2 => format!("CREATE CONSTRAINT unique_{number} IF NOT EXISTS FOR (n:Only{number}) REQUIRE n.only IS UNIQUE"),
            _ => format!("DROP CONSTRAINT unique_{number} IF EXISTS"),
        };
        self.graph.run(query(&text)).await?;
        self.log.push(text);
        Ok(())
    }

    fn statements(&mut self) -> Vec<String> {
        let number = self.random.random_range(1..=4);
        (0..number).map(|_| self.statement()).collect()
    }

    /// A number that no other call returns, and that other sequences do not return.
    fn fresh(&mut self) -> String {
        self.next += 1;
        format!("{}-{}", self.seed, self.next)
    }

    /// Binds `n` to a node with this label, if there is any.
    fn node(&mut self, name: &str, label: &str) -> String {
        let at = self.random.random_range(0..1_000);
        format!(
            "MATCH (x:{label}) WITH * ORDER BY x.uuid WITH {}collect(x) AS them \
             UNWIND CASE size(them) WHEN 0 THEN [] ELSE [them[{at} % size(them)]] END AS {name} ",
            if name == "n" { "" } else { "n, " }
        )
    }

    /// Binds `e` to a relationship between entities, if there is any.
    fn relationship(&mut self) -> String {
        let at = self.random.random_range(0..1_000);
        format!(
            "MATCH ()-[x:{TYPE}]->() WITH x ORDER BY x.uuid WITH collect(x) AS them \
             UNWIND CASE size(them) WHEN 0 THEN [] ELSE [them[{at} % size(them)]] END AS e "
        )
    }

    /// A value of any type and length: in line, in the stores of texts and lists, over several records of them.
    fn value(&mut self) -> String {
        let length = self.random.random_range(0..60);
        match self.random.random_range(0..14) {
            0 => format!("'{}'", "short"),
            1 => format!("'{}'", "a text beyond what fits in line ".repeat(length)),
            2 => format!("'{}'", "Größe — 大小 🙂 ".repeat(length)),
            3 => self.random.random::<i32>().to_string(),
            4 => "9007199254740993".to_owned(),
            5 => format!("{:?}", self.random.random::<f64>()),
            6 => "true".to_owned(),
            7 => format!("[i IN range(1, 256) | i * {:?}]", self.random.random::<f64>()),
            8 => format!("[i IN range(1, {length}) | 'part ' + i]"),
            9 => "datetime('2026-02-03T04:05:06.123456789Z')".to_owned(),
            10 => "date('2026-02-03')".to_owned(),
            11 => "duration('P1Y2M3DT4H5M6S')".to_owned(),
            12 => "point({longitude: 12.5, latitude: -3.25})".to_owned(),
            _ => "[]".to_owned(),
        }
    }

    fn property(&mut self) -> String {
        ["summary", "name", "flag", "weights", "when"][self.random.random_range(0..5)].to_owned()
    }

    /// Twenty thousand nodes come in one transaction, or go.
    ///
    /// Not by `ENDS WITH`: Neo4j 5.26 may carry out a plan for a text index after another test has replaced that index by a range
    /// index, which refuses it.
    fn mass(&mut self) -> String {
        let key = self.fresh();
        match self.random.random_range(0..3) {
            0 => "MATCH (n:Entity) WHERE n.uuid STARTS WITH 'mass' DETACH DELETE n".to_owned(),
            1 => "MATCH (n:Entity) WHERE n.uuid STARTS WITH 'mass' AND right(n.uuid, 1) = '7' SET n.name = 'other'".to_owned(),
            _ => format!(
                "MATCH (n:Entity) WHERE n.uuid STARTS WITH 'mass' DETACH DELETE n WITH count(*) AS old \
                 UNWIND range(1, 20000) AS i CREATE (:Entity {{uuid: 'mass-{key}-' + i, name: 'mass', group_id: ''}})"
            ),
        }
    }

    fn statement(&mut self) -> String {
        let (key, other) = (self.fresh(), self.fresh());
        match self.random.random_range(0..25) {
            0..3 => {
                let number = self.random.random_range(1..12);
                format!(
                    "UNWIND range(1, {number}) AS i CREATE (:Entity {{uuid: '{key}-' + i, name: 'n' + i, group_id: '', summary: {}}})",
                    self.value()
                )
            }
            3 => format!(
                "{}CREATE (:Episodic {{uuid: '{key}', name: 'e', group_id: '', content: {}}})-[:MENTIONS {{uuid: '{other}', group_id: ''}}]->(n)",
                self.node("n", "Entity"),
                self.value()
            ),
            4..6 => format!("{}SET n.{} = {}", self.node("n", "Entity"), self.property(), self.value()),
            6 => format!("{}REMOVE n.{}", self.node("n", "Entity"), self.property()),
            7 => format!("{}SET n = {{uuid: n.uuid, group_id: '', name: {}}}", self.node("n", "Entity"), self.value()),
            8 => {
                let labels: String = (0..self.random.random_range(1..40)).map(|i| format!(":Extra{i}")).collect();
                format!("{}SET n{labels}", self.node("n", "Entity"))
            }
            9 => {
                let labels: String = (0..self.random.random_range(1..40)).step_by(2).map(|i| format!(":Extra{i}")).collect();
                format!("{}REMOVE n{labels}", self.node("n", "Entity"))
            }
            10 => format!(
                "{}{}CREATE (n)-[:{TYPE} {{uuid: '{key}', fact: {}, group_id: ''}}]->(m), (n)-[:{TYPE} {{uuid: '{other}', group_id: ''}}]->(m)",
                self.node("n", "Entity"),
                self.node("m", "Entity"),
                self.value()
            ),
            11 => format!(
                "{}CREATE (n)-[:{TYPE} {{uuid: '{key}', fact: 'of itself', group_id: ''}}]->(n)",
                self.node("n", "Entity")
            ),
            12 => {
                let number = if self.random.random_ratio(1, 4) { 1_000 } else { 40 };
                format!(
                    "{}CREATE (h:Entity {{uuid: '{key}', name: 'hub', group_id: ''}}) WITH h, n UNWIND range(1, {number}) AS i \
                     CREATE (h)-[:{TYPE} {{uuid: '{key}-' + i, fact: 'f', group_id: ''}}]->(n)",
                    self.node("n", "Entity")
                )
            }
            13 => format!("{}DETACH DELETE n", self.node("n", "Entity")),
            14 => format!("{}DELETE e", self.relationship()),
            15 => format!("{}SET e.{} = {}", self.relationship(), self.property(), self.value()),
            16 => format!("{}SET n.uuid = '{key}'", self.node("n", "Entity")),
            17 => format!("{}SET e.uuid = '{key}'", self.relationship()),
            18 => format!("{}SET n:Community REMOVE n:Entity", self.node("n", "Entity")),
            19 => format!("{}SET n:Entity REMOVE n:Community", self.node("n", "Community")),
            20 => format!(
                "{}WITH e, startNode(e) AS a, endNode(e) AS b CREATE (b)-[f:{TYPE}]->(a) SET f = properties(e) DELETE e",
                self.relationship()
            ),
            // Elements that share a key, or leave and come back with it.
            21 => format!("{}{}WITH n, m WHERE n <> m SET n.uuid = m.uuid", self.node("n", "Entity"), self.node("m", "Entity")),
            22 => format!("{}SET n:Draft REMOVE n:Entity", self.node("n", "Entity")),
            23 => format!("{}SET n:Entity REMOVE n:Draft", self.node("n", "Draft")),
            // Another element with the key, or with the number, of one that goes.
            _ => format!(
                "{}WITH n, n.uuid AS key, n.name AS name DETACH DELETE n CREATE (:Entity {{uuid: key, name: name, group_id: '', again: true}})",
                self.node("n", "Entity")
            ),
        }
    }
}
