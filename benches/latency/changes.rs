//! The changes that are measured, each a commit of its own.

use std::time::Instant;

use neo4rs::{BoltMap, BoltType, Graph, query};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::Result;
use crate::support::deadline::{self, within};
use crate::support::graph::World;
use crate::watcher::Expected;

const DIMENSION: usize = 256;

/// What an episode brings.
const ENTITIES: usize = 2;
const FACTS: usize = 3;

/// Elements that are deleted; as many of each as a long run needs.
const DELETED: usize = 3_000;

/// How the service learns of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// It looks for them.
    Probed,
    /// The transaction log tells them.
    Logged,
}

impl Changes {
    pub fn name(self) -> &'static str {
        match self {
            Self::Probed => "the source is probed",
            Self::Logged => "the transaction log tells",
        }
    }

    /// What the median of each kind of change may be, in seconds.
    pub fn median(self) -> f64 {
        match self {
            Self::Probed => 0.3,
            Self::Logged => 0.05,
        }
    }

    fn turns(self) -> &'static [Kind] {
        match self {
            Self::Probed => &TURNS,
            Self::Logged => &LOGGED_TURNS,
        }
    }
}

/// What a commit changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Episode,
    Rewrite,
    NodeDeleted,
    RelationshipDeleted,
    /// Without a timestamp or an episode.
    SilentRewrite,
    Labelled,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Episode => "a new episode with its entities and facts",
            Self::Rewrite => "a summary rewritten and a fact expired by one",
            Self::NodeDeleted => "a deleted node",
            Self::RelationshipDeleted => "a deleted relationship",
            Self::SilentRewrite => "a summary rewritten by hand",
            Self::Labelled => "a label put on a node",
        }
    }

    /// What its 99th percentile may be, in seconds.
    pub fn limit(self, changes: Changes) -> f64 {
        match (changes, self) {
            (Changes::Logged, _) => 0.3,
            (Changes::Probed, Self::NodeDeleted | Self::RelationshipDeleted) => 3.0,
            (Changes::Probed, _) => 1.0,
        }
    }
}

/// A commit, and what is to be seen of it in the cache.
pub struct Change {
    pub kind: Kind,
    pub expected: Vec<Expected>,
}

/// In turn: mostly episodes, which is what a graph in use gets.
const TURNS: [Kind; 10] = [
    Kind::Episode,
    Kind::Rewrite,
    Kind::Episode,
    Kind::Rewrite,
    Kind::NodeDeleted,
    Kind::Episode,
    Kind::Rewrite,
    Kind::Episode,
    Kind::Rewrite,
    Kind::RelationshipDeleted,
];

/// All kinds, those among them that only the log tells.
const LOGGED_TURNS: [Kind; 10] = [
    Kind::Episode,
    Kind::Rewrite,
    Kind::SilentRewrite,
    Kind::Episode,
    Kind::NodeDeleted,
    Kind::Labelled,
    Kind::Episode,
    Kind::SilentRewrite,
    Kind::RelationshipDeleted,
    Kind::Labelled,
];

pub struct Writer {
    graph: Graph,
    random: StdRng,
    /// Each is used once, so that no later change hides an earlier one.
    rewritten: Vec<String>,
    expired: Vec<String>,
    nodes: Vec<String>,
    relationships: Vec<String>,
    /// When the last commit was sent.
    pub committed_at: Instant,
    pub rows_changed: u64,
}

impl Writer {
    pub async fn new(graph: Graph, world: World) -> Result<Self> {
        let nodes = world.entities[..DELETED].to_vec();
        let rewritten = world.entities[DELETED..].to_vec();
        // Facts that stay when those nodes go.
        let text = "MATCH (a:Entity)-[e:RELATES_TO]->(b:Entity) WHERE e.expired_at IS NULL AND NOT a.uuid IN $nodes AND NOT b.uuid IN $nodes RETURN e.uuid AS uuid";
        let mut rows = within(deadline::QUERY, "facts", graph.execute(query(text).param("nodes", nodes.clone()))).await?;
        let mut facts: Vec<String> = Vec::new();
        while let Some(row) = within(deadline::QUERY, "facts", rows.next()).await? {
            facts.push(row.get("uuid")?);
        }
        let expired = facts.split_off(DELETED);
        let random = StdRng::seed_from_u64(7);
        Ok(Self { graph, random, rewritten, expired, nodes, relationships: facts, committed_at: Instant::now(), rows_changed: 0 })
    }

    pub async fn change(&mut self, changes: Changes, number: usize) -> Result<Change> {
        let turns = changes.turns();
        let kind = turns[number % turns.len()];
        let expected = match kind {
            Kind::Episode => self.episode().await?,
            Kind::Rewrite => self.rewrite().await?,
            Kind::NodeDeleted => self.delete_node().await?,
            Kind::RelationshipDeleted => self.delete_relationship().await?,
            Kind::SilentRewrite => self.rewrite_silently().await?,
            Kind::Labelled => self.label().await?,
        };
        Ok(Change { kind, expected })
    }

    async fn episode(&mut self) -> Result<Vec<Expected>> {
        let (episode, entities, facts) = (self.key(), self.keys(ENTITIES), self.keys(FACTS));
        let rows: Vec<BoltType> = entities.iter().map(|uuid| self.row(uuid)).collect();
        let mentions = self.keys(ENTITIES);
        let fact_rows: Vec<BoltType> = facts.iter().map(|uuid| self.row(uuid)).collect();
        let text = "CREATE (n:Episodic {uuid: $episode, name: 'e', group_id: '', content: 'what was said', source: 'text', \
                    source_description: '', entity_edges: [f IN $facts | f.uuid], created_at: datetime(), valid_at: datetime()}) \
                    WITH n UNWIND range(0, size($entities) - 1) AS i \
                    CREATE (n)-[:MENTIONS {uuid: $mentions[i], group_id: '', created_at: datetime()}]->(e:Entity) \
                    SET e = {uuid: $entities[i].uuid, name: 'entity', group_id: '', summary: 'a new summary', created_at: datetime()} \
                    WITH e, i CALL db.create.setNodeVectorProperty(e, 'name_embedding', $entities[i].vector) \
                    WITH collect(e) AS es UNWIND $facts AS row WITH es[0] AS a, es[1] AS b, row \
                    CREATE (a)-[f:RELATES_TO]->(b) SET f = {uuid: row.uuid, name: 'KNOWS', fact: 'a knows b', group_id: '', \
                    episodes: [$episode], created_at: datetime(), valid_at: datetime()} \
                    WITH f, row CALL db.create.setRelationshipVectorProperty(f, 'fact_embedding', row.vector)";
        let statement = query(text)
            .param("episode", episode.as_str())
            .param("entities", rows)
            .param("mentions", mentions.clone())
            .param("facts", fact_rows);
        self.commit(statement, (1 + 2 * ENTITIES + FACTS) as u64).await?;
        let mut expected = vec![Expected::Episode(episode)];
        expected.extend(entities.into_iter().map(Expected::Entity));
        expected.extend(facts.into_iter().map(Expected::Fact));
        expected.extend(mentions.into_iter().map(Expected::Mention));
        Ok(expected)
    }

    async fn rewrite(&mut self) -> Result<Vec<Expected>> {
        let (entity, fact) = (self.rewritten.pop().unwrap_or_default(), self.expired.pop().unwrap_or_default());
        let (episode, mention) = (self.key(), self.key());
        let summary = format!("rewritten by {episode}");
        let text = "MATCH (e:Entity {uuid: $entity}) MATCH ()-[f:RELATES_TO {uuid: $fact}]->() \
                    CREATE (n:Episodic {uuid: $episode, name: 'e', group_id: '', content: 'what was said', source: 'text', \
                    source_description: '', entity_edges: [$fact], created_at: datetime(), valid_at: datetime()}) \
                    CREATE (n)-[:MENTIONS {uuid: $mention, group_id: '', created_at: datetime()}]->(e) \
                    SET e.summary = $summary, f.expired_at = datetime(), f.invalid_at = datetime(), f.episodes = f.episodes + $episode";
        let statement = query(text)
            .param("entity", entity.as_str())
            .param("fact", fact.as_str())
            .param("episode", episode.as_str())
            .param("mention", mention)
            .param("summary", summary.as_str());
        self.commit(statement, 4).await?;
        Ok(vec![Expected::Episode(episode), Expected::Summary(entity, summary), Expected::Expired(fact)])
    }

    async fn rewrite_silently(&mut self) -> Result<Vec<Expected>> {
        let (entity, key) = (self.rewritten.pop().unwrap_or_default(), self.key());
        let summary = format!("rewritten by hand {key}");
        let statement = query("MATCH (e:Entity {uuid: $entity}) SET e.summary = $summary")
            .param("entity", entity.as_str())
            .param("summary", summary.as_str());
        self.commit(statement, 1).await?;
        Ok(vec![Expected::Summary(entity, summary)])
    }

    async fn label(&mut self) -> Result<Vec<Expected>> {
        let entity = self.rewritten.pop().unwrap_or_default();
        let statement = query("MATCH (e:Entity {uuid: $entity}) SET e:Labelled").param("entity", entity.as_str());
        self.commit(statement, 1).await?;
        Ok(vec![Expected::Labelled(entity)])
    }

    async fn delete_node(&mut self) -> Result<Vec<Expected>> {
        let uuid = self.nodes.pop().unwrap_or_default();
        let attached = query("MATCH (n:Entity {uuid: $uuid})-[e]-() RETURN count(e) AS attached").param("uuid", uuid.as_str());
        let mut rows = within(deadline::QUERY, "what goes with a node", self.graph.execute(attached)).await?;
        let row = within(deadline::QUERY, "what goes with a node", rows.next()).await?;
        let attached: i64 = row.and_then(|row| row.get("attached").ok()).unwrap_or_default();
        let statement = query("MATCH (n:Entity {uuid: $uuid}) DETACH DELETE n").param("uuid", uuid.as_str());
        self.commit(statement, 1 + attached.unsigned_abs()).await?;
        Ok(vec![Expected::NoEntity(uuid)])
    }

    async fn delete_relationship(&mut self) -> Result<Vec<Expected>> {
        let uuid = self.relationships.pop().unwrap_or_default();
        let statement = query("MATCH ()-[e:RELATES_TO {uuid: $uuid}]->() DELETE e").param("uuid", uuid.as_str());
        self.commit(statement, 1).await?;
        Ok(vec![Expected::NoFact(uuid)])
    }

    async fn commit(&mut self, statement: neo4rs::Query, rows: u64) -> Result<()> {
        let mut transaction = within(deadline::QUERY, "beginning a transaction", self.graph.start_txn()).await?;
        within(deadline::QUERY, "a change", transaction.run(statement)).await?;
        self.committed_at = Instant::now();
        self.rows_changed += rows;
        within(deadline::QUERY, "a commit", transaction.commit()).await
    }

    fn row(&mut self, uuid: &str) -> BoltType {
        let vector: Vec<f64> = (0..DIMENSION).map(|_| f64::from(self.random.random_range(-1.0_f32..1.0))).collect();
        let mut row = BoltMap::new();
        row.put("uuid".into(), uuid.into());
        row.put("vector".into(), vector.into());
        BoltType::Map(row)
    }

    fn keys(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.key()).collect()
    }

    fn key(&mut self) -> String {
        let bits: u128 = self.random.random();
        let text = format!("{bits:032x}");
        format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
    }
}
