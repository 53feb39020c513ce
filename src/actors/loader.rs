//! The loader: the only writer of its graph. Data first, then the checkpoint, then the acknowledgement.

mod changes;
mod pass_end;
mod quarantine;
mod stage;
mod unconverted;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Addr, Recipient};
use chrono::Utc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::credit::CreditPool;
use super::index_upkeep::IndexUpkeep;
use super::member::Member;
use super::messages::{Acknowledged, PreparedBatch};
use super::shell::{Quitting, Role, Shell};
use super::{ExitRecipients, MAILBOX_CAPACITY};
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint;
use crate::model::batch::{BatchContent, Generation};
use crate::model::bookmark::Bookmark;
use crate::model::changes::BatchChanges;
use crate::model::checkpoint::Checkpoint;
use crate::model::element::RelationshipIdentity;
use crate::model::index::MirroredIndexes;
use crate::model::kind::Step;
use crate::model::pass::{Cursor, PassMode, PassSummary, PassUnderWay, Totals};
use crate::model::pass_outcome::PassOutcome;
use crate::model::prepared::PreparedRows;
use crate::model::profile::Profile;
use crate::model::quarantine_index::QuarantineIndex;
use crate::model::quarantined::Quarantined;
use crate::sink::{ApplyResult, CheckpointStore, RecentWrites, Sink, StageSink};
use crate::telemetry::status::QUARANTINE_SHOWN;
use crate::transform::Encoded;
use crate::transform::PreparedContent;

use quarantine::QuarantineLog;
use unconverted::Unconverted;

/// The interval at which the place of a comparison is stored: this much of it is repeated after a crash.
const COMPARISON_STORED: Duration = Duration::from_secs(5);

/// The most relationships without an end that a checkpoint names. It is stored with every batch, so it has to stay small. If this
/// process ends before it has read the others again, the counts of the next pass lead to them.
const MAX_DEFERRED: usize = 1000;

/// The time that a generation that is cut waits for a write under way: many times the duration of a write, but no long wait for a
/// server that hangs.
const HALF_DONE: Duration = Duration::from_secs(5);

/// The graph that a loader writes to, with its current state.
pub(crate) struct LoaderParts {
    pub sink: Box<dyn Sink>,
    /// The same graph as a stage that payloads fill.
    pub stage: Option<Box<dyn StageSink>>,
    /// The profile of the elements that are kept in step.
    pub profile: Arc<Profile>,
    /// The store beside the graph.
    pub store: Box<dyn CheckpointStore>,
    /// The checkpoint as stored.
    pub checkpoint: Checkpoint,
    /// The quarantine as stored.
    pub quarantine: Vec<Quarantined>,
    /// The elements of the quarantine, as comparisons need them.
    pub excluded: QuarantineIndex,
    /// The pool of the permits that its batches hold.
    pub credit: Arc<CreditPool>,
}

/// The actor that writes.
pub(crate) type Loader = Shell<PreparedBatch>;

pub(crate) fn start(
    generation: Generation,
    parts: LoaderParts,
    acknowledge: Recipient<Acknowledged>,
    reports: ExitRecipients,
) -> Addr<Loader> {
    let role = Role { generation, member: Member::Loader, quitting: Quitting::BetweenRequests, capacity: MAILBOX_CAPACITY };
    Shell::start(role, reports, |batches, quit| {
        let pool = Arc::clone(&parts.credit);
        work(Writer::new(generation, parts), batches, acknowledge, pool, quit)
    })
}

async fn work(
    mut writer: Writer,
    mut batches: mpsc::Receiver<PreparedBatch>,
    acknowledge: Recipient<Acknowledged>,
    pool: Arc<CreditPool>,
    quit: CancellationToken,
) -> Result<()> {
    let load = pool.load();
    loop {
        let next = tokio::select! {
            biased;
            () = quit.cancelled() => None,
            batch = load.wait(Member::Loader, batches.recv()) => batch,
        };
        let Some(PreparedBatch { content, newest, credit, .. }) = next else {
            failpoint!("drained");
            return Ok(());
        };
        load.note_queued(Member::Loader, batches.len());
        let acknowledged = tokio::select! {
            biased;
            acknowledged = writer.take(content, newest) => acknowledged?,
            () = given_up(&quit) => return Ok(()),
        };
        failpoint!("acknowledge");
        drop(credit);
        acknowledge.do_send(acknowledged);
    }
}

/// Gives a request under way this time to end. Afterwards the state is as after a kill: the next generation repeats the request.
async fn given_up(quit: &CancellationToken) {
    quit.cancelled().await;
    tokio::time::sleep(HALF_DONE).await;
}

/// Applies batches and keeps the checkpoint.
struct Writer {
    generation: Generation,
    sink: Box<dyn Sink>,
    stage: Option<Box<dyn StageSink>>,
    /// Whether all of the stage was loaded, and so converted, by this generation.
    converts_as_it_loads: bool,
    /// The kind that is being loaded into a stage.
    loading_kind: Option<Step>,
    /// The relationships of the stage whose vectors are still lists.
    unconverted: Unconverted,
    profile: Arc<Profile>,
    store: Box<dyn CheckpointStore>,
    checkpoint: Checkpoint,
    quarantine: HashSet<Quarantined>,
    excluded: QuarantineIndex,
    /// Whether the quarantine has changed since the last acknowledgement.
    quarantine_changed: bool,
    /// The log messages about the quarantine so far.
    told: QuarantineLog,
    indexes: IndexUpkeep,
    written: RecentWrites,
    stored_at: Option<Instant>,
    /// The changes of the batch under way.
    changes: BatchChanges,
}

impl Writer {
    fn new(generation: Generation, parts: LoaderParts) -> Self {
        Self {
            generation,
            sink: parts.sink,
            stage: parts.stage,
            converts_as_it_loads: false,
            loading_kind: None,
            unconverted: Unconverted::default(),
            profile: parts.profile,
            store: parts.store,
            indexes: IndexUpkeep::new(parts.checkpoint.lost_indexes.clone()),
            checkpoint: parts.checkpoint,
            quarantine: parts.quarantine.into_iter().collect(),
            excluded: parts.excluded,
            quarantine_changed: false,
            told: QuarantineLog::default(),
            written: RecentWrites::default(),
            stored_at: None,
            changes: BatchChanges::default(),
        }
    }

    async fn take(&mut self, content: PreparedContent, newest: Option<Bookmark>) -> Result<Acknowledged> {
        let began = Instant::now();
        // Stored with the checkpoint of this batch. It is never older than the last one: after a source went back, a full pass
        // reads it.
        if newest.is_some() {
            self.checkpoint.newest_read = newest;
        }
        let acknowledged = self.take_content(content).await?;
        let changes = Arc::unwrap_or_clone(acknowledged.changes);
        let changes = BatchChanges { took: began.elapsed(), ..changes };
        changes::log(&changes, self.stage.is_some());
        Ok(Acknowledged { changes: Arc::new(changes), ..acknowledged })
    }

    async fn take_content(&mut self, content: PreparedContent) -> Result<Acknowledged> {
        match content {
            BatchContent::Begin(pass) if self.stage.is_some() => self.begin_stage(pass).await,
            BatchContent::Begin(pass) => self.begin(pass).await,
            BatchContent::Rows { rows: Encoded::Rows(mut rows), read, cursor, repairs, created } => {
                rows.repairs = repairs;
                if repairs {
                    self.written.forget(&rows);
                }
                self.apply(rows, read, cursor, created).await
            }
            BatchContent::Rows { rows: Encoded::Payloads(batch), read, cursor, .. } => self.load(batch, read, cursor).await,
            BatchContent::Indexes(mirrored) => self.mirror(mirrored).await,
            BatchContent::End(end) => {
                self.finish_stage().await?;
                self.end(*end).await
            }
        }
    }

    async fn begin(&mut self, pass: PassUnderWay) -> Result<Acknowledged> {
        let full = pass.mode == PassMode::Full;
        self.checkpoint.pass = Some(pass);
        if full {
            // This is stored first: from here on the graph is not whole, whatever happens next.
            self.checkpoint.begin_anew();
            self.store_checkpoint().await?;
            self.sink.clear().await?;
            self.written.clear();
            let stale: Vec<_> = self.quarantine.drain().collect();
            self.excluded.remove(&stale);
            self.quarantine_changed |= !stale.is_empty();
            self.store.update_quarantine(&[], &stale).await?;
        }
        let report = self.sink.prepare().await?;
        if report.from_nothing && !full {
            return Err(self.graph_was_replaced().await?);
        }
        self.indexes.note(report);
        self.pass_mut()?.prepared = true;
        if full {
            self.store_checkpoint().await?;
        }
        Ok(self.acknowledged(Vec::new(), None))
    }

    /// Reports that the graph was replaced. A write creates a missing graph, so a deleted graph soon exists again, nearly empty:
    /// the sign is that it has no index. Nothing that was written to the graph before counts any more.
    async fn graph_was_replaced(&mut self) -> Result<Error> {
        self.checkpoint.begin_anew();
        self.checkpoint.pass = None;
        self.store_checkpoint().await?;
        Ok(Error::new(ErrorKind::CacheChanged, "the cache no longer has the graph, or another graph is in its place"))
    }

    async fn mirror(&mut self, MirroredIndexes { wanted, inexpressible }: MirroredIndexes) -> Result<Acknowledged> {
        let report = self.sink.mirror(&wanted).await?;
        self.indexes.note_inexpressible(inexpressible, &report);
        self.indexes.note(report);
        Ok(self.acknowledged(Vec::new(), None))
    }

    async fn apply(
        &mut self,
        mut rows: PreparedRows,
        read: u64,
        cursor: Option<Cursor>,
        created: Option<BTreeSet<String>>,
    ) -> Result<Acknowledged> {
        self.changes = changes::read(&rows, read, cursor.as_ref());
        if let (Some(_), Some(pass)) = (&created, &self.checkpoint.pass) {
            self.changes.transaction = pass.bookmark.as_ref().and_then(Bookmark::transaction);
            self.changes.committed_at = Some(pass.began_at);
        }
        let healed = self.healed(&rows);
        let unchanged = self.written.spare(&mut rows);
        // Until all rows are applied, the cache's content of these elements is unknown.
        self.written.forget(&rows);
        failpoint!("apply-begin");
        let mut applied = self.sink.apply(&rows).await?;
        failpoint!("apply-end");
        if applied.refused.is_empty() && applied.absent_endpoints.is_empty() {
            self.written.note(&rows);
        }
        changes::note(&mut self.changes, &rows, &applied, created.as_ref());
        let waiting = self.take_waiting(&mut applied.absent_endpoints);
        self.update_quarantine(&rows, &applied, healed, &waiting).await?;
        let totals = Totals { unchanged, ..totals_of(&rows, &applied, read) };
        let totals = Totals { quarantined: totals.quarantined + waiting.values().sum::<u64>(), ..totals };
        let written: Vec<&RelationshipIdentity> = rows.relationships.iter().flat_map(|group| group.rows.identities()).collect();
        let pass = self.pass_mut()?;
        pass.totals.add(&totals);
        if cursor.is_some() {
            pass.cursor = cursor;
        }
        if !pass.deferred.is_empty() {
            for identity in written {
                pass.deferred.remove(identity);
            }
        }
        let room = MAX_DEFERRED.saturating_sub(pass.deferred.len());
        pass.deferred.extend(applied.absent_endpoints.iter().take(room).cloned());
        // If a batch wrote nothing, a resumed pass only repeats a little reading.
        if !rows.is_empty() || !applied.absent_endpoints.is_empty() {
            self.store_checkpoint().await?;
        }
        Ok(self.acknowledged(applied.absent_endpoints, None))
    }

    async fn store_checkpoint(&mut self) -> Result<()> {
        self.checkpoint.sequence += 1;
        self.checkpoint.written_at = Utc::now();
        self.stored_at = Some(Instant::now());
        failpoint!("checkpoint-begin");
        self.store.store(&self.checkpoint).await?;
        failpoint!("checkpoint-end");
        Ok(())
    }

    fn pass_mut(&mut self) -> Result<&mut PassUnderWay> {
        self.checkpoint.pass.as_mut().ok_or_else(no_pass)
    }

    fn acknowledged(&mut self, deferred: Vec<RelationshipIdentity>, ended: Option<PassSummary>) -> Acknowledged {
        let quarantine = std::mem::take(&mut self.quarantine_changed).then(|| shown(&self.quarantine));
        let pass = self.checkpoint.pass.as_ref();
        let ended_totals = ended.as_ref().map(|summary| summary.totals);
        let changes = BatchChanges { sequence: self.checkpoint.sequence, ..std::mem::take(&mut self.changes) };
        Acknowledged {
            generation: self.generation,
            sequence: self.checkpoint.sequence,
            totals: pass.map(|pass| pass.totals).or(ended_totals).unwrap_or_default(),
            cursor: pass.and_then(|pass| pass.cursor.clone()),
            deferred,
            ended,
            outcome: PassOutcome::default(),
            equal_as_of: None,
            told_as_of: None,
            is_proven_by_log: false,
            quarantined: Quarantined::count(&self.quarantine),
            quarantine,
            indexes: self.indexes.take_changed(),
            held: self.checkpoint.guard.shown(),
            changes: Arc::new(changes),
        }
    }
}

/// Returns as much of a quarantine as is shown, in a readable order.
pub(super) fn shown<'a>(quarantine: impl IntoIterator<Item = &'a Quarantined>) -> Arc<Vec<Quarantined>> {
    let mut shown: Vec<Quarantined> = quarantine.into_iter().take(QUARANTINE_SHOWN).cloned().collect();
    shown.sort_by(|a, b| (&a.kind, &a.key, &a.property).cmp(&(&b.kind, &b.key, &b.property)));
    Arc::new(shown)
}

fn totals_of(rows: &PreparedRows, applied: &ApplyResult, read: u64) -> Totals {
    Totals {
        read,
        unchanged: 0,
        nodes: applied.nodes_written,
        relationships: applied.relationships_written,
        deleted: applied.nodes_deleted + applied.relationships_deleted,
        quarantined: (rows.quarantined.len() + applied.refused.len()) as u64,
        properties_quarantined: properties_of(&rows.quarantined),
        collapsed: rows.collapsed,
        keys_listed: 0,
        conversions: rows.conversions,
    }
}

/// Counts the entries that are about properties.
fn properties_of(entries: &[Quarantined]) -> u64 {
    entries.iter().filter(|entry| !entry.is_of_element()).count() as u64
}

fn no_pass() -> Error {
    Error::new(ErrorKind::ActorStopped, "the loader received a batch outside a pass")
}
