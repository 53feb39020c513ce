//! The changes that Graphiti makes to its graph, and which a copy must notice.

use neo4rs::{BoltType, Query, Txn, query};

use super::World;
use super::content::{Row, now};
use super::write::Statement;
use crate::support::Result;
use crate::support::deadline::{self, within};

/// What one new episode brought.
#[derive(Clone, Debug)]
pub struct Episode {
    pub uuid: String,
    pub entities: Vec<String>,
    pub facts: Vec<String>,
    /// An older entity that the episode mentions; its summary was rewritten, its timestamps were not.
    pub rewritten: Option<String>,
}

impl World {
    /// What `add_episode` does: in one transaction a new episode, its entities and facts, its mentions, and the
    /// rewritten summary of an entity that was known before.
    pub async fn add_episode(&mut self, entities: usize, facts: usize) -> Result<Episode> {
        self.changes += 1;
        // One group: position and everything picked by it belong together.
        let at = self.changes * self.spec.groups.max(1);
        let episode = Episode {
            uuid: self.content.uuid(),
            entities: self.content.uuids(entities),
            facts: self.content.uuids(facts),
            rewritten: (!self.entities.is_empty()).then(|| self.content.pick(&self.entities, at, self.spec.groups)),
        };
        let mut transaction = self.begin().await?;
        self.write_episode(&mut transaction, &episode, at).await?;
        within(deadline::QUERY, "a commit", transaction.commit()).await?;
        self.remember(&episode);
        Ok(episode)
    }

    async fn write_episode(&mut self, transaction: &mut Txn, episode: &Episode, at: usize) -> Result<()> {
        let group = self.spec.group(at);
        let rows = episode.entities.iter().map(|uuid| self.content.entity(uuid, &group, self.changes));
        let rows: Vec<Row> = rows.collect();
        run(transaction, fresh(Statement::Entity, rows)).await?;
        let row = self.content.episode(&episode.uuid, &group, self.changes, episode.facts.clone());
        run(transaction, fresh(Statement::Episode, vec![row])).await?;
        let known: Vec<String> = episode.entities.iter().chain(&episode.rewritten).cloned().collect();
        let rows = known.iter().map(|uuid| self.content.link(&group, self.changes, [episode.uuid.clone(), uuid.clone()]));
        let rows: Vec<Row> = rows.collect();
        run(transaction, fresh(Statement::Mention, rows)).await?;
        let rows = self.new_facts(episode, &known, &group);
        run(transaction, fresh(Statement::Fact, rows)).await?;
        if let Some(uuid) = &episode.rewritten {
            run(transaction, summary(uuid, self.content.sentence(12))).await?;
        }
        Ok(())
    }

    fn new_facts(&mut self, episode: &Episode, known: &[String], group: &str) -> Vec<Row> {
        if known.is_empty() {
            return Vec::new();
        }
        let mut end = || known[self.content.below(known.len())].clone();
        let ends: Vec<[String; 2]> = episode.facts.iter().map(|_| [end(), end()]).collect();
        let facts = episode.facts.iter().zip(ends);
        facts.map(|(uuid, ends)| self.content.fact(uuid, group, self.changes, ends, vec![episode.uuid.clone()])).collect()
    }

    fn remember(&mut self, episode: &Episode) {
        // Only if there is one group do positions not matter; otherwise new keys would change the groups that
        // positions stand for.
        if self.spec.groups <= 1 {
            self.entities.extend(episode.entities.iter().cloned());
            self.facts.extend(episode.facts.iter().cloned());
            self.episodes.push(episode.uuid.clone());
        }
    }

    /// One of the known entities.
    pub fn some_entity(&mut self) -> String {
        let at = self.content.below(self.entities.len());
        self.entities[at].clone()
    }

    /// One of the known facts.
    pub fn some_fact(&mut self) -> String {
        let at = self.content.below(self.facts.len());
        self.facts[at].clone()
    }

    /// Touches no timestamp, as Graphiti does not. Returns the new text.
    pub async fn rewrite_summary(&mut self, entity: &str) -> Result<String> {
        let text = self.content.sentence(12);
        self.change(summary(entity, text.clone())).await?;
        Ok(text)
    }

    /// A label more, as when Graphiti learns what kind of thing an entity is.
    pub async fn promote(&mut self, entity: &str, label: &str) -> Result<()> {
        let text = format!("MATCH (n:Entity {{uuid: $uuid}}) SET n:`{label}`");
        self.change(query(&text).param("uuid", entity)).await
    }

    /// What a contradiction does to the older fact.
    pub async fn expire_fact(&mut self, fact: &str) -> Result<()> {
        let text = "MATCH ()-[e:RELATES_TO {uuid: $uuid}]->() SET e.expired_at = $now, e.invalid_at = $now";
        self.change(query(text).param("uuid", fact).param("now", BoltType::from(now()))).await
    }

    /// Deletes a node with its relationships.
    pub async fn delete_node(&mut self, uuid: &str) -> Result<()> {
        for keys in [&mut self.entities, &mut self.episodes, &mut self.communities, &mut self.sagas] {
            forget(keys, uuid, self.spec.groups);
        }
        let text = "MATCH (n {uuid: $uuid}) DETACH DELETE n";
        self.change(query(text).param("uuid", uuid)).await
    }

    /// Deletes a relationship of whatever type.
    pub async fn delete_relationship(&mut self, uuid: &str) -> Result<()> {
        forget(&mut self.facts, uuid, self.spec.groups);
        let text = "MATCH ()-[e {uuid: $uuid}]->() DELETE e";
        self.change(query(text).param("uuid", uuid)).await
    }

    async fn change(&self, statement: Query) -> Result<()> {
        within(deadline::QUERY, "a change in Neo4j", self.graph.run(statement)).await
    }

    async fn begin(&self) -> Result<Txn> {
        within(deadline::QUERY, "beginning a transaction", self.graph.start_txn()).await
    }
}

/// Takes a key out of the known ones, with its whole row of groups: positions stand for groups.
fn forget(keys: &mut Vec<String>, uuid: &str, groups: usize) {
    let groups = groups.max(1);
    let Some(at) = keys.iter().position(|key| key == uuid) else {
        return;
    };
    let row = at - at % groups;
    keys.drain(row..(row + groups).min(keys.len()));
}

fn fresh(statement: Statement, rows: Vec<Row>) -> Query {
    let rows: Vec<BoltType> = rows.into_iter().map(BoltType::from).collect();
    query(&statement.text()).param("rows", rows)
}

fn summary(entity: &str, text: String) -> Query {
    query("MATCH (n:Entity {uuid: $uuid}) SET n.summary = $summary").param("uuid", entity).param("summary", text)
}

async fn run(transaction: &mut Txn, statement: Query) -> Result<()> {
    within(deadline::QUERY, "a statement of an episode", transaction.run(statement)).await
}
