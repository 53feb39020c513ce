//! Renews the lease of a generation's graph while the generation lives.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{ErrorKind, Result};
use crate::failpoint;
use crate::sink::{LEASE_TTL, Lease};

/// Three renewals fit into the time for which a lease holds, so one that is lost on the way does no harm.
const RENEWAL: Duration = Duration::from_millis(LEASE_TTL.as_millis() as u64 / 3);

/// After a renewal that failed: a new connection may do, and there is time for one more before the lease is gone.
const SOON: Duration = Duration::from_millis(100);

/// Renews until it is told to end, or the lease is gone. A server that does not answer is tolerated for as long as the lease
/// holds; what decides in the end is the loader's own check at every checkpoint.
pub(super) async fn keep(mut lease: Box<dyn Lease>, quit: CancellationToken) -> Result<()> {
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
            Err(error) if error.kind() == ErrorKind::LeaseLost || renewed.elapsed() >= LEASE_TTL => return Err(error),
            Err(error) => {
                pause = SOON;
                tracing::warn!(error = %error.chain(), "lease not renewed, trying again");
            }
        }
    }
}
