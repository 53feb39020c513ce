//! The world: the rows of a source, the contents of a cache, and the faults that strike between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::model::checkpoint::Checkpoint;
use crate::model::element::{ElementNumber, NodeIdentity, RelationshipIdentity, SourceEndpoint, SourceNode, SourceRelationship};
use crate::model::kind::{NodeKindId, RelationshipKindId};
use crate::model::profile::Profile;
use crate::model::spread::InstanceId;
use crate::model::value::Value;

/// Where a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::actors) enum Place {
    Connect,
    ReadPage,
    BeforeApply,
    AfterApply,
    AfterCheckpoint,
    LoadCheckpoint,
    ReleaseLease,
}

/// What a fault does.
#[derive(Debug, Clone, Copy)]
pub(in crate::actors) enum InjectedFault {
    Error(ErrorKind),
    Panic,
    /// Puts a graph in place.
    Swap,
}

/// A source and a cache that share one memory.
pub(in crate::actors) struct World {
    pub(in crate::actors) profile: Arc<Profile>,
    pub(in crate::actors) nodes: Mutex<Vec<SourceNode>>,
    pub(in crate::actors) facts: Mutex<Vec<SourceRelationship>>,
    pub(super) cache: Mutex<Cache>,
    pub(in crate::actors) checkpoint: Mutex<Option<Checkpoint>>,
    pub(in crate::actors) paused: Mutex<bool>,
    /// The holder of the lease, and when it runs out.
    pub(super) owner: Mutex<Option<(u64, Instant)>>,
    /// The instances by their tokens, and the ends of their announcements.
    pub(super) instances: Mutex<BTreeMap<u64, (InstanceId, Instant)>>,
    /// How long the source takes to count.
    pub(in crate::actors) counting: Mutex<Duration>,
    /// Faults to come: the place, and how many visits pass unharmed before it strikes.
    faults: Mutex<BTreeMap<Place, (u64, InjectedFault)>>,
    /// Keys by the pages in which they were read.
    pub(in crate::actors) pages_read: Mutex<Vec<Vec<String>>>,
    /// The loader applies a batch for each permit; closed for "without limit".
    pub(in crate::actors) apply_permits: Semaphore,
    pub(in crate::actors) rows_read: AtomicU64,
    pub(in crate::actors) rows_applied: AtomicU64,
    pub(in crate::actors) most_ahead: AtomicU64,
    connections: AtomicU64,
}

#[derive(Default)]
pub(super) struct Cache {
    pub(super) exists: bool,
    pub(super) nodes: BTreeMap<NodeIdentity, Vec<u8>>,
    pub(super) relationships: BTreeMap<RelationshipIdentity, Vec<u8>>,
}

pub(super) const ENTITY: NodeKindId = NodeKindId(0);
pub(super) const RELATES_TO: RelationshipKindId = RelationshipKindId(0);

fn text(name: &str, value: &str) -> (String, Value) {
    (name.to_owned(), Value::String(value.to_owned()))
}

pub(in crate::actors) fn entity(number: u64) -> SourceNode {
    let key = format!("n{number:05}");
    SourceNode {
        number: ElementNumber(number),
        labels: vec!["Entity".to_owned()],
        properties: vec![text("uuid", &key), text("name", "x")],
    }
}

fn fact(number: u64, start: u64, end: u64) -> SourceRelationship {
    let endpoint = |number: u64| SourceEndpoint {
        labels: vec!["Entity".to_owned()],
        key: Some(Value::String(format!("n{number:05}"))),
        group: None,
    };
    SourceRelationship {
        number: ElementNumber(number),
        start: endpoint(start),
        end: endpoint(end),
        properties: vec![text("uuid", &format!("r{number:05}"))],
    }
}

impl World {
    /// A source of so many nodes, each with a relationship to the next.
    pub(in crate::actors) fn of(nodes: u64) -> Arc<Self> {
        Arc::new(Self {
            profile: Arc::new(Profile::graphiti().expect("the built-in profile is sound")),
            nodes: Mutex::new((0..nodes).map(entity).collect()),
            facts: Mutex::new((1..nodes).map(|n| fact(n, n - 1, n)).collect()),
            cache: Mutex::default(),
            checkpoint: Mutex::default(),
            paused: Mutex::default(),
            owner: Mutex::default(),
            instances: Mutex::default(),
            counting: Mutex::default(),
            faults: Mutex::default(),
            pages_read: Mutex::default(),
            apply_permits: Semaphore::new(Semaphore::MAX_PERMITS),
            rows_read: AtomicU64::new(0),
            rows_applied: AtomicU64::new(0),
            most_ahead: AtomicU64::new(0),
            connections: AtomicU64::new(0),
        })
    }

    /// Has a fault strike once, after so many visits of its place.
    pub(in crate::actors) fn strike(&self, place: Place, after: u64, fault: InjectedFault) {
        self.faults.lock().insert(place, (after, fault));
    }

    pub(super) fn visit(&self, place: Place) -> Result<()> {
        let due = {
            let mut faults = self.faults.lock();
            match faults.get_mut(&place) {
                Some((0, fault)) => {
                    let fault = *fault;
                    faults.remove(&place);
                    Some(fault)
                }
                Some((left, _)) => {
                    *left -= 1;
                    None
                }
                None => None,
            }
        };
        match due {
            None => Ok(()),
            Some(InjectedFault::Error(kind)) => Err(Error::new(kind, format!("scripted fault at {place:?}"))),
            Some(InjectedFault::Panic) => panic!("scripted panic at {place:?}"),
            Some(InjectedFault::Swap) => {
                self.cache.lock().exists = true;
                Ok(())
            }
        }
    }

    pub(in crate::actors) fn struck(&self) -> bool {
        self.faults.lock().is_empty()
    }

    /// What the cache misses of the source or holds beyond it, by identity.
    pub(in crate::actors) fn differences(&self) -> Vec<String> {
        let cache = self.cache.lock();
        let wanted_nodes: BTreeSet<String> = self.nodes.lock().iter().map(|n| key_of(&n.properties)).collect();
        let wanted_facts: BTreeSet<String> = self.facts.lock().iter().map(|r| key_of(&r.properties)).collect();
        let nodes: BTreeSet<String> = cache.nodes.keys().map(|n| n.key.to_string()).collect();
        let facts: BTreeSet<String> = cache.relationships.keys().map(|r| r.key.to_string()).collect();
        wanted_nodes.symmetric_difference(&nodes).chain(wanted_facts.symmetric_difference(&facts)).cloned().collect()
    }

    /// Deletes the graph from the cache, as an operator would by hand.
    pub(in crate::actors) fn delete_graph(&self) {
        *self.cache.lock() = Cache::default();
    }

    /// Removes a node from the cache, as if it had not been committed when its kind was read.
    pub(in crate::actors) fn hide_from_first_page(&self, number: u64) -> SourceNode {
        let mut nodes = self.nodes.lock();
        let index = nodes.iter().position(|n| n.number.0 == number).expect("the node is there");
        nodes.remove(index)
    }

    pub(super) fn next_token(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }
}

pub(super) fn key_of(properties: &[(String, Value)]) -> String {
    match &properties[0].1 {
        Value::String(key) => key.clone(),
        other => panic!("{other:?}"),
    }
}
