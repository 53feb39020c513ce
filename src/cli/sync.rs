//! `sync`: runs one pass and ends.

use actix::Actor;
use serde::Serialize;

use super::arguments::{Output, SyncArguments, SyncMode};
use super::exit::Exit;
use super::parts::CountedParts;
use super::progress::Progress;
use super::{pipelines, print};
use crate::actors::connection_factory::ConnectionFactory;
use crate::actors::health::Health;
use crate::actors::messages::Shutdown;
use crate::actors::pipeline::{OneShotResult, Schedule};
use crate::actors::supervisor::Supervisor;
use crate::config::{Config, PipelineConfig};
use crate::connector::{LocalInstance, ServerConnector};
use crate::error::{Error, ErrorKind, Result};
use crate::model::bookmark::Bookmark;
use crate::model::guard::HeldDeletes;
use crate::model::outside_profile::OutsideProfile;
use crate::model::pass::{PassMode, PassSummary};

#[derive(Serialize)]
struct SyncReport {
    pipeline: String,
    graph: String,
    #[serde(flatten)]
    pass: PassSummary,
    /// The parts of the source's elements; only a full pass reads all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<CountedParts>,
    /// Elements that a comparison found to differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    differences: Option<u64>,
    /// The bookmark as of which both sides were found equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    equal_as_of: Option<Bookmark>,
    /// Deletes that wait for approval.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    held: Vec<HeldDeletes>,
    /// Whether nothing is left to do of what the pass found.
    finished: bool,
}

/// The reason for the exit code if there is more to mend than one run mends.
const UNFINISHED: &str = "more differs than one run mends: run the command again";

/// Runs the pass for every pipeline, one after another; continues after a failure, and fails at the end. Deletes that wait for
/// approval and differences that are left are a failure as well: the work is not done.
pub(super) async fn sync(config: &Config, arguments: &SyncArguments, output: Output, progress: &Progress) -> Exit {
    let mode = match arguments.mode {
        SyncMode::Full => PassMode::Full,
        SyncMode::Incremental => PassMode::Incremental,
        SyncMode::Differential => PassMode::Differential,
    };
    let mut exit = Exit::Done;
    let mut reports = Vec::new();
    for pipeline in config.pipelines() {
        match one_pass(pipeline, mode, arguments.allow_deletes, progress).await {
            Ok(done) => {
                if let Some(reason) = held(&done.held) {
                    print::line_to_stderr(&format!("{}: {reason}", pipeline.name));
                    exit = Exit::Failed;
                } else if !done.is_finished {
                    print::line_to_stderr(&format!("{}: {UNFINISHED}", pipeline.name));
                    exit = Exit::Failed;
                }
                let outside = outside_profile(pipeline).await;
                reports.push(SyncReport::of(pipeline, done, outside.as_ref()));
            }
            Err(error) => exit = print::failed(&error),
        }
    }
    print::result(output, &reports, || reports.iter().map(SyncReport::text).collect::<Vec<_>>().join("\n"));
    exit
}

fn held(held: &[HeldDeletes]) -> Option<String> {
    let kinds: Vec<String> = held.iter().map(|held| format!("{} of {}", held.held.number, held.kind)).collect();
    let way = "approve them with sync --mode differential --allow-deletes";
    (!kinds.is_empty()).then(|| format!("deletes are held: {}; {way}", kinds.join(", ")))
}

/// The elements that the last full pass left out. The pass itself is done, so a failure here does not count as its own: the
/// number is then omitted.
async fn outside_profile(config: &PipelineConfig) -> Option<OutsideProfile> {
    let mut store = ServerConnector::new(config).ok()?.store().await.ok()?;
    Some(store.load().await.ok()??.outside_profile)
}

/// The parts of the source's elements, as a full pass counted them. Some are read more than once if the source is written
/// meanwhile.
fn parts(pass: &PassSummary, outside: Option<&OutsideProfile>) -> Option<CountedParts> {
    let totals = (pass.mode == PassMode::Full).then_some(&pass.totals)?;
    let (elements, properties) = (totals.quarantined - totals.properties_quarantined, totals.properties_quarantined);
    let parts = CountedParts {
        kept: totals.nodes + totals.relationships,
        ..CountedParts::of(totals.read, totals.collapsed, elements, properties)
    };
    Some(outside.map_or(parts, |outside| parts.beside(outside)))
}

/// The error for a pass that did not end.
pub(super) fn interrupted() -> Error {
    Error::new(ErrorKind::ActorStopped, "interrupted; the next pass resumes from this point")
}

/// Runs one pass of a pipeline.
pub(super) async fn one_pass(
    config: &PipelineConfig,
    mode: PassMode,
    allow_deletes: bool,
    progress: &Progress,
) -> Result<OneShotResult> {
    let (health, status) = Health::new();
    let mut pipeline = pipelines::assemble(config, &LocalInstance::default(), Schedule::Once(mode), health.start().recipient())?;
    pipeline.allow_deletes = allow_deletes;
    let (supervisor, mut outcome) = Supervisor::new(pipeline);
    let supervisor = supervisor.start();
    let following = actix::spawn(progress.clone().follow(config.name.to_string(), status, |_| false));
    let outcome = tokio::select! {
        outcome = &mut outcome => outcome,
        _ = terminated() => {
            supervisor.do_send(Shutdown);
            outcome.await
        }
    };
    following.abort();
    // The bar goes with the task, before anything else is printed.
    let _ = following.await;
    let done = outcome.map_err(|_| Error::new(ErrorKind::ActorStopped, "the pass stopped without reporting a result"))??;
    done.map(|done| *done).ok_or_else(interrupted)
}

/// Waits for SIGTERM or Ctrl-C. Never returns if the process cannot listen for signals.
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

impl SyncReport {
    fn of(config: &PipelineConfig, done: OneShotResult, outside: Option<&OutsideProfile>) -> Self {
        let OneShotResult { pass, verdict, held, is_finished } = done;
        let finished = is_finished && held.is_empty();
        let graph = config.falkordb.database.to_string();
        let (differences, equal_as_of) = verdict.map(|verdict| (verdict.findings, verdict.equal_as_of)).unzip();
        let (pipeline, equal_as_of, parts) = (config.name.to_string(), equal_as_of.flatten(), parts(&pass, outside));
        Self { pipeline, graph, pass, parts, differences, equal_as_of, held, finished }
    }

    fn text(&self) -> String {
        let totals = &self.pass.totals;
        let parts = self.parts.map_or_else(
            || format!("{} read, {} quarantined, {} collapsed", totals.read, totals.quarantined, totals.collapsed),
            |parts| parts.text(),
        );
        format!(
            "{}: {} pass over graph {} in {:.1} s: {} nodes and {} relationships written, {} deleted; {parts}",
            self.pipeline,
            self.pass.mode,
            self.graph,
            (self.pass.ended_at - self.pass.began_at).as_seconds_f64(),
            totals.nodes,
            totals.relationships,
            totals.deleted,
        )
    }
}
