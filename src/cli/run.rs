//! `run`: the service.

use std::net::TcpListener;
use std::sync::Arc;

use actix::{Actor, Addr};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};

use super::exit::Exit;
use super::{pipelines, print};
use crate::actors::health::Health;
use crate::actors::messages::Shutdown;
use crate::actors::supervisor::{Outcome, Schedule, Supervisor};
use crate::config::{Config, SyncConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::http::{Api, bind, serve};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::status::ServiceStatus;

struct Running {
    name: String,
    supervisor: Addr<Supervisor>,
    outcome: oneshot::Receiver<Outcome>,
}

/// Runs until a signal, or until something makes it impossible.
pub(super) async fn run(config: &Config) -> Exit {
    match run_until_signal(config).await {
        Ok(()) => Exit::Done,
        Err(error) => print::failed(&error),
    }
}

async fn run_until_signal(config: &Config) -> Result<()> {
    // Before anything runs, so that no signal is missed.
    let mut signals = Signals::new()?;
    let metrics = config.monitoring.metrics_enabled.then(|| Arc::new(Metrics::new()));
    let (health, status) = Health::new();
    let health = health.counting(metrics.clone()).start();
    let mut assembled = Vec::new();
    for pipeline in config.pipelines() {
        assembled.push(pipelines::assemble(pipeline, schedule(&pipeline.sync), health.clone().recipient())?);
    }
    let listener = config.monitoring.address().map(bind).transpose()?;
    let running: Vec<Running> = assembled
        .into_iter()
        .map(|pipeline| {
            let name = pipeline.name.clone();
            let (supervisor, outcome) = Supervisor::new(pipeline);
            Running { name, supervisor: supervisor.start(), outcome }
        })
        .collect();
    let http = listener.map(|listener| start_http(config, listener, status, metrics, &running)).transpose()?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), pipelines = running.len(), "service started");
    let name = signals.next().await;
    tracing::info!(signal = name, "shutting down");
    tokio::select! {
        () = stop(running) => tracing::info!("service stopped"),
        name = signals.next() => tracing::warn!(signal = name, "second signal, stopping at once"),
    }
    if let Some(http) = http {
        http.stop(false).await;
    }
    Ok(())
}

/// Each supervisor keeps its own deadline.
async fn stop(running: Vec<Running>) {
    for pipeline in &running {
        pipeline.supervisor.do_send(Shutdown);
    }
    for pipeline in running {
        match pipeline.outcome.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(pipeline = pipeline.name, error = %error.chain(), "pipeline ended with an error"),
            Err(_) => tracing::warn!(pipeline = pipeline.name, "pipeline ended without a word"),
        }
    }
}

fn schedule(sync: &SyncConfig) -> Schedule {
    let interval = sync.enable_incremental.then_some(sync.interval);
    Schedule::Continuous { full_first: sync.full_sync_on_startup, interval }
}

fn start_http(
    config: &Config,
    listener: TcpListener,
    status: watch::Receiver<ServiceStatus>,
    metrics: Option<Arc<Metrics>>,
    running: &[Running],
) -> Result<actix_web::dev::ServerHandle> {
    let address = listener.local_addr().ok();
    let api = Api {
        status,
        limits: config.pipelines().iter().map(|pipeline| (pipeline.name.to_string(), config.monitoring.ready_lag)).collect(),
        pipelines: running.iter().map(|pipeline| (pipeline.name.clone(), pipeline.supervisor.clone().into())).collect(),
        token: config.monitoring.api_token.clone(),
        metrics,
    };
    let (server, handle) = serve(listener, api)?;
    actix::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "HTTP server ended");
        }
    });
    tracing::info!(?address, "HTTP server started");
    Ok(handle)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let listen =
            |kind| signal(kind).map_err(|error| Error::caused(ErrorKind::Configuration, "cannot listen for signals", error));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
