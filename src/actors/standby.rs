//! Waits until the leader of a pipeline has gone.

use std::time::Duration;

use crate::error::Result;
use crate::model::leader::Leader;
use crate::sink::GraphLease;

/// The pause between two looks at the lease: one read of a small key. A leader that gives its lease back has a successor within
/// a second, of which this is a part.
const LOOK: Duration = Duration::from_millis(200);

/// Looks at the lease until no process holds it, and tells of each leader once.
pub(super) async fn until_free(mut lease: Box<dyn GraphLease>, tell: impl Fn(Leader)) -> Result<()> {
    let mut told = None;
    while let Some(leader) = lease.leader().await? {
        if told.as_ref() != Some(&leader) {
            tell(leader.clone());
            told = Some(leader);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
