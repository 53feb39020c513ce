//! Probes both sides a few times a second: whether something was committed, and whether either side is another than before.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use actix::Recipient;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::content_watch::ContentWatch;
use super::messages::{IndexMade, LogReached, SideProbed, SourceMoved};
use crate::error::{Directive, Error, ErrorKind, Result};
use crate::model::batch::Generation;
use crate::model::bookmark::Bookmark;
use crate::model::profile::Profile;
use crate::sink::{CheckpointStore, GraphState, Sink};
use crate::source::Source;
use crate::source::change_feed::ChangeFeed;
use crate::telemetry::status::Side;

/// The interval between probes of the cache: only other clients change it.
const CACHE_INTERVAL: Duration = Duration::from_secs(1);

/// The pause before an index is reported again: if it was made again between two looks, it seems never to have been dropped. An
/// index that cannot be dropped costs a pass each time.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// The interval between checks of the cache's indices: a client makes them when it starts, and an idle cache is left alone.
const INDEX_INTERVAL: Duration = Duration::from_secs(10);

/// The interval between probes of a source if the log tells its commits: short enough that `/ready` knows of a source that does
/// not answer within the required 15 seconds.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// The time limit of a probe. Two in a row that take longer, with the pause between them, stay under the 15 seconds within which
/// `/ready` has to know.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything that a prober looks at.
pub(super) struct ProberParts {
    pub(super) source: Arc<dyn Source>,
    pub(super) profile: Arc<Profile>,
    pub(super) sink: Box<dyn Sink>,
    /// The store beside the graph.
    pub(super) store: Box<dyn CheckpointStore>,
    /// The interval between probes of the source; none if absent.
    pub(super) interval: Option<Duration>,
    /// The change feed, which also tells commits: while passes read it, the source is probed only to see whether it answers.
    pub(super) feed: Option<Arc<dyn ChangeFeed>>,
    /// The run id of the cache's server at the beginning of the generation.
    pub(super) run_id: Option<String>,
}

/// The recipients of a prober's findings.
pub(super) struct Watchers {
    pub(super) moved: Recipient<SourceMoved>,
    /// Gets each failure, and the first answer after it.
    pub(super) probed: Recipient<SideProbed>,
    /// Gets each index that must be dropped.
    pub(super) indexed: Recipient<IndexMade>,
    /// Gets the reach of the transaction log.
    pub(super) reached: Recipient<LogReached>,
}

/// Probes until it is cancelled. Fails if the source or the cache is not what it was: a new generation then reads its state.
///
/// The two sides are probed in parallel, so that one that hangs does not hide the other.
pub(super) async fn probe(parts: ProberParts, generation: Generation, watchers: Watchers, quit: CancellationToken) -> Result<()> {
    let Watchers { moved, probed, indexed, .. } = watchers;
    let answers = |side| Answers { generation, side, probed: probed.clone(), failing: false };
    let content = ContentWatch::new(Arc::clone(&parts.source), parts.profile);
    let watched = WatchedSource { source: parts.source, feed: parts.feed };
    let source = watch_source(watched, parts.interval, generation, moved, answers(Side::Source));
    let disturbed = || indexed.do_send(IndexMade { generation });
    let watched = WatchedCache { sink: parts.sink, store: parts.store, run_id: parts.run_id, content };
    let cache = watch_cache(watched, disturbed, answers(Side::Cache));
    tokio::select! {
        () = quit.cancelled() => Ok(()),
        outcome = source => outcome,
        outcome = cache => outcome,
    }
}

/// A source, with the feed that also tells its commits.
struct WatchedSource {
    source: Arc<dyn Source>,
    feed: Option<Arc<dyn ChangeFeed>>,
}

async fn watch_source(
    WatchedSource { source, feed }: WatchedSource,
    period: Option<Duration>,
    generation: Generation,
    moved: Recipient<SourceMoved>,
    mut answers: Answers,
) -> Result<()> {
    // A log that falls silent must be noticed even without an interval for probes.
    let Some(period) = period.or(feed.as_ref().map(|_| KEEP_ALIVE)) else { return std::future::pending().await };
    let mut ticks = ticks(period);
    let mut last: Option<Bookmark> = None;
    let mut looked: Option<Instant> = None;
    loop {
        ticks.tick().await;
        let is_told = feed.as_ref().is_some_and(|feed| feed.is_in_use());
        if is_told && !answers.failing && looked.is_some_and(|looked| looked.elapsed() < KEEP_ALIVE) {
            continue;
        }
        looked = Some(Instant::now());
        let was_failing = answers.failing;
        let probe = async {
            let bookmark = source.probe().await?;
            // This comes before the answer counts as one: what another database says proves nothing.
            last.as_ref().map_or(Ok(()), |last| same_database(last, &bookmark))?;
            Ok(bookmark)
        };
        let Some(bookmark) = answers.take(probe).await? else { continue };
        if was_failing && let Some(feed) = &feed {
            feed.doubt();
        }
        if last.as_ref() == Some(&bookmark) {
            continue;
        }
        moved.do_send(SourceMoved { generation, bookmark: bookmark.clone(), committed_at: None });
        last = Some(bookmark);
    }
}

/// A cache, with the run id of its server at the beginning of the generation.
struct WatchedCache {
    sink: Box<dyn Sink>,
    store: Box<dyn CheckpointStore>,
    run_id: Option<String>,
    content: ContentWatch,
}

async fn watch_cache(
    WatchedCache { mut sink, mut store, run_id, mut content }: WatchedCache,
    disturbed: impl Fn(),
    mut answers: Answers,
) -> Result<()> {
    let mut ticks = ticks(CACHE_INTERVAL);
    let mut cache = CacheWatch { run_id, ..CacheWatch::default() };
    let mut disturbing = BTreeSet::new();
    let (mut told, mut looked) = (None, None);
    loop {
        ticks.tick().await;
        // The look is judged before it counts as an answer: what another cache says proves nothing.
        let judged = async { cache.compare(look(sink.as_mut(), store.as_mut()).await?) };
        if answers.take(judged).await?.is_none() {
            // Not every policy for indices takes a question: without one, a silent cache would seem to answer.
            continue;
        }
        content.look(sink.as_mut(), store.as_mut()).await?;
        if looked.is_some_and(|looked: Instant| looked.elapsed() < INDEX_INTERVAL) {
            continue;
        }
        looked = Some(Instant::now());
        if let Some(now) = answers.take(sink.disturbing_indexes()).await? {
            let is_due = told.is_none_or(|told: Instant| told.elapsed() >= TOLD_AGAIN_AFTER);
            if !now.is_subset(&disturbing) || (!now.is_empty() && is_due) {
                disturbed();
                told = Some(Instant::now());
            }
            disturbing = now;
        }
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    // After a silence, one probe is enough.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The state of a side as the status shows it: whether it answers.
struct Answers {
    generation: Generation,
    side: Side,
    probed: Recipient<SideProbed>,
    failing: bool,
}

impl Answers {
    /// Waits for a probe. A failure that may pass is no fault of the generation: a working pass notices it by itself, and the
    /// next probe follows soon. The failure is reported nevertheless, because an idle pipeline would not notice it.
    async fn take<T>(&mut self, probe: impl Future<Output = Result<T>>) -> Result<Option<T>> {
        let outcome = match timeout(PROBE_TIMEOUT, probe).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let (kind, server) = match self.side {
                    Side::Source => (ErrorKind::SourceTimeout, "Neo4j"),
                    Side::Cache => (ErrorKind::CacheTimeout, "FalkorDB"),
                };
                Err(Error::new(kind, format!("{server} did not answer a probe within {} s", PROBE_TIMEOUT.as_secs())))
            }
        };
        let failure = match &outcome {
            Ok(_) => None,
            Err(error) if error.directive() == Directive::Retry => Some(error.chain()),
            Err(_) => return outcome.map(Some),
        };
        if let Some(error) = &failure {
            tracing::debug!(server = %self.side, error, "probe failed");
        }
        if std::mem::replace(&mut self.failing, failure.is_some()) || failure.is_some() {
            self.probed.do_send(SideProbed { generation: self.generation, side: self.side, failure });
        }
        Ok(outcome.ok())
    }
}

/// Fails if a bookmark cannot follow an earlier one.
pub(super) fn same_database(last: &Bookmark, now: &Bookmark) -> Result<()> {
    if now.can_follow(last) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::SourceChanged, "the source is another database, or was restored from a backup"))
}

struct CacheSighting {
    /// Absent if there is no checkpoint.
    sequence: Option<u64>,
    /// Whether a full pass is under way, which empties the graph.
    filling: bool,
    graph: GraphState,
    /// Absent if the user may not read it.
    run_id: Option<String>,
}

async fn look(sink: &mut dyn Sink, store: &mut dyn CheckpointStore) -> Result<CacheSighting> {
    let run_id = sink.identify().await?.run_id;
    let graph = sink.state().await?;
    // This comes after the graph: a full pass marks its beginning in the checkpoint before it empties the graph.
    let checkpoint = store.load().await?;
    let filling = checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.watermark.is_none());
    let may_be_gone = graph == GraphState::Missing && checkpoint.is_some() && !filling;
    // A swap may have put both in place between the two questions.
    let graph = if may_be_gone { sink.state().await? } else { graph };
    Ok(CacheSighting { sequence: checkpoint.map(|checkpoint| checkpoint.sequence), filling, graph, run_id })
}

/// The state that the cache must not fall behind.
#[derive(Default)]
struct CacheWatch {
    sequence: Option<u64>,
    run_id: Option<String>,
}

impl CacheWatch {
    fn compare(&mut self, seen: CacheSighting) -> Result<()> {
        let changed = |what| Err(Error::new(ErrorKind::CacheChanged, what));
        if self.run_id.as_ref().zip(seen.run_id.as_ref()).is_some_and(|(before, now)| before != now) {
            return changed("FalkorDB was restarted");
        }
        match (self.sequence, seen.sequence) {
            (Some(_), None) => return changed("the cache no longer has the checkpoint"),
            (Some(last), Some(now)) if now < last => return changed("the cache was restored to an older state"),
            (_, Some(_)) if seen.graph == GraphState::Missing && !seen.filling => {
                return changed("the cache no longer has the graph");
            }
            _ => {}
        }
        self.sequence = seen.sequence.or(self.sequence);
        self.run_id = seen.run_id.or(self.run_id.take());
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::actors::connection_factory::ConnectionFactory;
    use crate::actors::in_memory::{InMemory, InjectedFault, Place, World};
    use crate::model::checkpoint::Checkpoint;
    use crate::model::source_identity::SourceIdentity;

    fn seen(sequence: Option<u64>, graph: GraphState) -> CacheSighting {
        CacheSighting { sequence, filling: false, graph, run_id: None }
    }

    #[test]
    fn another_life_of_the_server_is_noticed() {
        let present = |run_id: &str| CacheSighting { run_id: Some(run_id.to_owned()), ..seen(Some(1), GraphState::Present) };
        let mut watch = CacheWatch::default();
        watch.compare(present("first")).unwrap();
        watch.compare(seen(Some(1), GraphState::Present)).unwrap();
        watch.compare(present("first")).unwrap();
        assert_eq!(watch.compare(present("second")).unwrap_err().kind(), ErrorKind::CacheChanged);
    }

    #[test]
    fn a_cache_that_is_not_what_it_was_is_noticed() {
        let mut watch = CacheWatch::default();
        watch.compare(seen(None, GraphState::Missing)).unwrap();
        watch.compare(seen(Some(3), GraphState::Present)).unwrap();
        watch.compare(seen(Some(5), GraphState::Present)).unwrap();
        watch.compare(CacheSighting { filling: true, ..seen(Some(6), GraphState::Missing) }).unwrap();
        for gone in [seen(None, GraphState::Missing), seen(Some(5), GraphState::Present), seen(Some(7), GraphState::Missing)] {
            assert_eq!(watch.compare(gone).unwrap_err().kind(), ErrorKind::CacheChanged);
        }
    }

    /// The look reads the graph before the checkpoint, and a swap may put both in place between the two.
    #[tokio::test]
    async fn a_graph_that_comes_with_its_checkpoint_is_not_gone() {
        let world = World::of(1);
        let process = InMemory::process(&world);
        let (mut sink, mut store) = (process.sink().await.unwrap(), process.store().await.unwrap());
        let source = SourceIdentity { id: "x".to_owned(), name: "neo4j".to_owned() };
        let checkpoint = Checkpoint::new(world.profile.fingerprint(), source);
        *world.checkpoint.lock() = Some(Checkpoint { watermark: Some(chrono::Utc::now()), ..checkpoint });
        let mut watch = CacheWatch::default();
        world.strike(Place::LoadCheckpoint, 0, InjectedFault::Swap);
        watch.compare(look(sink.as_mut(), store.as_mut()).await.unwrap()).unwrap();
        world.delete_graph();
        let gone = watch.compare(look(sink.as_mut(), store.as_mut()).await.unwrap());
        assert_eq!(gone.unwrap_err().kind(), ErrorKind::CacheChanged);
    }

    /// Receives a prober's reports about a side.
    #[derive(Default, Clone)]
    struct Listener(Arc<parking_lot::Mutex<Vec<bool>>>);

    impl actix::Actor for Listener {
        type Context = actix::Context<Self>;
    }

    impl actix::Handler<SideProbed> for Listener {
        type Result = ();
        fn handle(&mut self, message: SideProbed, _: &mut Self::Context) {
            self.0.lock().push(message.failure.is_none());
        }
    }

    #[actix::test]
    async fn each_failure_is_told_and_the_first_answer_after_it() {
        let listener = Listener::default();
        let probed = actix::Actor::start(listener.clone()).recipient();
        let mut answers = Answers { generation: Generation(1), side: Side::Cache, probed, failing: false };
        let refused = || Err::<u8, _>(Error::new(ErrorKind::CacheConnection, "refused"));
        for outcome in [Ok(1), refused(), refused(), Ok(2), Ok(3)] {
            let expected = outcome.as_ref().ok().copied();
            assert_eq!(answers.take(async { outcome }).await.unwrap(), expected);
        }
        let gone = answers.take(async { Err::<u8, _>(Error::new(ErrorKind::CacheChanged, "gone")) }).await;
        assert_eq!(gone.unwrap_err().kind(), ErrorKind::CacheChanged, "a fault of the generation");
        while listener.0.lock().len() < 3 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*listener.0.lock(), [false, false, true]);
    }
}
