//! The sink that is a FalkorDB graph.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::address::CacheAddress;
use super::applied::Applied;
use super::carry_over::Furniture;
use super::connection::Connection;
use super::graph::{self, Counts, GraphState};
use super::ownership::Ownership;
use super::safety::{self, Safety};
use super::schema::{self, IndexReport, Wanted};
use super::server::{self, CacheServer};
use super::{Sink, inspection, upsert};
use crate::error::Result;
use crate::model::index::{IndexDefinition, IndexTarget, UnsafeIndexes};
use crate::model::prepared::PreparedRows;
use crate::model::profile::Profile;

/// How long indices may take to be built: FalkorDB indexes some 100,000 elements a second, so this is enough for tens of
/// millions and still ends if the indexer is stuck.
pub(super) const INDEX_DEADLINE: Duration = Duration::from_secs(600);

/// A FalkorDB graph and the one connection that writes it.
#[derive(Debug)]
pub struct FalkorSink {
    connection: Connection,
    graph: String,
    ownership: Ownership,
    profile: Arc<Profile>,
    /// Indices of the source that the graph has as well.
    mirrored: Vec<IndexDefinition>,
    /// What is done about unsafe indices; all are made where absent.
    safety: Option<Safety>,
    /// What somebody else had made on the graph that was cleared, until it is made again.
    cleared: Furniture,
}

impl FalkorSink {
    /// The graph under this name, written only while this process owns it, on a connection of its own that is made at the first
    /// use.
    pub fn new(address: CacheAddress, graph: impl Into<String>, profile: Arc<Profile>, ownership: Ownership) -> Self {
        let connection = Connection::new(address);
        let (mirrored, cleared) = (Vec::new(), Furniture::default());
        Self { connection, graph: graph.into(), ownership, profile, mirrored, safety: None, cleared }
    }

    /// Refuses to go on with a server that was started again after its first use.
    pub fn of_one_life(self) -> Self {
        Self { connection: self.connection.of_one_life(), ..self }
    }

    /// Heeds unsafe indices.
    pub fn guarded(self, safety: Safety) -> Self {
        Self { safety: Some(safety), ..self }
    }

    /// The graph's name.
    pub fn graph(&self) -> &str {
        &self.graph
    }

    async fn policy(&mut self) -> Result<Option<UnsafeIndexes>> {
        match &self.safety {
            Some(safety) => safety.policy(&mut self.connection).await,
            None => Ok(None),
        }
    }

    /// Once the graph is filled: each of them slows the filling, and a constraint is looked at before it is made.
    async fn make_what_was_cleared(&mut self, policy: Option<UnsafeIndexes>) -> Result<Vec<String>> {
        if self.cleared.is_empty()
            || graph::state(&mut self.connection, &self.graph).await? == GraphState::Missing
            || graph::node_count(&mut self.connection, &self.graph).await? == 0
        {
            return Ok(Vec::new());
        }
        let cleared = std::mem::take(&mut self.cleared);
        let Self { connection, graph, ownership, profile, .. } = self;
        cleared.make_again(connection, graph, ownership, profile, policy).await
    }
}

#[async_trait]
impl Sink for FalkorSink {
    async fn identify(&mut self) -> Result<CacheServer> {
        server::identify(&mut self.connection).await
    }

    async fn state(&mut self) -> Result<GraphState> {
        graph::state(&mut self.connection, &self.graph).await
    }

    async fn prepare(&mut self) -> Result<IndexReport> {
        graph::state(&mut self.connection, &self.graph).await?;
        let policy = self.policy().await?;
        let lost = self.make_what_was_cleared(policy).await?;
        let Self { connection, graph, ownership, profile, mirrored, .. } = self;
        let wanted = Wanted { own: &profile.indexes, mirrored, profile, policy };
        let report = schema::ensure(connection, graph, ownership, wanted, INDEX_DEADLINE).await?;
        Ok(IndexReport { lost, ..report })
    }

    async fn indexes(&mut self) -> Result<IndexReport> {
        let policy = self.policy().await?;
        let Self { connection, graph, profile, mirrored, .. } = self;
        inspection::look(connection, graph, Wanted { own: &profile.indexes, mirrored, profile, policy }).await
    }

    async fn disturbing_indexes(&mut self) -> Result<BTreeSet<String>> {
        let policy = self.safety.as_ref().and_then(Safety::known_policy);
        let Self { connection, graph, profile, mirrored, .. } = self;
        inspection::disturbing(connection, graph, Wanted { own: &profile.indexes, mirrored, profile, policy }).await
    }

    async fn unsafe_indexes(&mut self) -> Result<Option<UnsafeIndexes>> {
        self.policy().await
    }

    async fn property_names(&mut self) -> Result<Vec<String>> {
        graph::property_names(&mut self.connection, &self.graph).await
    }

    async fn make_indices(&mut self, on: &[IndexTarget]) -> Result<()> {
        let policy = self.policy().await?;
        let on: BTreeSet<&IndexTarget> = on.iter().collect();
        let wanted = self.profile.indexes.iter().filter(|definition| on.contains(&definition.on));
        let made = wanted.filter_map(|definition| safety::made_of(&self.profile, definition, policy));
        let statements: Vec<String> = made.map(|definition| schema::statement(&definition)).collect();
        let made = schema::make_all(&mut self.connection, &self.graph, &self.ownership, &statements, INDEX_DEADLINE).await?;
        made.into_iter().collect()
    }

    async fn mirror(&mut self, indexes: &[IndexDefinition]) -> Result<IndexReport> {
        self.mirrored = indexes.to_vec();
        let report = self.prepare().await?;
        // What was refused once is not tried again with every pass.
        self.mirrored.retain(|definition| !report.refused.contains(&schema::statement(definition)));
        Ok(report)
    }

    async fn clear(&mut self) -> Result<bool> {
        let found = Furniture::of(&mut self.connection, &self.graph).await?;
        if !found.is_empty() {
            self.cleared = found;
        }
        graph::clear(&mut self.connection, &self.graph, &self.ownership).await
    }

    async fn apply(&mut self, rows: &PreparedRows) -> Result<Applied> {
        upsert::apply(&mut self.connection, &self.graph, &self.ownership, &self.profile, rows).await
    }

    async fn counts(&mut self) -> Result<Counts> {
        graph::counts(&mut self.connection, &self.graph, &self.profile).await
    }
}
