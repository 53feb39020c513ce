//! The query texts that ask indices what kinds of values they hold.

use crate::model::index::IndexTarget;
use crate::model::name::PropertyName;

/// A property of a label's nodes or of a type's relationships that has a range index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeekTarget {
    pattern: String,
    property: String,
}

impl SeekTarget {
    pub(crate) fn new(target: &IndexTarget, property: &PropertyName) -> Self {
        let pattern = match target {
            IndexTarget::Label(label) => format!("(x:{})", label.quoted_for_neo4j()),
            IndexTarget::Type(rel_type) => format!("()-[x:{}]->()", rel_type.quoted_for_neo4j()),
        };
        Self { pattern, property: property.quoted_for_neo4j() }
    }
}

/// Finds the targets that have a number as a value, by their places in the list. Each part is an index seek.
pub(crate) fn with_numbers(indexed: &[SeekTarget]) -> String {
    with_values(indexed, &[&format!(">= {}", i64::MIN)])
}

/// Finds the targets with a value that is text in the cache, so a text or a time, by their places in the list, some more than
/// once. Each part is an index seek.
pub(crate) fn with_texts(indexed: &[SeekTarget]) -> String {
    let first = [
        "STARTS WITH ''",
        ">= date('-999999999-01-01')",
        ">= localdatetime('-999999999-01-01T00:00:00')",
        ">= datetime('-999999999-01-01T00:00:00Z')",
        ">= localtime('00:00')",
        ">= time('00:00:00+18:00')",
    ];
    with_values(indexed, &first)
}

fn with_values(indexed: &[SeekTarget], conditions: &[&str]) -> String {
    let parts = indexed.iter().enumerate().flat_map(|(place, SeekTarget { pattern, property })| {
        conditions
            .iter()
            .map(move |condition| format!("MATCH {pattern} WHERE x.{property} {condition} RETURN {place} AS place LIMIT 1"))
    });
    parts.collect::<Vec<_>>().join(" UNION ALL ")
}
