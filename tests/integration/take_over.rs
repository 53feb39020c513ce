//! Other people's graphs: what this service did not fill is filled only on a person's word, what another pipeline fills never.

use redis::{Value, cmd};

use super::api::{TOKEN, start};
use super::pipeline::Pair;
use crate::support::graph::{GraphSpec, build};

/// Nodes of somebody else's graph.
const THEIRS: u64 = 500;

struct Taken {
    pair: Pair,
    raw: redis::aio::MultiplexedConnection,
}

impl Taken {
    async fn new(test: &str) -> Self {
        let mut pair = Pair::new(test).await;
        build(&pair.source.graph, &GraphSpec { dimension: 16, ..GraphSpec::default() }).await.unwrap();
        pair.service = pair.service.with("SYNC_SCRUB_ROWS_PER_SECOND", 0).with("API_TOKEN", TOKEN);
        let raw = pair.cache.connect().await.unwrap();
        Self { pair, raw }
    }

    async fn redis(&mut self, words: &[&str]) -> Value {
        cmd(words[0]).arg(&words[1..]).query_async(&mut self.raw).await.unwrap()
    }

    async fn write(&mut self, text: &str) {
        let graph = self.pair.graph.clone();
        self.redis(&["GRAPH.QUERY", &graph, text]).await;
    }

    /// Somebody else's nodes of a label.
    async fn is_filled(&mut self, label: &str) {
        self.write(&format!("UNWIND range(1, {THEIRS}) AS i CREATE (:{label} {{uuid: 'theirs-' + tostring(i)}})")).await;
    }

    async fn holds(&mut self, text: &str, number: u64) {
        let graph = self.pair.graph.clone();
        let answer = format!("{:?}", self.redis(&["GRAPH.RO_QUERY", &graph, text]).await);
        assert!(answer.contains(&format!("int({number})")), "{text}: {answer}");
    }

    async fn is_untouched(&mut self) {
        self.holds("MATCH (n) RETURN count(n)", THEIRS).await;
        let graph = self.pair.graph.clone();
        let beside = format!("{:?}", self.redis(&["KEYS", &format!("{{{graph}}}:*")]).await);
        assert_eq!(beside, "array([])", "nothing is kept beside it");
    }

    fn key(&self, name: &str) -> String {
        format!("{{{}}}:{name}", self.pair.graph)
    }
}

#[tokio::test]
async fn a_graph_of_somebody_else_is_filled_only_on_a_persons_word() {
    let mut taken = Taken::new("take_over").await;
    taken.is_filled("Entity").await;
    let graph = taken.pair.graph.clone();
    let said = format!("the graph {graph} holds {THEIRS} nodes that this service did not write");
    for mode in ["full", "incremental", "differential"] {
        let finished = taken.pair.service.finish(&["sync", "--mode", mode]).await;
        assert_eq!(finished.code, 1, "{finished:?}");
        assert!(finished.stderr.contains(&said) && finished.stderr.contains("--take-over"), "{finished:?}");
    }
    let checked = taken.pair.service.finish(&["check"]).await;
    assert_eq!(checked.code, 1, "{checked:?}");
    assert!(checked.stdout.contains(&said), "{checked:?}");
    let (mut running, http) = start(&taken.pair.service).await;
    running.line(&said).await;
    http.until_ready(false).await;
    assert_eq!(running.terminate().await, 0);
    taken.is_untouched().await;

    let allowed = taken.pair.service.finish(&["check", "--take-over"]).await;
    assert_eq!(allowed.code, 0, "{allowed:?}");
    taken.pair.service.json(&["sync", "--mode", "full", "--take-over"]).await;
    taken.pair.assert_equal().await;
    // From now on it is this service's.
    let (running, http) = start(&taken.pair.service).await;
    http.until_ready(true).await;
    assert_eq!(running.terminate().await, 0);
    taken.pair.sync("full").await;
    taken.pair.assert_equal().await;
}

#[tokio::test]
async fn a_setting_says_it_as_well_and_in_place_too() {
    for strategy in ["shadow", "in_place"] {
        let mut taken = Taken::new(&format!("take_over_{strategy}")).await;
        taken.is_filled("Precious").await;
        let service = taken.pair.service.clone().with("FULL_SYNC_STRATEGY", strategy);
        assert_eq!(service.finish(&["sync", "--mode", "full"]).await.code, 1);
        taken.is_untouched().await;
        let (running, http) = start(&service.with("FALKORDB_TAKE_OVER", "true")).await;
        http.until_ready(true).await;
        assert_eq!(running.terminate().await, 0);
        taken.pair.assert_equal().await;
    }
}

/// A mere search leaves an empty graph behind.
#[tokio::test]
async fn an_empty_graph_is_nobodys() {
    let mut taken = Taken::new("take_over_empty").await;
    taken.write("CREATE INDEX FOR (n:Entity) ON (n.uuid)").await;
    taken.pair.sync("full").await;
    taken.pair.assert_equal().await;
}

/// The marker that a pipeline with a graph for each group puts beside each of them.
#[tokio::test]
async fn a_graph_of_another_pipeline_is_refused_whatever_is_said() {
    let mut taken = Taken::new("take_over_marked").await;
    taken.is_filled("Entity").await;
    let marker = taken.key("pipeline");
    taken.redis(&["SET", &marker, "groups"]).await;
    for arguments in [&["sync", "--mode", "full"][..], &["sync", "--mode", "full", "--take-over"], &["check", "--take-over"]] {
        let finished = taken.pair.service.finish(arguments).await;
        assert_eq!(finished.code, 1, "{finished:?}");
        let text = finished.stderr + &finished.stdout;
        assert!(text.contains("is filled by the pipeline groups"), "{text}");
    }
    taken.holds("MATCH (n) RETURN count(n)", THEIRS).await;
}

/// A graph that this service filled needs nobody's word: neither one of a version that left no marker, nor one without a
/// checkpoint. What such a graph would lose is asked for all the same.
#[tokio::test]
async fn a_graph_that_this_service_filled_needs_nothing() {
    let mut taken = Taken::new("take_over_own").await;
    taken.pair.sync("full").await;
    let (marker, checkpoint) = (taken.key("pipeline"), taken.key("checkpoint"));
    taken.redis(&["DEL", &marker]).await;
    taken.pair.sync("incremental").await;
    taken.redis(&["DEL", &checkpoint]).await;
    taken.pair.sync("incremental").await;
    taken.pair.assert_equal().await;

    taken.is_filled("Entity").await;
    taken.redis(&["DEL", &checkpoint]).await;
    let held = taken.pair.service.finish(&["sync", "--mode", "full"]).await;
    assert_eq!(held.code, 1, "{held:?}");
    assert!(held.stderr.contains("of Entity"), "{held:?}");
    taken.pair.service.json(&["sync", "--mode", "full", "--allow-deletes"]).await;
    taken.pair.assert_equal().await;
}
