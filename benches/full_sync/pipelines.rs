//! One source in eight graphs by eight pipelines, against the same source in one graph by one.

use std::time::{Duration, Instant};

use neo4rs::query;

use crate::support::comparer::{Filter, assert_equal, assert_part_equal, compare_part};
use crate::support::graph::{GraphSpec, build};
use crate::support::servers::{fresh_graph_name, shared, source_lock};
use crate::support::service::{Running, Service};
use crate::table::{Spread, print};

const PIPELINES: usize = 8;

const ROUNDS: usize = 5;

/// Commits to each group while all pipelines run.
const COMMITS: usize = 20;

/// How long what was written may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(60);

/// 40,000 elements, 5,000 in each group; entities, communities and facts have vectors of 256.
fn spec() -> GraphSpec {
    GraphSpec {
        entities: 8_000,
        facts: 16_000,
        episodes: 2_400,
        mentions: 10_792,
        communities: 80,
        members: 320,
        sagas: 16,
        groups: PIPELINES,
        ..GraphSpec::default()
    }
}

fn group(number: usize) -> String {
    if number == 0 { String::new() } else { format!("group-{number}") }
}

fn configuration(graphs: &[String]) -> String {
    let entry = |(number, graph): (usize, &String)| {
        format!("- {{name: p{number}, falkordb: {{database: {graph}}}, filter: {{group_ids: ['{}']}}}}\n", group(number))
    };
    format!("pipelines:\n{}", graphs.iter().enumerate().map(entry).collect::<String>())
}

/// Until all pipelines have filled their graphs.
async fn converged(service: &Service, arguments: &[&str], pipelines: usize) -> (f64, Running) {
    let started = Instant::now();
    let mut running = service.start(arguments);
    running.lines("full sync ended", pipelines).await;
    (started.elapsed().as_secs_f64(), running)
}

pub async fn run() {
    let source = source_lock().await;
    let spec = spec();
    build(&source.graph, &spec).await.unwrap();
    let cache = shared().await.falkordb.address();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sync.yaml");
    let [mut ones, mut eights, mut ratios]: [Vec<f64>; 3] = Default::default();
    for round in 0..=ROUNDS {
        let whole = fresh_graph_name("whole");
        let (one, running) = converged(&crate::service(&whole).await, &["run"], 1).await;
        running.terminate().await;
        let graphs: Vec<String> = (0..PIPELINES).map(|number| fresh_graph_name(&format!("part{number}"))).collect();
        std::fs::write(&file, configuration(&graphs)).unwrap();
        let service = crate::service(&whole).await.without("FALKORDB_DATABASE");
        let (eight, running) = converged(&service, &["run", "--config", file.to_str().unwrap()], PIPELINES).await;
        // The first round compiles what Neo4j runs often.
        if round > 0 {
            [&mut ones, &mut eights, &mut ratios]
                .into_iter()
                .zip([one, eight, eight / one])
                .for_each(|(of, value)| of.push(value));
        }
        if round == ROUNDS {
            assert_equal(&source.graph, &cache, &whole).await;
            stay_in_step(&source.graph, &graphs).await;
        }
        running.terminate().await;
    }
    let elements = spec.nodes() + spec.relationships();
    print(
        &format!("{elements} elements from empty, {PIPELINES} pipelines with a group each against one with all"),
        &[("one pipeline (s)", Spread(ones)), ("eight pipelines (s)", Spread(eights)), ("eight / one", Spread(ratios))],
    );
}

/// Writes to all groups, and then each graph is its group.
async fn stay_in_step(source: &neo4rs::Graph, graphs: &[String]) {
    for number in 0..COMMITS * PIPELINES {
        let text = "MATCH (n:Entity {group_id: $group}) WITH n ORDER BY n.uuid LIMIT 1 \
                    CREATE (e:Episodic {uuid: randomUUID(), name: 'new', group_id: $group, created_at: datetime(), entity_edges: []}) \
                    CREATE (e)-[:MENTIONS {uuid: randomUUID(), group_id: $group, created_at: datetime()}]->(n) \
                    SET n.summary = 'written again'";
        source.run(query(text).param("group", group(number % PIPELINES))).await.unwrap();
    }
    let cache = shared().await.falkordb.address();
    let began = Instant::now();
    for (number, graph) in graphs.iter().enumerate() {
        let filter = Filter::group(&group(number));
        while began.elapsed() < ARRIVAL && !compare_part(source, &filter, &cache, graph).await.is_ok_and(|found| found.is_empty())
        {
        }
        assert_part_equal(source, &filter, &cache, graph).await;
    }
    println!(
        "{} commits to {PIPELINES} groups: all graphs equal {:.1} s later",
        COMMITS * PIPELINES,
        began.elapsed().as_secs_f64()
    );
}
