//! An element stands in the graph of its group or in none: where groups are tenants, nobody reads what has left theirs.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;

use super::super::api::Http;
use super::{DEFAULT, Groups};
use crate::support::deadline::EVENT;
use crate::support::service::Running;

const POLL: Duration = Duration::from_millis(50);

/// Long before the service starts.
const THEN: &str = "datetime('2020-01-01T00:00:00Z')";

impl Groups {
    /// Without the comparison in the background, which would mend in a moment what a pass has missed.
    async fn quiet() -> Self {
        let mut groups = Self::new().await;
        groups.service = groups
            .service
            .with("SYNC_SCRUB_ROWS_PER_SECOND", 0)
            .with("SYNC_DIFFERENTIAL_INTERVAL_SECONDS", 0)
            .with("LOG_LEVEL", "debug");
        groups
    }

    async fn applied(&self, http: &Http, running: &Running) {
        self.told(http, running, "applied").await;
    }

    async fn told(&self, http: &Http, running: &Running, level: &str) {
        http.until_told(&format!("bookmark={}&level={level}", self.bookmark().await), running).await;
    }

    /// The keys of the elements of a graph; none where there is no graph.
    async fn keys(&self, graph: &str) -> Vec<String> {
        if !self.graphs().await.contains(graph) {
            return Vec::new();
        }
        let mut found = Vec::new();
        for text in ["MATCH (n) RETURN n.uuid", "MATCH ()-[e]->() RETURN e.uuid"] {
            let answer = match self.try_redis(&["GRAPH.RO_QUERY", graph, text]).await {
                // The service has removed it since.
                Err(error) if error.to_string().contains("empty key") => return Vec::new(),
                answer => redis::from_redis_value::<Vec<redis::Value>>(answer.unwrap()).unwrap(),
            };
            let rows: Vec<Vec<String>> = redis::from_redis_value(answer[1].clone()).unwrap();
            found.extend(rows.into_iter().flatten());
        }
        found.sort();
        found
    }

    /// A client deletes a graph, and another one that asks it makes it again, empty.
    async fn lose_content(&self, graph: &str) {
        self.redis(&["GRAPH.DELETE", graph]).await;
        self.redis(&["GRAPH.QUERY", graph, "MATCH (n) RETURN n"]).await;
    }

    async fn has_again(&self, graph: &str, keys: &[String], running: &Running) {
        let begun = Instant::now();
        while self.keys(graph).await != keys {
            assert!(begun.elapsed() < EVENT, "{}", running.log());
            sleep(POLL).await;
        }
    }
}

async fn listed(http: &Http) -> Vec<String> {
    let answer = http.json("/api/sync/quarantine").await;
    let entries = answer["pipelines"]["default"]["entries"].as_array().unwrap().clone();
    let mut keys: Vec<String> = entries.iter().map(|entry| entry["key"].as_str().unwrap().to_owned()).collect();
    keys.sort();
    keys
}

/// Three nodes of one group, and two relationships between them.
async fn triangle(groups: &Groups) {
    groups
        .write(&format!(
            "CREATE (a:Entity {{uuid: 'a', group_id: 'A', created_at: {THEN}}}) CREATE (b:Entity {{uuid: 'b', group_id: 'A', created_at: {THEN}}}) \
             CREATE (c:Entity {{uuid: 'c', group_id: 'A', created_at: {THEN}}}) CREATE (z:Entity {{uuid: 'z', group_id: 'B', created_at: {THEN}}}) \
             CREATE (a)-[:RELATES_TO {{uuid: 'ab', group_id: 'A', fact: '1', created_at: {THEN}}}]->(b) \
             CREATE (b)-[:RELATES_TO {{uuid: 'bc', group_id: 'A', fact: '1', created_at: {THEN}}}]->(c)"
        ))
        .await;
}

#[tokio::test]
async fn a_node_whose_group_cannot_have_a_graph_leaves_its_old_one() {
    let groups = Groups::quiet().await;
    triangle(&groups).await;
    let (running, http) = groups.start().await;
    groups.applied(&http, &running).await;
    assert_eq!(groups.keys("A").await, ["a", "ab", "b", "bc", "c"]);
    groups.write("MATCH (n:Entity {uuid: 'a'}) SET n.group_id = '{x}', n.created_at = datetime()").await;
    groups.applied(&http, &running).await;
    assert_eq!(groups.keys("A").await, ["b", "bc", "c"], "{}", running.log());
    assert_eq!(listed(&http).await, ["a", "relationships of (:Entity a)"]);
    groups.write("MATCH (n:Entity {uuid: 'a'}) SET n.group_id = 'A', n.created_at = datetime()").await;
    groups.applied(&http, &running).await;
    assert_eq!(groups.keys("A").await, ["a", "ab", "b", "bc", "c"], "{}", running.log());
    assert_eq!(listed(&http).await, Vec::<String>::new());
    assert_eq!(running.terminate().await, 0);
}

#[tokio::test]
async fn a_node_whose_group_has_somebody_elses_graph_leaves_its_old_one() {
    let groups = Groups::quiet().await;
    triangle(&groups).await;
    let (running, http) = groups.start().await;
    groups.applied(&http, &running).await;
    groups.redis(&["GRAPH.QUERY", "X", "CREATE (:Precious {name: 'theirs'})"]).await;
    groups.write("MATCH (n:Entity {uuid: 'a'}) SET n.group_id = 'X', n.created_at = datetime()").await;
    groups.applied(&http, &running).await;
    assert_eq!(groups.keys("A").await, ["b", "bc", "c"], "{}", running.log());
    // The graph of a's group may be made one day, so the relationship is of another group than its start.
    assert_eq!(listed(&http).await, ["a", "ab"]);
    groups.told(&http, &running, "verified").await;
    // Another life of the service knows it as well.
    assert_eq!(running.terminate().await, 0);
    let (running, http) = groups.start().await;
    groups.write("MATCH (n:Entity {uuid: 'c'}) SET n.group_id = 'X', n.created_at = datetime()").await;
    groups.applied(&http, &running).await;
    assert_eq!(groups.keys("A").await, ["b"], "{}", running.log());
    groups.write("MATCH (n:Entity {group_id: 'X'}) SET n.group_id = 'A', n.created_at = datetime()").await;
    groups.applied(&http, &running).await;
    assert_eq!(groups.keys("A").await, ["a", "ab", "b", "bc", "c"], "{}", running.log());
    assert_eq!(listed(&http).await, Vec::<String>::new());
    assert_eq!(running.terminate().await, 0);
}

#[tokio::test]
async fn what_the_log_tells_leaves_its_old_graph_for_somebody_elses_and_returns() {
    let mut groups = Groups::quiet().await;
    groups.service = groups.service.with("NEO4J_TRANSACTION_LOG_DIRECTORY", groups.source.log.display());
    triangle(&groups).await;
    let (running, http) = groups.start().await;
    groups.applied(&http, &running).await;
    groups.redis(&["GRAPH.QUERY", "X", "CREATE (:Precious {name: 'theirs'})"]).await;
    groups.write("MATCH (n:Entity {uuid: 'a'}) SET n.group_id = 'X'").await;
    groups.applied(&http, &running).await;
    assert_eq!(groups.keys("A").await, ["b", "bc", "c"], "{}", running.log());
    groups.write("MATCH (n:Entity {uuid: 'a'}) SET n.group_id = 'A'").await;
    groups.applied(&http, &running).await;
    assert_eq!(groups.keys("A").await, ["a", "ab", "b", "bc", "c"], "{}", running.log());
    assert_eq!(listed(&http).await, Vec::<String>::new());
    // Another node stands for the key of one that no graph can hold, and one that no graph can hold for a deleted one.
    groups.write("CREATE (:Entity {uuid: 'k', group_id: 'X'})").await;
    groups
        .write(
            "CREATE (:Community {uuid: 'm', group_id: 'A'})-[:HAS_MEMBER {uuid: 'r', group_id: 'A'}]->\
             (:Entity {uuid: 'k', group_id: 'A'})",
        )
        .await;
    groups.applied(&http, &running).await;
    groups.write("MATCH (n:Entity {uuid: 'k', group_id: 'X'}) DELETE n").await;
    groups.applied(&http, &running).await;
    assert_eq!(groups.keys("A").await, ["a", "ab", "b", "bc", "c", "k", "m", "r"], "{}", running.log());
    assert_eq!(listed(&http).await, Vec::<String>::new());
    groups.write("CREATE (:Entity {uuid: 'a', group_id: 'X'})").await;
    groups.applied(&http, &running).await;
    groups.write("MATCH (n:Entity {uuid: 'a', group_id: 'A'}) DETACH DELETE n").await;
    groups.applied(&http, &running).await;
    let held = groups.keys("A").await;
    assert_eq!(held, ["b", "bc", "c", "k", "m", "r"], "{}", running.log());
    groups.told(&http, &running, "verified").await;
    // Nothing is committed after a client deletes a graph and another one asks it.
    groups.lose_content("A").await;
    groups.has_again("A", &held, &running).await;
    assert_eq!(running.terminate().await, 0);
    groups.lose_content("A").await;
    let (running, _) = groups.start().await;
    groups.has_again("A", &held, &running).await;
    assert_eq!(running.terminate().await, 0);
}

#[tokio::test]
async fn a_relationship_of_another_group_than_its_ends_leaves_its_old_graph() {
    let groups = Groups::quiet().await;
    triangle(&groups).await;
    let (running, http) = groups.start().await;
    groups.applied(&http, &running).await;
    // To a group that has a graph, to one that has none yet, and to one that cannot have any.
    for group in ["B", "D", "{x}"] {
        groups
            .write(&format!(
                "MATCH ()-[f:RELATES_TO {{uuid: 'ab'}}]->() SET f.group_id = '{group}', f.fact = 'moved', f.created_at = datetime()"
            ))
            .await;
        groups.applied(&http, &running).await;
        assert_eq!(groups.keys("A").await, ["a", "b", "bc", "c"], "to {group}\n{}", running.log());
        assert_eq!(groups.keys("B").await, ["z"]);
        assert_eq!(listed(&http).await, ["ab"], "to {group}");
        groups.write("MATCH ()-[f:RELATES_TO {uuid: 'ab'}]->() SET f.group_id = 'A', f.created_at = datetime()").await;
        groups.applied(&http, &running).await;
        assert_eq!(groups.keys("A").await, ["a", "ab", "b", "bc", "c"], "back from {group}\n{}", running.log());
        assert_eq!(listed(&http).await, Vec::<String>::new());
    }
    // A node that goes leaves relationships behind that no graph can hold.
    groups.write("MATCH (n:Entity {uuid: 'b'}) SET n.group_id = 'B', n.created_at = datetime()").await;
    groups.applied(&http, &running).await;
    assert_eq!(
        (groups.keys("A").await, groups.keys("B").await),
        (vec!["a".to_owned(), "c".to_owned()], vec!["b".to_owned(), "z".to_owned()])
    );
    assert_eq!(listed(&http).await, ["ab", "bc"]);
    groups.told(&http, &running, "verified").await;
    assert_eq!(running.terminate().await, 0);
}

#[tokio::test]
async fn keys_that_two_groups_exchange_without_a_trace_stand_in_the_right_graphs() {
    let groups = Groups::quiet().await;
    let saga = |uuid: &str, group: &str| format!("(:Saga {{uuid: '{uuid}', group_id: '{group}', created_at: {THEN}}})");
    groups.write(&format!("CREATE {}, {}, {}", saga("s", "A"), saga("t", "B"), saga("u", "B"))).await;
    let (running, http) = groups.start().await;
    groups.applied(&http, &running).await;
    assert_eq!((groups.keys("A").await, groups.keys("B").await), (vec!["s".to_owned()], vec!["t".to_owned(), "u".to_owned()]));
    groups.write("MATCH (s:Saga {uuid: 's'}), (t:Saga {uuid: 't'}) SET s.uuid = 't', t.uuid = 's'").await;
    groups.applied(&http, &running).await;
    assert_eq!(
        (groups.keys("A").await, groups.keys("B").await),
        (vec!["t".to_owned()], vec!["s".to_owned(), "u".to_owned()]),
        "{}",
        running.log()
    );
    assert_eq!(running.terminate().await, 0);
}

#[tokio::test]
async fn another_default_graph_is_filled_and_the_old_one_goes() {
    let groups = Groups::quiet().await;
    groups
        .write(&format!(
            "CREATE (:Entity {{uuid: 'without', created_at: {THEN}}}) CREATE (:Entity {{uuid: 'empty', group_id: '', created_at: {THEN}}}) \
             CREATE (:Entity {{uuid: 'b', group_id: 'B', created_at: {THEN}}})"
        ))
        .await;
    let first = groups.service.clone().with("ROUTING_DEFAULT_GRAPH", "d1");
    first.json(&["sync", "--mode", "full"]).await;
    assert_eq!(groups.keys("d1").await, ["empty", "without"]);
    let mut groups = groups;
    groups.service = groups.service.with("ROUTING_DEFAULT_GRAPH", "d2");
    let checked = groups.service.json(&["check"]).await;
    assert!(checked[0]["would_do"].as_str().unwrap().contains("routing.default_graph"), "{checked}");
    let (running, http) = groups.start().await;
    groups.applied(&http, &running).await;
    assert_eq!(groups.keys("d2").await, ["empty", "without"], "{}", running.log());
    assert_eq!(groups.graphs().await, ["B", "d2"].map(str::to_owned).into());
    groups.told(&http, &running, "verified").await;
    // What has no group and stands in another graph is a difference.
    groups.redis(&["GRAPH.QUERY", "B", "CREATE (:Entity {uuid: 'without', created_at: '2020-01-01T00:00:00+00:00'})"]).await;
    groups.redis(&["GRAPH.QUERY", "d2", "MATCH (n {uuid: 'without'}) DELETE n"]).await;
    let verified = groups.service.finish(&["verify"]).await;
    assert_eq!(verified.code, 1, "{verified:?}");
    assert_eq!(running.terminate().await, 0);
    let again = groups.start().await.0;
    assert!(!again.log().contains("routing.default_graph"), "the routing is as before\n{}", again.log());
    assert_eq!(again.terminate().await, 0);
}

/// The parts of a report, without what nobody reads.
fn parts(report: &Value) -> [u64; 4] {
    ["read", "kept", "collapsed", "quarantined"].map(|name| report[0]["parts"][name].as_u64().unwrap())
}

#[tokio::test]
async fn check_sync_and_verify_agree_about_what_is_between_groups() {
    let groups = Groups::quiet().await;
    let entity = |uuid: &str, group: &str| format!("({uuid}:Entity {{uuid: '{uuid}', group_id: {group}, created_at: {THEN}}})");
    let fact = |from: &str, to: &str, group: &str| {
        format!("({from})-[:RELATES_TO {{uuid: '{from}{to}', group_id: '{group}', created_at: {THEN}}}]->({to})")
    };
    let nodes =
        [entity("a", "'A'"), entity("b", "'B'"), entity("x", "'{x}'"), entity("n", "5"), entity("d", "''"), entity("e", "'_'")];
    // Between two groups; to nodes that have no graph; of another group than both ends; and one of the graph of no group.
    let facts = [fact("a", "b", "A"), fact("a", "n", "A"), fact("a", "x", "A"), fact("a", "a", "B"), fact("d", "e", DEFAULT)];
    groups.write(&format!("CREATE {}, {}", nodes.join(", "), facts.join(", "))).await;
    let checked = groups.service.json_with_code(&["check"], 1).await;
    let synced = groups.service.json(&["sync", "--mode", "full"]).await;
    let verified = groups.service.json(&["verify"]).await;
    let wanted = [11, 5, 0, 6];
    assert_eq!(parts(&verified), wanted, "{verified}");
    assert_eq!(parts(&synced), wanted, "{synced}");
    assert_eq!(parts(&checked), wanted, "{checked}");
    assert_eq!(checked[0]["survey"]["quarantined"], 6, "{checked}");
    assert_eq!(groups.keys(DEFAULT).await, ["d", "de", "e"]);
}
