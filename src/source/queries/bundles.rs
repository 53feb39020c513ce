//! The query texts that read several kinds at once.

use std::collections::BTreeSet;

use super::{Queries, node_columns};
use crate::model::kind::{ElementKind, NodeKindId, RelationshipKindId};
use crate::model::name::PropertyName;
use crate::model::projection::Projection;

impl Queries<'_> {
    /// Reads all nodes that carry the label of one of these kinds, which do not include the kind of nodes without a label. The
    /// labels of a node show its kind.
    pub(crate) fn node_bundle(&self, ids: &[NodeKindId], detail: Projection) -> String {
        let scope = self.scope().alone("n");
        let vectors: BTreeSet<&PropertyName> = ids.iter().flat_map(|id| &self.profile.node(*id).vectors).collect();
        let columns = node_columns(&self.bundled("n", ids.first().map(|id| ElementKind::Node(*id)), &vectors, detail));
        format!("MATCH {}{scope} {columns}", self.labels_of(ids))
    }

    /// Reads all relationships of these kinds, with their types.
    pub(crate) fn relationship_bundle(&self, ids: &[RelationshipKindId], detail: Projection) -> String {
        let vectors: BTreeSet<&PropertyName> = ids.iter().flat_map(|id| &self.profile.relationship(*id).vectors).collect();
        let properties = self.bundled("e", ids.first().map(|id| ElementKind::Relationship(*id)), &vectors, detail);
        let columns = self.relationship_columns(&properties).replacen("RETURN ", "RETURN type(e) AS type, ", 1);
        format!("MATCH {} WHERE true{} {columns}", self.types_of(ids), self.copied_ends())
    }

    fn bundled(
        &self,
        variable: &str,
        kind: Option<ElementKind>,
        vectors: &BTreeSet<&PropertyName>,
        detail: Projection,
    ) -> String {
        let vectors: Vec<PropertyName> = vectors.iter().map(|name| (*name).clone()).collect();
        match kind {
            Some(kind) => self.projection(variable, kind, &vectors, detail),
            None => format!("properties({variable})"),
        }
    }

    fn labels_of(&self, ids: &[NodeKindId]) -> String {
        let labels: Vec<String> = ids.iter().map(|id| self.profile.node(*id).label.quoted_for_neo4j()).collect();
        format!("(n:{})", labels.join("|"))
    }

    fn types_of(&self, ids: &[RelationshipKindId]) -> String {
        let types: Vec<String> = ids.iter().map(|id| self.profile.relationship(*id).rel_type.quoted_for_neo4j()).collect();
        format!("(a)-[e:{}]->(b)", types.join("|"))
    }
}
