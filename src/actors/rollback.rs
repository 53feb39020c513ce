//! The rollback to the graph that the last full sync replaced, if that graph was kept.

use chrono::Utc;

use super::connection_factory::ConnectionFactory;
use super::lease_keeper::KeptLease;
use crate::error::{Error, ErrorKind, Result};

/// Exchanges the live and the kept graph, with everything that belongs to them, and pauses the pipeline: its next pass would undo
/// the purpose of the rollback. It takes the lease for this time, so no other writer may hold it.
pub(crate) async fn roll_back(connector: &dyn ConnectionFactory) -> Result<()> {
    let access = connector.stage_access().await?;
    let mut access = access.ok_or_else(|| {
        Error::new(ErrorKind::Configuration, "full_sync.strategy: in_place keeps no previous graph for a rollback")
    })?;
    let lease = KeptLease::acquire(connector.lease().await?).await?;
    let outcome = access.swap.rollback(&Utc::now().to_rfc3339()).await;
    // The outcome matters more than a lease that runs out by itself.
    let _ = lease.release().await;
    outcome
}
