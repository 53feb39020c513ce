//! Groups of one source: a part of it in one graph, or each group in a graph of its own.

mod homes;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use neo4j_falkordb_sync::config::Secret;
use neo4j_falkordb_sync::source::SourceAddress;
use neo4j_falkordb_sync::source::bolt::{Limits, Probe};
use neo4rs::query;
use serde_json::Value;

use super::api::{Http, start};
use super::indices::until_told;
use super::pipeline::PROGRAM;
use crate::support::comparer::{Filter, assert_part_equal, compare_part, report};
use crate::support::deadline::EVENT;
use crate::support::graph::{GraphSpec, World, build};
use crate::support::proxy::{Mode, Proxy};
use crate::support::servers::{FalkorAddress, FalkorServer, Neo4jAddress, SourceTurn, ports, source_lock};
use crate::support::service::{Running, Service};

/// The graph of what is of no group in particular.
const DEFAULT: &str = "default_db";

/// A turn with the source, and a cache of one's own: graphs are named like groups, and those have the same names in all tests.
struct Groups {
    source: SourceTurn,
    cache: FalkorServer,
    service: Service,
}

impl Groups {
    async fn new() -> Self {
        let source = source_lock().await;
        let cache = FalkorServer::start().await.unwrap();
        let service = Service::new(PROGRAM, &source.address, &cache.address(), "{group_id}");
        Self { source, cache, service }
    }

    fn address(&self) -> FalkorAddress {
        self.cache.address()
    }

    async fn write(&self, text: &str) {
        self.source.graph.run(query(text)).await.unwrap();
    }

    async fn redis(&self, command: &[&str]) -> redis::Value {
        self.try_redis(command).await.unwrap()
    }

    async fn try_redis(&self, command: &[&str]) -> redis::RedisResult<redis::Value> {
        let mut connection = self.address().connect().await.unwrap();
        let mut built = redis::cmd(command[0]);
        built.arg(&command[1..]);
        built.query_async(&mut connection).await
    }

    async fn graphs(&self) -> BTreeSet<String> {
        redis::from_redis_value(self.redis(&["GRAPH.LIST"]).await).unwrap()
    }

    /// The graphs that there should be: one for each group of the source.
    async fn wanted(&self) -> BTreeSet<String> {
        let text = "MATCH (n) WHERE n.group_id IS NOT NULL RETURN DISTINCT n.group_id AS name";
        let mut rows = self.source.graph.execute(query(text)).await.unwrap();
        let mut names = BTreeSet::new();
        while let Some(row) = rows.next().await.unwrap() {
            let name: String = row.get("name").unwrap();
            names.insert(if name.is_empty() { DEFAULT.to_owned() } else { name });
        }
        names
    }

    async fn sync(&self, mode: &str) -> Value {
        self.service.json(&["sync", "--mode", mode]).await[0].clone()
    }

    /// Each graph is its group, and there is no other.
    async fn assert_exact(&self) {
        let wanted = self.wanted().await;
        assert_eq!(self.graphs().await, wanted);
        for graph in wanted {
            assert_part_equal(&self.source.graph, &filter_of(&graph), &self.address(), &graph).await;
        }
    }

    async fn until_exact(&self) {
        let began = Instant::now();
        loop {
            let what = self.difference().await;
            let Some(what) = what else { return };
            assert!(began.elapsed() < EVENT, "{what}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn difference(&self) -> Option<String> {
        let (wanted, found) = (self.wanted().await, self.graphs().await);
        if wanted != found {
            return Some(format!("graphs: {:?}", wanted.symmetric_difference(&found).collect::<Vec<_>>()));
        }
        for graph in wanted {
            match compare_part(&self.source.graph, &filter_of(&graph), &self.address(), &graph).await {
                Ok(found) if found.is_empty() => {}
                Ok(found) => return Some(format!("{graph}: {}", report(&found))),
                Err(error) => return Some(format!("{graph}: {error}")),
            }
        }
        None
    }

    async fn start(&self) -> (Running, Http) {
        let (running, http) = start(&self.service).await;
        http.until_ready(true).await;
        (running, http)
    }
}

fn group_of(graph: &str) -> &str {
    if graph == DEFAULT { "" } else { graph }
}

fn filter_of(graph: &str) -> Filter {
    Filter::group(group_of(graph))
}

fn spec(groups: usize) -> GraphSpec {
    GraphSpec { groups, sagas: groups, communities: groups, ..GraphSpec::default() }
}

async fn assert_group(source: &SourceTurn, cache: &FalkorAddress, group: &str, graph: &str) {
    assert_part_equal(&source.graph, &Filter::group(group), cache, graph).await;
}

/// Two pipelines over one source, each with one group.
#[tokio::test]
async fn a_filter_copies_its_groups_alone() {
    let groups = Groups::new().await;
    let mut world: World = build(&groups.source.graph, &spec(4)).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sync.yaml");
    let settings = "pipelines:\n- {name: one, falkordb: {database: first}, filter: {group_ids: [group-1]}}\n\
                    - {name: two, falkordb: {database: second}, filter: {group_ids: [group-2]}}\n";
    std::fs::write(&file, settings).unwrap();
    let file = file.to_str().unwrap();
    let service = &groups.service.clone().without("FALKORDB_DATABASE");
    let passes = service.json(&["sync", "--mode", "full", "--config", file]).await;
    let named: Vec<&str> = passes.as_array().unwrap().iter().map(|pass| pass["pipeline"].as_str().unwrap()).collect();
    assert_eq!(named, ["one", "two"]);
    for _ in 0..4 {
        world.add_episode(3, 4).await.unwrap();
    }
    // What a filter lets through may leave and come.
    groups.write("MATCH (n:Entity {group_id: 'group-1'}) WITH n ORDER BY n.uuid LIMIT 1 DETACH DELETE n").await;
    groups.write("MATCH (n:Entity {group_id: 'group-2'}) WITH n ORDER BY n.uuid LIMIT 1 SET n.summary = 'by hand'").await;
    service.json(&["sync", "--mode", "incremental", "--config", file]).await;
    // The summary leaves no trace but itself, and nothing else is left to mend.
    let mended = service.json(&["verify", "--repair", "--config", file]).await;
    let differences: Vec<u64> = mended.as_array().unwrap().iter().map(|report| report["differences"].as_u64().unwrap()).collect();
    assert_eq!(differences, [0, 1], "{mended}");
    assert_group(&groups.source, &groups.address(), "group-1", "first").await;
    assert_group(&groups.source, &groups.address(), "group-2", "second").await;
    assert_eq!(service.finish(&["verify", "--config", file]).await.code, 0);
}

#[tokio::test]
async fn each_group_has_a_graph_of_its_own() {
    let groups = Groups::new().await;
    let mut world = build(&groups.source.graph, &spec(5)).await.unwrap();
    let pass = groups.sync("full").await;
    assert_eq!(pass["totals"]["quarantined"], 0, "{pass}");
    groups.assert_exact().await;
    // Again, beside the graphs that are there.
    groups.sync("full").await;
    groups.assert_exact().await;
    for _ in 0..5 {
        world.add_episode(3, 4).await.unwrap();
    }
    groups.sync("incremental").await;
    groups.assert_exact().await;
    assert_eq!(groups.service.finish(&["verify"]).await.code, 0);
}

#[tokio::test]
async fn groups_come_and_go_while_it_runs() {
    let groups = Groups::new().await;
    build(&groups.source.graph, &spec(6)).await.unwrap();
    let (running, _http) = groups.start().await;
    groups.until_exact().await;
    groups.write("CREATE (:Entity {uuid: 'new-1', name: 'x', group_id: 'newcomers', created_at: datetime()})").await;
    groups.write("CREATE (:Episodic {uuid: 'new-2', name: 'x', group_id: 'others', created_at: datetime()})").await;
    groups.write("MATCH (n {group_id: 'group-3'}) DETACH DELETE n").await;
    groups.until_exact().await;
    // A group that comes again.
    groups.write("CREATE (:Entity {uuid: 'new-3', name: 'x', group_id: 'group-3', created_at: datetime()})").await;
    groups.until_exact().await;
    assert_eq!(running.terminate().await, 0);
}

/// An element that changes its group stands in one graph afterwards, and a relationship between two groups is listed.
#[tokio::test]
async fn what_moves_between_groups_is_moved() {
    let groups = Groups::new().await;
    build(&groups.source.graph, &spec(3)).await.unwrap();
    for (uuid, group) in [("wanderer", "group-1"), ("settler", "group-2")] {
        let text = format!("CREATE (:Entity {{uuid: '{uuid}', name: 'x', group_id: '{group}', created_at: datetime()}})");
        groups.write(&text).await;
    }
    let (running, http) = groups.start().await;
    groups.until_exact().await;
    // Once without a trace, and once with a timestamp that moves.
    groups.write("MATCH (n:Entity {uuid: 'wanderer'}) SET n.group_id = 'group-2'").await;
    groups.until_exact().await;
    groups.write("MATCH (n:Entity {uuid: 'wanderer'}) SET n.group_id = 'group-1', n.created_at = datetime()").await;
    groups.until_exact().await;
    let text = "MATCH (a:Entity {uuid: 'wanderer'}), (b:Entity {uuid: 'settler'}) CREATE (a)-[:RELATES_TO {uuid: 'across', \
                group_id: 'group-1', name: 'KNOWS', fact: 'x', created_at: datetime()}]->(b)";
    groups.write(text).await;
    let began = Instant::now();
    let listed = loop {
        let quarantine = http.json("/api/sync/quarantine").await;
        let text = quarantine.to_string();
        if text.contains("across") {
            break text;
        }
        assert!(began.elapsed() < EVENT, "{quarantine}\n{}", running.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(listed.contains("not in the graph of its group"), "{listed}");
    groups.until_exact().await;
    assert_eq!(running.terminate().await, 0);
    let verdict = groups.service.finish(&["verify"]).await;
    assert!(verdict.code == 0 && verdict.stdout.contains("1 quarantined"), "{verdict:?}");
}

#[tokio::test]
async fn a_graph_of_somebody_else_is_left_alone() {
    let groups = Groups::new().await;
    build(&groups.source.graph, &spec(3)).await.unwrap();
    groups.redis(&["GRAPH.QUERY", "group-1", "CREATE (:Precious {name: 'theirs'})"]).await;
    // A mere search of graphiti leaves an empty graph with indices behind: nobody misses it.
    groups.redis(&["GRAPH.QUERY", "group-2", "CREATE INDEX FOR (n:Entity) ON (n.uuid, n.group_id, n.name, n.created_at)"]).await;
    let pass = groups.sync("full").await;
    assert!(pass["totals"]["quarantined"].as_u64().unwrap() > 100, "{pass}");
    for graph in [DEFAULT, "group-2"] {
        assert_group(&groups.source, &groups.address(), group_of(graph), graph).await;
    }
    let theirs = groups.redis(&["GRAPH.RO_QUERY", "group-1", "MATCH (n) RETURN labels(n), n.name"]).await;
    assert!(format!("{theirs:?}").contains("theirs"), "{theirs:?}");
    // Once it is gone, the group has its graph.
    groups.redis(&["GRAPH.DELETE", "group-1"]).await;
    groups.sync("full").await;
    groups.assert_exact().await;
}

/// Names of groups that are no plain words, and that a statement or a key could trip over.
const ODD_GROUPS: [&str; 10] =
    ["with blank", "a:b.c/d", "$rows", "it's \"quoted\"", "back\\slash`tick", "группа-标签", "😀", "a{b", "x}", "{x}"];

#[tokio::test]
async fn groups_named_by_anything_have_graphs_but_for_braces() {
    let groups = Groups::new().await;
    let text = "UNWIND $names AS name CREATE (a:Entity {uuid: 'a-' + name, name: 'x', group_id: name, created_at: datetime()}) \
                CREATE (b:Entity {uuid: 'b-' + name, name: 'x', group_id: name, created_at: datetime()}) \
                CREATE (a)-[:RELATES_TO {uuid: 'e-' + name, name: 'R', fact: 'f', group_id: name, created_at: datetime()}]->(b)";
    let names: Vec<String> = ODD_GROUPS.iter().map(|name| (*name).to_owned()).collect();
    groups.source.graph.run(query(text).param("names", names)).await.unwrap();

    // Before anything is written, it is said what will be quarantined, and which graphs there will be.
    let checked = groups.service.finish(&["check"]).await;
    assert_eq!(checked.code, 1, "{}{}", checked.stdout, checked.stderr);
    for said in ["quarantine  9 elements or properties", "its group cannot have a graph", "graph       does not exist yet"] {
        assert!(checked.stdout.contains(said), "{said}: {}", checked.stdout);
    }
    let named: BTreeSet<&str> = ODD_GROUPS.into_iter().filter(|name| !name.contains(['{', '}'])).collect();
    for name in &named {
        let said = format!("graph {name}: 2 nodes, 1 relationship");
        assert!(checked.stdout.contains(&said), "{said}: {}", checked.stdout);
    }

    let pass = groups.sync("full").await;
    assert_eq!(pass["totals"]["quarantined"], 9, "what check said: {pass}");
    assert_eq!(groups.graphs().await, named.iter().map(|name| (*name).to_owned()).collect());
    for name in &named {
        assert_part_equal(&groups.source.graph, &Filter::group(name), &groups.address(), name).await;
    }
    assert_eq!(groups.service.finish(&["verify"]).await.code, 0);
    groups.write("MATCH (n:Entity) WHERE NOT n.group_id CONTAINS '{' SET n.summary = 'later', n.created_at = datetime()").await;
    groups.sync("incremental").await;
    for name in &named {
        assert_part_equal(&groups.source.graph, &Filter::group(name), &groups.address(), name).await;
    }
}

#[tokio::test]
async fn check_names_the_graphs_that_somebody_else_has() {
    let groups = Groups::new().await;
    build(&groups.source.graph, &spec(3)).await.unwrap();
    assert_eq!(groups.service.finish(&["check"]).await.code, 0);
    groups.redis(&["GRAPH.QUERY", "group-1", "CREATE (:Precious {name: 'theirs'})"]).await;
    let checked = groups.service.json_with_code(&["check"], 1).await;
    let survey = &checked[0]["survey"];
    assert!(survey["graphs"]["group-1"]["taken"].as_str().unwrap().contains("did not write"), "{survey}");
    assert!(survey["graphs"]["group-2"]["taken"].is_null(), "{survey}");
    let pass = groups.sync("full").await;
    assert_eq!(survey["quarantined"], pass["totals"]["quarantined"], "{survey}");
}

#[tokio::test]
async fn the_graphs_before_a_full_sync_can_be_had_again() {
    let groups = Groups::new().await;
    build(&groups.source.graph, &spec(3)).await.unwrap();
    let keeping = groups.service.clone().with("FULL_SYNC_KEEP_PREVIOUS", "true");
    keeping.json(&["sync", "--mode", "full"]).await;
    groups.write("MATCH (n {group_id: 'group-1'}) DETACH DELETE n").await;
    groups.write("CREATE (:Entity {uuid: 'new', name: 'x', group_id: 'newcomers', created_at: datetime()})").await;
    keeping.json(&["sync", "--mode", "full", "--allow-deletes"]).await;
    let live = |graphs: BTreeSet<String>| graphs.into_iter().filter(|name| !name.contains(':')).collect::<Vec<_>>();
    assert_eq!(live(groups.graphs().await), [DEFAULT, "group-2", "newcomers"]);
    keeping.json(&["rollback"]).await;
    assert_eq!(live(groups.graphs().await), [DEFAULT, "group-1", "group-2"]);
    keeping.json(&["rollback"]).await;
    assert_eq!(live(groups.graphs().await), [DEFAULT, "group-2", "newcomers"]);
}

/// A client of graphiti has a graph for each group, and makes its indices on it again.
#[tokio::test]
async fn indices_that_answer_wrongly_are_dropped_from_every_groups_graph() {
    let mut groups = Groups::new().await;
    groups.service = groups.service.clone().with("SYNC_SCRUB_ROWS_PER_SECOND", 0).with("SYNC_INTERVAL_SECONDS", 86_400);
    build(&groups.source.graph, &GraphSpec { dimension: 16, ..spec(3) }).await.unwrap();
    groups.sync("full").await;
    let (running, http) = crate::support::http::Http::start(&groups.service).unwrap();
    until_told(http, "left_out", "(:Entity).created_at").await;
    for graph in [DEFAULT, "group-2"] {
        groups.redis(&["GRAPH.QUERY", graph, "CREATE INDEX FOR (n:Entity) ON (n.created_at)"]).await;
    }
    for graph in [DEFAULT, "group-2"] {
        until_told(http, "dropped", &format!("{graph}: range (:Entity).created_at")).await;
    }
    // One that is made again is dropped again.
    let line = running.length();
    groups.redis(&["GRAPH.QUERY", "group-2", "CREATE INDEX FOR (n:Entity) ON (n.created_at)"]).await;
    let mut running = running;
    running.line_from(line, "index dropped").await;
    assert_eq!(running.terminate().await, 0);
}

/// Beside the graphs, and in them.
#[tokio::test]
async fn indices_of_somebody_else_outlive_a_full_sync_of_groups() {
    let groups = Groups::new().await;
    build(&groups.source.graph, &GraphSpec { dimension: 16, ..spec(3) }).await.unwrap();
    groups.sync("full").await;
    groups.redis(&["GRAPH.QUERY", "group-2", "CREATE INDEX FOR (n:Person) ON (n.age)"]).await;
    for strategy in ["shadow", "in_place"] {
        let service = groups.service.clone().with("FULL_SYNC_STRATEGY", strategy);
        service.json(&["sync", "--mode", "full"]).await;
        let shown =
            groups.redis(&["GRAPH.RO_QUERY", "group-2", "CALL db.indexes() YIELD label, properties RETURN label, properties"]);
        let shown = format!("{:?}", shown.await);
        assert!(shown.contains("Person") && shown.contains("age"), "{strategy}: {shown}");
        groups.assert_exact().await;
    }
}

/// As many as a service with many users has.
#[tokio::test]
async fn two_hundred_groups_are_followed() {
    let groups = Groups::new().await;
    let spec = GraphSpec { entities: 2000, facts: 3000, episodes: 800, mentions: 1200, members: 400, dimension: 16, ..spec(200) };
    let mut world = build(&groups.source.graph, &spec).await.unwrap();
    let (running, _http) = groups.start().await;
    groups.until_exact().await;
    for number in 0..10 {
        let text = format!(
            "CREATE (a:Entity {{uuid: 'a-{number}', name: 'x', group_id: 'newcomers-{number}', created_at: datetime()}}) \
             CREATE (a)-[:RELATES_TO {{uuid: 'f-{number}', name: 'IS', fact: 'x', group_id: 'newcomers-{number}', \
             created_at: datetime()}}]->(a)"
        );
        groups.write(&text).await;
        groups.write(&format!("MATCH (n {{group_id: 'group-{}'}}) DETACH DELETE n", 20 + number)).await;
        world.add_episode(2, 2).await.unwrap();
    }
    groups.until_exact().await;
    assert_eq!(groups.graphs().await.len(), 200);
    assert_eq!(running.terminate().await, 0);
}

/// Two pipelines over one source, one of them through a line that falls silent: the other is as fresh as before.
#[tokio::test]
async fn a_pipeline_whose_source_is_silent_leaves_the_other_alone() {
    let groups = Groups::new().await;
    build(&groups.source.graph, &spec(3)).await.unwrap();
    let port = groups.source.address.uri.rsplit(':').next().unwrap().parse().unwrap();
    let line = Proxy::before(port).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sync.yaml");
    let settings = format!(
        "neo4j: {{uri: '{}'}}\npipelines:\n- {{name: calm, falkordb: {{database: calm}}, filter: {{group_ids: [group-1]}}}}\n\
         - {{name: stuck, neo4j: {{uri: 'bolt://127.0.0.1:{}'}}, falkordb: {{database: stuck}}, filter: {{group_ids: [group-2]}}}}\n",
        groups.source.address.uri, line.port
    );
    std::fs::write(&file, settings).unwrap();
    let http = Http { port: ports::free().unwrap() };
    let service = groups.service.clone().without("FALKORDB_DATABASE").without("NEO4J_URI");
    let service = service.with("HEALTH_PORT", http.port).with("HEALTH_BIND", "127.0.0.1");
    let running = service.start(&["run", "--config", file.to_str().unwrap()]);
    http.until_ready(true).await;
    let before = groups.freshness(&http, "calm", "before").await;
    line.set(Mode::Blackhole).await;
    let verdict = http.until_ready(false).await;
    assert!(verdict.contains("\"stuck\":{\"ready\":false"), "{verdict}");
    // A pipeline that waited for the other one would wait for its probes of five seconds, half of one in the median. The rest is for a
    // machine that does more at one time than at another, and so is another try.
    let mut during = f64::INFINITY;
    for name in ["during", "again", "once-more"] {
        if during >= 2.0 * before + 1.0 {
            during = groups.freshness(&http, "calm", name).await;
            println!("a commit readable after {before:.3} s, and {during:.3} s beside a silent source");
        }
    }
    assert!(during < 2.0 * before + 1.0, "{before} {during}");
    line.set(Mode::Through).await;
    http.until_ready(true).await;
    groups.write("MATCH (n:Entity {group_id: 'group-2'}) WITH n ORDER BY n.uuid LIMIT 1 DETACH DELETE n").await;
    for (group, graph) in [("group-1", "calm"), ("group-2", "stuck")] {
        let began = Instant::now();
        loop {
            let found = compare_part(&groups.source.graph, &Filter::group(group), &groups.address(), graph).await.unwrap();
            if found.is_empty() {
                break;
            }
            assert!(began.elapsed() < EVENT, "{graph}: {}", report(&found));
        }
    }
    assert_eq!(running.terminate().await, 0);
}

impl Groups {
    /// The median time until a commit is in a pipeline's graph, of ten.
    async fn freshness(&self, http: &Http, pipeline: &str, name: &str) -> f64 {
        let mut times = Vec::new();
        for number in 0..10 {
            let text =
                format!("CREATE (:Entity {{uuid: '{name}-{number}', name: 'x', group_id: 'group-1', created_at: datetime()}})");
            self.write(&text).await;
            let began = Instant::now();
            let bookmark = self.bookmark().await;
            let (status, body) =
                http.get(&format!("/api/sync/wait?pipeline={pipeline}&bookmark={bookmark}&timeout_ms=60000")).await;
            assert_eq!(status, 200, "{body}");
            times.push(began.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }

    /// The source's last commit, as a part of an address.
    async fn bookmark(&self) -> String {
        let Neo4jAddress { uri, user, password, database } = self.source.address.clone();
        let (password, database) = (Secret::new(password), Some(database));
        let address = SourceAddress { uri, user, password, database, pool_size: 1, ca_file: None };
        let bookmark = Probe::new(&address, Limits::default()).unwrap().bookmark().await.unwrap();
        bookmark.as_str().replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
    }
}
