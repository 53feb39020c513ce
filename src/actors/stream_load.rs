//! The places where the stream of batches is held up: how long each of its three actors waited, and how much is queued before
//! each.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::member::Member;

/// The stages of the stream, in its order.
pub(crate) const STREAM_STEPS: [Member; 3] = [Member::Extractor, Member::Transformer, Member::Loader];

/// The load of the actors of one generation.
#[derive(Debug)]
pub(crate) struct StreamLoad {
    began: Instant,
    stages: [StageLoad; 3],
}

#[derive(Debug, Default)]
struct StageLoad {
    /// The time that the stage waited, in nanoseconds, without the current wait.
    waited: AtomicU64,
    /// The start of the current wait, in nanoseconds since the generation began; 0 without a wait.
    since: AtomicU64,
    queued: AtomicUsize,
}

impl Default for StreamLoad {
    fn default() -> Self {
        Self { began: Instant::now(), stages: Default::default() }
    }
}

impl StreamLoad {
    /// Measures how long a stage waits.
    pub(crate) async fn wait<T>(&self, member: Member, wait: impl Future<Output = T>) -> T {
        let Some(stage) = self.stage(member) else { return wait.await };
        stage.since.store(self.now(), Ordering::Relaxed);
        let value = wait.await;
        let since = stage.since.swap(0, Ordering::Relaxed);
        stage.waited.fetch_add(self.now().saturating_sub(since), Ordering::Relaxed);
        value
    }

    /// Notes how many batches are queued before a stage.
    pub(crate) fn note_queued(&self, member: Member, batches: usize) {
        if let Some(stage) = self.stage(member) {
            stage.queued.store(batches, Ordering::Relaxed);
        }
    }

    /// Returns the time that a stage has waited so far, including the current wait.
    pub(crate) fn waited(&self, member: Member) -> Duration {
        let Some(stage) = self.stage(member) else { return Duration::ZERO };
        let lasting = match stage.since.load(Ordering::Relaxed) {
            0 => 0,
            since => self.now().saturating_sub(since),
        };
        Duration::from_nanos(stage.waited.load(Ordering::Relaxed) + lasting)
    }

    /// Returns how many batches are queued before a stage.
    pub(crate) fn queued(&self, member: Member) -> usize {
        self.stage(member).map_or(0, |stage| stage.queued.load(Ordering::Relaxed))
    }

    fn stage(&self, member: Member) -> Option<&StageLoad> {
        STREAM_STEPS.iter().position(|stage| *stage == member).and_then(|place| self.stages.get(place))
    }

    /// Returns the time since the beginning. It is never 0, which stands for no wait.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_counts_while_it_lasts_and_once_it_is_over() {
        let load = StreamLoad::default();
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let waiting = load.wait(Member::Loader, receiver);
        let looking = async {
            while load.waited(Member::Loader) < Duration::from_millis(5) {
                tokio::task::yield_now().await;
            }
            drop(sender);
        };
        let (_, ()) = tokio::join!(waiting, looking);
        let waited = load.waited(Member::Loader);
        assert!(waited >= Duration::from_millis(5));
        assert_eq!(load.waited(Member::Loader), waited, "it is over");
        assert_eq!(load.waited(Member::Extractor), Duration::ZERO);
    }
}
