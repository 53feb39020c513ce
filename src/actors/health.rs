//! Health: gathers what the pipelines report and shows it. Nobody waits for it, and it waits for nobody: what is in flight
//! it reads from the credit pools.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler};
use tokio::sync::watch;

use super::credit::CreditPool;
use super::messages::StatusChanged;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::status::{InFlight, ServiceStatus};

/// How often the numbers of what is in flight are taken.
const SAMPLING: Duration = Duration::from_secs(1);

/// The actor.
pub struct Health {
    shown: watch::Sender<ServiceStatus>,
    pools: HashMap<String, Arc<CreditPool>>,
    metrics: Option<Arc<Metrics>>,
}

impl Health {
    /// Makes it, and the end from which its state is read.
    pub fn new() -> (Self, watch::Receiver<ServiceStatus>) {
        let (shown, state) = watch::channel(ServiceStatus::default());
        (Self { shown, pools: HashMap::new(), metrics: None }, state)
    }

    /// With metrics that count what is reported.
    pub fn counting(mut self, metrics: Option<Arc<Metrics>>) -> Self {
        self.metrics = metrics;
        self
    }

    fn sample(&self) {
        self.shown.send_if_modified(|status| {
            let mut changed = false;
            for (name, pipeline) in &mut status.pipelines {
                let now = self.pools.get(name).map(|pool| in_flight(pool)).unwrap_or_default();
                changed |= pipeline.in_flight != now;
                pipeline.in_flight = now;
            }
            changed
        });
    }
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
        let StatusChanged { mut status, credit } = message;
        status.in_flight = credit.as_deref().map(in_flight).unwrap_or_default();
        match credit {
            Some(pool) => self.pools.insert(status.name.clone(), pool),
            None => self.pools.remove(&status.name),
        };
        if let Some(metrics) = &self.metrics {
            metrics.count(self.shown.borrow().pipelines.get(&status.name), &status);
        }
        self.shown.send_modify(|shown| {
            shown.pipelines.insert(status.name.clone(), status);
        });
    }
}
