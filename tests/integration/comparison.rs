//! What leaves no trace at all is found by the comparison in the background, and equality is proven by it.

use std::time::{Duration, Instant};

use neo4j_falkordb_sync::model::bookmark::Bookmark;
use neo4rs::query;
use serde_json::Value;

use super::pipeline::Pair;
use crate::support::comparer::compare;
use crate::support::copier;
use crate::support::deadline::EVENT;
use crate::support::graph::{GraphSpec, build};
use crate::support::http::Http;
use crate::support::service::{Running, Service};

/// The small graph has some 900 elements: at this rate a comparison of all of it takes a second.
const RATE: u64 = 1000;

struct Compared {
    pair: Pair,
    service: Service,
    running: Running,
}

impl Compared {
    async fn new(test: &str) -> Self {
        let pair = Pair::new(test).await;
        build(&pair.source.graph, &GraphSpec { dimension: 16, ..GraphSpec::default() }).await.unwrap();
        let service = pair.service.clone().with("SYNC_SCRUB_ROWS_PER_SECOND", RATE);
        let (mut running, http) = Http::start(&service).unwrap();
        running.line("pass ended").await;
        let service = service.with("HEALTH_PORT", http.port);
        let compared = Self { pair, service, running };
        compared.proves_equality("after the first copy").await;
        compared
    }

    /// The source's own word for its last commit.
    async fn bookmark(&self) -> Bookmark {
        self.pair.bookmark().await
    }

    async fn status(&self) -> Value {
        self.service.json(&["status"]).await["pipelines"]["default"].clone()
    }

    /// Waits until equality is proven as of the source's bookmark, and believes it no more than the independent comparer does.
    async fn proves_equality(&self, when: &str) {
        let begun = Instant::now();
        let bookmark = self.bookmark().await;
        loop {
            let status = self.status().await;
            if status["equal_as_of"] == bookmark.as_str() {
                break;
            }
            assert!(begun.elapsed() < EVENT, "{when}: not proven equal: {status}\n{}", self.running.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        println!("{when}: proven equal after {:.1} s", begun.elapsed().as_secs_f64());
        let found = compare(&self.pair.source.graph, &self.pair.cache, &self.pair.graph).await.unwrap();
        assert!(found.is_empty(), "{when}: proven equal, but {found:?}");
    }
}

#[tokio::test]
async fn a_lone_rewrite_arrives_and_equality_is_proven() {
    let compared = Compared::new("lone").await;
    let rewrite = "MATCH (e:Entity) WITH e ORDER BY e.uuid LIMIT 3 SET e.summary = 'silently', e.name_embedding = [x IN e.name_embedding | 0.5] REMOVE e.name";
    compared.pair.source.graph.run(query(rewrite)).await.unwrap();
    compared.proves_equality("after a lone rewrite of nodes").await;
    let rewrite = "MATCH ()-[f:MENTIONS]->() WITH f ORDER BY f.uuid LIMIT 2 SET f.note = 'silently'";
    compared.pair.source.graph.run(query(rewrite)).await.unwrap();
    compared.proves_equality("after a lone rewrite of relationships").await;
    assert_eq!(compared.running.terminate().await, 0);
}

/// Corruptions of the cache behind the service's back: a commit of the source starts the comparison that finds them.
#[tokio::test]
async fn corruptions_of_the_cache_are_found_and_mended() {
    let mut compared = Compared::new("corrupted").await;
    let mut cache = compared.pair.cache.connect().await.unwrap();
    let corruptions = [
        "MATCH (n:Entity) WITH n ORDER BY n.uuid LIMIT 1 SET n.summary = 'corrupted'",
        "MATCH (n:Entity) WITH n ORDER BY n.uuid SKIP 1 LIMIT 1 SET n:Wrong",
        "MATCH (n:Entity) WITH n ORDER BY n.uuid SKIP 2 LIMIT 1 SET n.surplus = 1",
        "MATCH (n:Entity) WITH n ORDER BY n.uuid SKIP 3 LIMIT 1 SET n.name_embedding = vecf32([0.1, 0.2])",
        "MATCH (n:Episodic) WITH n ORDER BY n.uuid LIMIT 1 SET n.entity_edges = NULL",
        "MATCH (n:Episodic) WITH n ORDER BY n.uuid SKIP 1 LIMIT 1 DELETE n",
        "CREATE (:Community {uuid: 'orphan', name: 'o'})",
        "MATCH ()-[e:RELATES_TO]->() WITH e ORDER BY e.uuid LIMIT 1 DELETE e",
        "MATCH ()-[e:RELATES_TO]->() WITH e ORDER BY e.uuid SKIP 1 LIMIT 1 SET e.fact = 'corrupted'",
    ];
    for corruption in corruptions {
        copier::run(&mut cache, &compared.pair.graph, corruption).await.unwrap();
    }
    compared.pair.source.graph.run(query("CREATE (:Saga {uuid: 'moves', name: 's', group_id: '', summary: ''})")).await.unwrap();
    compared.running.line("comparison found a difference").await;
    compared.proves_equality("after corruptions").await;
    assert_eq!(compared.running.terminate().await, 0);
}
