//! Timestamps of the future.

use std::time::Instant;

use neo4rs::query;

use super::{ARRIVAL, applied, small, started};
use crate::pipeline::Pair;
use crate::support::graph::build;

const FUTURE: usize = 500;

/// Passes in a row that read none of them.
const PASSES: usize = 5;

#[tokio::test]
async fn rows_of_the_future_are_not_read_by_every_pass() {
    let pair = Pair::new("future").await;
    build(&pair.source.graph, &small()).await.unwrap();
    let text = "UNWIND range(1, $number) AS i CREATE (:Episodic {uuid: 'future-' + i, name: 'n', group_id: '', \
                created_at: datetime('2099-01-01T00:00:00Z')})";
    pair.source.graph.run(query(text).param("number", FUTURE as i64)).await.unwrap();
    let (running, http) = started(&pair).await;
    let episodes_read = async || http.status().await["statistics"]["kinds"]["Episodic"]["read"].as_u64().unwrap();
    let mut commits = 0;
    // Somebody waits for each commit, so that its pass spares nothing that may have been written since the last one.
    let mut read_for_a_commit = async || {
        commits += 1;
        let before = episodes_read().await;
        let text = "CREATE (:Entity {uuid: 'now-' + $number, name: 'n', group_id: '', created_at: datetime()})";
        pair.source.graph.run(query(text).param("number", commits.to_string())).await.unwrap();
        applied(&pair, &http, &running).await;
        episodes_read().await - before
    };
    // What came a moment ago is read again for some seconds, because it may have been written twice.
    let begun = Instant::now();
    let mut spared = 0;
    while spared < PASSES {
        let read = read_for_a_commit().await;
        spared = if read == 0 { spared + 1 } else { 0 };
        assert!(begun.elapsed() < ARRIVAL, "{read} of {FUTURE} rows were read once more");
    }
    println!("{:.1} s until none was read", begun.elapsed().as_secs_f64());

    // A row of the future that is new, or whose timestamp moves, is read at once all the same.
    let moved = "MATCH (n:Episodic {uuid: 'future-7'}) SET n.created_at = datetime('2098-01-01T00:00:00Z'), n.name = 'moved' \
                 CREATE (:Episodic {uuid: 'future-new', name: 'new', group_id: '', created_at: datetime('2099-01-01T00:00:00Z')})";
    pair.source.graph.run(query(moved)).await.unwrap();
    applied(&pair, &http, &running).await;
    pair.assert_equal().await;
    assert_eq!(running.terminate().await, 0);
}
