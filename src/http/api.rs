//! What all paths share: the state that they answer from, their rules, and the ways to the supervisors.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Recipient};
use async_trait::async_trait;
use parking_lot::RwLock;
use serde::Serialize;
use tokio::sync::{broadcast, watch};

use super::hosts::Hosts;
use crate::actors::health::AppliedBatch;
use crate::actors::messages::{Approve, AwaitApplied, AwaitVerified, IgnoreQuarantine, RequestPass, RollBack, SetPaused};
use crate::actors::supervisor::Supervisor;
use crate::config::Secret;
use crate::error::Result;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::status::ServiceStatus;

/// How long a client may take to send its request's head, and then its body: a slower one is no monitor.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// What the paths answer from: the state that the health actor shows, and the supervisors. No path asks a worker.
pub(crate) struct Api {
    pub status: watch::Receiver<ServiceStatus>,
    /// The rules of the paths.
    pub rules: Arc<RwLock<Rules>>,
    /// Reads the configuration again.
    pub reload: Arc<dyn Reload>,
    pub pipelines: BTreeMap<String, Control>,
    /// What `/metrics` shows; without them there is no such path.
    pub metrics: Option<Arc<Metrics>>,
    /// Where batches can be followed as they are applied.
    pub applied: broadcast::Sender<Arc<AppliedBatch>>,
}

/// What a supervisor can be asked for.
#[derive(Clone)]
pub(crate) struct Control {
    pub pass: Recipient<RequestPass>,
    /// Passes that cover a commit.
    pub cover: Recipient<AwaitApplied>,
    /// Comparisons that prove equality.
    pub prove: Recipient<AwaitVerified>,
    /// Deletes that are held.
    pub approve: Recipient<Approve>,
    /// The way back to the previous graph.
    pub rollback: Recipient<RollBack>,
    /// What is quarantined and is to be let be.
    pub ignore: Recipient<IgnoreQuarantine>,
    pub pause: Recipient<SetPaused>,
}

impl From<Addr<Supervisor>> for Control {
    fn from(supervisor: Addr<Supervisor>) -> Self {
        Self {
            pass: supervisor.clone().recipient(),
            cover: supervisor.clone().recipient(),
            prove: supervisor.clone().recipient(),
            approve: supervisor.clone().recipient(),
            rollback: supervisor.clone().recipient(),
            ignore: supervisor.clone().recipient(),
            pause: supervisor.recipient(),
        }
    }
}

/// Reads the configuration again and applies it.
#[async_trait(?Send)]
pub(crate) trait Reload: Send + Sync {
    async fn reload(&self) -> Result<Reloaded>;
}

/// What a reload changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Reloaded {
    /// Settings that are followed from now on.
    pub applied: Vec<String>,
    /// Settings that changed and need a new process.
    pub needs_restart: Vec<String>,
}

/// The rules of the paths. A reload may change them while the service runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// How many seconds each pipeline may be behind.
    pub limits: BTreeMap<String, Duration>,
    /// What commands must carry; without one there are none.
    pub token: Option<Secret>,
    /// The hosts that a browser may ask for.
    pub hosts: Hosts,
}
