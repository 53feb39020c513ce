//! The questions about one graph, and the parsers of their answers.

use redis::Value;

use super::parameters::push_string;
use super::{content, reply};
use crate::error::Result;
use crate::model::element::{ElementIdentity, NodeIdentity, RelationshipIdentity};
use crate::model::key::{Key, KeyPrefixes};
use crate::model::kind::{ElementKind, NodeKindId};
use crate::model::name::{Label, PropertyName};
use crate::model::profile::{NodeKind, Profile, RelationshipKind};
use crate::model::projection::Projection;
use crate::transform::comparison::Content;

/// The keys that an element of the cache can have.
pub(super) fn usable(keys: &[String]) -> Vec<Key> {
    keys.iter().filter_map(|key| Key::parse(key).ok()).collect()
}

pub(super) fn count(profile: &Profile, kind: ElementKind) -> String {
    match kind {
        ElementKind::Node(id) => format!("MATCH (n:{}) RETURN count(n)", profile.node(id).label.quoted()),
        ElementKind::Relationship(id) => {
            format!("MATCH ()-[e:{}]->() RETURN count(e)", profile.relationship(id).rel_type.quoted())
        }
    }
}

/// Elements with a key that starts with one of the prefixes. FalkorDB never uses an index for `left` of a property, so a faulty
/// index cannot change the result. `left` fails on a value that is not a text, so such values are left out. After `left`, every
/// key is a text.
fn begins(pattern: &str, key: &str) -> String {
    format!("MATCH {pattern} WHERE left(CASE WHEN typeOf({key}) = 'String' THEN {key} END, $length) IN $prefixes")
}

/// All elements with a text as their key.
fn has_text(pattern: &str, key: &str) -> String {
    format!("MATCH {pattern} WHERE typeOf({key}) = 'String'")
}

/// A sweep begins with all keys: this question compares no beginnings, which takes a fifth less time.
pub(super) fn groups(
    profile: &Profile,
    kind: ElementKind,
    with: Option<&Label>,
    beginnings: &KeyPrefixes,
    length: usize,
) -> String {
    let (pattern, key) = keyed(profile, kind, with);
    let found = if beginnings.are_all() { has_text(&pattern, &key) } else { begins(&pattern, &key) };
    format!("{found} RETURN left({key}, {length}), count(*)")
}

/// Labels and key of each node that identifies the element. For a relationship, its own key comes first.
pub(super) fn identities(profile: &Profile, kind: ElementKind, with: Option<&Label>) -> String {
    let (pattern, key) = keyed(profile, kind, with);
    let columns = identity_columns(profile, kind);
    format!("{} RETURN {columns}", begins(&pattern, &key))
}

/// Elements by key, through the key's index: labels and key of each node that identifies the element, then its properties.
pub(super) fn contents(profile: &Profile, kind: ElementKind, detail: Projection) -> String {
    match kind {
        ElementKind::Node(id) => {
            let NodeKind { label, key, vectors, .. } = profile.node(id);
            let properties = profile.projection(detail, "n", key, vectors, PropertyName::quoted);
            let (label, key) = (label.quoted(), key.quoted());
            format!("UNWIND $keys AS k MATCH (n:{label} {{{key}: k}}) RETURN labels(n), n.{key}, {properties}")
        }
        ElementKind::Relationship(id) => {
            let RelationshipKind { rel_type, key, vectors, .. } = profile.relationship(id);
            let properties = profile.projection(detail, "e", key, vectors, PropertyName::quoted);
            let (rel_type, key) = (rel_type.quoted(), key.quoted());
            let end = |node: &str| format!("labels({node}), {}", key_by_kind(profile, node));
            format!(
                "UNWIND $keys AS k MATCH ()-[e:{rel_type} {{{key}: k}}]->() RETURN e.{key}, {}, {}, {properties}",
                end("startNode(e)"),
                end("endNode(e)")
            )
        }
    }
}

/// Relationships by a node's key, through the key's index: FalkorDB is supposed to start from the node's label.
pub(super) fn attached(profile: &Profile, id: NodeKindId) -> String {
    let NodeKind { label, key, .. } = profile.node(id);
    format!("UNWIND $keys AS k MATCH (n:{} {{{}: k}})-[e]-() RETURN k, type(e), count(e)", label.quoted(), key.quoted())
}

/// The columns of an element that [`identity`] reads.
pub(super) fn identity_columns(profile: &Profile, kind: ElementKind) -> String {
    match kind {
        ElementKind::Node(id) => format!("labels(n), n.{}", profile.node(id).key.quoted()),
        ElementKind::Relationship(id) => {
            let end = |node: &str| format!("labels({node}), {}", key_by_kind(profile, node));
            format!("e.{}, {}, {}", profile.relationship(id).key.quoted(), end("startNode(e)"), end("endNode(e)"))
        }
    }
}

/// The key that a node's kind has. FalkorDB would parse and evaluate a branch for each kind for each row, so consecutive kinds
/// with the same key property share a branch, and the last of them needs none: the caller checks the labels as well.
fn key_by_kind(profile: &Profile, node: &str) -> String {
    let Some(last) = profile.nodes.last().map(|kind| &kind.key) else { return "null".to_owned() };
    let shared = profile.nodes.iter().rev().take_while(|kind| kind.key == *last).count();
    let branch = |kind: &NodeKind| {
        let mut label = Vec::new();
        push_string(&mut label, kind.label.as_str());
        format!(" WHEN hasLabels({node}, [{}]) THEN {node}.{}", String::from_utf8_lossy(&label), kind.key.quoted())
    };
    let branches: String = profile.nodes[..profile.nodes.len() - shared].iter().map(branch).collect();
    let last = format!("{node}.{}", last.quoted());
    if branches.is_empty() { last } else { format!("CASE{branches} ELSE {last} END") }
}

/// Returns nothing for a row of another kind, or without an identity.
pub(super) fn element(profile: &Profile, kind: ElementKind, row: &[Value]) -> Result<Option<(ElementIdentity, Content)>> {
    match kind {
        ElementKind::Node(id) => {
            let labels = content::texts(reply::cell(row, 0)?)?;
            let key = content::text(reply::cell(row, 1)?)?.and_then(|text| Key::parse(&text).ok());
            let Some(key) = key.filter(|_| profile.kind_of(&labels) == Some(id)) else { return Ok(None) };
            let identity = ElementIdentity::Node(NodeIdentity { label: profile.node(id).label.clone(), key });
            Ok(Some((identity, Content::of_cache(labels, content::properties(reply::cell(row, 2)?)?))))
        }
        ElementKind::Relationship(id) => {
            let rel_type = profile.relationship(id).rel_type.clone();
            let key = content::text(reply::cell(row, 0)?)?.and_then(|text| Key::parse(&text).ok());
            let (Some(key), Some(start), Some(end)) = (key, end(profile, row, 1)?, end(profile, row, 3)?) else {
                return Ok(None);
            };
            let identity = ElementIdentity::Relationship(RelationshipIdentity { rel_type, key, start, end });
            Ok(Some((identity, Content::of_cache([], content::properties(reply::cell(row, 5)?)?))))
        }
    }
}

fn end(profile: &Profile, row: &[Value], at: usize) -> Result<Option<NodeIdentity>> {
    let kind = profile.kind_of(&content::texts(reply::cell(row, at)?)?);
    let key = content::text(reply::cell(row, at + 1)?)?.and_then(|text| Key::parse(&text).ok());
    Ok(kind.zip(key).map(|(kind, key)| NodeIdentity { label: profile.node(kind).label.clone(), key }))
}

fn keyed(profile: &Profile, kind: ElementKind, with: Option<&Label>) -> (String, String) {
    let with = with.map(|label| format!(":{}", label.quoted())).unwrap_or_default();
    match kind {
        ElementKind::Node(id) => {
            let NodeKind { label, key, .. } = profile.node(id);
            (format!("(n:{}{with})", label.quoted()), format!("n.{}", key.quoted()))
        }
        ElementKind::Relationship(id) => {
            let RelationshipKind { rel_type, key, .. } = profile.relationship(id);
            (format!("()-[e:{}]->()", rel_type.quoted()), format!("e.{}", key.quoted()))
        }
    }
}

pub(super) fn count_cell(row: &[Value]) -> Result<u64> {
    u64::try_from(reply::integer(reply::cell(row, 1)?)?).map_err(|_| reply::unexpected("a count"))
}

/// Returns nothing for an element that we cannot have written: it has no identity that we could delete it by.
pub(super) fn identity(profile: &Profile, kind: ElementKind, row: &[Value]) -> Result<Option<ElementIdentity>> {
    match kind {
        ElementKind::Node(id) => {
            let node = end(profile, row, 0)?;
            let of_this_kind = node.filter(|node| node.label == profile.node(id).label);
            Ok(of_this_kind.map(ElementIdentity::Node))
        }
        ElementKind::Relationship(id) => {
            let rel_type = profile.relationship(id).rel_type.clone();
            let key = content::text(reply::cell(row, 0)?)?.and_then(|text| Key::parse(&text).ok());
            let (Some(key), Some(start), Some(end)) = (key, end(profile, row, 1)?, end(profile, row, 3)?) else {
                return Ok(None);
            };
            Ok(Some(ElementIdentity::Relationship(RelationshipIdentity { rel_type, key, start, end })))
        }
    }
}
