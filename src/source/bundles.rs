//! Reads several kinds by one query.
//!
//! A separate query for each kind needs a plan for each: 5 to 10 ms on a cold cache (Neo4j 5.26.12, two cores), whatever the kind
//! holds. One query for 500 kinds is planned in half a second. So kinds that have few elements are read together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::adapt;
use super::portions::Weights;
use super::queries::Queries;
use super::reader::{PartialRows, Reader};
use super::request::Request;
use crate::error::Result;
use crate::model::element::{SourceNode, SourceRelationship};
use crate::model::kind::{ElementKind, NodeKindId, RelationshipKindId};
use crate::model::kind_rows::KindRows;
use crate::model::profile::Profile;
use crate::model::projection::Projection;

/// Reads all elements of these kinds, which are all node kinds or all relationship kinds; `None` if the elements are too heavy
/// for one read.
pub(super) async fn read(
    reader: &impl Reader,
    profile: &Profile,
    kinds: &[ElementKind],
    detail: Projection,
) -> Result<Option<Vec<KindRows>>> {
    let (mut of_nodes, mut of_relationships) = (Vec::new(), Vec::new());
    for kind in kinds {
        match kind {
            ElementKind::Node(id) => of_nodes.push(*id),
            ElementKind::Relationship(id) => of_relationships.push(*id),
        }
    }
    if of_nodes.is_empty() {
        return relationships(reader, profile, &of_relationships, detail).await;
    }
    nodes(reader, profile, &of_nodes, detail).await
}

async fn nodes(
    reader: &impl Reader,
    profile: &Profile,
    kinds: &[NodeKindId],
    detail: Projection,
) -> Result<Option<Vec<KindRows>>> {
    let request = Request::new(Queries::new(profile).node_bundle(kinds, detail));
    let PartialRows { rows, is_whole } = reader.nodes("nodes of several labels", request, Weights::answer(usize::MAX)).await?;
    if !is_whole {
        return Ok(None);
    }
    let places = places(profile);
    let wanted: BTreeSet<NodeKindId> = kinds.iter().copied().collect();
    let mut by_kind: BTreeMap<NodeKindId, Vec<SourceNode>> = BTreeMap::new();
    for row in rows {
        // A node that also carries a label of an earlier kind belongs to that kind.
        if let Some(kind) = kind_of(&places, &row.labels).filter(|kind| wanted.contains(kind)) {
            by_kind.entry(kind).or_default().push(row);
        }
    }
    let adapted = by_kind.into_iter().map(|(id, mut rows)| {
        rows.sort_by_key(|row| row.number);
        Ok(KindRows::Nodes(id, adapt::nodes(profile.node(id), rows)?))
    });
    adapted.collect::<Result<Vec<_>>>().map(Some)
}

async fn relationships(
    reader: &impl Reader,
    profile: &Profile,
    kinds: &[RelationshipKindId],
    detail: Projection,
) -> Result<Option<Vec<KindRows>>> {
    let request = Request::new(Queries::new(profile).relationship_bundle(kinds, detail));
    let doing = "relationships of several types";
    let PartialRows { rows, is_whole } = reader.typed_relationships(doing, request, Weights::answer(usize::MAX)).await?;
    if !is_whole {
        return Ok(None);
    }
    let kinds: HashMap<&str, RelationshipKindId> =
        kinds.iter().map(|id| (profile.relationship(*id).rel_type.as_str(), *id)).collect();
    let mut by_kind: BTreeMap<RelationshipKindId, Vec<SourceRelationship>> = BTreeMap::new();
    for (rel_type, row) in rows {
        if let Some(kind) = kinds.get(rel_type.as_str()) {
            by_kind.entry(*kind).or_default().push(row);
        }
    }
    let adapted = by_kind.into_iter().map(|(id, mut rows)| {
        rows.sort_by_key(|row| row.number);
        Ok(KindRows::Relationships(id, adapt::relationships(profile.relationship(id), rows)?))
    });
    adapted.collect::<Result<Vec<_>>>().map(Some)
}

fn places(profile: &Profile) -> HashMap<&str, NodeKindId> {
    profile.node_ids().map(|id| (profile.node(id).label.as_str(), id)).collect()
}

/// Returns the first kind with one of these labels.
fn kind_of(places: &HashMap<&str, NodeKindId>, labels: &[String]) -> Option<NodeKindId> {
    labels.iter().filter_map(|label| places.get(label.as_str())).min().copied()
}
