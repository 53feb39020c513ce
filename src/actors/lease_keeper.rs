//! Renews the lease of a generation's graph while the generation lives.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{ErrorKind, Result};
use crate::sink::{LEASE_TTL, Lease};

/// Three renewals fit into the time for which a lease holds, so one that is lost on the way does no harm.
const RENEWAL: Duration = Duration::from_millis(LEASE_TTL.as_millis() as u64 / 3);

/// Renews until it is told to end, or the lease is gone. A server that does not answer is tolerated for as long as the lease
/// holds; what decides in the end is the loader's own check at every checkpoint.
pub(super) async fn keep(mut lease: Box<dyn Lease>, quit: CancellationToken) -> Result<()> {
    let mut renewed = Instant::now();
    loop {
        tokio::select! {
            () = quit.cancelled() => return lease.release().await,
            () = tokio::time::sleep(RENEWAL) => {}
        }
        match lease.renew().await {
            Ok(()) => renewed = Instant::now(),
            Err(error) if error.kind() == ErrorKind::LeaseLost || renewed.elapsed() >= LEASE_TTL => return Err(error),
            Err(error) => tracing::warn!(error = %error.chain(), "lease not renewed, trying again"),
        }
    }
}
