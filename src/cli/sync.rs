//! `sync`: one pass, then the end.

use actix::Actor;
use serde::Serialize;

use super::arguments::{Output, SyncMode};
use super::exit::Exit;
use super::{pipelines, print};
use crate::actors::health::Health;
use crate::actors::messages::Shutdown;
use crate::actors::supervisor::{Schedule, Supervisor};
use crate::config::{Config, PipelineConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::model::pass::{Mode, PassSummary};

#[derive(Serialize)]
struct Report {
    pipeline: String,
    graph: String,
    #[serde(flatten)]
    pass: PassSummary,
}

/// Runs the pass for every pipeline, one after the other; goes on after a failure, and fails at the end.
pub(super) async fn sync(config: &Config, mode: SyncMode, output: Output) -> Exit {
    let mode = match mode {
        SyncMode::Full => Mode::Full,
        SyncMode::Incremental => Mode::Incremental,
    };
    let mut exit = Exit::Done;
    let mut reports = Vec::new();
    for pipeline in config.pipelines() {
        match one_pass(pipeline, mode).await {
            Ok(report) => reports.push(report),
            Err(error) => exit = print::failed(&error),
        }
    }
    print::result(output, &reports, || reports.iter().map(Report::text).collect::<Vec<_>>().join("\n"));
    exit
}

async fn one_pass(config: &PipelineConfig, mode: Mode) -> Result<Report> {
    let (health, _status) = Health::new();
    let pipeline = pipelines::assemble(config, Schedule::Once(mode), health.start().recipient())?;
    let graph = pipeline.graph.clone();
    let (supervisor, mut outcome) = Supervisor::new(pipeline);
    let supervisor = supervisor.start();
    let interrupted = || Error::new(ErrorKind::ActorStopped, "interrupted; the next pass goes on from here");
    let outcome = tokio::select! {
        outcome = &mut outcome => outcome,
        _ = terminated() => {
            supervisor.do_send(Shutdown);
            outcome.await
        }
    };
    let pass = outcome.map_err(|_| Error::new(ErrorKind::ActorStopped, "the pass ended without a word"))??;
    Ok(Report { pipeline: config.name.to_string(), graph, pass: pass.ok_or_else(interrupted)? })
}

/// Waits for SIGTERM or Ctrl-C; for ever where signals cannot be listened for.
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

impl Report {
    fn text(&self) -> String {
        let totals = &self.pass.totals;
        format!(
            "{}: {} pass over graph {} in {:.1} s: {} nodes and {} relationships written, {} deleted, {} rows read, {} quarantined, {} \
             collapsed",
            self.pipeline,
            self.pass.mode,
            self.graph,
            (self.pass.ended_at - self.pass.began_at).as_seconds_f64(),
            totals.nodes,
            totals.relationships,
            totals.deleted,
            totals.read,
            totals.quarantined,
            totals.collapsed
        )
    }
}
