//! Where the source has a vector index, the cache has vectors and an index, and both find the same nearest neighbours.

use neo4rs::query;
use redis::Value;

use super::full_sync::ask;
use super::pipeline::Pair;
use crate::support::copier;
use crate::support::graph::{GraphSpec, build};
use crate::support::http::Http;

/// Neighbours that are asked for.
const NEAREST: usize = 7;

/// Documents with vectors of four numbers, some of which carry a label before theirs in the alphabet; one has a vector that is too
/// long, which no index of Neo4j holds.
const GRAPH: [&str; 4] = [
    "UNWIND range(0, 99) AS i CREATE (d:Doc {id: i, title: 'title ' + toString(i), year: 1990 + i % 30,
     emb: [sin(i), cos(i * 2), sin(i * 3 + 1), cos(i + 2)]})",
    "MATCH (d:Doc) WHERE d.id % 3 = 0 SET d:Article",
    "MATCH (a:Doc), (b:Doc) WHERE b.id = a.id + 1 CREATE (a)-[:CITES {id: a.id, emb: [sin(a.id), cos(a.id)]}]->(b)",
    "CREATE (:Doc {id: 100, emb: [1.0, 2.0, 3.0]}), (:Doc {id: 101, emb: 'none'}), (:Note {emb: [1.0, 2.0, 3.0, 4.0]})",
];

const INDEXES: [(&str, &str); 4] = [
    (
        "docs_emb",
        "CREATE VECTOR INDEX docs_emb FOR (n:Doc) ON (n.emb) OPTIONS {indexConfig: {`vector.dimensions`: 4, `vector.quantization.enabled`: false, `vector.similarity_function`: 'cosine'}}",
    ),
    (
        "cites_emb",
        "CREATE VECTOR INDEX cites_emb FOR ()-[e:CITES]-() ON (e.emb) OPTIONS {indexConfig: {`vector.dimensions`: 2, `vector.quantization.enabled`: false, `vector.similarity_function`: 'euclidean'}}",
    ),
    ("docs_title", "CREATE FULLTEXT INDEX docs_title FOR (n:Doc) ON EACH [n.title]"),
    ("docs_both", "CREATE INDEX docs_both FOR (n:Doc) ON (n.id, n.year)"),
];

/// Keys of the nearest elements, nearest first. The source's indices are not quantized, or it would give a near order.
async fn nearest_in_source(pair: &Pair, index: &str, of: &str, vector: &[f64]) -> Vec<i64> {
    let text = format!(
        "CALL db.index.vector.query{of}s('{index}', {NEAREST}, $vector) YIELD {}, score RETURN {0}.id AS id ORDER BY score DESC",
        if of == "Node" { "node" } else { "relationship" }
    );
    let mut rows = pair.source.graph.execute(query(&text).param("vector", vector.to_vec())).await.unwrap();
    let mut found = Vec::new();
    while let Some(row) = rows.next().await.unwrap() {
        found.push(row.get("id").unwrap());
    }
    found
}

async fn nearest_in_cache(pair: &Pair, of: &str, name: &str, vector: &[f64]) -> Vec<i64> {
    let element = if of == "Node" { "node" } else { "relationship" };
    let text = format!(
        "CALL db.idx.vector.query{of}s('{name}', 'emb', {NEAREST}, vecf32({vector:?})) YIELD {element}, score RETURN {element}.id ORDER BY score"
    );
    let mut cache = pair.cache.connect().await.unwrap();
    let Value::Array(answer) = copier::run(&mut cache, &pair.graph, &text).await.unwrap() else { panic!("no answer") };
    let Value::Array(rows) = &answer[1] else { panic!("no rows: {answer:?}") };
    let number = |row: &Value| match row {
        Value::Array(cells) => match cells[0] {
            Value::Int(number) => number,
            ref other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    rows.iter().map(number).collect()
}

async fn assert_same_neighbours(pair: &Pair, when: &str) {
    for vector in [[0.1, 0.9, -0.3, 0.5], [-0.7, 0.2, 0.6, -0.1], [0.5, -0.5, 0.5, 0.5]] {
        let expected = nearest_in_source(pair, "docs_emb", "Node", &vector).await;
        assert_eq!(expected.len(), NEAREST);
        assert_eq!(nearest_in_cache(pair, "Node", "Doc", &vector).await, expected, "{when}: documents near {vector:?}");
        let expected = nearest_in_source(pair, "cites_emb", "Relationship", &vector[..2]).await;
        assert_eq!(nearest_in_cache(pair, "Relationship", "CITES", &vector[..2]).await, expected, "{when}: near {vector:?}");
    }
}

async fn write(pair: &Pair, text: &str) {
    pair.source.graph.run(query(text)).await.unwrap();
}

#[tokio::test]
async fn vector_indices_of_any_graph_find_the_same_neighbours() {
    let mut pair = Pair::new("vectors").await;
    pair.service = pair.service.clone().with("SYNC_PROFILE", "generic").with("SYNC_SCRUB_ROWS_PER_SECOND", 0);
    for text in GRAPH.iter().chain(INDEXES.iter().map(|(_, text)| text)) {
        write(&pair, text).await;
    }
    write(&pair, "CALL db.awaitIndexes(100)").await;
    let checked = pair.service.finish(&["check"]).await.stdout;
    assert!(
        checked.contains("dimensions where 4 are expected") && checked.contains("a vector is a list of numbers"),
        "{checked}"
    );
    let report = pair.sync("full").await;
    assert_eq!(report["totals"]["quarantined"], 2, "the vectors that are none, and nothing else: {report}");
    assert_same_neighbours(&pair, "after a full sync").await;

    let mut cache = pair.cache.connect().await.unwrap();
    let lists = "MATCH (n) WHERE typeOf(n.emb) = 'List' RETURN count(n)";
    assert!(ask(&mut cache, &pair.graph, lists).await.contains("int(1)"), "the note has no index, and keeps its list");
    let odd = "MATCH (n:Doc) WHERE n.id >= 100 AND n.emb IS NULL RETURN count(n)";
    assert!(ask(&mut cache, &pair.graph, odd).await.contains("int(2)"), "only the property is left out");

    let (running, http) = Http::start(&pair.service).unwrap();
    for (on, property, kind) in [("Doc", "title", "FULLTEXT"), ("Doc", "year", "RANGE"), ("Doc", "id", "RANGE")] {
        pair.until_indexed(on, property, kind).await;
    }
    write(&pair, "MATCH (d:Doc {id: 17}) SET d.emb = [0.1, 0.9, -0.3, 0.5]").await;
    write(&pair, "CREATE (:Doc {id: 200, emb: [-0.7, 0.2, 0.6, -0.1]})").await;
    write(&pair, "MATCH (a:Doc {id: 200}), (b:Doc {id: 17}) CREATE (a)-[:CITES {id: 200, emb: [0.1, 0.9]}]->(b)").await;
    // An index of the source that comes later leads to a full sync.
    let notes = INDEXES[0].1.replace("docs_emb", "notes_emb").replace("Doc", "Note");
    write(&pair, &notes).await;
    pair.until_indexed("Note", "emb", "VECTOR").await;
    let verified = format!("/api/sync/wait?level=verified&timeout_ms=60000&bookmark={}", encoded(pair.bookmark().await.as_str()));
    let (code, answer) = http.get(&verified).await.unwrap();
    assert_eq!(code, 200, "{answer}");
    assert_same_neighbours(&pair, "after changes").await;
    assert!(ask(&mut cache, &pair.graph, lists).await.contains("int(0)"), "the note has an index now");
    assert_eq!(running.terminate().await, 0);
    for name in INDEXES.iter().map(|(name, _)| *name).chain(["notes_emb"]) {
        write(&pair, &format!("DROP INDEX {name}")).await;
    }
}

/// A bookmark for a query's text.
fn encoded(bookmark: &str) -> String {
    bookmark.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Facts of which most have vectors of eight numbers and some have others.
const ODD: &str = "MATCH ()-[e:RELATES_TO]->() WITH e ORDER BY e.uuid LIMIT 5 SET e.fact_embedding = [1.0, 2.0, 3.0]";

#[tokio::test]
async fn a_vector_of_another_length_is_left_out_and_every_search_works() {
    let mut pair = Pair::new("dimensions").await;
    pair.service = pair.service.clone().with("SYNC_SCRUB_ROWS_PER_SECOND", 0);
    build(&pair.source.graph, &GraphSpec { dimension: 8, ..GraphSpec::default() }).await.unwrap();
    write(&pair, ODD).await;
    let checked = pair.service.finish(&["check"]).await;
    assert!(checked.stdout.contains("5 quarantined") && checked.stdout.contains("8 are expected"), "{}", checked.stdout);
    assert_eq!(pair.sync("full").await["totals"]["quarantined"], 5);
    let near = "MATCH ()-[e:RELATES_TO]->() WHERE e.fact_embedding IS NOT NULL RETURN \
                count(vec.cosineDistance(e.fact_embedding, vecf32([1, 2, 3, 4, 5, 6, 7, 8])))";
    let mut cache = pair.cache.connect().await.unwrap();
    let mut rows = pair.source.graph.execute(query("MATCH ()-[e:RELATES_TO]->() RETURN count(e) AS n")).await.unwrap();
    let facts: i64 = rows.next().await.unwrap().unwrap().get("n").unwrap();
    assert!(ask(&mut cache, &pair.graph, near).await.contains(&format!("int({})", facts - 5)));
    // One that comes later, after a restart: the length is remembered.
    write(&pair, "MATCH (n:Entity) WITH n ORDER BY n.uuid LIMIT 1 SET n.name_embedding = [1.0], n.created_at = datetime()").await;
    pair.sync("incremental").await;
    let entries: usize = redis::cmd("SCARD").arg(format!("{{{}}}:quarantine", pair.graph)).query_async(&mut cache).await.unwrap();
    assert_eq!(entries, 6);
    assert_eq!(pair.service.finish(&["verify"]).await.code, 0);
}
