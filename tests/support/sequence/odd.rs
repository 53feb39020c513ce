//! Steps that graphiti-core does not take, and that people, scripts and older versions do: keys of other types, keys that change,
//! labels and names that the cache cannot hold, elements that move between groups, masses that come and go.

use neo4rs::BoltType;

use super::{Kind, Sequence};
use crate::support::Result;

/// Values that no key is, in Cypher.
const KEYS: [&str; 11] =
    ["17", "''", "' a'", "'\\ta'", "'a\\u0001b'", "'a\\u0000b'", "['x']", "1.5", "true", "date('2026-01-02')", "null"];

/// Values that no point in time is.
const TIMES: [&str; 5] = ["'x'", "['x']", "17", "true", "null"];

const LABELS: [&str; 4] = ["Entity", "Episodic", "Community", "Saga"];

/// Entities that come and go at once: more than the delete guard lets go without asking.
const MASS: i64 = 60;

/// Steps of graphiti that rewrite properties and leave neither a timestamp nor an episode nor another key behind.
const SILENT: [&str; 10] = [
    "entity saved silently",
    "properties of an entity removed",
    "fact saved silently",
    "properties of a fact removed",
    "fact stated again",
    "episode removed",
    "community updated",
    "saga",
    "key used again",
    "link saved silently",
];

impl Sequence {
    /// One step of either sort.
    pub async fn any_step(&mut self) -> Result<()> {
        if self.below(2) == 0 {
            self.step().await?;
            let name = self.log.last().copied().unwrap_or_default();
            // The twin of a deleted one takes its place, with other properties.
            self.is_silent |= SILENT.contains(&name) || name == "one of several deleted";
            return Ok(());
        }
        self.odd_step().await
    }

    async fn odd_step(&mut self) -> Result<()> {
        self.steps += 1;
        self.commit_due(false).await?;
        let name = match self.below(22) {
            0 | 1 => self.odd_node().await.map(|()| "node with an odd key"),
            2 | 3 => self.odd_relationship().await.map(|()| "relationship with an odd key"),
            4 => self.spoil_entity(", n.created_at = datetime()").await.map(|()| "key of an entity spoilt"),
            5 => self.silently(Self::spoil_entity_silently).await.map(|()| "key of an entity spoilt silently"),
            6 => self.spoil_fact().await.map(|()| "key of a fact spoilt"),
            7 | 8 => self.heal().await.map(|()| "keys healed"),
            9 => self.label("SET").await.map(|()| "label with a backtick"),
            10 => self.label("REMOVE").await.map(|()| "label with a backtick removed"),
            11 => self.odd_time().await.map(|()| "odd timestamp"),
            12 => self.odd_property().await.map(|()| "property with a backtick"),
            13 | 14 => self.delete_odd().await.map(|()| "odd elements deleted"),
            15 | 16 => self.move_between_groups().await.map(|()| "entity moved between groups"),
            17 => self.exchange_keys().await.map(|()| "keys exchanged"),
            18 => self.change_kind().await.map(|()| "entity made a community"),
            19 => self.late_entity().await.map(|()| "late commit"),
            20 => self.mass().await.map(|()| "mass created"),
            _ => self.run("MATCH (n:Mass) DETACH DELETE n", vec![]).await.map(|()| "mass deleted"),
        }?;
        self.log.push(name);
        Ok(())
    }

    fn odd_key(&mut self) -> &'static str {
        KEYS[self.below(KEYS.len())]
    }

    async fn silently<'a, F: Future<Output = Result<()>> + 'a>(&'a mut self, step: impl FnOnce(&'a mut Self) -> F) -> Result<()> {
        self.is_silent = true;
        step(self).await
    }

    async fn odd_node(&mut self) -> Result<()> {
        let (label, key, group) = (LABELS[self.below(LABELS.len())], self.odd_key(), self.group());
        let text = format!(
            "CREATE (:{label} {{uuid: {key}, name: 'odd', group_id: $group, created_at: datetime(), valid_at: datetime(), odd: true}})"
        );
        self.run(&text, vec![("group", group.into())]).await
    }

    async fn odd_relationship(&mut self) -> Result<()> {
        let (typ, kind, label) = [("RELATES_TO", Kind::Entity, "Entity"), ("MENTIONS", Kind::Episode, "Episodic")][self.below(2)];
        let (Some(from), Some(to)) = (self.pick(kind), self.pick(Kind::Entity)) else { return Ok(()) };
        let (key, group) = (self.odd_key(), self.group());
        let text = format!(
            "MATCH (a:{label} {{uuid: $from}}) MATCH (b:Entity {{uuid: $to}}) WITH a, b LIMIT 1 \
             CREATE (a)-[:{typ} {{uuid: {key}, name: 'odd', group_id: $group, created_at: datetime(), odd: true}}]->(b)"
        );
        self.run(&text, vec![("from", from.into()), ("to", to.into()), ("group", group.into())]).await
    }

    async fn spoil_entity(&mut self, and: &str) -> Result<()> {
        let Some(uuid) = self.pick(Kind::Entity) else { return Ok(()) };
        let key = self.odd_key();
        self.run(&format!("MATCH (n:Entity {{uuid: $uuid}}) SET n.was = $uuid, n.uuid = {key}{and}"), vec![("uuid", uuid.into())])
            .await
    }

    async fn spoil_entity_silently(&mut self) -> Result<()> {
        self.spoil_entity("").await
    }

    async fn spoil_fact(&mut self) -> Result<()> {
        let Some(uuid) = self.pick(Kind::Fact) else { return Ok(()) };
        let key = self.odd_key();
        let text =
            format!("MATCH ()-[e:RELATES_TO {{uuid: $uuid}}]->() SET e.was = $uuid, e.uuid = {key}, e.created_at = datetime()");
        self.run(&text, vec![("uuid", uuid.into())]).await
    }

    async fn heal(&mut self) -> Result<()> {
        let node = "MATCH (n:Entity) WHERE n.was IS NOT NULL WITH n ORDER BY n.was LIMIT 1 \
                    SET n.uuid = n.was, n.created_at = datetime() REMOVE n.was";
        self.run(node, vec![]).await?;
        let fact = "MATCH ()-[e:RELATES_TO]->() WHERE e.was IS NOT NULL WITH e ORDER BY e.was LIMIT 1 \
                    SET e.uuid = e.was, e.created_at = datetime() REMOVE e.was";
        self.run(fact, vec![]).await
    }

    async fn label(&mut self, verb: &str) -> Result<()> {
        if verb == "REMOVE" {
            return self.run("MATCH (n:`a``b`) WITH n ORDER BY n.name LIMIT 2 REMOVE n:`a``b`", vec![]).await;
        }
        let Some(uuid) = self.pick(Kind::Entity) else { return Ok(()) };
        self.run("MATCH (n:Entity {uuid: $uuid}) SET n:`a``b`", vec![("uuid", uuid.into())]).await
    }

    async fn odd_time(&mut self) -> Result<()> {
        self.is_silent = true;
        let value = TIMES[self.below(TIMES.len())];
        if self.below(2) == 0 {
            return self.on_entity(&format!("SET n.created_at = {value}")).await;
        }
        self.on_fact(&format!("SET e.expired_at = {value}, e.created_at = {value}")).await
    }

    async fn odd_property(&mut self) -> Result<()> {
        self.is_silent = true;
        self.on_entity("SET n.`a``b` = 1, n.plain = 'p'").await
    }

    async fn delete_odd(&mut self) -> Result<()> {
        self.run("MATCH (n) WHERE n.odd WITH n ORDER BY elementId(n) LIMIT 2 DETACH DELETE n", vec![]).await?;
        self.run("MATCH ()-[e]->() WHERE e.odd WITH e ORDER BY elementId(e) LIMIT 2 DELETE e", vec![]).await
    }

    async fn move_between_groups(&mut self) -> Result<()> {
        let Some(uuid) = self.pick(Kind::Entity) else { return Ok(()) };
        let group = self.group();
        let text = "MATCH (n:Entity {uuid: $uuid}) SET n.group_id = $group, n.created_at = datetime() \
                    WITH n MATCH (n)-[e:RELATES_TO]-() SET e.group_id = $group, e.created_at = datetime()";
        self.run(text, vec![("uuid", uuid.into()), ("group", group.into())]).await
    }

    async fn exchange_keys(&mut self) -> Result<()> {
        let (Some(one), Some(other)) = (self.pick(Kind::Entity), self.pick(Kind::Entity)) else { return Ok(()) };
        let text = "MATCH (a:Entity {uuid: $one}), (b:Entity {uuid: $other}) WITH a, b LIMIT 1 \
                    SET a.uuid = $other, b.uuid = $one, a.created_at = datetime(), b.created_at = datetime()";
        self.run(text, vec![("one", one.into()), ("other", other.into())]).await
    }

    async fn change_kind(&mut self) -> Result<()> {
        let Some(uuid) = self.take(Kind::Entity) else { return Ok(()) };
        self.run("MATCH (n:Entity {uuid: $uuid}) REMOVE n:Entity SET n:Community", vec![("uuid", uuid.into())]).await
    }

    /// Older than any tolerance for clocks, younger than a late check looks back.
    async fn late_entity(&mut self) -> Result<()> {
        let (uuid, group) = (self.key(), self.group());
        let mut row = self.entity_row(&uuid, group);
        if let BoltType::Map(map) = &mut row {
            map.put("ago".into(), "PT2M".into());
        }
        let text = "CREATE (n:Entity) SET n = $row.properties, n.created_at = datetime() - duration($row.ago)";
        self.run(text, vec![("row", row)]).await?;
        self.entities.push(uuid);
        Ok(())
    }

    async fn mass(&mut self) -> Result<()> {
        let (beginning, group) = (self.key(), self.group());
        let text = "UNWIND range(1, $mass) AS i CREATE (:Entity:Mass {uuid: $beginning + i, name: 'mass', group_id: $group, \
                    summary: '', created_at: datetime()})";
        self.run(text, vec![("mass", MASS.into()), ("beginning", beginning.into()), ("group", group.into())]).await
    }
}
