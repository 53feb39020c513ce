//! The content of nodes and relationships, with the property names and types that Graphiti stores.

use chrono::{DateTime, Duration, FixedOffset, NaiveDateTime, SubsecRound, Utc};
use neo4rs::{BoltFloat, BoltList, BoltMap, BoltString, BoltType};
use rand::Rng;
use rand::rngs::StdRng;

const WORDS: [&str; 24] = [
    "Aalto", "Berlin", "clinic", "données", "engine", "Fjord", "garden", "harbour", "index", "Jürgen", "keeps", "library",
    "moves", "north", "owner", "project", "quiet", "river", "signal", "tower", "under", "visits", "writes", "北京",
];
const FACTS: [&str; 5] = ["WORKS_AT", "LIVES_IN", "KNOWS", "OWNS", "VISITED"];
const SOURCES: [&str; 4] = ["message", "json", "text", "fact_triple"];
/// 2026-01-01T00:00:00Z
const EPOCH: i64 = 1_767_225_600;

pub struct Content {
    random: StdRng,
    dimension: usize,
    /// Whether new elements are created now, as in a graph that is in use, or at the seed's times.
    live: bool,
}

/// A row of a statement's `$rows`: the properties, and beside them what a property map cannot hold.
pub struct Row(BoltMap);

impl Row {
    fn new() -> Self {
        Self(BoltMap::new())
    }

    fn with(mut self, name: &str, value: impl Into<BoltType>) -> Self {
        self.0.put(BoltString::from(name), value.into());
        self
    }

    fn with_some(self, name: &str, value: Option<impl Into<BoltType>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

impl From<Row> for BoltType {
    fn from(row: Row) -> Self {
        Self::Map(row.0)
    }
}

impl Content {
    pub fn new(random: StdRng, dimension: usize) -> Self {
        Self { random, dimension, live: false }
    }

    /// From here on, new elements are created at the current time: nothing else would look new to a reader that
    /// goes by timestamps.
    pub fn go_live(&mut self) {
        self.live = true;
    }

    fn created(&self, at: usize) -> BoltType {
        if self.live { now().into() } else { moment(at) }
    }

    pub fn uuid(&mut self) -> String {
        let bits: u128 = self.random.random();
        // The version and variant bits of a random uuid.
        let bits = bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        let text = format!("{bits:032x}");
        format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
    }

    pub fn uuids(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.uuid()).collect()
    }

    /// One of `keys` of the same group as the element at this position.
    pub fn pick(&mut self, keys: &[String], position: usize, groups: usize) -> String {
        let groups = groups.max(1);
        let group = position % groups;
        let in_group = (keys.len() + groups - 1 - group) / groups;
        keys[self.random.random_range(0..in_group.max(1)) * groups + group].clone()
    }

    pub fn entity(&mut self, uuid: &str, group: &str, at: usize) -> Row {
        let label = ["", "Person", "Company", "Place"][at % 4];
        let labels: Vec<&str> = ["Entity", label].into_iter().filter(|label| !label.is_empty()).collect();
        let properties = Row::new()
            .with("uuid", uuid)
            .with("name", self.name(at))
            .with("group_id", group)
            .with("summary", self.summary(at))
            .with("created_at", self.created(at))
            // Only Graphiti's bulk path stores the labels as a property too.
            .with_some("labels", (at % 2 == 0).then(|| labels.clone()));
        let properties = self.attributes(properties, label, at);
        Row::new().with("properties", properties).with("labels", labels).with("embedding", self.vector())
    }

    fn attributes(&mut self, row: Row, label: &str, at: usize) -> Row {
        match label {
            "Person" => row
                .with("age", i64::try_from(at % 90).unwrap_or_default())
                .with("email", format!("person{at}@example.org"))
                .with("score", self.random.random_range(-1.0..1.0))
                .with("active", at % 3 == 0)
                .with("aliases", vec![self.word(), self.word()])
                .with("visits", vec![1_i64, -2, i64::MAX - i64::try_from(at).unwrap_or_default()]),
            "Company" => row
                .with("founded", moment(at * 7))
                .with("revenue", self.random.random_range(0.0..1e12))
                .with("ratings", vec![0.5_f64, 4.75, 1e-9])
                .with("tags", Vec::<String>::new())
                .with_some("motto", (at % 3 == 0).then(String::new)),
            _ => row.with_some("note", (at % 5 == 0).then(|| self.sentence(4))),
        }
    }

    pub fn episode(&mut self, uuid: &str, group: &str, at: usize, facts: Vec<String>) -> Row {
        let properties = Row::new()
            .with("uuid", uuid)
            .with("name", format!("episode {at}"))
            .with("group_id", group)
            .with("content", if at % 11 == 0 { String::new() } else { self.sentence(20) })
            .with("source", SOURCES[at % SOURCES.len()])
            .with("source_description", "a conversation")
            .with("entity_edges", facts)
            .with("created_at", self.created(at))
            .with("valid_at", moment(at * 3));
        Row::new().with("properties", properties)
    }

    pub fn community(&mut self, uuid: &str, group: &str, at: usize) -> Row {
        let properties = Row::new()
            .with("uuid", uuid)
            .with("name", self.name(at))
            .with("group_id", group)
            .with("summary", self.summary(at))
            .with("created_at", self.created(at));
        Row::new().with("properties", properties).with("embedding", self.vector())
    }

    pub fn saga(&mut self, uuid: &str, group: &str, at: usize) -> Row {
        let properties = Row::new()
            .with("uuid", uuid)
            .with("name", format!("saga {at}"))
            .with("group_id", group)
            .with("summary", self.summary(at))
            .with("created_at", self.created(at))
            .with_some("last_summarized_at", (at % 2 == 0).then(|| moment(at + 5)))
            .with_some("last_summarized_episode_valid_at", (at % 2 == 0).then(|| moment(at + 4)));
        Row::new().with("properties", properties)
    }

    pub fn fact(&mut self, uuid: &str, group: &str, at: usize, ends: [String; 2], episodes: Vec<String>) -> Row {
        let expired = at % 10 == 3;
        let properties = Row::new()
            .with("uuid", uuid)
            .with("name", FACTS[at % FACTS.len()])
            .with("fact", self.sentence(9))
            .with("group_id", group)
            .with("episodes", episodes)
            .with("created_at", self.created(at))
            .with_some("valid_at", (at % 6 != 0).then(|| moment(at * 2)))
            .with_some("invalid_at", expired.then(|| moment(at * 2 + 9)))
            .with_some("expired_at", expired.then(|| moment(at + 9)))
            .with_some("reference_time", (at % 2 == 0).then(|| moment(at)))
            .with_some("confidence", (at % 4 == 0).then(|| self.random.random_range(0.0..1.0)))
            .with("source_node_uuid", ends[0].as_str())
            .with("target_node_uuid", ends[1].as_str());
        let embedding = self.vector();
        between(ends).with("properties", properties).with("embedding", embedding)
    }

    /// A relationship of the types that hold a key, a group and a time only.
    pub fn link(&mut self, group: &str, at: usize, ends: [String; 2]) -> Row {
        let properties = Row::new().with("uuid", self.uuid()).with("group_id", group).with("created_at", self.created(at));
        between(ends).with("properties", properties)
    }

    /// A vector as Graphiti's embedders give it: 32 bit numbers that travel as 64 bit ones.
    pub fn vector(&mut self) -> BoltType {
        let mut list = BoltList::with_capacity(self.dimension);
        for _ in 0..self.dimension {
            // 24 bits of a random word, as the standard distribution takes them, without its generic detours:
            // a large graph has 15 million of these.
            let bits = self.random.random::<u32>() >> 8;
            let number = bits as f32 / 8_388_608.0 - 1.0;
            list.push(BoltType::Float(BoltFloat::new(f64::from(number))));
        }
        BoltType::List(list)
    }

    pub fn sentence(&mut self, words: usize) -> String {
        (0..words).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.random.random_range(0..limit.max(1))
    }

    fn word(&mut self) -> &'static str {
        WORDS[self.random.random_range(0..WORDS.len())]
    }

    fn name(&mut self, at: usize) -> String {
        let words = self.sentence(2);
        match at % 40 {
            7 => format!("{words} \"{at}\" \\ 'quoted'"),
            17 => format!("{words}\n\t{at} 🚀"),
            _ => format!("{words} {at}"),
        }
    }

    fn summary(&mut self, at: usize) -> String {
        match at % 50 {
            0 | 7 | 21 => String::new(),
            13 => format!("{}\0{}", self.word(), self.word()),
            _ => self.sentence(15),
        }
    }
}

/// The current time in the precision that Graphiti has.
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

fn between([source, target]: [String; 2]) -> Row {
    Row::new().with("source", source).with("target", target)
}

/// The kinds of datetimes that Graphiti's users leave in Neo4j, by turns.
fn moment(at: usize) -> BoltType {
    let at = i64::try_from(at).unwrap_or_default();
    let whole = DateTime::from_timestamp(EPOCH + at * 61, 0).unwrap_or_default();
    let micros = whole + Duration::microseconds(at * 7_919 % 1_000_000);
    match at % 10 {
        6 => whole.into(),
        7 => offset(micros).into(),
        8 => (micros.naive_utc(), "Europe/Berlin").into(),
        9 => local(micros).into(),
        _ => micros.into(),
    }
}

fn offset(moment: DateTime<Utc>) -> DateTime<FixedOffset> {
    let hours = FixedOffset::east_opt(5 * 3_600 + 1_800);
    hours.map_or_else(|| moment.fixed_offset(), |offset| moment.with_timezone(&offset))
}

fn local(moment: DateTime<Utc>) -> NaiveDateTime {
    moment.naive_utc()
}
