//! What the log tells, and what it must never tell.

use serde_json::Value;

use super::api::{TOKEN, start};
use super::pipeline::Pair;
use crate::support::graph::{GraphSpec, build};

/// In every value of a property that is looked for in the log.
const CANARY: &str = "never-to-be-logged";

fn lines(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[tokio::test]
async fn every_line_tells_whose_it_is_and_none_tells_a_value() {
    let pair = Pair::new("logs").await;
    build(&pair.source.graph, &GraphSpec { entities: 40, facts: 60, ..GraphSpec::default() }).await.unwrap();
    let write = |text: String| pair.source.graph.run(neo4rs::query(&text));
    let properties = format!("name: '{CANARY}', summary: '{CANARY}', created_at: datetime()");
    write(format!("CREATE (:Entity {{uuid: 'written-1', {properties}}})")).await.unwrap();
    let (mut running, http) = start(&pair.service.clone().with("API_TOKEN", TOKEN).with("LOG_LEVEL", "debug")).await;
    http.until_ready(true).await;
    running.line("\"message\":\"pass ended\"").await;
    write(format!("CREATE (:Entity {{uuid: 'written-2', {properties}}})")).await.unwrap();
    // A vector that FalkorDB cannot hold: told by its key and property, never by what it holds.
    let broken = format!("CREATE (:Entity {{uuid: 'broken', name_embedding: '{CANARY}', {properties}}})");
    write(broken).await.unwrap();
    running.line("\"message\":\"quarantined\"").await;
    write("MATCH (n:Entity {uuid: 'written-2'}) DETACH DELETE n".to_owned()).await.unwrap();
    running.line("deleted by key").await;
    let deleted_at = running.length();
    running.line_from(deleted_at, "\"message\":\"pass ended\"").await;
    http.commanded("pause").await;
    http.commanded("resume").await;
    let log = running.log();
    assert_eq!(running.terminate().await, 0);
    assert!(!log.contains(CANARY), "{}", log.lines().find(|line| line.contains(CANARY)).unwrap());
    let lines = lines(&log);
    for line in &lines {
        for field in ["timestamp", "level", "target", "message"] {
            assert!(line[field].is_string(), "{field} is missing: {line}");
        }
        let target = line["target"].as_str().unwrap();
        let of_a_pipeline = ["actors", "sync", "sink", "source"].iter().any(|part| target.contains(&format!("sync::{part}")));
        if of_a_pipeline {
            assert!(line["pipeline"].is_string() && line["generation"].is_u64(), "whose line is it? {line}");
        }
    }
    let audit: Vec<&Value> = lines.iter().filter(|line| line["target"] == "audit").collect();
    let changed = |operation: &str| {
        audit.iter().any(|line| {
            line["message"] == "cache changed"
                && line["operation"] == operation
                && line["kind"] == "Entity"
                && line["number"].is_u64()
        })
    };
    assert!(changed("written") && changed("deleted"), "{log}");
    assert!(audit.iter().any(|line| line["message"] == "deleted by key" && line["keys"] == "written-2"), "{log}");
    let command = audit.iter().find(|line| line["command"] == "pause").unwrap();
    assert!(command["origin"].as_str().unwrap().starts_with("127.0.0.1:") && command["pipeline"] == "default", "{command}");
    let batches = lines.iter().filter(|line| line["message"] == "batch applied" && line["level"] == "DEBUG").count();
    let passes = lines.iter().filter(|line| line["message"] == "pass ended" && line["level"] == "INFO");
    assert!(batches > 2 && passes.clone().count() > 1, "{log}");
    for pass in passes {
        assert!(pass["seconds"].is_f64() && pass["read"].is_u64() && pass["nodes"].is_u64(), "{pass}");
    }
}
