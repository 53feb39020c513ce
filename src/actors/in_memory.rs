//! A source and a cache in memory, with faults on demand: what the tests of the actors run against.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::connection_factory::ConnectionFactory;
use super::spreading::{Membership, Participant};
use crate::error::{Error, ErrorKind, Result};
use crate::model::bookmark::Bookmark;
use crate::model::checkpoint::Checkpoint;
use crate::model::element::{
    ElementIdentity, ElementNumber, NodeIdentity, RelationshipIdentity, SourceEndpoint, SourceNode, SourceRelationship,
};
use crate::model::follow_rule::FollowRule;
use crate::model::index::IndexDefinition;
use crate::model::key::{Key, KeyPrefixes};
use crate::model::kind::{ElementKind, NodeKindId, RelationshipKindId};
use crate::model::kind_rows::KindRows;
use crate::model::leader::Leader;
use crate::model::name::{Label, PropertyName};
use crate::model::outside_profile::OutsideProfile;
use crate::model::prepared::PreparedRows;
use crate::model::profile::Profile;
use crate::model::projection::Projection;
use crate::model::quarantined::Quarantined;
use crate::model::source_identity::SourceIdentity;
use crate::model::spread::InstanceId;
use crate::model::value::Value;
use crate::sink::{
    Announced, ApplyResult, CacheServer, CheckpointStore, Counts, GraphLease, GraphState, Holder, IndexReport, LEASE_TTL,
    Presence, Sink, Surroundings,
};
use crate::source::{ChangedKey, Followed, FoundElement, KeyLookup, KeyPage, Page, Source, SourceIndex};
use crate::sync::{AttachedCounts, CacheLookup, CacheView, ScanCursor, ScannedElement};

/// Where a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
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
pub(super) enum InjectedFault {
    Error(ErrorKind),
    Panic,
    /// Puts a graph in place.
    Swap,
}

/// A source and a cache that share one memory.
pub(super) struct World {
    pub(super) profile: Arc<Profile>,
    pub(super) nodes: Mutex<Vec<SourceNode>>,
    pub(super) facts: Mutex<Vec<SourceRelationship>>,
    cache: Mutex<Cache>,
    pub(super) checkpoint: Mutex<Option<Checkpoint>>,
    pub(super) paused: Mutex<bool>,
    /// The holder of the lease, and when it runs out.
    owner: Mutex<Option<(u64, Instant)>>,
    /// The instances by their tokens, and the ends of their announcements.
    instances: Mutex<BTreeMap<u64, (InstanceId, Instant)>>,
    /// How long the source takes to count.
    pub(super) counting: Mutex<Duration>,
    /// Faults to come: the place, and how many visits pass unharmed before it strikes.
    faults: Mutex<BTreeMap<Place, (u64, InjectedFault)>>,
    /// Keys by the pages in which they were read.
    pub(super) pages_read: Mutex<Vec<Vec<String>>>,
    /// The loader applies a batch for each permit; closed for "without limit".
    pub(super) apply_permits: Semaphore,
    pub(super) rows_read: AtomicU64,
    pub(super) rows_applied: AtomicU64,
    pub(super) most_ahead: AtomicU64,
    connections: AtomicU64,
}

#[derive(Default)]
struct Cache {
    exists: bool,
    nodes: BTreeMap<NodeIdentity, Vec<u8>>,
    relationships: BTreeMap<RelationshipIdentity, Vec<u8>>,
}

const ENTITY: NodeKindId = NodeKindId(0);
const RELATES_TO: RelationshipKindId = RelationshipKindId(0);

fn text(name: &str, value: &str) -> (String, Value) {
    (name.to_owned(), Value::String(value.to_owned()))
}

pub(super) fn entity(number: u64) -> SourceNode {
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
    pub(super) fn of(nodes: u64) -> Arc<Self> {
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
    pub(super) fn strike(&self, place: Place, after: u64, fault: InjectedFault) {
        self.faults.lock().insert(place, (after, fault));
    }

    fn visit(&self, place: Place) -> Result<()> {
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

    pub(super) fn struck(&self) -> bool {
        self.faults.lock().is_empty()
    }

    /// What the cache misses of the source or holds beyond it, by identity.
    pub(super) fn differences(&self) -> Vec<String> {
        let cache = self.cache.lock();
        let wanted_nodes: BTreeSet<String> = self.nodes.lock().iter().map(|n| key_of(&n.properties)).collect();
        let wanted_facts: BTreeSet<String> = self.facts.lock().iter().map(|r| key_of(&r.properties)).collect();
        let nodes: BTreeSet<String> = cache.nodes.keys().map(|n| n.key.to_string()).collect();
        let facts: BTreeSet<String> = cache.relationships.keys().map(|r| r.key.to_string()).collect();
        wanted_nodes.symmetric_difference(&nodes).chain(wanted_facts.symmetric_difference(&facts)).cloned().collect()
    }

    /// Deletes the graph from the cache, as an operator would by hand.
    pub(super) fn delete_graph(&self) {
        *self.cache.lock() = Cache::default();
    }

    /// Removes a node from the cache, as if it had not been committed when its kind was read.
    pub(super) fn hide_from_first_page(&self, number: u64) -> SourceNode {
        let mut nodes = self.nodes.lock();
        let index = nodes.iter().position(|n| n.number.0 == number).expect("the node is there");
        nodes.remove(index)
    }
}

fn key_of(properties: &[(String, Value)]) -> String {
    match &properties[0].1 {
        Value::String(key) => key.clone(),
        other => panic!("{other:?}"),
    }
}

fn changed(properties: &[(String, Value)]) -> ChangedKey {
    ChangedKey { key: key_of(properties), stamp: String::new() }
}

pub(super) struct InMemory {
    pub(super) world: Arc<World>,
    token: u64,
    /// The instances that share the pipeline, and its name among them.
    spread: Option<(&'static str, Arc<Membership>)>,
}

impl InMemory {
    /// A process of its own: its lease is not another one's.
    pub(super) fn process(world: &Arc<World>) -> Arc<Self> {
        Arc::new(Self { world: Arc::clone(world), token: world.next_token(), spread: None })
    }

    /// An instance that shares this pipeline, and perhaps others, with other instances.
    pub(super) fn instance(world: &Arc<World>, pipeline: &'static str, membership: &Arc<Membership>) -> Arc<Self> {
        let token = world.next_token();
        Arc::new(Self { world: Arc::clone(world), token, spread: Some((pipeline, Arc::clone(membership))) })
    }
}

struct InMemorySide {
    world: Arc<World>,
    token: u64,
}

#[async_trait]
impl ConnectionFactory for InMemory {
    async fn source(&self) -> Result<Arc<dyn Source>> {
        self.world.visit(Place::Connect)?;
        Ok(Arc::new(InMemorySide { world: Arc::clone(&self.world), token: self.token }))
    }
    async fn sink(&self) -> Result<Box<dyn Sink>> {
        Ok(Box::new(InMemorySide { world: Arc::clone(&self.world), token: self.token }))
    }
    async fn store(&self) -> Result<Box<dyn CheckpointStore>> {
        Ok(Box::new(InMemorySide { world: Arc::clone(&self.world), token: self.token }))
    }
    async fn view(&self) -> Result<Box<dyn CacheView>> {
        Ok(Box::new(InMemorySide { world: Arc::clone(&self.world), token: self.token }))
    }
    async fn lease(&self) -> Result<Box<dyn GraphLease>> {
        Ok(Box::new(InMemorySide { world: Arc::clone(&self.world), token: self.token }))
    }
    fn participant(&self) -> Option<Participant> {
        let (pipeline, membership) = self.spread.clone()?;
        let instance = membership.id().clone();
        let presence = InMemoryPresence { world: Arc::clone(&self.world), token: self.token, instance };
        Some(Participant::new(pipeline, membership, Box::new(presence)))
    }
}

struct InMemoryPresence {
    world: Arc<World>,
    token: u64,
    instance: InstanceId,
}

fn process(token: u64) -> Leader {
    Leader { host: format!("process {token}"), pid: 1, since: String::new(), url: None }
}

#[async_trait]
impl Presence for InMemoryPresence {
    async fn look(&mut self) -> Result<Surroundings> {
        let (owner, now) = (self.world.owner(), Instant::now());
        let mut instances = self.world.instances.lock();
        instances.insert(self.token, (self.instance.clone(), now + LEASE_TTL));
        let instance = |token: u64| instances.get(&token).map(|(instance, _)| instance.clone());
        let holder = owner.map(|token| Holder { token: token.to_string(), instance: instance(token), leader: process(token) });
        let valid = instances.iter().filter(|(_, (_, until))| *until > now);
        let announced = valid.map(|(token, (instance, until))| Announced {
            instance: instance.clone(),
            process: process(*token),
            left: *until - now,
        });
        Ok(Surroundings { holder, announced: announced.collect() })
    }
    async fn withdraw(&mut self) -> Result<()> {
        self.world.instances.lock().remove(&self.token);
        Ok(())
    }
}

/// The rows after a key, up to so many.
fn page(mut rows: KindRows, after: &str, limit: usize) -> Page {
    let key = PropertyName::parse("uuid").expect("a sound name");
    rows.retain(|properties| key_of(properties).as_str() > after);
    let more = rows.len() > limit;
    let mut rows = rows.in_key_order(&key);
    rows.truncate(limit);
    let next = rows.keys(&key).last().flatten().filter(|_| more).map(str::to_owned);
    Page { rows, next }
}

impl InMemorySide {
    fn rows(&self, kind: ElementKind) -> KindRows {
        match kind {
            ElementKind::Node(ENTITY) => KindRows::Nodes(ENTITY, self.world.nodes.lock().clone()),
            ElementKind::Relationship(RELATES_TO) => KindRows::Relationships(RELATES_TO, self.world.facts.lock().clone()),
            other => KindRows::none(other),
        }
    }

    fn note_read(&self, rows: &KindRows) {
        let read = self.world.rows_read.fetch_add(rows.len() as u64, Ordering::SeqCst) + rows.len() as u64;
        let ahead = read.saturating_sub(self.world.rows_applied.load(Ordering::SeqCst));
        self.world.most_ahead.fetch_max(ahead, Ordering::SeqCst);
        self.world.pages_read.lock().push(rows.elements().map(|(_, properties)| key_of(properties)).collect());
    }
}

#[async_trait]
impl Source for InMemorySide {
    async fn identity(&self) -> Result<SourceIdentity> {
        Ok(SourceIdentity { id: "memory".to_owned(), name: "neo4j".to_owned() })
    }
    async fn now(&self) -> Result<DateTime<Utc>> {
        Ok(Utc::now())
    }
    async fn page(&self, kind: ElementKind, _: Projection, after: &str, limit: usize) -> Result<Page> {
        self.world.visit(Place::ReadPage)?;
        let page = page(self.rows(kind), after, limit);
        if matches!(kind, ElementKind::Node(ENTITY) | ElementKind::Relationship(RELATES_TO)) {
            self.note_read(&page.rows);
        }
        Ok(page)
    }
    async fn by_key(&self, kind: ElementKind, keys: &[String]) -> Result<KeyLookup> {
        let mut rows = self.rows(kind);
        rows.retain(|properties| keys.contains(&key_of(properties)));
        Ok(KeyLookup { rows, keys: keys.len() })
    }
    async fn changed_keys(&self, kind: ElementKind, _: DateTime<Utc>, after: &str, limit: usize) -> Result<KeyPage> {
        let Page { rows, next } = page(self.rows(kind), after, limit);
        let keys = rows.elements().map(|(_, properties)| changed(properties)).collect();
        Ok(KeyPage { keys, without_key: Vec::new(), next })
    }
    async fn probe(&self) -> Result<Bookmark> {
        self.newest_commit().ok_or_else(|| Error::new(ErrorKind::SourceRefused, "no bookmark"))
    }
    fn newest_commit(&self) -> Option<Bookmark> {
        let (nodes, facts) = (self.world.nodes.lock().len(), self.world.facts.lock().len());
        Some(Bookmark::new(format!("{nodes}/{facts}")))
    }
    async fn nodes_by_number(&self, _: &[ElementNumber]) -> Result<Vec<FoundElement>> {
        Ok(vec![])
    }
    async fn relationships_by_number(&self, _: &[ElementNumber]) -> Result<Vec<FoundElement>> {
        Ok(vec![])
    }
    async fn relationships_of(&self, _: &[ElementNumber], _: Option<ElementNumber>, _: usize) -> Result<Vec<FoundElement>> {
        Ok(vec![])
    }
    async fn bookmark_from(&self, _: &Bookmark) -> Result<Bookmark> {
        self.probe().await
    }
    fn read_after(&self, _: &Bookmark) {}
    async fn reach(&self, _: &Bookmark) -> Result<()> {
        Ok(())
    }
    async fn counts(&self) -> Result<Vec<u64>> {
        let counting = *self.world.counting.lock();
        tokio::time::sleep(counting).await;
        let mut counts = vec![0; self.world.profile.kinds().len()];
        counts[0] = self.world.nodes.lock().len() as u64;
        counts[self.world.profile.nodes.len()] = self.world.facts.lock().len() as u64;
        Ok(counts)
    }
    async fn key_groups(
        &self,
        kind: ElementKind,
        with: Option<&Label>,
        beginnings: &KeyPrefixes,
        length: usize,
    ) -> Result<BTreeMap<String, u64>> {
        Ok(groups(Source::identities(self, kind, with, beginnings).await?, length))
    }
    async fn label_counts(&self) -> Result<BTreeMap<String, u64>> {
        // There is but one label here.
        Ok(BTreeMap::new())
    }
    async fn identities(
        &self,
        kind: ElementKind,
        _with: Option<&Label>,
        beginnings: &KeyPrefixes,
    ) -> Result<BTreeSet<ElementIdentity>> {
        let node = |key: &str| NodeIdentity { label: label(), key: Key::parse(key).expect("a sound key") };
        let all: BTreeSet<ElementIdentity> = match kind {
            ElementKind::Node(ENTITY) => {
                self.world.nodes.lock().iter().map(|n| ElementIdentity::Node(node(&key_of(&n.properties)))).collect()
            }
            ElementKind::Relationship(RELATES_TO) => {
                let end = |end: &SourceEndpoint| node(&key_of(&[("uuid".to_owned(), end.key.clone().expect("a key"))]));
                let identity = |r: &SourceRelationship| RelationshipIdentity {
                    rel_type: self.world.profile.relationship(RELATES_TO).rel_type.clone(),
                    key: Key::parse(&key_of(&r.properties)).expect("a sound key"),
                    start: end(&r.start),
                    end: end(&r.end),
                };
                self.world.facts.lock().iter().map(|r| ElementIdentity::Relationship(identity(r))).collect()
            }
            _ => BTreeSet::new(),
        };
        Ok(all.into_iter().filter(|identity| beginnings.meet(identity.key().as_str())).collect())
    }
    async fn followed(&self, _: &FollowRule, _: &[String]) -> Result<Followed> {
        Ok(Followed::default())
    }
    async fn without_key(&self, kind: ElementKind, _: usize) -> Result<KindRows> {
        Ok(KindRows::none(kind))
    }
    async fn unusable_labels(&self) -> Result<BTreeMap<String, u64>> {
        Ok(BTreeMap::new())
    }
    async fn keys_with_label(&self, _: &str, _: usize) -> Result<BTreeMap<NodeKindId, Vec<String>>> {
        Ok(BTreeMap::new())
    }
    async fn with_unusable_key(&self, kind: ElementKind, _: usize) -> Result<KindRows> {
        Ok(KindRows::none(kind))
    }
    async fn by_number(&self, kind: ElementKind, numbers: &[ElementNumber]) -> Result<(KindRows, usize)> {
        Ok((KindRows::none(kind), numbers.len()))
    }
    async fn count_without_key(&self, _: ElementKind) -> Result<u64> {
        Ok(0)
    }
    async fn indexes(&self) -> Result<Vec<SourceIndex>> {
        Ok(vec![])
    }
    async fn node_total(&self) -> Result<u64> {
        Ok(self.world.nodes.lock().len() as u64)
    }
    async fn outside_profile(&self) -> Result<OutsideProfile> {
        Ok(OutsideProfile::default())
    }
}

fn label() -> Label {
    Label::parse("Entity").expect("a sound label")
}

fn groups(identities: BTreeSet<ElementIdentity>, length: usize) -> BTreeMap<String, u64> {
    let mut groups = BTreeMap::new();
    for identity in identities {
        *groups.entry(identity.key().as_str().chars().take(length).collect()).or_default() += 1;
    }
    groups
}

#[async_trait]
impl CacheView for InMemorySide {
    async fn counts(&mut self) -> Result<Vec<u64>> {
        let cache = self.world.cache.lock();
        let mut counts = vec![0; self.world.profile.kinds().len()];
        counts[0] = cache.nodes.len() as u64;
        counts[self.world.profile.nodes.len()] = cache.relationships.len() as u64;
        Ok(counts)
    }
    async fn key_groups(
        &mut self,
        kind: ElementKind,
        with: Option<&Label>,
        beginnings: &KeyPrefixes,
        length: usize,
    ) -> Result<BTreeMap<String, u64>> {
        Ok(groups(CacheView::identities(self, kind, with, beginnings).await?, length))
    }
    async fn label_counts(&mut self) -> Result<BTreeMap<String, u64>> {
        Ok(BTreeMap::new())
    }
    async fn identities(
        &mut self,
        kind: ElementKind,
        _with: Option<&Label>,
        beginnings: &KeyPrefixes,
    ) -> Result<BTreeSet<ElementIdentity>> {
        let cache = self.world.cache.lock();
        let all: BTreeSet<ElementIdentity> = match kind {
            ElementKind::Node(ENTITY) => cache.nodes.keys().cloned().map(ElementIdentity::Node).collect(),
            ElementKind::Relationship(RELATES_TO) => {
                cache.relationships.keys().cloned().map(ElementIdentity::Relationship).collect()
            }
            _ => BTreeSet::new(),
        };
        Ok(all.into_iter().filter(|identity| beginnings.meet(identity.key().as_str())).collect())
    }
    async fn scan_part(
        &mut self,
        kind: ElementKind,
        _: &ScanCursor,
        _: usize,
        visit: &mut (dyn FnMut(ScannedElement) + Send),
    ) -> Result<Option<ScanCursor>> {
        let all = CacheView::identities(self, kind, None, &KeyPrefixes::with("")).await?;
        for identity in all {
            let labels = match &identity {
                ElementIdentity::Node(node) => vec![node.label.to_string()],
                ElementIdentity::Relationship(_) => Vec::new(),
            };
            visit(ScannedElement { identity, labels, graph: None });
        }
        Ok(None)
    }
    async fn labels_beside(&mut self, _: &Label) -> Result<BTreeMap<String, u64>> {
        Ok(BTreeMap::new())
    }
    async fn scan_bundle(
        &mut self,
        kinds: &[ElementKind],
        visit: &mut (dyn FnMut(ElementKind, ScannedElement) + Send),
    ) -> Result<()> {
        for kind in kinds {
            self.scan(*kind, &mut |keyed| visit(*kind, keyed)).await?;
        }
        Ok(())
    }
    async fn contents(&mut self, _: ElementKind, _: Projection, keys: &[String]) -> Result<CacheLookup> {
        // Only rows as text are kept here: comparisons are tested against real servers.
        Ok(CacheLookup { elements: BTreeMap::new(), keys: keys.len() })
    }
    async fn totals(&mut self) -> Result<[u64; 2]> {
        let cache = self.world.cache.lock();
        Ok([cache.nodes.len() as u64, cache.relationships.len() as u64])
    }
    async fn foreign(&mut self) -> Result<BTreeMap<String, u64>> {
        Ok(BTreeMap::new())
    }
    async fn attached(&mut self, _: NodeKindId, keys: &[String]) -> Result<AttachedCounts> {
        let cache = self.world.cache.lock();
        let mut attached = AttachedCounts::new();
        for key in keys {
            let hangs = |fact: &&RelationshipIdentity| fact.start.key.as_str() == key || fact.end.key.as_str() == key;
            let number = cache.relationships.keys().filter(hangs).count() as u64;
            attached.entry(key.clone()).or_default().insert(RELATES_TO, number);
        }
        Ok(attached)
    }
}

#[async_trait]
impl Sink for InMemorySide {
    async fn identify(&mut self) -> Result<CacheServer> {
        Ok(CacheServer::default())
    }
    async fn state(&mut self) -> Result<GraphState> {
        Ok(if self.world.cache.lock().exists { GraphState::Present } else { GraphState::Missing })
    }
    async fn prepare(&mut self) -> Result<IndexReport> {
        let existed = std::mem::replace(&mut self.world.cache.lock().exists, true);
        Ok(IndexReport { from_nothing: !existed, ..IndexReport::default() })
    }
    async fn mirror(&mut self, _: &[IndexDefinition]) -> Result<IndexReport> {
        Ok(IndexReport::default())
    }
    async fn clear(&mut self) -> Result<bool> {
        Ok(std::mem::take(&mut *self.world.cache.lock()).exists)
    }
    async fn counts(&mut self) -> Result<Counts> {
        Ok(Counts::default())
    }
    async fn apply(&mut self, rows: &PreparedRows) -> Result<ApplyResult> {
        self.world.visit(Place::BeforeApply)?;
        self.world.apply_permits.acquire().await.expect("never closed").forget();
        let applied = self.write(rows);
        self.world.rows_applied.fetch_add(applied.nodes_written + applied.relationships_written, Ordering::SeqCst);
        self.world.visit(Place::AfterApply)?;
        Ok(applied)
    }
}

impl InMemorySide {
    fn write(&self, rows: &PreparedRows) -> ApplyResult {
        let mut cache = self.world.cache.lock();
        let mut applied = ApplyResult::default();
        for node in &rows.deleted_nodes {
            applied.nodes_deleted += u64::from(cache.nodes.remove(node).is_some());
            cache.relationships.retain(|identity, _| identity.start != *node && identity.end != *node);
        }
        for relationship in &rows.deleted_relationships {
            applied.relationships_deleted += u64::from(cache.relationships.remove(relationship).is_some());
        }
        for group in &rows.nodes {
            for (index, key) in group.rows.identities().iter().enumerate() {
                let identity = NodeIdentity { label: group.label.clone(), key: key.clone() };
                cache.nodes.insert(identity, group.rows.row(index).to_vec());
                applied.nodes_written += 1;
            }
        }
        for group in &rows.relationships {
            for (index, identity) in group.rows.identities().iter().enumerate() {
                if cache.nodes.contains_key(&identity.start) && cache.nodes.contains_key(&identity.end) {
                    cache.relationships.insert(identity.clone(), group.rows.row(index).to_vec());
                    applied.relationships_written += 1;
                } else {
                    applied.absent_endpoints.push(identity.clone());
                }
            }
        }
        applied
    }
}

#[async_trait]
impl CheckpointStore for InMemorySide {
    async fn load(&mut self) -> Result<Option<Checkpoint>> {
        self.world.visit(Place::LoadCheckpoint)?;
        Ok(self.world.checkpoint.lock().clone())
    }
    async fn store(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.world.require_owner(self.token)?;
        *self.world.checkpoint.lock() = Some(checkpoint.clone());
        self.world.visit(Place::AfterCheckpoint)
    }
    async fn quarantine(&mut self) -> Result<Vec<Quarantined>> {
        Ok(vec![])
    }
    async fn update_quarantine(&mut self, _: &[Quarantined], _: &[Quarantined]) -> Result<()> {
        Ok(())
    }
    async fn is_paused(&mut self) -> Result<bool> {
        Ok(*self.world.paused.lock())
    }
    async fn set_paused(&mut self, paused: bool) -> Result<()> {
        *self.world.paused.lock() = paused;
        Ok(())
    }
}

#[async_trait]
impl GraphLease for InMemorySide {
    async fn acquire(&mut self) -> Result<()> {
        match self.world.owner() {
            Some(other) if other != self.token => {
                Err(Error::new(ErrorKind::LeaseHeld, format!("process {other} owns the graph")))
            }
            _ => {
                *self.world.owner.lock() = Some((self.token, Instant::now() + LEASE_TTL));
                Ok(())
            }
        }
    }
    async fn leader(&mut self) -> Result<Option<Leader>> {
        Ok(self.world.owner().map(process))
    }
    async fn renew(&mut self) -> Result<()> {
        let mut owner = self.world.owner.lock();
        if owner.is_none_or(|(token, _)| token != self.token) {
            return Err(Error::new(ErrorKind::LeaseLost, "another process owns the graph"));
        }
        *owner = Some((self.token, Instant::now() + LEASE_TTL));
        Ok(())
    }
    async fn release(&mut self) -> Result<()> {
        self.world.visit(Place::ReleaseLease)?;
        if self.world.owner() == Some(self.token) {
            *self.world.owner.lock() = None;
        }
        Ok(())
    }
}

impl World {
    fn next_token(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether a process holds the lease.
    pub(super) fn is_owned(&self) -> bool {
        self.owner().is_some()
    }

    /// As a successor does after a silence.
    pub(super) fn take_lease_away(&self) {
        *self.owner.lock() = Some((u64::MAX, Instant::now() + LEASE_TTL));
    }

    fn owner(&self) -> Option<u64> {
        self.owner.lock().filter(|(_, end)| *end > Instant::now()).map(|(token, _)| token)
    }

    fn require_owner(&self, token: u64) -> Result<()> {
        if self.owner() == Some(token) { Ok(()) } else { Err(Error::new(ErrorKind::LeaseLost, "another process owns the graph")) }
    }
}
