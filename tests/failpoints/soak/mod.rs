//! The soak: writes without a pause, a random fault every ten seconds, servers that come and go; and at the end nothing is lost.
//!
//! `FAULTS_SOAK_SECONDS` says for how long, `FAULTS_SOAK_SEED` which sequence.

mod faults;
mod measures;
mod writer;

use std::time::{Duration, Instant};

use neo4rs::Graph;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::arrival::until_equal;
use crate::support::graph::{GraphSpec, build};
use crate::support::http::Http;
use crate::support::proxy::Proxy;
use crate::support::servers::{FalkorAddress, FalkorServer, Neo4jAddress, Neo4jServer};
use crate::support::service::{Running, Service};
use faults::Fault;
use measures::Measures;
use writer::Writer;

const PROGRAM: &str = env!("CARGO_BIN_EXE_neo4j-falkordb-sync");

const GRAPH: &str = "soak";

const TOKEN: &str = "token-of-the-soak";

const DEFAULT_LENGTH: Duration = Duration::from_secs(1800);

/// In less time a full sync falls into one third and not into another, which says nothing of memory.
const LONG_ENOUGH: Duration = Duration::from_secs(1200);

/// From the beginning of one fault to that of the next, on average.
const APART: f64 = 10.0;

/// After the last fault.
const ARRIVAL: Duration = Duration::from_secs(60);

/// Beside the faults from outside: steps that fail now and then, several in a thousand.
const FAILPOINTS: &str = "apply-end=0.05%panic;checkpoint-begin=0.1%return(error);checkpoint-end=0.1%return(error);\
                          acknowledge=0.05%panic;extracted=0.1%return(error)";

/// All that faults are done to.
pub(super) struct Soak {
    random: StdRng,
    neo4j: Neo4jServer,
    falkordb: FalkorServer,
    source: Graph,
    bolt: Proxy,
    redis: Proxy,
    service: Service,
    running: Running,
    http: Http,
    measures: Measures,
}

impl Soak {
    async fn new(seed: u64) -> (Self, Writer) {
        let (neo4j, falkordb) = tokio::try_join!(Neo4jServer::start(), FalkorServer::start()).unwrap();
        let source = neo4j.address().connect().await.unwrap();
        let spec = GraphSpec { groups: 1, dimension: 64, entities: 2000, facts: 4000, episodes: 500, ..GraphSpec::default() };
        let world = build(&source, &GraphSpec { seed, ..spec }).await.unwrap();
        let bolt = Proxy::before(neo4j.bolt_port()).await.unwrap();
        let redis = Proxy::before(falkordb.port()).await.unwrap();
        let before_neo4j = Neo4jAddress { uri: format!("bolt://127.0.0.1:{}", bolt.port), ..neo4j.address() };
        let before_falkordb = FalkorAddress { port: redis.port, ..falkordb.address() };
        let service = Service::new(PROGRAM, &before_neo4j, &before_falkordb, GRAPH)
            .with("LOG_FORMAT", "text")
            .with("API_TOKEN", TOKEN)
            .with("SYNC_SCRUB_ROWS_PER_SECOND", 50_000)
            .with("FAILPOINTS", FAILPOINTS);
        let (running, http) = Http::start(&service).unwrap();
        let measures = Measures::new(running.pid());
        let random = StdRng::seed_from_u64(seed);
        (Self { random, neo4j, falkordb, source, bolt, redis, service, running, http, measures }, Writer::new(world, seed))
    }

    /// Another life of the service.
    fn start(&mut self) {
        let (running, http) = Http::start(&self.service).unwrap();
        self.measures.began(running.pid());
        (self.running, self.http) = (running, http);
    }

    async fn equal(&mut self, what: &str, within: Duration) -> Duration {
        let arrived = until_equal(&self.source, &self.falkordb.address(), GRAPH, within).await;
        arrived.unwrap_or_else(|found| {
            let log = self.running.log();
            let tail: Vec<&str> = log.lines().rev().take(200).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            panic!("{what}: {found}\n{}\n{}", self.measures, tail.join("\n"))
        })
    }
}

fn from_environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} cannot be read")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_in_a_soak() {
    let length = from_environment("FAULTS_SOAK_SECONDS").map_or(DEFAULT_LENGTH, Duration::from_secs);
    let seed: u64 = from_environment("FAULTS_SOAK_SEED").unwrap_or_else(|| rand::rng().random());
    println!("soak of {} s, FAULTS_SOAK_SEED={seed}", length.as_secs());
    let (mut soak, writer) = Soak::new(seed).await;
    soak.equal("the first start", Duration::from_secs(120)).await;
    let writer = writer.start();
    let began = Instant::now();
    soak.measures.begin(length);
    let mut due = Duration::ZERO;
    loop {
        // Exponential, so that some follow at once and some late.
        due += Duration::from_secs_f64(-APART * (1.0 - soak.random.random::<f64>()).ln());
        if due >= length {
            break;
        }
        soak.measures.watch_for(due.saturating_sub(began.elapsed())).await;
        let fault = Fault::any(&mut soak.random);
        println!("{:7.1} s {fault:?}", began.elapsed().as_secs_f64());
        soak.injected(fault).await;
        soak.look().await;
    }
    soak.measures.watch_for(length.saturating_sub(began.elapsed())).await;
    let written = writer.stop().await;
    let ended = Instant::now();
    let took = soak.equal("after the last fault", ARRIVAL).await;
    println!("equal {:.1} s after the last write", took.as_secs_f64());
    soak.look().await;
    println!("seed {seed}, {} s, {written}\n{}", length.as_secs(), soak.measures);
    println!("all in {:.0} s, of which the end {:.0} s", began.elapsed().as_secs_f64(), ended.elapsed().as_secs_f64());
    assert_eq!(soak.running.terminate().await, 0);
    if length >= LONG_ENOUGH {
        soak.measures.assert_flat();
    }
}
