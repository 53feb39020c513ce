//! A profile: the labels and relationship types that are kept equal, their keys, timestamps, vectors and indices. It is data; the
//! built-in profile is `config/profiles/graphiti.yaml`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::follow_rule::FollowRule;
use super::index::{IndexDefinition, IndexKind, IndexTarget};
use super::kind::{ElementKind, KindName, NodeKindId, RelationshipKindId, Step};
use super::kind_rules::Discovery;
use super::kind_rules::PropertyRules;
use super::name::{Label, PropertyName, RelationshipType};
pub(crate) use super::profile_error::ProfileError;
use super::projection::Projection;
use super::routes::Routes;

/// The most kinds for which each has its own questions and indices.
const FEW_KINDS: usize = 16;

/// The built-in profiles' texts.
const GRAPHITI: &str = include_str!("../../config/profiles/graphiti.yaml");
const GENERIC: &str = include_str!("../../config/profiles/generic.yaml");

/// The complete profile of a graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The profile's name in reports.
    pub name: String,
    /// The property that holds an element's group; a filter and a graph for each group use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<PropertyName>,
    /// The groups that are copied; if empty, all of them. A pipeline's filter sets them, not the profile's file, but they also
    /// decide the content of the cache, so they are part of the fingerprint.
    #[serde(default, skip_deserializing, skip_serializing_if = "BTreeSet::is_empty")]
    pub only_groups: BTreeSet<String>,
    /// Maps groups to graphs, if each group has its own graph. The pipeline's target sets it, not the profile's file. The
    /// fingerprint holds only whether it is set; the checkpoint stores the rest.
    #[serde(
        default,
        rename = "graph_per_group",
        skip_deserializing,
        skip_serializing_if = "Option::is_none",
        serialize_with = "as_flag"
    )]
    pub routes: Option<Routes>,
    /// Node kinds. If a node carries several of their labels, the first one decides its kind.
    #[serde(default)]
    pub nodes: Vec<NodeKind>,
    /// All kinds of relationships.
    #[serde(default)]
    pub relationships: Vec<RelationshipKind>,
    /// Elements to read again beside an element that was found changed.
    #[serde(default)]
    pub follow: Vec<FollowRule>,
    /// Index definitions of the cache, in the order in which they are made.
    #[serde(default)]
    pub indexes: Vec<IndexDefinition>,
    /// Whether the source's range, full-text and vector indices are made in the cache as well. This does not decide the content
    /// of the cache, so it is not part of the fingerprint.
    #[serde(default, skip_serializing)]
    pub mirror_indexes: bool,
    /// The rules that find the kinds in the source, for a graph with labels and types that are not named here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) discover: Option<Discovery>,
}

/// The property or number that identifies an element within its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Identity {
    /// The text of its key property.
    #[default]
    Property,
    /// Its number in the source, which the cache holds in the key property. Neo4j gives the numbers of deleted elements to new
    /// ones: these then show as changed.
    ElementNumber,
}

impl Identity {
    fn is_property(&self) -> bool {
        *self == Self::Property
    }
}

/// A node kind: nodes that carry its identity label and no label of an earlier kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeKind {
    /// The identity label of the kind.
    pub label: Label,
    /// The property that identifies a node within its kind.
    pub key: PropertyName,
    /// The content of that property.
    #[serde(default, skip_serializing_if = "Identity::is_property")]
    pub(crate) identity: Identity,
    /// Whether these are the nodes that have no label in the source: only the cache has the identity label.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unlabelled: bool,
    /// The rules for properties that are left out or renamed.
    #[serde(default, skip_serializing_if = "PropertyRules::is_empty")]
    pub(crate) properties: PropertyRules,
    /// Properties that change when a row is written and that the source has an index on.
    #[serde(default)]
    pub timestamps: Vec<PropertyName>,
    /// Properties that the cache holds as vectors.
    #[serde(default)]
    pub vectors: Vec<PropertyName>,
}

/// A relationship kind: all relationships of one type between nodes of the profile's kinds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelationshipKind {
    /// The type of the relationships.
    #[serde(rename = "type")]
    pub rel_type: RelationshipType,
    /// The property that, with both endpoints, identifies a relationship within its type.
    pub key: PropertyName,
    /// The same as [`NodeKind::identity`].
    #[serde(default, skip_serializing_if = "Identity::is_property")]
    pub(crate) identity: Identity,
    /// The same as [`NodeKind::properties`].
    #[serde(default, skip_serializing_if = "PropertyRules::is_empty")]
    pub(crate) properties: PropertyRules,
    /// The same as [`NodeKind::timestamps`].
    #[serde(default)]
    pub timestamps: Vec<PropertyName>,
    /// The same as [`NodeKind::vectors`].
    #[serde(default)]
    pub vectors: Vec<PropertyName>,
}

/// The digest in a checkpoint by which a changed profile is recognised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProfileFingerprint(String);

/// The fingerprint holds whether there are routes, and nothing else of them.
fn as_flag<S: serde::Serializer>(routes: &Option<Routes>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(routes.is_some())
}

impl Profile {
    /// The built-in profile for graphs of graphiti-core.
    pub fn graphiti() -> Result<Self, ProfileError> {
        Self::parse(GRAPHITI)
    }

    /// The built-in profile for any other graph.
    pub fn generic() -> Result<Self, ProfileError> {
        Self::parse(GENERIC)
    }

    /// Parses and checks a profile.
    pub(crate) fn parse(text: &str) -> Result<Self, ProfileError> {
        let profile: Profile = serde_yaml::from_str(text)?;
        profile.check()?;
        Ok(profile)
    }

    /// The same profile for only these groups; if empty, for all.
    pub(crate) fn limited_to(self, groups: &BTreeSet<String>) -> Result<Self, ProfileError> {
        if self.group.is_none() && !groups.is_empty() {
            return Err(ProfileError::NoGroups(self.name));
        }
        Ok(Self { only_groups: groups.clone(), ..self })
    }

    /// The same profile with a graph for each group.
    pub fn with_a_graph_for_each_group(self, routes: Routes) -> Result<Self, ProfileError> {
        if self.group.is_none() {
            return Err(ProfileError::NoGroups(self.name));
        }
        Ok(Self { routes: Some(routes), ..self })
    }

    fn check(&self) -> Result<(), ProfileError> {
        match (&self.discover, self.nodes.is_empty() && self.relationships.is_empty()) {
            (Some(discover), true) => return discover.check(),
            (Some(_), false) => return Err(ProfileError::NamedAndDiscovered),
            (None, true) => return Err(ProfileError::Empty),
            (None, false) => {}
        }
        self.check_kinds()
    }

    /// Checks the kinds, whether named or found.
    pub(super) fn check_kinds(&self) -> Result<(), ProfileError> {
        let ranges = self.indexes.iter().filter(|index| index.kind == IndexKind::Range);
        let indexed: BTreeSet<(&IndexTarget, &PropertyName)> =
            ranges.flat_map(|index| index.properties.iter().map(|name| (&index.on, name))).collect();
        let mut seen = BTreeSet::new();
        let labels = self.nodes.iter().map(|k| (IndexTarget::Label(k.label.clone()), &k.key));
        let types = self.relationships.iter().map(|k| (IndexTarget::Type(k.rel_type.clone()), &k.key));
        for (target, key) in labels.chain(types) {
            if !seen.insert(target.to_string()) {
                return Err(ProfileError::Repeated(target.to_string()));
            }
            if !indexed.contains(&(&target, key)) {
                return Err(ProfileError::KeyNotIndexed(format!("{target}.{key}")));
            }
        }
        if let Some(unsound) = self.indexes.iter().find(|index| !index.is_sound()) {
            return Err(ProfileError::UnsoundIndex(unsound.on.to_string()));
        }
        self.follow.iter().try_for_each(|rule| self.check_follow(rule))
    }

    pub(super) fn check_follow(&self, rule: &FollowRule) -> Result<(), ProfileError> {
        let (label, rel_type) = match rule {
            FollowRule::Relationships { from, rel_type, .. } | FollowRule::ListedRelationships { from, rel_type, .. } => {
                (from, rel_type)
            }
            FollowRule::ListedNodes { from_type, label, .. } => (label, from_type),
        };
        let node = self.node_kind(label).ok_or_else(|| ProfileError::FollowsUnknown(label.to_string()))?;
        let relationship = self.relationship_kind(rel_type).ok_or_else(|| ProfileError::FollowsUnknown(rel_type.to_string()))?;
        let numbered = |kind: ElementKind| self.identity(kind) == Identity::ElementNumber;
        match [ElementKind::Node(node), ElementKind::Relationship(relationship)].into_iter().find(|kind| numbered(*kind)) {
            Some(kind) => Err(ProfileError::FollowsNumbered(self.kind_name(kind).to_owned())),
            None => Ok(()),
        }
    }

    pub(super) fn has_range_index(&self, target: &IndexTarget, key: &PropertyName) -> bool {
        self.indexes.iter().any(|index| index.kind == IndexKind::Range && index.on == *target && index.properties.contains(key))
    }

    /// The node kind at a place.
    pub fn node(&self, id: NodeKindId) -> &NodeKind {
        &self.nodes[id.0]
    }

    /// The relationship kind at a place.
    pub(crate) fn relationship(&self, id: RelationshipKindId) -> &RelationshipKind {
        &self.relationships[id.0]
    }

    /// Places of all node kinds, in identity order.
    pub fn node_ids(&self) -> impl Iterator<Item = NodeKindId> + use<> {
        (0..self.nodes.len()).map(NodeKindId)
    }

    /// Places of all relationship kinds.
    pub fn relationship_ids(&self) -> impl Iterator<Item = RelationshipKindId> + use<> {
        (0..self.relationships.len()).map(RelationshipKindId)
    }

    /// Whether discovery leaves nodes out on purpose. Queries for relationships then skip those with such an end.
    pub(crate) fn leaves_nodes_out(&self) -> bool {
        self.discover.as_ref().is_some_and(|discover| !discover.takes_all_nodes())
    }

    /// Whether the many kinds require that small ones are handled together: a question for each would take minutes.
    pub(crate) fn has_many_kinds(&self) -> bool {
        self.nodes.len() + self.relationships.len() > FEW_KINDS
    }

    /// All kinds, nodes first: a relationship needs both its endpoints.
    pub fn kinds(&self) -> Vec<ElementKind> {
        let nodes = self.node_ids().map(ElementKind::Node);
        nodes.chain(self.relationship_ids().map(ElementKind::Relationship)).collect()
    }

    /// The node kind with this identity label.
    pub(crate) fn node_kind(&self, label: &Label) -> Option<NodeKindId> {
        self.node_ids().find(|id| self.node(*id).label == *label)
    }

    /// The relationship kind of this type.
    pub(crate) fn relationship_kind(&self, rel_type: &RelationshipType) -> Option<RelationshipKindId> {
        self.relationship_ids().find(|id| self.relationship(*id).rel_type == *rel_type)
    }

    /// The name of a kind: its label or type.
    pub(crate) fn kind_name(&self, kind: ElementKind) -> &str {
        match kind {
            ElementKind::Node(id) => self.node(id).label.as_str(),
            ElementKind::Relationship(id) => self.relationship(id).rel_type.as_str(),
        }
    }

    /// The kind as a step of a pass.
    pub(crate) fn step(&self, kind: ElementKind) -> Step {
        match kind {
            ElementKind::Node(id) => Step::Nodes(self.node(id).label.clone()),
            ElementKind::Relationship(id) => Step::Relationships(self.relationship(id).rel_type.clone()),
        }
    }

    /// The label or the type, with the distinction.
    pub(crate) fn name_of(&self, kind: ElementKind) -> KindName<'_> {
        match kind {
            ElementKind::Node(id) => KindName::Label(self.node(id).label.as_str()),
            ElementKind::Relationship(id) => KindName::Type(self.relationship(id).rel_type.as_str()),
        }
    }

    /// The identity of a kind's elements.
    pub(crate) fn identity(&self, kind: ElementKind) -> Identity {
        match kind {
            ElementKind::Node(id) => self.node(id).identity,
            ElementKind::Relationship(id) => self.relationship(id).identity,
        }
    }

    /// The property that identifies the elements of a kind.
    pub(crate) fn key(&self, kind: ElementKind) -> &PropertyName {
        match kind {
            ElementKind::Node(id) => &self.node(id).key,
            ElementKind::Relationship(id) => &self.relationship(id).key,
        }
    }

    /// The timestamps of a kind.
    pub(crate) fn timestamps(&self, kind: ElementKind) -> &[PropertyName] {
        match kind {
            ElementKind::Node(id) => &self.node(id).timestamps,
            ElementKind::Relationship(id) => &self.relationship(id).timestamps,
        }
    }

    /// The properties of a kind that the cache holds as vectors.
    pub(crate) fn vectors(&self, kind: ElementKind) -> &[PropertyName] {
        match kind {
            ElementKind::Node(id) => &self.node(id).vectors,
            ElementKind::Relationship(id) => &self.relationship(id).vectors,
        }
    }

    /// The kind of a node with these labels: the first in the profile with its label among them, or the kind of nodes without
    /// labels.
    pub(crate) fn kind_of(&self, labels: &[String]) -> Option<NodeKindId> {
        if labels.is_empty() {
            return self.node_ids().find(|id| self.node(*id).unlabelled);
        }
        self.node_ids().find(|id| labels.iter().any(|label| label == self.node(*id).label.as_str()))
    }

    /// The properties that [`Projection::Vectors`] reads besides the key: the vectors, and the group if each group has its own graph.
    fn with_group(&self, vectors: &[PropertyName]) -> Vec<PropertyName> {
        let group = self.group.iter().filter(|_| self.routes.is_some());
        vectors.iter().chain(group).cloned().collect()
    }

    /// The Cypher for the properties read of an element as a map, as [`Projection::projection`].
    pub(crate) fn projection(
        &self,
        detail: Projection,
        variable: &str,
        key: &PropertyName,
        vectors: &[PropertyName],
        quoted: fn(&PropertyName) -> String,
    ) -> String {
        match detail {
            Projection::Vectors => detail.projection(variable, key, &self.with_group(vectors), quoted),
            Projection::Whole | Projection::WithoutVectors | Projection::Key => detail.projection(variable, key, vectors, quoted),
        }
    }

    /// Labels of the kinds before this one: a node that carries one of them belongs to that kind, not to this one.
    pub(crate) fn earlier_labels(&self, id: NodeKindId) -> impl Iterator<Item = &Label> {
        self.nodes[..id.0].iter().map(|kind| &kind.label)
    }

    /// A digest of everything that decides the content of the cache.
    pub fn fingerprint(&self) -> ProfileFingerprint {
        // Serialising plain data to JSON fails only for maps with keys that are not strings, and there are none.
        let canonical = serde_json::to_vec(self).unwrap_or_default();
        let digest = Sha256::digest(&canonical);
        ProfileFingerprint(digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_profile_is_sound_and_has_thirteen_indices() {
        let profile = Profile::graphiti().unwrap();
        assert_eq!(profile.nodes.len(), 4);
        assert_eq!(profile.relationships.len(), 5);
        assert_eq!(profile.indexes.len(), 13);
        assert_eq!(profile.indexes[9].stopwords.as_ref().map(Vec::len), Some(33));
    }

    #[test]
    fn the_first_kind_whose_label_is_carried_names_a_node() {
        let profile = Profile::graphiti().unwrap();
        let labels = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(profile.kind_of(&labels(&["Person", "Episodic", "Entity"])), Some(NodeKindId(0)));
        assert_eq!(profile.kind_of(&labels(&["Saga"])), Some(NodeKindId(3)));
        assert_eq!(profile.kind_of(&labels(&["Person"])), None);
        assert_eq!(profile.kind_of(&[]), None);
    }

    #[test]
    fn a_changed_profile_has_another_fingerprint() {
        let profile = Profile::graphiti().unwrap();
        let mut other = profile.clone();
        other.nodes[0].vectors.clear();
        assert_ne!(profile.fingerprint(), other.fingerprint());
        assert_eq!(profile.fingerprint(), Profile::graphiti().unwrap().fingerprint());
    }

    #[test]
    fn groups_are_chosen_by_the_pipeline_and_change_the_fingerprint() {
        let groups = BTreeSet::from(["a".to_owned()]);
        let all = Profile::graphiti().unwrap();
        let some = all.clone().limited_to(&groups).unwrap();
        assert_ne!(some.fingerprint(), all.fingerprint());
        assert_eq!(all.clone().limited_to(&BTreeSet::new()).unwrap(), all);
        assert!(matches!(Profile { group: None, ..all }.limited_to(&groups), Err(ProfileError::NoGroups(_))));
        assert!(Profile::parse("name: x\nonly_groups: [a]\nnodes: []\n").is_err());
    }

    #[test]
    fn a_key_without_an_index_is_refused() {
        let text = "name: x\nnodes: [{label: A, key: id}]\n";
        assert!(matches!(Profile::parse(text), Err(ProfileError::KeyNotIndexed(_))));
    }
}
