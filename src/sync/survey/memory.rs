//! An estimate of the memory that elements take in FalkorDB. The sizes were measured on 4.16.3, with 200,000 elements of each
//! shape.

use crate::model::element::Properties;
use crate::model::index::{IndexKind, IndexTarget};
use crate::model::kind::ElementKind;
use crate::model::profile::Profile;
use crate::model::value::Value;

const NODE: u64 = 50;
const RELATIONSHIP: u64 = 88;

/// The overhead of an element with properties, and the size of a property that is a number or a boolean.
const PROPERTIES: u64 = 8;
const PROPERTY: u64 = 11;

/// The overhead of a text, a list and a vector beside their content.
const TEXT: u64 = 8;
const LIST: u64 = 26;
const VECTOR: u64 = 50;

/// The size of an entry of a range index, without its text.
const INDEX_ENTRY: u64 = 280;

/// The memory of elements of one kind.
pub(super) struct Estimate {
    element: u64,
    vectors: Vec<String>,
    indexed: Vec<String>,
    bytes: u64,
}

impl Estimate {
    pub(super) fn new(profile: &Profile, kind: ElementKind) -> Self {
        let on = IndexTarget::of(&profile.step(kind));
        let of_kind = profile.indexes.iter().filter(|index| index.kind == IndexKind::Range && index.on == on);
        let indexed = of_kind.flat_map(|index| &index.properties).map(ToString::to_string).collect();
        let element = if matches!(kind, ElementKind::Node(_)) { NODE } else { RELATIONSHIP };
        Self { element, vectors: profile.vectors(kind).iter().map(ToString::to_string).collect(), indexed, bytes: 0 }
    }

    /// Adds an element to the estimate. Skips an element without a key, because it would not be written.
    pub(super) fn add(&mut self, properties: &Properties, key: Option<&str>) {
        if key.is_none() {
            return;
        }
        let each = properties.iter().map(|(name, value)| {
            let entry = if self.indexed.contains(name) { INDEX_ENTRY + text_length(value) } else { 0 };
            PROPERTY + self.value(name, value) + entry
        });
        self.bytes += self.element + PROPERTIES + each.sum::<u64>();
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn value(&self, name: &str, value: &Value) -> u64 {
        let items = match value {
            Value::Floats(floats) => floats.len() as u64,
            Value::List(items) => items.len() as u64,
            _ => return content(value),
        };
        if self.vectors.iter().any(|vector| vector == name) {
            return VECTOR + 4 * items;
        }
        let contents = if let Value::List(items) = value { items.iter().map(content).sum() } else { 0 };
        LIST + 16 * items + contents
    }
}

/// Returns the size of a value beside its place.
fn content(value: &Value) -> u64 {
    match value {
        Value::Boolean(_) | Value::Integer(_) | Value::Float(_) => 0,
        other => TEXT + text_length(other),
    }
}

/// Returns the approximate length of a value as text. Every value that is no number becomes a text.
fn text_length(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Bytes(bytes) => (bytes.len() as u64).div_ceil(3) * 4,
        Value::Boolean(_) | Value::Integer(_) | Value::Float(_) | Value::List(_) | Value::Floats(_) => 0,
        _ => 32,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::kind::NodeKindId;

    #[test]
    fn vectors_take_less_than_lists() {
        let profile = Profile::graphiti().unwrap();
        let of = |name: &str| {
            let mut estimate = Estimate::new(&profile, ElementKind::Node(NodeKindId(0)));
            let properties = vec![(name.to_owned(), Value::Floats(vec![0.5; 100]))];
            estimate.add(&properties, None);
            assert_eq!(estimate.bytes(), 0, "it is not written");
            estimate.add(&properties, Some("k"));
            estimate.bytes()
        };
        assert_eq!(of("name_embedding"), 50 + 8 + 11 + 450);
        assert_eq!(of("other"), 50 + 8 + 11 + 26 + 1600);
    }
}
