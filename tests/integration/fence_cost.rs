//! Not a test: what the fence costs writers and readers. `cargo test --release --test integration -- --ignored --nocapture
//! what_the_fence_costs`, on a machine that does nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use neo4j_falkordb_sync::model::key::Key;
use neo4j_falkordb_sync::model::prepared::NodeWriteSet;
use neo4j_falkordb_sync::model::profile::Profile;
use neo4j_falkordb_sync::sink::statements::{NodePattern, surplus_labels, upsert_nodes};
use neo4j_falkordb_sync::sink::{CacheConnection, Sink};
use redis::{Cmd, Pipeline, Value, cmd};
use tokio::task::JoinHandle;

use super::sink::{batch, fresh_name, label, nodes, owned, property, server, sink};

const BATCHES: usize = 20;
const ROWS: usize = 1_000;
const ROUNDS: usize = 5;

const SOON: Duration = Duration::from_secs(60);

/// Between two questions of a reader.
const PAUSE: Duration = Duration::from_millis(1);

fn group(batch: usize, dimension: usize) -> NodeWriteSet {
    let mut group = nodes("Entity", &[], &[]);
    if dimension > 0 {
        group.vectors = vec![property("name_embedding")];
    }
    for row in 0..ROWS {
        let key = format!("n{}", batch * ROWS + row);
        let number = |place: usize| (((row * 31 + place * 17) % 2000) as f32 / 1000.0 - 1.0).to_string();
        let vector: Vec<String> = (0..dimension).map(number).collect();
        let vector = if dimension > 0 { format!(",v0:[{}]", vector.join(",")) } else { String::new() };
        let summary = "lorem ipsum ".repeat(10);
        let text = format!(
            "{{k:'{key}',p:{{uuid:'{key}',name:'name {row}',summary:'{summary}',group_id:'g',created_at:'2026-01-01T00:00:00+00:00'}}{vector}}}"
        );
        group.rows.push(Key::parse(&key).unwrap(), |out| out.extend_from_slice(text.as_bytes()));
    }
    group
}

/// What a batch was before the fence: one query for its rows, one for surplus labels.
fn unfenced(graph: &str, profile: &Profile, group: &NodeWriteSet) -> [Cmd; 2] {
    let pattern = NodePattern::of(profile, &label("Entity"), &property("uuid"));
    let rows: Vec<&str> = (0..group.rows.len()).map(|row| std::str::from_utf8(group.rows.row(row)).unwrap()).collect();
    let write = format!("CYPHER rows=[{}] {}", rows.join(","), upsert_nodes(&pattern, group));
    let keys: Vec<String> = group.rows.identities().iter().map(|key| format!("'{key}'")).collect();
    let ask = format!("CYPHER keys=[{}] {}", keys.join(","), surplus_labels(&pattern, 1));
    let command = |name: &str, text: String| cmd(name).arg(graph).arg(text).to_owned();
    [command("GRAPH.QUERY", write), command("GRAPH.RO_QUERY", ask)]
}

/// Asks for nodes by key until it is told to stop, and returns how long each answer took.
fn reader(graph: String, stop: Arc<AtomicBool>) -> JoinHandle<Vec<Duration>> {
    tokio::spawn(async move {
        let mut connection = CacheConnection::new(server().await);
        let mut took = Vec::new();
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let text = format!("MATCH (n:Entity {{uuid: 'n{}'}}) RETURN n.name", number % ROWS);
            let asked = Instant::now();
            connection.command("read", cmd("GRAPH.RO_QUERY").arg(&graph).arg(text), SOON).await.unwrap();
            took.push(asked.elapsed());
            tokio::time::sleep(PAUSE).await;
        }
        took
    })
}

struct Measured {
    rows_per_second: f64,
    reads: Vec<Duration>,
}

async fn measure(fenced: bool, groups: &[NodeWriteSet]) -> Measured {
    let graph = fresh_name("cost");
    let profile = Arc::new(Profile::graphiti().unwrap());
    let mut sink = sink(server().await, &owned(&graph).await);
    sink.prepare().await.unwrap();
    let mut connection = CacheConnection::new(server().await);
    let stop = Arc::new(AtomicBool::new(false));
    let reading = reader(graph.clone(), Arc::clone(&stop));
    let begun = Instant::now();
    for group in groups {
        if fenced {
            sink.apply(&batch(vec![group.clone()], vec![])).await.unwrap();
            continue;
        }
        for command in unfenced(&graph, &profile, group) {
            let mut pipeline = Pipeline::new();
            pipeline.add_command(command);
            let answers: Vec<_> = connection.pipeline("write", &pipeline, SOON).await.unwrap();
            assert!(answers.iter().all(|answer| matches!(answer, Ok(Value::Array(_)))), "{answers:?}");
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let reads = reading.await.unwrap();
    sink.clear().await.unwrap();
    Measured { rows_per_second: (groups.len() * ROWS) as f64 / seconds, reads }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn milliseconds(reads: &mut [Duration], share: f64) -> f64 {
    reads.sort();
    reads[((reads.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn what_the_fence_costs() {
    for dimension in [0, 256] {
        let groups: Vec<NodeWriteSet> = (0..BATCHES).map(|number| group(number, dimension)).collect();
        let mut measured = [Vec::new(), Vec::new()];
        let mut reads = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for fenced in [false, true] {
                let one = measure(fenced, &groups).await;
                measured[usize::from(fenced)].push(one.rows_per_second);
                reads[usize::from(fenced)].extend(one.reads);
            }
        }
        for (name, (rows, reads)) in ["without", "with"].iter().zip(measured.into_iter().zip(&mut reads)) {
            println!(
                "{dimension} floats, {name} the fence: {:.0} rows/s; {} reads, median {:.2} ms, 99th percentile {:.1} ms, worst {:.1} ms",
                median(rows),
                reads.len(),
                milliseconds(reads, 0.5),
                milliseconds(reads, 0.99),
                milliseconds(reads, 1.0),
            );
        }
    }
}
