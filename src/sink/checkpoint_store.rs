//! The checkpoint and the quarantine, kept in the cache's own Redis beside the graph.

use async_trait::async_trait;
use chrono::Utc;
use redis::{Cmd, Value, cmd};

use super::CheckpointStore;
use super::connection::{COMMAND_TIMEOUT, CacheConnection};
use super::fence::{Ownership, while_owned};
use super::graph_set::GraphSet;
use super::keys::GraphRole;
use super::lease::unless_another_leads;
use super::{reply, server};
use crate::error::{Error, ErrorKind, Result};
use crate::model::checkpoint::Checkpoint;
use crate::model::quarantined::Quarantined;

/// A checkpoint under a key of the cache's Redis, and the quarantine in a set beside it, one member for each entry.
#[derive(Debug)]
pub struct RedisCheckpointStore {
    connection: CacheConnection,
    checkpoint: String,
    quarantine: String,
    pause: String,
    ownership: Ownership,
    /// Whether the checkpoint existed when this store last read or wrote it.
    known: bool,
}

impl GraphSet {
    /// Keeps the checkpoint and the quarantine of a role.
    pub fn checkpoint_store(&self, role: GraphRole) -> RedisCheckpointStore {
        RedisCheckpointStore::new(self, role)
    }
}

impl RedisCheckpointStore {
    /// The store for the graphs of a role. An operator's pause applies to the whole pipeline.
    pub(super) fn new(graphs: &GraphSet, role: GraphRole) -> Self {
        let keys = graphs.keys();
        Self {
            connection: CacheConnection::new(graphs.address.clone()),
            checkpoint: keys.checkpoint(role),
            quarantine: keys.quarantine(role),
            pause: keys.pause(),
            ownership: graphs.ownership.clone(),
            known: false,
        }
    }

    /// Refuses to continue on a server that was restarted after the first use.
    pub(crate) fn of_one_life(self) -> Self {
        Self { connection: self.connection.of_one_life(), ..self }
    }

    async fn write(&mut self, doing: &str, commands: &[Cmd]) -> Result<()> {
        while_owned(&mut self.connection, doing, &self.ownership, commands, COMMAND_TIMEOUT).await.map(drop)
    }

    /// The error for a checkpoint or a quarantine that this program cannot read.
    fn unreadable(&self, error: impl std::error::Error + Send + Sync + 'static) -> Error {
        let message = format!("cannot read the checkpoint {} of the cache", self.checkpoint);
        Error::caused(ErrorKind::CheckpointUnreadable, message, error)
    }
}

#[async_trait]
impl CheckpointStore for RedisCheckpointStore {
    async fn load(&mut self) -> Result<Option<Checkpoint>> {
        let answer = self.connection.command("load the checkpoint", cmd("GET").arg(&self.checkpoint), COMMAND_TIMEOUT).await?;
        let text = reply::optional_text(&answer)?;
        self.known = text.is_some();
        text.map(|text| Checkpoint::from_json(&text)).transpose().map_err(|error| self.unreadable(error))
    }

    async fn run_id(&mut self) -> Result<Option<String>> {
        server::run_id(&mut self.connection).await
    }

    async fn store(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        const DOING: &str = "store the checkpoint";
        let text = checkpoint.to_json().map_err(|error| {
            let message = format!("cannot encode the checkpoint {} as JSON", self.checkpoint);
            Error::caused(ErrorKind::Panic, message, error)
        })?;
        let mut set = cmd("SET");
        set.arg(&self.checkpoint).arg(text);
        if self.known {
            // Somebody removed the missing checkpoint, and perhaps more with it: restoring the key would hide that.
            set.arg("XX");
        }
        let replies = while_owned(&mut self.connection, DOING, &self.ownership, &[set], COMMAND_TIMEOUT).await?;
        if matches!(replies[..], [Value::Nil]) {
            return Err(Error::new(ErrorKind::CacheChanged, "the cache no longer has the checkpoint"));
        }
        self.known = true;
        Ok(())
    }

    async fn store_first(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.known = false;
        self.store(checkpoint).await
    }

    async fn quarantine(&mut self) -> Result<Vec<Quarantined>> {
        let command = cmd("SMEMBERS").arg(&self.quarantine).to_owned();
        let answer = self.connection.command("load the quarantine", &command, COMMAND_TIMEOUT).await?;
        let members: Vec<String> = reply::array(answer)?.iter().map(reply::text).collect::<Result<_>>()?;
        members.iter().map(|member| serde_json::from_str(member).map_err(|error| self.unreadable(error))).collect()
    }

    async fn update_quarantine(&mut self, added: &[Quarantined], removed: &[Quarantined]) -> Result<()> {
        let mut commands = Vec::new();
        for (name, entries) in [("SADD", added), ("SREM", removed)] {
            if entries.is_empty() {
                continue;
            }
            let mut command = cmd(name);
            command.arg(&self.quarantine);
            for entry in entries {
                command.arg(serde_json::to_string(entry).map_err(|error| self.unreadable(error))?);
            }
            commands.push(command);
        }
        if commands.is_empty() {
            return Ok(());
        }
        self.write("store the quarantine", &commands).await
    }

    async fn is_paused(&mut self) -> Result<bool> {
        let answer = self.connection.command("read the pause", cmd("GET").arg(&self.pause), COMMAND_TIMEOUT).await?;
        Ok(reply::optional_text(&answer)?.is_some())
    }

    async fn set_paused(&mut self, paused: bool) -> Result<()> {
        let mut command = if paused { cmd("SET") } else { cmd("DEL") };
        command.arg(&self.pause);
        if paused {
            // The time tells an operator since when the pipeline is paused.
            command.arg(Utc::now().to_rfc3339());
        }
        unless_another_leads(&mut self.connection, "store the pause", &self.ownership, &command).await
    }
}
