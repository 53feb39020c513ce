//! Names that the source has used and that no element has any more.

use neo4rs::query;

use crate::pipeline::Pair;

#[tokio::test]
async fn a_name_that_no_element_has_any_more_is_free() {
    let mut pair = Pair::new("tokens").await;
    pair.service = pair.service.clone().with("SYNC_PROFILE", "generic");
    let write = async |text: &str| pair.source.graph.run(query(text)).await.unwrap();
    write("CREATE (a:Person {name: 'a'})-[:KNOWS]->(b:Person {name: 'b'})").await;
    let refused = async |what: &str| {
        let checked = pair.service.finish(&["check"]).await;
        assert_eq!(checked.code, 1, "{what}: {}", checked.stdout);
        assert!(checked.stderr.contains(what), "{}", checked.stderr);
    };
    write("MATCH (n:Person {name: 'a'}) SET n._neo4j_id = 1").await;
    refused("a property _neo4j_id").await;
    write("MATCH (n:Person) REMOVE n._neo4j_id WITH n MATCH (n)-[e:KNOWS]->() SET e._neo4j_id = 1").await;
    refused("a property _neo4j_id").await;
    write("MATCH ()-[e:KNOWS]->() REMOVE e._neo4j_id").await;
    write("CREATE (:_Unlabelled)").await;
    refused("a label _Unlabelled").await;
    write("MATCH (n:_Unlabelled) DELETE n").await;

    // An index keeps a label in Neo4j's list.
    write("CREATE INDEX odd_unlabelled IF NOT EXISTS FOR (n:_Unlabelled) ON (n.x)").await;
    let checked = pair.service.finish(&["check"]).await;
    write("DROP INDEX odd_unlabelled").await;
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
    let report = pair.sync("full").await;
    assert_eq!((&report["totals"]["nodes"], &report["totals"]["relationships"]), (&2.into(), &1.into()), "{report}");
}
