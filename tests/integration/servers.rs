//! The servers themselves: what other tests rely on when they stop, freeze and restart them.

use std::time::Duration;

use neo4rs::query;

use crate::support::servers::{FalkorOptions, FalkorServer, Neo4jServer, fresh_graph_name, shared, source_lock};

#[tokio::test]
async fn shared_servers_answer() {
    let source = source_lock().await;
    let mut rows = source.graph.execute(query("RETURN 1 AS one")).await.unwrap();
    let row = rows.next().await.unwrap().unwrap();
    assert_eq!(row.get::<i64>("one").unwrap(), 1);

    let mut cache = shared().await.falkordb.connect().await.unwrap();
    let answer: redis::Value = redis::cmd("GRAPH.QUERY")
        .arg(fresh_graph_name("servers"))
        .arg("CREATE (n:Probe) RETURN count(n)")
        .query_async(&mut cache)
        .await
        .unwrap();
    assert!(matches!(answer, redis::Value::Array(_)), "{answer:?}");
}

#[tokio::test]
async fn a_turn_with_the_source_begins_empty() {
    let first = source_lock().await;
    first.graph.run(query("CREATE (:Entity)-[:RELATES_TO]->(:Entity)")).await.unwrap();
    let written_to = first.address.uri.clone();
    drop(first);
    loop {
        let turn = source_lock().await;
        let mut rows = turn.graph.execute(query("MATCH (n) RETURN count(n) AS count")).await.unwrap();
        assert_eq!(rows.next().await.unwrap().unwrap().get::<i64>("count").unwrap(), 0);
        if turn.address.uri == written_to {
            break;
        }
    }
}

#[tokio::test]
async fn falkordb_with_a_password_survives_a_restart_and_a_freeze() {
    let options = FalkorOptions {
        arguments: ["--appendonly", "yes"].map(str::to_owned).to_vec(),
        password: Some("open-sesame".to_owned()),
    };
    let server = FalkorServer::start_with(options).await.unwrap();
    let mut connection = server.connect().await.unwrap();
    let _: () = redis::cmd("SET").arg("kept").arg("yes").query_async(&mut connection).await.unwrap();

    let first_life = server.pid();
    server.restart().await.unwrap();
    assert_ne!(server.pid(), first_life);
    let mut connection = server.connect().await.unwrap();
    let kept: String = redis::cmd("GET").arg("kept").query_async(&mut connection).await.unwrap();
    assert_eq!(kept, "yes");

    server.pause();
    let ping = redis::cmd("PING");
    let frozen = tokio::time::timeout(Duration::from_millis(300), ping.query_async::<String>(&mut connection));
    assert!(frozen.await.is_err(), "a paused server answered");
    server.resume();
    let pong: String = redis::cmd("PING").query_async(&mut connection).await.unwrap();
    assert_eq!(pong, "PONG");

    server.kill();
    assert!(server.connect().await.is_err(), "a killed server answered");
    let directory = server.directory().to_owned();
    assert!(directory.exists());
    drop(server);
    assert!(!directory.exists(), "its directory was left behind");
}

#[tokio::test]
async fn neo4j_keeps_its_data_over_a_kill_and_a_restart() {
    let server = Neo4jServer::start().await.unwrap();
    let graph = server.address().connect().await.unwrap();
    graph.run(query("CREATE (:Entity {uuid: 'kept'})")).await.unwrap();
    server.kill();
    server.restart().await.unwrap();
    let graph = server.address().connect().await.unwrap();
    let mut rows = graph.execute(query("MATCH (n:Entity {uuid: 'kept'}) RETURN count(n) AS count")).await.unwrap();
    assert_eq!(rows.next().await.unwrap().unwrap().get::<i64>("count").unwrap(), 1);
    server.stop().await;
    assert!(server.address().connect().await.is_err(), "a stopped server answered");
}
