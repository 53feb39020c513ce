//! The moment in which the stage becomes the live graph, and the way back.
//!
//! Graph and checkpoint move together, in one transaction that happens only while this process owns the graph and none of the
//! keys has changed since it was looked at. `RENAME` takes indices along, and readers of the old graph finish on it.

use std::time::Duration;

use redis::{Cmd, Pipeline, cmd};

use super::address::CacheAddress;
use super::connection::Connection;
use super::ownership::{ATTEMPTS, Ownership, keeps_changing, require_owned, transaction};
use super::reply;
use crate::error::{Error, ErrorKind, Result};
use crate::model::graph_name::GraphName;

/// How long a swap may take: milliseconds, but it may wait for a query that is committing.
const SWAP_TIMEOUT: Duration = Duration::from_secs(30);

/// How Redis names the types of a graph's and of a checkpoint's key.
const GRAPH: &str = "graphdata";
const TEXT: &str = "string";

/// What a swap found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swapped {
    /// The stage is the live graph now.
    Done,
    /// There was no stage: it was swapped before, or never made. The live checkpoint tells which.
    NothingStaged,
}

/// A graph with the checkpoint that belongs to it.
#[derive(Debug, Clone)]
struct Pair {
    graph: String,
    checkpoint: String,
}

/// Which of a pair's keys are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Presence {
    graph: bool,
    checkpoint: bool,
}

impl Presence {
    const NONE: Self = Self { graph: false, checkpoint: false };
    const BOTH: Self = Self { graph: true, checkpoint: true };
}

/// The graphs of one name, and a connection to let them change places.
#[derive(Debug)]
pub struct GraphSwap {
    connection: Connection,
    ownership: Ownership,
    live: Pair,
    stage: Pair,
    previous: Pair,
    exchange: Pair,
    pause: String,
}

impl GraphSwap {
    /// The graphs of a name that this process owns.
    pub fn new(address: CacheAddress, graph: &GraphName, ownership: Ownership) -> Self {
        Self {
            connection: Connection::new(address),
            ownership,
            live: Pair { graph: graph.as_str().to_owned(), checkpoint: graph.checkpoint_key() },
            stage: Pair { graph: graph.stage_key(), checkpoint: graph.stage_checkpoint_key() },
            previous: Pair { graph: graph.previous_key(), checkpoint: graph.previous_checkpoint_key() },
            exchange: Pair { graph: graph.exchange_key(), checkpoint: graph.exchange_checkpoint_key() },
            pause: graph.pause_key(),
        }
    }

    /// Puts the stage with its checkpoint in the place of the live graph, which is kept as the previous one or dropped.
    pub async fn swap(&mut self, keep_previous: bool) -> Result<Swapped> {
        let doing = "swap the stage in";
        for _ in 0..ATTEMPTS {
            let [live, stage, _] = self.look(doing).await?;
            if stage == Presence::NONE {
                self.unwatch(doing).await?;
                return Ok(Swapped::NothingStaged);
            }
            if stage != Presence::BOTH {
                self.unwatch(doing).await?;
                return Err(half(&self.stage));
            }
            let commands = swap_commands(&self.live, live, &self.stage, &self.previous, keep_previous);
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
            if previous != Presence::BOTH {
                self.unwatch(doing).await?;
                let message = format!("there is no {} with its checkpoint to roll back to", self.previous.graph);
                return Err(Error::new(ErrorKind::Configuration, message));
            }
            let mut commands = rollback_commands(&self.live, live, &self.previous, &self.exchange);
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
            self.look(doing).await?;
            if self.carry_out(doing, &[unlink(&self.previous)]).await? {
                return Ok(());
            }
        }
        Err(keeps_changing(doing, &self.previous.graph))
    }

    /// Watches lease and keys, and says which are there: live, stage, previous. One of another type is an error, because it would
    /// be replaced.
    async fn look(&mut self, doing: &str) -> Result<[Presence; 3]> {
        let pairs = [self.live.clone(), self.stage.clone(), self.previous.clone()];
        let keys: Vec<String> = pairs.into_iter().flat_map(|pair| [pair.graph, pair.checkpoint]).collect();
        require_owned(&mut self.connection, doing, &self.ownership, &keys, SWAP_TIMEOUT).await?;
        let mut pipeline = Pipeline::new();
        for key in &keys {
            pipeline.add_command(cmd("TYPE").arg(key).to_owned());
        }
        let answers = self.connection.pipeline(doing, &pipeline, SWAP_TIMEOUT).await?;
        let mut there = Vec::with_capacity(keys.len());
        for ((place, key), answer) in keys.iter().enumerate().zip(answers) {
            there.push(is_there(key, if place % 2 == 0 { GRAPH } else { TEXT }, &reply::text(&answer?)?)?);
        }
        let [a, b, c, d, e, f] = there[..] else { return Err(reply::unexpected("the type of each key")) };
        Ok([(a, b), (c, d), (e, f)].map(|(graph, checkpoint)| Presence { graph, checkpoint }))
    }

    async fn carry_out(&mut self, doing: &str, commands: &[Cmd]) -> Result<bool> {
        Ok(transaction(&mut self.connection, doing, commands, SWAP_TIMEOUT).await?.is_some())
    }

    async fn unwatch(&mut self, doing: &str) -> Result<()> {
        self.connection.command(doing, &cmd("UNWATCH"), SWAP_TIMEOUT).await.map(drop)
    }
}

fn is_there(key: &str, wanted: &str, found: &str) -> Result<bool> {
    match found {
        "none" => Ok(false),
        _ if found == wanted => Ok(true),
        _ => Err(Error::new(ErrorKind::CacheWrongType, format!("the key '{key}' is a {found} where a {wanted} is expected"))),
    }
}

fn half(pair: &Pair) -> Error {
    Error::new(ErrorKind::CacheProtocol, format!("only one of {} and {} is there", pair.graph, pair.checkpoint))
}

/// `RENAME` of a key that is not there is an error, which would not stop the commands after it: so only what is there moves, and
/// what it would have replaced is dropped.
fn swap_commands(live: &Pair, found: Presence, stage: &Pair, previous: &Pair, keep_previous: bool) -> Vec<Cmd> {
    let mut commands = vec![unlink(previous)];
    if keep_previous && found == Presence::BOTH {
        commands.extend(move_pair(live, Presence::BOTH, previous));
    } else {
        // By UNLINK and not by RENAME over it: memory is then given back by another thread, whatever the server's settings say.
        commands.push(unlink(live));
    }
    commands.extend(move_pair(stage, Presence::BOTH, live));
    commands
}

fn rollback_commands(live: &Pair, found: Presence, previous: &Pair, exchange: &Pair) -> Vec<Cmd> {
    let mut commands = move_pair(live, found, exchange);
    commands.extend(move_pair(previous, Presence::BOTH, live));
    commands.extend(move_pair(exchange, found, previous));
    commands
}

fn move_pair(from: &Pair, found: Presence, to: &Pair) -> Vec<Cmd> {
    let keys = [(found.graph, &from.graph, &to.graph), (found.checkpoint, &from.checkpoint, &to.checkpoint)];
    keys.into_iter().filter(|(there, ..)| *there).map(|(_, from, to)| cmd("RENAME").arg(from).arg(to).to_owned()).collect()
}

fn unlink(pair: &Pair) -> Cmd {
    cmd("UNLINK").arg(&pair.graph).arg(&pair.checkpoint).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str) -> Pair {
        Pair { graph: name.to_owned(), checkpoint: format!("{name}.c") }
    }

    fn texts(commands: Vec<Cmd>) -> Vec<String> {
        let word = |argument: redis::Arg<&[u8]>| match argument {
            redis::Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        };
        commands.iter().map(|command| command.args_iter().map(word).collect::<Vec<_>>().join(" ")).collect()
    }

    fn swapped(found: Presence, keep: bool) -> Vec<String> {
        texts(swap_commands(&pair("l"), found, &pair("s"), &pair("p"), keep))
    }

    #[test]
    fn the_live_pair_is_kept_only_whole() {
        let kept = ["UNLINK p p.c", "RENAME l p", "RENAME l.c p.c", "RENAME s l", "RENAME s.c l.c"];
        assert_eq!(swapped(Presence::BOTH, true), kept);
        let dropped = ["UNLINK p p.c", "UNLINK l l.c", "RENAME s l", "RENAME s.c l.c"];
        assert_eq!(swapped(Presence::BOTH, false), dropped);
        assert_eq!(swapped(Presence::NONE, true), dropped);
        assert_eq!(swapped(Presence { graph: true, checkpoint: false }, true), dropped);
    }

    #[test]
    fn a_rollback_is_its_own_inverse() {
        let commands = |found| texts(rollback_commands(&pair("l"), found, &pair("p"), &pair("x")));
        assert_eq!(
            commands(Presence::BOTH),
            ["RENAME l x", "RENAME l.c x.c", "RENAME p l", "RENAME p.c l.c", "RENAME x p", "RENAME x.c p.c"]
        );
        assert_eq!(commands(Presence::NONE), ["RENAME p l", "RENAME p.c l.c"]);
    }

    #[test]
    fn a_key_of_another_type_is_never_replaced() {
        assert!(is_there("g", GRAPH, "hash").is_err_and(|error| error.kind() == ErrorKind::CacheWrongType));
        assert_eq!(is_there("g", GRAPH, "none").ok(), Some(false));
        assert_eq!(is_there("g", GRAPH, GRAPH).ok(), Some(true));
    }
}
