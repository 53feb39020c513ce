//! What a sequence writes: rows of a statement, and their values.

use chrono::{Duration, Utc};
use neo4rs::{BoltMap, BoltType};
use rand::Rng;

use super::Sequence;

const DIMENSION: usize = 4;

/// Timestamps lie behind their commits by up to ten minutes.
const LATEST: i64 = 600;

impl Sequence {
    pub(super) fn entity_row(&mut self, uuid: &str, group: &str) -> BoltType {
        let label = ["Entity", "Person", "Company", "A label"][self.below(4)];
        let mut properties = vec![
            ("uuid", uuid.into()),
            ("name", format!("entity {}", self.steps).into()),
            ("group_id", group.into()),
            ("summary", self.text()),
            ("created_at", self.created()),
        ];
        if self.below(5) > 0 {
            properties.push(("name_embedding", self.vector()));
        }
        match self.below(4) {
            0 => properties.push(("age", (self.steps as i64).into())),
            1 => properties.push(("note", self.text())),
            2 => properties.push(("labels", vec!["Entity".to_owned(), label.to_owned()].into())),
            _ => properties.push(("tags", Vec::<String>::new().into())),
        }
        map(vec![("uuid", uuid.into()), ("labels", vec![label.to_owned()].into()), ("properties", map(properties))])
    }

    pub(super) fn fact_row(&mut self, uuid: &str, among: &[String], group: &str, episode: &str) -> BoltType {
        let (source, target) = (among[self.below(among.len())].clone(), among[self.below(among.len())].clone());
        let mut properties = vec![
            ("uuid", uuid.into()),
            ("name", "KNOWS".into()),
            ("fact", self.text()),
            ("group_id", group.into()),
            ("episodes", vec![episode.to_owned()].into()),
            ("created_at", self.created()),
            ("fact_embedding", self.vector()),
            ("source_node_uuid", source.as_str().into()),
        ];
        if self.below(2) == 0 {
            properties.push(("reference_time", self.created()));
            properties.push(("confidence", 0.25.into()));
        }
        map(vec![("uuid", uuid.into()), ("source", source.into()), ("target", target.into()), ("properties", map(properties))])
    }

    pub(super) fn link_row(&mut self, source: &str, target: &str, group: &str) -> BoltType {
        let properties = map(vec![("uuid", self.key().into()), ("group_id", group.into()), ("created_at", self.created())]);
        map(vec![("source", source.into()), ("target", target.into()), ("properties", properties)])
    }

    /// Now or some time ago, with a zone or without.
    pub(super) fn created(&mut self) -> BoltType {
        let ago = if self.below(4) == 0 { self.random.random_range(0..=LATEST) } else { 0 };
        let at = Utc::now() - Duration::seconds(ago);
        if self.below(6) == 0 { at.naive_utc().into() } else { at.into() }
    }

    /// Few beginnings, so that keys meet in the groups that a sweep makes of them.
    pub(super) fn key(&mut self) -> String {
        let (beginning, rest): (u8, u64) = (self.random.random_range(0..12), self.random.random());
        format!("{beginning:02x}{rest:016x}")
    }

    pub(super) fn text(&mut self) -> BoltType {
        match self.below(8) {
            0 => String::new().into(),
            1 => "a \"quoted\" \\ text\nof two lines".into(),
            _ => format!("text {} {}", self.steps, self.random.random::<u16>()).into(),
        }
    }

    pub(super) fn vector(&mut self) -> BoltType {
        let numbers: Vec<f64> = (0..DIMENSION).map(|_| f64::from(self.random.random_range(-8_i8..8)) / 8.0).collect();
        numbers.into()
    }
}

pub(super) fn map(entries: Vec<(&str, BoltType)>) -> BoltType {
    let mut map = BoltMap::new();
    for (name, value) in entries {
        map.put(name.into(), value);
    }
    BoltType::Map(map)
}

pub(super) fn properties(row: BoltType) -> BoltType {
    match row {
        BoltType::Map(mut row) => row.value.remove("properties").unwrap_or_else(|| map(vec![])),
        other => other,
    }
}
