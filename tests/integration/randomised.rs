//! Random sequences of everything that graphiti-core does to a graph, under the running service: each ends converged, by
//! incremental passes and the comparison in the background alone, and proven so.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::bookmarks::wait_for;
use super::pipeline::Pair;
use crate::support::comparer::{compare, report};
use crate::support::deadline::EVENT;
use crate::support::graph::create_indices;
use crate::support::http::Http;
use crate::support::sequence::Sequence;
use crate::support::service::Running;

/// Steps of a sequence.
const STEPS: usize = 30;

/// One step in so many is followed by a wait until it is applied: between the others, several commits meet in one pass.
const APPLIED_EVERY: usize = 10;

/// The small graphs are compared in one slice each; what then differs is mended and compared again.
const SCRUB_ROWS_PER_SECOND: u64 = 100_000;

const POLL: Duration = Duration::from_millis(20);

/// Seeds that found a defect once.
const FAILED_ONCE: [u64; 1] = [24];

/// Sequences of `make test`, and of `make test-long`.
const SHORT: u64 = 8;
const LONG: u64 = 200;

struct Followed {
    pair: Pair,
    http: Http,
    running: Running,
}

impl Followed {
    async fn new(test: &str) -> Self {
        let pair = Pair::new(test).await;
        create_indices(&pair.source.graph).await.unwrap();
        let service = pair
            .service
            .clone()
            .with("LOG_LEVEL", "debug")
            .with("SYNC_SCRUB_ROWS_PER_SECOND", SCRUB_ROWS_PER_SECOND)
            .with("SYNC_LATE_CHECK_SECONDS", 1)
            // Sequences empty the graph.
            .with("SYNC_MAX_DELETE_FRACTION", 1);
        let (mut running, http) = Http::start(&service).unwrap();
        running.line("pass ended").await;
        Self { pair, http, running }
    }

    async fn runs(&mut self, seed: u64) {
        println!("seed {seed}");
        let (begun, mark) = (Instant::now(), self.running.length());
        let mut sequence = Sequence::begin(&self.pair.source.graph, seed).await.unwrap();
        for step in 0..STEPS {
            sequence.step().await.unwrap();
            if (seed as usize + step).is_multiple_of(APPLIED_EVERY) {
                self.applied().await;
            }
        }
        sequence.end().await.unwrap();
        let written = begun.elapsed();
        self.proven_equal(&format!("seed {seed}: {}", sequence.log.join(", ")), mark).await;
        println!(
            "seed {seed}: written in {:.2} s, proven equal after {:.2} s",
            written.as_secs_f64(),
            begun.elapsed().as_secs_f64()
        );
    }

    async fn applied(&self) {
        wait_for(&self.http, &self.pair.bookmark().await, &self.running).await;
    }

    /// Believes the proof no more than the independent comparer does.
    async fn proven_equal(&self, what: &str, mark: usize) {
        let begun = Instant::now();
        let bookmark = self.pair.bookmark().await;
        let mut status = Value::Null;
        while status["equal_as_of"] != bookmark.as_str() {
            assert!(begun.elapsed() < EVENT, "{what}\n{}\nnot proven equal: {status}", self.running.log_from(mark));
            tokio::time::sleep(POLL).await;
            status = self.http.status().await.unwrap();
        }
        let found = compare(&self.pair.source.graph, &self.pair.cache, &self.pair.graph).await.unwrap();
        assert!(found.is_empty(), "{what}\n{}\nproven equal, but {}", self.running.log_from(mark), report(&found));
        let log = self.running.log();
        let faults: Vec<_> = log.lines().filter(|line| line.contains("generation failed")).collect();
        assert_eq!(faults, [""; 0], "{what}: {status}");
        let full = &status["statistics"]["passes"]["full"];
        assert!(full["ended"] == 1 && full["failed"] == 0, "{what}: a full pass mended it: {status}");
        assert_eq!(status["faults"], 0, "{what}: {status}");
    }

    async fn ends(self) {
        assert_eq!(self.running.terminate().await, 0);
    }
}

/// `RANDOMISED_SEED` has one sequence run alone.
async fn run(test: &str, seeds: impl Iterator<Item = u64>) {
    let mut followed = Followed::new(test).await;
    let alone: Option<u64> = std::env::var("RANDOMISED_SEED").ok().map(|seed| seed.parse().unwrap());
    let begun = Instant::now();
    for seed in alone.into_iter().chain(seeds.filter(|_| alone.is_none())) {
        followed.runs(seed).await;
    }
    println!("all in {:.0} s", begun.elapsed().as_secs_f64());
    followed.ends().await;
}

#[tokio::test]
async fn random_sequences_end_proven_equal() {
    run("random", FAILED_ONCE.into_iter().chain(0..SHORT)).await;
}

#[tokio::test]
#[ignore = "some minutes"]
async fn many_random_sequences_end_proven_equal() {
    run("random_long", SHORT..SHORT + LONG).await;
}
