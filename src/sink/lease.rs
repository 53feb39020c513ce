//! The lease that makes one process the only writer of a graph.
//!
//! It has a connection of its own: a renewal must not wait behind a long query.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{SecondsFormat, Utc};
use redis::{Value, cmd};
use serde::{Deserialize, Serialize};

use super::Lease;
use super::address::CacheAddress;
use super::connection::Connection;
use super::ownership::{Ownership, while_owned};
use super::reply;
use crate::error::{Error, ErrorKind, Result};

/// How long a lease lasts without a renewal: what a successor waits for after a crash, and the longest silence of the network
/// or of the cache that does not cost the ownership.
pub const LEASE_TTL: Duration = Duration::from_secs(5);

/// How long a command about the lease may take: one that takes longer leaves no time to renew.
const LEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Tells one process from another on the same machine.
    pub token: String,
    /// Its machine.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// Since when, RFC 3339.
    pub since: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} on {}, since {}", self.pid, self.host, self.since)
    }
}

/// A lease on one graph, held or not.
#[derive(Debug)]
pub struct RedisLease {
    connection: Connection,
    ownership: Ownership,
}

impl Ownership {
    /// A new claim of this process on the graph whose lease has this key. It is made once: the connections of a later
    /// generation prove with it that they are of the same owner.
    pub fn claim(owner_key: impl Into<String>) -> Result<Self> {
        let holder = Holder {
            token: format!("{:032x}", rand::random::<u128>()),
            host: host_name(),
            pid: std::process::id(),
            since: Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
        };
        let value = serde_json::to_string(&holder)
            .map_err(|error| Error::caused(ErrorKind::CacheProtocol, "cannot write down who holds the lease", error))?;
        Ok(Self { key: owner_key.into(), value })
    }
}

impl RedisLease {
    /// A lease that is not held yet, for the owner of this claim.
    pub fn new(address: CacheAddress, ownership: Ownership) -> Self {
        Self { connection: Connection::new(address), ownership }
    }

    /// Who holds the lease now, if anybody; a value that is not ours to read is an error.
    pub async fn holder(&mut self) -> Result<Option<Holder>> {
        let Some(value) = self.held_value().await? else { return Ok(None) };
        serde_json::from_str(&value).map(Some).map_err(|error| {
            Error::caused(ErrorKind::CacheProtocol, format!("{} does not say who holds it", self.ownership.key), error)
        })
    }

    async fn held_value(&mut self) -> Result<Option<String>> {
        let answer = self.connection.command("read the lease", cmd("GET").arg(&self.ownership.key), LEASE_TIMEOUT).await?;
        reply::optional_text(&answer)
    }
}

#[async_trait]
impl Lease for RedisLease {
    /// Safe to repeat after a lost reply.
    async fn acquire(&mut self) -> Result<()> {
        let mut set = cmd("SET");
        set.arg(&self.ownership.key).arg(&self.ownership.value).arg("NX").arg("PX").arg(milliseconds(LEASE_TTL));
        if self.connection.command("take the lease", &set, LEASE_TIMEOUT).await? != Value::Nil {
            return Ok(());
        }
        match self.held_value().await? {
            Some(value) if value == self.ownership.value => self.renew().await,
            Some(value) => Err(held(&self.ownership.key, &value)),
            None => Err(Error::new(ErrorKind::LeaseHeld, format!("{} was held until just now", self.ownership.key))),
        }
    }

    async fn renew(&mut self) -> Result<()> {
        let mut extend = cmd("PEXPIRE");
        extend.arg(&self.ownership.key).arg(milliseconds(LEASE_TTL));
        while_owned(&mut self.connection, "renew the lease", &self.ownership, &[extend], LEASE_TIMEOUT).await.map(|_| ())
    }

    async fn release(&mut self) -> Result<()> {
        let mut delete = cmd("DEL");
        delete.arg(&self.ownership.key);
        match while_owned(&mut self.connection, "release the lease", &self.ownership, &[delete], LEASE_TIMEOUT).await {
            Err(error) if error.kind() == ErrorKind::LeaseLost => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}

fn held(key: &str, value: &str) -> Error {
    let by = serde_json::from_str::<Holder>(value)
        .map_or_else(|_| "something that this program does not know".to_owned(), |h| h.to_string());
    Error::new(ErrorKind::LeaseHeld, format!("{key} is held by {by}"))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The machine's name, for messages only. The standard library cannot ask for it.
fn host_name() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = kernel.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    if name.trim().is_empty() { "an unknown host".to_owned() } else { name.trim().to_owned() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_holder() {
        let holder = Holder { token: "t".into(), host: "box".into(), pid: 7, since: "2026-01-01T00:00:00Z".into() };
        let error = held("{g}:owner", &serde_json::to_string(&holder).unwrap());
        assert_eq!(error.kind(), ErrorKind::LeaseHeld);
        assert_eq!(error.to_string(), "{g}:owner is held by process 7 on box, since 2026-01-01T00:00:00Z");
        assert!(held("k", "junk").to_string().contains("does not know"));
    }

    #[test]
    fn two_claims_of_one_process_differ() {
        let claim = || Ownership::claim("k").unwrap();
        assert_ne!(claim(), claim());
    }
}
