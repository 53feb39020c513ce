//! Graphs that are not Graphiti's, of any shape, kept in step by the profile that finds its kinds in the source. The comparer knows
//! nothing of that profile: it compares the elements of both sides by what they hold.

mod told_apart;

use std::time::{Duration, Instant};

use neo4rs::query;
use serde_json::Value;

use super::pipeline::Pair;
use crate::support::comparer::{GENERIC, assert_same_content, compare_content};
use crate::support::deadline::EVENT;
use crate::support::foreign::{Changes, Foreign};
use crate::support::http::Http;
use crate::support::service::Running;

const POLL: Duration = Duration::from_millis(20);

/// Changes of a sequence.
const STEPS: usize = 40;

async fn pair(test: &str) -> Pair {
    let mut pair = Pair::new(test).await;
    pair.service = pair
        .service
        .clone()
        .with("SYNC_PROFILE", "generic")
        .with("SYNC_SCRUB_ROWS_PER_SECOND", 100_000)
        .with("SYNC_LATE_CHECK_SECONDS", 1)
        .with("SYNC_MAX_DELETE_FRACTION", 1)
        .with("LOG_LEVEL", "debug");
    pair
}

async fn write(pair: &Pair, text: &str) {
    pair.source.graph.run(query(text)).await.unwrap();
}

async fn assert_same(pair: &Pair) {
    assert_same_content(&pair.source.graph, &pair.cache, &pair.graph, GENERIC).await;
}

/// The service at work.
struct Followed<'a> {
    pair: &'a Pair,
    http: Http,
    running: Running,
}

impl<'a> Followed<'a> {
    async fn begin(pair: &'a Pair) -> Self {
        let (mut running, http) = Http::start(&pair.service).unwrap();
        running.line("pass ended").await;
        Self { pair, http, running }
    }

    /// Waits until the service says that both are equal, and believes it no more than the comparer.
    async fn proven_equal(&self, what: &str) -> Value {
        let begun = Instant::now();
        let bookmark = self.pair.bookmark().await;
        let mut status = Value::Null;
        while status["equal_as_of"] != bookmark.as_str() {
            assert!(begun.elapsed() < EVENT, "{what}\n{}\nnot proven equal: {status}", self.running.log());
            tokio::time::sleep(POLL).await;
            status = self.http.status().await.unwrap();
        }
        let found = compare_content(&self.pair.source.graph, &self.pair.cache, &self.pair.graph, GENERIC).await.unwrap();
        let first = found.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
        assert!(found.is_empty(), "{what}\n{}\nproven equal, but {} differ:\n{first}", self.running.log(), found.len());
        assert_eq!(status["faults"], 0, "{what}: {status}\n{}", self.running.log());
        println!("{:.2} s until proven equal", begun.elapsed().as_secs_f64());
        status
    }

    async fn ends(self) {
        assert_eq!(self.running.terminate().await, 0);
    }
}

/// A full sync, random changes under the running service, a restart of it, and more of them.
async fn is_kept_in_step(foreign: Foreign, test: &str, sequences: u64) {
    let mut pair = pair(test).await;
    let directory = tempfile::tempdir().unwrap();
    if let Some(profile) = foreign.profile() {
        let file = directory.path().join("profile.yaml");
        std::fs::write(&file, profile).unwrap();
        pair.service = pair.service.clone().with("SYNC_PROFILE", file.display());
    }
    foreign.build(&pair.source.graph).await.unwrap();
    let full = pair.sync("full").await;
    assert_eq!(full["totals"]["quarantined"], 0);
    assert_same(&pair).await;
    assert_eq!(pair.service.finish(&["verify"]).await.code, 0, "verify says so as well");
    for seed in 0..sequences {
        let followed = Followed::begin(&pair).await;
        let mut changes = Changes::new(&pair.source.graph, seed, foreign.names());
        for _ in 0..STEPS {
            changes.step().await.unwrap();
        }
        let status = followed.proven_equal(&format!("seed {seed}: {}", changes.log.join("\n"))).await;
        assert_eq!(status["statistics"]["passes"]["full"], Value::Null, "seed {seed}: a full pass mended it");
        followed.ends().await;
    }
    // Everything goes, and nothing is left behind.
    write(&pair, "MATCH (n) DETACH DELETE n").await;
    let followed = Followed::begin(&pair).await;
    followed.proven_equal("emptied").await;
    followed.ends().await;
    foreign.drop_schema(&pair.source.graph).await.unwrap();
}

#[tokio::test]
async fn films_are_kept_in_step() {
    is_kept_in_step(Foreign::Films, "films", 4).await;
}

#[tokio::test]
async fn a_shop_is_kept_in_step() {
    is_kept_in_step(Foreign::Shop, "shop", 4).await;
}

#[tokio::test]
async fn crimes_and_places_are_kept_in_step() {
    is_kept_in_step(Foreign::Crimes, "crimes", 2).await;
}

#[tokio::test]
async fn recommendations_with_vectors_are_kept_in_step() {
    is_kept_in_step(Foreign::Recommendations, "recommendations", 2).await;
}

#[tokio::test]
async fn a_network_is_kept_in_step() {
    is_kept_in_step(Foreign::Network, "network", 2).await;
}

#[tokio::test]
async fn two_hundred_labels_are_kept_in_step() {
    is_kept_in_step(Foreign::Labels, "labels", 2).await;
}
