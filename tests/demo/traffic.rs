//! Changes to Neo4j, and when each of them arrived in FalkorDB.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;

use crate::counts::number;
use crate::support::Result;
use crate::support::graph::World;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Episode,
    Summary,
    Expiry,
    Deletion,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Episode, Self::Summary, Self::Expiry, Self::Deletion];

    pub fn name(self) -> &'static str {
        match self {
            Self::Episode => "new episode with entities and facts",
            Self::Summary => "summary rewritten without a trace",
            Self::Expiry => "expired fact",
            Self::Deletion => "deleted entity or fact",
        }
    }
}

/// A change that was made, and the question whose answer tells that it has arrived.
struct Change {
    kind: Kind,
    question: String,
    answer: i64,
    made: Instant,
}

/// What happened to the changes of a kind.
#[derive(Clone, Copy, Default)]
pub struct Record {
    pub made: usize,
    pub arrived: usize,
    pub last: Option<Duration>,
}

pub struct Traffic {
    world: World,
    cache: MultiplexedConnection,
    name: String,
    waiting: Vec<Change>,
    records: [Record; 4],
    turn: usize,
}

impl Traffic {
    pub fn new(world: World, cache: MultiplexedConnection, name: String) -> Self {
        Self { world, cache, name, waiting: Vec::new(), records: Default::default(), turn: 0 }
    }

    pub fn cache(&mut self) -> &mut MultiplexedConnection {
        &mut self.cache
    }

    pub fn record(&self, kind: Kind) -> Record {
        self.records[kind as usize]
    }

    /// Makes a new episode, and by turns one of the other changes.
    pub async fn change(&mut self) -> Result<()> {
        self.turn += 1;
        self.add_episode().await?;
        match self.turn % 4 {
            1 => self.rewrite().await,
            2 => self.expire().await,
            3 => self.delete_fact().await,
            _ => self.delete_entity().await,
        }
    }

    async fn add_episode(&mut self) -> Result<()> {
        let episode = self.world.add_episode(2, 3).await?;
        let facts: Vec<String> = episode.facts.iter().map(|uuid| format!("'{uuid}'")).collect();
        let question = format!("MATCH ()-[e:RELATES_TO]->() WHERE e.uuid IN [{}] RETURN count(e)", facts.join(","));
        self.expect(Kind::Episode, question, 3);
        Ok(())
    }

    async fn rewrite(&mut self) -> Result<()> {
        let entity = self.world.some_entity();
        let text = self.world.rewrite_summary(&entity).await?;
        // Overtaken by a later change of the same entity, it would never be seen: such are not waited for.
        self.waiting.retain(|change| !change.question.contains(&entity));
        let question = format!("MATCH (n:Entity {{uuid: '{entity}'}}) WHERE n.summary = '{text}' RETURN count(n)");
        self.expect(Kind::Summary, question, 1);
        Ok(())
    }

    async fn expire(&mut self) -> Result<()> {
        let fact = self.world.some_fact();
        self.world.expire_fact(&fact).await?;
        let question = format!("MATCH ()-[e:RELATES_TO {{uuid: '{fact}'}}]->() WHERE e.expired_at IS NOT NULL RETURN count(e)");
        self.expect(Kind::Expiry, question, 1);
        Ok(())
    }

    async fn delete_fact(&mut self) -> Result<()> {
        let fact = self.world.some_fact();
        self.world.delete_relationship(&fact).await?;
        self.forget(&fact);
        self.expect(Kind::Deletion, format!("MATCH ()-[e:RELATES_TO {{uuid: '{fact}'}}]->() RETURN count(e)"), 0);
        Ok(())
    }

    async fn delete_entity(&mut self) -> Result<()> {
        let entity = self.world.some_entity();
        self.world.delete_node(&entity).await?;
        self.forget(&entity);
        self.expect(Kind::Deletion, format!("MATCH (n:Entity {{uuid: '{entity}'}}) RETURN count(n)"), 0);
        Ok(())
    }

    /// What is deleted cannot arrive any more.
    fn forget(&mut self, uuid: &str) {
        self.waiting.retain(|change| !change.question.contains(uuid));
    }

    fn expect(&mut self, kind: Kind, question: String, answer: i64) {
        self.records[kind as usize].made += 1;
        self.waiting.push(Change { kind, question, answer, made: Instant::now() });
    }

    /// Asks the cache about the changes that are under way.
    pub async fn look(&mut self) -> Result<()> {
        let mut waiting = Vec::new();
        for change in std::mem::take(&mut self.waiting) {
            let answer = number(&mut self.cache, &self.name, &change.question).await?;
            if answer == Some(change.answer) {
                let record = &mut self.records[change.kind as usize];
                record.arrived += 1;
                record.last = Some(change.made.elapsed());
            } else {
                waiting.push(change);
            }
        }
        self.waiting = waiting;
        Ok(())
    }

    /// Whether a change of each kind has arrived.
    pub fn first_have_arrived(&self) -> bool {
        self.records.iter().all(|record| record.arrived > 0)
    }

    /// What has not arrived yet, in words.
    pub fn waiting(&self) -> String {
        let missing = Kind::ALL.into_iter().filter(|kind| self.record(*kind).arrived == 0);
        missing.map(|kind| format!("no {}", kind.name())).collect::<Vec<_>>().join(", ")
    }
}
