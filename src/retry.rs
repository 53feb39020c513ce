//! Repeats requests that may succeed later. The adapters of both servers do so themselves: a strategy asks once.
//!
//! Pauses between attempts grow exponentially up to a cap, with jitter, so that many pipelines do not retry at the same moment.

use std::time::Duration;

use rand::Rng;

use crate::error::{Directive, Error, Result};
use crate::telemetry::tally;

/// The spacing of attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// The longest pause after the first failure.
    pub base: Duration,
    /// The longest pause after any failure.
    pub cap: Duration,
}

impl Backoff {
    /// The pauses between attempts at one request: short, because a worker waits.
    pub(crate) const REQUEST: Backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(2) };

    pub(crate) const GENERATION: Backoff = Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(30) };

    /// The pause after the given number of failures in a row, one or more.
    pub(crate) fn pause(&self, failures: u32) -> Duration {
        let ceiling = self.ceiling(failures);
        rand::rng().random_range(ceiling / 2..=ceiling)
    }

    fn ceiling(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        self.base.saturating_mul(1 << doublings).min(self.cap)
    }
}

/// The most attempts at one request before its error ends the generation: they bridge a short interruption, and the supervisor
/// waits out a long one.
const ATTEMPTS: u32 = 4;

/// The failures of one request so far.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    failures: u32,
}

impl Attempts {
    /// Waits for the next attempt, or returns the error if it will not pass by itself or there were enough attempts.
    pub(crate) async fn after(&mut self, error: Error) -> Result<()> {
        self.failures += 1;
        if error.directive() != Directive::Retry || self.failures == ATTEMPTS {
            return Err(error);
        }
        tally::count_retry(error.kind());
        let pause = Backoff::REQUEST.pause(self.failures);
        let (failures, pause_ms) = (self.failures, u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        tracing::warn!(error = %error.chain(), failures, pause_ms, "request failed, trying again");
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// Repeats a request while its error says that the same request may succeed later. Use it only for requests that can be repeated
/// without harm.
pub(crate) async fn repeated<T, F: Future<Output = Result<T>>>(mut request: impl FnMut() -> F) -> Result<T> {
    let mut attempts = Attempts::default();
    loop {
        match request().await {
            Err(error) => attempts.after(error).await?,
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn pauses_grow_to_the_cap_and_no_further() {
        let backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_millis(500) };
        let ceilings: Vec<_> = (1..=5).map(|n| backoff.ceiling(n).as_millis()).collect();
        assert_eq!(ceilings, [100, 200, 400, 500, 500]);
        assert!((1..100).all(|n| backoff.pause(n) <= backoff.cap));
    }

    #[tokio::test(start_paused = true)]
    async fn only_errors_that_may_pass_are_repeated() {
        async fn attempts_until(kind: ErrorKind, success_at: u32) -> (u32, bool) {
            let mut attempts = 0;
            let outcome = repeated(|| {
                attempts += 1;
                std::future::ready(if attempts == success_at { Ok(()) } else { Err(Error::new(kind, "x")) })
            })
            .await;
            (attempts, outcome.is_ok())
        }
        assert_eq!(attempts_until(ErrorKind::CacheBusy, 3).await, (3, true));
        assert_eq!(attempts_until(ErrorKind::CacheBusy, 99).await, (ATTEMPTS, false));
        assert_eq!(attempts_until(ErrorKind::CacheWrongType, 3).await, (1, false));
    }
}
