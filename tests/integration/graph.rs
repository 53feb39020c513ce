//! The graph that other tests copy is what it says it is.

use std::time::{Duration, Instant};

use neo4rs::{Graph, query};

use crate::support::graph::{GraphSpec, build};
use crate::support::servers::source_lock;

async fn count(graph: &Graph, text: &str) -> usize {
    let mut rows = graph.execute(query(text)).await.unwrap();
    let count: i64 = rows.next().await.unwrap().unwrap().get("count").unwrap();
    usize::try_from(count).unwrap()
}

#[tokio::test]
async fn a_small_graph_has_what_its_specification_says() {
    let source = source_lock().await;
    let spec = GraphSpec::default();
    let mut world = build(&source.graph, &spec).await.unwrap();
    let graph = &source.graph;
    assert_eq!(count(graph, "MATCH (n) RETURN count(n) AS count").await, spec.nodes());
    assert_eq!(count(graph, "MATCH ()-[e]->() RETURN count(e) AS count").await, spec.relationships());
    let vectors = "MATCH (n) WHERE n.name_embedding IS NOT NULL RETURN count(n) AS count";
    assert_eq!(count(graph, vectors).await, spec.entities + spec.communities);
    let crossing = "MATCH (a)-[e]->(b) WHERE a.group_id <> e.group_id OR b.group_id <> e.group_id RETURN count(e) AS count";
    assert_eq!(count(graph, crossing).await, 0);
    // Other tests have left those of their own kinds.
    let indices = "SHOW INDEXES YIELD type, labelsOrTypes AS on WHERE type IN ['RANGE', 'FULLTEXT'] AND on[0] IN ['Entity', \
                   'Episodic', 'Community', 'Saga', 'RELATES_TO', 'MENTIONS', 'HAS_MEMBER', 'HAS_EPISODE', 'NEXT_EPISODE'] \
                   RETURN count(*) AS count";
    assert_eq!(count(graph, indices).await, 31);

    let episode = world.add_episode(3, 4).await.unwrap();
    assert_eq!(episode.entities.len(), 3);
    assert_eq!(count(graph, "MATCH (n) RETURN count(n) AS count").await, spec.nodes() + 4);
    assert_eq!(count(graph, "MATCH ()-[e]->() RETURN count(e) AS count").await, spec.relationships() + 8);
    world.delete_node(&episode.uuid).await.unwrap();
    assert_eq!(count(graph, "MATCH (n) RETURN count(n) AS count").await, spec.nodes() + 3);
}

#[tokio::test]
async fn a_large_graph_is_written_in_time() {
    let source = source_lock().await;
    let spec = GraphSpec::large();
    assert_eq!((spec.nodes(), spec.relationships(), spec.vectors()), (25_000, 70_000, 60_000));
    let start = Instant::now();
    build(&source.graph, &spec).await.unwrap();
    let took = start.elapsed();
    println!("25,000 nodes and 70,000 relationships written in {took:.1?}");
    assert!(took < Duration::from_secs(300), "took {took:?}");
    let graph = &source.graph;
    assert_eq!(count(graph, "MATCH (n) RETURN count(n) AS count").await, spec.nodes());
    assert_eq!(count(graph, "MATCH ()-[e]->() RETURN count(e) AS count").await, spec.relationships());
}
