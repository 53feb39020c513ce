//! The graphs of a pipeline as one cache: what they share, and the factory of everything that works on them.

use std::sync::Arc;

use super::address::CacheAddress;
use super::adoption::{self, TakeOver};
use super::connection::CacheConnection;
use super::fence::Ownership;
use super::keys::GraphKeys;
use super::lease::RedisLease;
use super::permissions;
use super::presence::RedisPresence;
use super::routing::Routing;
use super::safety::UnsafeIndexCheck;
use crate::error::{Error, Result};
use crate::model::graph_name::GraphName;
use crate::model::profile::Profile;
use crate::model::routes::Routes;

/// The most connections that work on several graphs at once: if there were more than FalkorDB has threads to commit with, they
/// would only wait for each other.
const MAX_LANES: usize = 4;

/// The graphs of a pipeline: one, or one for each group.
#[derive(Debug, Clone)]
pub struct GraphSet {
    pub(super) address: CacheAddress,
    /// The proof that this process may write. One fence protects all graphs, wherever their keys are: they are on one server.
    pub(super) ownership: Ownership,
    pub(super) profile: Arc<Profile>,
    /// The graph that each element belongs in.
    pub(super) routing: Routing,
    /// The treatment of unsafe indices. If absent, all are made.
    pub(super) safety: Option<UnsafeIndexCheck>,
    pool_size: usize,
}

impl GraphSet {
    /// The graphs under the name that is owned, as many as the profile asks for.
    pub fn new(address: CacheAddress, profile: Arc<Profile>, ownership: Ownership) -> Self {
        let routing = Routing::of(&profile, &ownership.graph);
        Self { address, ownership, profile, routing, safety: None, pool_size: MAX_LANES }
    }

    /// The same graphs, with this treatment of unsafe indices.
    pub fn with_safety(self, safety: UnsafeIndexCheck) -> Self {
        Self { safety: Some(safety), ..self }
    }

    /// The same graphs, with at most this many connections to work on several graphs.
    pub(crate) fn with_pool_size(self, pool_size: usize) -> Self {
        Self { pool_size, ..self }
    }

    /// The same graphs with other kinds in them.
    pub(crate) fn with_profile(self, profile: Arc<Profile>) -> Self {
        Self { profile, ..self }
    }

    pub(crate) fn address(&self) -> &CacheAddress {
        &self.address
    }

    pub(crate) fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }

    /// The name of the only graph, or the name under which everything but the graphs of groups is kept.
    pub(crate) fn name(&self) -> &GraphName {
        &self.ownership.graph
    }

    /// The graph of each group, if each has its own.
    pub(crate) fn routes(&self) -> Option<&Routes> {
        match &self.routing {
            Routing::OnlyGraph(_) => None,
            Routing::ByGroup(routes) => Some(routes),
        }
    }

    /// The keys of this name.
    pub(super) fn keys(&self) -> GraphKeys {
        GraphKeys::of(self.name())
    }

    /// The number of connections that work at once.
    pub(super) fn lanes(&self) -> usize {
        if self.routing.is_by_group() { self.pool_size.clamp(1, MAX_LANES) } else { 1 }
    }

    /// The right to be the only writer. The graphs of groups are claimed one by one.
    pub(crate) fn lease(&self, take_over: TakeOver) -> RedisLease {
        let (address, ownership) = (self.address.clone(), self.ownership.clone());
        if self.routing.is_by_group() {
            RedisLease::new(address, ownership)
        } else {
            RedisLease::of_graph(address, ownership, take_over)
        }
    }

    /// This process among the instances that stand beside the graphs.
    pub(crate) fn presence(&self) -> RedisPresence {
        RedisPresence::new(self.address.clone(), self.ownership.clone())
    }

    /// Returns why the only graph may not be filled, or nothing if it may.
    pub(crate) async fn refusal(&self, take_over: TakeOver) -> Result<Option<Error>> {
        if self.routing.is_by_group() {
            return Ok(None);
        }
        adoption::refusal(&mut CacheConnection::new(self.address.clone()), self.name(), take_over).await
    }

    /// Returns the commands that the cache's user may not run; `spreads` is whether the pipeline is spread over instances.
    pub(crate) async fn missing_commands(&self, spreads: bool) -> Result<Vec<&'static str>> {
        permissions::missing_commands(self.address.clone(), self.name(), spreads).await
    }
}
