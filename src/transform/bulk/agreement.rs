//! For property tests and fuzzing: makes rows from arbitrary bytes, and checks that an independent reader reads from the
//! encoder's output what an independent calculation expects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use super::BulkBatch;
use super::decoded::{DecodedPayload, DecodedRecord, decode_nodes, decode_relationships};
use crate::model::element::{ElementNumber, NodeIdentity, Properties, SourceEndpoint, SourceNode, SourceRelationship, property};
use crate::model::key::Key;
use crate::model::kind::{NodeKindId, RelationshipKindId};
use crate::model::name::{Label, PropertyName, RelationshipType};
use crate::model::prepared::Conversions;
use crate::model::profile::Profile;
use crate::model::value::Value;
use crate::transform::values::{fit, write_value};
use crate::transform::vectors::check_vector;
use crate::transform::writer::ParameterText;
use crate::transform::{Encoder, VectorDimensions};

/// Two kinds with vectors, one of them with a known dimension, and kinds with names that the binary form cannot express.
const PROFILE: &str = "
name: agreement
nodes:
  - {label: A, key: k, vectors: [v]}
  - {label: B, key: k, vectors: [w]}
  - {label: 'C:c', key: k}
relationships:
  - {type: R, key: k, vectors: [v]}
  - {type: 'S:s', key: k}
indexes:
  - {kind: range, label: A, properties: [k]}
  - {kind: range, label: B, properties: [k]}
  - {kind: range, label: 'C:c', properties: [k]}
  - {kind: range, type: R, properties: [k]}
  - {kind: range, type: 'S:s', properties: [k]}
";

/// The dimension of `v`; the dimension of `w` is unknown.
const DIMENSION: usize = 2;

/// Names that coincide, the profile's own names, and some names that are hard to express.
const NAMES: [&str; 12] = ["k", "v", "w", "name", "a b", "größe", "x:y", "", "a`b", "nul\0", "\u{1}", "🙂"];

/// Labels besides those of the kinds.
const LABELS: [&str; 6] = ["A", "B", "Person", "x y", "a:b", "a`b"];

/// The number of properties that some rows have: more than a token has columns.
const CROWD: usize = 600;

/// Encodes rows made from these bytes, and returns what is wrong with the outcome.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    let mut source = Bytes(bytes);
    // Each input gets a graph of its own: a graph has room for a limited number of names.
    let transformer = &TRANSFORMER.as_ref().map_err(String::clone)?.clone().for_graph_with([]);
    if source.byte().is_multiple_of(2) {
        let kind = NodeKindId(usize::from(source.byte()) % 3);
        check_nodes(transformer, kind, source.nodes(kind))
    } else {
        let kind = RelationshipKindId(usize::from(source.byte()) % 2);
        check_relationships(transformer, kind, source.relationships())
    }
}

/// The transformer, made once: reading a profile takes longer than an input.
static TRANSFORMER: LazyLock<Result<Encoder, String>> = LazyLock::new(transformer);

fn transformer() -> Result<Encoder, String> {
    let name = |error: crate::model::name::UnusableName| error.to_string();
    let profile = Profile::parse(PROFILE).map_err(|error| error.to_string())?;
    let mut dimensions = VectorDimensions::default();
    let vector = PropertyName::parse("v").map_err(name)?;
    dimensions.set_node(Label::parse("A").map_err(name)?, vector.clone(), DIMENSION);
    dimensions.set_relationship(RelationshipType::parse("R").map_err(name)?, vector, DIMENSION);
    Ok(Encoder::new(Arc::new(profile), dimensions))
}

/// Returns the id of a node that was loaded before: one key in four, with an id that is unique in practice.
fn loaded(identity: &NodeIdentity) -> Option<u64> {
    let bytes = identity.label.as_str().bytes().chain([0]).chain(identity.key.as_str().bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    hash.is_multiple_of(4).then_some(hash)
}

/// Returns the id of an endpoint: the reverse of `loaded`, so that most endpoints exist.
fn endpoint_id(identity: &NodeIdentity) -> Option<u64> {
    match loaded(identity) {
        Some(_) => None,
        None => Some(identity.key.as_str().bytes().fold(7, |id: u64, byte| id.wrapping_mul(257) ^ u64::from(byte))),
    }
}

/// The content that must be read of one element.
#[derive(Debug, Clone, PartialEq)]
struct Expected {
    names: BTreeSet<String>,
    ends: Option<(u64, u64)>,
    properties: BTreeMap<String, DecodedPayload>,
    by_parameters: bool,
}

fn check_nodes(transformer: &Encoder, kind: NodeKindId, rows: Vec<SourceNode>) -> Result<(), String> {
    let label = transformer.profile().node(kind).label.clone();
    let mut chosen: BTreeMap<Key, (ElementNumber, Expected)> = BTreeMap::new();
    let mut elements = BTreeSet::new();
    let mut refused = 0;
    for row in &rows {
        let key = Key::from_value(property(&row.properties, "k"));
        let (Ok(key), true) = (key, row.labels.iter().all(|name| Label::check(name).is_ok())) else {
            refused += 1;
            continue;
        };
        elements.insert(row.number);
        let names: BTreeSet<String> = row.labels.iter().cloned().chain([label.to_string()]).collect();
        let by_parameters = names.iter().any(|name| name.contains(':')) || row.properties.len() > 512;
        let properties = expected_properties(&row.properties, |name| node_vector(kind, &names, name));
        choose(&mut chosen, key, row.number, Expected { names, ends: None, properties, by_parameters });
    }
    let collapsed = gave_way(&elements, &chosen);
    let batch = transformer.bulk_nodes(kind, rows, loaded);
    let mut written = Written::read(&batch)?;
    for (key, (_, expected)) in &chosen {
        let identity = NodeIdentity { label: label.clone(), key: key.clone() };
        if loaded(&identity).is_some() {
            continue;
        }
        if expected.by_parameters {
            written.by_parameters.remove(key.as_str()).ok_or_else(|| format!("{identity} is not written by parameters"))?;
        } else {
            written.take(key.as_str(), expected)?;
        }
    }
    written.nothing_left()?;
    require(batch.collapsed == collapsed as u64, || format!("{} collapsed, not {collapsed}", batch.collapsed))?;
    check_refused(&batch, refused)
}

fn check_relationships(transformer: &Encoder, kind: RelationshipKindId, rows: Vec<SourceRelationship>) -> Result<(), String> {
    let profile = transformer.profile();
    let rel_type = profile.relationship(kind).rel_type.clone();
    let node = |endpoint: &SourceEndpoint| {
        let label = profile.node(profile.kind_of(&endpoint.labels)?).label.clone();
        Some(NodeIdentity { label, key: Key::from_value(endpoint.key.as_ref()).ok()? })
    };
    let mut chosen: BTreeMap<(Key, NodeIdentity, NodeIdentity), (ElementNumber, Expected)> = BTreeMap::new();
    let mut elements = BTreeSet::new();
    let mut refused = 0;
    for row in &rows {
        let key = Key::from_value(property(&row.properties, "k"));
        let (Ok(key), Some(start), Some(end)) = (key, node(&row.start), node(&row.end)) else {
            refused += 1;
            continue;
        };
        let identity = (key, start, end);
        elements.insert(row.number);
        let ends = endpoint_id(&identity.1).zip(endpoint_id(&identity.2));
        let by_parameters = rel_type.as_str().contains(':') || row.properties.len() > 512;
        let vector = |name: &str| (kind.0 == 0 && name == "v").then_some(Some(DIMENSION));
        let properties = expected_properties(&row.properties, vector);
        let names = BTreeSet::from([rel_type.to_string()]);
        choose(&mut chosen, identity, row.number, Expected { names, ends, properties, by_parameters });
    }
    let collapsed = gave_way(&elements, &chosen);
    let batch = transformer.bulk_relationships(kind, rows, endpoint_id);
    let mut written = Written::read(&batch)?;
    let mut absent = 0;
    for ((key, start, end), (_, expected)) in &chosen {
        if expected.by_parameters {
            let identity = identity_text(key.as_str(), Some((start, end)));
            written.by_parameters.remove(&identity).ok_or_else(|| format!("{identity} is not written by parameters"))?;
        } else if expected.ends.is_none() {
            let reported = batch.absent_endpoints.iter().any(|i| (&i.key, &i.start, &i.end) == (key, start, end));
            require(reported, || format!("{key} is not reported as without an end"))?;
            absent += 1;
        } else {
            written.take(key.as_str(), expected)?;
        }
    }
    written.nothing_left()?;
    require(batch.absent_endpoints.len() == absent, || "too many relationships are reported as without an end".to_owned())?;
    require(batch.collapsed == collapsed as u64, || format!("{} collapsed, not {collapsed}", batch.collapsed))?;
    check_refused(&batch, refused)
}

fn check_refused(batch: &BulkBatch, refused: usize) -> Result<(), String> {
    let found = batch.quarantined.iter().filter(|q| q.property.is_none()).count();
    require(found == refused, || format!("{found} elements quarantined, not {refused}"))
}

/// Keeps the element with the lowest number; of two readings of one element, the later one.
fn choose<I: Ord>(chosen: &mut BTreeMap<I, (ElementNumber, Expected)>, identity: I, number: ElementNumber, expected: Expected) {
    if chosen.get(&identity).is_none_or(|(other, _)| number <= *other) {
        chosen.insert(identity, (number, expected));
    }
}

/// Counts the elements without a chosen reading.
fn gave_way<I>(elements: &BTreeSet<ElementNumber>, chosen: &BTreeMap<I, (ElementNumber, Expected)>) -> usize {
    let stay: BTreeSet<ElementNumber> = chosen.values().map(|(number, _)| *number).collect();
    elements.difference(&stay).count()
}

/// Whether a node's property is a vector, and of which dimension.
fn node_vector(kind: NodeKindId, names: &BTreeSet<String>, name: &str) -> Option<Option<usize>> {
    let is = |id: usize, label: &str| kind.0 == id || names.contains(label);
    match name {
        "v" if is(0, "A") => Some(Some(DIMENSION)),
        "w" if is(1, "B") => Some(None),
        _ => None,
    }
}

fn expected_properties(
    properties: &Properties,
    vector: impl Fn(&str) -> Option<Option<usize>>,
) -> BTreeMap<String, DecodedPayload> {
    let mut expected = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (name, value) in properties {
        if !seen.insert(name) || name.is_empty() || name.len() > 512 || name.contains(['`', '\0']) {
            continue;
        }
        match vector(name) {
            Some(dimension) if check_vector(value, dimension).is_ok() => drop(expected.insert(name.clone(), singles(value))),
            None if fit(value).is_ok() => drop(expected.insert(name.clone(), decoded(value))),
            _ => {}
        }
    }
    expected
}

fn singles(value: &Value) -> DecodedPayload {
    let single = |number: f32| DecodedPayload::Float(f64::from(number).to_bits());
    match value {
        Value::Floats(floats) => DecodedPayload::List(floats.iter().map(|float| single(*float as f32)).collect()),
        Value::List(items) => DecodedPayload::List(
            items
                .iter()
                .map(|item| match item {
                    Value::Integer(integer) => single(*integer as f32),
                    Value::Float(float) => single(*float as f32),
                    _ => DecodedPayload::Null,
                })
                .collect(),
        ),
        _ => DecodedPayload::Null,
    }
}

fn decoded(value: &Value) -> DecodedPayload {
    match value {
        Value::Boolean(boolean) => DecodedPayload::Boolean(*boolean),
        Value::Integer(integer) => DecodedPayload::Integer(*integer),
        Value::Float(float) => DecodedPayload::Float(float.to_bits()),
        Value::String(text) => DecodedPayload::String(text.replace('\0', "")),
        Value::Floats(floats) => {
            DecodedPayload::List(floats.iter().map(|float| DecodedPayload::Float(float.to_bits())).collect())
        }
        Value::List(items) => DecodedPayload::List(items.iter().map(decoded).collect()),
        converted => DecodedPayload::String(text_of(converted)),
    }
}

/// Returns the parameter text of a value that becomes text.
fn text_of(value: &Value) -> String {
    let mut text = Vec::new();
    write_value(&mut ParameterText(&mut text), value, &mut Conversions::default());
    String::from_utf8_lossy(&text).trim_matches('"').to_owned()
}

fn identity_text(key: &str, ends: Option<(&NodeIdentity, &NodeIdentity)>) -> String {
    match ends {
        Some((start, end)) => format!("{start}{key}{end}"),
        None => key.to_owned(),
    }
}

/// The output of a batch, by key, as it was read back.
struct Written {
    records: BTreeMap<String, Vec<DecodedRecord>>,
    by_parameters: BTreeMap<String, ()>,
}

impl Written {
    /// Reads all payloads; counts and the order of nodes must be exact.
    fn read(batch: &BulkBatch) -> Result<Self, String> {
        let mut written = Self { records: BTreeMap::new(), by_parameters: BTreeMap::new() };
        for payload in &batch.payloads {
            require(!payload.is_empty(), || "an empty payload".to_owned())?;
            let nodes = read_all(payload.node_tokens(), decode_nodes)?;
            let relationships = read_all(payload.relationship_tokens(), decode_relationships)?;
            require(nodes.len() as u64 == payload.node_count(), || "a wrong count of nodes".to_owned())?;
            require(relationships.len() as u64 == payload.relationship_count(), || "a wrong count of relationships".to_owned())?;
            for (node, identity) in nodes.iter().zip(payload.nodes()) {
                require(key_of(node)? == identity.key.as_str(), || format!("{identity} at the place of another"))?;
            }
            for record in nodes.into_iter().chain(relationships) {
                written.records.entry(key_of(&record)?.to_owned()).or_default().push(record);
            }
        }
        for group in &batch.by_parameters.nodes {
            written.by_parameters.extend(group.rows.identities().iter().map(|key| (key.to_string(), ())));
        }
        for group in &batch.by_parameters.relationships {
            let text = |i: &crate::model::element::RelationshipIdentity| identity_text(i.key.as_str(), Some((&i.start, &i.end)));
            written.by_parameters.extend(group.rows.identities().iter().map(|identity| (text(identity), ())));
        }
        Ok(written)
    }

    /// Takes the record that equals the expected one.
    fn take(&mut self, key: &str, expected: &Expected) -> Result<(), String> {
        let records = self.records.get_mut(key).ok_or_else(|| format!("{key:?} is not written"))?;
        let matches = |record: &DecodedRecord| {
            let names: BTreeSet<String> = record.names.iter().cloned().collect();
            names.len() == record.names.len()
                && names == expected.names
                && record.ends == expected.ends
                && record.properties == expected.properties
        };
        let place = records.iter().position(matches).ok_or_else(|| format!("{key:?}: {records:?} is not {expected:?}"))?;
        records.swap_remove(place);
        Ok(())
    }

    fn nothing_left(&self) -> Result<(), String> {
        let left = self.records.values().any(|records| !records.is_empty()) || !self.by_parameters.is_empty();
        require(!left, || "something is written that was not read".to_owned())
    }
}

fn read_all(tokens: &[Vec<u8>], decode: fn(&[u8]) -> Result<Vec<DecodedRecord>, String>) -> Result<Vec<DecodedRecord>, String> {
    let mut records = Vec::new();
    for token in tokens {
        records.extend(decode(token)?);
    }
    Ok(records)
}

fn key_of(record: &DecodedRecord) -> Result<&str, String> {
    match record.properties.get("k") {
        Some(DecodedPayload::String(key)) => Ok(key),
        other => Err(format!("the key {other:?}")),
    }
}

fn require(holds: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(message()) }
}

/// A source of rows from bytes; after the last byte, zeros follow.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn eight(&mut self) -> [u8; 8] {
        std::array::from_fn(|_| self.byte())
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit
    }

    fn text(&mut self) -> String {
        let length = self.below(24).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8_lossy(taken).into_owned()
    }

    fn key(&mut self) -> Value {
        match self.byte() {
            0..=199 => Value::String(format!("k{}", self.byte() % 16)),
            200..=240 => Value::String(self.text()),
            _ => self.value(),
        }
    }

    fn name(&mut self) -> String {
        match self.byte() {
            choice @ 0..=199 => NAMES[usize::from(choice) % NAMES.len()].to_owned(),
            _ => self.text(),
        }
    }

    fn value(&mut self) -> Value {
        match self.below(10) {
            0 => Value::Floats((0..=self.below(5)).map(|_| f64::from_bits(u64::from_le_bytes(self.eight()))).collect()),
            1 => Value::List((0..self.below(5)).map(|_| self.single()).collect()),
            2 => Value::Floats((0..DIMENSION).map(|_| f64::from(self.byte()) / 7.0).collect()),
            3 => Value::List((0..DIMENSION).map(|_| Value::Integer(i64::from(self.byte()))).collect()),
            _ => self.single(),
        }
    }

    fn single(&mut self) -> Value {
        match self.below(14) {
            0 => Value::Boolean(self.byte().is_multiple_of(2)),
            1 => Value::Integer(i64::from_le_bytes(self.eight())),
            2 => Value::Float(f64::from_bits(u64::from_le_bytes(self.eight()))),
            3 => Value::Bytes(self.text().into_bytes()),
            4 => Value::Date { days: i64::from_le_bytes(self.eight()) >> self.below(64) },
            5 => Value::LocalTime { nanoseconds: i64::from_le_bytes(self.eight()) >> self.below(64) },
            6 => Value::Time { nanoseconds: i64::from(self.byte()), offset_seconds: i32::from(self.byte()) * 300 },
            7 => Value::DateTime { epoch_seconds: i64::from_le_bytes(self.eight()) >> self.below(64), nanoseconds: 1001 },
            8 => Value::LocalDateTime { seconds: i64::from(self.byte()), nanoseconds: u32::from(self.byte()) << 23 },
            9 => Value::Date { days: i64::MAX },
            10 => Value::Duration {
                months: i64::from(self.byte()),
                days: -1,
                seconds: i64::from_le_bytes(self.eight()) >> 8,
                nanoseconds: 5,
            },
            11 => {
                Value::Point { srid: 4326, x: f64::from(self.byte()), y: 0.1, z: (self.byte().is_multiple_of(2)).then_some(1.5) }
            }
            12 => Value::Floats(vec![f64::NAN]),
            _ => Value::String(self.text()),
        }
    }

    fn properties(&mut self) -> Properties {
        let mut properties: Properties = Vec::new();
        if self.byte() != 255 {
            properties.push(("k".to_owned(), self.key()));
        }
        if self.byte() >= 254 {
            let distinct = self.byte();
            properties.extend((0..CROWD).map(|place| (format!("{distinct}p{place}"), Value::Boolean(true))));
            properties.truncate(usize::from(self.byte()) * 3);
        }
        for _ in 0..self.below(8) {
            let (name, value) = (self.name(), self.value());
            properties.push((name, value));
        }
        properties
    }

    fn labels(&mut self) -> Vec<String> {
        (0..self.below(4)).map(|_| LABELS[self.below(LABELS.len())].to_owned()).collect()
    }

    fn nodes(&mut self, kind: NodeKindId) -> Vec<SourceNode> {
        let own = ["A", "B", "C:c"][kind.0];
        let mut rows = Vec::new();
        while !self.0.is_empty() {
            let mut labels = self.labels();
            labels.push(own.to_owned());
            rows.push(SourceNode { number: ElementNumber(u64::from(self.byte() % 32)), labels, properties: self.properties() });
        }
        rows
    }

    fn endpoint(&mut self) -> SourceEndpoint {
        let mut labels = self.labels();
        if self.byte() < 240 {
            labels.push(["A", "B", "C:c"][self.below(3)].to_owned());
        }
        SourceEndpoint { labels, key: (self.byte() != 255).then(|| self.key()), group: None }
    }

    fn relationships(&mut self) -> Vec<SourceRelationship> {
        let mut rows = Vec::new();
        while !self.0.is_empty() {
            let number = ElementNumber(u64::from(self.byte() % 32));
            let (start, end) = (self.endpoint(), self.endpoint());
            rows.push(SourceRelationship { number, start, end, properties: self.properties() });
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60_000))]

        #[test]
        fn small_batches_agree(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            prop_assert_eq!(check(&bytes), Ok(()));
        }

        #[test]
        fn texts_agree(bytes in ".{0,120}") {
            prop_assert_eq!(check(bytes.as_bytes()), Ok(()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn large_batches_agree(bytes in prop::collection::vec(any::<u8>(), 0..6000)) {
            prop_assert_eq!(check(&bytes), Ok(()));
        }
    }
}
