//! Finds elements that the cache cannot hold by the reason: their key, or a label. They are few, so each of these questions is
//! asked only if something shows that the answer has changed.

use std::collections::BTreeMap;

use super::columns::column;
use super::expressions::{self, between_kinds, not_of_an_earlier_kind};
use super::queries::Queries;
use super::reader::Reader;
use super::request::Request;
use super::scope::Scope;
use super::tallies::FEW;
use crate::error::Result;
use crate::model::element::{ElementNumber, Properties};
use crate::model::key::MAX_KEY_BYTES;
use crate::model::kind::{ElementKind, NodeKindId, RelationshipKindId};
use crate::model::name::{PropertyName, quoted_for_neo4j};
use crate::model::profile::{Identity, Profile, RelationshipKind};
use crate::model::value::Value;

/// The most bytes that a character of Neo4j's texts takes in UTF-8. It yields the number of characters up to which no key is too
/// long.
const BYTES_OF_A_CHARACTER: usize = 3;

/// White space and control characters, as [`Key`](crate::model::key::Key) defines them, in the syntax of a character class.
const BLANK: &str = r"\\p{IsWhite_Space}\\p{IsControl}";

/// Reads keys of nodes that carry such a label, by kind: for few kinds up to `limit` of each, for many up to `limit` times
/// [`FEW`] of all.
pub(super) async fn keys_with_label(
    reader: &impl Reader,
    profile: &Profile,
    label: &str,
    limit: usize,
) -> Result<BTreeMap<NodeKindId, Vec<String>>> {
    const DOING: &str = "nodes with a label that the cache cannot hold";
    let mut found: BTreeMap<NodeKindId, Vec<String>> = BTreeMap::new();
    let text = |value| if let Value::String(text) = value { Some(text) } else { None };
    let key = |row: &mut Properties| column(row, "key").and_then(text);
    if profile.nodes.len() > FEW {
        let request = Request::new(all_with_label(profile, label)).with("limit", limit.saturating_mul(FEW));
        for mut row in reader.rows(DOING, request).await? {
            let kind = column(&mut row, "labels").and_then(super::census::texts).and_then(|labels| profile.kind_of(&labels));
            if let Some((kind, key)) = kind.zip(key(&mut row)) {
                found.entry(kind).or_default().push(key);
            }
        }
        return Ok(found);
    }
    for id in profile.node_ids().filter(|id| !profile.node(*id).unlabelled) {
        let request = Request::new(with_label(profile, id, label)).with("limit", limit);
        let rows = reader.rows(DOING, request).await?;
        found.insert(id, rows.into_iter().filter_map(|mut row| key(&mut row)).collect());
    }
    Ok(found)
}

fn with_label(profile: &Profile, id: NodeKindId, label: &str) -> String {
    let kind = profile.node(id);
    let (others, scope) = (not_of_an_earlier_kind(profile, id), Scope::of(profile).also("n"));
    let key = expressions::key("n", kind.identity, &kind.key);
    let (own, label) = (kind.label.quoted_for_neo4j(), quoted_for_neo4j(label));
    format!("MATCH (n:{own}&{label}) WHERE true{others}{scope} RETURN {key} AS key LIMIT $limit")
}

/// Matches nodes of all kinds at once: Neo4j would have to plan a separate question for each kind.
fn all_with_label(profile: &Profile, label: &str) -> String {
    let (scope, key) = (Scope::of(profile).alone("n"), expressions::endpoint_key(profile, "n"));
    format!("MATCH (n:{}){scope} RETURN labels(n) AS labels, {key} AS key LIMIT $limit", quoted_for_neo4j(label))
}

/// Counts the elements of a kind that no page reaches, because their key is absent, empty or not a text.
pub(super) async fn count_without_key(reader: &impl Reader, profile: &Profile, kind: ElementKind) -> Result<u64> {
    let Some(found) = matched(profile, kind, without_key) else { return Ok(0) };
    let doing = format!("elements of {} without a key", profile.kind_name(kind));
    super::census::counted(reader, &doing, Request::new(format!("{found} RETURN count(*) AS count"))).await
}

/// Reads elements of a kind with a key that the cache cannot use, and relationships with such an end or an end of no kind:
/// `$limit`. The result may include elements with a long key that the cache can use.
pub(super) fn with_unusable_key(profile: &Profile, kind: ElementKind) -> Option<String> {
    let own = |variable: &str, identity: Identity, key: &PropertyName| {
        (identity == Identity::Property).then(|| unusable(&format!("{variable}.{}", key.quoted_for_neo4j())))
    };
    let found = match kind {
        ElementKind::Node(id) => {
            let node = profile.node(id);
            node_pattern(profile, id, &own("n", node.identity, &node.key)?)
        }
        ElementKind::Relationship(id) => {
            let RelationshipKind { key, identity, .. } = profile.relationship(id);
            let mut any = Vec::from_iter(own("e", *identity, key));
            // Every node has a number.
            if profile.nodes.iter().any(|kind| kind.identity == Identity::Property) {
                let of_end = |end: &str| {
                    let key = unusable(&expressions::endpoint_key(profile, end));
                    format!("{key} OR NOT {}", expressions::is_of_a_kind(profile, end))
                };
                any.extend(["a", "b"].map(of_end));
            }
            if any.is_empty() {
                return None;
            }
            relationship_pattern(profile, id, &format!("({})", any.join(" OR ")))
        }
    };
    Some(format!("{found} {} LIMIT $limit", Queries::new(profile).deciding_columns(kind)))
}

/// Reads elements of a kind by their numbers: `$numbers`.
pub(super) fn by_number(profile: &Profile, kind: ElementKind) -> Option<String> {
    let found = matched(profile, kind, |variable, _| format!("id({variable}) IN $numbers"))?;
    Some(format!("{found} {}", Queries::new(profile).deciding_columns(kind)))
}

/// Converts numbers of elements to a parameter.
pub(super) fn numbers(numbers: &[ElementNumber]) -> Vec<i64> {
    numbers.iter().filter_map(|number| i64::try_from(number.0).ok()).collect()
}

/// Matches elements of a kind by a condition on their key. `None` for a kind without a key property: every element has a number.
fn matched(profile: &Profile, kind: ElementKind, condition: impl Fn(&str, &PropertyName) -> String) -> Option<String> {
    if profile.identity(kind) != Identity::Property {
        return None;
    }
    Some(match kind {
        ElementKind::Node(id) => node_pattern(profile, id, &condition("n", &profile.node(id).key)),
        ElementKind::Relationship(id) => relationship_pattern(profile, id, &condition("e", &profile.relationship(id).key)),
    })
}

fn node_pattern(profile: &Profile, id: NodeKindId, condition: &str) -> String {
    let (others, scope) = (not_of_an_earlier_kind(profile, id), Scope::of(profile).also("n"));
    format!("MATCH (n:{}) WHERE {condition}{others}{scope}", profile.node(id).label.quoted_for_neo4j())
}

fn relationship_pattern(profile: &Profile, id: RelationshipKindId, condition: &str) -> String {
    let ends = between_kinds(profile) + &Scope::of(profile).also("e");
    format!("MATCH (a)-[e:{}]->(b) WHERE {condition}{ends}", profile.relationship(id).rel_type.quoted_for_neo4j())
}

fn without_key(variable: &str, key: &PropertyName) -> String {
    let key = format!("{variable}.{}", key.quoted_for_neo4j());
    format!("CASE WHEN {key} IS :: STRING NOT NULL THEN {key} = '' ELSE true END")
}

/// The condition for an unusable key. Only texts are tested for their content. Cypher cannot count bytes, so the condition
/// includes keys that may be too long. The pattern matches usable keys, because one run through a text decides the match.
fn unusable(key: &str) -> String {
    let long = MAX_KEY_BYTES / BYTES_OF_A_CHARACTER;
    format!(
        "CASE WHEN ({key}) IS :: STRING NOT NULL THEN size({key}) > {long} OR \
         NOT ({key}) =~ '[^{BLANK}][^\\\\x00\\\\x01]*+(?<![{BLANK}])' ELSE true END"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_texts_are_asked_what_they_hold() {
        let profile = Profile::graphiti().unwrap();
        for kind in [ElementKind::Node(NodeKindId(1)), ElementKind::Relationship(RelationshipKindId(0))] {
            let text = with_unusable_key(&profile, kind).unwrap();
            assert!(text.contains("CASE WHEN") && text.contains(") IS :: STRING NOT NULL THEN"), "{text}");
            assert!(text.contains(r"'[^\\p{IsWhite_Space}\\p{IsControl}][^\\x00\\x01]*+"), "{text}");
        }
        let generic = Profile::generic().unwrap().discovered(&crate::model::discovery::DiscoveredSchema::default()).unwrap();
        assert_eq!(by_number(&generic, ElementKind::Node(NodeKindId(0))), None, "every element has a number");
    }

    #[test]
    fn a_label_is_quoted_as_neo4j_reads_it() {
        let text = with_label(&Profile::graphiti().unwrap(), NodeKindId(0), "a`b");
        assert!(text.starts_with("MATCH (n:`Entity`&`a``b`) WHERE true RETURN n.`uuid` AS key"), "{text}");
    }
}
