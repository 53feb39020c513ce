//! An operator's decision to ignore what is quarantined.

use super::connection_factory::ConnectionFactory;
use super::lease_keeper::KeptLease;
use crate::error::Result;
use crate::model::quarantined::Quarantined;
use crate::sink::CheckpointStore;

/// Marks the current quarantine entries as ignored, and returns their number. It takes the lease for this time, so no other
/// writer may hold it.
pub(crate) async fn ignore_quarantine(connector: &dyn ConnectionFactory) -> Result<usize> {
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
