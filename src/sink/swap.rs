//! Replaces the live version by the stage, and rolls back.
//!
//! All graphs of the pipeline move together, with the checkpoint and the quarantine, in one transaction. It happens only while
//! this process owns them and none of the keys has changed since they were read. `RENAME` takes indices along, and readers of an
//! old graph finish on it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, Pipeline, cmd};

use super::carry_over::carry_over;
use super::connection::CacheConnection;
use super::engine::EngineSigns;
use super::fence::{ATTEMPTS, keeps_changing, require_owned, transaction, unwatch};
use super::graph_set::GraphSet;
use super::keys::{GraphKeys, GraphRole};
use super::permissions::missing_permissions;
use super::pipeline_graphs::{PipelineGraphs, taken};
use super::swap_commands::{GraphVersion, GraphVersions, SwapCommands, has_type};
use super::{BulkUse, Swap, reply};
use crate::error::{Error, ErrorKind, Result};
use crate::model::graph_name::GraphName;
use crate::model::profile::Profile;

/// The time limit of a swap: it takes milliseconds, but may wait for a query that is committing.
const SWAP_TIMEOUT: Duration = Duration::from_secs(30);

/// The result of a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swapped {
    /// The stage is the live version now.
    Done,
    /// There was no stage: it was swapped before, or never made. The live checkpoint shows which.
    NothingStaged,
}

/// The versions that a swap reads.
const VERSIONS: [GraphRole; 3] = [GraphRole::Live, GraphRole::Stage, GraphRole::Previous];

/// The graphs of a pipeline, and a connection for swapping them.
#[derive(Debug)]
pub struct GraphSwap {
    connection: CacheConnection,
    graphs: GraphSet,
    moves: SwapCommands,
}

impl GraphSet {
    /// Returns a connection that swaps the roles of these graphs.
    pub fn swap(&self) -> GraphSwap {
        GraphSwap::new(self)
    }
}

impl GraphSwap {
    /// Graphs that this process owns.
    pub(super) fn new(graphs: &GraphSet) -> Self {
        Self {
            connection: CacheConnection::new(graphs.address.clone()),
            moves: SwapCommands::new(graphs.name().clone(), graphs.routing.clone()),
            graphs: graphs.clone(),
        }
    }

    /// Watches the fence and the keys, and returns the versions that exist.
    async fn look(&mut self, doing: &str) -> Result<GraphVersions> {
        let beside: Vec<String> = VERSIONS.into_iter().flat_map(|role| self.moves.all_beside(role)).collect();
        require_owned(&mut self.connection, doing, &self.graphs.ownership, &beside, SWAP_TIMEOUT).await?;
        let live = self.members(GraphRole::Live).await?;
        let stage = self.members(GraphRole::Stage).await?;
        let previous = self.members(GraphRole::Previous).await?;
        let key = |role| move |graph: &GraphName| GraphKeys::of(graph).graph(role);
        let names = live.union(&stage).map(key(GraphRole::Live));
        let others = stage.iter().map(key(GraphRole::Stage)).chain(previous.iter().map(key(GraphRole::Previous)));
        let markers = stage.difference(&live).map(|graph| GraphKeys::of(graph).marker());
        let watched: Vec<String> = names.chain(others).chain(markers).collect();
        let types = self.types(doing, &watched, &beside).await?;
        let blocked = stage.difference(&live).filter(|graph| types.contains_key(graph.as_str())).cloned().collect();
        let version = |role, graphs| GraphVersion::found(&self.moves, role, graphs, &types);
        Ok(GraphVersions {
            live: version(GraphRole::Live, live)?,
            stage: version(GraphRole::Stage, stage)?,
            previous: version(GraphRole::Previous, previous)?,
            blocked,
        })
    }

    async fn members(&mut self, role: GraphRole) -> Result<BTreeSet<GraphName>> {
        PipelineGraphs::new(&self.graphs, role).all(&mut self.connection).await
    }

    /// Watches some keys, and returns the types of these and others. A missing key has no type.
    async fn types(&mut self, doing: &str, watched: &[String], others: &[String]) -> Result<BTreeMap<String, String>> {
        let mut pipeline = Pipeline::new();
        if !watched.is_empty() {
            pipeline.add_command(cmd("WATCH").arg(watched).to_owned());
        }
        for key in watched.iter().chain(others) {
            pipeline.add_command(cmd("TYPE").arg(key).to_owned());
        }
        let mut answers = self.connection.pipeline(doing, &pipeline, SWAP_TIMEOUT).await?.into_iter();
        if !watched.is_empty() {
            answers.next().transpose()?;
        }
        let mut types = BTreeMap::new();
        for (key, answer) in watched.iter().chain(others).zip(answers) {
            types.insert(key.clone(), reply::text(&answer?)?);
        }
        types.retain(|_, found| found != "none");
        Ok(types)
    }

    /// Returns why a stage cannot take its name, if something that is not empty and not the pipeline's has taken it in the
    /// meantime.
    async fn obstacle(&mut self, versions: &GraphVersions) -> Result<Option<String>> {
        for graph in &versions.blocked {
            if let Err(foreign) = taken(&mut self.connection, self.graphs.name(), graph).await? {
                return Ok(Some(foreign.to_string()));
            }
        }
        Ok(None)
    }

    async fn carry_out(&mut self, doing: &str, commands: Vec<Cmd>) -> Result<bool> {
        Ok(transaction(&mut self.connection, doing, commands, SWAP_TIMEOUT).await?.is_some())
    }

    async fn unwatch(&mut self, doing: &str) -> Result<()> {
        unwatch(&mut self.connection, doing, SWAP_TIMEOUT).await
    }
}

#[async_trait]
impl Swap for GraphSwap {
    async fn is_staged(&mut self) -> Result<bool> {
        let signs = self.moves.signs_of_a_stage();
        let keys: Vec<String> = signs.iter().map(|(key, _)| key.clone()).collect();
        let types = self.types("find the stage", &[], &keys).await?;
        let there = signs.iter().map(|sign| has_type(&types, sign)).collect::<Result<Vec<_>>>()?;
        Ok(there.contains(&true))
    }

    async fn carry_over(&mut self, profile: &Profile) -> Result<Vec<String>> {
        let live = self.members(GraphRole::Live).await?;
        let stage = self.members(GraphRole::Stage).await?;
        let mut lost = Vec::new();
        for graph in live.intersection(&stage) {
            let keys = GraphKeys::of(graph);
            let (from, to) = (keys.graph(GraphRole::Live), keys.graph(GraphRole::Stage));
            let of_graph = carry_over(&mut self.connection, &from, &to, &self.graphs.ownership, profile).await?;
            lost.extend(of_graph.into_iter().map(|what| self.graphs.routing.said_of(graph, what)));
        }
        Ok(lost)
    }

    async fn swap(&mut self, keep_previous: bool) -> Result<Swapped> {
        let doing = "swap the stage in";
        for _ in 0..ATTEMPTS {
            let versions = self.look(doing).await?;
            if !versions.stage.is_whole() {
                self.unwatch(doing).await?;
                let absent = versions.stage.is_absent();
                return if absent { Ok(Swapped::NothingStaged) } else { Err(self.moves.not_whole(&versions.stage)) };
            }
            if let Some(reason) = self.obstacle(&versions).await? {
                self.unwatch(doing).await?;
                return Err(Error::new(ErrorKind::SwapRefused, reason));
            }
            let commands = self.moves.swap(&versions, keep_previous);
            if self.carry_out(doing, commands).await? {
                return Ok(Swapped::Done);
            }
        }
        Err(keeps_changing(doing, self.graphs.name().as_str()))
    }

    /// The pause is set in the same step: otherwise the next pass would undo the rollback.
    async fn rollback(&mut self, pause: &str) -> Result<()> {
        let doing = "roll back to the previous graph";
        for _ in 0..ATTEMPTS {
            let versions = self.look(doing).await?;
            if !versions.previous.is_whole() {
                self.unwatch(doing).await?;
                let message = format!("cannot roll back {}: no previous version with its checkpoint exists", self.graphs.name());
                return Err(Error::new(ErrorKind::Configuration, message));
            }
            let mut commands = self.moves.rollback(&versions);
            commands.push(cmd("SET").arg(self.graphs.keys().pause()).arg(pause).to_owned());
            if self.carry_out(doing, commands).await? {
                return Ok(());
            }
        }
        Err(keeps_changing(doing, self.graphs.name().as_str()))
    }

    async fn drop_stage(&mut self) -> Result<()> {
        let doing = "drop the stage";
        for _ in 0..ATTEMPTS {
            let versions = self.look(doing).await?;
            if self.carry_out(doing, self.moves.discard(&versions.stage)).await? {
                return Ok(());
            }
        }
        Err(keeps_changing(doing, self.graphs.name().as_str()))
    }

    /// The stages of groups are filled by parameters, so they do not need GRAPH.BULK.
    async fn check(&mut self) -> Result<BulkUse> {
        EngineSigns::of(&mut self.connection).await?.engine().require_safe_rename()?;
        let missing = missing_permissions(&mut self.connection, self.graphs.name()).await?;
        let (bulk, others): (Vec<_>, Vec<_>) = missing.into_iter().partition(|name| *name == "GRAPH.BULK");
        if !others.is_empty() {
            let message = format!(
                "the FalkorDB user is not allowed to run {}; full_sync.strategy: in_place does not require it",
                others.join(", ")
            );
            return Err(Error::new(ErrorKind::CachePermission, message));
        }
        let may_fill = bulk.is_empty() || self.graphs.routing.is_by_group();
        Ok(if may_fill { BulkUse::Allowed } else { BulkUse::Refused })
    }
}
