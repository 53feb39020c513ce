//! How fast each client reads pages of a graph of Graphiti's shape, against what any client can reach.
//!
//! `NEO4J_URI=bolt://127.0.0.1:7687 cargo bench --bench source_reads`: a server without a log on, or with `NEO4J_USER` and
//! `NEO4J_PASSWORD`, and with a database that may be filled: it gets 20,000 nodes and 40,000 relationships, a vector of 256
//! floats on each, unless it has them. Ratios within one run are what counts: each round asks all clients in turn.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use neo4j_falkordb_sync::config::Secret;
use neo4j_falkordb_sync::model::kind::{ElementKind, NodeKindId, RelationshipKindId};
use neo4j_falkordb_sync::model::profile::Profile;
use neo4j_falkordb_sync::model::projection::Projection;
use neo4j_falkordb_sync::source::BoltSource;
use neo4j_falkordb_sync::source::bolt::{BoltReader, Limits, Probe};
use neo4j_falkordb_sync::source::queries::Queries;
use neo4j_falkordb_sync::source::{Request, Source, SourceAddress};
use neo4rs::{BoltMap, ConfigBuilder, Graph, query};

const NODES: i64 = 20_000;
const RELATIONSHIPS: i64 = 40_000;
const ROUNDS: usize = 5;
const ENTITY: NodeKindId = NodeKindId(0);
const RELATES_TO: RelationshipKindId = RelationshipKindId(0);

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn address() -> SourceAddress {
    SourceAddress {
        uri: variable("NEO4J_URI", "bolt://127.0.0.1:7687"),
        user: variable("NEO4J_USER", ""),
        password: Secret::new(variable("NEO4J_PASSWORD", "")),
        database: None,
        pool_size: 4,
        ca_file: None,
    }
}

const INDICES: [&str; 2] = [
    "CREATE INDEX entity_uuid IF NOT EXISTS FOR (n:Entity) ON (n.uuid)",
    "CREATE INDEX fact_uuid IF NOT EXISTS FOR ()-[e:RELATES_TO]-() ON (e.uuid)",
];

const FILL_NODES: &str = "UNWIND range($from, $from + 999) AS i CREATE (n:Entity {uuid: randomUUID(), number: i, \
    name: 'Entity ' + i, group_id: 'g', summary: reduce(s = '', j IN range(1, 30) | s + ' word' + (i * j % 97)), \
    created_at: datetime()}) WITH n, [j IN range(1, 256) | rand() - 0.5] AS v \
    CALL db.create.setNodeVectorProperty(n, 'name_embedding', v)";

const FILL_RELATIONSHIPS: &str = "UNWIND range($from, $from + 999) AS i \
    MATCH (a:Entity {number: i * 7 % $nodes}), (b:Entity {number: i * 13 % $nodes}) \
    CREATE (a)-[e:RELATES_TO {uuid: randomUUID(), name: 'KNOWS', group_id: 'g', fact: 'fact number ' + i + ' of the graph', \
    episodes: [randomUUID()], created_at: datetime(), valid_at: datetime()}]->(b) \
    WITH e, [j IN range(1, 256) | rand() - 0.5] AS v CALL db.create.setRelationshipVectorProperty(e, 'fact_embedding', v)";

fn driver() -> Graph {
    let address = address();
    let config = ConfigBuilder::new().uri(&address.uri).user("x").password(address.password.expose());
    Graph::connect(config.build().unwrap()).unwrap()
}

async fn fill() {
    let graph = driver();
    let mut rows = graph.execute(query("MATCH (n:Entity) RETURN count(n) AS count")).await.unwrap();
    if rows.next().await.unwrap().unwrap().get::<i64>("count").unwrap() == NODES {
        return;
    }
    drop(rows);
    for index in INDICES.into_iter().chain(["CREATE INDEX entity_number IF NOT EXISTS FOR (n:Entity) ON (n.number)"]) {
        graph.run(query(index)).await.unwrap();
    }
    graph.run(query("CALL db.awaitIndexes(60)")).await.unwrap();
    for from in (0..NODES).step_by(1_000) {
        graph.run(query(FILL_NODES).param("from", from)).await.unwrap();
    }
    for from in (0..RELATIONSHIPS).step_by(1_000) {
        graph.run(query(FILL_RELATIONSHIPS).param("from", from).param("nodes", NODES)).await.unwrap();
    }
}

/// All pages of entities, then of facts: the rows.
async fn pages(source: &dyn Source, limit: usize) -> [usize; 2] {
    let (mut nodes, mut relationships) = (0, 0);
    let mut after = Some(String::new());
    while let Some(key) = after {
        let page = source.page(ElementKind::Node(ENTITY), Projection::Whole, &key, limit).await.unwrap();
        nodes += page.rows.len();
        after = page.next;
    }
    after = Some(String::new());
    while let Some(key) = after {
        let page = source.page(ElementKind::Relationship(RELATES_TO), Projection::Whole, &key, limit).await.unwrap();
        relationships += page.rows.len();
        after = page.next;
    }
    [nodes, relationships]
}

/// Time on the wall, and the processor time of this process: the server has processors to itself only elsewhere.
#[derive(Clone, Copy)]
struct Clock {
    wall: Instant,
    worked: Duration,
}

impl Clock {
    fn start() -> Self {
        Self { wall: Instant::now(), worked: processor_time() }
    }

    fn elapsed(self) -> (Duration, Duration) {
        (self.wall.elapsed(), processor_time().saturating_sub(self.worked))
    }
}

/// Linux counts it in ticks of 10 ms, as fields 14 and 15 of this line; zero elsewhere.
fn processor_time() -> Duration {
    let line = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = line.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

struct Bench {
    driver: Graph,
    ours: BoltSource,
    reader: BoltReader,
    profile: Arc<Profile>,
    /// The first key of each page, so that the discarding reader asks for the same pages.
    starts: BTreeMap<(usize, usize), Vec<String>>,
    /// Rows a second, and microseconds of this process a row, by what was read.
    times: BTreeMap<String, Vec<[f64; 2]>>,
}

impl Bench {
    async fn new() -> Self {
        let (address, profile) = (address(), Arc::new(Profile::graphiti().unwrap()));
        Self {
            driver: driver(),
            ours: BoltSource::connect(&address, Arc::clone(&profile)).await.unwrap(),
            reader: BoltReader::connect(&address, Limits::default()).await.unwrap(),
            profile,
            starts: BTreeMap::new(),
            times: BTreeMap::new(),
        }
    }

    async fn find_starts(&mut self, limit: usize) {
        let mut nodes = Vec::new();
        let mut after = Some(String::new());
        while let Some(key) = after {
            after = self.ours.page(ElementKind::Node(ENTITY), Projection::Whole, &key, limit).await.unwrap().next;
            nodes.push(key);
        }
        let mut relationships = Vec::new();
        after = Some(String::new());
        while let Some(key) = after {
            after = self.ours.page(ElementKind::Relationship(RELATES_TO), Projection::Whole, &key, limit).await.unwrap().next;
            relationships.push(key);
        }
        self.starts.insert((limit, 0), nodes);
        self.starts.insert((limit, 1), relationships);
    }

    fn note(&mut self, name: String, rows: u64, started: Clock) {
        let (took, worked) = started.elapsed();
        let rates = [rows as f64 / took.as_secs_f64(), worked.as_micros() as f64 / rows as f64];
        self.times.entry(name).or_default().push(rates);
    }

    async fn round(&mut self, limit: usize) {
        for kind in [0, 1] {
            let name = ["nodes", "facts"][kind];
            let started = Clock::start();
            let rows = self.discard(limit, kind).await;
            self.note(format!("{name} {limit} discard"), rows, started);
        }
        for (client, source) in [("neo4rs", 0), ("bolt", 1)] {
            for kind in [0, 1] {
                let name = ["nodes", "facts"][kind];
                let started = Clock::start();
                let rows = if source == 0 { self.walk_by_driver(limit, kind).await } else { self.walk(limit, kind).await };
                self.note(format!("{name} {limit} {client}"), rows, started);
            }
        }
    }

    async fn walk(&self, limit: usize, kind: usize) -> u64 {
        let mut rows = 0;
        for key in &self.starts[&(limit, kind)] {
            rows += match kind {
                0 => self.ours.page(ElementKind::Node(ENTITY), Projection::Whole, key, limit).await.unwrap().rows.len(),
                _ => {
                    self.ours.page(ElementKind::Relationship(RELATES_TO), Projection::Whole, key, limit).await.unwrap().rows.len()
                }
            };
        }
        rows as u64
    }

    /// The same pages, each row's properties as the driver holds them.
    async fn walk_by_driver(&self, limit: usize, kind: usize) -> u64 {
        let text = self.page_text(kind);
        let mut rows = 0;
        for key in &self.starts[&(limit, kind)] {
            let page = query(&text).param("after", key.as_str()).param("limit", limit as i64);
            let mut stream = self.driver.execute_read(page).await.unwrap();
            while let Some(row) = stream.next().await.unwrap() {
                std::hint::black_box(row.get::<BoltMap>("properties").unwrap());
                rows += 1;
            }
        }
        rows
    }

    fn page_text(&self, kind: usize) -> String {
        let queries = Queries::new(&self.profile);
        match kind {
            0 => queries.page(ElementKind::Node(ENTITY), Projection::Whole),
            _ => queries.page(ElementKind::Relationship(RELATES_TO), Projection::Whole),
        }
    }

    async fn discard(&self, limit: usize, kind: usize) -> u64 {
        let text = self.page_text(kind);
        let mut rows = 0;
        for key in &self.starts[&(limit, kind)] {
            let request = Request::new(text.clone()).with("after", key.as_str()).with("limit", limit);
            rows += self.reader.count("a page", request).await.unwrap().rows;
        }
        rows
    }
}

#[tokio::main]
async fn main() {
    fill().await;
    let mut bench = Bench::new().await;
    assert_eq!(pages(&bench.ours, 5_000).await, [NODES as usize, RELATIONSHIPS as usize]);
    for limit in [1_000, 5_000] {
        bench.find_starts(limit).await;
    }
    for _ in 0..ROUNDS {
        for limit in [1_000, 5_000] {
            bench.round(limit).await;
        }
    }
    println!("{:<24} {:>9} {:>9} {:>9}  {:>9}", "rows/s", "least", "median", "most", "µs/row");
    for (name, mut rates) in bench.times {
        rates.sort_by(|a, b| a[0].total_cmp(&b[0]));
        let work = rates.iter().map(|rate| rate[1]).sum::<f64>() / rates.len() as f64;
        let [least, median, most] = [rates[0][0], rates[rates.len() / 2][0], rates[rates.len() - 1][0]];
        println!("{name:<24} {least:>9.0} {median:>9.0} {most:>9.0}  {work:>9.1}");
    }
    let mut probe = Probe::new(&address(), Limits::default()).unwrap();
    probe.bookmark().await.unwrap();
    let started = Instant::now();
    for _ in 0..200 {
        probe.bookmark().await.unwrap();
    }
    println!("probe: {:?} each", started.elapsed() / 200);
}
