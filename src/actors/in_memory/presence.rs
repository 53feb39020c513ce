//! The instances beside the world's graph: each look announces one of them, and shows the others.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;

use super::lease::process;
use super::world::World;
use crate::error::Result;
use crate::model::spread::InstanceId;
use crate::sink::{Announced, Holder, LEASE_TTL, Presence, Surroundings};

pub(super) struct InMemoryPresence {
    pub(super) world: Arc<World>,
    pub(super) token: u64,
    pub(super) instance: InstanceId,
}

#[async_trait]
impl Presence for InMemoryPresence {
    async fn look(&mut self) -> Result<Surroundings> {
        let (owner, now) = (self.world.owner(), Instant::now());
        let mut instances = self.world.instances.lock();
        instances.insert(self.token, (self.instance.clone(), now + LEASE_TTL));
        let instance = |token: u64| instances.get(&token).map(|(instance, _)| instance.clone());
        let holder = owner.map(|token| Holder { token: token.to_string(), instance: instance(token), leader: process(token) });
        let valid = instances.iter().filter(|(_, (_, until))| *until > now);
        let announced = valid.map(|(token, (instance, until))| Announced {
            instance: instance.clone(),
            process: process(*token),
            left: *until - now,
        });
        Ok(Surroundings { holder, announced: announced.collect() })
    }
    async fn withdraw(&mut self) -> Result<()> {
        self.world.instances.lock().remove(&self.token);
        Ok(())
    }
}
