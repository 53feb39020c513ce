//! A random sequence of everything that graphiti-core does to a graph, the same for the same seed.
//!
//! What is drawn depends on the seed alone: a step that finds nothing to act on in the graph does nothing.

mod content;
mod odd;

use neo4rs::{BoltType, Graph, Query, Txn, query};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Result;
use super::deadline::{self, within};
use content::{map, properties};

const GROUPS: [&str; 2] = ["", "group-1"];

/// A transaction that is open beside others, and how many steps from its commit.
struct Open {
    transaction: Txn,
    left: usize,
}

/// The state of a sequence: what may be in the graph, and what was in it.
pub struct Sequence {
    graph: Graph,
    random: StdRng,
    /// Tells the texts of one sequence apart.
    steps: usize,
    entities: Vec<String>,
    facts: Vec<String>,
    episodes: Vec<String>,
    communities: Vec<String>,
    sagas: Vec<String>,
    dead: Vec<String>,
    open: Vec<Open>,
    /// Whether a step rewrote properties and left no trace of it, since this was last taken back.
    pub is_silent: bool,
    /// What was done, in order.
    pub log: Vec<&'static str>,
}

impl Sequence {
    /// Begins in an empty graph, with a few episodes.
    pub async fn begin(graph: &Graph, seed: u64) -> Result<Self> {
        let mut sequence = Self {
            graph: graph.clone(),
            random: StdRng::seed_from_u64(seed),
            steps: 0,
            entities: Vec::new(),
            facts: Vec::new(),
            episodes: Vec::new(),
            communities: Vec::new(),
            sagas: Vec::new(),
            dead: Vec::new(),
            open: Vec::new(),
            is_silent: false,
            log: Vec::new(),
        };
        sequence.run("MATCH (n) DETACH DELETE n", vec![]).await?;
        for _ in 0..4 {
            sequence.episode().await?;
        }
        sequence.build_communities().await?;
        sequence.saga().await?;
        Ok(sequence)
    }

    /// One step more.
    pub async fn step(&mut self) -> Result<()> {
        self.steps += 1;
        self.commit_due(false).await?;
        let step = self.below(34);
        let name = match step {
            0..=3 => self.episode().await.map(|()| "episode"),
            4 | 5 => self.save_entity().await.map(|()| "entity saved silently"),
            6 => self.promote().await.map(|()| "entity promoted"),
            7 => self
                .on_entity("REMOVE n.note, n.age, n.name_embedding, n.labels")
                .await
                .map(|()| "properties of an entity removed"),
            8 => self.on_fact("SET e.expired_at = datetime(), e.invalid_at = datetime()").await.map(|()| "fact expired"),
            9 => self.save_fact().await.map(|()| "fact saved silently"),
            10 => {
                self.on_fact("REMOVE e.expired_at, e.reference_time, e.confidence").await.map(|()| "properties of a fact removed")
            }
            11 => self.on_fact("SET e.episodes = e.episodes + 'gone'").await.map(|()| "fact stated again"),
            12 => self.delete_fact().await.map(|()| "fact deleted"),
            13 => self.delete_link().await.map(|()| "link deleted"),
            14 => self.delete_entity().await.map(|()| "entity deleted"),
            15 => self.remove_episode().await.map(|()| "episode removed"),
            16 => self.delete_group().await.map(|()| "group deleted"),
            17 => self.build_communities().await.map(|()| "communities replaced"),
            18 => self.update_community().await.map(|()| "community updated"),
            19 | 20 => self.saga().await.map(|()| "saga"),
            21 => self.delete_saga().await.map(|()| "saga deleted"),
            22 | 23 => self.revive().await.map(|()| "key used again"),
            24 => self.replace_in_one_commit().await.map(|()| "entity replaced in one commit"),
            25 => self.move_fact().await.map(|()| "fact moved"),
            26 => self.twin_entity().await.map(|()| "entity duplicated"),
            27 => self.twin_fact().await.map(|()| "fact duplicated"),
            28 => self.delete_one_of_twins().await.map(|()| "one of several deleted"),
            29..=31 => self.open_transaction().await.map(|()| "transaction opened"),
            32 => self.save_link().await.map(|()| "link saved silently"),
            _ => self.clear_rarely().await.map(|()| "cleared, rarely"),
        }?;
        self.log.push(name);
        Ok(())
    }

    /// Commits what is open, the last first.
    pub async fn end(&mut self) -> Result<()> {
        self.commit_due(true).await
    }

    async fn commit_due(&mut self, all: bool) -> Result<()> {
        for at in (0..self.open.len()).rev() {
            self.open[at].left = self.open[at].left.saturating_sub(1);
            if all || self.open[at].left == 0 {
                let open = self.open.remove(at);
                within(deadline::QUERY, "a commit", open.transaction.commit()).await?;
                self.log.push("transaction committed");
            }
        }
        Ok(())
    }

    /// What `add_episode` does: new entities and facts, and known ones written anew without a new timestamp.
    async fn episode(&mut self) -> Result<()> {
        let group = self.group();
        let known: Vec<String> = (0..self.below(3)).filter_map(|_| self.pick(Kind::Entity)).collect();
        let new: Vec<String> = (0..1 + self.below(3)).map(|_| self.key()).collect();
        let mentioned: Vec<String> = known.iter().chain(&new).cloned().collect();
        let facts: Vec<String> = (0..self.below(4)).map(|_| self.key()).collect();
        let mut listed = facts.clone();
        listed.extend(self.pick(Kind::Fact));
        let uuid = self.key();
        let mut transaction = within(deadline::QUERY, "beginning a transaction", self.graph.start_txn()).await?;
        let entities: Vec<BoltType> = mentioned.iter().map(|uuid| self.entity_row(uuid, group)).collect();
        let text = "UNWIND $rows AS row MERGE (n:Entity {uuid: row.uuid}) WITH n, row, n.created_at AS created \
                    SET n = row.properties, n.created_at = coalesce(created, row.properties.created_at) SET n:$(row.labels)";
        send(&mut transaction, query(text).param("rows", entities)).await?;
        let episode = map(vec![
            ("uuid", uuid.as_str().into()),
            ("name", format!("episode {}", self.steps).into()),
            ("group_id", group.into()),
            ("content", self.text()),
            ("source", "text".into()),
            ("source_description", "".into()),
            ("entity_edges", listed.clone().into()),
            ("created_at", self.created()),
            ("valid_at", self.created()),
        ]);
        send(&mut transaction, query("CREATE (n:Episodic) SET n = $row").param("row", episode)).await?;
        let mentions: Vec<BoltType> = mentioned.iter().map(|entity| self.link_row(&uuid, entity, group)).collect();
        let text = "UNWIND $rows AS row MATCH (a:Episodic {uuid: row.source}) MATCH (b:Entity {uuid: row.target}) \
                    CREATE (a)-[e:MENTIONS]->(b) SET e = row.properties";
        send(&mut transaction, query(text).param("rows", mentions)).await?;
        let rows: Vec<BoltType> = facts.iter().map(|fact| self.fact_row(fact, &mentioned, group, &uuid)).collect();
        send(&mut transaction, query(FACTS).param("rows", rows)).await?;
        // A fact that was known before: stated once more, and embedded anew.
        let text = "UNWIND $keys AS key MATCH ()-[e:RELATES_TO {uuid: key}]->() WHERE NOT $episode IN e.episodes \
                    SET e.episodes = e.episodes + $episode, e.fact_embedding = $vector REMOVE e.reference_time";
        let stated = query(text).param("keys", listed).param("episode", uuid.as_str()).param("vector", self.vector());
        send(&mut transaction, stated).await?;
        within(deadline::QUERY, "a commit", transaction.commit()).await?;
        self.entities.extend(new);
        self.facts.extend(facts);
        self.episodes.push(uuid);
        Ok(())
    }

    async fn save_entity(&mut self) -> Result<()> {
        let Some(uuid) = self.pick(Kind::Entity) else { return Ok(()) };
        let group = self.group();
        let row = self.entity_row(&uuid, group);
        let text =
            "MATCH (n:Entity {uuid: $row.uuid}) WITH n, n.created_at AS created SET n = $row.properties, n.created_at = created";
        self.run(text, vec![("row", row)]).await
    }

    async fn promote(&mut self) -> Result<()> {
        let Some(uuid) = self.pick(Kind::Entity) else { return Ok(()) };
        let label = ["Person", "Company", "Place", "A label"][self.below(4)];
        let verb = if self.below(4) == 0 { "REMOVE" } else { "SET" };
        self.run(&format!("MATCH (n:Entity {{uuid: $uuid}}) {verb} n:`{label}`"), vec![("uuid", uuid.into())]).await
    }

    async fn on_entity(&mut self, change: &str) -> Result<()> {
        let Some(uuid) = self.pick(Kind::Entity) else { return Ok(()) };
        self.run(&format!("MATCH (n:Entity {{uuid: $uuid}}) {change}"), vec![("uuid", uuid.into())]).await
    }

    async fn on_fact(&mut self, change: &str) -> Result<()> {
        let Some(uuid) = self.pick(Kind::Fact) else { return Ok(()) };
        self.run(&format!("MATCH ()-[e:RELATES_TO {{uuid: $uuid}}]->() {change}"), vec![("uuid", uuid.into())]).await
    }

    /// The other way of saving leaves other properties behind.
    async fn save_fact(&mut self) -> Result<()> {
        let Some(uuid) = self.pick(Kind::Fact) else { return Ok(()) };
        let text = "MATCH (a)-[e:RELATES_TO {uuid: $uuid}]->(b) WITH a, b, e, e.created_at AS created, e.episodes AS episodes \
                    SET e = {uuid: $uuid, name: 'KNOWS', fact: $text, group_id: e.group_id, created_at: created, episodes: episodes, \
                    source_uuid: a.uuid, target_uuid: b.uuid, fact_embedding: $vector}";
        let (text_value, vector) = (self.text(), self.vector());
        self.run(text, vec![("uuid", uuid.into()), ("text", text_value), ("vector", vector)]).await
    }

    async fn save_link(&mut self) -> Result<()> {
        let (typ, skip) = (LINKS[self.below(LINKS.len())], self.below(5) as i64);
        let text = format!("MATCH ()-[e:{typ}]->() WITH e ORDER BY e.uuid SKIP $skip LIMIT 1 SET e.note = $text");
        let value = self.text();
        self.run(&text, vec![("skip", skip.into()), ("text", value)]).await
    }

    async fn delete_fact(&mut self) -> Result<()> {
        let Some(uuid) = self.take(Kind::Fact) else { return Ok(()) };
        self.run("MATCH ()-[e:RELATES_TO {uuid: $uuid}]->() DELETE e", vec![("uuid", uuid.into())]).await
    }

    async fn delete_link(&mut self) -> Result<()> {
        let (typ, skip) = (LINKS[self.below(LINKS.len())], self.below(5) as i64);
        let text = format!("MATCH ()-[e:{typ}]->() WITH e ORDER BY e.uuid SKIP $skip LIMIT 1 DELETE e");
        self.run(&text, vec![("skip", skip.into())]).await
    }

    async fn delete_entity(&mut self) -> Result<()> {
        let Some(uuid) = self.take(Kind::Entity) else { return Ok(()) };
        self.run("MATCH (n:Entity {uuid: $uuid}) DETACH DELETE n", vec![("uuid", uuid.into())]).await
    }

    /// In several commits: what only it says goes, what others say as well is written anew.
    async fn remove_episode(&mut self) -> Result<()> {
        let Some(uuid) = self.take(Kind::Episode) else { return Ok(()) };
        let key = || vec![("uuid", BoltType::from(uuid.as_str()))];
        self.run("MATCH ()-[e:RELATES_TO]->() WHERE e.episodes = [$uuid] DELETE e", key()).await?;
        let text = "MATCH ()-[e:RELATES_TO]->() WHERE $uuid IN e.episodes SET e.episodes = [k IN e.episodes WHERE k <> $uuid]";
        self.run(text, key()).await?;
        let text =
            "MATCH (:Episodic {uuid: $uuid})-[:MENTIONS]->(n:Entity) WHERE COUNT { (n)<-[:MENTIONS]-() } = 1 DETACH DELETE n";
        self.run(text, key()).await?;
        self.run("MATCH (n:Episodic {uuid: $uuid}) DETACH DELETE n", key()).await
    }

    async fn delete_group(&mut self) -> Result<()> {
        if self.below(3) > 0 {
            return Ok(());
        }
        let group = self.group();
        let text =
            "MATCH (n:Entity|Episodic|Community {group_id: $group}) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 5 ROWS";
        self.run(text, vec![("group", group.into())]).await
    }

    /// All of them replaced, in two commits: often by as many as there were.
    async fn build_communities(&mut self) -> Result<()> {
        self.run("MATCH (n:Community) DETACH DELETE n", vec![]).await?;
        let old = std::mem::take(&mut self.communities);
        let group = self.group();
        let new: Vec<String> = (0..2).map(|_| self.key()).collect();
        for uuid in &new {
            let row = self.entity_row(uuid, group);
            let members: Vec<String> = (0..3).filter_map(|_| self.pick(Kind::Entity)).collect();
            let members: Vec<BoltType> = members.iter().map(|entity| self.link_row(uuid, entity, group)).collect();
            let text = "CREATE (n:Community) SET n = $row.properties WITH n UNWIND $rows AS row \
                        MATCH (b:Entity {uuid: row.target}) CREATE (n)-[e:HAS_MEMBER]->(b) SET e = row.properties";
            self.run(text, vec![("row", row), ("rows", members.into())]).await?;
        }
        self.dead.extend(old);
        self.communities = new;
        Ok(())
    }

    async fn update_community(&mut self) -> Result<()> {
        let Some(uuid) = self.pick(Kind::Community) else { return Ok(()) };
        let text = "MATCH (n:Community {uuid: $uuid}) SET n.summary = $text, n.name_embedding = $vector";
        let (value, vector) = (self.text(), self.vector());
        self.run(text, vec![("uuid", uuid.into()), ("text", value), ("vector", vector)]).await
    }

    /// An episode joins a saga, new or known: of another time, and written anew without what it summarised.
    async fn saga(&mut self) -> Result<()> {
        let known = self.pick(Kind::Saga).filter(|_| self.below(2) == 0);
        let uuid = known.clone().unwrap_or_else(|| self.key());
        let group = self.group();
        let value = self.text();
        let row =
            map(vec![("uuid", uuid.as_str().into()), ("name", "saga".into()), ("group_id", group.into()), ("summary", value)]);
        let text = "MERGE (s:Saga {uuid: $row.uuid}) SET s = $row, s.created_at = datetime('2001-01-01T00:00:00Z') \
                    WITH s MATCH (n:Episodic {uuid: $episode}) WITH s, n LIMIT 1 OPTIONAL MATCH (p:Episodic {uuid: $previous}) \
                    WITH s, n, p LIMIT 1 CREATE (s)-[h:HAS_EPISODE]->(n) SET h = $link, s.last_episode_uuid = n.uuid \
                    FOREACH (x IN CASE WHEN p IS NULL THEN [] ELSE [p] END | \
                    CREATE (x)-[:NEXT_EPISODE {uuid: $next, group_id: '', created_at: datetime()}]->(n))";
        let (episode, previous) = (self.pick(Kind::Episode), self.pick(Kind::Episode));
        let link = self.link_row("", "", group);
        let parameters = vec![
            ("row", row),
            ("episode", episode.unwrap_or_default().into()),
            ("previous", previous.unwrap_or_default().into()),
            ("link", properties(link)),
            ("next", self.key().into()),
        ];
        self.run(text, parameters).await?;
        if known.is_none() {
            self.sagas.push(uuid);
        }
        Ok(())
    }

    async fn delete_saga(&mut self) -> Result<()> {
        let Some(uuid) = self.take(Kind::Saga) else { return Ok(()) };
        self.run("MATCH (n:Saga {uuid: $uuid}) DETACH DELETE n", vec![("uuid", uuid.into())]).await
    }

    /// A key that was deleted is given once more.
    async fn revive(&mut self) -> Result<()> {
        if self.dead.is_empty() {
            return Ok(());
        }
        let at = self.below(self.dead.len());
        let uuid = self.dead.swap_remove(at);
        let group = self.group();
        let row = self.entity_row(&uuid, group);
        if self.below(4) == 0 {
            self.communities.push(uuid);
            return self.run("CREATE (n:Community) SET n = $row.properties", vec![("row", row)]).await;
        }
        self.entities.push(uuid);
        self.run("CREATE (n:Entity) SET n = $row.properties SET n:$($row.labels)", vec![("row", row)]).await
    }

    async fn replace_in_one_commit(&mut self) -> Result<()> {
        let Some(uuid) = self.pick(Kind::Entity) else { return Ok(()) };
        let group = self.group();
        let row = self.entity_row(&uuid, group);
        let text = "OPTIONAL MATCH (o:Entity {uuid: $row.uuid}) DETACH DELETE o WITH DISTINCT 1 AS one \
                    CREATE (n:Entity) SET n = $row.properties SET n:$($row.labels)";
        self.run(text, vec![("row", row)]).await
    }

    /// The same key between other nodes, in one commit or two.
    async fn move_fact(&mut self) -> Result<()> {
        let Some(uuid) = self.pick(Kind::Fact) else { return Ok(()) };
        let ends: Vec<String> = (0..2).filter_map(|_| self.pick(Kind::Entity)).collect();
        if ends.len() < 2 {
            return Ok(());
        }
        let row = self.fact_row(&uuid, &ends, "", "");
        self.run("MATCH ()-[e:RELATES_TO {uuid: $uuid}]->() DELETE e", vec![("uuid", uuid.into())]).await?;
        self.run(FACTS, vec![("rows", vec![row].into())]).await
    }

    async fn twin_entity(&mut self) -> Result<()> {
        let Some(uuid) = self.pick(Kind::Entity) else { return Ok(()) };
        let group = self.group();
        let row = self.entity_row(&uuid, group);
        self.run("CREATE (n:Entity) SET n = $row.properties SET n:$($row.labels)", vec![("row", row)]).await
    }

    /// Saved between other nodes, it becomes a second relationship of that key.
    async fn twin_fact(&mut self) -> Result<()> {
        let Some(uuid) = self.pick(Kind::Fact) else { return Ok(()) };
        let ends: Vec<String> = (0..2).filter_map(|_| self.pick(Kind::Entity)).collect();
        if ends.len() < 2 {
            return Ok(());
        }
        let row = self.fact_row(&uuid, &ends, "", "");
        self.run(FACTS, vec![("rows", vec![row].into())]).await
    }

    async fn delete_one_of_twins(&mut self) -> Result<()> {
        let order = ["", " DESC"][self.below(2)];
        let node = format!(
            "MATCH (n:Entity) WITH n.uuid AS uuid, count(*) AS twins WHERE twins > 1 WITH uuid ORDER BY uuid LIMIT 1 \
             MATCH (n:Entity {{uuid: uuid}}) WITH n ORDER BY elementId(n){order} LIMIT 1 DETACH DELETE n"
        );
        let fact = format!(
            "MATCH ()-[e:RELATES_TO]->() WITH e.uuid AS uuid, count(*) AS twins WHERE twins > 1 WITH uuid ORDER BY uuid LIMIT 1 \
             MATCH ()-[e:RELATES_TO {{uuid: uuid}}]->() WITH e ORDER BY elementId(e){order} LIMIT 1 DELETE e"
        );
        self.run(&node, vec![]).await?;
        self.run(&fact, vec![]).await
    }

    /// Timestamps are set now, and the commit comes some steps later, after others.
    async fn open_transaction(&mut self) -> Result<()> {
        let group = self.group();
        let new: Vec<String> = (0..2).map(|_| self.key()).collect();
        let fact = self.key();
        let mut transaction = within(deadline::QUERY, "beginning a transaction", self.graph.start_txn()).await?;
        let rows: Vec<BoltType> = new.iter().map(|uuid| self.entity_row(uuid, group)).collect();
        let text = "UNWIND $rows AS row CREATE (n:Entity) SET n = row.properties SET n:$(row.labels)";
        send(&mut transaction, query(text).param("rows", rows)).await?;
        let row = self.fact_row(&fact, &new, group, "");
        send(&mut transaction, query(FACTS).param("rows", vec![row])).await?;
        // Not to be picked before its commit: another transaction would wait for this one.
        let left = 1 + self.below(8);
        self.open.push(Open { transaction, left });
        Ok(())
    }

    async fn clear_rarely(&mut self) -> Result<()> {
        if self.below(4) > 0 {
            return Ok(());
        }
        self.run("MATCH (n) DETACH DELETE n", vec![]).await
    }

    async fn run(&self, text: &str, parameters: Vec<(&str, BoltType)>) -> Result<()> {
        let statement = parameters.into_iter().fold(query(text), |statement, (name, value)| statement.param(name, value));
        within(deadline::QUERY, text, self.graph.run(statement)).await
    }

    fn group(&mut self) -> &'static str {
        GROUPS[self.below(GROUPS.len())]
    }

    fn below(&mut self, limit: usize) -> usize {
        self.random.random_range(0..limit.max(1))
    }

    fn keys(&mut self, kind: Kind) -> &mut Vec<String> {
        match kind {
            Kind::Entity => &mut self.entities,
            Kind::Fact => &mut self.facts,
            Kind::Episode => &mut self.episodes,
            Kind::Community => &mut self.communities,
            Kind::Saga => &mut self.sagas,
        }
    }

    fn pick(&mut self, kind: Kind) -> Option<String> {
        let count = self.keys(kind).len();
        let at = self.below(count);
        self.keys(kind).get(at).cloned()
    }

    fn take(&mut self, kind: Kind) -> Option<String> {
        let key = self.pick(kind)?;
        self.keys(kind).retain(|known| *known != key);
        self.dead.push(key.clone());
        Some(key)
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Entity,
    Fact,
    Episode,
    Community,
    Saga,
}

const LINKS: [&str; 4] = ["MENTIONS", "HAS_MEMBER", "HAS_EPISODE", "NEXT_EPISODE"];

/// As graphiti does: found by endpoints and key, written whole.
const FACTS: &str = "UNWIND $rows AS row MATCH (a:Entity {uuid: row.source}) MATCH (b:Entity {uuid: row.target}) \
                     MERGE (a)-[e:RELATES_TO {uuid: row.uuid}]->(b) SET e = row.properties";

async fn send(transaction: &mut Txn, statement: Query) -> Result<()> {
    within(deadline::QUERY, "a statement of an episode", transaction.run(statement)).await
}
