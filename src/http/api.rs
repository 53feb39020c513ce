//! The shared parts of all paths: the state for their answers, their rules, and the addresses of the supervisors.

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

/// The time limit for a request's head, and then for its body: a slower client is not a monitor.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The sources of all answers: the state from the health actor, and the supervisors. No path asks a worker.
pub(crate) struct ApiState {
    pub status: watch::Receiver<ServiceStatus>,
    /// The rules of the paths.
    pub rules: Arc<RwLock<HttpRules>>,
    /// Reads the configuration again.
    pub reload: Arc<dyn Reload>,
    pub pipelines: BTreeMap<String, SupervisorHandle>,
    /// The metrics for `/metrics`; if absent, there is no such path.
    pub metrics: Option<Arc<Metrics>>,
    /// The channel that sends batches as they are applied.
    pub applied: broadcast::Sender<Arc<AppliedBatch>>,
}

/// The requests that a supervisor takes.
#[derive(Clone)]
pub(crate) struct SupervisorHandle {
    pub pass: Recipient<RequestPass>,
    /// Requests for a pass that covers a commit.
    pub cover: Recipient<AwaitApplied>,
    /// Requests for a comparison that proves equality.
    pub prove: Recipient<AwaitVerified>,
    /// Approvals of held deletes.
    pub approve: Recipient<Approve>,
    /// Requests to swap back to the previous graph.
    pub rollback: Recipient<RollBack>,
    /// Requests to ignore the quarantined elements.
    pub ignore: Recipient<IgnoreQuarantine>,
    pub pause: Recipient<SetPaused>,
}

impl From<Addr<Supervisor>> for SupervisorHandle {
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

/// The changes of a reload.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Reloaded {
    /// Changed settings that apply from now on.
    pub applied: Vec<String>,
    /// Changed settings that need a new process.
    pub needs_restart: Vec<String>,
}

/// The rules of the paths. A reload may change them while the service runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct HttpRules {
    /// The largest lag with which each pipeline is ready.
    pub limits: BTreeMap<String, Duration>,
    /// Whether a pipeline on standby is ready.
    pub standby_is_ready: bool,
    /// The token that commands must carry; if absent, there are no commands.
    pub token: Option<Secret>,
    /// The hosts that a browser may request.
    pub hosts: Hosts,
}
