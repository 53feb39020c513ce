//! A source and a cache in memory, with faults on demand: what the tests of the actors run against.

mod cache;
mod lease;
mod presence;
mod source;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;

use super::connection_factory::ConnectionFactory;
use super::spreading::{Membership, Participant};
use crate::error::Result;
use crate::model::element::ElementIdentity;
use crate::sink::{CheckpointStore, GraphLease, Sink};
use crate::source::Source;
use crate::sync::CacheView;
use presence::InMemoryPresence;

pub(super) use world::{InjectedFault, Place, World, entity};

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

fn groups(identities: BTreeSet<ElementIdentity>, length: usize) -> BTreeMap<String, u64> {
    let mut groups = BTreeMap::new();
    for identity in identities {
        *groups.entry(identity.key().as_str().chars().take(length).collect()).or_default() += 1;
    }
    groups
}
