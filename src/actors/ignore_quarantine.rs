//! What an operator says of the quarantine.

use super::launch::Connector;
use super::lease_keeper::KeptLease;
use crate::error::Result;
use crate::model::prepared::Quarantined;
use crate::sink::CheckpointStore;

/// Lets be what is quarantined now, and returns how many entries that are. Takes the lease for the moment, so nobody may be writing.
pub(crate) async fn ignore_quarantine(connector: &dyn Connector) -> Result<usize> {
    let mut store = connector.store().await?;
    let lease = KeptLease::acquire(connector.lease().await?).await?;
    let outcome = ignore(store.as_mut()).await;
    // The outcome matters more than a lease that runs out by itself.
    let _ = lease.release().await;
    outcome
}

async fn ignore(store: &mut dyn CheckpointStore) -> Result<usize> {
    let mut minded = store.quarantine().await?;
    minded.retain(|entry| !entry.ignored);
    let ignored: Vec<Quarantined> = minded.iter().map(Quarantined::ignored).collect();
    store.update_quarantine(&ignored, &minded).await?;
    Ok(ignored.len())
}
