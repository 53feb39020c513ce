//! The dimensions of vector properties.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::index::IndexTarget;
use super::kind::ElementKind;
use super::name::{Label, PropertyName, RelationshipType};
use super::profile::Profile;

/// The dimension of each vector property, if known: the one in the profile, or that of most elements at the full sync. It can be
/// kept in a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VectorDimensions {
    nodes: BTreeMap<Label, BTreeMap<PropertyName, usize>>,
    relationships: BTreeMap<RelationshipType, BTreeMap<PropertyName, usize>>,
}

impl VectorDimensions {
    /// The dimensions that a profile's vector indices name.
    pub(crate) fn of_profile(profile: &Profile) -> Self {
        let mut dimensions = Self::default();
        for index in &profile.indexes {
            let Some((vector, property)) = index.vector.zip(index.properties.first()) else { continue };
            // No vector with more numbers than this machine can address was ever read.
            let Ok(dimension) = usize::try_from(vector.dimension) else { continue };
            match &index.on {
                IndexTarget::Label(label) => dimensions.set_node(label.clone(), property.clone(), dimension),
                IndexTarget::Type(rel_type) => dimensions.set_relationship(rel_type.clone(), property.clone(), dimension),
            }
        }
        dimensions
    }

    /// The dimension of a vector property of a node kind.
    pub(crate) fn of_node(&self, label: &Label, property: &PropertyName) -> Option<usize> {
        self.nodes.get(label)?.get(property).copied()
    }

    /// The dimension of a vector property of a relationship kind.
    pub(crate) fn of_relationship(&self, rel_type: &RelationshipType, property: &PropertyName) -> Option<usize> {
        self.relationships.get(rel_type)?.get(property).copied()
    }

    /// The dimension of a vector property of a kind.
    pub(crate) fn of(&self, profile: &Profile, kind: ElementKind, property: &PropertyName) -> Option<usize> {
        match kind {
            ElementKind::Node(id) => self.of_node(&profile.node(id).label, property),
            ElementKind::Relationship(id) => self.of_relationship(&profile.relationship(id).rel_type, property),
        }
    }

    /// Sets the dimension of a vector property of a kind.
    pub(crate) fn set(&mut self, profile: &Profile, kind: ElementKind, property: PropertyName, dimension: usize) {
        match kind {
            ElementKind::Node(id) => self.set_node(profile.node(id).label.clone(), property, dimension),
            ElementKind::Relationship(id) => {
                self.set_relationship(profile.relationship(id).rel_type.clone(), property, dimension);
            }
        }
    }

    /// These dimensions and those that the profile names, which take precedence.
    #[must_use]
    pub(crate) fn with_those_of(mut self, profile: &Profile) -> Self {
        let Self { nodes, relationships } = Self::of_profile(profile);
        for (label, properties) in nodes {
            self.nodes.entry(label).or_default().extend(properties);
        }
        for (rel_type, properties) in relationships {
            self.relationships.entry(rel_type).or_default().extend(properties);
        }
        self
    }

    /// Whether no dimension is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.relationships.is_empty()
    }

    /// Sets the dimension of a vector property of a node kind.
    pub(crate) fn set_node(&mut self, label: Label, property: PropertyName, dimension: usize) {
        self.nodes.entry(label).or_default().insert(property, dimension);
    }

    /// Sets the dimension of a vector property of a relationship kind.
    pub(crate) fn set_relationship(&mut self, rel_type: RelationshipType, property: PropertyName, dimension: usize) {
        self.relationships.entry(rel_type).or_default().insert(property, dimension);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_profiles_vector_index_names_a_dimension() {
        let text = "name: x\nnodes: [{label: A, key: id, vectors: [v, w]}]\nindexes:\n  - {kind: range, label: A, properties: [id]}\n  \
                    - {kind: vector, label: A, properties: [v], vector: {dimension: 3, similarity: cosine}}\n";
        let dimensions = VectorDimensions::of_profile(&Profile::parse(text).unwrap());
        let of = |property| dimensions.of_node(&Label::parse("A").unwrap(), &PropertyName::parse(property).unwrap());
        assert_eq!((of("v"), of("w")), (Some(3), None));
    }

    #[test]
    fn dimensions_are_kept_apart_by_kind_and_survive_a_checkpoint() {
        let property = PropertyName::parse("embedding").unwrap();
        let (label, rel_type) = (Label::parse("X").unwrap(), RelationshipType::parse("X").unwrap());
        let mut dimensions = VectorDimensions::default();
        dimensions.set_node(label.clone(), property.clone(), 3);
        assert_eq!(dimensions.of_relationship(&rel_type, &property), None);
        dimensions.set_relationship(rel_type.clone(), property.clone(), 4);
        let kept: VectorDimensions = serde_json::from_str(&serde_json::to_string(&dimensions).unwrap()).unwrap();
        assert_eq!(kept, dimensions);
        assert_eq!((kept.of_node(&label, &property), kept.of_relationship(&rel_type, &property)), (Some(3), Some(4)));
    }
}
