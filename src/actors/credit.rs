//! Credits: the real bound on the batches in flight.
//!
//! A mailbox is no bound: in actix, `do_send` ignores its capacity, and each address may exceed it by one. So every batch carries
//! a permit for itself, for its rows and for its bytes. All are released when the batch is dropped, acknowledged or not.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::stream_load::StreamLoad;

/// The most batches in flight: two for each of the three stages keep all of them busy, and a few more even out their pace.
pub(crate) const MAX_BATCHES: usize = 8;

/// The most rows and bytes that may be in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CreditLimits {
    pub rows: usize,
    /// The weight of the rows in memory, in bytes.
    pub bytes: usize,
}

/// The permits of one pipeline's generation.
#[derive(Debug)]
pub(crate) struct CreditPool {
    batches: Arc<Semaphore>,
    rows: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    limits: CreditLimits,
    load: StreamLoad,
}

/// Permits held by one batch, or reserved for the next ones.
#[derive(Debug, Default)]
pub(crate) struct Credit {
    rows: Option<OwnedSemaphorePermit>,
    _batch: Option<OwnedSemaphorePermit>,
    _bytes: Option<OwnedSemaphorePermit>,
}

impl CreditPool {
    /// Creates a pool with nothing in flight.
    pub(crate) fn new(limits: CreditLimits) -> Self {
        let limits = CreditLimits { rows: clamp(limits.rows), bytes: clamp(limits.bytes) };
        Self {
            batches: Arc::new(Semaphore::new(MAX_BATCHES)),
            rows: Arc::new(Semaphore::new(limits.rows)),
            bytes: Arc::new(Semaphore::new(limits.bytes)),
            limits,
            load: StreamLoad::default(),
        }
    }

    /// Returns the load of the generation's actors.
    pub(crate) fn load(&self) -> &StreamLoad {
        &self.load
    }

    /// Waits for room for rows that will be read.
    pub(crate) async fn reserve_rows(&self, rows: usize) -> Credit {
        Credit { rows: take(&self.rows, rows.min(self.limits.rows)).await, ..Credit::default() }
    }

    /// Waits for the permits of a batch. Its rows use `reserved` first.
    ///
    /// A batch that is larger than the pool takes the whole pool.
    pub(crate) async fn batch(&self, reserved: &mut Credit, rows: usize, bytes: usize) -> Credit {
        let batch = take(&self.batches, 1).await;
        let bytes = take(&self.bytes, bytes.min(self.limits.bytes)).await;
        let held = reserved.rows.as_mut().and_then(|permit| permit.split(rows.min(permit.num_permits())));
        let missing = rows.saturating_sub(held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
        let rows = match (held, missing) {
            (Some(held), 0) => Some(held),
            // More rows came than were requested: all rows of one key stay together.
            (held, missing) => {
                drop(held);
                reserved.rows = None;
                take(&self.rows, (rows.max(missing)).min(self.limits.rows)).await
            }
        };
        Credit { rows, _batch: batch, _bytes: bytes }
    }

    /// Returns the rows in flight now, including those being read.
    pub(crate) fn rows_in_flight(&self) -> usize {
        self.limits.rows - self.rows.available_permits()
    }

    /// Returns the bytes in flight now.
    pub(crate) fn bytes_in_flight(&self) -> usize {
        self.limits.bytes - self.bytes.available_permits()
    }

    /// Returns the batches in flight now.
    pub(crate) fn batches_in_flight(&self) -> usize {
        MAX_BATCHES - self.batches.available_permits()
    }
}

/// Limits a number of permits to u32, because a semaphore counts in u32.
fn clamp(permits: usize) -> usize {
    permits.clamp(1, u32::MAX as usize)
}

async fn take(semaphore: &Arc<Semaphore>, permits: usize) -> Option<OwnedSemaphorePermit> {
    let permits = u32::try_from(permits).unwrap_or(u32::MAX);
    // The pool never closes its semaphores, so this is always a permit.
    Arc::clone(semaphore).acquire_many_owned(permits).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    const LIMITS: CreditLimits = CreditLimits { rows: 10, bytes: 100 };

    #[tokio::test]
    async fn a_batch_takes_its_rows_out_of_what_was_reserved() {
        let pool = CreditPool::new(LIMITS);
        let mut reserved = pool.reserve_rows(10).await;
        let first = pool.batch(&mut reserved, 4, 10).await;
        let second = pool.batch(&mut reserved, 6, 10).await;
        assert_eq!((pool.rows_in_flight(), pool.bytes_in_flight(), pool.batches_in_flight()), (10, 20, 2));
        assert!(pool.reserve_rows(1).now_or_never().is_none(), "no room is left");
        drop((first, second, reserved));
        assert_eq!((pool.rows_in_flight(), pool.bytes_in_flight(), pool.batches_in_flight()), (0, 0, 0));
    }

    #[tokio::test]
    async fn what_was_reserved_and_not_used_comes_back() {
        let pool = CreditPool::new(LIMITS);
        let mut reserved = pool.reserve_rows(10).await;
        let batch = pool.batch(&mut reserved, 3, 1).await;
        drop(reserved);
        assert_eq!(pool.rows_in_flight(), 3);
        drop(batch);
    }

    #[tokio::test]
    async fn a_batch_larger_than_the_pool_travels_alone() {
        let pool = CreditPool::new(LIMITS);
        let mut reserved = pool.reserve_rows(10).await;
        let batch = pool.batch(&mut reserved, 25, 1000).await;
        assert_eq!((pool.rows_in_flight(), pool.bytes_in_flight()), (10, 100));
        drop(batch);
        assert_eq!(pool.rows_in_flight(), 0);
    }
}
