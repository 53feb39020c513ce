//! Looks at both sides a few times a second: whether something was committed, and whether either side is another than before.

use std::sync::Arc;
use std::time::Duration;

use actix::Recipient;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::messages::SourceMoved;
use crate::error::{Directive, Error, ErrorKind, Result};
use crate::model::batch::Generation;
use crate::model::bookmark::Bookmark;
use crate::sink::{CheckpointStore, GraphState, Sink};
use crate::source::Source;

/// How often the cache is looked at: it changes only if somebody does something to it.
const CACHE_INTERVAL: Duration = Duration::from_secs(1);

/// What a prober looks at.
pub(super) struct ProberParts {
    /// The source.
    pub(super) source: Arc<dyn Source>,
    /// The graph.
    pub(super) sink: Box<dyn Sink>,
    /// What is kept beside it.
    pub(super) store: Box<dyn CheckpointStore>,
    /// How often the source is looked at; never where absent.
    pub(super) interval: Option<Duration>,
    /// The life of the cache's server in which the generation began.
    pub(super) run_id: Option<String>,
}

/// Probes until it is told to end. Fails when the source or the cache is not what it was: a new generation finds out what is.
pub(super) async fn probe(
    mut parts: ProberParts,
    generation: Generation,
    moved: Recipient<SourceMoved>,
    quit: CancellationToken,
) -> Result<()> {
    let period = parts.interval.unwrap_or(CACHE_INTERVAL);
    let mut ticks = interval(period);
    // After a silence of the source one look is enough.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last: Option<Bookmark> = None;
    let mut cache = CacheWatch { run_id: parts.run_id.take(), ..CacheWatch::default() };
    let mut looked_at_cache: Option<Instant> = None;
    loop {
        tokio::select! {
            () = quit.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        if parts.interval.is_some()
            && let Some(bookmark) = passing(parts.source.bookmark().await)?
            && last.as_ref() != Some(&bookmark)
        {
            if let Some(last) = &last {
                same_database(last, &bookmark)?;
            }
            moved.do_send(SourceMoved { generation, bookmark: bookmark.clone() });
            last = Some(bookmark);
        }
        if looked_at_cache.is_none_or(|at| at.elapsed() >= CACHE_INTERVAL) {
            looked_at_cache = Some(Instant::now());
            if let Some(seen) = passing(look(&mut parts).await)? {
                cache.compare(seen)?;
            }
        }
    }
}

/// A probe that fails for a reason that may pass is no news: whoever works notices it, and the next probe follows soon.
fn passing<T>(outcome: Result<T>) -> Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.directive() == Directive::Retry => {
            tracing::debug!(error = %error.chain(), "probe failed");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Fails where a bookmark cannot come after one that was seen before.
pub(super) fn same_database(last: &Bookmark, now: &Bookmark) -> Result<()> {
    if now.can_follow(last) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::SourceChanged, "the database is another one, or was restored from a backup"))
}

struct Seen {
    /// Absent where there is no checkpoint.
    sequence: Option<u64>,
    /// Whether a full pass is under way, which empties the graph.
    filling: bool,
    graph: GraphState,
    /// Absent where the user may not ask for it.
    run_id: Option<String>,
}

async fn look(parts: &mut ProberParts) -> Result<Seen> {
    let run_id = parts.sink.identify().await?.run_id;
    let graph = parts.sink.state().await?;
    // After the graph: a full pass says in the checkpoint that it begins before it empties the graph.
    let checkpoint = parts.store.load().await?;
    let filling = checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.watermark.is_none());
    Ok(Seen { sequence: checkpoint.map(|checkpoint| checkpoint.sequence), filling, graph, run_id })
}

/// What the cache must not fall behind.
#[derive(Default)]
struct CacheWatch {
    sequence: Option<u64>,
    run_id: Option<String>,
}

impl CacheWatch {
    fn compare(&mut self, seen: Seen) -> Result<()> {
        let changed = |what| Err(Error::new(ErrorKind::CacheChanged, what));
        if self.run_id.as_ref().zip(seen.run_id.as_ref()).is_some_and(|(before, now)| before != now) {
            return changed("the cache was started again");
        }
        match (self.sequence, seen.sequence) {
            (Some(_), None) => return changed("the checkpoint is gone from the cache"),
            (Some(last), Some(now)) if now < last => return changed("the cache was restored from an older state"),
            (_, Some(_)) if seen.graph == GraphState::Missing && !seen.filling => {
                return changed("the graph is gone from the cache");
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

    fn seen(sequence: Option<u64>, graph: GraphState) -> Seen {
        Seen { sequence, filling: false, graph, run_id: None }
    }

    #[test]
    fn another_life_of_the_server_is_noticed() {
        let present = |run_id: &str| Seen { run_id: Some(run_id.to_owned()), ..seen(Some(1), GraphState::Present) };
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
        watch.compare(Seen { filling: true, ..seen(Some(6), GraphState::Missing) }).unwrap();
        for gone in [seen(None, GraphState::Missing), seen(Some(5), GraphState::Present), seen(Some(7), GraphState::Missing)] {
            assert_eq!(watch.compare(gone).unwrap_err().kind(), ErrorKind::CacheChanged);
        }
    }
}
