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
use super::routed::count_nodes;
use super::safety::{self, Safety};
use super::schema::{self, IndexReport, IndexedProperty, Wanted};
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
    profile: Arc<Profile>,
    /// Indices of the source that the graph has as well.
    mirrored: Vec<IndexDefinition>,
    /// What is done about unsafe indices; all are made where absent.
    safety: Option<Safety>,
    /// What somebody else had made on the graph that was cleared, until it is made again.
    cleared: Furniture,
}

impl FalkorSink {
    /// The graph under this name, on a connection of its own that is made at the first use.
    pub fn new(address: CacheAddress, graph: impl Into<String>, profile: Arc<Profile>) -> Self {
        let connection = Connection::new(address);
        let (mirrored, cleared) = (Vec::new(), Furniture::default());
        Self { connection, graph: graph.into(), profile, mirrored, safety: None, cleared }
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
        if self.cleared.is_empty() || count_nodes(&mut self.connection, &self.graph).await? == 0 {
            return Ok(Vec::new());
        }
        let cleared = std::mem::take(&mut self.cleared);
        let Self { connection, graph, profile, .. } = self;
        let left_out = |index: &IndexedProperty| policy == Some(UnsafeIndexes::Drop) && schema::is_named(profile, index);
        cleared.make_on(connection, graph, left_out, INDEX_DEADLINE).await
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
        let Self { connection, graph, profile, mirrored, .. } = self;
        let wanted = Wanted { own: &profile.indexes, mirrored, profile, policy };
        let report = schema::ensure(connection, graph, wanted, INDEX_DEADLINE).await?;
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

    async fn make_indices(&mut self, on: &IndexTarget) -> Result<()> {
        let policy = self.policy().await?;
        for definition in self.profile.indexes.iter().filter(|definition| definition.on == *on) {
            let Some(made) = safety::made_of(&self.profile, definition, policy) else { continue };
            schema::make(&mut self.connection, &self.graph, &schema::statement(&made), INDEX_DEADLINE).await?;
        }
        Ok(())
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
        graph::clear(&mut self.connection, &self.graph).await
    }

    async fn apply(&mut self, rows: &PreparedRows) -> Result<Applied> {
        upsert::apply(&mut self.connection, &self.graph, &self.profile, rows).await
    }

    async fn counts(&mut self) -> Result<Counts> {
        graph::counts(&mut self.connection, &self.graph, &self.profile).await
    }
}
