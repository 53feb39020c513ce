//! The query texts that count elements.

use super::Queries;
use crate::model::kind::ElementKind;
use crate::model::name::{Label, quoted_for_neo4j};

impl Queries<'_> {
    /// Counts the nodes that carry a label. If all groups are copied, Neo4j keeps the count, so no scan is needed.
    pub(crate) fn label_count(&self, label: &str) -> String {
        format!("MATCH (n:{}){} RETURN count(n) AS count", quoted_for_neo4j(label), self.scope().alone("n"))
    }

    /// For the nodes with this label, counts how many carry each label.
    pub(crate) fn labels_beside(&self, label: &Label) -> String {
        let scope = self.scope().alone("n");
        format!("MATCH (n:{}){scope} UNWIND labels(n) AS name RETURN name, count(*) AS count", label.quoted_for_neo4j())
    }

    /// Counts the nodes of each label by a scan of all nodes.
    pub(crate) fn scanned_labels(&self) -> String {
        format!("MATCH (n){} UNWIND labels(n) AS name RETURN name, count(*) AS count", self.scope().alone("n"))
    }

    /// Counts the relationships of each type by a scan of all relationships.
    pub(crate) fn scanned_types(&self) -> String {
        format!("MATCH ()-[e]->(){} RETURN type(e) AS name, count(*) AS count", self.scope().alone("e"))
    }

    /// Counts all nodes of the copied groups.
    pub(crate) fn all_nodes(&self) -> String {
        format!("MATCH (n){} RETURN count(n) AS count", self.scope().alone("n"))
    }

    /// Counts all relationships of the copied groups.
    pub(crate) fn all_relationships(&self) -> String {
        format!("MATCH ()-[e]->(){} RETURN count(e) AS count", self.scope().alone("e"))
    }

    /// Counts the elements of each kind, as one list in the order of the kinds. Neo4j keeps these counts: no scan is needed if all
    /// groups are copied. One row of subqueries costs a third of the same counts as parts of a UNION, for the planner as well.
    ///
    /// A node that carries the labels of two kinds counts for both, as it does in the cache. For nodes without a label, which
    /// Neo4j does not count, the result is the number of all nodes.
    pub(crate) fn counts(&self) -> String {
        let count = |kind| {
            let (pattern, _, scope) = self.counted(kind);
            format!("COUNT {{ {pattern}{scope} }}")
        };
        format!("RETURN [{}] AS counts", self.profile.kinds().into_iter().map(count).collect::<Vec<_>>().join(", "))
    }

    /// Counts the elements of one kind, as [`Self::counts`] does.
    pub(crate) fn count(&self, kind: ElementKind) -> String {
        let (pattern, counted, scope) = self.counted(kind);
        format!("MATCH {pattern}{scope} RETURN count({counted}) AS count")
    }

    fn counted(&self, kind: ElementKind) -> (String, char, String) {
        match kind {
            ElementKind::Node(id) if self.profile.node(id).unlabelled => ("(n)".to_owned(), 'n', self.scope().alone("n")),
            ElementKind::Node(id) => {
                (format!("(n:{})", self.profile.node(id).label.quoted_for_neo4j()), 'n', self.scope().alone("n"))
            }
            ElementKind::Relationship(id) => {
                let rel_type = self.profile.relationship(id).rel_type.quoted_for_neo4j();
                (format!("()-[e:{rel_type}]->()"), 'e', self.scope().alone("e"))
            }
        }
    }
}
