//! A full sync beside the live graph: a stage is filled, catches up with what changed meanwhile, is checked, and takes the live
//! graph's place.
//!
//! The stage has supervised actors of its own, one group after the other: the first fills it, those after it apply what changed.
//! All of them go on from the stage's own checkpoint, so this task keeps nothing that a crash could lose: begun again, it finds
//! the stage filled, or half filled, and goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::Recipient;
use chrono::Utc;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::credit::CreditLimits;
use super::generation_actors::Settings;
use super::launch::{Connector, StageAccess};
use super::messages::{Quiesce, Shutdown, StatusChanged};
use super::pipeline::{Pipeline, PipelineOutcome, Schedule, Timing};
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint;
use crate::model::checkpoint::Checkpoint;
use crate::model::dimensions::Dimensions;
use crate::model::excluded::Excluded;
use crate::model::guard::{DeleteLimit, Guard, Held, HeldDeletes};
use crate::model::kind::{ElementKind, Step};
use crate::model::pass::{Mode, PassSummary, Totals};
use crate::model::profile::Profile;
use crate::sink::{BulkUse, GraphState, Swapped};
use crate::source::Source;
use crate::sync::CacheView;
use crate::sync::delete_guard::losses;
use crate::sync::{BatchLimits, KeySetDifference, Rhythm, gaps};
use crate::transform::Encoder;
use crate::transform::bulk::MAX_PAYLOAD_BYTES;

/// Rows of a page: large enough that the question costs nothing beside the answer, small enough for memory. With vectors of
/// 1,024 numbers a page takes some 20 MB.
const PAGE: usize = 2_000;

/// A batch becomes one payload. In binary form a number takes 9 bytes where it weighs 8, and everything else less than it weighs.
const BATCH_BYTES: usize = MAX_PAYLOAD_BYTES / 4 * 3;

/// Batches between reading and loading: enough that no step waits for another's hiccup.
const BATCHES: usize = 6;

/// A stage that catches up in less than this is as near to the source as it will get.
const NEAR: Duration = Duration::from_secs(1);

/// Passes over a stage until it is near, at most: a source that changes faster than a stage can follow is followed after the swap.
const ROUNDS: usize = 10;

/// Readings of counts before the swap. Counts of a source that is being written differ now and then, but not every time.
const READINGS: usize = 5;

/// Starts the supervisor of the stage; it stops when it is told to, and the receiver gets the outcome.
pub(super) type Start = fn(Pipeline) -> (Recipient<Shutdown>, oneshot::Receiver<PipelineOutcome>);

/// What a full sync needs.
pub(super) struct FullSync {
    /// Starts the supervisor of the stage.
    pub(super) start: Start,
    pub(super) name: String,
    pub(super) live: Arc<dyn Connector>,
    /// What is kept in step.
    pub(super) profile: Arc<Profile>,
    /// What the pipeline's generations are told.
    pub(super) settings: Settings,
    pub(super) timing: Timing,
    /// Where the progress of the stage goes.
    pub(super) progress: Recipient<StatusChanged>,
    /// The supervisor of the live graph, which stops writing for the swap.
    pub(super) live_supervisor: Recipient<Quiesce>,
    /// Whether a person lets all losses through.
    pub(super) allow_deletes: bool,
    /// Cancelled when the full sync is to end where it is.
    pub(super) quit: CancellationToken,
}

/// How a full sync ended.
pub(super) enum Ended {
    /// The stage is the live graph, and its checkpoint has this number.
    Swapped(PassSummary, u64),
    /// The live graph stays.
    Refused(String),
    /// The live graph stays until a person lets these losses through; the stage waits for it.
    Held(Vec<HeldDeletes>),
}

/// A stage that is ready for the swap.
struct Filled {
    /// The pass that filled it.
    pass: PassSummary,
    /// Foreign indices and constraints of the live graph that the stage lacks.
    lost: Vec<String>,
}

/// What fills and feeds a stage.
struct StageUnderWay {
    access: StageAccess,
    loader: Arc<dyn Connector>,
    source: Arc<dyn Source>,
    view: Box<dyn CacheView>,
}

impl FullSync {
    /// Does all of it, or what is left of it.
    pub(super) async fn run(self) -> Result<Ended> {
        let mut stage = self.stage().await?;
        let filled = match self.checkpoint_of(&stage).await? {
            Some(checkpoint) if checkpoint.is_filled() => filling_of(&checkpoint),
            _ => self.over_stage(&stage.loader, Mode::Full).await?,
        };
        self.carry_over(&mut stage).await?;
        let mut read = filled.bookmark.clone();
        for _ in 0..ROUNDS {
            if read.as_ref() == Some(&stage.source.bookmark().await?) {
                break;
            }
            let began = Instant::now();
            read = self.catch_up(&stage).await?.bookmark;
            if began.elapsed() < NEAR {
                break;
            }
        }
        let sequence = self.quiesce().await?;
        if read.as_ref() != Some(&stage.source.bookmark().await?) {
            self.catch_up(&stage).await?;
        }
        if let Some(reason) = self.refusal(&mut stage).await? {
            stage.access.swap.drop_stage().await?;
            return Ok(Ended::Refused(reason));
        }
        let guard = match self.live.store().await?.load().await? {
            Some(checkpoint) if !self.allow_deletes => checkpoint.guard,
            _ => Guard::default(),
        };
        let held = self.losses(&mut stage, &guard).await?;
        if !held.is_empty() {
            return Ok(Ended::Held(held));
        }
        // What was made on the live graph in the meantime.
        let lost = self.carry_over(&mut stage).await?;
        for what in &lost {
            tracing::warn!(pipeline = self.name, what, "cannot carry over a foreign index or constraint");
        }
        self.swap(&mut stage, Filled { pass: filled, lost }, guard, sequence).await
    }

    /// Foreign indices and constraints survive the swap.
    async fn carry_over(&self, stage: &mut StageUnderWay) -> Result<Vec<String>> {
        stage.access.swap.carry_over(&self.profile).await
    }

    async fn stage(&self) -> Result<StageUnderWay> {
        let access = self.live.stage_access().await?;
        let mut access = access.ok_or_else(|| Error::new(ErrorKind::Configuration, "full syncs are done in the graph itself"))?;
        let loader = match access.swap.check().await? {
            BulkUse::Allowed => Arc::clone(&access.by_payloads),
            BulkUse::Refused => {
                tracing::warn!("GRAPH.BULK may not be used here: the stage is filled by parameters, several times slower");
                Arc::clone(&access.by_statements)
            }
        };
        let source = access.by_statements.source().await?;
        let view = access.by_statements.view().await?;
        Ok(StageUnderWay { access, loader, source, view })
    }

    async fn checkpoint_of(&self, stage: &StageUnderWay) -> Result<Option<Checkpoint>> {
        stage.access.by_statements.store().await?.load().await
    }

    async fn catch_up(&self, stage: &StageUnderWay) -> Result<PassSummary> {
        failpoint!("catch-up-begin");
        let summary = self.over_stage(&stage.access.by_statements, Mode::Incremental).await?;
        failpoint!("catch-up-end");
        Ok(summary)
    }

    /// Runs a pass over the stage, by supervised actors of its own.
    async fn over_stage(&self, connector: &Arc<dyn Connector>, mode: Mode) -> Result<PassSummary> {
        let (supervisor, mut outcome) = (self.start)(Pipeline {
            name: self.name.clone(),
            graph: "stage".to_owned(),
            connector: Arc::clone(connector),
            profile: Arc::clone(&self.profile),
            settings: stage_settings(self.settings, mode),
            schedule: Schedule::Stage(mode),
            allow_deletes: false,
            timing: self.timing,
            health: self.progress.clone(),
        });
        let supervisor = StageSupervisor(supervisor);
        let outcome = tokio::select! {
            outcome = &mut outcome => outcome,
            () = self.quit.cancelled() => {
                supervisor.0.do_send(Shutdown);
                outcome.await
            }
        };
        let done = outcome
            .map_err(|_| Error::new(ErrorKind::ActorStopped, "the stage's supervisor stopped without reporting a result"))??;
        done.map(|done| done.pass)
            .ok_or_else(|| Error::new(ErrorKind::ActorStopped, "interrupted; the next full sync resumes from this point"))
    }

    /// Waits until nothing is written to the live graph any more, and returns the number of its last checkpoint.
    async fn quiesce(&self) -> Result<u64> {
        let stopped = || Error::new(ErrorKind::ActorStopped, "the pipeline's supervisor stopped");
        let (quiet, reached) = oneshot::channel();
        self.live_supervisor.send(Quiesce(quiet)).await.map_err(|_| stopped())?;
        tokio::select! {
            sequence = reached => sequence.map_err(|_| stopped()),
            () = self.quit.cancelled() => Err(stopped()),
        }
    }

    /// Why the stage must not replace the live graph: for what one reading finds and the next one still does, although the stage
    /// caught up in between. A source that is written without a pause differs at every reading, and each time elsewhere.
    async fn refusal(&self, stage: &mut StageUnderWay) -> Result<Option<String>> {
        let mut differing = self.differences(stage).await?;
        for _ in 1..READINGS {
            if differing.is_empty() {
                return Ok(None);
            }
            self.catch_up(stage).await?;
            let mut now = self.differences(stage).await?;
            let before = std::mem::take(&mut differing);
            for (kind, before) in before {
                let lasting = now.get(&kind).map(|now| now.clone().lasting(&before)).unwrap_or_default();
                if !lasting.is_empty() {
                    differing.insert(kind, now.remove(&kind).unwrap_or_default());
                }
            }
        }
        Ok(differing.first_key_value().map(|(kind, KeySetDifference { missing, orphaned, .. })| {
            let (name, missing, orphaned) = (self.profile.kind_name(*kind), missing.len(), orphaned.len());
            format!("of {name} the stage lacks {missing} and holds {orphaned} that the source does not have")
        }))
    }

    /// By kind, what only one of the two has. Where counts differ and nothing else does, it is for elements that no cache can hold
    /// or that share an identity.
    async fn differences(&self, stage: &mut StageUnderWay) -> Result<BTreeMap<ElementKind, KeySetDifference>> {
        let listed = stage.access.by_statements.store().await?.quarantine().await?;
        let excluded = Excluded::of(&listed);
        let encoder = Encoder::new(Arc::clone(&self.profile), Dimensions::default());
        let (source, view, profile) = (stage.source.as_ref(), stage.view.as_mut(), self.profile.as_ref());
        let (here, there) = (source.counts().await?, view.counts().await?);
        let mut differing = BTreeMap::new();
        for ((kind, here), there) in self.profile.kinds().into_iter().zip(here).zip(there) {
            if here == there + excluded.number_of(profile.name_of(kind)) {
                continue;
            }
            let gaps = gaps(source, view, &encoder, &excluded, kind).await?;
            if !gaps.is_empty() {
                differing.insert(kind, gaps);
            }
        }
        Ok(differing)
    }

    /// What kinds would lose beyond what may go without a person's word. A graph that a person lets be taken over has no checkpoint,
    /// and its loss is agreed to.
    async fn losses(&self, stage: &mut StageUnderWay, guard: &Guard) -> Result<Vec<HeldDeletes>> {
        let agreed = self.live.takes_over() && self.live.store().await?.load().await?.is_none();
        if self.allow_deletes || agreed || self.live.sink().await?.state().await? == GraphState::Missing {
            return Ok(Vec::new());
        }
        let mut live = self.live.view().await?;
        let (there, staged) = (live.counts().await?, stage.view.counts().await?);
        let losses = losses(guard, self.settings.delete_limit, &self.profile, &there, &staged);
        let held = |(step, number): (Step, u64)| HeldDeletes {
            kind: step.name().to_owned(),
            held: Held { number, sample: Vec::new(), since: Utc::now() },
        };
        Ok(losses.into_iter().map(held).collect())
    }

    async fn swap(
        &self,
        stage: &mut StageUnderWay,
        Filled { pass, lost }: Filled,
        guard: Guard,
        live_sequence: u64,
    ) -> Result<Ended> {
        let gone = || Error::new(ErrorKind::CacheChanged, "the stage is gone");
        let mut store = stage.access.by_statements.store().await?;
        let mut checkpoint = store.load().await?.ok_or_else(gone)?;
        let summary = PassSummary { ended_at: Utc::now(), ..pass };
        // Never a number twice: a watcher of the live graph's checkpoint takes a lower one for an older state.
        checkpoint.sequence = checkpoint.sequence.max(live_sequence) + 1;
        checkpoint.written_at = Utc::now();
        checkpoint.last_pass = Some(summary.clone());
        checkpoint.guard = guard;
        checkpoint.guard.release();
        checkpoint.lost_indexes = lost;
        store.store(&checkpoint).await?;
        failpoint!("swap-begin");
        let swapped = stage.access.swap.swap(stage.access.keep_previous).await;
        failpoint!("swap-end");
        match swapped {
            Ok(Swapped::Done) => Ok(Ended::Swapped(summary, checkpoint.sequence)),
            Ok(Swapped::NothingStaged) => Err(gone()),
            // Its answer may be lost where it happened.
            Err(error) => match self.live.store().await?.load().await? {
                Some(live) if live == checkpoint => Ok(Ended::Swapped(summary, checkpoint.sequence)),
                _ => Err(error),
            },
        }
    }
}

/// The pass that filled a stage, of which the catching up may have moved the checkpoint on.
fn filling_of(checkpoint: &Checkpoint) -> PassSummary {
    checkpoint.last_pass.clone().unwrap_or_else(|| PassSummary {
        mode: Mode::Full,
        began_at: checkpoint.written_at,
        bookmark: checkpoint.bookmark.clone(),
        ended_at: checkpoint.written_at,
        totals: Totals::default(),
    })
}

fn stage_settings(settings: Settings, mode: Mode) -> Settings {
    // What replaces the live graph is weighed as a whole, before it does.
    let delete_limit = DeleteLimit::new(1.0);
    let stage =
        Settings { probe_interval: None, scrub_rows_per_second: None, differential_interval: None, delete_limit, ..settings };
    match mode {
        Mode::Full => Settings {
            limits: BatchLimits { nodes: PAGE, relationships: PAGE, bytes: BATCH_BYTES },
            credit: CreditLimits { rows: 2 * PAGE + BATCHES * PAGE, bytes: BATCHES * BATCH_BYTES },
            ..stage
        },
        // Everything was read after whatever was committed late before.
        _ => Settings { rhythm: Rhythm { overlap: Duration::ZERO, ..settings.rhythm }, ..stage },
    }
}

/// The stage's supervisor, which ends when nobody waits for it any more.
struct StageSupervisor(Recipient<Shutdown>);

impl Drop for StageSupervisor {
    fn drop(&mut self) {
        self.0.do_send(Shutdown);
    }
}
