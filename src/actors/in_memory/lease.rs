//! The lease of the world's graph: one process holds it at a time, until it releases it or lets it run out.

use async_trait::async_trait;
use tokio::time::Instant;

use super::InMemorySide;
use super::world::{Place, World};
use crate::error::{Error, ErrorKind, Result};
use crate::model::leader::Leader;
use crate::sink::{GraphLease, LEASE_TTL};

pub(super) fn process(token: u64) -> Leader {
    Leader { host: format!("process {token}"), pid: 1, since: String::new(), url: None }
}

#[async_trait]
impl GraphLease for InMemorySide {
    async fn acquire(&mut self) -> Result<()> {
        match self.world.owner() {
            Some(other) if other != self.token => {
                Err(Error::new(ErrorKind::LeaseHeld, format!("process {other} owns the graph")))
            }
            _ => {
                *self.world.owner.lock() = Some((self.token, Instant::now() + LEASE_TTL));
                Ok(())
            }
        }
    }
    async fn leader(&mut self) -> Result<Option<Leader>> {
        Ok(self.world.owner().map(process))
    }
    async fn renew(&mut self) -> Result<()> {
        let mut owner = self.world.owner.lock();
        if owner.is_none_or(|(token, _)| token != self.token) {
            return Err(Error::new(ErrorKind::LeaseLost, "another process owns the graph"));
        }
        *owner = Some((self.token, Instant::now() + LEASE_TTL));
        Ok(())
    }
    async fn release(&mut self) -> Result<()> {
        self.world.visit(Place::ReleaseLease)?;
        if self.world.owner() == Some(self.token) {
            *self.world.owner.lock() = None;
        }
        Ok(())
    }
}

impl World {
    /// Whether a process holds the lease.
    pub(in crate::actors) fn is_owned(&self) -> bool {
        self.owner().is_some()
    }

    /// As a successor does after a silence.
    pub(in crate::actors) fn take_lease_away(&self) {
        *self.owner.lock() = Some((u64::MAX, Instant::now() + LEASE_TTL));
    }

    pub(super) fn owner(&self) -> Option<u64> {
        self.owner.lock().filter(|(_, end)| *end > Instant::now()).map(|(token, _)| token)
    }

    pub(super) fn require_owner(&self, token: u64) -> Result<()> {
        if self.owner() == Some(token) { Ok(()) } else { Err(Error::new(ErrorKind::LeaseLost, "another process owns the graph")) }
    }
}
