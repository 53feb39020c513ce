//! What a reader of the live graph notices of full syncs of the same server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;

use crate::support::graph::build;
use crate::support::servers::{fresh_graph_name, shared, source_lock};
use crate::table::{Spread, print};

const SYNCS: usize = 10;

/// How long it reads while nothing else happens.
const IDLE: Duration = Duration::from_secs(5);

/// Between two questions: a reader that waits for nothing measures its own queue.
const PAUSE: Duration = Duration::from_millis(2);

async fn ask(connection: &mut MultiplexedConnection, graph: &str) -> f64 {
    let started = Instant::now();
    let mut command = redis::cmd("GRAPH.RO_QUERY");
    command.arg(graph).arg("MATCH (n:Entity)-[e:RELATES_TO]->(m:Entity) RETURN n.uuid, e.fact, m.name LIMIT 20");
    command.query_async::<redis::Value>(connection).await.unwrap();
    started.elapsed().as_secs_f64() * 1000.0
}

async fn read_until(graph: String, done: Arc<AtomicBool>) -> Vec<f64> {
    let mut connection = shared().await.falkordb.connect().await.unwrap();
    let mut times = Vec::new();
    while !done.load(Ordering::Relaxed) {
        times.push(ask(&mut connection, &graph).await);
        tokio::time::sleep(PAUSE).await;
    }
    times
}

pub async fn run() {
    let source = source_lock().await;
    build(&source.graph, &crate::graph()).await.unwrap();
    let graph = fresh_graph_name("readers");
    let service = crate::service(&graph).await;
    service.json(&["sync", "--mode", "full"]).await;

    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(read_until(graph.clone(), Arc::clone(&done)));
    tokio::time::sleep(IDLE).await;
    done.store(true, Ordering::Relaxed);
    let idle = Spread(reader.await.unwrap());

    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(read_until(graph.clone(), Arc::clone(&done)));
    for _ in 0..SYNCS {
        service.json(&["sync", "--mode", "full"]).await;
    }
    done.store(true, Ordering::Relaxed);
    let busy = Spread(reader.await.unwrap());
    let one = |value| Spread(vec![value]);
    print(
        "a reader's query (ms)",
        &[
            ("idle, 50th percentile", one(idle.median())),
            ("idle, 99th percentile", one(idle.at(0.99))),
            ("during full syncs, 50th percentile", one(busy.median())),
            ("during full syncs, 99th percentile", one(busy.at(0.99))),
            ("during full syncs, worst", one(busy.at(1.0))),
            ("99th percentile, during / idle", one(busy.at(0.99) / idle.at(0.99))),
        ],
    );
}
