//! The moment in which the stage of each group becomes its live graph, and the way back: all of them in one transaction.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, Pipeline, cmd};

use super::RoutedCache;
use super::registry::{listed, mark, taken};
use crate::error::{Error, ErrorKind, Result};
use crate::model::graph_name::GraphName;
use crate::model::profile::Profile;
use crate::sink::carry_over::carry_over;
use crate::sink::connection::Connection;
use crate::sink::engine::EngineSigns;
use crate::sink::graph::{self, GRAPH_TYPE};
use crate::sink::keys::{GraphKeys, GraphRole};
use crate::sink::ownership::{ATTEMPTS, Ownership, keeps_changing, require_owned, transaction, unwatch};
use crate::sink::permissions::missing_permissions;
use crate::sink::swap::Swapped;
use crate::sink::{BulkUse, Swap, reply};

/// How long a swap may take: milliseconds, but it may wait for a query that is committing.
const SWAP_TIMEOUT: Duration = Duration::from_secs(30);

/// What a pipeline has once: the list of its graphs, its checkpoint, its quarantine.
struct Beside {
    graphs: String,
    checkpoint: String,
    quarantine: String,
}

impl Beside {
    fn live(control: &GraphName) -> Self {
        Self {
            graphs: GraphKeys::of(control).groups(GraphRole::Live),
            checkpoint: GraphKeys::of(control).checkpoint(GraphRole::Live),
            quarantine: GraphKeys::of(control).quarantine(GraphRole::Live),
        }
    }

    fn stage(control: &GraphName) -> Self {
        Self {
            graphs: GraphKeys::of(control).groups(GraphRole::Stage),
            checkpoint: GraphKeys::of(control).checkpoint(GraphRole::Stage),
            quarantine: GraphKeys::of(control).quarantine(GraphRole::Stage),
        }
    }

    fn previous(control: &GraphName) -> Self {
        Self {
            graphs: GraphKeys::of(control).groups(GraphRole::Previous),
            checkpoint: GraphKeys::of(control).checkpoint(GraphRole::Previous),
            quarantine: GraphKeys::of(control).quarantine(GraphRole::Previous),
        }
    }

    fn exchange(control: &GraphName) -> Self {
        Self {
            graphs: GraphKeys::of(control).groups(GraphRole::Exchange),
            checkpoint: GraphKeys::of(control).checkpoint(GraphRole::Exchange),
            quarantine: GraphKeys::of(control).quarantine(GraphRole::Exchange),
        }
    }

    fn keys(&self) -> [&String; 3] {
        [&self.graphs, &self.checkpoint, &self.quarantine]
    }
}

/// The graphs of each place, and which of the keys are there.
struct Standing {
    live: BTreeSet<GraphName>,
    stage: BTreeSet<GraphName>,
    previous: BTreeSet<GraphName>,
    present: BTreeSet<String>,
}

impl Standing {
    fn moves(&self, from: &Beside, to: &Beside) -> impl Iterator<Item = Cmd> {
        let pairs: Vec<(String, String)> =
            from.keys().into_iter().zip(to.keys()).map(|(from, to)| (from.clone(), to.clone())).collect();
        pairs.into_iter().filter(|(from, _)| self.present.contains(from)).map(|(from, to)| rename(&from, &to))
    }

    fn deletes(&self, key: impl Fn(&GraphName) -> String, graphs: &BTreeSet<GraphName>) -> Vec<Cmd> {
        graphs.iter().map(key).filter(|key| self.present.contains(key)).map(|key| graph::delete(&key)).collect()
    }

    fn graph_moves(
        &self,
        from: impl Fn(&GraphName) -> String,
        to: impl Fn(&GraphName) -> String,
        graphs: &BTreeSet<GraphName>,
    ) -> Vec<Cmd> {
        let there = |graph: &&GraphName| self.present.contains(&from(graph));
        graphs.iter().filter(there).map(|graph| rename(&from(graph), &to(graph))).collect()
    }
}

/// The graphs of a pipeline, and a connection to let them change places.
#[derive(Debug)]
pub struct RoutedSwap {
    connection: Connection,
    ownership: Ownership,
    control: GraphName,
}

impl RoutedSwap {
    /// The graphs of a pipeline that this process owns.
    pub fn new(cache: &RoutedCache) -> Self {
        Self {
            connection: Connection::new(cache.address.clone()),
            ownership: cache.ownership.clone(),
            control: cache.control.clone(),
        }
    }

    /// Watches fence and keys, and says what is there.
    async fn look(&mut self, doing: &str) -> Result<Standing> {
        let beside = [Beside::live(&self.control), Beside::stage(&self.control), Beside::previous(&self.control)];
        let fixed: Vec<String> = beside.iter().flat_map(Beside::keys).cloned().collect();
        require_owned(&mut self.connection, doing, &self.ownership, &fixed, SWAP_TIMEOUT).await?;
        let [live, stage, previous] = beside;
        let live = listed(&mut self.connection, &live.graphs).await?;
        let stage = listed(&mut self.connection, &stage.graphs).await?;
        let previous = listed(&mut self.connection, &previous.graphs).await?;
        let keys = live.union(&stage).map(|graph| graph.as_str().to_owned());
        let staged = stage.iter().map(|graph: &GraphName| GraphKeys::of(graph).graph(GraphRole::Stage));
        let markers = stage.iter().map(|graph: &GraphName| GraphKeys::of(graph).marker());
        let others =
            previous.iter().map(|graph: &GraphName| GraphKeys::of(graph).graph(GraphRole::Previous)).chain(markers).chain(fixed);
        let keys: Vec<String> = keys.chain(staged).chain(others).collect();
        let present = self.present(doing, &keys).await?;
        Ok(Standing { live, stage, previous, present })
    }

    /// Watches keys, and says which are there. One under a graph's name that is none is an error: it would be replaced.
    async fn present(&mut self, doing: &str, keys: &[String]) -> Result<BTreeSet<String>> {
        let mut pipeline = Pipeline::new();
        pipeline.add_command(cmd("WATCH").arg(keys).to_owned());
        for key in keys {
            pipeline.add_command(cmd("TYPE").arg(key).to_owned());
        }
        let answers = self.connection.pipeline(doing, &pipeline, SWAP_TIMEOUT).await?;
        let mut present = BTreeSet::new();
        for (key, answer) in keys.iter().zip(answers.into_iter().skip(1)) {
            match reply::text(&answer?)?.as_str() {
                "none" => {}
                GRAPH_TYPE | "string" | "set" => drop(present.insert(key.clone())),
                other => {
                    let message = format!("the key '{key}' is a {other}, which is nothing of this service");
                    return Err(Error::new(ErrorKind::CacheWrongType, message));
                }
            }
        }
        Ok(present)
    }

    /// What stands where a stage wants to go and is neither the pipeline's nor empty: it came while the stage was filled.
    async fn foreign(&mut self, standing: &Standing) -> Result<Option<String>> {
        for graph in standing.stage.difference(&standing.live).filter(|graph| standing.present.contains(graph.as_str())) {
            if let Err(foreign) = taken(&mut self.connection, &self.control, graph).await? {
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

    fn swap_commands(&self, standing: &Standing, keep_previous: bool) -> Vec<Cmd> {
        let [live, stage, previous] =
            [Beside::live(&self.control), Beside::stage(&self.control), Beside::previous(&self.control)];
        let mut commands = vec![unlink(previous.keys().into_iter().cloned())];
        commands
            .extend(standing.deletes(|graph: &GraphName| GraphKeys::of(graph).graph(GraphRole::Previous), &standing.previous));
        let is_whole = standing.present.contains(&live.checkpoint);
        if keep_previous && is_whole {
            commands.extend(standing.graph_moves(
                name,
                |graph: &GraphName| GraphKeys::of(graph).graph(GraphRole::Previous),
                &standing.live,
            ));
            commands.extend(standing.moves(&live, &previous));
        } else {
            commands.extend(standing.deletes(name, &standing.live));
            commands.push(unlink(live.keys().into_iter().cloned()));
        }
        // A name that is free again is anybody's.
        let freed: BTreeSet<GraphName> = standing.live.difference(&standing.stage).cloned().collect();
        commands.extend(unlink_markers(&freed));
        // An empty graph that a search has left where a stage goes.
        let new: BTreeSet<GraphName> = standing.stage.difference(&standing.live).cloned().collect();
        commands.extend(standing.deletes(name, &new));
        commands.extend(standing.graph_moves(
            |graph: &GraphName| GraphKeys::of(graph).graph(GraphRole::Stage),
            name,
            &standing.stage,
        ));
        commands.extend(standing.stage.iter().map(|graph| mark(graph, &self.control)));
        commands.extend(standing.moves(&stage, &live));
        commands
    }

    fn rollback_commands(&self, standing: &Standing) -> Vec<Cmd> {
        let [live, previous, exchange] =
            [Beside::live(&self.control), Beside::previous(&self.control), Beside::exchange(&self.control)];
        let mut commands =
            standing.graph_moves(name, |graph: &GraphName| GraphKeys::of(graph).graph(GraphRole::Exchange), &standing.live);
        commands.extend(standing.moves(&live, &exchange));
        commands.extend(unlink_markers(&standing.live));
        commands.extend(standing.graph_moves(
            |graph: &GraphName| GraphKeys::of(graph).graph(GraphRole::Previous),
            name,
            &standing.previous,
        ));
        commands.extend(standing.previous.iter().map(|graph| mark(graph, &self.control)));
        commands.extend(standing.moves(&previous, &live));
        // What was live is there under its other name now.
        let there = |graph: &&GraphName| standing.present.contains(graph.as_str());
        commands.extend(standing.live.iter().filter(there).map(|graph| {
            rename(&GraphKeys::of(graph).graph(GraphRole::Exchange), &GraphKeys::of(graph).graph(GraphRole::Previous))
        }));
        let was_there = |key: &&(&String, (&String, &String))| standing.present.contains(key.0);
        let keys: Vec<(&String, (&String, &String))> =
            live.keys().into_iter().zip(exchange.keys().into_iter().zip(previous.keys())).collect();
        commands.extend(keys.iter().filter(was_there).map(|(_, (from, to))| rename(from, to)));
        commands
    }
}

fn name(graph: &GraphName) -> String {
    graph.as_str().to_owned()
}

fn rename(from: &str, to: &str) -> Cmd {
    cmd("RENAME").arg(from).arg(to).to_owned()
}

fn unlink(keys: impl Iterator<Item = String>) -> Cmd {
    cmd("UNLINK").arg(keys.collect::<Vec<_>>()).to_owned()
}

fn unlink_markers(graphs: &BTreeSet<GraphName>) -> Option<Cmd> {
    (!graphs.is_empty()).then(|| unlink(graphs.iter().map(|graph: &GraphName| GraphKeys::of(graph).marker())))
}

#[async_trait]
impl Swap for RoutedSwap {
    async fn is_staged(&mut self) -> Result<bool> {
        let stage = Beside::stage(&self.control);
        let mut command = cmd("EXISTS");
        command.arg(&stage.graphs).arg(&stage.checkpoint);
        let answer = self.connection.command("look for a stage", &command, SWAP_TIMEOUT).await?;
        Ok(reply::integer(&answer)? > 0)
    }

    async fn carry_over(&mut self, profile: &Profile) -> Result<Vec<String>> {
        let live = listed(&mut self.connection, &GraphKeys::of(&self.control).groups(GraphRole::Live)).await?;
        let stage = listed(&mut self.connection, &GraphKeys::of(&self.control).groups(GraphRole::Stage)).await?;
        let mut lost = Vec::new();
        for graph in live.intersection(&stage) {
            let of_graph = carry_over(
                &mut self.connection,
                graph.as_str(),
                &GraphKeys::of(graph).graph(GraphRole::Stage),
                &self.ownership,
                profile,
            )
            .await?;
            lost.extend(of_graph.into_iter().map(|what| format!("{graph}: {what}")));
        }
        Ok(lost)
    }

    async fn swap(&mut self, keep_previous: bool) -> Result<Swapped> {
        let doing = "swap the stages in";
        for _ in 0..ATTEMPTS {
            let standing = self.look(doing).await?;
            if !standing.present.contains(&Beside::stage(&self.control).checkpoint) {
                self.unwatch(doing).await?;
                return Ok(Swapped::NothingStaged);
            }
            if let Some(reason) = self.foreign(&standing).await? {
                self.unwatch(doing).await?;
                return Err(Error::new(ErrorKind::SwapRefused, reason));
            }
            let commands = self.swap_commands(&standing, keep_previous);
            if self.carry_out(doing, commands).await? {
                return Ok(Swapped::Done);
            }
        }
        Err(keeps_changing(doing, &GraphKeys::of(&self.control).groups(GraphRole::Live)))
    }

    async fn rollback(&mut self, pause: &str) -> Result<()> {
        let doing = "roll back to the previous graphs";
        for _ in 0..ATTEMPTS {
            let standing = self.look(doing).await?;
            if !standing.present.contains(&Beside::previous(&self.control).checkpoint) {
                self.unwatch(doing).await?;
                let message = format!("there are no previous graphs of {} with their checkpoint to roll back to", self.control);
                return Err(Error::new(ErrorKind::Configuration, message));
            }
            let mut commands = self.rollback_commands(&standing);
            commands.push(cmd("SET").arg(GraphKeys::of(&self.control).pause()).arg(pause).to_owned());
            if self.carry_out(doing, commands).await? {
                return Ok(());
            }
        }
        Err(keeps_changing(doing, &GraphKeys::of(&self.control).groups(GraphRole::Live)))
    }

    async fn drop_stage(&mut self) -> Result<()> {
        let doing = "drop the stages";
        for _ in 0..ATTEMPTS {
            let standing = self.look(doing).await?;
            let mut commands =
                standing.deletes(|graph: &GraphName| GraphKeys::of(graph).graph(GraphRole::Stage), &standing.stage);
            commands.push(unlink(Beside::stage(&self.control).keys().into_iter().cloned()));
            if self.carry_out(doing, commands).await? {
                return Ok(());
            }
        }
        Err(keeps_changing(doing, &GraphKeys::of(&self.control).groups(GraphRole::Stage)))
    }

    /// Stages of groups are filled by parameters, so GRAPH.BULK is nothing that they could lack.
    async fn check(&mut self) -> Result<BulkUse> {
        EngineSigns::of(&mut self.connection).await?.engine().require_safe_rename()?;
        let missing = missing_permissions(&mut self.connection, &self.control).await?;
        let others: Vec<_> = missing.into_iter().filter(|name| *name != "GRAPH.BULK").collect();
        if !others.is_empty() {
            let message = format!("the user may not run {}; a full sync in place needs less", others.join(", "));
            return Err(Error::new(ErrorKind::CachePermission, message));
        }
        Ok(BulkUse::Allowed)
    }
}
