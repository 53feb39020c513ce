//! Writes as graphiti does, without a pause, whatever happens to the server.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::support::Result;
use crate::support::graph::World;

const COMMITS_PER_SECOND: u32 = 20;

/// A graph of about this size is as large as it gets: what is added and what is deleted balance, so that memory which grows is
/// not the graph's.
const ENTITIES: usize = 3000;
const EPISODES: usize = 1500;
const FACTS: usize = 6000;

pub(super) struct Writer {
    world: World,
    random: StdRng,
}

/// What was written.
#[derive(Default)]
pub(super) struct Written {
    commits: u64,
    failed: u64,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commits, {} writes that the source did not take", self.commits, self.failed)
    }
}

pub(super) struct Writing {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Written>,
}

impl Writing {
    pub(super) async fn stop(self) -> Written {
        // It is over already if it panicked, which the wait for it says.
        let _ = self.stop.send(());
        self.task.await.unwrap()
    }
}

impl Writer {
    pub(super) fn new(world: World, seed: u64) -> Self {
        Self { world, random: StdRng::seed_from_u64(seed ^ 1) }
    }

    pub(super) fn start(mut self) -> Writing {
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut written = Written::default();
            let mut ticks = interval(Duration::from_secs(1) / COMMITS_PER_SECOND);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                tokio::select! {
                    biased;
                    _ = &mut stopped => return written,
                    _ = ticks.tick() => {}
                }
                match self.one().await {
                    Ok(()) => written.commits += 1,
                    // The server is down, slow, or has ended the transaction: what it holds is the truth all the same.
                    Err(_) => written.failed += 1,
                }
            }
        });
        Writing { stop, task }
    }

    async fn one(&mut self) -> Result<()> {
        if self.world.episodes.len() > EPISODES && self.random.random_bool(0.5) {
            let oldest = self.world.episodes[0].clone();
            return self.world.delete_node(&oldest).await;
        }
        if self.world.facts.len() > FACTS && self.random.random_bool(0.5) {
            let oldest = self.world.facts[0].clone();
            return self.world.delete_relationship(&oldest).await;
        }
        let full = self.world.entities.len() > ENTITIES;
        match self.random.random_range(0..10) {
            0..4 if !full => self.world.add_episode(1, 1).await.map(drop),
            0..4 => {
                let entity = self.world.some_entity();
                self.world.delete_node(&entity).await
            }
            4 | 5 => {
                let fact = self.world.some_fact();
                self.world.expire_fact(&fact).await
            }
            6 => {
                let fact = self.world.some_fact();
                self.world.delete_relationship(&fact).await?;
                self.world.add_episode(1, 3).await.map(drop)
            }
            7 => {
                let entity = self.world.some_entity();
                self.world.rewrite_summary(&entity).await.map(drop)
            }
            8 => {
                let entity = self.world.some_entity();
                let label = ["Person", "Place", "Topic"][self.random.random_range(0..3)];
                self.world.promote(&entity, label).await
            }
            _ => self.world.add_episode(0, 2).await.map(drop),
        }
    }
}
