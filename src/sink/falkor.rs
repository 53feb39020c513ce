//! The sink that is a FalkorDB graph.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::address::CacheAddress;
use super::applied::Applied;
use super::connection::Connection;
use super::graph::{self, Counts, GraphState};
use super::ownership::Ownership;
use super::schema::{self, IndexReport, Wanted};
use super::server::{self, CacheServer};
use super::{Sink, upsert};
use crate::error::Result;
use crate::model::index::{IndexDefinition, IndexTarget};
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
}

impl FalkorSink {
    /// The graph under this name, written only while this process owns it, on a connection of its own that is made at the first
    /// use.
    pub fn new(address: CacheAddress, graph: impl Into<String>, profile: Arc<Profile>, ownership: Ownership) -> Self {
        Self { connection: Connection::new(address), graph: graph.into(), ownership, profile, mirrored: Vec::new() }
    }

    /// Refuses to go on with a server that was started again after its first use.
    pub fn of_one_life(self) -> Self {
        Self { connection: self.connection.of_one_life(), ..self }
    }

    /// The graph's name.
    pub fn graph(&self) -> &str {
        &self.graph
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
        let wanted = Wanted { own: &self.profile.indexes, mirrored: &self.mirrored };
        schema::ensure(&mut self.connection, &self.graph, &self.ownership, wanted, INDEX_DEADLINE).await
    }

    async fn make_indices(&mut self, on: &[IndexTarget]) -> Result<()> {
        let on: BTreeSet<&IndexTarget> = on.iter().collect();
        let wanted = self.profile.indexes.iter().filter(|definition| on.contains(&definition.on));
        let statements: Vec<String> = wanted.map(schema::statement).collect();
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
        graph::clear(&mut self.connection, &self.graph, &self.ownership).await
    }

    async fn apply(&mut self, rows: &PreparedRows) -> Result<Applied> {
        upsert::apply(&mut self.connection, &self.graph, &self.ownership, &self.profile, rows).await
    }

    async fn counts(&mut self) -> Result<Counts> {
        graph::counts(&mut self.connection, &self.graph, &self.profile).await
    }
}
