//! Another profile than before, whether a person changed it or the source outgrew it: the graph is built anew beside the live one,
//! and readers never see anything between the two.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use neo4rs::query;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::full_sync::ask;
use super::pipeline::Pair;
use crate::support::comparer::{GENERIC, assert_same_content};
use crate::support::deadline::EVENT;
use crate::support::foreign::Foreign;
use crate::support::graph::{GraphSpec, build};
use crate::support::http::Http;

const GRAPHITI: &str = include_str!("../../config/profiles/graphiti.yaml");

/// Reads a count over and over, and returns what it was in turn.
struct Watch {
    done: Arc<AtomicBool>,
    reader: JoinHandle<(Vec<String>, usize)>,
}

impl Watch {
    fn over(pair: &Pair, question: &'static str) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let (cache, graph, over) = (pair.cache.clone(), pair.graph.clone(), Arc::clone(&done));
        let reader = tokio::spawn(async move {
            let mut cache = cache.connect().await.unwrap();
            let (mut seen, mut questions) = (Vec::new(), 0);
            while !over.load(Ordering::Relaxed) {
                seen.push(ask(&mut cache, &graph, question).await);
                seen.dedup();
                questions += 1;
            }
            (seen, questions)
        });
        Self { done, reader }
    }

    async fn seen(self) -> Vec<String> {
        self.done.store(true, Ordering::Relaxed);
        let (seen, questions) = self.reader.await.unwrap();
        assert!(questions > 100, "{questions}");
        seen
    }
}

#[tokio::test]
async fn a_changed_profile_leads_to_a_full_sync_that_no_reader_sees() {
    let pair = Pair::new("profile_changed").await;
    build(&pair.source.graph, &GraphSpec { entities: 2000, facts: 4000, dimension: 32, ..GraphSpec::default() }).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mine.yaml");
    std::fs::write(&file, GRAPHITI).unwrap();
    let service = pair.service.clone().with("SYNC_PROFILE", file.display());
    service.json(&["sync", "--mode", "full"]).await;
    let would_do = async || service.json(&["check"]).await[0]["would_do"].to_string();
    assert!(would_do().await.contains("incremental"), "the same profile");

    // One rule less: what stands in the cache stays the same, so that readers have one right answer throughout.
    let rule = GRAPHITI
        .lines()
        .position(|line| line.trim_start().starts_with("- ") && line.contains("NEXT_EPISODE, direction"))
        .unwrap();
    let changed: Vec<&str> = GRAPHITI.lines().enumerate().filter(|(at, _)| *at != rule).map(|(_, line)| line).collect();
    std::fs::write(&file, changed.join("\n")).unwrap();
    assert!(would_do().await.contains("the profile has changed"), "another one");
    let watch = Watch::over(&pair, "MATCH (n:Entity) WHERE n.group_id = 'group-1' RETURN count(n)");
    let mut running = service.start(&["run"]);
    let needed = running.line("full sync needed").await;
    assert!(needed.contains("profile"), "{needed}");
    running.line("full sync ended").await;
    let seen = watch.seen().await;
    assert!(seen.len() == 1 && !seen[0].contains("int(0)"), "{seen:?}");
    assert_eq!(running.terminate().await, 0);
    pair.assert_equal().await;
    assert!(would_do().await.contains("incremental"), "recognised");
}

#[tokio::test]
async fn a_label_that_was_not_there_before_is_taken_in_beside_the_live_graph() {
    let pair = Pair::new("outgrown").await;
    Foreign::Films.build(&pair.source.graph).await.unwrap();
    let service = pair.service.clone().with("SYNC_PROFILE", "generic").with("SYNC_SCRUB_ROWS_PER_SECOND", 100_000);
    let (mut running, http) = Http::start(&service).unwrap();
    running.line("full sync ended").await;
    running.line("pass ended").await;
    let watch = Watch::over(&pair, "MATCH (n:Movie) RETURN count(n)");
    let text = "MATCH (m:Movie {title: 'The Matrix'}) CREATE (:`Neue Art` {x: 1})-[:`NEUER TYP`]->(m), (:`Neue Art`:Movie {title: 'new'})";
    pair.source.graph.run(query(text)).await.unwrap();
    running.line("source has a new kind or vector index").await;
    let (begun, bookmark) = (Instant::now(), pair.bookmark().await);
    let mut status = Value::Null;
    while status["equal_as_of"] != bookmark.as_str() {
        assert!(begun.elapsed() < EVENT, "{}\n{status}", running.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
        status = http.status().await.unwrap();
    }
    assert_same_content(&pair.source.graph, &pair.cache, &pair.graph, GENERIC).await;
    assert_eq!(status["statistics"]["passes"]["full"]["ended"], 2, "{status}");
    assert_eq!(status["faults"], 0, "it is none: {status}");
    let seen = watch.seen().await;
    assert_eq!(seen.len(), 2, "the old graph, then the new one: {seen:?}");
    assert_eq!(running.terminate().await, 0);
}
