//! The lease that makes one process the only writer of a graph.
//!
//! The lease has its own connection: a renewal must not wait behind a long query.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{SecondsFormat, Utc};
use redis::{Cmd, cmd};
use serde::{Deserialize, Serialize};

use super::address::CacheAddress;
use super::adoption::{self, TakeOver};
use super::connection::CacheConnection;
use super::fence::{ATTEMPTS, Ownership, keeps_changing, transaction, unwatch, watched_value, watched_values};
use super::keys::GraphKeys;
use super::{GraphLease, reply};
use crate::error::{Error, ErrorKind, Result};
use crate::model::graph_name::GraphName;
use crate::model::leader::Leader;
use crate::model::spread::InstanceId;
use crate::retry::Attempts;

/// The lifetime of a lease without a renewal: the time that a successor waits after a crash. A silence of the network or of the
/// cache that lasts longer costs the ownership if a successor takes the lease meanwhile.
pub const LEASE_TTL: Duration = Duration::from_secs(5);

/// The time limit of a command about the lease: a longer one leaves no time to renew.
pub(super) const LEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// The holder of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Distinguishes one claim from another, also of the same process.
    pub token: String,
    /// The process, which can hold the leases of several graphs. Older versions do not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// The process, as others show it.
    #[serde(flatten)]
    pub leader: Leader,
}

/// What is left of a claim on a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClaimState {
    /// The lease is ours.
    Held,
    /// The lease expired, because the cache or the network stood still. Nobody has taken or released it since, so nobody else has
    /// written either.
    Expired,
    /// The fence no longer names this claim, or the lease is another process's.
    Lost,
}

/// A lease on one graph, held or not.
#[derive(Debug)]
pub struct RedisLease {
    connection: CacheConnection,
    ownership: Ownership,
    /// The policy for adopting a graph that is not the pipeline's own. Absent if the lease is not for a graph.
    adopts: Option<TakeOver>,
}

impl Ownership {
    /// A new claim of this process on a graph. It is made once: the connections of later generations prove with it that they
    /// belong to the same owner.
    pub fn claim(graph: &GraphName) -> Result<Self> {
        Self::claim_by(graph, InstanceId::random(), None)
    }

    /// As [`Self::claim`], by this instance, with an HTTP server at this address.
    pub(crate) fn claim_by(graph: &GraphName, instance: InstanceId, url: Option<String>) -> Result<Self> {
        let since = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
        let process = Leader { host: host_name(), pid: std::process::id(), since, url };
        let token = format!("{:032x}", rand::random::<u128>());
        let holder = Holder { token: token.clone(), instance: Some(instance.clone()), leader: process.clone() };
        let value = serde_json::to_string(&holder)
            .map_err(|error| Error::caused(ErrorKind::CacheProtocol, "cannot encode the holder of the lease", error))?;
        Ok(Self {
            graph: graph.clone(),
            key: GraphKeys::of(graph).owner(),
            value,
            fence: GraphKeys::of(graph).fence(),
            token,
            instance,
            process,
        })
    }

    /// What is left of the claim, from the values of the lease and of the fence.
    fn state(&self, owner: Option<&str>, fence: Option<&str>) -> ClaimState {
        match owner {
            _ if !self.is_named_by(fence) => ClaimState::Lost,
            None => ClaimState::Expired,
            Some(value) if value == self.value => ClaimState::Held,
            Some(_) => ClaimState::Lost,
        }
    }

    /// Whether the value of a lease names this process, which has another claim before its configuration is reloaded.
    fn is_of_holder(&self, value: &str) -> bool {
        Holder::read(&self.key, value).is_ok_and(|holder| holder.instance.as_ref() == Some(&self.instance))
    }
}

impl Holder {
    /// Reads the value of a lease. One that this program cannot read is an error.
    pub(super) fn read(key: &str, value: &str) -> Result<Self> {
        serde_json::from_str(value).map_err(|error| {
            Error::caused(ErrorKind::CacheProtocol, format!("cannot read the holder of the lease from {key}"), error)
        })
    }
}

impl RedisLease {
    /// A lease that is not held yet, for the owner of this claim. It is for a pipeline's name, under which there is no graph.
    pub fn new(address: CacheAddress, ownership: Ownership) -> Self {
        Self { connection: CacheConnection::new(address), ownership, adopts: None }
    }

    /// As [`Self::new`], for the graph with the claim's name: the lease is taken only if this graph may be filled.
    pub(super) fn of_graph(address: CacheAddress, ownership: Ownership, take_over: TakeOver) -> Self {
        Self { adopts: Some(take_over), ..Self::new(address, ownership) }
    }

    /// Returns the holder of the lease, if anybody holds it. A value that this program cannot read is an error.
    pub async fn holder(&mut self) -> Result<Option<Holder>> {
        let answer = self.connection.command("read the lease", cmd("GET").arg(&self.ownership.key), LEASE_TIMEOUT).await?;
        reply::optional_text(&answer)?.map(|value| Holder::read(&self.ownership.key, &value)).transpose()
    }

    /// Carries out commands for what is left of the claim, and returns what is. The transaction watches the lease and the fence, so
    /// whatever happens in between breaks it, an expiry included.
    async fn while_claimed(&mut self, doing: &str, held: &[Cmd], expired: &[Cmd]) -> Result<ClaimState> {
        let (key, fence) = (self.ownership.key.as_str(), self.ownership.fence.as_str());
        self.connection.wake().await;
        for _ in 0..ATTEMPTS {
            let [owner, last] = watched_values(&mut self.connection, doing, [key, fence], LEASE_TIMEOUT).await?;
            let state = self.ownership.state(owner.as_deref(), last.as_deref());
            let commands = match state {
                ClaimState::Held => held,
                ClaimState::Expired => expired,
                ClaimState::Lost => {
                    // The claim is lost even if the connection is, too.
                    let _ = unwatch(&mut self.connection, doing, LEASE_TIMEOUT).await;
                    return Err(self.ownership.lost(doing, owner.as_deref()));
                }
            };
            if transaction(&mut self.connection, doing, commands.iter().cloned(), LEASE_TIMEOUT).await?.is_some() {
                return Ok(state);
            }
        }
        Err(keeps_changing(doing, key))
    }

    fn take(&self) -> Cmd {
        let Ownership { key, value, .. } = &self.ownership;
        cmd("SET").arg(key).arg(value).arg("PX").arg(milliseconds(LEASE_TTL)).to_owned()
    }

    /// Takes the lease if it is free or already ours. Returns nothing if something changed in between.
    async fn try_acquire(&mut self) -> Result<Option<()>> {
        const DOING: &str = "take the lease";
        let Ownership { graph, key, value, .. } = &self.ownership;
        let mut watched = vec![key.clone()];
        if self.adopts.is_some() {
            watched.extend(adoption::watched(graph));
        }
        let watched: Vec<&str> = watched.iter().map(String::as_str).collect();
        let found = watched_value(&mut self.connection, DOING, &watched, key, LEASE_TIMEOUT).await?;
        let refusal = match (&found, self.adopts) {
            (Some(other), _) if other != value => Some(held(key, other)),
            (_, Some(take_over)) => adoption::refusal(&mut self.connection, graph, take_over).await?,
            _ => None,
        };
        if let Some(refusal) = refusal {
            unwatch(&mut self.connection, DOING, LEASE_TIMEOUT).await?;
            return Err(refusal);
        }
        let mark = self.adopts.map(|_| adoption::mark(graph));
        let commands = [self.take(), self.ownership.write_fence()].into_iter().chain(mark);
        Ok(transaction(&mut self.connection, DOING, commands, LEASE_TIMEOUT).await?.map(drop))
    }
}

/// Carries out a command unless another process holds the lease. Nobody can take the lease in between: the transaction watches the
/// lease and the fence.
///
/// If nobody holds the lease, the transaction deletes the fence of another process, so that this process cannot take its expired
/// lease again: it must begin again, and read what the command wrote.
pub(super) async fn unless_another_leads(
    connection: &mut CacheConnection,
    doing: &str,
    ownership: &Ownership,
    command: &Cmd,
) -> Result<()> {
    let (key, fence) = (ownership.key.as_str(), ownership.fence.as_str());
    connection.wake().await;
    for _ in 0..ATTEMPTS {
        let [owner, last] = watched_values(connection, doing, [key, fence], LEASE_TIMEOUT).await?;
        let is_of_another = last.is_some() && !ownership.is_named_by(last.as_deref());
        let delete_fence = (owner.is_none() && is_of_another).then(|| cmd("DEL").arg(fence).to_owned());
        if let Some(other) = owner.filter(|owner| !ownership.is_of_holder(owner)) {
            unwatch(connection, doing, LEASE_TIMEOUT).await?;
            return Err(held(key, &other));
        }
        let commands = std::iter::once(command.clone()).chain(delete_fence);
        if transaction(connection, doing, commands, LEASE_TIMEOUT).await?.is_some() {
            return Ok(());
        }
    }
    Err(keeps_changing(doing, fence))
}

#[async_trait]
impl GraphLease for RedisLease {
    /// Safe to repeat after a lost reply. From now on, nothing that an earlier owner has under way is carried out.
    async fn acquire(&mut self) -> Result<()> {
        self.connection.wake().await;
        let (mut attempts, mut changes) = (Attempts::default(), 0);
        while changes < ATTEMPTS {
            match self.try_acquire().await {
                Ok(Some(())) => return Ok(()),
                Ok(None) => changes += 1,
                Err(error) => attempts.after(error).await?,
            }
        }
        Err(keeps_changing("take the lease", &self.ownership.key))
    }

    async fn leader(&mut self) -> Result<Option<Leader>> {
        self.connection.follow_master_at_times().await;
        Ok(self.holder().await?.map(|holder| holder.leader))
    }

    async fn renew(&mut self) -> Result<()> {
        // Only an expired lease is set: a server without memory refuses that, but lets a lease live on.
        let extend = cmd("PEXPIRE").arg(&self.ownership.key).arg(milliseconds(LEASE_TTL)).to_owned();
        let take = self.take();
        if self.while_claimed("renew the lease", &[extend], &[take]).await? == ClaimState::Expired {
            tracing::warn!(graph = %self.ownership.graph, "lease had expired, reclaimed it");
        }
        Ok(())
    }

    async fn release(&mut self) -> Result<()> {
        let delete = cmd("DEL").arg(&self.ownership.key).arg(&self.ownership.fence).to_owned();
        // Without the fence, a renewal of ours that is still on its way does not take the lease again.
        let delete_fence = cmd("DEL").arg(&self.ownership.fence).to_owned();
        match self.while_claimed("release the lease", &[delete], &[delete_fence]).await {
            Err(error) if error.kind() == ErrorKind::LeaseLost => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}

fn held(key: &str, value: &str) -> Error {
    let by = serde_json::from_str::<Holder>(value)
        .map_or_else(|_| "a holder that this program does not know".to_owned(), |holder| holder.leader.to_string());
    Error::new(ErrorKind::LeaseHeld, format!("{key} is held by {by}"))
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The machine's name, only for messages. The standard library cannot read it.
pub(crate) fn host_name() -> String {
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
        let leader = Leader { host: "box".into(), pid: 7, since: "2026-01-01T00:00:00Z".into(), url: None };
        let holder = Holder { token: "t".into(), instance: None, leader };
        let error = held("{g}:owner", &serde_json::to_string(&holder).unwrap());
        assert_eq!(error.kind(), ErrorKind::LeaseHeld);
        assert_eq!(error.to_string(), "{g}:owner is held by process 7 on box, since 2026-01-01T00:00:00Z");
        assert!(held("k", "junk").to_string().contains("does not know"));
    }

    #[test]
    fn a_lease_of_an_older_version_names_no_instance() {
        let claim = Ownership::claim(&GraphName::new("g").unwrap()).unwrap();
        let holder = Holder::read("k", &claim.value).unwrap();
        assert_eq!((holder.instance, holder.leader), (Some(claim.instance), claim.process));
        let older = r#"{"token":"t","host":"box","pid":7,"since":"2026-01-01T00:00:00Z"}"#;
        assert_eq!(Holder::read("k", older).unwrap().instance, None);
        assert_eq!(Holder::read("k", "junk").unwrap_err().kind(), ErrorKind::CacheProtocol);
    }

    #[test]
    fn a_claim_is_left_only_while_the_fence_names_it() {
        let graph = GraphName::new("g").unwrap();
        let (ours, other) = (Ownership::claim(&graph).unwrap(), Ownership::claim(&graph).unwrap());
        let (our_fence, other_fence) = (format!("{}:1", ours.token), format!("{}:1", other.token));
        let state = |owner: Option<&Ownership>, fence| ours.state(owner.map(|owner| owner.value.as_str()), fence);
        assert_eq!(state(Some(&ours), Some(&our_fence)), ClaimState::Held);
        assert_eq!(state(None, Some(&our_fence)), ClaimState::Expired);
        for owner in [None, Some(&ours), Some(&other)] {
            for fence in [None, Some(other_fence.as_str())] {
                assert_eq!(state(owner, fence), ClaimState::Lost, "{owner:?} {fence:?}");
            }
        }
        assert_eq!(state(Some(&other), Some(&our_fence)), ClaimState::Lost);
    }

    #[test]
    fn two_claims_of_one_process_differ() {
        let claim = || Ownership::claim(&GraphName::new("k").unwrap()).unwrap();
        assert_ne!(claim(), claim());
    }
}
