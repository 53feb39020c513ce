//! Random sequences of transactions of everything that a log can hold: equal after each.

use std::ops::Range;
use std::time::Instant;

use neo4rs::query;

use super::super::pipeline::Pair;
use super::Followed;
use crate::support::comparer::{GENERIC, assert_same_content};
use crate::support::graph::create_indices;
use crate::support::transactions::Transactions;

const SHORT: u64 = 8;
const LONG: u64 = 300;

/// The graph is emptied after so many sequences: they go on with what those before them left.
const EMPTIED_EVERY: u64 = 10;

/// `TRANSACTIONS_SEED` has one sequence run alone.
async fn follow(test: &str, profile: &str, seeds: Range<u64>) {
    let mut pair = Pair::new(test).await;
    pair.service = pair.service.with("SYNC_PROFILE", profile);
    create_indices(&pair.source.graph).await.unwrap();
    let followed = Followed::new(pair).await;
    let alone = std::env::var("TRANSACTIONS_SEED").ok().map(|seed| seed.parse().unwrap());
    let begun = Instant::now();
    for seed in alone.into_iter().chain(seeds.filter(|_| alone.is_none())) {
        if seed % EMPTIED_EVERY == 0 {
            followed.write("MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 5000 ROWS").await;
        }
        let mut transactions = Transactions::new(&followed.pair.source.graph, seed);
        for _ in 0..3 + seed % 10 {
            transactions.step().await.unwrap_or_else(|error| panic!("seed {seed}: {:#?}: {error}", transactions.log));
        }
        println!("seed {seed}, {:.0?}", begun.elapsed());
        followed.applied().await;
        followed.is_equal(profile, &transactions.log).await;
    }
    for schema in ["DROP CONSTRAINT unique_", "DROP INDEX schema_"] {
        for number in 0..4 {
            followed.pair.source.graph.run(query(&format!("{schema}{number} IF EXISTS"))).await.unwrap();
        }
    }
    let log = followed.running.log();
    assert!(!log.contains("comparison ended") && !log.contains("\"from_log\":false"), "{log}");
    followed.had_no_fault().await;
    assert_eq!(followed.status().await["change_source"], "transaction_log");
    assert_eq!(followed.running.terminate().await, 0);
}

impl Followed {
    async fn is_equal(&self, profile: &str, done: &[String]) {
        let Pair { source, cache, graph, .. } = &self.pair;
        println!("{}", done.join("\n"));
        match profile {
            "generic" => assert_same_content(&source.graph, cache, graph, GENERIC).await,
            _ => self.is_as_promised("this sequence").await,
        }
    }
}

#[tokio::test]
async fn random_transactions_arrive_exactly() {
    follow("log_random", "graphiti", 0..SHORT).await;
}

#[tokio::test]
async fn random_transactions_of_a_graph_without_keys_arrive_exactly() {
    follow("log_random_generic", "generic", SHORT..2 * SHORT).await;
}

#[tokio::test]
#[ignore = "some ten minutes: make test-long"]
async fn many_random_transactions_arrive_exactly() {
    follow("log_many", "graphiti", 1_000..1_000 + LONG).await;
}

#[tokio::test]
#[ignore = "some ten minutes: make test-long"]
async fn many_random_transactions_of_a_graph_without_keys_arrive_exactly() {
    follow("log_many_generic", "generic", 2_000..2_000 + LONG).await;
}
