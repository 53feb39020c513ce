//! What somebody else has made on the live graph is there after a full sync as well: indices and constraints.

use std::time::{Duration, Instant};

use neo4rs::query;

use super::indices::until_told;
use super::pipeline::Pair;
use crate::support::deadline::EVENT;
use crate::support::graph::{GraphSpec, build};
use crate::support::http::Http;

const MADE: [&str; 4] = [
    "CREATE INDEX FOR (n:Person) ON (n.age, n.code, n.nick, n.rank)",
    "CREATE FULLTEXT INDEX FOR (n:Person) ON (n.note) OPTIONS {language: 'german', stopwords: ['der', 'die']}",
    "CREATE VECTOR INDEX FOR (n:Person) ON (n.face) OPTIONS {dimension: 3, similarityFunction: 'euclidean', M: 20, \
     efConstruction: 210, efRuntime: 12}",
    "CREATE INDEX FOR ()-[e:MENTIONS]-() ON (e.weight)",
];

const CONSTRAINTS: [[&str; 4]; 5] = [
    ["UNIQUE", "NODE", "Person", "code"],
    ["UNIQUE", "NODE", "Person", "nick"],
    ["UNIQUE", "NODE", "Person", "rank"],
    ["MANDATORY", "NODE", "Entity", "uuid"],
    ["MANDATORY", "RELATIONSHIP", "MENTIONS", "weight"],
];

impl Pair {
    async fn constrain(&self, [sort, entity, name, property]: [&str; 4]) {
        let mut cache = self.cache.connect().await.unwrap();
        let mut command = redis::cmd("GRAPH.CONSTRAINT");
        command.arg("CREATE").arg(&self.graph).arg(sort).arg(entity).arg(name).arg("PROPERTIES").arg(1).arg(property);
        let _: String = command.query_async(&mut cache).await.unwrap();
    }

    /// Constraints with their status, one a line.
    async fn constraints(&self) -> String {
        let text = "CALL db.constraints() YIELD type, label, properties, status \
                    RETURN type + ' ' + label + '.' + properties[0] + ' ' + status";
        format!("{:?}", self.cypher(text).await)
    }

    async fn until_constrained(&self) {
        let begun = Instant::now();
        while self.constraints().await.contains("UNDER CONSTRUCTION") {
            assert!(begun.elapsed() < EVENT, "{}", self.constraints().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn furnished(pair: &Pair) {
    for text in MADE {
        pair.cypher(text).await;
    }
    for (on, property, kind) in [("Person", "rank", "RANGE"), ("Person", "face", "VECTOR"), ("MENTIONS", "weight", "RANGE")] {
        pair.until_indexed(on, property, kind).await;
    }
    for constraint in CONSTRAINTS {
        pair.constrain(constraint).await;
    }
    pair.until_constrained().await;
}

/// All of it but what cannot be.
async fn assert_furnished(pair: &Pair) {
    for (on, property, kind) in [
        ("Person", "age", "RANGE"),
        ("Person", "code", "RANGE"),
        ("Person", "note", "FULLTEXT"),
        ("Person", "face", "VECTOR"),
        ("MENTIONS", "weight", "RANGE"),
    ] {
        assert!(pair.has_index(on, property, kind).await, "no {kind} index on {on}.{property}");
    }
    let options =
        "CALL db.indexes() YIELD label, options, language, stopwords WHERE label = 'Person' RETURN options, language, stopwords";
    let options = format!("{:?}", pair.cypher(options).await);
    for part in ["dimension: 3", "euclidean", "M: 20", "efConstruction: 210", "efRuntime: 12", "german", "[der, die]"] {
        assert!(options.contains(part), "{part}: {options}");
    }
    let constraints = pair.constraints().await;
    for kept in ["UNIQUE Person.code OPERATIONAL", "MANDATORY Entity.uuid OPERATIONAL"] {
        assert!(constraints.contains(kept), "{kept}: {constraints}");
    }
    assert!(!constraints.contains("nick") && !constraints.contains("rank") && !constraints.contains("weight"), "{constraints}");
}

/// Values that a unique constraint would end the server's process at, and a relationship without what it must have.
const AGAINST: &str =
    "MATCH (n:Person) WITH n LIMIT 1 SET n.nick = '', n.rank = 0 WITH 1 AS one MATCH ()-[e:MENTIONS]->() REMOVE e.weight";

async fn source(pair: &Pair) {
    build(&pair.source.graph, &GraphSpec { dimension: 16, ..GraphSpec::default() }).await.unwrap();
    let codes = "MATCH (n:Person) WITH collect(n) AS found UNWIND range(0, size(found) - 1) AS i WITH found[i] AS n, i SET n.code = i + 1";
    for text in [codes, "MATCH ()-[e:MENTIONS]->() SET e.weight = 1"] {
        pair.source.graph.run(query(text)).await.unwrap();
    }
}

#[tokio::test]
async fn indices_and_constraints_of_somebody_else_outlive_a_full_sync() {
    let mut pair = Pair::new("carried").await;
    pair.service = pair.service.clone().with("SYNC_SCRUB_ROWS_PER_SECOND", 0);
    source(&pair).await;
    pair.sync("full").await;
    furnished(&pair).await;
    pair.source.graph.run(query(AGAINST)).await.unwrap();
    pair.sync("full").await;
    assert_furnished(&pair).await;
    pair.assert_equal().await;

    let (running, http) = Http::start(&pair.service).unwrap();
    let told = until_told(http, "lost", "unique (:Person).nick: nick has values").await;
    assert!(told["lost"].to_string().contains("mandatory [:MENTIONS].weight"), "{told}");
    assert!(told["lost"].to_string().contains("unique (:Person).rank: rank has values"), "{told}");
    let told = until_told(http, "constraints", "unique (:Person).code").await;
    assert!(told["foreign"].to_string().contains("vector (:Person).face"), "{told}");
    assert_eq!(running.terminate().await, 0);
    let checked = pair.service.finish(&["check"]).await.stdout;
    assert!(checked.contains("constraint mandatory (:Entity).uuid: foreign"), "{checked}");
    assert!(checked.contains("index vector (:Person).face: foreign"), "{checked}");
}

#[tokio::test]
async fn they_outlive_a_full_sync_in_the_graph_itself() {
    let mut pair = Pair::new("furnished").await;
    pair.service = pair.service.clone().with("FULL_SYNC_STRATEGY", "in_place");
    source(&pair).await;
    pair.sync("full").await;
    furnished(&pair).await;
    pair.source.graph.run(query(AGAINST)).await.unwrap();
    pair.sync("full").await;
    assert_furnished(&pair).await;
    pair.assert_equal().await;
}
