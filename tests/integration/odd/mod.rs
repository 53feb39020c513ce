//! What nobody expects in a key, a timestamp, a list or a name, on either side: no such element stops the others.

mod cache;
mod future;
mod indexes;
mod names;
mod source;
mod tokens;

use std::time::Duration;

use crate::api::{self, Http};
use crate::pipeline::{Pair, percent_encoded};
use crate::support::deadline::EVENT;
use crate::support::graph::GraphSpec;
use crate::support::service::{Running, Service};

/// How long a commit may take to arrive.
const ARRIVAL: Duration = EVENT;

fn small() -> GraphSpec {
    GraphSpec { entities: 20, facts: 20, episodes: 6, mentions: 10, groups: 1, dimension: 8, ..GraphSpec::default() }
}

/// Nothing is found by a comparison in the background.
fn service(pair: &Pair) -> Service {
    pair.service.clone().with("SYNC_SCRUB_ROWS_PER_SECOND", 0).with("SYNC_MAX_DELETE_FRACTION", 1)
}

/// Starts the service and waits until it is in step.
async fn started(pair: &Pair) -> (Running, Http) {
    let (running, http) = api::start(&service(pair)).await;
    http.until_ready(true).await;
    (running, http)
}

/// Waits until everything that was committed up to now is applied, and asserts that nothing failed on the way.
async fn applied(pair: &Pair, http: &Http, running: &Running) {
    http.until_told(&format!("bookmark={}&level=applied", percent_encoded(&pair.bookmark().await)), running).await;
    let status = http.status().await;
    assert_eq!(status["faults"], 0, "{status}\n{}", running.log());
}

/// A key that the documents call usable: the cache's index finds it again.
fn is_usable(key: &str) -> bool {
    let blank = |c: char| c.is_whitespace() || c.is_control();
    !key.is_empty() && !key.contains(['\0', '\u{1}']) && !key.starts_with(blank) && !key.ends_with(blank)
}

/// Keys with each character up to U+00FF at their beginning, in their middle and at their end.
fn keys_of_every_character(letter: char) -> Vec<String> {
    let around = |c: char| [format!("{c}{letter}{letter}"), format!("{letter}{c}{letter}"), format!("{letter}{letter}{c}")];
    let keys: std::collections::BTreeSet<String> = ('\0'..='\u{ff}').filter(|c| *c != letter).flat_map(around).collect();
    keys.into_iter().collect()
}
