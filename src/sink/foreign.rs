//! Counts what a graph holds besides what was written to it: nodes and relationships of no kind of the profile, and elements
//! without a key that could find them again. No comparison by key finds them.

use std::collections::BTreeMap;

use redis::Value;

use super::{content, reply};
use crate::error::Result;
use crate::model::kind::ElementKind;
use crate::model::name::{PropertyName, RelationshipType};
use crate::model::profile::{Profile, RelationshipKind};

/// All nodes and all relationships; FalkorDB keeps both counts.
pub(super) const TOTALS: [&[u8]; 2] = [b"MATCH (n) RETURN count(n)", b"MATCH ()-[e]->() RETURN count(e)"];

/// Nodes by labels, and relationships by type: a scan of the graph.
pub(super) const BY_LABELS: &[u8] = b"MATCH (n) RETURN labels(n), count(n)";
pub(super) const BY_TYPE: &[u8] = b"MATCH ()-[e]->() RETURN type(e), count(e)";

/// Counts the elements of a kind without a key that an index could find.
pub(super) fn without_key(profile: &Profile, kind: ElementKind) -> String {
    match kind {
        ElementKind::Node(id) => {
            let node = profile.node(id);
            format!("MATCH (n:{}) WHERE {} RETURN count(n)", node.label.quoted(), unusable("n", &node.key))
        }
        ElementKind::Relationship(id) => {
            let RelationshipKind { rel_type, key, .. } = profile.relationship(id);
            format!("MATCH ()-[e:{}]->() WHERE {} RETURN count(e)", rel_type.quoted(), unusable("e", key))
        }
    }
}

/// A key of another type counts as an empty text: FalkorDB evaluates all branches of a CASE, so no branch may contain a function
/// that is only for texts. No index serves this condition, so no index can serve it wrongly.
fn unusable(variable: &str, key: &PropertyName) -> String {
    let key = format!("{variable}.{}", key.quoted());
    let text = format!("CASE WHEN typeOf({key}) = 'String' THEN {key} ELSE '' END");
    format!("size({text}) = 0 OR trim({text}) <> {text}")
}

/// The name shown for elements of a kind without a usable key.
pub(super) fn keyless_name(profile: &Profile, kind: ElementKind) -> String {
    let name = profile.kind_name(kind);
    match kind {
        ElementKind::Node(_) => format!("(:{name}) without a usable key"),
        ElementKind::Relationship(_) => format!("[:{name}] without a usable key"),
    }
}

/// Nodes of no kind among these rows.
pub(super) fn nodes(profile: &Profile, rows: &[Vec<Value>]) -> Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for row in rows {
        let labels = content::texts(reply::cell(row, 0)?)?;
        if profile.kind_of(&labels).is_none() {
            let name = if labels.is_empty() { "()".to_owned() } else { format!("(:{})", labels.join(":")) };
            *found.entry(name).or_default() += count(row)?;
        }
    }
    Ok(found)
}

/// Relationships of no kind among these rows.
pub(super) fn relationships(profile: &Profile, rows: &[Vec<Value>]) -> Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for row in rows {
        let name = content::text(reply::cell(row, 0)?)?.unwrap_or_default();
        let known = RelationshipType::parse(&name).ok().and_then(|name| profile.relationship_kind(&name));
        if known.is_none() {
            *found.entry(format!("[:{name}]")).or_default() += count(row)?;
        }
    }
    Ok(found)
}

fn count(row: &[Value]) -> Result<u64> {
    content::count(reply::cell(row, 1)?)
}
