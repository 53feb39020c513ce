//! Waits until this process may take the lease of a pipeline: its leader has gone, or left it to this process.

use std::time::Duration;

use super::connection_factory::ConnectionFactory;
use super::spreading::{LeaseState, Participant};
use crate::error::Result;
use crate::model::leader::Leader;
use crate::sink::{CheckpointStore, GraphLease, Sink};

/// The pause between two looks at the lease: one read of a small key. A leader that gives its lease back has a successor within
/// a second, of which this is a part.
const LOOK: Duration = Duration::from_millis(200);

/// The number of looks between two readings of the leader's checkpoint.
const LOOKS_PER_CHECKPOINT: usize = 25;

/// Looks at the lease until this process may take it, and tells of each leader, and of its checkpoints from time to time. A
/// successor that knows the number of an earlier checkpoint recognizes a cache that was restored.
pub(super) async fn until_free(
    connector: &dyn ConnectionFactory,
    participant: Option<Participant>,
    tell: impl Fn(Leader, Option<u64>),
) -> Result<()> {
    let mut lease = match participant {
        Some(participant) => AwaitedLease::Shared(participant),
        None => AwaitedLease::Simple(connector.lease().await?),
    };
    let mut cache = ObservedCache { connector, connections: None };
    let mut told = None;
    for look in 0.. {
        let leader = match lease.look().await? {
            LeaseState::Free => break,
            LeaseState::LeftToAnother => None,
            LeaseState::Held(leader) => Some(leader),
        };
        let is_new = told != leader;
        if let Some(leader) = leader.filter(|_| is_new || look % LOOKS_PER_CHECKPOINT == 0) {
            tell(leader.clone(), cache.last_sequence().await);
            told = Some(leader);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// The lease that a standby waits for.
enum AwaitedLease {
    /// Whoever finds it free takes it.
    Simple(Box<dyn GraphLease>),
    /// Each instance computes which instance takes it.
    Shared(Participant),
}

impl AwaitedLease {
    async fn look(&mut self) -> Result<LeaseState> {
        match self {
            Self::Simple(lease) => Ok(lease.leader().await?.map_or(LeaseState::Free, LeaseState::Held)),
            Self::Shared(participant) => participant.look_at_lease().await,
        }
    }
}

/// The cache of the leader. Its connections are of one life of the server, so an error replaces them.
struct ObservedCache<'a> {
    connector: &'a dyn ConnectionFactory,
    connections: Option<(Box<dyn CheckpointStore>, Box<dyn Sink>)>,
}

impl ObservedCache<'_> {
    /// Returns the number of the last checkpoint, if the server that is asked now is the one that the leader stored it in. A server
    /// that was restarted may have brought back an older checkpoint, and the lease of a process that has gone with it.
    ///
    /// A standby needs no checkpoint: one that this version cannot read, as a newer leader may write it, is no fault.
    async fn last_sequence(&mut self) -> Option<u64> {
        let connections = match self.connections.take() {
            Some(connections) => connections,
            None => (self.connector.store().await.ok()?, self.connector.sink().await.ok()?),
        };
        let (store, sink) = self.connections.insert(connections);
        match look(store.as_mut(), sink.as_mut()).await {
            Ok(sequence) => sequence,
            Err(error) => {
                tracing::debug!(error = %error.chain(), "cannot read the leader's checkpoint");
                self.connections = None;
                None
            }
        }
    }
}

async fn look(store: &mut dyn CheckpointStore, sink: &mut dyn Sink) -> Result<Option<u64>> {
    let Some(checkpoint) = store.load().await? else { return Ok(None) };
    // Asked after the checkpoint: in the other order, a restart in between would not show.
    let run_id = sink.identify().await?.run_id;
    Ok(is_same_life(checkpoint.cache_run_id.as_deref(), run_id.as_deref()).then_some(checkpoint.sequence))
}

fn is_same_life(one: Option<&str>, other: Option<&str>) -> bool {
    one.is_some() && one == other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_checkpoint_that_was_stored_in_this_life_of_the_server_is_the_last_one() {
        assert!(is_same_life(Some("b"), Some("b")));
        // The server was restarted, and the lease came back with the checkpoint.
        assert!(!is_same_life(Some("a"), Some("b")));
        // A server that does not give its run id may have been restarted.
        assert!(!is_same_life(None, Some("b")) && !is_same_life(Some("a"), None) && !is_same_life(None, None));
    }
}
