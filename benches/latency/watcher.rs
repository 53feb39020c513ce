//! Looks at the cache, again and again, for what is to be seen of each commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::Value;
use redis::aio::MultiplexedConnection;

use crate::changes::Kind;
use crate::support::servers::FalkorAddress;

/// The times are as exact as this.
const LOOK: Duration = Duration::from_millis(5);

/// What is to be seen in the cache.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expected {
    Episode(String),
    Entity(String),
    Fact(String),
    Mention(String),
    Summary(String, String),
    Expired(String),
    NoEntity(String),
    NoFact(String),
    Labelled(String),
}

struct Pending {
    kind: Kind,
    committed_at: Instant,
    left: BTreeSet<Expected>,
}

#[derive(Default)]
struct State {
    pending: Vec<Pending>,
    seen: BTreeMap<Kind, Vec<f64>>,
}

pub struct Watcher {
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl Watcher {
    pub fn start(address: FalkorAddress, graph: &'static str) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let task = tokio::spawn(watch(Arc::clone(&state), address, graph));
        Self { state, task }
    }

    pub fn expect(&self, kind: Kind, committed_at: Instant, expected: Vec<Expected>) {
        self.state.lock().pending.push(Pending { kind, committed_at, left: expected.into_iter().collect() });
    }

    /// Once everything was seen: the seconds that it took, by kind.
    pub async fn finish(self, patience: Duration) -> BTreeMap<Kind, Vec<f64>> {
        let begun = Instant::now();
        while !self.state.lock().pending.is_empty() {
            if begun.elapsed() > patience {
                let left: Vec<_> = self.state.lock().pending.iter().map(|p| (p.kind, p.left.clone())).collect();
                panic!("never seen: {left:?}");
            }
            tokio::time::sleep(LOOK).await;
        }
        self.task.abort();
        std::mem::take(&mut self.state.lock().seen)
    }
}

async fn watch(state: Arc<Mutex<State>>, address: FalkorAddress, graph: &'static str) {
    let mut cache = address.connect().await.unwrap();
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let wanted: BTreeSet<Expected> = state.lock().pending.iter().flat_map(|pending| pending.left.clone()).collect();
        if wanted.is_empty() {
            continue;
        }
        let met = look(&mut cache, graph, &wanted).await;
        let now = Instant::now();
        let mut state = state.lock();
        let State { pending, seen } = &mut *state;
        pending.retain_mut(|pending| {
            pending.left.retain(|expected| !met.contains(expected));
            let over = pending.left.is_empty();
            if over {
                seen.entry(pending.kind).or_default().push(now.duration_since(pending.committed_at).as_secs_f64());
            }
            !over
        });
    }
}

/// One question for each sort of expectation, all of them at once.
async fn look(cache: &mut MultiplexedConnection, graph: &str, wanted: &BTreeSet<Expected>) -> BTreeSet<Expected> {
    let mut sorts: BTreeMap<&'static str, Vec<(&Expected, &str)>> = BTreeMap::new();
    for expected in wanted {
        let (question, key) = question(expected);
        sorts.entry(question).or_default().push((expected, key));
    }
    let mut pipeline = redis::pipe();
    for (question, keys) in &sorts {
        let keys: Vec<String> = keys.iter().map(|(_, key)| format!("'{key}'")).collect();
        pipeline.cmd("GRAPH.RO_QUERY").arg(graph).arg(format!("CYPHER keys=[{}] {question}", keys.join(",")));
    }
    let answers: Vec<Value> = pipeline.query_async(cache).await.unwrap();
    let mut met = BTreeSet::new();
    for (keys, answer) in sorts.values().zip(&answers) {
        let rows = rows(answer);
        met.extend(
            keys.iter().filter(|(expected, key)| is_met(expected, rows.get(*key))).map(|(expected, _)| (*expected).clone()),
        );
    }
    met
}

fn question(expected: &Expected) -> (&'static str, &str) {
    match expected {
        Expected::Episode(key) => ("UNWIND $keys AS k MATCH (n:Episodic {uuid: k}) RETURN k, ''", key),
        Expected::Entity(key) | Expected::NoEntity(key) | Expected::Summary(key, _) => {
            ("UNWIND $keys AS k MATCH (n:Entity {uuid: k}) RETURN k, n.summary", key)
        }
        Expected::Fact(key) | Expected::NoFact(key) | Expected::Expired(key) => {
            ("UNWIND $keys AS k MATCH ()-[e:RELATES_TO {uuid: k}]->() RETURN k, coalesce(e.expired_at, '')", key)
        }
        Expected::Labelled(key) => ("UNWIND $keys AS k MATCH (n:Entity {uuid: k}) WHERE n:Labelled RETURN k, ''", key),
        Expected::Mention(key) => ("UNWIND $keys AS k MATCH ()-[e:MENTIONS {uuid: k}]->() RETURN k, ''", key),
    }
}

fn is_met(expected: &Expected, found: Option<&String>) -> bool {
    match expected {
        Expected::Episode(_) | Expected::Entity(_) | Expected::Fact(_) | Expected::Mention(_) | Expected::Labelled(_) => {
            found.is_some()
        }
        Expected::Summary(_, summary) => found == Some(summary),
        Expected::Expired(_) => found.is_some_and(|expired_at| !expired_at.is_empty()),
        Expected::NoEntity(_) | Expected::NoFact(_) => found.is_none(),
    }
}

/// The second column by the first.
fn rows(answer: &Value) -> BTreeMap<String, String> {
    let Value::Array(parts) = answer else { panic!("{answer:?}") };
    let Some(Value::Array(rows)) = parts.get(1) else { panic!("{answer:?}") };
    let row = |row: &Value| {
        let Value::Array(cells) = row else { panic!("{row:?}") };
        let text = |cell: &Value| redis::from_redis_value::<Option<String>>(cell.clone()).unwrap().unwrap_or_default();
        (text(&cells[0]), text(&cells[1]))
    };
    rows.iter().map(row).collect()
}
