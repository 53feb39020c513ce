//! A delete in a large graph is found without the keys of all its elements.

use std::time::{Duration, Instant};

use super::pipeline::Pair;
use crate::support::copier;
use crate::support::deadline::EVENT;
use crate::support::graph::{GraphSpec, build};
use crate::support::http::Http;

/// 100,000 nodes; vectors have nothing to do with keys.
fn spec() -> GraphSpec {
    GraphSpec {
        entities: 90_000,
        episodes: 9_000,
        communities: 900,
        sagas: 100,
        facts: 20_000,
        mentions: 5_000,
        members: 500,
        dimension: 4,
        ..GraphSpec::default()
    }
}

#[tokio::test]
async fn one_deleted_node_of_a_hundred_thousand_is_found_by_few_keys() {
    let pair = Pair::new("sweep").await;
    let spec = spec();
    assert_eq!(spec.nodes(), 100_000);
    let mut world = build(&pair.source.graph, &spec).await.unwrap();
    // The comparison in the background compares every key, whatever was deleted.
    let service = pair.service.clone().with("SYNC_SCRUB_ROWS_PER_SECOND", 0);
    let (mut running, http) = Http::start(&service).unwrap();
    running.line("pass ended").await;
    let listed = async || http.status().await.unwrap()["statistics"]["keys_listed"].as_u64().unwrap();
    let mut cache = pair.cache.connect().await.unwrap();
    for _ in 0..3 {
        let gone = world.some_entity();
        let before = listed().await;
        world.delete_node(&gone).await.unwrap();
        let begun = Instant::now();
        let text = format!("MATCH (n:Entity {{uuid: '{gone}'}}) RETURN count(n)");
        while !format!("{:?}", copier::run(&mut cache, &pair.graph, &text).await.unwrap()).contains("int(0)") {
            assert!(begun.elapsed() < EVENT, "not deleted:\n{}", running.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let seconds = begun.elapsed().as_secs_f64();
        // The status comes after the rows.
        let mut travelled = listed().await - before;
        while travelled == 0 {
            assert!(begun.elapsed() < EVENT, "no keys were counted:\n{}", running.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
            travelled = listed().await - before;
        }
        println!("deleted after {seconds:.2} s, {travelled} keys of both sides travelled");
        assert!(travelled < spec.nodes() as u64 * 5 / 100, "{travelled} keys travelled");
    }
    assert_eq!(running.terminate().await, 0);
    pair.assert_equal().await;
}
