//! The delete guard: what a kind would lose beyond its share waits for a person, everything else goes on.

use std::time::{Duration, Instant};

use neo4rs::query;
use serde_json::Value;

use super::api::{Http, TOKEN, is_not_yet, start};
use super::pipeline::{Pair, percent_encoded};
use crate::support::comparer::{compare, report};
use crate::support::deadline::EVENT;
use crate::support::graph::{GraphSpec, build};
use crate::support::service::{Running, Service};

/// A proof that must come: it takes a pass and a comparison or two.
const PROVEN_WITHIN_MS: u64 = EVENT.as_millis() as u64;

/// The service waits for no longer in one request.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Entities of the built graph.
const BUILT: usize = 40;

/// Entities beside them that nothing hangs on: with the built ones 440, of which 220 may go.
const ALONE: usize = 400;

/// Facts between a few hubs, with the built ones 360, of which 180 may go.
const HUB_FACTS: usize = 300;

struct Guarded {
    pair: Pair,
    service: Service,
    running: Running,
    http: Http,
}

fn spec() -> GraphSpec {
    GraphSpec { entities: BUILT, facts: 60, communities: 6, members: 30, dimension: 16, ..GraphSpec::default() }
}

async fn pair(test: &str) -> Pair {
    let pair = Pair::new(test).await;
    build(&pair.source.graph, &spec()).await.unwrap();
    write(&pair, &format!("UNWIND range(1, {ALONE}) AS i CREATE (:Entity:Alone {{uuid: 'alone-' + i, name: 'a', group_id: '', summary: '', created_at: datetime()}})")).await;
    write(
        &pair,
        &format!(
            "CREATE (h:Entity {{uuid: 'hub', name: 'h', group_id: '', summary: '', created_at: datetime()}}) WITH h \
             MATCH (e:Entity:Alone) WITH h, e ORDER BY e.uuid DESC LIMIT {HUB_FACTS} \
             CREATE (h)-[:RELATES_TO {{uuid: 'hub-' + e.uuid, name: 'n', fact: 'f', group_id: '', episodes: [], created_at: datetime()}}]->(e)"
        ),
    )
    .await;
    pair
}

async fn write(pair: &Pair, text: &str) {
    pair.source.graph.run(query(text)).await.unwrap();
}

/// Deletes so many entities that nothing hangs on.
async fn delete_alone(pair: &Pair, number: usize) {
    write(pair, &format!("MATCH (e:Alone) WHERE NOT (e)--() WITH e ORDER BY e.uuid LIMIT {number} DELETE e")).await;
}

async fn differences(pair: &Pair) -> usize {
    compare(&pair.source.graph, &pair.cache, &pair.graph).await.unwrap().len()
}

/// What `status` or a report of `sync` says of held deletes, by kind.
fn held(of: &Value) -> Vec<(String, u64)> {
    let held = of["held"].as_array().cloned().unwrap_or_default();
    let mut held: Vec<_> =
        held.iter().map(|held| (held["kind"].as_str().unwrap().to_owned(), held["number"].as_u64().unwrap())).collect();
    held.sort();
    held
}

fn of(held: &[(&str, u64)]) -> Vec<(String, u64)> {
    held.iter().map(|(kind, number)| ((*kind).to_owned(), *number)).collect()
}

/// A comparison that is under way weighs only what is left of it, and one is due after the first sync.
fn without_comparisons(pair: &Pair) -> Service {
    let service = pair.service.clone().with("API_TOKEN", TOKEN);
    service.with("SYNC_SCRUB_ROWS_PER_SECOND", 0).with("SYNC_DIFFERENTIAL_INTERVAL_SECONDS", 0)
}

impl Guarded {
    async fn new(test: &str) -> Self {
        let pair = pair(test).await;
        let service = without_comparisons(&pair);
        Self::start(pair, service).await
    }

    async fn start(pair: Pair, service: Service) -> Self {
        let (running, http) = start(&service).await;
        http.until_ready(true).await;
        Self { pair, service, running, http }
    }

    async fn arrives(&self, what: &str) {
        let begun = Instant::now();
        loop {
            let found = compare(&self.pair.source.graph, &self.pair.cache, &self.pair.graph).await.unwrap();
            if found.is_empty() {
                return;
            }
            assert!(begun.elapsed() < EVENT, "{what} did not arrive:\n{}\n{}", report(&found), self.running.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn holds(&self, expected: &[(&str, u64)]) -> Value {
        let begun = Instant::now();
        loop {
            let status = self.http.status().await;
            if held(&status) == of(expected) {
                return status;
            }
            assert!(begun.elapsed() < EVENT, "{expected:?} are not held: {status}\n{}", self.running.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until deletes of entities are held.
    async fn holds_some(&self) {
        let begun = Instant::now();
        while held(&self.http.status().await).iter().all(|(kind, _)| kind != "Entity") {
            assert!(begun.elapsed() < EVENT, "nothing is held:\n{}", self.running.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for a proof of equality as of now; whether it came.
    async fn is_proven(&self, within_ms: u64) -> bool {
        let bookmark = self.pair.bookmark().await;
        let bookmark = percent_encoded(&bookmark);
        let begun = Instant::now();
        let within = Duration::from_millis(within_ms);
        loop {
            let left = within.saturating_sub(begun.elapsed()).min(LONGEST_WAIT);
            let path = format!("/api/sync/wait?bookmark={bookmark}&level=verified&timeout_ms={}", left.as_millis());
            let (status, body) = self.http.get(&path).await;
            assert!(status == 200 || is_not_yet(status), "{status} {body}");
            if status == 200 || begun.elapsed() >= within {
                return status == 200;
            }
        }
    }

    async fn stop(self) -> (Pair, Service) {
        assert_eq!(self.running.terminate().await, 0);
        (self.pair, self.service)
    }
}

#[tokio::test]
async fn what_trickles_away_is_held_once_it_is_too_much_and_goes_when_it_is_approved() {
    let mut guarded = Guarded::new("guard_trickle").await;
    for commit in 0..2 {
        delete_alone(&guarded.pair, 30).await;
        guarded.arrives(&format!("commit {commit}")).await;
    }
    // The rest of what nothing hangs on, and more, over a restart: 60 of 441 are gone.
    let (pair, service) = guarded.stop().await;
    guarded = Guarded::start(pair, service).await;
    write(&guarded.pair, "MATCH (:Entity {uuid: 'hub'})-[f]->(:Alone) WITH f ORDER BY f.uuid LIMIT 170 DELETE f").await;
    guarded.arrives("fewer than half of the facts").await;
    delete_alone(&guarded.pair, 150).await;
    guarded.arrives("not yet half of the entities").await;
    let bookmark_before = guarded.pair.bookmark().await;

    delete_alone(&guarded.pair, 25).await;
    let status = guarded.holds(&[("Entity", 25)]).await;
    let sample = status["held"][0]["sample"].as_array().unwrap();
    assert!(sample.len() == 10 && sample.iter().all(|key| key.as_str().unwrap().starts_with("alone-")), "{status}");
    let reason = guarded.http.until_ready(false).await;
    assert!(reason.contains("25 of Entity") && reason.contains("approve"), "{reason}");
    guarded.running.line("deletes held").await;
    let metric = "neo4j_falkordb_sync_held_deletes{pipeline=\"default\"} 25.0";
    let (_, metrics) = guarded.http.get("/metrics").await;
    assert!(metrics.lines().any(|line| line == metric), "{metrics}");
    assert_eq!(differences(&guarded.pair).await, 25);

    // Everything else goes on, and no pass sweeps again for what is held.
    let swept = |log: &str| log.matches("swept").count();
    let before = swept(&guarded.running.log());
    for number in 0..4 {
        write(
            &guarded.pair,
            &format!("CREATE (:Entity {{uuid: 'new-{number}', name: 'n', group_id: '', summary: '', created_at: datetime()}})"),
        )
        .await;
        let begun = Instant::now();
        while differences(&guarded.pair).await != 25 {
            assert!(begun.elapsed() < EVENT, "a new entity does not arrive: {}", guarded.running.log());
        }
    }
    assert_eq!(swept(&guarded.running.log()), before, "{}", guarded.running.log());
    assert_eq!(held(&guarded.http.status().await), of(&[("Entity", 25)]));
    assert!(!guarded.is_proven(3000).await, "nothing is proven while deletes are held");
    assert_ne!(guarded.http.status().await["equal_as_of"], bookmark_before.as_str());
    assert_eq!(differences(&guarded.pair).await, 25, "no comparison lets them through");

    // Held over a restart, and shown before anything was looked at.
    let (pair, service) = guarded.stop().await;
    let (running, http) = start(&service).await;
    guarded = Guarded { pair, service, running, http };
    guarded.running.line("HTTP server started").await;
    guarded.holds(&[("Entity", 25)]).await;
    assert_eq!(guarded.http.ask("POST", "/api/sync/approve", "").await.unwrap().0, 401);
    assert_eq!(guarded.http.command("approve").await.0, 202);
    guarded.http.until_ready(true).await;
    guarded.arrives("what was held").await;
    assert!(guarded.is_proven(PROVEN_WITHIN_MS).await, "{}", guarded.running.log());

    // From there on it counts anew.
    delete_alone(&guarded.pair, 5).await;
    guarded.arrives("after the approval").await;
    assert_eq!(held(&guarded.http.status().await), of(&[]));
    guarded.stop().await;
}

#[tokio::test]
async fn relationships_that_go_with_a_node_count() {
    let guarded = Guarded::new("guard_cascade").await;
    guarded.http.while_paused(write(&guarded.pair, "MATCH (h:Entity {uuid: 'hub'}) DETACH DELETE h")).await;
    guarded.holds(&[("Entity", 1), ("RELATES_TO", HUB_FACTS as u64)]).await;
    // Others of their kind go.
    delete_alone(&guarded.pair, 3).await;
    let held = HUB_FACTS + 1;
    let begun = Instant::now();
    while differences(&guarded.pair).await != held {
        assert!(begun.elapsed() < EVENT, "{} of {held} differ: {}", differences(&guarded.pair).await, guarded.running.log());
    }
    let (pair, service) = guarded.stop().await;
    let report = service.finish(&["sync", "--mode", "incremental", "--output", "json"]).await;
    assert_eq!(report.code, 1, "{report:?}");
    assert!(report.stderr.contains("deletes are held") && report.stderr.contains("--allow-deletes"), "{}", report.stderr);
    let allowed = service.json(&["sync", "--mode", "differential", "--allow-deletes"]).await[0].clone();
    assert_eq!(self::held(&allowed), of(&[]), "{allowed}");
    pair.assert_equal().await;
}

#[tokio::test]
async fn a_kind_that_is_replaced_by_as_many_others_loses_nothing() {
    let guarded = {
        let pair = pair("guard_replaced").await;
        write(&pair, "UNWIND range(1, 150) AS i CREATE (:Community {uuid: 'old-' + i, name: 'c', group_id: '', summary: '', created_at: datetime()})").await;
        write(
            &pair,
            "MATCH (c:Community) WHERE c.uuid STARTS WITH 'old' MATCH (e:Alone) WITH c, e WHERE right(c.uuid, 2) = right(e.uuid, 2) \
             CREATE (c)-[:HAS_MEMBER {uuid: c.uuid + e.uuid, group_id: '', created_at: datetime()}]->(e)",
        )
        .await;
        let service = pair.service.clone().with("API_TOKEN", TOKEN).with("SYNC_MAX_DELETE_FRACTION", 0.2);
        Guarded::start(pair, service).await
    };
    let replacement = |round: usize| {
        [
            "MATCH (c:Community) DETACH DELETE c".to_owned(),
            format!(
                "UNWIND range(1, 156) AS i CREATE (:Community {{uuid: 'new-{round}-' + i, name: 'c', group_id: '', summary: '', \
                 created_at: datetime()}})"
            ),
            "MATCH (c:Community) MATCH (e:Alone) WITH c, e WHERE right(c.uuid, 2) = right(e.uuid, 2) \
             CREATE (c)-[:HAS_MEMBER {uuid: c.uuid + e.uuid, group_id: '', created_at: datetime()}]->(e)"
                .to_owned(),
        ]
    };
    assert!(guarded.is_proven(PROVEN_WITHIN_MS).await, "{}", guarded.running.log());
    let mut transaction = guarded.pair.source.graph.start_txn().await.unwrap();
    for text in replacement(0) {
        transaction.run(query(&text)).await.unwrap();
    }
    guarded.http.while_paused(transaction.commit()).await.unwrap();
    guarded.arrives("communities replaced at once").await;
    assert!(guarded.is_proven(PROVEN_WITHIN_MS).await, "{}", guarded.running.log());
    let log = guarded.running.log();
    assert!(!log.contains("deletes held"), "{log}");
    // As build_communities does: all of them go, and later as many come. Meanwhile it is a loss, which nobody has to approve.
    for text in replacement(1) {
        write(&guarded.pair, &text).await;
    }
    guarded.arrives("communities replaced one commit after the other").await;
    assert!(guarded.is_proven(PROVEN_WITHIN_MS).await, "{}", guarded.running.log());
    assert_eq!(held(&guarded.http.status().await), of(&[]));
    guarded.stop().await;
}

#[tokio::test]
async fn comparisons_hold_deletes_as_well() {
    let pair = pair("guard_comparison").await;
    let service = pair.service.clone().with("SYNC_ENABLE_INCREMENTAL", false);
    pair.sync("full").await;
    pair.sync("differential").await;
    write(&pair, "MATCH (e:Alone) DETACH DELETE e").await;
    let expected = [("Entity", ALONE as u64), ("RELATES_TO", HUB_FACTS as u64)];
    let finished = service.finish(&["sync", "--mode", "differential", "--output", "json"]).await;
    assert_eq!(finished.code, 1, "{finished:?}");
    let report: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(held(&report[0]), of(&expected), "{report}");
    assert!(report[0]["equal_as_of"].is_null() && differences(&pair).await == ALONE + HUB_FACTS, "{report}");
    let verified = service.finish(&["verify"]).await;
    assert_eq!(verified.code, 1);
    assert!(verified.stdout.contains(&format!("held: {ALONE} deletes of Entity")), "{}", verified.stdout);

    // In the background, with no other passes.
    write(&pair, "CREATE (:Entity {uuid: 'beside', name: 'n', group_id: '', summary: '', created_at: datetime()})").await;
    let guarded = {
        let service = service.with("API_TOKEN", TOKEN).with("SYNC_SCRUB_ROWS_PER_SECOND", 100_000);
        let (running, http) = start(&service).await;
        Guarded { pair, service, running, http }
    };
    let mut guarded = guarded;
    guarded.running.line("comparison ended").await;
    guarded.holds(&expected).await;
    assert_eq!(differences(&guarded.pair).await, ALONE + HUB_FACTS, "what was missing is there");
    assert_eq!(guarded.http.command("approve").await.0, 202);
    guarded.arrives("what was held").await;
    guarded.holds(&[]).await;
    guarded.stop().await;
}

#[tokio::test]
async fn a_full_sync_does_not_swap_losses_in_without_a_word() {
    let pair = pair("guard_swap").await;
    pair.sync("full").await;
    pair.sync("incremental").await;
    write(&pair, "MATCH (e:Alone) DETACH DELETE e").await;
    let lost = ALONE + HUB_FACTS;
    let refused = pair.service.finish(&["sync", "--mode", "full"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains(&format!("{ALONE} of Entity")), "{}", refused.stderr);
    assert_eq!(differences(&pair).await, lost, "the live graph is as it was");

    let service = pair.service.clone().with("API_TOKEN", TOKEN).with("SYNC_FULL_ON_STARTUP", true);
    let (running, http) = start(&service).await;
    let mut guarded = Guarded { pair, service, running, http };
    guarded.running.line("full sync held").await;
    let reason = guarded.http.until_ready(false).await;
    assert!(reason.contains("of Entity"), "{reason}");
    assert_eq!(differences(&guarded.pair).await, lost);
    assert_eq!(guarded.http.command("approve").await.0, 202);
    guarded.arrives("what was held").await;
    guarded.http.until_ready(true).await;
    assert!(guarded.running.log().contains("full sync ended"), "{}", guarded.running.log());
    guarded.stop().await;
}

/// A full sync that is held says so until the live graph is proven equal: then nothing waits for a person any more.
#[tokio::test]
async fn what_a_full_sync_held_is_forgotten_once_the_live_graph_is_equal() {
    let guarded = Guarded::new("guard_full").await;
    delete_alone(&guarded.pair, ALONE - HUB_FACTS).await;
    let most = "MATCH (e:Alone) WITH e ORDER BY e.uuid LIMIT 150 DETACH DELETE e";
    guarded.http.while_paused(write(&guarded.pair, most)).await;
    guarded.holds_some().await;
    assert_eq!(guarded.http.command("full").await.0, 202);
    let mut guarded = guarded;
    guarded.running.line("full sync held").await;
    write(
        &guarded.pair,
        &format!("UNWIND range(1, {ALONE}) AS i CREATE (:Entity {{uuid: 'again-' + i, name: 'a', group_id: '', summary: '', created_at: datetime()}})"),
    )
    .await;
    assert!(guarded.is_proven(PROVEN_WITHIN_MS).await, "{}\n{}", guarded.http.status().await, guarded.running.log());
    guarded.arrives("everything").await;
    assert_eq!(held(&guarded.http.status().await), of(&[]));
    guarded.http.until_ready(true).await;
    guarded.stop().await;
}

/// More entities than a comparison lists of what only the cache has, and more than half of a kind.
const LOST: u64 = 60_000;
const MANY: u64 = 110_000;

async fn cached(pair: &Pair) -> u64 {
    let mut cache = pair.cache.connect().await.unwrap();
    let mut ask = redis::cmd("GRAPH.RO_QUERY");
    let answer: (redis::Value, Vec<Vec<u64>>, redis::Value) =
        ask.arg(&pair.graph).arg("MATCH (e:Entity) RETURN count(e)").query_async(&mut cache).await.unwrap();
    answer.1[0][0]
}

/// A loss that is listed part by part is weighed whole, whoever looks: a pass, a pass for a client that waits, a comparison.
#[tokio::test]
async fn a_loss_beyond_what_is_listed_at_once_is_held_whole() {
    let pair = Pair::new("guard_many").await;
    crate::support::graph::create_indices(&pair.source.graph).await.unwrap();
    write(
        &pair,
        &format!(
            "UNWIND range(1, {MANY}) AS i CREATE (:Entity {{uuid: 'm' + i, group_id: '', created_at: datetime('2026-01-01')}})"
        ),
    )
    .await;
    let service = without_comparisons(&pair);
    let guarded = Guarded::start(pair, service).await;
    guarded.http.while_paused(write(&guarded.pair, &format!("MATCH (e:Entity) WITH e LIMIT {LOST} DELETE e"))).await;
    guarded.holds(&[("Entity", LOST)]).await;
    let before = guarded.http.status().await["passes_ended"].as_u64().unwrap();
    let bookmark = guarded.pair.bookmark().await;
    let bookmark = percent_encoded(&bookmark);
    let (status, body) = guarded.http.get(&format!("/api/sync/wait?bookmark={bookmark}&level=applied&timeout_ms=60000")).await;
    assert_eq!(status, 504, "{body}");
    let status = guarded.http.status().await;
    assert!(
        status["passes_ended"].as_u64().unwrap() > before || status["passes_begun"].as_u64().unwrap() > before + 1,
        "{status}"
    );
    assert_eq!((cached(&guarded.pair).await, held(&status)), (MANY, of(&[("Entity", LOST)])), "a thorough pass");

    let (pair, service) = guarded.stop().await;
    let compared = service.finish(&["sync", "--mode", "differential"]).await;
    assert_eq!((compared.code, cached(&pair).await), (1, MANY), "a comparison: {}{}", compared.stdout, compared.stderr);
    assert!(compared.stderr.contains(&format!("{LOST} of Entity")), "{}", compared.stderr);

    // Approved, they go, and a run says that it has not done everything.
    let approved = service.finish(&["sync", "--mode", "differential", "--allow-deletes"]).await;
    assert!(approved.code == 1 && approved.stderr.contains("run the command again"), "{}{}", approved.stdout, approved.stderr);
    assert!((MANY - LOST..MANY).contains(&cached(&pair).await));
    let approved = service.finish(&["sync", "--mode", "differential", "--allow-deletes"]).await;
    assert_eq!((approved.code, cached(&pair).await), (0, MANY - LOST), "{}{}", approved.stdout, approved.stderr);
    assert_eq!(service.finish(&["verify"]).await.code, 0);
}
