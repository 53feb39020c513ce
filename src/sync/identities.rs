//! What identifies a row of the source in the cache; nothing for a row that the cache cannot hold.

use crate::model::element::{
    ElementIdentity, NodeIdentity, RelationshipIdentity, SourceEndpoint, SourceNode, SourceRelationship, property,
};
use crate::model::key::Key;
use crate::model::profile::{NodeKindId, Profile, RelationshipKindId};

/// The identity of a node that was read as one of this kind.
pub(super) fn node_identity(profile: &Profile, id: NodeKindId, row: &SourceNode) -> Option<ElementIdentity> {
    let kind = profile.node(id);
    let key = Key::from_value(property(&row.properties, kind.key.as_str())).ok()?;
    Some(ElementIdentity::Node(NodeIdentity { label: kind.label.clone(), key }))
}

/// The identity of a relationship that was read as one of this kind.
pub(super) fn relationship_identity(
    profile: &Profile,
    id: RelationshipKindId,
    row: &SourceRelationship,
) -> Option<ElementIdentity> {
    let kind = profile.relationship(id);
    let key = Key::from_value(property(&row.properties, kind.key.as_str())).ok()?;
    let (start, end) = (endpoint(profile, &row.start)?, endpoint(profile, &row.end)?);
    Some(ElementIdentity::Relationship(RelationshipIdentity { rel_type: kind.rel_type.clone(), key, start, end }))
}

fn endpoint(profile: &Profile, endpoint: &SourceEndpoint) -> Option<NodeIdentity> {
    let label = profile.node(profile.kind_of(&endpoint.labels)?).label.clone();
    Some(NodeIdentity { label, key: Key::from_value(endpoint.key.as_ref()).ok()? })
}
