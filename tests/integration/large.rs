//! A graph of the size that a real user has, and what it costs.

use std::time::Instant;

use super::pipeline::Pair;
use super::verify::{goes_on_after_a_crash, names_and_mends, write_alone};
use crate::support::graph::{GraphSpec, build};
use crate::support::service::peak_memory;

const MEMORY_LIMIT: u64 = 300 * 1024 * 1024;

fn is_warning(line: &str) -> bool {
    line.contains("\"level\":\"WARN\"") || line.contains("\"level\":\"ERROR\"")
}

/// Whether a line says that a server did not answer for some seconds, and that the work goes on: a busy machine stands still at times.
fn is_about_silence(line: &str) -> bool {
    let words = ["lease not renewed, trying again", "lease had expired, reclaimed it", "request failed, trying again"];
    words.iter().any(|words| line.contains(words))
}

#[tokio::test]
async fn ninety_five_thousand_elements_from_empty_in_little_memory() {
    let pair = Pair::new("large").await;
    let spec = GraphSpec::large();
    assert!(spec.nodes() >= 25_000 && spec.relationships() >= 70_000 && spec.dimension == 256);
    build(&pair.source.graph, &spec).await.unwrap();
    let started = Instant::now();
    let mut running = pair.service.start(&["run"]);
    running.line("full sync ended").await;
    let seconds = started.elapsed().as_secs_f64();
    running.line("pass ended").await;
    let peak = peak_memory(running.pid());
    let log = running.log();
    assert_eq!(running.terminate().await, 0);
    assert!(log.lines().all(|line| !is_warning(line) || is_about_silence(line)), "{log}");
    let elements = spec.nodes() + spec.relationships();
    println!("{elements} elements from empty in {seconds:.1} s, peak memory {} MB", peak / 1024 / 1024);
    assert!(peak > 0 && peak < MEMORY_LIMIT, "peak memory {peak}");
    pair.assert_equal().await;
}

#[tokio::test]
#[ignore = "several comparisons of a large graph: minutes in a debug build, and verify.rs does the same on a smaller one"]
async fn ninety_five_thousand_elements_are_compared_named_and_mended() {
    let pair = Pair::new("large_verified").await;
    let spec = GraphSpec::large();
    build(&pair.source.graph, &spec).await.unwrap();
    write_alone(&pair).await;
    pair.sync("full").await;
    goes_on_after_a_crash(&pair, spec.nodes() + spec.relationships() + 3).await;
    names_and_mends(&pair).await;
}
