//! The checkpoint, kept in the cache's own Redis beside the graph.

use async_trait::async_trait;
use redis::cmd;

use super::address::CacheAddress;
use super::connection::{COMMAND_TIMEOUT, Connection};
use super::ownership::{Ownership, while_owned};
use super::reply;
use crate::error::Result;

/// Where a checkpoint is kept, as the text that its type makes.
#[async_trait]
pub trait CheckpointStore: Send {
    /// The checkpoint, if there is one.
    async fn load(&mut self) -> Result<Option<String>>;

    /// Replaces the checkpoint. [`LeaseLost`](crate::error::ErrorKind::LeaseLost) when this process owns the graph no longer.
    async fn store(&mut self, checkpoint: &str) -> Result<()>;
}

/// A checkpoint under a key of the cache's Redis.
#[derive(Debug)]
pub struct RedisCheckpointStore {
    connection: Connection,
    key: String,
    ownership: Ownership,
}

impl RedisCheckpointStore {
    /// The checkpoint under `key`, written only under this ownership.
    pub fn new(address: CacheAddress, key: impl Into<String>, ownership: Ownership) -> Self {
        Self { connection: Connection::new(address), key: key.into(), ownership }
    }
}

#[async_trait]
impl CheckpointStore for RedisCheckpointStore {
    async fn load(&mut self) -> Result<Option<String>> {
        let answer = self.connection.command("load the checkpoint", cmd("GET").arg(&self.key), COMMAND_TIMEOUT).await?;
        reply::optional_text(&answer)
    }

    async fn store(&mut self, checkpoint: &str) -> Result<()> {
        let mut set = cmd("SET");
        set.arg(&self.key).arg(checkpoint);
        while_owned(&mut self.connection, "store the checkpoint", &self.ownership, &[set], COMMAND_TIMEOUT).await.map(|_| ())
    }
}
