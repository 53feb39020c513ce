//! Visits all elements of a kind, a bounded part at a time.
//!
//! FalkorDB can seek ranges of its own ids, but no other order of a kind's elements: a range over text on an indexed property
//! gives wrong answers. A kind that fits into one answer is read at once.

use std::ops::Range;

use redis::Value;

use super::graph_view::{ASKED_TOGETHER, GraphView};
use super::questions::{count, identity, identity_columns};
use super::{content, reply};
use crate::error::Result;
use crate::model::kind::ElementKind;
use crate::model::profile::{Identity, Profile, RelationshipKind};
use crate::sync::{GraphScanCursor, ScannedElement};

/// The most elements of a kind that is read at once: a tenth of a second.
const WHOLE: u64 = 10_000;

/// The ids of one range: their elements, or the relationships that begin at them, arrive in a tenth of a second.
const IDS: u64 = 5_000;

/// The approximate limit of elements in one answer: some megabytes, and below the result sizes to which operators limit FalkorDB.
const ANSWER: u64 = 20_000;

impl GraphView {
    /// Visits one part of the elements of a kind that have an identity. Returns the beginning of the next part; nothing at the
    /// end.
    pub(super) async fn visit_part(
        &mut self,
        kind: ElementKind,
        from: GraphScanCursor,
        visit: &mut (dyn FnMut(ElementKind, ScannedElement) + Send),
    ) -> Result<Option<GraphScanCursor>> {
        let mut place = from;
        if place == GraphScanCursor::default() {
            let number = self.single_count("count elements", &count(self.profile(), kind)).await?;
            if number == 0 {
                return Ok(None);
            }
            if number <= WHOLE {
                let text = whole(self.profile(), kind);
                return self.visit(kind, &text, visit).await.map(|_| None);
            }
            place.last = self.single_count("find the last id", "MATCH (n) RETURN max(id(n))").await?;
        }
        let text = part(self.profile(), kind, &(place.node..place.node + IDS), place.skip);
        let found = self.visit(kind, &text, visit).await?;
        // A hub has more relationships than fit into an answer, so the relationships of one range come in parts.
        if found == ANSWER {
            return Ok(Some(GraphScanCursor { skip: place.skip + found, ..place }));
        }
        let node = place.node + IDS;
        Ok((node <= place.last).then_some(GraphScanCursor { node, skip: 0, ..place }))
    }

    async fn single_count(&mut self, doing: &str, text: &str) -> Result<u64> {
        let answers = self.ask(doing, &[text.as_bytes().to_vec()]).await?;
        Ok(answers.into_iter().next().map(reply::single_count).transpose()?.unwrap_or(0))
    }

    /// Visits every element of these kinds that has an identity. The kinds have few elements: all of a kind fit into one answer.
    pub(super) async fn visit_bundle(
        &mut self,
        kinds: &[ElementKind],
        visit: &mut (dyn FnMut(ElementKind, ScannedElement) + Send),
    ) -> Result<()> {
        for kinds in kinds.chunks(ASKED_TOGETHER) {
            let texts: Vec<String> = kinds.iter().map(|kind| whole(self.profile(), *kind)).collect();
            let answers = self.compact_answers("scan elements", &texts).await?;
            for (kind, rows) in kinds.iter().zip(answers) {
                for row in &rows {
                    if let Some(keyed) = keyed(self.profile(), *kind, row)? {
                        visit(*kind, keyed);
                    }
                }
            }
        }
        Ok(())
    }

    /// Visits the elements that a question finds. Returns their number, including those without an identity.
    async fn visit(
        &mut self,
        kind: ElementKind,
        text: &str,
        visit: &mut (dyn FnMut(ElementKind, ScannedElement) + Send),
    ) -> Result<u64> {
        let rows = self.compact_rows("scan elements", text.as_bytes()).await?;
        for row in &rows {
            if let Some(keyed) = keyed(self.profile(), kind, row)? {
                visit(kind, keyed);
            }
        }
        Ok(rows.len() as u64)
    }
}

fn keyed(profile: &Profile, kind: ElementKind, row: &[Value]) -> Result<Option<ScannedElement>> {
    let Some(identity) = identity(profile, kind, row)? else { return Ok(None) };
    let labels = match kind {
        ElementKind::Node(_) => content::texts(reply::cell(row, 0)?)?,
        ElementKind::Relationship(_) => Vec::new(),
    };
    Ok(Some(ScannedElement { identity, labels, graph: None }))
}

fn whole(profile: &Profile, kind: ElementKind) -> String {
    let columns = identity_columns(profile, kind);
    match kind {
        ElementKind::Node(id) => format!("MATCH (n:{}) RETURN {columns}", profile.node(id).label.quoted()),
        ElementKind::Relationship(id) => {
            let RelationshipKind { rel_type, key, identity, .. } = profile.relationship(id);
            // Without a condition that the key's index serves, FalkorDB visits all nodes of the graph for each type.
            let indexed = match identity {
                Identity::ElementNumber => format!(" WHERE e.{} > ''", key.quoted()),
                Identity::Property => String::new(),
            };
            format!("MATCH ()-[e:{}]->(){indexed} RETURN {columns}", rel_type.quoted())
        }
    }
}

fn part(profile: &Profile, kind: ElementKind, ids: &Range<u64>, skip: u64) -> String {
    let columns = identity_columns(profile, kind);
    let range = format!("CYPHER a={} b={} ", ids.start, ids.end);
    let rest = format!("WHERE id(n) >= $a AND id(n) < $b RETURN {columns} SKIP {skip} LIMIT {ANSWER}");
    match kind {
        ElementKind::Node(id) => format!("{range}MATCH (n:{}) {rest}", profile.node(id).label.quoted()),
        ElementKind::Relationship(id) => {
            format!("{range}MATCH (n)-[e:{}]->() {rest}", profile.relationship(id).rel_type.quoted())
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::kind::{NodeKindId, RelationshipKindId};

    #[test]
    fn ranges_are_of_node_ids() {
        let profile = Profile::graphiti().unwrap();
        assert_eq!(
            part(&profile, ElementKind::Node(NodeKindId(0)), &(5..9), 0),
            "CYPHER a=5 b=9 MATCH (n:`Entity`) WHERE id(n) >= $a AND id(n) < $b RETURN labels(n), n.`uuid` SKIP 0 LIMIT 20000"
        );
        let relationships = part(&profile, ElementKind::Relationship(RelationshipKindId(0)), &(5..9), 7);
        assert!(relationships.starts_with("CYPHER a=5 b=9 MATCH (n)-[e:`RELATES_TO`]->() WHERE id(n) >= $a"), "{relationships}");
        assert!(relationships.ends_with("SKIP 7 LIMIT 20000"), "{relationships}");
    }
}
