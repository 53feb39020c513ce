//! Nodes and relationships as the source holds them, and what identifies them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::key::Key;
use super::kind::KindName;
use super::name::{Label, RelationshipType};
use super::value::Value;

/// Property names and values of one element, in the source's order.
pub type Properties = Vec<(String, Value)>;

/// Neo4j's number of an element within its database: the last part of its element id. Elements that share an identity collapse to
/// the one with the lowest number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ElementNumber(pub u64);

/// A node as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceNode {
    /// Its number in the source.
    pub number: ElementNumber,
    /// All its labels, the identity label among them.
    pub labels: Vec<String>,
    /// All its properties, the key among them.
    pub properties: Properties,
}

/// An endpoint of a relationship as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceEndpoint {
    /// All labels of the endpoint.
    pub labels: Vec<String>,
    /// The value of the key property of its kind, if it has one.
    pub key: Option<Value>,
    /// Its group, if the group decides the endpoint's graph and the endpoint has one.
    pub group: Option<Value>,
}

/// A relationship as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceRelationship {
    /// Its number in the source.
    pub number: ElementNumber,
    /// The endpoint at which the relationship begins.
    pub start: SourceEndpoint,
    /// The endpoint at which the relationship ends.
    pub end: SourceEndpoint,
    /// All its properties, the key among them.
    pub properties: Properties,
}

impl SourceNode {
    /// Roughly the bytes that this row holds in memory.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.labels.iter().map(String::len).sum::<usize>() + weight(&self.properties)
    }
}

impl SourceRelationship {
    /// Roughly the bytes that this row holds in memory.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + weight(&self.properties)
    }
}

fn weight(properties: &Properties) -> usize {
    properties.iter().map(|(name, value)| name.len() + value.weight()).sum()
}

/// Returns the value of a property.
pub fn property<'a>(properties: &'a Properties, name: &str) -> Option<&'a Value> {
    properties.iter().find(|(candidate, _)| candidate == name).map(|(_, value)| value)
}

/// Returns the value of a property, if it is a text.
pub(crate) fn property_text<'a>(properties: &'a Properties, name: &str) -> Option<&'a str> {
    match property(properties, name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// The identity of an element.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ElementIdentity {
    /// The identity of a node.
    Node(NodeIdentity),
    /// The identity of a relationship.
    Relationship(RelationshipIdentity),
}

impl ElementIdentity {
    /// The key of the element.
    pub(crate) fn key(&self) -> &Key {
        match self {
            ElementIdentity::Node(node) => &node.key,
            ElementIdentity::Relationship(relationship) => &relationship.key,
        }
    }

    /// The label or type of its kind.
    pub(crate) fn kind_name(&self) -> KindName<'_> {
        match self {
            ElementIdentity::Node(node) => KindName::Label(node.label.as_str()),
            ElementIdentity::Relationship(relationship) => KindName::Type(relationship.rel_type.as_str()),
        }
    }
}

/// The identity of a node: the label of its kind, and its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeIdentity {
    /// The identity label of its kind.
    pub label: Label,
    /// The key of the node.
    pub key: Key,
}

/// The identity of a relationship: type, key and both endpoints.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RelationshipIdentity {
    /// The type of the relationship.
    #[serde(rename = "type")]
    pub rel_type: RelationshipType,
    /// The key of the relationship.
    pub key: Key,
    /// The node at which it begins.
    pub start: NodeIdentity,
    /// The node at which it ends.
    pub end: NodeIdentity,
}

impl fmt::Display for ElementIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ElementIdentity::Node(node) => node.fmt(f),
            ElementIdentity::Relationship(relationship) => relationship.fmt(f),
        }
    }
}

impl fmt::Display for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(:{} {})", self.label, self.key)
    }
}

impl fmt::Display for RelationshipIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-[:{} {}]->{}", self.start, self.rel_type, self.key, self.end)
    }
}
