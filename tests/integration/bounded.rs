//! Memory does not grow with what the elements weigh.

use std::time::Duration;

use neo4rs::query;

use super::bookmarks::wait_for;
use super::pipeline::Pair;
use crate::support::graph::create_indices;
use crate::support::http::Http;
use crate::support::service::{Running, peak_memory};

const MEMORY_LIMIT: u64 = 200 << 20;

const POLL: Duration = Duration::from_millis(10);

/// Episodes of each weight: together heavier than the limit.
const EPISODES: [(&str, usize, usize); 3] = [("light", 1_000, 100_000), ("heavy", 400, 400_000), ("huge", 4, 10_000_000)];

/// What the container sets for the program.
const DOCKERFILE: &str = include_str!("../../Dockerfile");

/// Texts of so many bytes are written by one statement.
const WRITTEN_AT_ONCE: usize = 20_000_000;

/// Writes all episodes, with a text that begins with this word.
///
/// The rest of the text is dots: words would keep the full-text indices of both servers busy for minutes, and they say
/// nothing of the program's memory.
async fn write(pair: &Pair, word: &str) {
    for (name, number, bytes) in EPISODES {
        let text = format!("{word} {}", ".".repeat(bytes));
        let step = (WRITTEN_AT_ONCE / bytes).max(1);
        for first in (0..number).step_by(step) {
            let statement = "UNWIND range($first, $last) AS i MERGE (n:Episodic {uuid: $name + '-' + i}) \
                SET n.name = $name, n.group_id = 'g', n.content = $text + i, n.created_at = datetime(), n.valid_at = datetime()";
            let (from, last) = (first as i64, (first + step).min(number) as i64 - 1);
            let statement =
                query(statement).param("first", from).param("last", last).param("name", name).param("text", text.clone());
            pair.source.graph.run(statement).await.unwrap();
        }
    }
}

/// The environment that the container gives the program.
fn container_environment() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = DOCKERFILE.lines().filter_map(|line| line.strip_prefix("ENV "));
    lines.flat_map(str::split_whitespace).filter_map(|assignment| assignment.split_once('='))
}

/// The most memory that it has until it ends.
async fn peak_until_end(running: &mut Running) -> u64 {
    let mut peak = 0;
    while !running.is_over() {
        peak = peak.max(peak_memory(running.pid()));
        tokio::time::sleep(POLL).await;
    }
    peak
}

fn assert_bounded(what: &str, peak: u64, log: &str) {
    println!("{what}: peak memory {} MB", peak >> 20);
    assert!(peak > 0 && peak < MEMORY_LIMIT, "{what}: peak memory {} MB\n{log}", peak >> 20);
}

#[tokio::test]
async fn memory_does_not_grow_with_the_weight_of_elements() {
    let mut pair = Pair::new("bounded").await;
    pair.service = container_environment().fold(pair.service, |service, (name, value)| service.with(name, value));
    create_indices(&pair.source.graph).await.unwrap();
    write(&pair, "first").await;
    let service = pair.service.clone().with("SYNC_SCRUB_ROWS_PER_SECOND", 0);
    let (mut running, http) = Http::start(&service).unwrap();
    running.line("full sync ended").await;
    assert_bounded("a full sync", peak_memory(running.pid()), &running.log());

    write(&pair, "second").await;
    wait_for(&http, &pair.bookmark().await, &running).await;
    assert_bounded("a full sync and passes", peak_memory(running.pid()), &running.log());
    assert_eq!(running.terminate().await, 0);

    let mut verify = pair.service.start(&["verify"]);
    let peak = peak_until_end(&mut verify).await;
    assert_eq!(verify.ended().await, 0, "{}", verify.log());
    assert_bounded("a comparison of equal graphs", peak, &verify.log());

    // The source says nothing of how heavy the cache's elements are.
    let shorten = "MATCH (n:Episodic) CALL (n) { SET n.content = 'short' } IN TRANSACTIONS OF 20 ROWS";
    pair.source.graph.run(query(shorten)).await.unwrap();
    let mut verify = pair.service.start(&["verify"]);
    let peak = peak_until_end(&mut verify).await;
    assert_eq!(verify.ended().await, 1, "{}", verify.log());
    assert_bounded("a comparison with a heavier cache", peak, &verify.log());
}
