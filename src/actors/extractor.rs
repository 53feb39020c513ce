//! The extractor: runs a strategy over the source and sends what it reads to the transformer.

use std::collections::BTreeSet;
use std::sync::Arc;

use actix::Addr;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::future::try_join;
use tokio::sync::mpsc;

use super::ExitRecipients;
use super::credit::{Credit, CreditPool};
use super::feed_reader::FeedReader;
use super::member::Member;
use super::messages::{Acknowledged, ExtractedBatch, StartPass};
use super::pass_order::PassOrder;
use super::prober::same_database;
use super::shell::{Quitting, Role, Shell};
use super::transformer::Transformer;
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint;
use crate::model::batch::{BatchContent, Generation, SourceContent};
use crate::model::bookmark::Bookmark;
use crate::model::committed::CommittedChanges;
use crate::model::element::RelationshipIdentity;
use crate::model::guard::DeleteLimit;
use crate::model::pass::{PassMode, PassUnderWay};
use crate::model::profile::Profile;
use crate::model::quarantine_index::QuarantineIndex;
use crate::source::Source;
use crate::sync::CacheView;
use crate::sync::{self, BatchLimits, CheckIntervals, Emitter, Memory, PassContext};
use crate::transform::Encoder;

/// Everything that an extractor needs to read.
pub(crate) struct ExtractorParts {
    pub source: Arc<dyn Source>,
    /// The part of the source to read.
    pub profile: Arc<Profile>,
    /// Read-only access to the cache.
    pub view: Box<dyn CacheView>,
    /// The intervals at which an incremental pass does its checks.
    pub rhythm: CheckIntervals,
    /// The rules that convert source rows into cache contents.
    pub encoder: Arc<Encoder>,
    /// The limits at which a batch closes.
    pub limits: BatchLimits,
    /// The permits that its batches take.
    pub credit: Arc<CreditPool>,
    /// The largest share of a kind that may be deleted without approval.
    pub limit: DeleteLimit,
    /// Elements and properties that the cache cannot hold.
    pub excluded: QuarantineIndex,
    /// Whether a pass ends if the source has labels or types that the profile does not have.
    pub watches_kinds: bool,
    /// The memory that passes of earlier generations left in the checkpoint.
    pub memory: Memory,
    /// The change feed, if there is one.
    pub feed: Option<FeedReader>,
}

/// The actor that reads. Its task only reads, so it can end at any point.
pub(crate) type Extractor = Shell<StartPass>;

/// The most relationships without an end that are remembered to be read again: some megabytes. Beyond that, a pass that probes
/// finds them by its counts, and a pass over a feed reads around each changed node.
const MAX_DEFERRED: usize = 10_000;

/// Orders that may wait: a supervisor orders one pass at a time, and one more may wait while the last acknowledgement is on its
/// way.
const ORDERS: usize = 2;

pub(crate) fn start(
    generation: Generation,
    parts: ExtractorParts,
    transformer: Addr<Transformer>,
    reports: ExitRecipients,
) -> Addr<Extractor> {
    let role = Role { generation, member: Member::Extractor, quitting: Quitting::AtOnce, capacity: ORDERS };
    Shell::start_told(role, reports, |orders, acknowledged| {
        let outlet = Outlet {
            generation,
            source: Arc::clone(&parts.source),
            transformer,
            credit: Arc::clone(&parts.credit),
            reserved: Credit::default(),
            acknowledged,
            outstanding: 0,
            deferred: BTreeSet::new(),
            has_forgotten: false,
        };
        work(parts, orders, outlet)
    })
}

async fn work(mut parts: ExtractorParts, mut orders: mpsc::Receiver<StartPass>, mut outlet: Outlet) -> Result<()> {
    let mut memory = std::mem::take(&mut parts.memory);
    let mut last: Option<Bookmark> = None;
    let mut was_told = false;
    let pool = Arc::clone(&parts.credit);
    let next = async |orders: &mut mpsc::Receiver<StartPass>| pool.load().wait(Member::Extractor, orders.recv()).await;
    while let Some(StartPass { order, watermark, thorough, allow_deletes }) = next(&mut orders).await {
        let slice = order.slice();
        let committed = match &mut parts.feed {
            Some(feed) if order.mode() == PassMode::Incremental => feed.take(parts.source.as_ref()).await,
            _ => None,
        };
        let resumes = matches!(order, PassOrder::Resume(_)) || !was_told;
        let pass = match (order, &committed) {
            (PassOrder::Resume(pass), Some(committed)) => told(committed, watermark, pass.deferred),
            (_, Some(committed)) => told(committed, watermark, BTreeSet::new()),
            (PassOrder::Resume(pass), None) => *pass,
            (PassOrder::Compare(_), None) => begin(parts.source.as_ref(), PassMode::Differential).await?,
            (PassOrder::Begin(mode), None) => begin(parts.source.as_ref(), mode).await?,
        };
        // If the source is not probed, only this look shows that it is another database.
        if committed.is_none() {
            if let Some((last, now)) = last.as_ref().zip(pass.bookmark.as_ref()) {
                same_database(last, now)?;
            }
            // If a log tells its commits in parts, what it tells is of an earlier commit than the last one.
            last.clone_from(&pass.bookmark);
        }
        if parts.watches_kinds {
            refuse_outgrown(parts.source.as_ref()).await?;
        }
        let mut changes = PassContext {
            view: parts.view.as_mut(),
            memory: &mut memory,
            rhythm: parts.rhythm,
            watermark,
            slice,
            limit: parts.limit,
            allow_deletes,
            thorough,
            committed: committed.as_ref(),
            log_gap: parts.feed.as_ref().and_then(FeedReader::gap),
            resumes,
            encoder: &parts.encoder,
            excluded: &parts.excluded,
        };
        let (mode, bookmark) = (pass.mode, pass.bookmark.clone());
        // A part of what the feed has queued does not cover everything that was committed before the feed was followed.
        was_told = match mode {
            PassMode::Full => false,
            PassMode::Incremental => committed.as_ref().is_some_and(|committed| was_told || !committed.is_partial),
            PassMode::Differential => was_told,
        };
        let outcome = sync::run(parts.source.as_ref(), &parts.profile, parts.limits, pass, &mut changes, &mut outlet).await?;
        was_told &= !memory.take_forgotten();
        if let Some(feed) = &mut parts.feed {
            feed.set_gap(outcome.log_gap);
            if mode != PassMode::Differential && outcome.is_settled() {
                feed.note_applied(bookmark.as_ref());
            }
        }
    }
    Ok(())
}

/// Fails if the source has a new label or type: the next generation takes it into the profile.
async fn refuse_outgrown(source: &dyn Source) -> Result<()> {
    match source.outgrown().await? {
        Some(what) => Err(Error::new(ErrorKind::SourceOutgrown, format!("the source has {what}, which the profile lacks"))),
        None => Ok(()),
    }
}

/// Reads, before the first query of a pass, the bookmark and the source's own clock, which is the next watermark.
async fn begin(source: &dyn Source, mode: PassMode) -> Result<PassUnderWay> {
    let (bookmark, now) = try_join(source.bookmark(), source.now()).await?;
    Ok(PassUnderWay::begin(mode, now, Some(bookmark)))
}

/// Creates a pass over what a feed told. Its rows are as of its last commit. If a pass follows that finds changes by their
/// timestamps, it looks from that commit on.
fn told(
    committed: &CommittedChanges,
    watermark: Option<DateTime<Utc>>,
    deferred: BTreeSet<RelationshipIdentity>,
) -> PassUnderWay {
    let began_at = committed.committed_at.or(watermark).unwrap_or(DateTime::UNIX_EPOCH);
    PassUnderWay { deferred, ..PassUnderWay::begin(PassMode::Incremental, began_at, Some(committed.bookmark.clone())) }
}

/// The output of the extractor: takes credit for a batch and sends it to the transformer.
struct Outlet {
    generation: Generation,
    source: Arc<dyn Source>,
    transformer: Addr<Transformer>,
    credit: Arc<CreditPool>,
    reserved: Credit,
    acknowledged: mpsc::UnboundedReceiver<Acknowledged>,
    outstanding: usize,
    deferred: BTreeSet<RelationshipIdentity>,
    /// Whether there were more of them than can be remembered.
    has_forgotten: bool,
}

impl Outlet {
    fn note(&mut self, acknowledged: Acknowledged) {
        self.outstanding -= 1;
        let room = MAX_DEFERRED.saturating_sub(self.deferred.len());
        self.has_forgotten |= acknowledged.deferred.len() > room;
        self.deferred.extend(acknowledged.deferred.into_iter().take(room));
    }
}

#[async_trait]
impl Emitter for Outlet {
    async fn reserve(&mut self, rows: usize) -> Result<()> {
        // The unused credit of the last page goes back first; otherwise a pool of one page would never have room for the next.
        self.reserved = Credit::default();
        self.reserved = self.credit.load().wait(Member::Extractor, self.credit.reserve_rows(rows)).await;
        Ok(())
    }

    fn take_forgotten(&mut self) -> bool {
        std::mem::take(&mut self.has_forgotten)
    }

    async fn emit(&mut self, content: SourceContent, bytes: usize) -> Result<()> {
        failpoint!("extracted");
        let rows = match &content {
            BatchContent::Rows { rows, .. } => rows.len(),
            BatchContent::Begin(_) | BatchContent::Indexes(_) | BatchContent::End(_) => 0,
        };
        let room = self.credit.batch(&mut self.reserved, rows, bytes);
        let credit = self.credit.load().wait(Member::Extractor, room).await;
        while let Ok(acknowledged) = self.acknowledged.try_recv() {
            self.note(acknowledged);
        }
        self.outstanding += 1;
        // The credits keep the mailbox below its capacity, so a failure to send means that the transformer is gone.
        self.transformer
            .try_send(ExtractedBatch { generation: self.generation, content, newest: self.source.newest_commit(), credit })
            .map_err(|_| Error::new(ErrorKind::ActorStopped, "the transformer has stopped and accepts no more batches"))
    }

    async fn settle(&mut self) -> Result<BTreeSet<RelationshipIdentity>> {
        self.reserved = Credit::default();
        while self.outstanding > 0 {
            let acknowledged = self.acknowledged.recv().await;
            self.note(
                acknowledged.ok_or_else(|| {
                    Error::new(ErrorKind::ActorStopped, "the loader stopped before it acknowledged all batches")
                })?,
            );
        }
        Ok(std::mem::take(&mut self.deferred))
    }
}
