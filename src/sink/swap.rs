//! The moment in which the stage becomes the live graph, and the way back.
//!
//! Graph, checkpoint and quarantine move together, in one transaction that happens only while this process owns the graph and none of the
//! keys has changed since it was looked at. `RENAME` takes indices along, and readers of the old graph finish on it.

use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, Pipeline, cmd};

use super::address::CacheAddress;
use super::carry_over::carry_over;
use super::connection::Connection;
use super::engine::EngineSigns;
use super::graph::{self, GraphState};
use super::keys::{GraphKeys, GraphRole};
use super::ownership::{ATTEMPTS, Ownership, keeps_changing, require_owned, transaction, unwatch};
use super::permissions::missing_permissions;
use super::{BulkUse, Swap, reply};
use crate::error::{Error, ErrorKind, Result};
use crate::model::graph_name::GraphName;
use crate::model::profile::Profile;

/// How long a swap may take: milliseconds, but it may wait for a query that is committing.
const SWAP_TIMEOUT: Duration = Duration::from_secs(30);

/// How Redis names the types of a graph's, of a checkpoint's and of a quarantine's key.
const GRAPH: &str = "graphdata";
const TEXT: &str = "string";
const SET: &str = "set";

/// What a swap found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swapped {
    /// The stage is the live graph now.
    Done,
    /// There was no stage: it was swapped before, or never made. The live checkpoint tells which.
    NothingStaged,
}

/// A graph with what belongs to it.
#[derive(Debug, Clone)]
struct Keys {
    graph: String,
    checkpoint: String,
    quarantine: String,
}

impl Keys {
    fn all(&self) -> [&str; 3] {
        [&self.graph, &self.checkpoint, &self.quarantine]
    }
}

/// Which of a graph's keys are there. An empty quarantine has no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Presence {
    graph: bool,
    checkpoint: bool,
    quarantine: bool,
}

impl Presence {
    #[cfg(test)]
    const NONE: Self = Self { graph: false, checkpoint: false, quarantine: false };
    #[cfg(test)]
    const WHOLE: Self = Self { graph: true, checkpoint: true, quarantine: true };

    fn is_whole(self) -> bool {
        self.graph && self.checkpoint
    }
}

/// The graphs of one name, and a connection to let them change places.
#[derive(Debug)]
pub struct GraphSwap {
    connection: Connection,
    ownership: Ownership,
    name: GraphName,
    live: Keys,
    stage: Keys,
    previous: Keys,
    exchange: Keys,
    pause: String,
}

impl GraphSwap {
    /// The graphs of a name that this process owns.
    pub fn new(address: CacheAddress, graph: &GraphName, ownership: Ownership) -> Self {
        Self {
            connection: Connection::new(address),
            ownership,
            name: graph.clone(),
            live: Keys {
                graph: graph.as_str().to_owned(),
                checkpoint: GraphKeys::of(graph).checkpoint(GraphRole::Live),
                quarantine: GraphKeys::of(graph).quarantine(GraphRole::Live),
            },
            stage: Keys {
                graph: GraphKeys::of(graph).graph(GraphRole::Stage),
                checkpoint: GraphKeys::of(graph).checkpoint(GraphRole::Stage),
                quarantine: GraphKeys::of(graph).quarantine(GraphRole::Stage),
            },
            previous: Keys {
                graph: GraphKeys::of(graph).graph(GraphRole::Previous),
                checkpoint: GraphKeys::of(graph).checkpoint(GraphRole::Previous),
                quarantine: GraphKeys::of(graph).quarantine(GraphRole::Previous),
            },
            exchange: Keys {
                graph: GraphKeys::of(graph).graph(GraphRole::Exchange),
                checkpoint: GraphKeys::of(graph).checkpoint(GraphRole::Exchange),
                quarantine: GraphKeys::of(graph).quarantine(GraphRole::Exchange),
            },
            pause: GraphKeys::of(graph).pause(),
        }
    }

    /// Puts the stage with what belongs to it in the place of the live graph, which is kept as the previous one or dropped.
    pub async fn swap(&mut self, keep_previous: bool) -> Result<Swapped> {
        let doing = "swap the stage in";
        for _ in 0..ATTEMPTS {
            let [live, stage, previous] = self.look(doing).await?;
            if !stage.is_whole() {
                self.unwatch(doing).await?;
                let half = stage.graph || stage.checkpoint;
                return if half { Err(not_whole(&self.stage)) } else { Ok(Swapped::NothingStaged) };
            }
            let previous = (&self.previous, previous);
            let commands = swap_commands((&self.live, live), (&self.stage, stage), previous, keep_previous);
            if self.carry_out(doing, &commands).await? {
                return Ok(Swapped::Done);
            }
        }
        Err(keeps_changing(doing, &self.live.graph))
    }

    /// Lets the live and the previous graph change places, and sets the pause flag to `pause` with it: the next pass would undo
    /// what the rollback is for. A second rollback undoes the first.
    pub async fn rollback(&mut self, pause: &str) -> Result<()> {
        let doing = "roll back to the previous graph";
        for _ in 0..ATTEMPTS {
            let [live, _, previous] = self.look(doing).await?;
            if !previous.is_whole() {
                self.unwatch(doing).await?;
                let message = format!("there is no {} with its checkpoint to roll back to", self.previous.graph);
                return Err(Error::new(ErrorKind::Configuration, message));
            }
            let mut commands = rollback_commands((&self.live, live), (&self.previous, previous), &self.exchange);
            commands.push(cmd("SET").arg(&self.pause).arg(pause).to_owned());
            if self.carry_out(doing, &commands).await? {
                return Ok(());
            }
        }
        Err(keeps_changing(doing, &self.live.graph))
    }

    /// Drops the graph that is kept for a rollback.
    pub async fn drop_previous(&mut self) -> Result<()> {
        let doing = "drop the previous graph";
        for _ in 0..ATTEMPTS {
            let [_, _, previous] = self.look(doing).await?;
            if self.carry_out(doing, &drop_keys((&self.previous, previous))).await? {
                return Ok(());
            }
        }
        Err(keeps_changing(doing, &self.previous.graph))
    }

    /// Watches fence and keys, and says which are there: live, stage, previous. One of another type is an error, because it would
    /// be replaced.
    async fn look(&mut self, doing: &str) -> Result<[Presence; 3]> {
        let keys: Vec<String> =
            [&self.live, &self.stage, &self.previous].iter().flat_map(|keys| keys.all()).map(str::to_owned).collect();
        require_owned(&mut self.connection, doing, &self.ownership, &keys, SWAP_TIMEOUT).await?;
        let mut pipeline = Pipeline::new();
        for key in &keys {
            pipeline.add_command(cmd("TYPE").arg(key).to_owned());
        }
        let answers = self.connection.pipeline(doing, &pipeline, SWAP_TIMEOUT).await?;
        let mut there = Vec::with_capacity(keys.len());
        for ((key, kind), answer) in keys.iter().zip([GRAPH, TEXT, SET].into_iter().cycle()).zip(answers) {
            there.push(is_there(key, kind, &reply::text(&answer?)?)?);
        }
        let presence = |there: &[bool]| match *there {
            [graph, checkpoint, quarantine] => Ok(Presence { graph, checkpoint, quarantine }),
            _ => Err(reply::unexpected("the type of each key")),
        };
        Ok([presence(&there[..3])?, presence(&there[3..6])?, presence(&there[6..])?])
    }

    async fn carry_out(&mut self, doing: &str, commands: &[Cmd]) -> Result<bool> {
        Ok(transaction(&mut self.connection, doing, commands.iter().cloned(), SWAP_TIMEOUT).await?.is_some())
    }

    async fn unwatch(&mut self, doing: &str) -> Result<()> {
        unwatch(&mut self.connection, doing, SWAP_TIMEOUT).await
    }
}

#[async_trait]
impl Swap for GraphSwap {
    async fn is_staged(&mut self) -> Result<bool> {
        Ok(graph::state(&mut self.connection, &self.stage.graph).await? == GraphState::Present)
    }

    async fn carry_over(&mut self, profile: &Profile) -> Result<Vec<String>> {
        let Self { connection, ownership, live, stage, .. } = self;
        carry_over(connection, &live.graph, &stage.graph, ownership, profile).await
    }

    async fn swap(&mut self, keep_previous: bool) -> Result<Swapped> {
        GraphSwap::swap(self, keep_previous).await
    }

    async fn rollback(&mut self, pause: &str) -> Result<()> {
        GraphSwap::rollback(self, pause).await
    }

    async fn drop_stage(&mut self) -> Result<()> {
        let doing = "drop the stage";
        for _ in 0..ATTEMPTS {
            let [_, stage, _] = self.look(doing).await?;
            if self.carry_out(doing, &drop_keys((&self.stage, stage))).await? {
                return Ok(());
            }
        }
        Err(keeps_changing(doing, &self.stage.graph))
    }

    async fn check(&mut self) -> Result<BulkUse> {
        EngineSigns::of(&mut self.connection).await?.engine().require_safe_rename()?;
        let missing = missing_permissions(&mut self.connection, &self.name).await?;
        let (bulk, others): (Vec<_>, Vec<_>) = missing.into_iter().partition(|name| *name == "GRAPH.BULK");
        if !others.is_empty() {
            let message = format!("the user may not run {}; a full sync in place needs less", others.join(", "));
            return Err(Error::new(ErrorKind::CachePermission, message));
        }
        Ok(if bulk.is_empty() { BulkUse::Allowed } else { BulkUse::Refused })
    }
}

fn is_there(key: &str, wanted: &str, found: &str) -> Result<bool> {
    match found {
        "none" => Ok(false),
        _ if found == wanted => Ok(true),
        _ => Err(Error::new(ErrorKind::CacheWrongType, format!("the key '{key}' is a {found} where a {wanted} is expected"))),
    }
}

fn not_whole(keys: &Keys) -> Error {
    Error::new(ErrorKind::CacheProtocol, format!("only one of {} and {} is there", keys.graph, keys.checkpoint))
}

/// `RENAME` of a key that is not there is an error, which would not stop the commands after it: so only what is there moves, and
/// what it would have replaced is dropped.
fn swap_commands(
    live: (&Keys, Presence),
    stage: (&Keys, Presence),
    previous: (&Keys, Presence),
    keep_previous: bool,
) -> Vec<Cmd> {
    let mut commands = drop_keys(previous);
    if keep_previous && live.1.is_whole() {
        commands.extend(move_keys(live, previous.0));
    } else {
        commands.extend(drop_keys(live));
    }
    commands.extend(move_keys(stage, live.0));
    commands
}

fn rollback_commands(live: (&Keys, Presence), previous: (&Keys, Presence), exchange: &Keys) -> Vec<Cmd> {
    let mut commands = move_keys(live, exchange);
    commands.extend(move_keys(previous, live.0));
    commands.extend(move_keys((exchange, live.1), previous.0));
    commands
}

fn move_keys((from, found): (&Keys, Presence), to: &Keys) -> Vec<Cmd> {
    let there = [found.graph, found.checkpoint, found.quarantine];
    let moves = from.all().into_iter().zip(to.all()).zip(there).filter(|(_, there)| *there);
    moves.map(|((from, to), _)| cmd("RENAME").arg(from).arg(to).to_owned()).collect()
}

fn drop_keys((keys, found): (&Keys, Presence)) -> Vec<Cmd> {
    let graph = found.graph.then(|| graph::delete(&keys.graph));
    let beside = cmd("UNLINK").arg(&keys.checkpoint).arg(&keys.quarantine).to_owned();
    graph.into_iter().chain([beside]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(name: &str) -> Keys {
        Keys { graph: name.to_owned(), checkpoint: format!("{name}.c"), quarantine: format!("{name}.q") }
    }

    fn texts(commands: Vec<Cmd>) -> Vec<String> {
        let word = |argument: redis::Arg<&[u8]>| match argument {
            redis::Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        };
        commands.iter().map(|command| command.args_iter().map(word).collect::<Vec<_>>().join(" ")).collect()
    }

    const WITHOUT_QUARANTINE: Presence = Presence { quarantine: false, ..Presence::WHOLE };

    fn swapped(found: Presence, keep: bool) -> Vec<String> {
        let stage = (&keys("s"), WITHOUT_QUARANTINE);
        texts(swap_commands((&keys("l"), found), stage, (&keys("p"), Presence::WHOLE), keep))
    }

    #[test]
    fn the_live_graph_is_kept_only_whole() {
        let kept = [
            "GRAPH.DELETE p",
            "UNLINK p.c p.q",
            "RENAME l p",
            "RENAME l.c p.c",
            "RENAME l.q p.q",
            "RENAME s l",
            "RENAME s.c l.c",
        ];
        assert_eq!(swapped(Presence::WHOLE, true), kept);
        let dropped = ["GRAPH.DELETE p", "UNLINK p.c p.q", "GRAPH.DELETE l", "UNLINK l.c l.q", "RENAME s l", "RENAME s.c l.c"];
        assert_eq!(swapped(Presence::WHOLE, false), dropped);
        assert_eq!(swapped(Presence { graph: true, ..Presence::NONE }, true), dropped);
        let first = ["GRAPH.DELETE p", "UNLINK p.c p.q", "UNLINK l.c l.q", "RENAME s l", "RENAME s.c l.c"];
        assert_eq!(swapped(Presence::NONE, true), first);
    }

    #[test]
    fn a_rollback_is_its_own_inverse() {
        let commands = |found| texts(rollback_commands((&keys("l"), found), (&keys("p"), Presence::WHOLE), &keys("x")));
        assert_eq!(
            commands(WITHOUT_QUARANTINE),
            ["RENAME l x", "RENAME l.c x.c", "RENAME p l", "RENAME p.c l.c", "RENAME p.q l.q", "RENAME x p", "RENAME x.c p.c"]
        );
        assert_eq!(commands(Presence::NONE), ["RENAME p l", "RENAME p.c l.c", "RENAME p.q l.q"]);
    }

    #[test]
    fn a_key_of_another_type_is_never_replaced() {
        assert!(is_there("g", GRAPH, "hash").is_err_and(|error| error.kind() == ErrorKind::CacheWrongType));
        assert_eq!(is_there("g", GRAPH, "none").ok(), Some(false));
        assert_eq!(is_there("g", GRAPH, GRAPH).ok(), Some(true));
    }
}
