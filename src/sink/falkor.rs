//! The sink that is a set of FalkorDB graphs. To its callers they are one cache: counts add up, and a deleted element is deleted
//! from every graph that has it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::try_join_all;

use super::applied::ApplyResult;
use super::carry_over::SchemaObjects;
use super::connection::CacheConnection;
use super::fence::Ownership;
use super::graph::{self, Counts, GraphState};
use super::graph_rotation::GraphRotation;
use super::graph_set::GraphSet;
use super::index_plan::IndexPlan;
use super::index_report::IndexReport;
use super::index_sweep::IndexSweep;
use super::keys::GraphRole;
use super::pipeline_graphs::PipelineGraphs;
use super::routing::{self, GraphBatches, Routing};
use super::safety::UnsafeIndexCheck;
use super::schema::{self, INDEX_DEADLINE};
use super::server::{self, CacheServer};
use super::{Sink, inspection, lost_content, upsert};
use crate::error::Result;
use crate::model::graph_name::GraphName;
use crate::model::index::{IndexDefinition, UnsafeIndexPolicy};
use crate::model::prepared::PreparedRows;
use crate::model::profile::Profile;
use crate::retry::Attempts;

/// The most graphs whose nodes are counted in one round trip, which has a time limit.
const COUNTED_TOGETHER: usize = 100;

/// The graphs of a pipeline in one role, and the connections that write them: one, or several for the graphs of groups.
#[derive(Debug)]
pub struct FalkorSink {
    lanes: Vec<CacheConnection>,
    ownership: Ownership,
    routing: Routing,
    members: PipelineGraphs,
    plan: IndexPlan,
    /// The pipeline's graphs. Only this sink makes or deletes them.
    graphs: BTreeSet<GraphName>,
    /// The graphs of groups whose indices were checked, each with the result of the check.
    prepared: BTreeMap<GraphName, IndexReport>,
    /// The graphs of groups that this sink has prepared and not removed: they hold nodes.
    kept: BTreeSet<GraphName>,
    /// The foreign indices and constraints of graphs that were cleared, until they are made again.
    cleared: BTreeMap<GraphName, SchemaObjects>,
    sweep: IndexSweep,
    /// The graphs that were last asked whether they hold nodes.
    looked_at: GraphRotation,
}

impl GraphSet {
    /// Writes the graphs of a role.
    pub fn sink(&self, role: GraphRole) -> FalkorSink {
        FalkorSink::new(self, role)
    }
}

impl FalkorSink {
    /// Graphs that are written only while this process owns them, on separate connections that are made at the first use.
    pub(super) fn new(graphs: &GraphSet, role: GraphRole) -> Self {
        Self {
            lanes: (0..graphs.lanes()).map(|_| CacheConnection::new(graphs.address.clone())).collect(),
            ownership: graphs.ownership.clone(),
            routing: graphs.routing.clone(),
            members: PipelineGraphs::new(graphs, role),
            plan: IndexPlan::new(Arc::clone(&graphs.profile), graphs.safety.clone()),
            graphs: graphs.routing.known(),
            prepared: BTreeMap::new(),
            kept: BTreeSet::new(),
            cleared: BTreeMap::new(),
            sweep: IndexSweep::default(),
            looked_at: GraphRotation::default(),
        }
    }

    /// Refuses to continue on a server that was restarted after the first use.
    pub(crate) fn of_one_life(self) -> Self {
        Self { lanes: self.lanes.into_iter().map(CacheConnection::of_one_life).collect(), ..self }
    }

    /// The same sink with this treatment of unsafe indices.
    pub fn guarded(self, safety: UnsafeIndexCheck) -> Self {
        Self { plan: self.plan.guarded(safety), ..self }
    }

    async fn members(&mut self) -> Result<BTreeSet<GraphName>> {
        self.members.all(&mut self.lanes[0]).await
    }

    /// Whether the indices of a graph are checked only once. A pipeline may have thousands of graphs.
    fn remembers_indices(&self) -> bool {
        self.routing.is_by_group()
    }

    /// Makes the indices of a graph, and the graph if it is missing.
    async fn ensure(&mut self, graph: &GraphName) -> Result<IndexReport> {
        let key = self.members.key(graph);
        let policy = self.plan.policy(&mut self.lanes[0]).await?;
        let wanted = self.plan.wanted(policy);
        let report = schema::ensure(&mut self.lanes[0], &key, &self.ownership, wanted, INDEX_DEADLINE).await?;
        if self.remembers_indices() {
            self.prepared.insert(graph.clone(), report.lasting());
            self.kept.insert(graph.clone());
        }
        Ok(report)
    }

    /// Prepares a graph of the pipeline. Absent if the graph is missing, or is empty and removed, as only graphs of groups are.
    async fn prepare_graph(&mut self, graph: &GraphName, is_there: bool) -> Result<Option<IndexReport>> {
        if !is_there {
            return if self.routing.is_by_group() { Ok(None) } else { self.ensure(graph).await.map(Some) };
        }
        let lost = self.make_what_was_cleared(graph).await?;
        if let Some(known) = self.prepared.get(graph) {
            return Ok(Some(IndexReport { lost, ..known.clone() }));
        }
        if self.routing.is_by_group() && self.node_count(graph).await? == 0 {
            if self.kept.contains(graph) {
                // It stays as the sign of this for the next launch.
                return Err(lost_content());
            }
            // It was emptied just before its removal.
            self.remove(graph).await?;
            return Ok(None);
        }
        let report = self.ensure(graph).await?;
        Ok(Some(IndexReport { lost, ..report }))
    }

    /// Makes what was cleared with a graph again, once it is refilled: each index slows the filling, and a constraint is checked
    /// before it is made. Returns what the graph goes without, and why.
    async fn make_what_was_cleared(&mut self, graph: &GraphName) -> Result<Vec<String>> {
        if !self.cleared.contains_key(graph) || self.node_count(graph).await? == 0 {
            return Ok(Vec::new());
        }
        let Some(cleared) = self.cleared.remove(graph) else { return Ok(Vec::new()) };
        self.prepared.remove(graph);
        let key = self.members.key(graph);
        let policy = self.plan.policy(&mut self.lanes[0]).await?;
        cleared.make_again(&mut self.lanes[0], &key, &self.ownership, self.plan.profile(), policy).await
    }

    async fn node_count(&mut self, graph: &GraphName) -> Result<u64> {
        let key = self.members.key(graph);
        graph::node_count(&mut self.lanes[0], &key).await
    }

    async fn node_counts(&mut self, graphs: &[GraphName]) -> Result<Vec<Option<u64>>> {
        let keys: Vec<String> = graphs.iter().map(|graph| self.members.key(graph)).collect();
        graph::node_counts(&mut self.lanes[0], &keys).await
    }

    /// Makes the graphs of new groups; refuses rows for a graph that is not ours.
    async fn admit(&mut self, parts: &mut GraphBatches<'_>, applied: &mut ApplyResult) -> Result<()> {
        let new: Vec<GraphName> = parts.keys().filter(|graph| !self.graphs.contains(*graph)).cloned().collect();
        for graph in new {
            if let Err(foreign) = self.members.claim(&mut self.lanes[0], &graph).await? {
                let part = parts.remove(&graph).unwrap_or_default();
                applied.refused.extend(routing::refuse(&part, &foreign.to_string()));
                continue;
            }
            self.ensure(&graph).await?;
            self.members.add(&mut self.lanes[0], &graph).await?;
            tracing::info!(graph = graph.as_str(), "graph of a group created");
            self.graphs.insert(graph);
        }
        Ok(())
    }

    /// Deletes a graph, and returns whether it existed. After that, a group's graph no longer belongs to the pipeline.
    async fn remove(&mut self, graph: &GraphName) -> Result<bool> {
        let was_there = self.members.remove(&mut self.lanes[0], graph).await?;
        self.prepared.remove(graph);
        self.kept.remove(graph);
        if self.routing.is_by_group() {
            tracing::info!(graph = graph.as_str(), "empty graph of a group deleted");
            self.graphs.remove(graph);
        }
        Ok(was_there)
    }

    async fn apply_once(&mut self, rows: &PreparedRows) -> Result<ApplyResult> {
        let mut applied = ApplyResult::default();
        let mut parts = self.routing.split(rows, &mut applied.refused);
        self.admit(&mut parts, &mut applied).await?;
        self.routing.add_deletes(&mut parts, rows, &self.graphs);
        for graph in self.apply_parts(parts, &mut applied).await? {
            self.remove(&graph).await?;
        }
        Ok(applied)
    }

    /// Applies each part to its graph, on all connections at once. Returns the graphs of groups that deletes have emptied.
    async fn apply_parts(&mut self, parts: GraphBatches<'_>, applied: &mut ApplyResult) -> Result<Vec<GraphName>> {
        let mut queues: Vec<Vec<GraphBatch<'_>>> = self.lanes.iter().map(|_| Vec::new()).collect();
        let lanes = queues.len();
        for (number, (graph, rows)) in parts.into_iter().enumerate() {
            let key = self.members.key(&graph);
            queues[number % lanes].push(GraphBatch { graph, key, rows });
        }
        let (profile, ownership, may_end) = (self.plan.profile(), &self.ownership, self.routing.is_by_group());
        let work = self
            .lanes
            .iter_mut()
            .zip(queues)
            .map(|(connection, queue)| apply_queue(connection, ownership, profile, queue, may_end));
        let mut emptied = Vec::new();
        for (graph, of_part, is_empty) in try_join_all(work).await?.into_iter().flatten() {
            applied.add(of_part);
            emptied.extend(is_empty.then_some(graph));
        }
        Ok(emptied)
    }
}

/// The part of a batch for one graph.
struct GraphBatch<'a> {
    graph: GraphName,
    key: String,
    rows: Cow<'a, PreparedRows>,
}

/// Returns the outcome of each part, and whether its graph is empty now, if an empty graph may be removed.
async fn apply_queue(
    connection: &mut CacheConnection,
    ownership: &Ownership,
    profile: &Profile,
    queue: Vec<GraphBatch<'_>>,
    may_end: bool,
) -> Result<Vec<(GraphName, ApplyResult, bool)>> {
    let mut outcomes = Vec::with_capacity(queue.len());
    for GraphBatch { graph, key, rows } in queue {
        let applied = upsert::apply(connection, &key, ownership, profile, &rows).await?;
        let is_empty = may_end && applied.nodes_deleted > 0 && graph::node_count(connection, &key).await? == 0;
        outcomes.push((graph, applied, is_empty));
    }
    Ok(outcomes)
}

#[async_trait]
impl Sink for FalkorSink {
    async fn identify(&mut self) -> Result<CacheServer> {
        server::identify(&mut self.lanes[0]).await
    }

    /// Present if none of the pipeline's graphs is missing: a source without groups has no graph at all.
    async fn state(&mut self) -> Result<GraphState> {
        let graphs = self.members().await?;
        let gone = self.members.gone(&mut self.lanes[0], &graphs).await?;
        Ok(if gone.is_empty() { GraphState::Present } else { GraphState::Missing })
    }

    async fn populated(&mut self) -> Result<BTreeMap<GraphName, bool>> {
        let graphs = self.members().await?;
        let next = self.looked_at.next(&graphs, COUNTED_TOGETHER);
        let counts = self.node_counts(&next).await?;
        Ok(next.into_iter().zip(counts).filter_map(|(graph, count)| Some((graph, count? > 0))).collect())
    }

    async fn has_empty_graph(&mut self) -> Result<bool> {
        let graphs: Vec<GraphName> = self.members().await?.into_iter().collect();
        for some in graphs.chunks(COUNTED_TOGETHER) {
            if self.node_counts(some).await?.contains(&Some(0)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn prepare(&mut self) -> Result<IndexReport> {
        self.graphs = self.members().await?;
        if self.remembers_indices() {
            for graph in self.plan.take_disturbed() {
                self.prepared.remove(&graph);
            }
        }
        let graphs = self.graphs.clone();
        let gone = self.members.gone(&mut self.lanes[0], &graphs).await?;
        let mut report = IndexReport::default();
        for graph in &graphs {
            match self.prepare_graph(graph, !gone.contains(graph)).await? {
                Some(of_graph) => report.add(&self.routing, graph, of_graph),
                None => report.from_nothing |= gone.contains(graph),
            }
        }
        Ok(report)
    }

    async fn mirror(&mut self, indexes: &[IndexDefinition]) -> Result<IndexReport> {
        if self.plan.mirror(indexes) {
            self.prepared.clear();
        }
        let report = self.prepare().await?;
        self.plan.give_up(&report.refused);
        Ok(report)
    }

    async fn indexes(&mut self) -> Result<IndexReport> {
        let policy = self.plan.policy(&mut self.lanes[0]).await?;
        let mut report = IndexReport::default();
        for graph in self.members().await? {
            let key = self.members.key(&graph);
            let of_graph = inspection::look(&mut self.lanes[0], &key, self.plan.wanted(policy)).await?;
            report.add(&self.routing, &graph, of_graph);
        }
        Ok(report)
    }

    async fn disturbing_indexes(&mut self) -> Result<BTreeSet<String>> {
        let policy = self.plan.known_policy();
        if policy != Some(UnsafeIndexPolicy::Drop) {
            return Ok(BTreeSet::new());
        }
        let graphs = self.members().await?;
        for graph in self.sweep.next(&graphs) {
            let key = self.members.key(&graph);
            let found = inspection::disturbing(&mut self.lanes[0], &key, self.plan.wanted(policy)).await?;
            if self.remembers_indices() && !found.is_empty() {
                self.plan.note_disturbed(graph.clone());
            }
            self.sweep.note(graph, found);
        }
        Ok(self.sweep.found(&self.routing))
    }

    async fn busy_threshold(&mut self) -> Result<Option<Duration>> {
        server::busy_threshold(&mut self.lanes[0]).await
    }

    async fn unsafe_indexes(&mut self) -> Result<Option<UnsafeIndexPolicy>> {
        self.plan.policy(&mut self.lanes[0]).await
    }

    /// The names of all graphs together: a name is refused if it might exceed the limit of one of them.
    async fn property_names(&mut self) -> Result<Vec<String>> {
        let mut names = BTreeSet::new();
        for graph in self.members().await? {
            let key = self.members.key(&graph);
            names.extend(graph::property_names(&mut self.lanes[0], &key).await?);
        }
        Ok(names.into_iter().collect())
    }

    async fn clear(&mut self) -> Result<bool> {
        let mut was_any = false;
        for graph in self.members().await? {
            let key = self.members.key(&graph);
            let found = SchemaObjects::of(&mut self.lanes[0], &key).await?;
            if !found.is_empty() {
                self.cleared.insert(graph.clone(), found);
            }
            was_any |= self.remove(&graph).await?;
        }
        Ok(was_any)
    }

    /// A driver's own retry does not help after a lost reply: the whole batch is repeated, which does no harm.
    async fn apply(&mut self, rows: &PreparedRows) -> Result<ApplyResult> {
        let mut attempts = Attempts::default();
        loop {
            match self.apply_once(rows).await {
                Err(error) => attempts.after(error).await?,
                applied => return applied,
            }
        }
    }

    async fn counts(&mut self) -> Result<Counts> {
        let mut sum = Counts::nothing(self.plan.profile());
        for graph in self.members().await? {
            let key = self.members.key(&graph);
            sum.add(graph::counts(&mut self.lanes[0], &key, self.plan.profile()).await?);
        }
        Ok(sum)
    }
}
