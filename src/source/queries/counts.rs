//! The texts that count elements.

use super::Queries;
use crate::model::kind::ElementKind;
use crate::model::name::{Label, quoted_for_neo4j};

impl Queries<'_> {
    /// How many nodes carry a label. Where all groups are copied, the count is kept by Neo4j and read without a scan.
    pub(crate) fn label_count(&self, label: &str) -> String {
        format!("MATCH (n:{}){} RETURN count(n) AS count", quoted_for_neo4j(label), self.scope().alone("n"))
    }

    /// How many of the nodes that carry a label carry each label.
    pub(crate) fn labels_beside(&self, label: &Label) -> String {
        let scope = self.scope().alone("n");
        format!("MATCH (n:{}){scope} UNWIND labels(n) AS name RETURN name, count(*) AS count", label.quoted_for_neo4j())
    }

    /// How many nodes carry each label, by a scan of all nodes.
    pub(crate) fn scanned_labels(&self) -> String {
        format!("MATCH (n){} UNWIND labels(n) AS name RETURN name, count(*) AS count", self.scope().alone("n"))
    }

    /// How many relationships there are of each type, by a scan of all of them.
    pub(crate) fn scanned_types(&self) -> String {
        format!("MATCH ()-[e]->(){} RETURN type(e) AS name, count(*) AS count", self.scope().alone("e"))
    }

    /// How many nodes there are.
    pub(crate) fn all_nodes(&self) -> String {
        format!("MATCH (n){} RETURN count(n) AS count", self.scope().alone("n"))
    }

    /// How many relationships there are.
    pub(crate) fn all_relationships(&self) -> String {
        format!("MATCH ()-[e]->(){} RETURN count(e) AS count", self.scope().alone("e"))
    }

    /// How many elements of each kind there are, by their place among all kinds. Neo4j keeps these counts: no scan, where all
    /// groups are copied.
    ///
    /// A node that carries the labels of two kinds counts for both, as it does in the cache. In the place of nodes without a label,
    /// which nobody has counted, stand all nodes.
    pub(crate) fn counts(&self) -> String {
        let count = |(place, kind)| {
            let (pattern, counted, scope) = self.counted(kind);
            format!("MATCH {pattern}{scope} RETURN {place} AS place, count({counted}) AS count")
        };
        self.profile.kinds().into_iter().enumerate().map(count).collect::<Vec<_>>().join(" UNION ALL ")
    }

    /// As [`Self::counts`], for one kind.
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
