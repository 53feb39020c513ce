//! The actors of one generation, started together and ended together.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Recipient};
use tokio::time::Instant;
use tracing::Span;

use super::ExitRecipients;
use super::credit::{CreditLimits, CreditPool};
use super::extractor::{self, Extractor, ExtractorParts};
use super::feed_reader::FeedReader;
use super::launch::{FollowedLog, Launched, StageInProgress};
use super::loader::{self, Loader, LoaderParts};
use super::member::Member;
use super::messages::{Acknowledged, Drain, LogReached, Quit, SourceMoved, StartPass};
use super::prober::{self, ProberParts, Watchers};
use super::transformer::{self, EncoderMode, Transformer};
use super::worker::Worker;
use crate::error::{Error, ErrorKind, Result};
use crate::model::batch::Generation;
use crate::model::bookmark::Bookmark;
use crate::model::guard::DeleteLimit;
use crate::model::profile::Profile;
use crate::model::quarantine_index::QuarantineIndex;
use crate::model::scrub_rate::ScrubRate;
use crate::source::Source;
use crate::source::transaction_log::{LogEvent, LogFollower};
use crate::sync::{BatchLimits, CheckIntervals, Memory};
use crate::transform::Encoder;
use crate::transform::bulk::StageEncoder;

/// The settings of a generation, given once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct GenerationSettings {
    /// The limits at which a batch closes.
    pub limits: BatchLimits,
    /// The most rows and bytes that may be in flight.
    pub credit: CreditLimits,
    /// The intervals at which an incremental pass does its checks.
    pub rhythm: CheckIntervals,
    /// The interval between probes of the source; none if absent.
    pub probe_interval: Option<Duration>,
    /// The speed of the comparison in the background; none runs if absent.
    pub scrub_rate: Option<ScrubRate>,
    /// The interval between comparisons of everything, even if nothing was committed; none if absent.
    pub differential_interval: Option<Duration>,
    /// The largest share of a kind that may be deleted without approval.
    pub delete_limit: DeleteLimit,
}

pub(super) struct GenerationActors {
    extractor: Addr<Extractor>,
    transformer: Addr<Transformer>,
    loader: Addr<Loader>,
    lease_keeper: Worker,
    prober: Option<Worker>,
    log_follower: Option<Worker>,
    source: Arc<dyn Source>,
    alive: BTreeSet<Member>,
    pub(super) credit: Arc<CreditPool>,
    pub(super) started: Instant,
}

/// The way in which a generation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Everything that was read is applied and acknowledged first.
    Drained,
    /// Only requests under way are finished.
    Cut,
}

impl GenerationActors {
    /// Starts all members, the last in the stream first.
    pub(super) fn start(
        generation: Generation,
        launched: Launched,
        profile: &Arc<Profile>,
        settings: GenerationSettings,
        acknowledge: Recipient<Acknowledged>,
        watchers: Watchers,
        reports: ExitRecipients,
    ) -> Self {
        let credit = Arc::new(CreditPool::new(settings.credit));
        // A stage keeps the profile that it was begun with. The live graph looks for new kinds after the swap.
        let watches_kinds = launched.watched.is_some();
        let (follower, feed) = launched.log.map(|FollowedLog { follower, feed }| (follower, feed)).unzip();
        let log_follower = follower.map(|follower| {
            let (moved, reached) = (watchers.moved.clone(), watchers.reached.clone());
            let said = move |news| match news {
                LogEvent::Committed { bookmark, committed_at } => {
                    moved.do_send(SourceMoved { generation, bookmark, committed_at });
                }
                LogEvent::Reach(reach) => reached.do_send(LogReached { generation, reach }),
            };
            Worker::spawn(generation, Member::LogFollower, &reports, |quit| follow(follower, said, quit))
        });
        let prober = launched.watched.map(|(sink, store)| {
            let run_id = launched.checkpoint.cache_run_id.clone();
            let source = Arc::clone(&launched.source);
            let (profile, interval, feed) = (Arc::clone(profile), settings.probe_interval, feed.clone());
            let probed = ProberParts { source, profile, sink, store, interval, feed, run_id };
            Worker::spawn(generation, Member::Prober, &reports, |quit| prober::probe(probed, generation, watchers, quit))
        });
        let source = Arc::clone(&launched.source);
        let lease = launched.lease;
        let lease_keeper = Worker::spawn(generation, Member::LeaseKeeper, &reports, |quit| lease.hold(quit));
        let encoder = Encoder::new(Arc::clone(profile), launched.dimensions).for_graph_with(launched.property_names);
        let encoder = Arc::new(encoder);
        let (stage, encoding) = match launched.filling {
            Some(StageInProgress { stage, ids }) => {
                (Some(stage), EncoderMode::Payloads(Box::new(StageEncoder::new(Arc::clone(&encoder), ids))))
            }
            None => (None, EncoderMode::Rows(Arc::clone(&encoder))),
        };
        let feed = feed.map(|feed| FeedReader::new(feed, &launched.checkpoint));
        let memory = Memory::new(&launched.checkpoint, profile);
        let excluded = QuarantineIndex::of(&launched.quarantine);
        let parts = LoaderParts {
            sink: launched.sink,
            stage,
            profile: Arc::clone(profile),
            store: launched.store,
            checkpoint: launched.checkpoint,
            quarantine: launched.quarantine,
            excluded: excluded.clone(),
            credit: Arc::clone(&credit),
        };
        let loader = loader::start(generation, parts, acknowledge, reports.clone());
        let transformer = transformer::start(generation, encoding, loader.clone(), Arc::clone(&credit), reports.clone());
        let parts = ExtractorParts {
            source: launched.source,
            profile: Arc::clone(profile),
            view: launched.view,
            rhythm: settings.rhythm,
            encoder: Arc::clone(&encoder),
            limits: settings.limits,
            credit: Arc::clone(&credit),
            limit: settings.delete_limit,
            excluded,
            watches_kinds,
            memory,
            feed,
        };
        let extractor = extractor::start(generation, parts, transformer.clone(), reports);
        let mut alive = BTreeSet::from([Member::Extractor, Member::Transformer, Member::Loader, Member::LeaseKeeper]);
        alive.extend(prober.as_ref().map(|_| Member::Prober));
        alive.extend(log_follower.as_ref().map(|_| Member::LogFollower));
        Self {
            extractor,
            transformer,
            loader,
            lease_keeper,
            prober,
            log_follower,
            source,
            alive,
            credit,
            started: Instant::now(),
        }
    }

    /// Orders the extractor to run a pass. Orders are few and must not be lost, so they ignore the mailbox's capacity.
    pub(super) fn start_pass(&self, order: StartPass) {
        self.extractor.do_send(order);
    }

    /// Waits until every pass that begins afterwards sees the commit of this bookmark.
    pub(super) fn reach(&self, bookmark: Bookmark) -> impl Future<Output = Result<()>> + use<> {
        let source = Arc::clone(&self.source);
        async move { source.reach(&bookmark).await }
    }

    /// Tells the extractor what was acknowledged. There are at most as many messages as batches in flight.
    pub(super) fn acknowledge(&self, message: Acknowledged) {
        self.extractor.do_send(message);
    }

    /// Removes a member from the list of those alive.
    pub(super) fn ended(&mut self, member: Member) {
        self.alive.remove(&member);
    }

    /// The members that have not ended yet.
    pub(super) fn alive(&self) -> &BTreeSet<Member> {
        &self.alive
    }

    /// Tells the next members to end. It is called again after each member's end, until none is alive.
    ///
    /// The order is that of the stream, so that nothing on its way is lost. The lease is released last, when nothing is written
    /// any more.
    pub(super) fn end(&self, ending: Ending) {
        let upstream_done = |members: &[Member]| members.iter().all(|member| !self.alive.contains(member));
        self.extractor.do_send(Quit);
        self.prober.iter().chain(&self.log_follower).for_each(Worker::quit);
        match ending {
            Ending::Cut => {
                self.transformer.do_send(Quit);
                self.loader.do_send(Quit);
            }
            Ending::Drained => {
                if upstream_done(&[Member::Extractor]) {
                    self.transformer.do_send(Drain);
                }
                if upstream_done(&[Member::Extractor, Member::Transformer]) {
                    self.loader.do_send(Drain);
                }
            }
        }
        if upstream_done(&[Member::Extractor, Member::Transformer, Member::Loader]) {
            self.lease_keeper.quit();
        }
    }

    /// Ends all members that are left, wherever they are.
    pub(super) fn abandon(&self) {
        self.transformer.do_send(Quit);
        self.loader.do_send(super::messages::Abandon);
        self.lease_keeper.abort();
        self.prober.iter().chain(&self.log_follower).for_each(Worker::abort);
    }

    #[cfg(test)]
    pub(super) fn stop_shell(&self, member: Member) {
        match member {
            Member::Extractor => self.extractor.do_send(super::StopShell),
            Member::Transformer => self.transformer.do_send(super::StopShell),
            Member::Loader => self.loader.do_send(super::StopShell),
            Member::LeaseKeeper => self.lease_keeper.abort(),
            Member::Prober => self.prober.iter().for_each(Worker::abort),
            Member::LogFollower => self.log_follower.iter().for_each(Worker::abort),
        }
    }

    /// Returns the members that are alive, as text.
    pub(super) fn names_alive(&self) -> String {
        self.alive.iter().map(Member::to_string).collect::<Vec<_>>().join(", ")
    }
}

/// Follows the log in a thread of its own, because it reads files. The thread ends with this task.
async fn follow(
    follower: LogFollower,
    said: impl Fn(LogEvent) + Send + 'static,
    quit: tokio_util::sync::CancellationToken,
) -> Result<()> {
    let ended = quit.child_token();
    let _end = ended.clone().drop_guard();
    let span = Span::current();
    let followed = tokio::task::spawn_blocking(move || span.in_scope(|| follower.run(&ended, said))).await;
    let followed = followed.map_err(|error| Error::caused(ErrorKind::Panic, "the log follower panicked", error))?;
    const CHANGED: &str = "the database was restored from a backup, or its server lost its last commits";
    followed.map_err(|refusal| Error::caused(ErrorKind::SourceChanged, CHANGED, refusal))
}

/// The span that every event of a generation's members is in.
pub(super) fn span(pipeline: &str, generation: Generation) -> Span {
    tracing::info_span!("generation", pipeline, generation = generation.0)
}
