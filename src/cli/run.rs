//! `run`: the service.

use std::collections::BTreeMap;
use std::time::Duration;

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
use crate::http::{StatusServer, serve};
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
    let (health, status) = Health::new();
    let health = health.start();
    let mut assembled = Vec::new();
    for pipeline in config.pipelines() {
        assembled.push(pipelines::assemble(pipeline, schedule(&pipeline.sync), health.clone().recipient())?);
    }
    let http = start_http(config, status)?;
    let running: Vec<Running> = assembled
        .into_iter()
        .map(|pipeline| {
            let name = pipeline.name.clone();
            let (supervisor, outcome) = Supervisor::new(pipeline);
            Running { name, supervisor: supervisor.start(), outcome }
        })
        .collect();
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

fn start_http(config: &Config, status: watch::Receiver<ServiceStatus>) -> Result<Option<actix_web::dev::ServerHandle>> {
    let Some(address) = config.monitoring.address() else { return Ok(None) };
    let (server, handle) = serve(address, StatusServer { status, limits: ready_limits(config) })?;
    actix::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "HTTP server ended");
        }
    });
    tracing::info!(%address, "HTTP server started");
    Ok(Some(handle))
}

fn ready_limits(config: &Config) -> BTreeMap<String, Duration> {
    let limit = |sync: &SyncConfig| sync.interval + config.monitoring.ready_lag;
    config.pipelines().iter().map(|pipeline| (pipeline.name.to_string(), limit(&pipeline.sync))).collect()
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
