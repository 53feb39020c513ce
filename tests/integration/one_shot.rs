//! A command that ends with success has done all of its work: nothing is left to a pass that nobody runs.

use neo4rs::query;

use super::pipeline::Pair;

const THEN: &str = "datetime('2020-01-01T00:00:00Z')";

#[tokio::test]
async fn one_incremental_sync_applies_what_leaves_no_timestamp() {
    let pair = Pair::new("one_shot").await;
    let write = async |text: &str| pair.source.graph.run(query(text)).await.unwrap();
    let fact = format!("{{group_id: '', name: 'n', fact: 'f', created_at: {THEN}}}");
    write(&format!(
        "UNWIND range(1, 20) AS i CREATE (n:Entity {{uuid: 'e' + i, group_id: '', name: 'n', created_at: {THEN}}}) \
         CREATE (n)-[f:RELATES_TO]->(n) SET f = {fact}, f.uuid = 'f' + i"
    ))
    .await;
    pair.sync("full").await;
    for text in [
        "MATCH (n:Entity {uuid: 'e1'}) SET n:Person",
        "MATCH (n:Entity {uuid: 'e1'}), (m:Entity {uuid: 'e2'}) REMOVE n:Person SET m:Person",
        "MATCH (n:Entity {uuid: 'e3'}) SET n.uuid = 'e3-anew'",
        "MATCH (:Entity {uuid: 'e4'})-[f:RELATES_TO]->() SET f.uuid = 'f4-anew'",
        "MATCH (n:Entity {uuid: 'e5'}) DETACH DELETE n",
    ] {
        write(text).await;
        let report = pair.sync("incremental").await;
        assert_eq!(report["mode"], "incremental", "{report}");
        pair.assert_equal().await;
    }
}

/// As many relationships as wait for a node are quarantined, in the words of every command.
#[tokio::test]
async fn the_parts_of_a_source_agree_where_a_relationship_waits() {
    let pair = Pair::new("parts_agree").await;
    let text = format!(
        "CREATE (a:Entity {{uuid: 'a', created_at: {THEN}}})-[:RELATES_TO {{uuid: 'f', created_at: {THEN}}}]->\
         (:Entity:`x``y` {{uuid: 'b', created_at: {THEN}}})"
    );
    pair.source.graph.run(query(&text)).await.unwrap();
    let checked = pair.service.json_with_code(&["check"], 1).await;
    let synced = pair.service.json(&["sync", "--mode", "full"]).await;
    let verified = pair.service.json(&["verify"]).await;
    for (command, report) in [("verify", verified), ("sync", synced), ("check", checked)] {
        let parts = ["read", "kept", "collapsed", "quarantined"].map(|name| report[0]["parts"][name].as_u64().unwrap());
        assert_eq!(parts, [3, 1, 0, 2], "{command}: {report}");
    }
}
