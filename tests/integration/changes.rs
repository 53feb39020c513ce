//! Every change of the source arrives, whatever it leaves behind: a timestamp, an episode, a count, or nothing.

use std::time::{Duration, Instant};

use neo4rs::query;

use super::pipeline::Pair;
use crate::support::comparer::{Filter, compare_part, report};
use crate::support::deadline::EVENT;
use crate::support::graph::{GraphSpec, World, build};
use crate::support::http::Http;
use crate::support::recorder::Recorder;
use crate::support::service::Running;

/// The service at work on a small graph.
struct Followed {
    pair: Pair,
    world: World,
    running: Running,
}

impl Followed {
    async fn new(test: &str) -> Self {
        let pair = Pair::new(test).await;
        let world = build(&pair.source.graph, &GraphSpec { dimension: 16, ..GraphSpec::default() }).await.unwrap();
        // It deletes a half of the graph.
        let service = pair.service.clone().with("LOG_LEVEL", "debug").with("SYNC_MAX_DELETE_FRACTION", 1);
        let mut running = service.start(&["run"]);
        running.line("pass ended").await;
        let followed = Self { pair, world, running };
        followed.arrives("the whole graph").await;
        followed
    }

    async fn write(&self, text: &str) {
        self.pair.source.graph.run(query(text)).await.unwrap();
    }

    /// Looks until the two graphs are equal.
    async fn arrives(&self, what: &str) {
        self.part_arrives(&Filter::default(), what).await;
    }

    /// As [`Self::arrives`], where the source holds nodes outside the profile.
    async fn arrives_within_the_profile(&self, what: &str) {
        let nodes = Some("(n:Entity OR n:Episodic OR n:Community OR n:Saga)".to_owned());
        self.part_arrives(&Filter { nodes, ..Filter::default() }, what).await;
    }

    async fn part_arrives(&self, part: &Filter, what: &str) {
        let begun = Instant::now();
        loop {
            // A graph that gets a new name while it is read cannot be compared: the next look decides.
            let found = match compare_part(&self.pair.source.graph, part, &self.pair.cache, &self.pair.graph).await {
                Ok(found) if found.is_empty() => {
                    println!("{what}: equal after {:.2} s, the comparison included", begun.elapsed().as_secs_f64());
                    return;
                }
                Ok(found) => report(&found),
                Err(error) => error.to_string(),
            };
            assert!(begun.elapsed() < EVENT, "{what} did not arrive:\n{found}\n{}", self.running.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn ends(self) {
        assert_eq!(self.running.terminate().await, 0);
    }
}

/// What graphiti does when an episode is added: it mentions entities and lists facts, which change silently beside it.
fn episode(uuid: &str, changes: &str) -> String {
    format!(
        "CREATE (n:Episodic {{uuid: '{uuid}', name: 'e', group_id: '', content: 'c', source_description: '', source: 'text', \
         created_at: datetime(), valid_at: datetime(), entity_edges: []}}) {changes}"
    )
}

#[tokio::test]
async fn every_kind_of_change_arrives_while_the_service_runs() {
    let followed = Followed::new("changes").await;
    let (entity, fact) = (followed.world.entities[0].clone(), followed.world.facts[0].clone());
    let (other, other_fact) = (followed.world.entities[7].clone(), followed.world.facts[9].clone());

    followed.write(&episode("new-1", "")).await;
    followed.arrives("a new episode").await;

    let silently = format!(
        "WITH n MATCH (e:Entity {{uuid: '{entity}'}}) SET e.summary = 'rewritten', e:Person, e.attribute = 7 REMOVE e.name_embedding \
         CREATE (n)-[:MENTIONS {{uuid: 'mention-1', group_id: '', created_at: datetime()}}]->(e)"
    );
    followed.write(&episode("new-2", &silently)).await;
    followed.arrives("an entity rewritten beside a new episode").await;

    let listed = format!(
        "WITH n MATCH ()-[f:RELATES_TO {{uuid: '{fact}'}}]->() SET f.episodes = f.episodes + n.uuid, f.fact = 'other', \
         n.entity_edges = [f.uuid]"
    );
    followed.write(&episode("new-3", &listed)).await;
    followed.arrives("a fact rewritten beside a new episode").await;

    followed.write(&format!("MATCH ()-[f:RELATES_TO {{uuid: '{other_fact}'}}]->() SET f.expired_at = datetime()")).await;
    followed.arrives("an expired fact").await;

    followed.write("CREATE (:Entity {uuid: 'naive', name: 'n', group_id: '', summary: '', created_at: localdatetime()})").await;
    followed.arrives("a naive timestamp").await;

    let late =
        "CREATE (:Entity {uuid: 'late', name: 'n', group_id: '', summary: '', created_at: datetime() - duration('PT10M')})";
    followed.write(late).await;
    followed.arrives("a commit ten minutes late").await;

    followed.write(&format!("MATCH (e:Entity {{uuid: '{other}'}}) DETACH DELETE e")).await;
    followed.arrives("a deleted node").await;

    followed.write("MATCH ()-[m:MENTIONS]->() WITH m LIMIT 1 DELETE m").await;
    followed.arrives("a deleted relationship").await;

    followed
        .write("CREATE (:Saga {uuid: 'saga', name: 's', group_id: '', summary: '', created_at: datetime('2001-01-01')})")
        .await;
    followed.arrives("a saga of another time").await;

    followed.write("MATCH (c:Community) DETACH DELETE c").await;
    followed
        .write("UNWIND range(1, 4) AS i CREATE (:Community {uuid: 'community-' + i, name: 'c', group_id: '', summary: ''})")
        .await;
    followed.arrives("communities replaced").await;

    followed.write("MATCH (n) WHERE n.group_id = 'group-1' DETACH DELETE n").await;
    followed.arrives("a whole group deleted").await;

    followed.write("CREATE (:Entity {uuid: 'late', name: 'twin', group_id: '', summary: '', created_at: datetime()})").await;
    followed.write("MATCH (e:Entity {uuid: 'naive'}) DETACH DELETE e").await;
    followed
        .write("CREATE (:Entity:Back {uuid: 'naive', name: 'again', group_id: '', summary: '', created_at: datetime()})")
        .await;
    followed.write("MATCH (e:Entity {uuid: 'late', name: 'twin'}) DELETE e").await;
    followed.arrives("a duplicate that came and went, and a key that came back").await;
    followed.ends().await;
}

/// With no comparison in the background, the counts of labels are the only trace.
#[tokio::test]
async fn labels_that_come_and_go_by_themselves_arrive() {
    let pair = Pair::new("labels").await;
    let world = build(&pair.source.graph, &GraphSpec { dimension: 16, ..GraphSpec::default() }).await.unwrap();
    // Nodes outside the profile carry labels as well: that is no difference.
    pair.source.graph.run(query("CREATE (:Shared {name: 'outside'}), (:Elsewhere {name: 'outside'})")).await.unwrap();
    let service = pair.service.clone().with("SYNC_SCRUB_ROWS_PER_SECOND", 0).with("SYNC_DIFFERENTIAL_INTERVAL_SECONDS", 0);
    let mut running = service.with("SYNC_LATE_CHECK_SECONDS", 3).with("SYNC_INTERVAL_SECONDS", 4).start(&["run"]);
    running.line("pass ended").await;
    let mut followed = Followed { pair, world, running };
    followed.write("MATCH (e:Entity) WITH e ORDER BY e.uuid LIMIT 3 SET e:Promoted").await;
    followed.running.line("\"label\":\"Promoted\"").await;
    followed.arrives_within_the_profile("a new label").await;
    followed.write("MATCH (e:Person) WITH e ORDER BY e.uuid LIMIT 2 REMOVE e:Person").await;
    followed.arrives_within_the_profile("a label that is gone").await;
    followed.write("MATCH (e:Entity) WITH e ORDER BY e.uuid LIMIT 2 SET e:Shared").await;
    followed.arrives_within_the_profile("a label that others carry as well").await;
    assert!(!followed.running.log().contains("\"label\":\"Elsewhere\""), "{}", followed.running.log());
    followed.ends().await;
}

/// Probes that are looked at: they take four seconds.
const PROBES: usize = 20;

/// The seconds between two looks at indices and at whether graphs hold nodes.
const LOOK_INTERVAL: u64 = 10;

#[tokio::test]
async fn an_idle_source_is_left_alone() {
    let pair = Pair::new("idle").await;
    build(&pair.source.graph, &GraphSpec { dimension: 16, ..GraphSpec::default() }).await.unwrap();
    let port = pair.source.address.uri.rsplit(':').next().unwrap().parse().unwrap();
    let (source, cache) = (Recorder::before(port).await.unwrap(), Recorder::before(pair.cache.port).await.unwrap());
    let service = pair.service.clone().with("NEO4J_URI", format!("bolt://127.0.0.1:{}", source.port));
    // Late commits are looked for by time, which is none of what is shown here.
    let service = service.with("FALKORDB_PORT", cache.port).with("SYNC_LATE_CHECK_SECONDS", 900);
    let (running, http) = Http::start(&service).unwrap();
    let settled = async |beyond: u64| {
        let begun = Instant::now();
        loop {
            let status = http.status().await.unwrap_or_default();
            let passes = status["statistics"]["passes"].clone();
            let ended = passes["incremental"]["ended"].as_u64().unwrap_or_default();
            // The readings that follow a change are over, and so is the comparison.
            let proven = status["equal_as_of"].is_string() && status["equal_as_of"] == status["source_bookmark"];
            if status["settled"] == true && proven && ended > beyond {
                return (passes, ended);
            }
            assert!(begun.elapsed() < EVENT, "not settled: {status}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let idles = async |beyond: u64| {
        let (passes, ended) = settled(beyond).await;
        source.take();
        cache.take();
        let begun = Instant::now();
        while source.count("RETURN 1") < PROBES {
            assert!(begun.elapsed() < EVENT, "the source is probed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (asked, of_cache) = (source.take(), cache.take());
        let other = ["MATCH", "UNWIND", "CALL", "SHOW", "datetime"].into_iter().find(|word| asked.contains(word));
        assert_eq!(other, None, "more than a trivial query: {asked}");
        // Every ten seconds the indices are looked at: a client may have made one by which FalkorDB answers wrongly. So is whether the
        // graph holds nodes: a client may have deleted it, and another one made it again.
        let (asked, indices) = (of_cache.matches("GRAPH.").count(), of_cache.matches("CALL db.indexes()").count());
        let counts = of_cache.matches("MATCH (n) RETURN count(n)").count();
        let looks = 1 + (begun.elapsed().as_secs() / LOOK_INTERVAL) as usize;
        let is_left_alone = asked == indices + counts && indices <= looks && counts <= looks && of_cache.contains("GET");
        assert!(is_left_alone, "the graph is not asked: {of_cache}");
        assert_eq!(settled(0).await.0, passes, "idling costs no pass");
        ended
    };
    let before = idles(0).await;
    let write = "CREATE (:Entity {uuid: 'one', name: 'n', group_id: '', summary: '', created_at: datetime()})";
    pair.source.graph.run(query(write)).await.unwrap();
    idles(before).await;
    assert_eq!(running.terminate().await, 0);
    pair.assert_equal().await;
}
