//! The sink that is a graph for each group: one batch goes to the graphs of its rows' groups, on several connections at once.
//!
//! To everything above it the graphs are one cache: counts add up, and what is deleted is deleted wherever it is. A graph is made
//! with the first row of its group and deleted with the last one.

mod looks;
mod registry;
mod split;
mod swap;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::try_join_all;
use redis::{Pipeline, cmd};

use super::address::CacheAddress;
use super::applied::Applied;
use super::carry_over::Furniture;
use super::connection::{COMMAND_TIMEOUT, Connection};
use super::falkor::INDEX_DEADLINE;
use super::graph::{self, Counts, GraphState};
use super::ownership::Ownership;
use super::safety::Safety;
use super::schema::{self, IndexReport, Wanted};
use super::server::{self, CacheServer};
use super::{Sink, inspection, reply, upsert};
use crate::error::{Error, ErrorKind, Result};
use crate::model::graph_name::GraphName;
use crate::model::index::{IndexDefinition, IndexTarget, UnsafeIndexes};
use crate::model::prepared::PreparedRows;
use crate::model::profile::Profile;
use crate::model::routes::Routes;
use looks::Looks;
use registry::Registry;
pub use registry::{Place, taken_graphs};
use split::Parts;
pub use swap::RoutedSwap;
pub use view::RoutedView;

/// Connections that write side by side, at most: more than FalkorDB has threads to commit with would only wait for each other.
const MAX_LANES: usize = 4;

/// What the graphs of a pipeline have in common.
#[derive(Debug, Clone)]
pub struct RoutedCache {
    /// The server.
    pub address: CacheAddress,
    /// The name that everything but the graphs is kept under.
    pub control: GraphName,
    /// What proves that this process may write.
    pub ownership: Ownership,
    /// From a group to its graph.
    pub routes: Routes,
    /// The kinds.
    pub profile: Arc<Profile>,
    /// The most connections to open.
    pub pool_size: usize,
    /// What is done about unsafe indices.
    pub safety: Safety,
}

impl RoutedCache {
    fn lanes(&self) -> usize {
        self.pool_size.clamp(1, MAX_LANES)
    }

    fn registry(&self, place: Place) -> Registry {
        Registry::new(self.control.clone(), place, self.ownership.clone())
    }
}

/// The graphs of a pipeline, and the connections that write them.
#[derive(Debug)]
pub struct RoutedSink {
    lanes: Vec<Connection>,
    routes: Routes,
    profile: Arc<Profile>,
    registry: Registry,
    /// Indices of the source that the graphs have as well.
    mirrored: Vec<IndexDefinition>,
    /// The pipeline's graphs. Nobody but this sink makes or deletes one.
    graphs: BTreeSet<GraphName>,
    /// Graphs whose indices were looked at, and how they were found.
    prepared: BTreeMap<GraphName, IndexReport>,
    safety: Safety,
    /// What somebody else had made on the graphs that were cleared, until it is made again.
    cleared: BTreeMap<GraphName, Furniture>,
    looks: Looks,
}

impl RoutedSink {
    /// The graphs at a place. Refuses to go on with a server that was started again after its first use.
    pub fn new(cache: &RoutedCache, place: Place) -> Self {
        let connection = |_| Connection::new(cache.address.clone()).of_one_life();
        Self {
            lanes: (0..cache.lanes()).map(connection).collect(),
            routes: cache.routes.clone(),
            profile: Arc::clone(&cache.profile),
            registry: cache.registry(place),
            mirrored: Vec::new(),
            graphs: BTreeSet::new(),
            prepared: BTreeMap::new(),
            safety: cache.safety.clone(),
            cleared: BTreeMap::new(),
            looks: Looks::default(),
        }
    }

    fn first(&mut self) -> &mut Connection {
        &mut self.lanes[0]
    }

    fn key(&self, graph: &GraphName) -> String {
        self.registry.place().graph_key(graph)
    }

    async fn listed(&mut self) -> Result<BTreeSet<GraphName>> {
        self.registry.graphs(&mut self.lanes[0]).await
    }

    /// Graphs that are listed and not there.
    async fn gone(&mut self, graphs: &BTreeSet<GraphName>) -> Result<BTreeSet<GraphName>> {
        let mut pipeline = Pipeline::new();
        for graph in graphs {
            pipeline.add_command(cmd("TYPE").arg(self.key(graph)).to_owned());
        }
        self.first().wake().await;
        let answers = self.first().pipeline("look for the graphs", &pipeline, COMMAND_TIMEOUT).await?;
        let mut gone = BTreeSet::new();
        for (graph, answer) in graphs.iter().zip(answers) {
            match reply::text(&answer?)?.as_str() {
                graph::GRAPH_TYPE => {}
                "none" => drop(gone.insert(graph.clone())),
                other => {
                    let message = format!("the key '{}' exists and is not a graph but a {other}", self.key(graph));
                    return Err(Error::new(ErrorKind::CacheWrongType, message));
                }
            }
        }
        Ok(gone)
    }

    async fn ensure(&mut self, graph: &GraphName) -> Result<IndexReport> {
        let key = self.key(graph);
        let policy = self.safety.policy(&mut self.lanes[0]).await?;
        let wanted = Wanted { own: &self.profile.indexes, mirrored: &self.mirrored, profile: &self.profile, policy };
        let report = schema::ensure(&mut self.lanes[0], &key, self.registry.ownership(), wanted, INDEX_DEADLINE).await?;
        // What was done is told once, what stands as long as it does.
        let (made, dropped, refused) = (Vec::new(), Vec::new(), Vec::new());
        self.prepared.insert(graph.clone(), IndexReport { made, dropped, refused, from_nothing: false, ..report.clone() });
        Ok(report)
    }

    /// What was cleared with a graph that is filled again. Returns what it goes without, and why.
    async fn make_what_was_cleared(&mut self, graph: &GraphName) -> Result<Vec<String>> {
        let Some(cleared) = self.cleared.remove(graph) else { return Ok(Vec::new()) };
        self.prepared.remove(graph);
        let policy = self.safety.policy(&mut self.lanes[0]).await?;
        let (key, ownership) = (self.key(graph), self.registry.ownership());
        cleared.make_again(&mut self.lanes[0], &key, ownership, &self.profile, policy).await
    }

    /// Makes the graphs of new groups; what is meant for a graph that is not ours is refused.
    async fn admit(&mut self, parts: &mut Parts, applied: &mut Applied) -> Result<()> {
        let new: Vec<GraphName> = parts.keys().filter(|graph| !self.graphs.contains(*graph)).cloned().collect();
        for graph in new {
            if let Err(foreign) = self.registry.claim(&mut self.lanes[0], &graph).await? {
                let part = parts.remove(&graph).unwrap_or_default();
                applied.refused.extend(split::refuse(&part, &foreign.to_string()));
                continue;
            }
            self.ensure(&graph).await?;
            self.registry.add(&mut self.lanes[0], &graph).await?;
            tracing::info!(graph = graph.as_str(), "a group's graph is made");
            self.graphs.insert(graph);
        }
        Ok(())
    }

    async fn remove(&mut self, graph: &GraphName) -> Result<()> {
        self.registry.remove(&mut self.lanes[0], graph).await?;
        tracing::info!(graph = graph.as_str(), "a group's graph is empty and deleted");
        self.graphs.remove(graph);
        self.prepared.remove(graph);
        Ok(())
    }

    /// Applies each part to its graph, on all connections at once, and returns the graphs that deletes have emptied.
    async fn apply_parts(&mut self, parts: Parts, applied: &mut Applied) -> Result<Vec<GraphName>> {
        let mut queues: Vec<Vec<(GraphName, String, PreparedRows)>> = self.lanes.iter().map(|_| Vec::new()).collect();
        let lanes = queues.len();
        for (number, (graph, part)) in parts.into_iter().enumerate() {
            let key = self.key(&graph);
            queues[number % lanes].push((graph, key, part));
        }
        let (profile, ownership) = (&self.profile, self.registry.ownership());
        let work =
            self.lanes.iter_mut().zip(queues).map(|(connection, queue)| apply_queue(connection, ownership, profile, queue));
        let mut emptied = Vec::new();
        for (graph, of_part, is_empty) in try_join_all(work).await?.into_iter().flatten() {
            add(applied, of_part);
            emptied.extend(is_empty.then_some(graph));
        }
        Ok(emptied)
    }
}

/// What became of each part, and whether its graph is empty now.
async fn apply_queue(
    connection: &mut Connection,
    ownership: &Ownership,
    profile: &Profile,
    queue: Vec<(GraphName, String, PreparedRows)>,
) -> Result<Vec<(GraphName, Applied, bool)>> {
    let mut outcomes = Vec::with_capacity(queue.len());
    for (graph, key, part) in queue {
        let applied = upsert::apply(connection, &key, ownership, profile, &part).await?;
        let is_empty = applied.nodes_deleted > 0 && graph::node_count(connection, &key).await? == 0;
        outcomes.push((graph, applied, is_empty));
    }
    Ok(outcomes)
}

fn add(sum: &mut Applied, part: Applied) {
    sum.nodes_written += part.nodes_written;
    sum.relationships_written += part.relationships_written;
    sum.nodes_deleted += part.nodes_deleted;
    sum.relationships_deleted += part.relationships_deleted;
    sum.labels_removed += part.labels_removed;
    sum.absent_endpoints.extend(part.absent_endpoints);
    sum.refused.extend(part.refused);
}

fn add_report(sum: &mut IndexReport, graph: &GraphName, part: IndexReport) {
    let of_graph = |list: Vec<String>| list.into_iter().map(|index| format!("{graph}: {index}")).collect::<Vec<_>>();
    sum.made.extend(part.made);
    sum.refused.extend(part.refused);
    sum.foreign.extend(of_graph(part.foreign));
    sum.unsafe_ones.extend(of_graph(part.unsafe_ones));
    sum.dropped.extend(of_graph(part.dropped));
    sum.constraints.extend(of_graph(part.constraints));
    sum.lost.extend(of_graph(part.lost));
    // The same in each graph.
    sum.left_out = part.left_out;
}

fn add_counts(sum: &mut Counts, part: Counts) {
    sum.nodes += part.nodes;
    sum.relationships += part.relationships;
    sum.kinds.iter_mut().zip(part.kinds).for_each(|(sum, part)| *sum += part);
    part.labels.into_iter().for_each(|(label, count)| *sum.labels.entry(label).or_default() += count);
    part.types.into_iter().for_each(|(name, count)| *sum.types.entry(name).or_default() += count);
}

#[async_trait]
impl Sink for RoutedSink {
    async fn identify(&mut self) -> Result<CacheServer> {
        server::identify(self.first()).await
    }

    /// There as long as none of the pipeline's graphs is missing: a source without groups has no graph at all.
    async fn state(&mut self) -> Result<GraphState> {
        let graphs = self.listed().await?;
        Ok(if self.gone(&graphs).await?.is_empty() { GraphState::Present } else { GraphState::Missing })
    }

    async fn prepare(&mut self) -> Result<IndexReport> {
        self.graphs = self.listed().await?;
        for graph in self.safety.take_disturbed() {
            self.prepared.remove(&graph);
        }
        let graphs = self.graphs.clone();
        let gone = self.gone(&graphs).await?;
        let mut report = IndexReport { from_nothing: !gone.is_empty(), ..IndexReport::default() };
        for graph in graphs.difference(&gone) {
            let lost = self.make_what_was_cleared(graph).await?;
            report.lost.extend(lost.into_iter().map(|what| format!("{graph}: {what}")));
            if let Some(known) = self.prepared.get(graph) {
                add_report(&mut report, graph, known.clone());
                continue;
            }
            let key = self.key(graph);
            // One that was emptied just before its end.
            if graph::node_count(self.first(), &key).await? == 0 {
                self.remove(graph).await?;
                continue;
            }
            let of_graph = self.ensure(graph).await?;
            report.from_nothing |= of_graph.from_nothing;
            add_report(&mut report, graph, of_graph);
        }
        Ok(report)
    }

    async fn make_indices(&mut self, _: &[IndexTarget]) -> Result<()> {
        // Each graph has all of its indices from the beginning.
        Ok(())
    }

    async fn mirror(&mut self, indexes: &[IndexDefinition]) -> Result<IndexReport> {
        if self.mirrored != indexes {
            self.mirrored = indexes.to_vec();
            self.prepared.clear();
        }
        let report = self.prepare().await?;
        // What was refused once is not tried again with every pass.
        self.mirrored.retain(|definition| !report.refused.contains(&schema::statement(definition)));
        Ok(report)
    }

    async fn indexes(&mut self) -> Result<IndexReport> {
        let policy = self.safety.policy(&mut self.lanes[0]).await?;
        let mut report = IndexReport::default();
        for graph in self.listed().await? {
            let key = self.key(&graph);
            let wanted = Wanted { own: &self.profile.indexes, mirrored: &self.mirrored, profile: &self.profile, policy };
            let of_graph = inspection::look(&mut self.lanes[0], &key, wanted).await?;
            add_report(&mut report, &graph, of_graph);
        }
        Ok(report)
    }

    async fn disturbing_indexes(&mut self) -> Result<BTreeSet<String>> {
        let policy = self.safety.known_policy();
        if policy != Some(UnsafeIndexes::Drop) {
            return Ok(BTreeSet::new());
        }
        let graphs = self.listed().await?;
        for graph in self.looks.next(&graphs) {
            let key = self.key(&graph);
            let wanted = Wanted { own: &self.profile.indexes, mirrored: &self.mirrored, profile: &self.profile, policy };
            let found = inspection::disturbing(&mut self.lanes[0], &key, wanted).await?;
            if !found.is_empty() {
                self.safety.note_disturbed(graph.clone());
            }
            self.looks.note(graph, found);
        }
        Ok(self.looks.found())
    }

    async fn unsafe_indexes(&mut self) -> Result<Option<UnsafeIndexes>> {
        self.safety.policy(&mut self.lanes[0]).await
    }

    /// Of all graphs together: a name is refused where it might be one too many for one of them.
    async fn property_names(&mut self) -> Result<Vec<String>> {
        let mut names = BTreeSet::new();
        for graph in self.listed().await? {
            let key = self.key(&graph);
            names.extend(graph::property_names(&mut self.lanes[0], &key).await?);
        }
        Ok(names.into_iter().collect())
    }

    async fn clear(&mut self) -> Result<bool> {
        let graphs = self.listed().await?;
        for graph in &graphs {
            let key = self.key(graph);
            let found = Furniture::of(&mut self.lanes[0], &key).await?;
            if !found.is_empty() {
                self.cleared.insert(graph.clone(), found);
            }
            self.remove(graph).await?;
        }
        Ok(!graphs.is_empty())
    }

    async fn apply(&mut self, rows: &PreparedRows) -> Result<Applied> {
        let mut applied = Applied::default();
        let mut parts = split::split(rows, &self.routes, &mut applied.refused);
        self.admit(&mut parts, &mut applied).await?;
        split::delete_everywhere(&mut parts, rows, &self.graphs);
        if rows.repairs {
            split::delete_elsewhere(&mut parts, &self.graphs);
        }
        for graph in self.apply_parts(parts, &mut applied).await? {
            self.remove(&graph).await?;
        }
        Ok(applied)
    }

    async fn counts(&mut self) -> Result<Counts> {
        let mut sum = Counts { kinds: vec![0; self.profile.nodes.len()], ..Counts::default() };
        for graph in self.listed().await? {
            let key = self.key(&graph);
            let part = graph::counts(&mut self.lanes[0], &key, &self.profile).await?;
            add_counts(&mut sum, part);
        }
        Ok(sum)
    }
}
