//! What to read again beside a changed element.

use serde::{Deserialize, Serialize};

use super::name::{Label, PropertyName, RelationshipType};

/// Elements to read again beside a changed element, because the source's writer changes them without touching a timestamp.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, untagged)]
pub enum FollowRule {
    /// The relationships of a type at a changed node, and the nodes at their other ends.
    Relationships {
        /// The changed node's kind.
        from: Label,
        /// The type of the relationships.
        #[serde(rename = "type")]
        rel_type: RelationshipType,
        /// Their direction, seen from the changed node.
        direction: Direction,
    },
    /// The relationships of a type whose keys a changed node lists.
    ListedRelationships {
        /// The changed node's kind.
        from: Label,
        /// The property that lists their keys.
        list: PropertyName,
        /// The type of the relationships.
        #[serde(rename = "type")]
        rel_type: RelationshipType,
    },
    /// The nodes of a kind whose keys a changed relationship lists: the last ones of the list, because new keys are appended.
    ListedNodes {
        /// The changed relationship's type.
        from_type: RelationshipType,
        /// The property that lists their keys.
        list: PropertyName,
        /// The kind of the nodes.
        label: Label,
        /// The number of keys at the end of the list.
        last: u32,
    },
}

/// The direction of a relationship, seen from a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The relationship points away from the node.
    Out,
    /// The relationship points towards the node.
    In,
}
