//! The graphs of a pipeline as one cache: what they have in common, and from where everything that works on them is made.

use std::sync::Arc;

use super::address::CacheAddress;
use super::adoption::{self, TakeOver};
use super::connection::CacheConnection;
use super::fence::Ownership;
use super::keys::GraphKeys;
use super::lease::RedisLease;
use super::permissions;
use super::routing::Routing;
use super::safety::Safety;
use crate::error::{Error, Result};
use crate::model::graph_name::GraphName;
use crate::model::profile::Profile;
use crate::model::routes::Routes;

/// Connections that work side by side on several graphs, at most: more than FalkorDB has threads to commit with would only wait
/// for each other.
const MAX_LANES: usize = 4;

/// The graphs of a pipeline: one, or one for each group.
#[derive(Debug, Clone)]
pub struct GraphSet {
    pub(super) address: CacheAddress,
    /// What proves that this process may write. One fence is that of all graphs, wherever their keys are: they are on one server.
    pub(super) ownership: Ownership,
    pub(super) profile: Arc<Profile>,
    /// Which graph an element belongs in.
    pub(super) routing: Routing,
    /// What is done about unsafe indices; absent where all are made.
    pub(super) safety: Option<Safety>,
    pool_size: usize,
}

impl GraphSet {
    /// The graphs under the name that is owned, as many as the profile asks for.
    pub fn new(address: CacheAddress, profile: Arc<Profile>, ownership: Ownership) -> Self {
        let routing = Routing::of(&profile, &ownership.graph);
        Self { address, ownership, profile, routing, safety: None, pool_size: MAX_LANES }
    }

    /// The same, and unsafe indices are heeded.
    pub fn with_safety(self, safety: Safety) -> Self {
        Self { safety: Some(safety), ..self }
    }

    /// The same, with at most this many connections to work on several graphs.
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

    /// The name of the only graph, or the one that everything but the graphs of groups is kept under.
    pub(crate) fn name(&self) -> &GraphName {
        &self.ownership.graph
    }

    /// Which graph each group goes to, where each has one of its own.
    pub(crate) fn routes(&self) -> Option<&Routes> {
        match &self.routing {
            Routing::OnlyGraph(_) => None,
            Routing::ByGroup(routes) => Some(routes),
        }
    }

    /// The keys of that name.
    pub(super) fn keys(&self) -> GraphKeys {
        GraphKeys::of(self.name())
    }

    /// How many connections work side by side.
    pub(super) fn lanes(&self) -> usize {
        if self.routing.is_by_group() { self.pool_size.clamp(1, MAX_LANES) } else { 1 }
    }

    /// The right to be the one writer. The graphs of groups are claimed one by one.
    pub(crate) fn lease(&self, take_over: TakeOver) -> RedisLease {
        let (address, ownership) = (self.address.clone(), self.ownership.clone());
        if self.routing.is_by_group() {
            RedisLease::new(address, ownership)
        } else {
            RedisLease::of_graph(address, ownership, take_over)
        }
    }

    /// Why the only graph may not be filled, if it may not.
    pub(crate) async fn refusal(&self, take_over: TakeOver) -> Result<Option<Error>> {
        if self.routing.is_by_group() {
            return Ok(None);
        }
        adoption::refusal(&mut CacheConnection::new(self.address.clone()), self.name(), take_over).await
    }

    /// The commands that the cache's user lacks.
    pub(crate) async fn missing_commands(&self) -> Result<Vec<&'static str>> {
        permissions::missing_commands(self.address.clone(), self.name()).await
    }
}
