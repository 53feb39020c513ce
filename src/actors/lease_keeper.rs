//! Takes the lease of a graph and renews it from then on, whatever its holder does and however long that takes.

use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::error::{Error, ErrorKind, Result};
use crate::failpoint;
use crate::sink::{GraphLease, LEASE_TTL};

/// The interval of renewals: a third of the time for which a lease holds, so one that is lost on the way does no harm.
const RENEWAL: Duration = Duration::from_millis(LEASE_TTL.as_millis() as u64 / 3);

/// The pause after a failed renewal: a new connection may succeed.
const SOON: Duration = Duration::from_millis(100);

/// The silence of the cache after which the next failure ends the generation. A cache that stands still gives the lease to nobody
/// else, so this is longer than a lease holds. If only the network is silent, a successor may lead meanwhile; the fence drops all
/// writes then.
const TOLERATED_SILENCE: Duration = Duration::from_millis(LEASE_TTL.as_millis() as u64 * 3 / 2);

/// A lease that is held, and renewed by a task of its own. Once this value is dropped, the lease expires.
#[derive(Debug)]
pub(crate) struct KeptLease {
    quit: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl KeptLease {
    pub(super) async fn acquire(mut lease: Box<dyn GraphLease>) -> Result<Self> {
        lease.acquire().await?;
        let quit = CancellationToken::new();
        let task = tokio::spawn(keep(lease, quit.clone()).in_current_span());
        Ok(Self { quit, task })
    }

    /// Waits until the lease is lost. Afterwards there is nothing to release.
    pub(super) async fn lost(&mut self) -> Error {
        match ended((&mut self.task).await) {
            Err(error) => error,
            Ok(()) => Error::new(ErrorKind::ActorStopped, "the lease keeper stopped unexpectedly"),
        }
    }

    /// Holds the lease until it is lost or must be released. A lease that cannot be released runs out by itself, so that is no fault
    /// of a generation whose work is done.
    pub(super) async fn hold(mut self, quit: CancellationToken) -> Result<()> {
        let released = tokio::select! {
            () = quit.cancelled() => self.release().await,
            error = self.lost() => return Err(error),
        };
        match released {
            Err(error) if error.kind() != ErrorKind::Panic => {
                tracing::warn!(error = %error.chain(), "lease not released, it runs out by itself");
                Ok(())
            }
            outcome => outcome,
        }
    }

    pub(super) async fn release(mut self) -> Result<()> {
        self.quit.cancel();
        ended((&mut self.task).await)
    }
}

impl Drop for KeptLease {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn ended(outcome: Result<Result<()>, JoinError>) -> Result<()> {
    outcome.unwrap_or_else(|error| Err(Error::caused(ErrorKind::Panic, "the lease keeper panicked", error)))
}

/// Renews the lease until it is cancelled, the lease is lost, or the cache is silent for too long.
async fn keep(mut lease: Box<dyn GraphLease>, quit: CancellationToken) -> Result<()> {
    let mut renewed = Instant::now();
    let mut pause = RENEWAL;
    loop {
        tokio::select! {
            () = quit.cancelled() => {
                failpoint!("lease-release");
                return lease.release().await;
            }
            () = tokio::time::sleep(pause) => {}
        }
        match lease.renew().await {
            Ok(()) => (renewed, pause) = (Instant::now(), RENEWAL),
            Err(error) if error.kind() == ErrorKind::LeaseLost || renewed.elapsed() >= TOLERATED_SILENCE => return Err(error),
            Err(error) => {
                pause = SOON;
                tracing::warn!(error = %error.chain(), "lease not renewed, trying again");
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::actors::connection_factory::ConnectionFactory;
    use crate::actors::in_memory::{InMemory, InjectedFault, Place, World};
    use crate::model::leader::Leader;

    /// The lease in a cache that stands still for a while, with the time limit of a command about it.
    struct StandstillLease {
        ends: Instant,
        limit: Duration,
    }

    impl StandstillLease {
        fn of(duration: Duration) -> Box<Self> {
            Box::new(Self { ends: Instant::now() + duration, limit: Duration::from_secs(2) })
        }
    }

    #[async_trait]
    impl GraphLease for StandstillLease {
        async fn acquire(&mut self) -> Result<()> {
            Ok(())
        }
        async fn leader(&mut self) -> Result<Option<Leader>> {
            Ok(None)
        }
        async fn renew(&mut self) -> Result<()> {
            let answer = tokio::time::timeout(self.limit, tokio::time::sleep_until(self.ends)).await;
            answer.map_err(|_| Error::new(ErrorKind::CacheTimeout, "no answer"))
        }
        async fn release(&mut self) -> Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_standstill_that_is_longer_than_the_lease_ends_nothing() {
        let mut lease = KeptLease::acquire(StandstillLease::of(LEASE_TTL + RENEWAL)).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_secs(3600), lease.lost()).await.is_err(), "it is kept");
    }

    #[tokio::test(start_paused = true)]
    async fn a_standstill_without_an_end_ends_the_generation() {
        let begun = Instant::now();
        let mut lease = KeptLease::acquire(StandstillLease::of(Duration::from_secs(3600))).await.unwrap();
        assert_eq!(lease.lost().await.kind(), ErrorKind::CacheTimeout);
        assert!(begun.elapsed() < LEASE_TTL * 2, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_not_released_is_no_fault() {
        let world = World::of(1);
        let lease = KeptLease::acquire(InMemory::process(&world).lease().await.unwrap()).await.unwrap();
        world.strike(Place::ReleaseLease, 0, InjectedFault::Error(ErrorKind::CacheTimeout));
        let quit = CancellationToken::new();
        quit.cancel();
        lease.hold(quit).await.unwrap();
        assert!(world.is_owned(), "it runs out by itself");
    }
}
