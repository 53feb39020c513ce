//! This process as one of several instances that share the pipelines: which of them it should lead, and which it should not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::Result;
use crate::model::leader::Leader;
use crate::model::spread::{InstanceId, spread};
use crate::sink::{Announced, Presence, Surroundings};

/// The pause between two looks of a leader, which is that of a standby: an instance counts as present until a look beside each
/// graph has shown that it withdrew, and its pipelines wait for that.
const LEADER_LOOKS_APART: Duration = Duration::from_millis(200);

/// Times of spreading; tests shorten them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpreadTimes {
    /// The time after its start during which a process only looks: processes that start together see each other, and share the
    /// pipelines from the beginning.
    pub look_around: Duration,
    /// The time for which a lease is left to the instance that should take it. After that anybody takes it, so that a wrong
    /// belief leaves no pipeline without a leader. With the lifetime of a lease and a launch, that takes less than seven seconds.
    pub grace: Duration,
    /// The time for which the same other instance must be the one that should lead before a leader hands over: longer than a
    /// restart, so that pipelines do not move to and fro.
    pub settle: Duration,
}

impl Default for SpreadTimes {
    fn default() -> Self {
        let (look_around, grace, settle) = (Duration::from_secs(1), Duration::from_millis(1500), Duration::from_secs(10));
        Self { look_around, grace, settle }
    }
}

/// The knowledge of this process about all instances, from beside the graphs of all its pipelines.
#[derive(Debug)]
pub(crate) struct Membership {
    me: InstanceId,
    times: SpreadTimes,
    sightings: Mutex<Sightings>,
}

#[derive(Debug, Default)]
struct Sightings {
    /// The pipelines that are spread, each with the instance that leads it, as far as that is known.
    leaders: BTreeMap<String, Option<InstanceId>>,
    /// The instances that were last seen beside the graph of each pipeline, and the end of their announcements.
    announced: BTreeMap<String, BTreeMap<InstanceId, Instant>>,
    /// The time of the first look.
    since: Option<Instant>,
}

impl Default for Membership {
    fn default() -> Self {
        Self { me: InstanceId::random(), times: SpreadTimes::default(), sightings: Mutex::default() }
    }
}

impl Membership {
    #[cfg(test)]
    pub(super) fn of(me: InstanceId, times: SpreadTimes) -> Self {
        Self { me, times, ..Self::default() }
    }

    /// The id of this process.
    pub(crate) fn id(&self) -> &InstanceId {
        &self.me
    }

    fn note(&self, pipeline: &str, seen: &Surroundings) {
        let now = Instant::now();
        let mut sightings = self.sightings.lock();
        sightings.since = sightings.since.or(Some(now));
        // A changed configuration may no longer spread the pipeline.
        let Some(leader) = sightings.leaders.get_mut(pipeline) else { return };
        *leader = seen.holder.as_ref().and_then(|holder| holder.instance.clone());
        let announced = seen.announced.iter().map(|announced| (announced.instance.clone(), now + announced.left)).collect();
        sightings.announced.insert(pipeline.to_owned(), announced);
    }

    fn has_looked_around(&self) -> bool {
        self.sightings.lock().since.is_some_and(|since| since.elapsed() >= self.times.look_around)
    }

    /// The instance that should lead a pipeline. An instance is present if it is announced beside the graph of any pipeline.
    fn proper_leader(&self, pipeline: &str) -> Option<InstanceId> {
        let sightings = self.sightings.lock();
        let now = Instant::now();
        let announced = sightings.announced.values().flatten().filter(|(_, until)| **until > now).map(|(instance, _)| instance);
        let present: BTreeSet<InstanceId> = announced.chain([&self.me]).cloned().collect();
        spread(&sightings.leaders, &present).get(pipeline).copied().cloned()
    }
}

/// The state of a lease, as a process that waits for it sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LeaseState {
    Held(Leader),
    /// Nobody holds it, and another instance should take it.
    LeftToAnother,
    /// Nobody holds it, and this process may take it.
    Free,
}

/// This process as an instance that leads a pipeline or could lead it.
pub(crate) struct Participant {
    pipeline: String,
    membership: Arc<Membership>,
    presence: Box<dyn Presence>,
    /// The time since which nobody holds the lease.
    free_since: Option<Instant>,
}

impl Participant {
    pub(crate) fn new(pipeline: impl Into<String>, membership: Arc<Membership>, presence: Box<dyn Presence>) -> Self {
        Self { pipeline: pipeline.into(), membership, presence, free_since: None }
    }

    /// Counts the pipeline among those that are spread.
    pub(super) fn join(&self) {
        self.membership.sightings.lock().leaders.entry(self.pipeline.clone()).or_default();
    }

    /// No longer counts the pipeline among those that are spread.
    pub(super) fn leave(&self) {
        let mut sightings = self.membership.sightings.lock();
        sightings.leaders.remove(&self.pipeline);
        sightings.announced.remove(&self.pipeline);
    }

    /// Forgets the leader of the pipeline: this process no longer leads it and does not look for another leader.
    pub(super) fn forget(&self) {
        if let Some(leader) = self.membership.sightings.lock().leaders.get_mut(&self.pipeline) {
            *leader = None;
        }
    }

    /// Looks beside the graph, which also announces this process there.
    async fn look(&mut self) -> Result<Surroundings> {
        let seen = self.presence.look().await?;
        self.membership.note(&self.pipeline, &seen);
        Ok(seen)
    }

    /// Looks whether this process may take the lease.
    pub(super) async fn look_at_lease(&mut self) -> Result<LeaseState> {
        if let Some(holder) = self.look().await?.holder {
            self.free_since = None;
            return Ok(LeaseState::Held(holder.leader));
        }
        let free_for = self.free_since.get_or_insert_with(Instant::now).elapsed();
        let is_ours = self.membership.proper_leader(&self.pipeline).as_ref() == Some(self.membership.id());
        let may_take = (is_ours && self.membership.has_looked_around()) || free_for >= self.membership.times.grace;
        Ok(if may_take { LeaseState::Free } else { LeaseState::LeftToAnother })
    }

    /// Announces this process, which leads the pipeline, until another instance should lead it and could.
    pub(super) async fn until_another_should_lead(mut self) -> Announced {
        let mut named: Option<(InstanceId, Instant)> = None;
        loop {
            let successor = self.successor().await;
            let since = match (&successor, named.take()) {
                (Some(now), Some((before, since))) if now.instance == before => since,
                _ => Instant::now(),
            };
            named = successor.as_ref().map(|successor| (successor.instance.clone(), since));
            if let Some(successor) = successor.filter(|_| since.elapsed() >= self.membership.times.settle) {
                return successor;
            }
            tokio::time::sleep(LEADER_LOOKS_APART).await;
        }
    }

    /// The other instance that should lead the pipeline, if it waits beside the graph: one that does not has a reason.
    async fn successor(&mut self) -> Option<Announced> {
        let seen = match self.look().await {
            Ok(seen) => seen,
            Err(error) => {
                tracing::debug!(error = %error.chain(), "the other instances cannot be seen");
                return None;
            }
        };
        let proper = self.membership.proper_leader(&self.pipeline).filter(|proper| proper != self.membership.id())?;
        seen.announced.into_iter().find(|announced| announced.instance == proper)
    }

    /// Withdraws the announcement of a process that ends. Without that, it expires.
    pub(super) async fn withdraw(mut self) {
        if let Err(error) = self.presence.withdraw().await {
            tracing::debug!(pipeline = self.pipeline, error = %error.chain(), "cannot withdraw the announcement");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use async_trait::async_trait;
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::sink::Holder;

    /// The surroundings of a graph as a test says.
    #[derive(Clone, Default)]
    struct Scripted(Arc<Mutex<Surroundings>>);

    #[async_trait]
    impl Presence for Scripted {
        async fn look(&mut self) -> Result<Surroundings> {
            Ok(self.0.lock().clone())
        }
        async fn withdraw(&mut self) -> Result<()> {
            Ok(())
        }
    }

    fn process() -> Leader {
        Leader { host: "box".to_owned(), pid: 7, since: String::new(), url: None }
    }

    fn announced(instance: &str) -> Announced {
        Announced { instance: InstanceId::new(instance), process: process(), left: Duration::from_secs(5) }
    }

    fn held_by(instance: &str) -> Option<Holder> {
        Some(Holder { token: "t".to_owned(), instance: Some(InstanceId::new(instance)), leader: process() })
    }

    /// This process is `m`: among equals, ids decide.
    fn membership() -> Arc<Membership> {
        Arc::new(Membership::of(InstanceId::new("m"), SpreadTimes::default()))
    }

    fn participant(pipeline: &str, membership: &Arc<Membership>, surroundings: &Scripted) -> Participant {
        let participant = Participant::new(pipeline, Arc::clone(membership), Box::new(surroundings.clone()));
        participant.join();
        participant
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_starts_looks_around_before_it_takes_a_lease() {
        let (membership, surroundings) = (membership(), Scripted::default());
        let mut one = participant("p", &membership, &surroundings);
        assert_eq!(one.look_at_lease().await.unwrap(), LeaseState::LeftToAnother);
        sleep(SpreadTimes::default().look_around).await;
        assert_eq!(one.look_at_lease().await.unwrap(), LeaseState::Free);
        surroundings.0.lock().holder = held_by("a");
        assert_eq!(one.look_at_lease().await.unwrap(), LeaseState::Held(process()));
        // From then on it takes a free lease at once.
        surroundings.0.lock().holder = None;
        assert_eq!(one.look_at_lease().await.unwrap(), LeaseState::Free);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_left_to_another_instance_only_for_a_moment() {
        let (membership, surroundings) = (membership(), Scripted::default());
        let mut one = participant("p", &membership, &surroundings);
        surroundings.0.lock().holder = held_by("a");
        one.look_at_lease().await.unwrap();
        sleep(SpreadTimes::default().look_around).await;
        *surroundings.0.lock() = Surroundings { holder: None, announced: vec![announced("a"), announced("m")] };
        assert_eq!(one.look_at_lease().await.unwrap(), LeaseState::LeftToAnother);
        sleep(SpreadTimes::default().grace).await;
        assert_eq!(one.look_at_lease().await.unwrap(), LeaseState::Free);
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_that_withdraws_is_not_waited_for() {
        let (membership, surroundings) = (membership(), Scripted::default());
        let mut one = participant("p", &membership, &surroundings);
        *surroundings.0.lock() = Surroundings { holder: held_by("a"), announced: vec![announced("a")] };
        one.look_at_lease().await.unwrap();
        sleep(SpreadTimes::default().look_around).await;
        *surroundings.0.lock() = Surroundings::default();
        assert_eq!(one.look_at_lease().await.unwrap(), LeaseState::Free);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_of_too_many_names_the_successor_of_one_once_it_has_settled() {
        let (membership, surroundings) = (membership(), Scripted::default());
        *surroundings.0.lock() = Surroundings { holder: held_by("m"), announced: vec![announced("a"), announced("m")] };
        let leads = ["p", "q"].map(|pipeline| participant(pipeline, &membership, &surroundings));
        let began = Instant::now();
        let patience = SpreadTimes::default().settle * 3;
        let [p, q] = leads.map(|leads| async move {
            let successor = timeout(patience, leads.until_another_should_lead()).await.ok();
            successor.map(|successor| (successor.instance, began.elapsed()))
        });
        let (p, q) = tokio::join!(p, q);
        assert!(p.is_some() != q.is_some(), "one of two pipelines moves: {p:?} {q:?}");
        let (instance, after) = p.or(q).unwrap();
        assert_eq!(instance, InstanceId::new("a"));
        assert!(after >= SpreadTimes::default().settle, "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_that_does_not_wait_beside_the_graph_is_no_successor() {
        let (membership, leads, other) = (membership(), Scripted::default(), Scripted::default());
        leads.0.lock().holder = held_by("m");
        *other.0.lock() = Surroundings { holder: held_by("m"), announced: vec![announced("a")] };
        let [p, q] = ["p", "q"].map(|pipeline| participant(pipeline, &membership, &leads));
        // The instance is present, but could not lead the others.
        let mut third = participant("r", &membership, &other);
        let (began, patience) = (Instant::now(), SpreadTimes::default().settle * 3);
        let sees = async {
            while began.elapsed() < patience {
                third.look_at_lease().await.unwrap();
                sleep(LEADER_LOOKS_APART).await;
            }
        };
        let [p, q] = [p, q].map(|leads| timeout(patience, leads.until_another_should_lead()));
        let (p, q, ()) = tokio::join!(p, q, sees);
        assert!(p.is_err() && q.is_err());
    }
}
