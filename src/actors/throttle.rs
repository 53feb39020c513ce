//! How the three actors of the stream keep pace with one another: how long each waited, and how much is before it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::member::Member;

/// The stages of the stream, in its order.
pub(crate) const STAGES: [Member; 3] = [Member::Extractor, Member::Transformer, Member::Loader];

/// The pace of one generation.
#[derive(Debug)]
pub(crate) struct Throttle {
    began: Instant,
    stages: [StagePace; 3],
}

#[derive(Debug, Default)]
struct StagePace {
    /// How long it waited, in nanoseconds; a wait that lasts is not in it.
    waited: AtomicU64,
    /// Since when it waits, in nanoseconds since the generation began; 0 where it does not.
    since: AtomicU64,
    queued: AtomicUsize,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { began: Instant::now(), stages: Default::default() }
    }
}

impl Throttle {
    /// Counts the time that a wait of a stage takes.
    pub(crate) async fn wait<T>(&self, member: Member, wait: impl Future<Output = T>) -> T {
        let Some(stage) = self.stage(member) else { return wait.await };
        stage.since.store(self.now(), Ordering::Relaxed);
        let value = wait.await;
        let since = stage.since.swap(0, Ordering::Relaxed);
        stage.waited.fetch_add(self.now().saturating_sub(since), Ordering::Relaxed);
        value
    }

    /// Notes how many batches are before a stage.
    pub(crate) fn note_queued(&self, member: Member, batches: usize) {
        if let Some(stage) = self.stage(member) {
            stage.queued.store(batches, Ordering::Relaxed);
        }
    }

    /// How long a stage waited so far, the wait that lasts included.
    pub(crate) fn waited(&self, member: Member) -> Duration {
        let Some(stage) = self.stage(member) else { return Duration::ZERO };
        let lasting = match stage.since.load(Ordering::Relaxed) {
            0 => 0,
            since => self.now().saturating_sub(since),
        };
        Duration::from_nanos(stage.waited.load(Ordering::Relaxed) + lasting)
    }

    /// How many batches are before a stage.
    pub(crate) fn queued(&self, member: Member) -> usize {
        self.stage(member).map_or(0, |stage| stage.queued.load(Ordering::Relaxed))
    }

    fn stage(&self, member: Member) -> Option<&StagePace> {
        STAGES.iter().position(|stage| *stage == member).and_then(|place| self.stages.get(place))
    }

    /// Never 0, which stands for no wait.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_counts_while_it_lasts_and_once_it_is_over() {
        let pace = Throttle::default();
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let waiting = pace.wait(Member::Loader, receiver);
        let looking = async {
            while pace.waited(Member::Loader) < Duration::from_millis(5) {
                tokio::task::yield_now().await;
            }
            drop(sender);
        };
        let (_, ()) = tokio::join!(waiting, looking);
        let waited = pace.waited(Member::Loader);
        assert!(waited >= Duration::from_millis(5));
        assert_eq!(pace.waited(Member::Loader), waited, "it is over");
        assert_eq!(pace.waited(Member::Extractor), Duration::ZERO);
    }
}
