//! `level=applied` means applied: right after the answer both sides are equal, whatever the commit changed and whoever else
//! writes. And what is applied is found without anybody who waits.

use std::time::{Duration, Instant};

use neo4rs::query;

use super::api::TOKEN;
use super::bookmarks::wait_for;
use super::pipeline::Pair;
use crate::support::comparer::{Filter, compare_part, report};
use crate::support::copier;
use crate::support::deadline::EVENT;
use crate::support::graph::{GraphSpec, World, build};
use crate::support::http::Http;
use crate::support::service::{Running, Service};

/// How often a change is tried that a race could hide.
const TRIES: usize = 5;

/// The service at work on a small graph, without the comparison in the background.
struct Applied {
    pair: Pair,
    world: World,
    running: Running,
    http: Http,
}

fn without_comparison(service: &Service) -> Service {
    let service = service.clone().with("SYNC_SCRUB_ROWS_PER_SECOND", 0).with("SYNC_DIFFERENTIAL_INTERVAL_SECONDS", 0);
    service.with("SYNC_MAX_DELETE_FRACTION", 1).with("LOG_LEVEL", "debug")
}

impl Applied {
    async fn new(test: &str, adapt: impl FnOnce(Service) -> Service) -> Self {
        let pair = Pair::new(test).await;
        let world = build(&pair.source.graph, &GraphSpec { dimension: 4, ..GraphSpec::default() }).await.unwrap();
        let (mut running, http) = Http::start(&adapt(without_comparison(&pair.service))).unwrap();
        running.line("pass ended").await;
        let applied = Self { pair, world, running, http };
        applied.wait().await;
        applied.pair.assert_equal().await;
        applied
    }

    async fn write(&self, text: &str) {
        self.pair.source.graph.run(query(text)).await.unwrap();
    }

    async fn wait(&self) {
        wait_for(&self.http, &self.pair.bookmark().await, &self.running).await;
    }

    /// The two sides right now; nothing else is written.
    async fn assert_equal_now(&self, what: &str) {
        let (source, cache) = (&self.pair.source.graph, &self.pair.cache);
        let found = compare_part(source, &Filter::default(), cache, &self.pair.graph).await.unwrap();
        assert!(found.is_empty(), "{what}: {}\n{}", report(&found), self.running.log());
    }

    async fn arrives(&self, what: &str) {
        let begun = Instant::now();
        while !compare_part(&self.pair.source.graph, &Filter::default(), &self.pair.cache, &self.pair.graph)
            .await
            .is_ok_and(|found| found.is_empty())
        {
            assert!(begun.elapsed() < EVENT, "{what} does not arrive:\n{}", self.running.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn ends(self) {
        assert_eq!(self.running.terminate().await, 0);
    }
}

/// An episode whose timestamps are some seconds old, with what graphiti rewrites beside it.
fn late_episode(uuid: &str, entity: &str, fact: &str) -> String {
    format!(
        "MATCH (e:Entity {{uuid: '{entity}'}}) MATCH ()-[f:RELATES_TO {{uuid: '{fact}'}}]->() \
         CREATE (n:Episodic {{uuid: '{uuid}', name: 'e', group_id: '', content: 'c', source_description: '', source: 'text', \
         created_at: datetime() - duration('PT7S'), valid_at: datetime() - duration('PT7S'), entity_edges: ['{fact}']}}) \
         CREATE (n)-[:MENTIONS {{uuid: '{uuid}-m', group_id: '', created_at: datetime() - duration('PT7S')}}]->(e) \
         SET e.summary = 'rewritten by {uuid}', f.expired_at = datetime() - duration('PT7S')"
    )
}

#[tokio::test]
async fn what_was_committed_late_is_applied_with_all_that_hangs_on_it() {
    let applied = Applied::new("applied_late", |service| service).await;
    for number in 0..TRIES {
        let (entity, fact) = (&applied.world.entities[number], &applied.world.facts[number]);
        // Another writer commits in between, with timestamps of now, and its pass moves the watermark.
        applied
            .write(&format!(
                "CREATE (:Entity {{uuid: 'other-{number}', name: 'o', group_id: '', summary: '', created_at: datetime()}})"
            ))
            .await;
        applied.wait().await;
        applied.write(&late_episode(&format!("late-{number}"), entity, fact)).await;
        applied.wait().await;
        applied.assert_equal_now("a late episode").await;
    }
    applied.ends().await;
}

#[tokio::test]
async fn a_relationship_in_the_place_of_another_is_applied() {
    let applied = Applied::new("applied_replaced", |service| service).await;
    for number in 0..TRIES {
        applied
            .write(&format!(
                "MATCH (a:Episodic)-[m:MENTIONS]->(b) WITH a, b, m ORDER BY m.uuid LIMIT 1 DELETE m \
                 CREATE (a)-[:MENTIONS {{uuid: 'replaced-{number}', group_id: ''}}]->(b)"
            ))
            .await;
        applied.wait().await;
        applied.assert_equal_now("a replaced MENTIONS").await;
    }
    // The same key between other nodes is another relationship.
    applied
        .write(
            "MATCH (a:Episodic)-[m:MENTIONS]->(b:Entity) WITH a, b, m ORDER BY m.uuid LIMIT 1 \
             MATCH (c:Entity) WHERE c <> b WITH a, m, c ORDER BY c.uuid LIMIT 1 \
             CREATE (a)-[n:MENTIONS]->(c) SET n = properties(m) DELETE m",
        )
        .await;
    applied.wait().await;
    applied.assert_equal_now("a moved MENTIONS").await;
    applied.ends().await;
}

#[tokio::test]
async fn communities_replaced_by_as_many_others_are_applied() {
    let applied = Applied::new("applied_communities", |service| service).await;
    applied
        .write(
            "MATCH (c:Community) WITH c, c.uuid AS uuid, properties(c) AS properties, [(c)-[:HAS_MEMBER]->(e) | e] AS members \
             DETACH DELETE c CREATE (n:Community) SET n = properties, n.uuid = 'new-' + uuid \
             FOREACH (e IN members | CREATE (n)-[:HAS_MEMBER {uuid: 'new-' + uuid + e.uuid, group_id: ''}]->(e))",
        )
        .await;
    applied.wait().await;
    applied.assert_equal_now("replaced communities").await;
    applied.ends().await;
}

#[tokio::test]
async fn a_label_that_moves_from_one_node_to_another_is_applied_under_steady_writes() {
    let applied = Applied::new("applied_labels", |service| service).await;
    let graph = applied.pair.source.address.connect().await.unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let steady = tokio::spawn(async move {
        for number in 0.. {
            if *stopped.borrow() {
                break;
            }
            let text = format!(
                "MERGE (n:Entity {{uuid: 'steady'}}) SET n.name = 'n{number}', n.group_id = '', n.created_at = datetime()"
            );
            graph.run(query(&text)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut cache = applied.pair.cache.connect().await.unwrap();
    for number in 0..TRIES {
        let (from, to) = (&applied.world.entities[number], &applied.world.entities[number + 1]);
        let moves = format!("MATCH (a:Entity {{uuid: '{from}'}}), (b:Entity {{uuid: '{to}'}}) REMOVE a:Moving SET b:Moving");
        applied.write(&moves).await;
        applied.wait().await;
        let text = "MATCH (n:Moving) RETURN n.uuid";
        let found = format!("{:?}", copier::run(&mut cache, &applied.pair.graph, text).await.unwrap());
        assert!(
            found.contains(to.as_str()) && !found.contains(from.as_str()),
            "try {number}: {found}\n{}",
            applied.running.log()
        );
    }
    // Not aborted: a commit that is under way would come after what is waited for.
    stop.send_replace(true);
    steady.await.unwrap();
    applied.wait().await;
    applied.assert_equal_now("labels").await;
    applied.ends().await;
}

#[tokio::test]
async fn a_late_commit_with_nobody_after_it_arrives() {
    let applied = Applied::new("applied_alone", |service| service.with("SYNC_LATE_CHECK_SECONDS", 2)).await;
    for number in 0..3 {
        let uuid = format!("alone-{number}");
        let text = late_episode(&uuid, &applied.world.entities[number], &applied.world.facts[number]);
        // Older than any tolerance for clocks, and the last commit.
        applied.write(&text.replace("PT7S", "PT1M")).await;
        applied.arrives("a late commit with nobody after it").await;
    }
    applied.ends().await;
}

#[tokio::test]
async fn an_excluded_element_does_not_stand_for_one_that_is_gone() {
    let applied = Applied::new("applied_excluded", |service| service.with("API_TOKEN", "0123456789abcdef")).await;
    let entity = &applied.world.entities[0];
    // One end is of no kind of the profile, so the cache cannot hold the relationship.
    applied
        .write(&format!(
            "MATCH (e:Entity {{uuid: '{entity}'}}), (n:Episodic) WITH e, n ORDER BY n.uuid LIMIT 1 \
             CREATE (n)-[:MENTIONS {{uuid: 'aa-victim', group_id: ''}}]->(e) \
             CREATE (n)-[:MENTIONS {{uuid: 'aa-quarantined', group_id: ''}}]->(:Outside {{uuid: 'outside'}})"
        ))
        .await;
    applied.wait().await;
    let mut cache = applied.pair.cache.connect().await.unwrap();
    let text = "MATCH ()-[m:MENTIONS {uuid: 'aa-victim'}]->() RETURN count(m)";
    let mut victims = async || format!("{:?}", copier::run(&mut cache, &applied.pair.graph, text).await.unwrap());
    assert!(victims().await.contains("int(1)"));
    applied.write("MATCH ()-[m:MENTIONS {uuid: 'aa-victim'}]->() DELETE m").await;
    applied.wait().await;
    assert!(victims().await.contains("int(0)"), "{}", applied.running.log());
    let pair = applied.pair;
    assert_eq!(applied.running.terminate().await, 0);

    // A comparison finds it as well: somebody puts it back behind the service's back.
    let text = "MATCH (n:Episodic), (e:Entity) WITH n, e LIMIT 1 CREATE (n)-[:MENTIONS {uuid: 'aa-victim', group_id: ''}]->(e)";
    copier::run(&mut cache, &pair.graph, text).await.unwrap();
    let verified = pair.service.finish(&["verify"]).await;
    assert_eq!(verified.code, 1, "{}{}", verified.stdout, verified.stderr);
    assert!(verified.stdout.contains("aa-victim"), "{}", verified.stdout);
}

#[tokio::test]
async fn a_pass_that_is_faster_than_the_probe_is_followed_by_a_comparison() {
    let applied = Applied::new("applied_compared", |service| {
        let service = service.with("SYNC_SCRUB_ROWS_PER_SECOND", 20_000).with("API_TOKEN", "0123456789abcdef");
        service.with("SYNC_PROBE_INTERVAL_MS", 3000)
    })
    .await;
    for number in 0..TRIES {
        let entity = &applied.world.entities[number];
        applied.write(&format!("MATCH (e:Entity {{uuid: '{entity}'}}) SET e.summary = 'silently'")).await;
        // A pass ends before the probe has seen the commit.
        assert_eq!(applied.http.post("/api/sync/incremental", "0123456789abcdef").await.unwrap().0, 202);
        applied.arrives("a silent change").await;
    }
    applied.ends().await;
}

/// Elements that a pass goes through for so long that a new generation begins in its middle.
const MANY: u64 = 40_000;

#[tokio::test]
async fn a_wait_outlives_the_generation_in_which_it_began() {
    let applied =
        Applied::new("applied_generations", |service| service.with("API_TOKEN", TOKEN).with("SYNC_LATE_CHECK_SECONDS", 900))
            .await;
    let then = "datetime('2020-01-01T00:00:00Z')";
    applied
        .write(&format!(
            "UNWIND range(1, {MANY}) AS i CREATE (:Entity {{uuid: 'many-' + i, name: 'n', group_id: '', summary: '', created_at: {then}}})"
        ))
        .await;
    applied.wait().await;
    for (number, delay) in [100, 200, 300, 400].into_iter().enumerate() {
        // Neither a count nor a timestamp tells of it: the pass has to look at all keys.
        applied
            .write(&format!(
                "MATCH (n:Entity {{uuid: 'many-{}'}}) DELETE n \
                 CREATE (:Entity {{uuid: 'other-{number}', name: 'n', group_id: '', summary: '', created_at: {then}}})",
                number + 1
            ))
            .await;
        let new_generation = async {
            tokio::time::sleep(Duration::from_millis(delay)).await;
            let begun = Instant::now();
            // A pipeline that starts anew, as after a silence of the cache, says so.
            loop {
                match applied.http.post("/api/sync/quarantine/ignore", TOKEN).await.unwrap() {
                    (200, _) => break,
                    (code, body) => assert!(code == 503 && begun.elapsed() < EVENT, "{code} {body}"),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::join!(applied.wait(), new_generation);
        applied.assert_equal_now(&format!("a generation after {delay} ms")).await;
    }
    applied.ends().await;
}
