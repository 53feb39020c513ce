//! The world as a cache: its graph for reading and for writing, and the checkpoint beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use async_trait::async_trait;

use super::world::{ENTITY, Place, RELATES_TO};
use super::{InMemorySide, groups};
use crate::error::Result;
use crate::model::checkpoint::Checkpoint;
use crate::model::element::{ElementIdentity, NodeIdentity, RelationshipIdentity};
use crate::model::index::IndexDefinition;
use crate::model::key::KeyPrefixes;
use crate::model::kind::{ElementKind, NodeKindId};
use crate::model::name::Label;
use crate::model::prepared::PreparedRows;
use crate::model::projection::Projection;
use crate::model::quarantined::Quarantined;
use crate::sink::{ApplyResult, CacheServer, CheckpointStore, Counts, GraphState, IndexReport, Sink};
use crate::sync::{AttachedCounts, CacheLookup, CacheView, ScanCursor, ScannedElement};

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
