//! More names of properties than FalkorDB can tell apart, and names that are too long for it.

use std::collections::BTreeMap;

use neo4rs::query;
use redis::Value;

use super::pipeline::PROGRAM;
use crate::support::copier;
use crate::support::servers::{Neo4jServer, fresh_graph_name, shared};
use crate::support::service::Service;

/// What FalkorDB numbers with 16 bits, and what is kept free of it.
const LIMIT: usize = 65_534;

/// Nodes, each with so many names of its own. Fewer than a payload has columns, so that they are loaded in bulk.
const NODES: usize = 132;
const OF_EACH: usize = 500;

/// The properties of a node of the cache by name.
async fn properties(cache: &mut redis::aio::MultiplexedConnection, graph: &str, node: usize) -> BTreeMap<String, String> {
    let text = format!("MATCH (n:Wide) WHERE n.node = {node} UNWIND keys(n) AS k RETURN k, toString(n[k])");
    let Value::Array(answer) = copier::run(cache, graph, &text).await.unwrap() else { panic!("no answer") };
    let Value::Array(rows) = &answer[1] else { panic!("no rows") };
    let text = |value: &Value| match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        other => format!("{other:?}"),
    };
    let row = |row: &Value| match row {
        Value::Array(cells) => (text(&cells[0]), text(&cells[1])),
        other => panic!("{other:?}"),
    };
    rows.iter().map(row).collect()
}

#[tokio::test]
async fn names_beyond_the_limit_are_quarantined_and_overwrite_nothing() {
    // Neo4j keeps names for good, so it is one of its own.
    let source = Neo4jServer::start().await.unwrap();
    let neo4j = source.address().connect().await.unwrap();
    for node in 0..NODES {
        let names = (0..OF_EACH).map(|name| format!("n{node}_{name}: {name}")).collect::<Vec<_>>().join(", ");
        neo4j.run(query(&format!("CREATE (:Wide {{node: {node}, {names}}})"))).await.unwrap();
    }
    let long = "x".repeat(600);
    neo4j.run(query(&format!("MATCH (n:Wide {{node: 3}}) SET n.{long} = 1"))).await.unwrap();
    let address = shared().await.falkordb.address();
    let graph = fresh_graph_name("names");
    let service = Service::new(PROGRAM, &source.address(), &address, &graph)
        .with("SYNC_PROFILE", "generic")
        .with("SYNC_SCRUB_ROWS_PER_SECOND", 0);
    let names = NODES * OF_EACH + 2;
    let beyond = names - LIMIT;

    let checked = service.finish(&["check"]).await;
    assert_eq!(checked.code, 1, "{}", checked.stdout);
    assert!(checked.stdout.contains(&format!("{LIMIT} of at most {LIMIT}")), "{}", checked.stdout);
    assert!(checked.stdout.contains(&format!("{beyond} quarantined")), "{}", checked.stdout);
    assert!(checked.stdout.contains("longer than 512 bytes"), "{}", checked.stdout);

    let report = service.json(&["sync", "--mode", "full"]).await[0].clone();
    assert_eq!(report["totals"]["quarantined"], beyond + 1, "{report}");
    let mut cache = address.connect().await.unwrap();
    let mut found = 0;
    for node in 0..NODES {
        let held = properties(&mut cache, &graph, node).await;
        assert_eq!(held.get("node"), Some(&node.to_string()), "node {node}: {}", held.len());
        assert_eq!(held.get("_neo4j_id").map(String::len), Some(12), "node {node}");
        for (name, value) in held.iter().filter(|(name, _)| name.starts_with('n') && *name != "node") {
            let (of, number) = name[1..].split_once('_').unwrap();
            assert_eq!((of, number), (node.to_string().as_str(), value.as_str()), "node {node} has {name}");
            found += 1;
        }
    }
    assert_eq!(found, NODES * OF_EACH - beyond);

    // One that comes later is refused, and what the graph has stays writable.
    neo4j.run(query("MATCH (n:Wide {node: 5}) SET n.late = 1, n.n5_7 = 'changed'")).await.unwrap();
    neo4j.run(query("CREATE (:Wide {node: 999, later: 2})")).await.unwrap();
    service.json(&["sync", "--mode", "differential"]).await;
    let held = properties(&mut cache, &graph, 5).await;
    assert_eq!((held.get("late"), held.get("n5_7").map(String::as_str)), (None, Some("changed")));
    assert_eq!(properties(&mut cache, &graph, 999).await.len(), 2, "its number and its node");
    assert_eq!(service.finish(&["verify"]).await.code, 0);
    source.stop().await;
}
