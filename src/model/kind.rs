//! Kinds of elements: their place in a profile, and their names.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::name::{Label, RelationshipType};

/// The place of a node kind in its profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKindId(pub usize);

/// The place of a relationship kind in its profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelationshipKindId(pub usize);

/// A kind of the profile, of nodes or of relationships.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ElementKind {
    /// A kind of nodes.
    Node(NodeKindId),
    /// A kind of relationships.
    Relationship(RelationshipKindId),
}

impl ElementKind {
    /// Whether its elements are nodes.
    pub(crate) fn is_node(self) -> bool {
        matches!(self, ElementKind::Node(_))
    }
}

/// The label of a node kind, or the type of a relationship kind. A label and a type may have the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KindName<'a> {
    /// The label of nodes.
    Label(&'a str),
    /// The type of relationships.
    Type(&'a str),
}

impl<'a> KindName<'a> {
    /// The name without the distinction.
    pub(crate) fn as_str(self) -> &'a str {
        match self {
            KindName::Label(name) | KindName::Type(name) => name,
        }
    }

    /// The class of its elements.
    pub(crate) fn class(self) -> ElementClass {
        match self {
            KindName::Label(_) => ElementClass::Node,
            KindName::Type(_) => ElementClass::Relationship,
        }
    }
}

/// The class of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ElementClass {
    /// The element is a node.
    Node,
    /// The element is a relationship.
    Relationship,
}

/// One part of a pass: all rows of one kind that the strategy reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Nodes with this identity label.
    Nodes(Label),
    /// Relationships of this type.
    Relationships(RelationshipType),
}

impl Step {
    /// The name of the label or type.
    pub(crate) fn name(&self) -> &str {
        match self {
            Step::Nodes(label) => label.as_str(),
            Step::Relationships(rel_type) => rel_type.as_str(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Nodes(label) => write!(f, "nodes of {label}"),
            Step::Relationships(rel_type) => write!(f, "relationships of {rel_type}"),
        }
    }
}
