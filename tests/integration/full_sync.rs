//! Full syncs beside the live graph: what readers see, what a refusal leaves, and the way back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::aio::MultiplexedConnection;

use super::pipeline::Pair;
use crate::support::graph::{GraphSpec, build};

/// A graph that takes a moment to copy.
fn spec() -> GraphSpec {
    GraphSpec { entities: 3000, facts: 6000, episodes: 800, mentions: 2000, dimension: 64, ..GraphSpec::default() }
}

pub(crate) async fn ask(cache: &mut MultiplexedConnection, graph: &str, question: &str) -> String {
    let mut command = redis::cmd("GRAPH.RO_QUERY");
    command.arg(graph).arg(question);
    let reply: redis::Value = command.query_async(cache).await.unwrap();
    let redis::Value::Array(parts) = reply else { panic!("{reply:?}") };
    format!("{:?}", parts[1])
}

async fn exists(pair: &Pair, suffix: &str) -> bool {
    let mut cache = pair.cache.connect().await.unwrap();
    redis::cmd("EXISTS").arg(format!("{{{}}}:{suffix}", pair.graph)).query_async(&mut cache).await.unwrap()
}

#[tokio::test]
async fn a_reader_never_sees_a_graph_half_done() {
    let pair = Pair::new("torn").await;
    let spec = spec();
    build(&pair.source.graph, &spec).await.unwrap();
    pair.sync("full").await;
    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (cache, graph, done) = (pair.cache.clone(), pair.graph.clone(), Arc::clone(&done));
        async move {
            let mut cache = cache.connect().await.unwrap();
            let (mut nodes, mut facts, mut questions) = (Vec::new(), Vec::new(), 0);
            while !done.load(Ordering::Relaxed) {
                // By the index too: it must be whole with the graph.
                nodes.push(ask(&mut cache, &graph, "MATCH (n:Entity) WHERE n.group_id = 'group-1' RETURN count(n)").await);
                facts.push(ask(&mut cache, &graph, "MATCH ()-[e:RELATES_TO]->() RETURN count(e)").await);
                questions += 1;
                nodes.dedup();
                facts.dedup();
            }
            (nodes, facts, questions)
        }
    });
    for _ in 0..10 {
        pair.sync("full").await;
    }
    done.store(true, Ordering::Relaxed);
    let (nodes, facts, questions) = reader.await.unwrap();
    assert!(questions > 100, "{questions}");
    assert!(facts.len() == 1 && facts[0].contains(&format!("int({})", spec.facts)), "{facts:?}");
    assert!(nodes.len() == 1 && !nodes[0].contains("int(0)"), "{nodes:?}");
    pair.assert_equal().await;
    for suffix in ["stage", "stage:checkpoint", "previous", "previous:checkpoint"] {
        assert!(!exists(&pair, suffix).await, "{suffix} is left over");
    }
}

#[tokio::test]
async fn the_live_graph_is_fed_while_another_one_is_filled() {
    let pair = Pair::new("fed").await;
    let mut world = build(&pair.source.graph, &spec()).await.unwrap();
    pair.sync("full").await;
    let service = pair.service.clone().with("SYNC_FULL_ON_STARTUP", true);
    let mut running = service.start(&["run"]);
    running.line("full sync begins").await;
    assert!(running.line("full sync begins").await.contains("\"fed\":true"));
    for _ in 0..3 {
        world.add_episode(3, 4).await.unwrap();
    }
    running.line("full sync ended").await;
    let log = running.log();
    let begun = log.find("full sync begins").unwrap();
    let ended = log.find("full sync ended").unwrap();
    assert!(log[begun..ended].contains("\"pass ended\""), "no pass of the live graph ended meanwhile:\n{log}");
    let from = running.length();
    world.add_episode(2, 2).await.unwrap();
    running.line_from(from, "pass ended").await;
    assert_eq!(running.terminate().await, 0);
    pair.sync("incremental").await;
    pair.assert_equal().await;
}

#[tokio::test]
async fn a_kept_graph_can_be_gone_back_to() {
    let pair = Pair::new("kept").await;
    let mut world = build(&pair.source.graph, &GraphSpec::default()).await.unwrap();
    let service = pair.service.clone().with("FULL_SYNC_KEEP_PREVIOUS", true);
    let full = ["sync", "--mode", "full"];
    service.json(&full).await;
    let refused = service.finish(&["rollback"]).await;
    assert!(refused.code == 1 && refused.stderr.contains("roll back"), "{refused:?}");

    let mut cache = pair.cache.connect().await.unwrap();
    let count = "MATCH (n:Episodic) RETURN count(n)";
    let before = ask(&mut cache, &pair.graph, count).await;
    world.add_episode(3, 4).await.unwrap();
    service.json(&full).await;
    let after = ask(&mut cache, &pair.graph, count).await;
    assert_ne!(before, after);
    let report = service.json(&["rollback"]).await;
    assert_eq!((&report[0]["rolled_back"], &report[0]["paused"]), (&true.into(), &true.into()));
    assert_eq!(ask(&mut cache, &pair.graph, count).await, before);
    assert!(exists(&pair, "pause").await);
    // And forth.
    service.json(&["rollback"]).await;
    assert_eq!(ask(&mut cache, &pair.graph, count).await, after);
    // The graph that it goes back to is followed from where it was.
    service.json(&["rollback"]).await;
    pair.sync("incremental").await;
    pair.assert_equal().await;
}

#[tokio::test]
async fn in_place_needs_no_second_graph() {
    let pair = Pair::new("in_place").await;
    build(&pair.source.graph, &GraphSpec::default()).await.unwrap();
    let service = pair.service.clone().with("FULL_SYNC_STRATEGY", "in_place");
    for _ in 0..2 {
        service.json(&["sync", "--mode", "full"]).await;
        pair.assert_equal().await;
    }
    assert!(!exists(&pair, "stage").await);
    let refused = service.finish(&["rollback"]).await;
    assert!(refused.code == 1 && refused.stderr.contains("in_place"), "{refused:?}");
}

#[tokio::test]
async fn in_place_empties_no_graph_that_would_lose_most_of_it() {
    let pair = Pair::new("in_place_guard").await;
    build(&pair.source.graph, &GraphSpec::default()).await.unwrap();
    let service = pair.service.clone().with("FULL_SYNC_STRATEGY", "in_place");
    service.json(&["sync", "--mode", "full"]).await;
    let mut cache = pair.cache.connect().await.unwrap();
    let count = "MATCH (n:Entity) RETURN count(n)";
    let before = ask(&mut cache, &pair.graph, count).await;
    pair.source.graph.run(neo4rs::query("MATCH (n) DETACH DELETE n")).await.unwrap();
    let refused = service.finish(&["sync", "--mode", "full"]).await;
    assert!(refused.code == 1 && refused.stderr.contains("--allow-deletes"), "{refused:?}");
    assert_eq!(ask(&mut cache, &pair.graph, count).await, before);
    service.json(&["sync", "--mode", "full", "--allow-deletes"]).await;
    pair.assert_equal().await;
}

#[tokio::test]
async fn a_stage_that_nobody_owns_is_dropped() {
    let pair = Pair::new("left_over").await;
    build(&pair.source.graph, &GraphSpec::default()).await.unwrap();
    pair.sync("full").await;
    let mut cache = pair.cache.connect().await.unwrap();
    let stage = format!("{{{}}}:stage", pair.graph);
    redis::cmd("GRAPH.QUERY").arg(&stage).arg("CREATE (:Left)").query_async::<redis::Value>(&mut cache).await.unwrap();
    pair.sync("incremental").await;
    assert!(!exists(&pair, "stage").await);
    pair.assert_equal().await;
}

#[tokio::test]
async fn without_the_bulk_command_the_stage_is_filled_by_parameters() {
    let pair = Pair::new("no_bulk").await;
    build(&pair.source.graph, &GraphSpec::default()).await.unwrap();
    let mut cache = pair.cache.connect().await.unwrap();
    let user = format!("without_bulk_{}", std::process::id());
    let mut acl = redis::cmd("ACL");
    acl.arg("SETUSER").arg(&user).arg("reset").arg("on").arg(">secret").arg("~*").arg("&*").arg("+@all").arg("-graph.bulk");
    acl.query_async::<redis::Value>(&mut cache).await.unwrap();
    let service = pair.service.clone().with("FALKORDB_USERNAME", &user).with("FALKORDB_PASSWORD", "secret");
    let finished = service.finish(&["sync", "--mode", "full"]).await;
    assert_eq!(finished.code, 0, "{}", finished.stderr);
    assert_eq!(finished.stderr.matches("GRAPH.BULK").count(), 1, "said once: {}", finished.stderr);
    pair.assert_equal().await;
    let mut acl = redis::cmd("ACL");
    acl.arg("SETUSER").arg(&user).arg("-rename");
    acl.query_async::<redis::Value>(&mut cache).await.unwrap();
    let refused = service.finish(&["sync", "--mode", "full"]).await;
    assert!(refused.code == 1 && refused.stderr.contains("RENAME"), "{refused:?}");
    pair.assert_equal().await;
    redis::cmd("ACL").arg("DELUSER").arg(&user).query_async::<redis::Value>(&mut cache).await.unwrap();
}
