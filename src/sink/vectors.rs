//! Converts the lists that a bulk load left in the place of vectors: its binary form has no vectors.
//!
//! Converts in ranges of internal ids, which FalkorDB seeks (4.16.3: `Node By Label and ID Scan`, `NodeByIdSeek`), so that each
//! statement holds the server's lock only briefly. Lists are found by their type, so repeating a range does no harm.

use std::ops::Range;
use std::time::Duration;

use super::bulk::BulkLoader;
use super::fence::fenced_command;
use super::graph::write_query;
use super::reply;
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint;
use crate::model::name::{Label, PropertyName, RelationshipType};
use crate::model::profile::{Profile, RelationshipKind};

/// The ids of one statement, and the most relationships of one: about 30 ms of lock with vectors of 1,024 numbers.
pub const CONVERTED_AT_ONCE: u64 = 2_000;

/// The time limit of a statement. Each statement of a hub's range visits the hub's relationships again.
const CONVERT_TIMEOUT: Duration = Duration::from_secs(60);

/// Converts a property of the nodes of a label with ids in `$a..$b`.
fn convert_nodes(label: &Label, property: &PropertyName) -> String {
    let (label, property) = (label.quoted(), property.quoted());
    format!(
        "MATCH (n:{label}) WHERE id(n) >= $a AND id(n) < $b AND typeOf(n.{property}) = 'List' SET n.{property} = vecf32(n.{property})"
    )
}

/// Converts a property of relationships of a type with start nodes' ids in `$a..$b`, but only a limited number at a time: a hub
/// may have any number of them.
fn convert_relationships(rel_type: &RelationshipType, property: &PropertyName) -> String {
    let (rel_type, property) = (rel_type.quoted(), property.quoted());
    format!(
        "MATCH (n)-[e:{rel_type}]->() WHERE id(n) >= $a AND id(n) < $b AND typeOf(e.{property}) = 'List' \
         WITH e LIMIT {CONVERTED_AT_ONCE} SET e.{property} = vecf32(e.{property})"
    )
}

/// A statement with its range of ids.
pub fn with_range(ids: &Range<u64>, statement: &str) -> String {
    format!("CYPHER a={} b={} {statement}", ids.start, ids.end)
}

/// The statements for the nodes of a profile. A label's statement also converts the nodes of other kinds that carry the label, as
/// they are encoded.
pub fn node_statements(profile: &Profile) -> Vec<String> {
    profile.nodes.iter().flat_map(|kind| kind.vectors.iter().map(|name| convert_nodes(&kind.label, name))).collect()
}

/// The statements for the relationships of a kind.
pub fn relationship_statements(kind: &RelationshipKind) -> Vec<String> {
    kind.vectors.iter().map(|name| convert_relationships(&kind.rel_type, name)).collect()
}

impl BulkLoader {
    /// Converts all lists in the places of vectors on the nodes of these ids, and returns their number.
    pub async fn convert_nodes(&mut self, profile: &Profile, ids: Range<u64>) -> Result<u64> {
        self.convert_ranges(&node_statements(profile), ids).await
    }

    /// As [`Self::convert_nodes`], for the relationships of a kind that start at the nodes of these ids.
    pub async fn convert_relationships(&mut self, kind: &RelationshipKind, ids: Range<u64>) -> Result<u64> {
        self.convert_ranges(&relationship_statements(kind), ids).await
    }

    async fn convert_ranges(&mut self, statements: &[String], all: Range<u64>) -> Result<u64> {
        let (mut converted, mut start) = (0, all.start);
        while start < all.end && !statements.is_empty() {
            let ids = start..all.end.min(start + CONVERTED_AT_ONCE);
            start = ids.end;
            for statement in statements {
                converted += self.convert(&with_range(&ids, statement)).await?;
                failpoint!("vectors-range");
            }
        }
        Ok(converted)
    }

    /// Repeats a statement until nothing is left to convert: only a statement for relationships ever needs it.
    async fn convert(&mut self, text: &str) -> Result<u64> {
        let mut converted = 0;
        loop {
            let command = write_query(self.stage.as_str(), text.as_bytes());
            let (connection, ownership) = (&mut self.connection, &self.ownership);
            let answer = fenced_command(connection, "convert vectors", ownership, command, CONVERT_TIMEOUT).await;
            let answer = answer.map_err(refused)?;
            let set = reply::statistic(&answer, "Properties set");
            converted += set;
            if set < CONVERTED_AT_ONCE {
                return Ok(converted);
            }
        }
    }
}

/// The statement names no row, so no row is at fault if FalkorDB refuses it.
fn refused(error: Error) -> Error {
    match error.kind() {
        ErrorKind::CacheRefused => Error::caused(ErrorKind::CacheProtocol, "FalkorDB cannot convert vectors", error),
        _ => error,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_vector_of_the_profile_has_its_statement() {
        let profile = Profile::graphiti().unwrap();
        let mut statements = node_statements(&profile);
        statements.extend(profile.relationships.iter().flat_map(relationship_statements));
        assert_eq!(
            with_range(&(0..5), &statements[0]),
            "CYPHER a=0 b=5 MATCH (n:`Entity`) WHERE id(n) >= $a AND id(n) < $b AND typeOf(n.`name_embedding`) = 'List' \
             SET n.`name_embedding` = vecf32(n.`name_embedding`)"
        );
        assert!(statements.iter().any(|text| text.contains("-[e:`RELATES_TO`]->() WHERE id(n) >= $a")));
        assert_eq!(statements.len(), 3);
    }
}
