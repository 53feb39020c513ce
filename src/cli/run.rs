//! `run`: runs the service.

use std::net::TcpListener;
use std::sync::Arc;

use actix::{Actor, Addr};
use parking_lot::{Mutex, RwLock};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{broadcast, oneshot, watch};

use super::exit::Exit;
use super::progress::Progress;
use super::reload::{Origin, Reloader, rules, schedule};
use super::{pipelines, print};
use crate::actors::health::{AppliedBatch, Health};
use crate::actors::messages::Shutdown;
use crate::actors::pipeline::PipelineOutcome;
use crate::actors::supervisor::Supervisor;
use crate::config::Config;
use crate::connector::LocalInstance;
use crate::error::{Error, ErrorKind, Result};
use crate::http::{ApiState, HttpRules, Reload, bind, serve};
use crate::sink::host_name;
use crate::telemetry::logging::LevelControl;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::status::{PipelineStatus, ServiceStatus};

/// The state that the HTTP server shows.
struct HttpState {
    status: watch::Receiver<ServiceStatus>,
    metrics: Option<Arc<Metrics>>,
    applied: broadcast::Sender<Arc<AppliedBatch>>,
    rules: Arc<RwLock<HttpRules>>,
    reload: Arc<dyn Reload>,
}

struct RunningPipeline {
    name: String,
    supervisor: Addr<Supervisor>,
    outcome: oneshot::Receiver<PipelineOutcome>,
}

/// Runs until a signal, or until a failure makes it impossible.
pub(super) async fn run(config: &Config, origin: Origin, level: LevelControl, progress: Progress) -> Exit {
    match run_until_signal(config, origin, level, progress).await {
        Ok(()) => Exit::Done,
        Err(error) => print::failed(&error),
    }
}

async fn run_until_signal(config: &Config, origin: Origin, level: LevelControl, progress: Progress) -> Result<()> {
    // Before anything runs, so that no signal is missed.
    let mut signals = Signals::new()?;
    // This comes first: if it fails, nothing has to be stopped.
    let listener = config.monitoring.address().map(bind).transpose()?;
    let metrics = config.monitoring.metrics_enabled.then(|| Arc::new(Metrics::new()));
    let (health, status) = Health::new();
    let applied = health.applied();
    let health = health.counting(metrics.clone()).start();
    let process = LocalInstance { url: config.monitoring.url(&host_name()), ..LocalInstance::default() };
    let mut assembled = Vec::new();
    for pipeline in config.pipelines() {
        assembled.push(pipelines::assemble(pipeline, &process, schedule(&pipeline.sync), health.clone().recipient())?);
    }
    let running: Vec<RunningPipeline> = assembled
        .into_iter()
        .map(|pipeline| {
            let name = pipeline.name.clone();
            let (supervisor, outcome) = Supervisor::new(pipeline);
            RunningPipeline { name, supervisor: supervisor.start(), outcome }
        })
        .collect();
    for pipeline in &running {
        // Until the pipeline is in step for the first time: after that the status page shows more.
        let following = progress.clone().follow(pipeline.name.clone(), status.clone(), PipelineStatus::is_in_step);
        actix::spawn(following);
    }
    let rules = Arc::new(RwLock::new(rules(config)));
    let supervisors = running.iter().map(|pipeline| (pipeline.name.clone(), pipeline.supervisor.clone().recipient()));
    let reloader = Arc::new(Reloader {
        origin,
        current: Mutex::new(config.clone()),
        rules: Arc::clone(&rules),
        level,
        supervisors: supervisors.collect(),
        health: health.recipient(),
        process,
    });
    let shown = HttpState { status, metrics, applied, rules, reload: reloader.clone() };
    let http = listener.map(|listener| start_http(listener, shown, &running)).transpose()?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), pipelines = running.len(), "service started");
    let name = signals.end(reloader.as_ref()).await;
    tracing::info!(signal = name, "shutting down");
    tokio::select! {
        () = stop(running) => tracing::info!("service stopped"),
        name = signals.end(reloader.as_ref()) => tracing::warn!(signal = name, "second signal, stopping at once"),
    }
    if let Some(http) = http {
        http.stop(false).await;
    }
    Ok(())
}

/// Each supervisor keeps its own deadline.
async fn stop(running: Vec<RunningPipeline>) {
    for pipeline in &running {
        pipeline.supervisor.do_send(Shutdown);
    }
    for pipeline in running {
        match pipeline.outcome.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(pipeline = pipeline.name, error = %error.chain(), "pipeline ended with an error"),
            Err(_) => tracing::warn!(pipeline = pipeline.name, "pipeline stopped without reporting a result"),
        }
    }
}

/// Starts the HTTP server.
fn start_http(listener: TcpListener, shown: HttpState, running: &[RunningPipeline]) -> Result<actix_web::dev::ServerHandle> {
    let address = listener.local_addr().ok();
    let api = ApiState {
        status: shown.status,
        rules: shown.rules,
        reload: shown.reload,
        pipelines: running.iter().map(|pipeline| (pipeline.name.clone(), pipeline.supervisor.clone().into())).collect(),
        metrics: shown.metrics,
        applied: shown.applied,
    };
    let (server, handle) = serve(listener, api)?;
    actix::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "HTTP server ended");
        }
    });
    tracing::info!(address = address.map(tracing::field::display), "HTTP server started");
    Ok(handle)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let listen =
            |kind| signal(kind).map_err(|error| Error::caused(ErrorKind::Configuration, "cannot listen for signals", error));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal to end. A signal to read the configuration again is handled meanwhile.
    async fn end(&mut self, reload: &dyn Reload) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => {
                    if let Err(error) = reload.reload().await {
                        tracing::warn!(error = %error.chain(), "configuration reload failed; the current configuration stays");
                    }
                }
            }
        }
    }
}
