//! A full sync beside the live graph: a stage is filled, catches up with the changes made meanwhile, is checked, and replaces the
//! live graph.
//!
//! The stage has supervised actors of its own, one group after the other: the first group fills it, later groups apply changes.
//! All of them continue from the stage's own checkpoint, so this task keeps nothing that a crash could lose: if it is started
//! again, it finds the stage filled, or half filled, and continues.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::Recipient;
use chrono::Utc;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection_factory::{ConnectionFactory, StageAccess};
use super::credit::CreditLimits;
use super::generation_actors::GenerationSettings;
use super::messages::{Quiesce, Shutdown, StatusChanged};
use super::pipeline::{Pipeline, PipelineOutcome, Schedule, SupervisionTimeouts};
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint;
use crate::model::checkpoint::Checkpoint;
use crate::model::guard::{DeleteLimit, Guard, Held, HeldDeletes};
use crate::model::kind::{ElementKind, Step};
use crate::model::pass::{PassMode, PassSummary, Totals};
use crate::model::profile::Profile;
use crate::model::quarantine_index::QuarantineIndex;
use crate::model::vector_dimensions::VectorDimensions;
use crate::sink::{BulkUse, GraphState, Swapped};
use crate::source::Source;
use crate::sync::CacheView;
use crate::sync::delete_guard::losses;
use crate::sync::{BatchLimits, CheckIntervals, ElementHasher, KeySetDifference, gaps};
use crate::transform::Encoder;
use crate::transform::bulk::MAX_PAYLOAD_BYTES;

/// Rows of a page: large enough that the cost of a query is negligible, small enough for memory. With vectors of 1,024 numbers a
/// page takes some 20 MB.
const PAGE: usize = 2_000;

/// A batch becomes one payload. In binary form a number takes 9 bytes where it weighs 8; everything else takes less than its
/// weight.
const BATCH_BYTES: usize = MAX_PAYLOAD_BYTES / 4 * 3;

/// Batches between reading and loading: enough that no step waits for another's hiccup.
const BATCHES: usize = 6;

/// The time for catching up below which a stage counts as near to the source.
const NEAR: Duration = Duration::from_secs(1);

/// The most passes over a stage until it is near: if a source changes faster than a stage can follow, it is followed after the
/// swap.
const ROUNDS: usize = 10;

/// Readings of counts before the swap. While a source is written, its counts differ now and then, but not every time.
const READINGS: usize = 5;

/// Starts the supervisor of the stage, which stops on a message to the recipient. The receiver gets the outcome.
pub(super) type Start = fn(Pipeline) -> (Recipient<Shutdown>, oneshot::Receiver<PipelineOutcome>);

/// Everything that a full sync needs.
pub(super) struct FullSync {
    /// Starts the supervisor of the stage.
    pub(super) start: Start,
    pub(super) name: String,
    pub(super) live: Arc<dyn ConnectionFactory>,
    /// The profile of the elements that are kept in step.
    pub(super) profile: Arc<Profile>,
    /// The settings of the pipeline's generations.
    pub(super) settings: GenerationSettings,
    pub(super) timing: SupervisionTimeouts,
    /// The recipient of the stage's progress.
    pub(super) progress: Recipient<StatusChanged>,
    /// The supervisor of the live graph, which stops writing for the swap.
    pub(super) live_supervisor: Recipient<Quiesce>,
    /// Whether an operator has approved all losses.
    pub(super) allow_deletes: bool,
    /// The token that ends the full sync where it is.
    pub(super) quit: CancellationToken,
}

/// The result of a full sync.
pub(super) enum Ended {
    /// The stage is the live graph, and its checkpoint has this number.
    Swapped(PassSummary, u64),
    /// The live graph stays, for this reason.
    Refused(String),
    /// The live graph stays until an operator approves these losses; the stage is kept for that.
    Held(Vec<HeldDeletes>),
}

/// A stage that is ready for the swap.
struct Filled {
    /// The pass that filled it.
    pass: PassSummary,
    /// Foreign indices and constraints of the live graph that the stage lacks.
    lost: Vec<String>,
}

/// The connections that fill and update a stage.
struct StageUnderWay {
    access: StageAccess,
    loader: Arc<dyn ConnectionFactory>,
    source: Arc<dyn Source>,
    view: Box<dyn CacheView>,
}

impl FullSync {
    /// Runs the whole full sync, or what is left of it.
    pub(super) async fn run(self) -> Result<Ended> {
        let mut stage = self.stage().await?;
        let filled = match self.checkpoint_of(&stage).await? {
            Some(checkpoint) if checkpoint.is_filled() => filling_of(&checkpoint),
            _ => self.over_stage(&stage.loader, PassMode::Full).await?,
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
        // Indices and constraints may have been made on the live graph in the meantime.
        let lost = self.carry_over(&mut stage).await?;
        for what in &lost {
            tracing::warn!(pipeline = self.name, what, "cannot carry over a foreign index or constraint");
        }
        self.swap(&mut stage, Filled { pass: filled, lost }, guard, sequence).await
    }

    /// Copies foreign indices and constraints to the stage, so that they survive the swap.
    async fn carry_over(&self, stage: &mut StageUnderWay) -> Result<Vec<String>> {
        stage.access.swap.carry_over(&self.profile).await
    }

    async fn stage(&self) -> Result<StageUnderWay> {
        let access = self.live.stage_access().await?;
        let mut access =
            access.ok_or_else(|| Error::new(ErrorKind::Configuration, "full_sync.strategy in_place uses no stage"))?;
        let loader = match access.swap.check().await? {
            BulkUse::Allowed => Arc::clone(&access.by_payloads),
            BulkUse::Refused => {
                tracing::warn!("GRAPH.BULK not permitted: filling the stage by parameters, which is several times slower");
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
        let summary = self.over_stage(&stage.access.by_statements, PassMode::Incremental).await?;
        failpoint!("catch-up-end");
        Ok(summary)
    }

    /// Runs a pass over the stage with its own supervised actors.
    async fn over_stage(&self, connector: &Arc<dyn ConnectionFactory>, mode: PassMode) -> Result<PassSummary> {
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

    /// Returns why the stage must not replace the live graph: differences that one reading finds and the next one still does,
    /// although the stage caught up in between. A source that is written without a pause differs at every reading, but each time
    /// elsewhere.
    async fn refusal(&self, stage: &mut StageUnderWay) -> Result<Option<String>> {
        let hasher = ElementHasher::default();
        let mut differing = self.differences(stage, &hasher).await?;
        for _ in 1..READINGS {
            if differing.is_empty() {
                return Ok(None);
            }
            self.catch_up(stage).await?;
            let mut now = self.differences(stage, &hasher).await?;
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
            format!("{name}: the stage lacks {missing} elements of the source and holds {orphaned} that the source does not have")
        }))
    }

    /// Returns, by kind, what only one side has. If only counts differ, the reason is elements that no cache can hold or that
    /// share an identity.
    async fn differences(
        &self,
        stage: &mut StageUnderWay,
        hasher: &ElementHasher,
    ) -> Result<BTreeMap<ElementKind, KeySetDifference>> {
        let listed = stage.access.by_statements.store().await?.quarantine().await?;
        let excluded = QuarantineIndex::of(&listed);
        let encoder = Encoder::new(Arc::clone(&self.profile), VectorDimensions::default());
        let (source, view, profile) = (stage.source.as_ref(), stage.view.as_mut(), self.profile.as_ref());
        let (here, there) = (source.counts().await?, view.counts().await?);
        let mut differing = BTreeMap::new();
        for ((kind, here), there) in self.profile.kinds().into_iter().zip(here).zip(there) {
            if here == there + excluded.number_of(profile.name_of(kind)) {
                continue;
            }
            let gaps = gaps(source, view, &encoder, &excluded, hasher, kind).await?;
            if !gaps.is_empty() {
                differing.insert(kind, gaps);
            }
        }
        Ok(differing)
    }

    /// Returns the losses of kinds beyond what may go without approval. A graph that an operator allows to be taken over has no
    /// checkpoint, and its loss is approved.
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
        let gone = || Error::new(ErrorKind::CacheChanged, "the stage graph no longer exists");
        let mut store = stage.access.by_statements.store().await?;
        let mut checkpoint = store.load().await?.ok_or_else(gone)?;
        let summary = PassSummary { ended_at: Utc::now(), ..pass };
        // A number is never used twice: a watcher of the live graph's checkpoint takes a lower one for an older state.
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
            // The swap may have happened although its answer was lost.
            Err(error) => match self.live.store().await?.load().await? {
                Some(live) if live == checkpoint => Ok(Ended::Swapped(summary, checkpoint.sequence)),
                _ => Err(error),
            },
        }
    }
}

/// Returns the pass that filled a stage. Later passes may have moved the checkpoint on.
fn filling_of(checkpoint: &Checkpoint) -> PassSummary {
    checkpoint.last_pass.clone().unwrap_or_else(|| PassSummary {
        mode: PassMode::Full,
        began_at: checkpoint.written_at,
        bookmark: checkpoint.bookmark.clone(),
        ended_at: checkpoint.written_at,
        totals: Totals::default(),
    })
}

fn stage_settings(settings: GenerationSettings, mode: PassMode) -> GenerationSettings {
    // The stage is weighed as a whole before it replaces the live graph.
    let delete_limit = DeleteLimit::new(1.0);
    let stage =
        GenerationSettings { probe_interval: None, scrub_rate: None, differential_interval: None, delete_limit, ..settings };
    match mode {
        PassMode::Full => GenerationSettings {
            limits: BatchLimits { nodes: PAGE, relationships: PAGE, bytes: BATCH_BYTES },
            credit: CreditLimits { rows: 2 * PAGE + BATCHES * PAGE, bytes: BATCHES * BATCH_BYTES },
            ..stage
        },
        // Everything was read after all earlier late commits.
        _ => GenerationSettings { rhythm: CheckIntervals { overlap: Duration::ZERO, ..settings.rhythm }, ..stage },
    }
}

/// The stage's supervisor. It ends once this handle is dropped.
struct StageSupervisor(Recipient<Shutdown>);

impl Drop for StageSupervisor {
    fn drop(&mut self) {
        self.0.do_send(Shutdown);
    }
}
