//! The query texts that find changes by timestamps.

use super::super::expressions;
use super::Queries;
use crate::model::kind::{ElementKind, NodeKindId, RelationshipKindId};
use crate::model::profile::RelationshipKind;

impl Queries<'_> {
    /// Reads the keys of nodes of a kind written since `$zoned` (`$local` for values without a zone), in order: `$after`,
    /// `$limit`. After the keys come the numbers of nodes with no key that a page can reach.
    pub(super) fn changed_node_keys(&self, id: NodeKindId) -> Option<String> {
        let kind = self.profile.node(id);
        self.changed_in(
            ElementKind::Node(id),
            &expressions::node(kind, None),
            "n",
            (&expressions::key("n", kind.identity, &kind.key), &self.scope().later("n")),
        )
    }

    /// As [`Self::changed_node_keys`], for a relationship kind.
    pub(super) fn changed_relationship_keys(&self, id: RelationshipKindId) -> Option<String> {
        let RelationshipKind { rel_type, key, identity, .. } = self.profile.relationship(id);
        self.changed_in(
            ElementKind::Relationship(id),
            &format!("()-[e:{}]->()", rel_type.quoted_for_neo4j()),
            "e",
            (&expressions::key("e", *identity, key), &self.scope().later("e")),
        )
    }

    /// One index seek for each timestamp and value type (zoned and local values do not compare, so each needs its own), then the
    /// order. The key's condition comes after them, or the planner would walk the key's index and filter.
    ///
    /// The groups come after all of them, for the same reason.
    fn changed_in(&self, kind: ElementKind, pattern: &str, variable: &str, (key, scope): (&str, &str)) -> Option<String> {
        let timestamps = self.profile.timestamps(kind);
        // The text of all timestamps: a key is read again at once when one of them moves. A value that is not a time may have any
        // type, and `toString` aborts the query if it meets a list.
        let stamp = timestamps
            .iter()
            .map(|timestamp| format!("coalesce(toStringOrNull({variable}.{}), '')", timestamp.quoted_for_neo4j()))
            .collect::<Vec<_>>()
            .join(" + '|' + ");
        let seeks: Vec<String> = timestamps
            .iter()
            .flat_map(|timestamp| ["$zoned", "$local"].map(|since| (timestamp, since)))
            .map(|(timestamp, since)| {
                let (hint, timestamp) = (expressions::seek(self.profile, kind, timestamp), timestamp.quoted_for_neo4j());
                format!(
                    "MATCH {pattern}{hint} WHERE {variable}.{timestamp} > {since}{scope} \
                     WITH {variable}, CASE WHEN {key} IS :: STRING NOT NULL AND {key} <> '' THEN {key} END AS k \
                     RETURN k, CASE WHEN k IS NULL THEN id({variable}) END AS number, {stamp} AS s"
                )
            })
            .collect();
        if seeks.is_empty() {
            return None;
        }
        Some(format!(
            "CALL () {{ {} }} WITH DISTINCT k, number, s WHERE k > $after OR number IS NOT NULL \
             RETURN k, number, s ORDER BY k LIMIT $limit",
            seeks.join(" UNION ")
        ))
    }
}
