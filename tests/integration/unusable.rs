//! Elements that become unusable after the first sync: the pass that notices the change lists them, takes their old state out of
//! the cache, and brings them back once they are usable again. No comparison helps: none runs in the background.

use std::time::{Duration, Instant};

use neo4rs::query;
use serde_json::Value;

use super::api::{self, Http, TOKEN};
use super::pipeline::{Pair, percent_encoded};
use crate::support::arrival::until_equal;
use crate::support::deadline::EVENT;
use crate::support::service::{Running, Service};

const POLL: Duration = Duration::from_millis(50);

/// Five entities in a ring of facts.
const RING: &str = "UNWIND ['a', 'b', 'c', 'd', 'e'] AS name CREATE (n:Entity {uuid: 'ent-' + name, name: name, group_id: '', \
                    summary: 'old', created_at: datetime()}) WITH collect(n) AS nodes UNWIND range(0, 4) AS i \
                    WITH nodes[i] AS start, nodes[(i + 1) % 5] AS end, i CREATE (start)-[:RELATES_TO {uuid: 'fact-' + i, name: 'n', \
                    fact: 'f', group_id: '', created_at: datetime()}]->(end)";

/// A pipeline at work.
pub(super) struct Watched {
    pub(super) pair: Pair,
    pub(super) running: Running,
    pub(super) http: Http,
}

impl Watched {
    /// Starts over this content of the source, with the first sync done.
    pub(super) async fn new(test: &str, texts: &[&str], service: impl Fn(Service) -> Service) -> Self {
        let pair = Pair::new(test).await;
        for text in texts {
            pair.source.graph.run(query(text)).await.unwrap();
        }
        // Without an interval, the comparison that is due after the first sync does not run either.
        let quiet = pair.service.clone().with("API_TOKEN", TOKEN).with("SYNC_SCRUB_ROWS_PER_SECOND", 0);
        let quiet = quiet.with("SYNC_DIFFERENTIAL_INTERVAL_SECONDS", 0);
        let (running, http) = api::start(&service(quiet)).await;
        http.until_ready(true).await;
        Self { pair, running, http }
    }

    pub(super) async fn write(&self, text: &str) {
        self.pair.source.graph.run(query(text)).await.unwrap();
    }

    /// Writes, and waits until the service says that it is applied.
    pub(super) async fn write_and_wait(&self, text: &str) {
        self.write(text).await;
        self.until_told("applied").await;
    }

    /// Waits until the service says this word of the last commit.
    pub(super) async fn until_told(&self, level: &str) {
        let path = format!("bookmark={}&level={level}", percent_encoded(&self.pair.bookmark().await));
        self.http.until_told(&path, &self.running).await;
    }

    pub(super) async fn entries(&self) -> Vec<Value> {
        let listed = self.http.json("/api/sync/quarantine").await["pipelines"]["default"].clone();
        listed["entries"].as_array().unwrap().clone()
    }

    /// The entries about this kind, as key and reason.
    pub(super) async fn listed(&self, kind: &str) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let entries = self.entries().await;
        entries.iter().filter(|entry| entry["kind"] == kind).map(|entry| (text(&entry["key"]), text(&entry["reason"]))).collect()
    }

    pub(super) async fn assert_nothing_listed(&self) {
        let entries = self.entries().await;
        assert!(entries.is_empty(), "{entries:?}\n{}", self.running.log());
    }

    pub(super) async fn until_nothing_listed(&self) {
        let began = Instant::now();
        while !self.entries().await.is_empty() {
            assert!(began.elapsed() < EVENT, "{:?}\n{}", self.entries().await, self.running.log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// A count that the cache answers.
    pub(super) async fn cached(&self, text: &str) -> i64 {
        let mut cache = self.pair.cache.connect().await.unwrap();
        let answer: redis::Value =
            redis::cmd("GRAPH.QUERY").arg(&self.pair.graph).arg(text).query_async(&mut cache).await.unwrap();
        let redis::Value::Array(parts) = answer else { panic!("{answer:?}") };
        let redis::Value::Array(rows) = &parts[1] else { panic!("{parts:?}") };
        redis::from_redis_value::<Vec<i64>>(rows[0].clone()).unwrap()[0]
    }

    pub(super) async fn assert_equal(&self) {
        let arrived = until_equal(&self.pair.source.graph, &self.pair.cache, &self.pair.graph, EVENT).await;
        assert!(arrived.is_ok(), "{arrived:?}\n{}", self.running.log());
    }

    pub(super) async fn end(self) {
        assert_eq!(self.running.terminate().await, 0);
    }
}

#[tokio::test]
async fn an_element_without_key_is_listed_while_it_is_there_and_has_none() {
    let watched = Watched::new("unusable_key", &[RING], |service| service).await;
    let create = "CREATE (:Entity:Person {name: 'nameless', group_id: ''})";
    watched.write_and_wait(create).await;
    let [(key, reason)] = &watched.listed("Entity").await[..] else { panic!("{:?}", watched.entries().await) };
    assert!(key.starts_with("Neo4j id "), "{key}");
    // Neo4j lists labels in the order in which it knows them.
    let labels = ["Entity, Person", "Person, Entity"];
    assert!(reason.contains("the key property is absent") && labels.iter().any(|labels| reason.contains(labels)), "{reason}");
    watched.write_and_wait("MATCH (n:Entity {name: 'nameless'}) DELETE n").await;
    watched.assert_nothing_listed().await;

    watched.write_and_wait(create).await;
    assert_eq!(watched.listed("Entity").await.len(), 1);
    watched.write_and_wait("MATCH (n:Entity {name: 'nameless'}) SET n.uuid = 'named', n.created_at = datetime()").await;
    watched.assert_nothing_listed().await;
    watched.assert_equal().await;

    // The same with a relationship, and with keys of other types.
    let fact = "MATCH (a:Entity {uuid: 'ent-a'}), (c:Entity {uuid: 'ent-c'}) CREATE (a)-[:RELATES_TO {name: 'nameless'}]->(c)";
    watched.write_and_wait(fact).await;
    let [(key, reason)] = &watched.listed("RELATES_TO").await[..] else { panic!("{:?}", watched.entries().await) };
    assert!(key.starts_with("Neo4j id ") && reason.contains("absent"), "{key} {reason}");
    watched.write_and_wait("MATCH ()-[e:RELATES_TO {name: 'nameless'}]->() SET e.uuid = ''").await;
    watched.write_and_wait("CREATE (:Saga {name: 'odd'}), (:Community {uuid: '', name: 'odd'})").await;
    let kinds = ["RELATES_TO", "Saga", "Community"];
    for kind in kinds {
        assert_eq!(watched.listed(kind).await.len(), 1, "{kind}: {:?}", watched.entries().await);
    }
    watched.write_and_wait("MATCH ()-[e:RELATES_TO {name: 'nameless'}]->() DELETE e").await;
    watched.write_and_wait("MATCH (n {name: 'odd'}) DELETE n").await;
    watched.assert_nothing_listed().await;
    watched.assert_equal().await;
    watched.end().await;
}

#[tokio::test]
async fn an_element_without_key_and_timestamp_is_listed_while_commits_come_without_a_pause() {
    let watched = Watched::new("unusable_busy", &[RING], |service| service).await;
    let graph = watched.pair.source.address.connect().await.unwrap();
    let busy = tokio::spawn(async move {
        for number in 0.. {
            let text = format!("MERGE (n:Entity {{uuid: 'busy'}}) SET n.name = 'n{number}', n.created_at = datetime()");
            graph.run(query(&text)).await.unwrap();
        }
    });
    watched
        .write("MATCH (a:Entity {uuid: 'ent-a'}), (c:Entity {uuid: 'ent-c'}) CREATE (a)-[:MENTIONS {name: 'nameless'}]->(c)")
        .await;
    let began = Instant::now();
    while watched.listed("MENTIONS").await.is_empty() {
        assert!(began.elapsed() < EVENT, "{}", watched.running.log());
        tokio::time::sleep(POLL).await;
    }
    busy.abort();
    let _ = busy.await;
    watched.until_told("verified").await;
    watched.end().await;
}

#[tokio::test]
async fn a_key_that_is_given_without_a_trace_is_noticed_by_the_next_late_check() {
    let watched = Watched::new("unusable_given", &[RING], |service| service.with("SYNC_LATE_CHECK_SECONDS", 1)).await;
    watched.write_and_wait("CREATE (:Entity {name: 'nameless', group_id: ''})").await;
    assert_eq!(watched.listed("Entity").await.len(), 1);
    watched.write("MATCH (n:Entity {name: 'nameless'}) SET n.uuid = 'named'").await;
    watched.until_nothing_listed().await;
    watched.assert_equal().await;
    watched.end().await;
}

#[tokio::test]
async fn a_label_that_the_cache_cannot_hold_takes_its_node_out_until_it_is_gone() {
    let watched = Watched::new("unusable_label", &[RING], |service| service).await;
    watched.write_and_wait("MATCH (n:Entity {uuid: 'ent-a'}) SET n:`a``b`, n.summary = 'new'").await;
    let [(key, reason)] = &watched.listed("Entity").await[..] else { panic!("{:?}", watched.entries().await) };
    assert!(key == "ent-a" && reason.contains("backtick"), "{key} {reason}");
    assert_eq!(watched.cached("MATCH (n:Entity) RETURN count(n)").await, 4, "its old state has left");
    assert_eq!(watched.cached("MATCH ()-[e:RELATES_TO]->() RETURN count(e)").await, 3);
    // Its relationships are said once, with the node that they wait for.
    let facts = watched.listed("RELATES_TO").await;
    assert!(facts.len() == 1 && facts[0].0.contains("ent-a"), "{facts:?}");
    assert_eq!(watched.http.get("/ready").await.0, 200);

    watched.write_and_wait("MATCH (n:Entity {uuid: 'ent-a'}) REMOVE n:`a``b`").await;
    watched.assert_nothing_listed().await;
    watched.assert_equal().await;

    // And one that is deleted while it is listed.
    watched.write_and_wait("MATCH (n:Entity {uuid: 'ent-b'}) SET n:`a``b`").await;
    assert_eq!(watched.listed("Entity").await.len(), 1);
    watched.write_and_wait("MATCH (n:Entity {uuid: 'ent-b'}) DETACH DELETE n").await;
    watched.assert_nothing_listed().await;
    watched.assert_equal().await;
    watched.end().await;
}

#[tokio::test]
async fn a_key_that_becomes_unusable_takes_its_element_out_until_it_is_usable_again() {
    let watched = Watched::new("unusable_blank", &[RING], |service| service).await;
    for odd in ["' ent-b'", "'\\tent-b'", "''", "null"] {
        let text = format!("MATCH (n:Entity {{name: 'b'}}) SET n.uuid = {odd}, n.created_at = datetime()");
        watched.write_and_wait(&text).await;
        assert_eq!(watched.listed("Entity").await.len(), 1, "{odd}: {:?}", watched.entries().await);
        assert_eq!(watched.cached("MATCH (n:Entity {uuid: 'ent-b'}) RETURN count(n)").await, 0, "{odd}");
        watched.write_and_wait("MATCH (n:Entity {name: 'b'}) SET n.uuid = 'ent-b', n.created_at = datetime()").await;
        watched.assert_nothing_listed().await;
        watched.assert_equal().await;
    }
    // Without any trace only a comparison finds it: it lists the element as well.
    watched.write("MATCH (n:Entity {name: 'b'}) SET n.uuid = ' ent-b'").await;
    assert_eq!(watched.http.command("differential").await.0, 202);
    let began = Instant::now();
    while watched.listed("Entity").await.len() != 1 {
        assert!(began.elapsed() < EVENT, "{:?}\n{}", watched.entries().await, watched.running.log());
        tokio::time::sleep(POLL).await;
    }
    watched.end().await;
}

#[tokio::test]
async fn many_that_become_unusable_at_once_are_held_by_the_guard() {
    let many =
        "UNWIND range(1, 300) AS i CREATE (:Entity {uuid: 'many-' + i, name: 'many', group_id: '', created_at: datetime()})";
    let watched = Watched::new("unusable_many", &[many], |service| service).await;
    watched.http.while_paused(watched.write("MATCH (n:Entity {name: 'many'}) SET n:`a``b`")).await;
    let began = Instant::now();
    let is_held = async || watched.http.status().await["held"].as_array().is_some_and(|held| !held.is_empty());
    while !is_held().await || watched.listed("Entity").await.len() != 300 {
        assert!(began.elapsed() < EVENT, "{}\n{}", watched.http.status().await, watched.running.log());
        tokio::time::sleep(POLL).await;
    }
    assert_eq!(watched.cached("MATCH (n:Entity) RETURN count(n)").await, 300);
    watched.end().await;
}

/// Relationships of a hub.
const FACTS: i64 = 1500;

async fn hub(test: &str, key: &str, labels: &str) -> Watched {
    // Long ago, so that the first pass does not read all of it again.
    let make = format!(
        "WITH datetime('2020-01-01T00:00:00Z') AS then CREATE (hub:Entity{labels} {{uuid: '{key}', name: 'hub', group_id: '', \
         created_at: then}}) WITH hub, then UNWIND range(1, {FACTS}) AS i CREATE (hub)-[:RELATES_TO {{uuid: 'fact-' + i, name: 'n', \
         fact: 'f', group_id: '', created_at: then}}]->(:Entity {{uuid: 'spoke-' + i, name: 's', group_id: '', created_at: then}})"
    );
    Watched::new(test, &[&make], |service| service).await
}

#[tokio::test]
async fn relationships_of_a_hub_that_cannot_be_kept_are_said_once() {
    let watched = hub("unusable_hub", "hub", ":`a``b`").await;
    // The pass after the swap has gone over it.
    watched.write_and_wait("CREATE (:Entity {uuid: 'later', name: 'l', group_id: '', created_at: datetime()})").await;
    let facts = watched.listed("RELATES_TO").await;
    assert!(facts.len() == 1 && facts[0].0.contains("hub"), "{facts:?}");
    let number = watched.entries().await.iter().find(|entry| entry["kind"] == "RELATES_TO").unwrap()["number"].clone();
    assert_eq!(number, FACTS, "said with how many");
    // One more fact of it: a pass in which many lack their end.
    let longest = watched.longest_checkpoint_while("MATCH (n:Entity {name: 'hub'})-[e]->() SET e.created_at = datetime()").await;
    assert!(longest < 200_000, "the checkpoint holds {longest} bytes");
    let lines = watched.lines_about_entries();
    assert!(lines < 10, "{lines} lines");
    watched.write_and_wait("MATCH (n:Entity {name: 'hub'}) REMOVE n:`a``b`").await;
    watched.assert_nothing_listed().await;
    watched.assert_equal().await;
    watched.end().await;
}

#[tokio::test]
async fn relationships_of_a_hub_without_usable_key_do_not_fill_the_log() {
    let watched = hub("unusable_hub_key", " hub", "").await;
    watched.write_and_wait("CREATE (:Entity {uuid: 'later', name: 'l', group_id: '', created_at: datetime()})").await;
    let lines = watched.lines_about_entries();
    assert!(lines < 100, "{lines} lines");
    watched.write_and_wait("MATCH (n:Entity {name: 'hub'}) SET n.uuid = 'hub', n.created_at = datetime()").await;
    watched.until_nothing_listed().await;
    watched.assert_equal().await;
    watched.end().await;
}

impl Watched {
    fn lines_about_entries(&self) -> usize {
        self.running.log().lines().filter(|line| line.contains(r#""message":"quarantined""#)).count()
    }

    /// Writes, and watches the checkpoint until it is applied.
    async fn longest_checkpoint_while(&self, text: &str) -> i64 {
        let key = format!("{{{}}}:checkpoint", self.pair.graph);
        let mut cache = self.pair.cache.connect().await.unwrap();
        let mut longest = 0;
        let mut writing = std::pin::pin!(self.write_and_wait(text));
        loop {
            let length: i64 = redis::cmd("STRLEN").arg(&key).query_async(&mut cache).await.unwrap();
            longest = longest.max(length);
            tokio::select! {
                () = &mut writing => return longest,
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
        }
    }
}

/// Two entities share a key, one has none, and one has a property that cannot be named; another node is of no kind.
const PARTS: &str = "CREATE (:Entity {uuid: 'twin', name: 't'}), (:Entity {uuid: 'twin', name: 't'}), (:Entity {name: 'nameless'}), \
                     (:Entity {uuid: 'fine', name: 'f', `a``b`: 1}), (:Elsewhere {name: 'e'})";

#[tokio::test]
async fn check_sync_and_verify_tell_of_the_same_parts() {
    let pair = Pair::new("unusable_parts").await;
    pair.source.graph.run(query(PARTS)).await.unwrap();
    let report = async |arguments: &[&str], code: i32| {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--output", "json"]).collect();
        let finished = pair.service.finish(&arguments).await;
        assert_eq!(finished.code, code, "{finished:?}");
        serde_json::from_str::<Value>(&finished.stdout).unwrap()[0].clone()
    };
    let expected = serde_json::json!({
        "read": 4, "kept": 2, "collapsed": 1, "quarantined": 1, "properties_quarantined": 1, "outside_profile": 1
    });
    assert_eq!(report(&["check"], 1).await["parts"], expected);
    assert_eq!(report(&["sync", "--mode", "full"], 0).await["parts"], expected);
    let verified = report(&["verify"], 0).await;
    assert_eq!(verified["parts"], expected);
    assert!(verified["equal_as_of"].is_string(), "{verified}");
    for arguments in [&["check"][..], &["verify"]] {
        let text = pair.service.finish(arguments).await.stdout;
        let parts = "4 read, 2 kept, 1 collapsed, 1 quarantined, 1 properties quarantined, 1 outside the profile";
        assert!(text.contains(parts), "{text}");
    }

    // What is in the cache and was not written by a sync.
    let mut cache = pair.cache.connect().await.unwrap();
    let foreign = "MATCH (n:Entity {uuid: 'fine'}) CREATE (n)-[:LIKES]->(:Stranger:Odd {x: 1}), (:Entity {name: 'no key'}), \
                   (n)-[:RELATES_TO {name: 'no key'}]->(n)";
    let _: redis::Value = redis::cmd("GRAPH.QUERY").arg(&pair.graph).arg(foreign).query_async(&mut cache).await.unwrap();
    let differs = report(&["verify"], 1).await;
    let named = serde_json::json!({
        "(:Stranger:Odd)": 1, "[:LIKES]": 1, "(:Entity) without a usable key": 1, "[:RELATES_TO] without a usable key": 1
    });
    assert_eq!(differs["foreign"], named, "{differs}");
    assert_eq!((&differs["equal"], &differs["differences"]), (&false.into(), &4.into()), "{differs}");
    let text = pair.service.finish(&["verify"]).await;
    assert!(text.code == 1 && text.stdout.contains("foreign (:Stranger:Odd): 1 in the cache"), "{text:?}");
}

#[tokio::test]
async fn a_proof_says_how_much_is_excepted() {
    let watched = Watched::new("unusable_proof", &[PARTS], |service| service).await;
    assert_eq!(watched.http.command("differential").await.0, 202);
    let began = Instant::now();
    let status = loop {
        let status = watched.http.status().await;
        if status["equal_as_of"].is_string() {
            break status;
        }
        assert!(began.elapsed() < EVENT, "{status}\n{}", watched.running.log());
        tokio::time::sleep(POLL).await;
    };
    assert_eq!(status["excepted"], serde_json::json!({ "elements": 1, "properties": 1, "collapsed": 1 }), "{status}");
    watched.end().await;
}

/// A batch of which one row cannot be written is not taken for what was written before it.
#[tokio::test]
async fn a_row_beside_one_that_waits_is_written_when_it_is_as_it_was_once() {
    let then = "datetime('2020-01-01T00:00:00Z')";
    let make = format!(
        "CREATE (a:Entity {{uuid: 'a', name: 'a', group_id: '', created_at: {then}}}), \
         (b:Entity {{uuid: 'b', name: 'b', group_id: '', created_at: {then}}}), \
         (c:Entity:`a``b` {{uuid: 'c', name: 'c', group_id: '', created_at: {then}}}), \
         (a)-[:RELATES_TO {{uuid: 'whole', name: 'n', fact: 'first', group_id: '', created_at: {then}}}]->(b), \
         (a)-[:RELATES_TO {{uuid: 'waits', name: 'n', fact: 'w', group_id: '', created_at: {then}}}]->(c)"
    );
    let watched = Watched::new("unusable_beside", &[&make], |service| service).await;
    for (number, (fact, edges)) in
        [("once", "['whole']"), ("then", "['whole', 'waits']"), ("once", "['whole']")].iter().enumerate()
    {
        let text = format!(
            "MATCH ()-[e:RELATES_TO {{uuid: 'whole'}}]->() SET e.fact = '{fact}' CREATE (:Episodic {{uuid: 'episode-{number}', \
             name: 'e', group_id: '', content: 'c', created_at: datetime(), valid_at: datetime(), entity_edges: {edges}}})"
        );
        watched.write_and_wait(&text).await;
        let held = watched.cached(&format!("MATCH ()-[e:RELATES_TO {{fact: '{fact}'}}]->() RETURN count(e)")).await;
        assert_eq!(held, 1, "{fact} of episode {number}\n{}", watched.running.log());
    }
    watched.end().await;
}
