//! Indices that the source lacks are named with the statements that make them.

use neo4rs::query;

use super::{service, small};
use crate::api;
use crate::pipeline::Pair;
use crate::support::graph::{build, create_indices};

const KEY: &str = "CREATE INDEX IF NOT EXISTS FOR ()-[e:`MENTIONS`]-() ON (e.`uuid`)";
const TIMESTAMP: &str = "CREATE INDEX IF NOT EXISTS FOR (n:`Episodic`) ON (n.`created_at`)";

#[tokio::test]
async fn a_missing_index_of_the_source_is_named_with_its_statement() {
    let pair = Pair::new("missing_indexes").await;
    build(&pair.source.graph, &small()).await.unwrap();
    let write = async |text: &str| pair.source.graph.run(query(text)).await.unwrap();
    let missing = async || pair.service.json(&["check"]).await[0]["survey"]["missing_source_indexes"].clone();
    assert_eq!(missing().await, serde_json::json!([]));

    write("DROP INDEX mention_uuid").await;
    write("DROP INDEX created_at_episodic_index").await;
    // Neither helps: Neo4j orders by no text index, and uses none on two properties for one of them.
    write("CREATE TEXT INDEX odd_text IF NOT EXISTS FOR ()-[e:MENTIONS]-() ON (e.uuid)").await;
    write("CREATE INDEX odd_pair IF NOT EXISTS FOR (n:Episodic) ON (n.created_at, n.name)").await;
    let found = missing().await;
    let text = pair.service.finish(&["check"]).await.stdout;
    let (mut running, http) = api::start(&service(&pair)).await;
    let line = running.line("indices missing in neo4j").await;
    http.until_ready(true).await;
    let log = running.log();
    assert_eq!(running.terminate_now().await, 0);
    // What it names can be run as it stands.
    let statements: Vec<String> = serde_json::from_value(found.clone()).unwrap();
    for statement in &statements {
        write(statement).await;
    }
    let left = missing().await;
    for name in ["odd_text", "odd_pair"] {
        write(&format!("DROP INDEX {name}")).await;
    }
    create_indices(&pair.source.graph).await.unwrap();

    assert_eq!(found, serde_json::json!([TIMESTAMP, KEY]));
    assert!(text.contains(&format!("slow without this index in Neo4j: {KEY}")), "{text}");
    assert!(line.contains(KEY) && line.contains(TIMESTAMP) && line.contains("\"WARN\""), "{line}");
    let first = |line: &&str| line.contains("\"generation\":1,") && line.contains("indices missing in neo4j");
    assert_eq!(log.lines().filter(first).count(), 1, "once in a generation:\n{log}");
    assert_eq!(left, serde_json::json!([]));
}
