//! Names of labels, types and properties that mean something else where they stand in a query.

use std::time::Instant;

use neo4rs::query;

use super::{ARRIVAL, applied, small, started};
use crate::pipeline::Pair;
use crate::support::comparer::{Filter, GENERIC, assert_part_equal, assert_same_content, compare_part};
use crate::support::graph::build;

/// Neo4j reads `\uXXXX` anywhere in a query's text as one character, and refuses a query where no four digits follow.
const NAMES: [&str; 8] = [r"C:\users", r"\u0041", r"\\u0041", r"\u", r"a\", r"\'", "a\u{1}b\t", "$x.y:z"];

/// With one name of every character up to U+00FF, but for those that a name of the cache or of Neo4j cannot hold.
fn names() -> Vec<String> {
    let every_character = ('\u{1}'..='\u{ff}').filter(|c| *c != '`').collect();
    NAMES.iter().map(|name| (*name).to_owned()).chain([every_character]).collect()
}

async fn write(pair: &Pair, text: &str, name: &str) {
    pair.source.graph.run(query(text).param("name", name)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
}

async fn write_names(pair: &Pair, phase: &str) {
    for name in names() {
        let text = format!(
            "CREATE (a:$($name) {{phase: '{phase}'}}) SET a[$name] = $name CREATE (a)-[e:$($name)]->(a) SET e[$name] = $name"
        );
        write(pair, &text, &name).await;
    }
}

#[tokio::test]
async fn a_name_of_any_characters_stops_nothing() {
    let mut pair = Pair::new("odd_names").await;
    pair.service = pair.service.clone().with("SYNC_PROFILE", "generic");
    let assert_same = async || assert_same_content(&pair.source.graph, &pair.cache, &pair.graph, GENERIC).await;
    write_names(&pair, "before").await;
    let (running, http) = started(&pair).await;
    assert_same().await;
    write_names(&pair, "after").await;
    applied(&pair, &http, &running).await;
    assert_same().await;
    pair.source.graph.run(query("MATCH (n {phase: 'before'}) DETACH DELETE n")).await.unwrap();
    applied(&pair, &http, &running).await;
    assert_same().await;
    assert_eq!(running.terminate().await, 0);
    assert_eq!(pair.service.finish(&["verify"]).await.code, 0);
}

#[tokio::test]
async fn a_label_or_type_beside_the_profile_stops_nothing() {
    let pair = Pair::new("odd_labels").await;
    build(&pair.source.graph, &small()).await.unwrap();
    for name in names() {
        write(&pair, "MATCH (n:Entity) WITH n ORDER BY n.uuid LIMIT 1 SET n:$($name)", &name).await;
        // Of no kind of the profile, and shown as such.
        write(&pair, "CREATE (a:Stranger)-[:$($name)]->(a)", &name).await;
    }
    let checked = pair.service.finish(&["check"]).await;
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
    let rest = Filter { nodes: Some("NOT n:Stranger".to_owned()), relationships: Some("NOT a:Stranger".to_owned()) };
    let (running, http) = started(&pair).await;
    assert_part_equal(&pair.source.graph, &rest, &pair.cache, &pair.graph).await;
    // A label that comes or goes by itself is found by the counts of labels.
    for name in names() {
        write(&pair, "MATCH (n:Entity) WITH n ORDER BY n.uuid SKIP 1 LIMIT 2 SET n:$($name)", &name).await;
    }
    write(&pair, "MATCH (n:Entity) WITH n ORDER BY n.uuid LIMIT 1 REMOVE n:$($name)", r"C:\users").await;
    let begun = Instant::now();
    while !compare_part(&pair.source.graph, &rest, &pair.cache, &pair.graph).await.is_ok_and(|found| found.is_empty()) {
        assert!(begun.elapsed() < ARRIVAL, "{}", running.log());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    applied(&pair, &http, &running).await;
    assert_eq!(running.terminate().await, 0);
}
