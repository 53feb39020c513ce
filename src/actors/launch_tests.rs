//! The lease of a launch: it is kept from its first second, and given back when the launch fails.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use super::connection_factory::{ConnectionFactory, FittedPipeline};
use super::in_memory::{InMemory, InjectedFault, Place, World};
use super::launch::{LaunchRequest, Launched, PriorGenerations, launch};
use super::lease_keeper::KeptLease;
use crate::error::{ErrorKind, Result};
use crate::sink::LEASE_TTL;

const INTENT: LaunchRequest = LaunchRequest { wanted: None, stage: false, reads_log: true, takes_lease: true };

async fn launched(process: &Arc<InMemory>) -> Result<Launched> {
    let (connector, profile) = (Arc::clone(process), Arc::clone(&process.world.profile));
    launch(FittedPipeline { connector, profile }, INTENT, PriorGenerations::default()).await.map(|(_, launched)| launched)
}

#[tokio::test(start_paused = true)]
async fn counts_that_take_longer_than_the_lease_do_not_cost_it() {
    let world = World::of(5);
    *world.counting.lock() = LEASE_TTL * 3;
    let mut launched = launched(&InMemory::process(&world)).await.unwrap();
    launched.store.store(&launched.checkpoint).await.unwrap();
    let other = KeptLease::acquire(InMemory::process(&world).lease().await.unwrap()).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::LeaseHeld);
    launched.lease.release().await.unwrap();
    assert!(!world.is_owned());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_lost_ends_the_launch() {
    let world = World::of(5);
    *world.counting.lock() = LEASE_TTL * 3;
    let process = InMemory::process(&world);
    let launching = tokio::spawn(async move { launched(&process).await.map(drop) });
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.take_lease_away();
    assert_eq!(launching.await.unwrap().unwrap_err().kind(), ErrorKind::LeaseLost);
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_fails_gives_the_lease_back() {
    let world = World::of(5);
    // The checkpoint is read after the lease is taken.
    world.strike(Place::LoadCheckpoint, 0, InjectedFault::Error(ErrorKind::CheckpointUnreadable));
    let error = launched(&InMemory::process(&world)).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CheckpointUnreadable);
    assert!(!world.is_owned());
}
