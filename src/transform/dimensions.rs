//! How many numbers the vectors of a property have.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::name::{Label, PropertyName, RelationshipType};

/// The dimension of each vector property, as far as it is known: the profile's, or what most elements had at the full sync. It
/// can be kept in a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dimensions {
    nodes: BTreeMap<Label, BTreeMap<PropertyName, usize>>,
    relationships: BTreeMap<RelationshipType, BTreeMap<PropertyName, usize>>,
}

impl Dimensions {
    /// The dimension of a vector property of a node kind.
    pub fn of_node(&self, label: &Label, property: &PropertyName) -> Option<usize> {
        self.nodes.get(label)?.get(property).copied()
    }

    /// The dimension of a vector property of a relationship kind.
    pub fn of_relationship(&self, rel_type: &RelationshipType, property: &PropertyName) -> Option<usize> {
        self.relationships.get(rel_type)?.get(property).copied()
    }

    /// Sets the dimension of a vector property of a node kind.
    pub fn set_node(&mut self, label: Label, property: PropertyName, dimension: usize) {
        self.nodes.entry(label).or_default().insert(property, dimension);
    }

    /// Sets the dimension of a vector property of a relationship kind.
    pub fn set_relationship(&mut self, rel_type: RelationshipType, property: PropertyName, dimension: usize) {
        self.relationships.entry(rel_type).or_default().insert(property, dimension);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_are_kept_apart_by_kind_and_survive_a_checkpoint() {
        let property = PropertyName::parse("embedding").unwrap();
        let (label, rel_type) = (Label::parse("X").unwrap(), RelationshipType::parse("X").unwrap());
        let mut dimensions = Dimensions::default();
        dimensions.set_node(label.clone(), property.clone(), 3);
        assert_eq!(dimensions.of_relationship(&rel_type, &property), None);
        dimensions.set_relationship(rel_type.clone(), property.clone(), 4);
        let kept: Dimensions = serde_json::from_str(&serde_json::to_string(&dimensions).unwrap()).unwrap();
        assert_eq!(kept, dimensions);
        assert_eq!((kept.of_node(&label, &property), kept.of_relationship(&rel_type, &property)), (Some(3), Some(4)));
    }
}
