//! Health: gathers what the pipelines report and shows it. No actor waits for it, and it waits for none: it reads what is in
//! flight from the credit pools.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, Handler};
use chrono::Utc;
use serde::Serialize;
use tokio::sync::{broadcast, watch};

use super::credit::CreditPool;
use super::member::Member;
use super::messages::StatusChanged;
use super::stream_load::STREAM_STEPS;
use crate::model::changes::BatchChanges;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::status::{InFlight, PipelineStatus, SAMPLES, ServiceStatus, ThroughputSample};

/// How often the amount in flight and the speed are sampled.
const SAMPLING: Duration = Duration::from_secs(1);

/// The most batches that a follower of the changes may be behind. At a thousand short keys each they take some ten megabytes, and
/// only while a client follows.
const CHANGES_KEPT: usize = 256;

/// A batch that was applied to a graph.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct AppliedBatch {
    /// The pipeline of the graph.
    pub pipeline: String,
    pub graph: String,
    /// The changes in the graph.
    #[serde(flatten)]
    pub changes: Arc<BatchChanges>,
}

pub(crate) struct Health {
    shown: watch::Sender<ServiceStatus>,
    pools: HashMap<String, Arc<CreditPool>>,
    metrics: Option<Arc<Metrics>>,
    applied: broadcast::Sender<Arc<AppliedBatch>>,
    /// The number of elements that each pipeline had changed at the last sample.
    changed: HashMap<String, u64>,
    /// The time that each stage of each pipeline had waited at the last sample, and the pool of that generation.
    waited: HashMap<(String, Member), (Weak<CreditPool>, Duration)>,
    sampled_at: Instant,
}

impl Health {
    /// Creates the actor, and the receiver from which its state is read.
    pub(crate) fn new() -> (Self, watch::Receiver<ServiceStatus>) {
        let (shown, state) = watch::channel(ServiceStatus::default());
        let applied = broadcast::Sender::new(CHANGES_KEPT);
        let (pools, changed) = (HashMap::new(), HashMap::new());
        let (waited, sampled_at) = (HashMap::new(), Instant::now());
        (Self { shown, pools, metrics: None, applied, changed, waited, sampled_at }, state)
    }

    /// Adds metrics that count what is reported.
    pub(crate) fn counting(mut self, metrics: Option<Arc<Metrics>>) -> Self {
        self.metrics = metrics;
        self
    }

    /// Returns the sender through which clients can follow the batches that are applied from now on.
    pub(crate) fn applied(&self) -> broadcast::Sender<Arc<AppliedBatch>> {
        self.applied.clone()
    }

    fn sample(&mut self) {
        let seconds = std::mem::replace(&mut self.sampled_at, Instant::now()).elapsed().as_secs_f64();
        let Self { pools, changed, waited, metrics, .. } = self;
        let metrics = metrics.as_deref();
        self.shown.send_modify(|status| {
            for (name, pipeline) in &mut status.pipelines {
                pipeline.in_flight = pools.get(name).map(|pool| in_flight(pool)).unwrap_or_default();
                if let (Some(metrics), Some(pool)) = (metrics, pools.get(name)) {
                    count_waiting(metrics, name, pool, waited);
                }
                let now = pipeline.statistics.changed();
                let before = changed.insert(name.clone(), now).unwrap_or(0);
                take_sample(pipeline, now.saturating_sub(before) as f64 / seconds.max(f64::EPSILON));
            }
        });
    }

    fn tell(&self, status: &PipelineStatus, changes: Arc<BatchChanges>, staged: bool) {
        if let Some(metrics) = &self.metrics {
            metrics.count_batch(&status.name, changes.took);
        }
        // No reader sees a stage yet.
        if !staged && !changes.kinds.is_empty() {
            let batch = AppliedBatch { pipeline: status.name.clone(), graph: status.graph.clone(), changes };
            // There may be no follower.
            let _ = self.applied.send(Arc::new(batch));
        }
    }
}

/// Counts the time that a stage waited since the last sample. Each generation counts from zero.
fn count_waiting(
    metrics: &Metrics,
    name: &str,
    pool: &Arc<CreditPool>,
    waited: &mut HashMap<(String, Member), (Weak<CreditPool>, Duration)>,
) {
    for stage in STREAM_STEPS {
        let now = pool.load().waited(stage);
        let before = waited.insert((name.to_owned(), stage), (Arc::downgrade(pool), now));
        let before = before.filter(|(of, _)| of.ptr_eq(&Arc::downgrade(pool))).map_or(Duration::ZERO, |(_, before)| before);
        metrics.count_waiting(name, &stage.to_string(), now.saturating_sub(before), pool.load().queued(stage));
    }
}

fn take_sample(pipeline: &mut PipelineStatus, changed_per_second: f64) {
    let at = Utc::now();
    let (seconds_behind, freshness_seconds) = (pipeline.lag_seconds(at), pipeline.statistics.freshness.last_seconds);
    let sample = ThroughputSample { at, changed_per_second, seconds_behind, freshness_seconds };
    let samples = Arc::make_mut(&mut pipeline.samples);
    if samples.len() == SAMPLES {
        samples.pop_front();
    }
    samples.push_back(sample);
    pipeline.sample = Some(sample);
}

fn in_flight(pool: &CreditPool) -> InFlight {
    InFlight { batches: pool.batches_in_flight(), rows: pool.rows_in_flight(), bytes: pool.bytes_in_flight() }
}

impl Actor for Health {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(SAMPLING, |health, _| health.sample());
    }
}

impl Handler<StatusChanged> for Health {
    type Result = ();

    fn handle(&mut self, message: StatusChanged, _: &mut Self::Context) {
        let StatusChanged { mut status, credit, changes, staged } = message;
        if let Some(changes) = changes.filter(|changes| !changes.is_empty()) {
            self.tell(&status, changes, staged);
        }
        status.in_flight = credit.as_deref().map(in_flight).unwrap_or_default();
        match credit {
            Some(pool) => self.pools.insert(status.name.clone(), pool),
            None => self.pools.remove(&status.name),
        };
        if let Some(metrics) = &self.metrics {
            metrics.count(self.shown.borrow().pipelines.get(&status.name), &status);
        }
        self.shown.send_modify(|shown| {
            if let Some(before) = shown.pipelines.get(&status.name) {
                status.sample = before.sample;
                status.samples = Arc::clone(&before.samples);
            }
            shown.pipelines.insert(status.name.clone(), status);
        });
    }
}
