//! Waits until the leader of a pipeline has gone.

use std::time::Duration;

use crate::error::Result;
use crate::model::leader::Leader;
use crate::sink::{CheckpointStore, GraphLease};

/// The pause between two looks at the lease: one read of a small key. A leader that gives its lease back has a successor within
/// a second, of which this is a part.
const LOOK: Duration = Duration::from_millis(200);

/// The number of looks between two readings of the leader's checkpoint.
const LOOKS_PER_CHECKPOINT: usize = 25;

/// Looks at the lease until no process holds it, and tells of each leader, and of its checkpoints from time to time. A successor
/// that knows the number of the last checkpoint can tell a cache that was restarted from one that was restored.
pub(super) async fn until_free(
    mut lease: Box<dyn GraphLease>,
    mut store: Box<dyn CheckpointStore>,
    tell: impl Fn(Leader, Option<u64>),
) -> Result<()> {
    let mut told = None;
    for look in 0.. {
        let Some(leader) = lease.leader().await? else { break };
        let is_new = told.as_ref() != Some(&leader);
        if is_new || look % LOOKS_PER_CHECKPOINT == 0 {
            // A standby needs no checkpoint: one that this version cannot read, as a newer leader may write it, is no fault.
            let sequence = store.load().await.ok().flatten().map(|checkpoint| checkpoint.sequence);
            tell(leader.clone(), sequence);
            told = Some(leader);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
