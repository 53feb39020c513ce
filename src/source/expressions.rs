//! The Cypher expressions for a profile's kinds and keys in queries of the source.

use crate::model::element::ElementNumber;
use crate::model::kind::{ElementKind, NodeKindId};
use crate::model::name::{Label, PropertyName, quoted_for_neo4j};
use crate::model::profile::{Identity, NodeKind, Profile};

/// The number of digits in a number's key. The numbers of a store are far smaller: Neo4j counts records from zero and reuses free
/// ones. An equal number of digits makes the order of the texts equal to that of the numbers.
const DIGITS: usize = 12;

/// The summand that gives every number leading zeros: its own first digit is cut off again.
const ABOVE: u64 = 10_u64.pow(DIGITS as u32);

/// The most labels that a condition names one by one. Beyond them, the condition looks up a node's labels in a list.
const ASKED_FOR: usize = 8;

/// Returns the key of an element with its number as key; `None` for a number with too many digits.
pub(crate) fn number_key(number: ElementNumber) -> Option<String> {
    (number.0 < ABOVE).then(|| format!("{:0DIGITS$}", number.0))
}

/// Returns the number in such a key; `None` for any other text.
pub(super) fn key_number(key: &str) -> Option<i64> {
    (key.len() == DIGITS).then(|| key.parse().ok()).flatten()
}

/// The key of an element as a text.
pub(super) fn key(variable: &str, identity: Identity, key: &PropertyName) -> String {
    match identity {
        Identity::Property => format!("{variable}.{}", key.quoted_for_neo4j()),
        Identity::ElementNumber => format!("substring(toString({ABOVE} + id({variable})), 1)"),
    }
}

/// `(n:L)`, for nodes of a kind, with one more label if `with` names one.
pub(super) fn node(kind: &NodeKind, with: Option<&Label>) -> String {
    let also = with.map(|label| format!("&{}", label.quoted_for_neo4j())).unwrap_or_default();
    format!("(n:{}{also})", label(kind))
}

fn label(kind: &NodeKind) -> String {
    if kind.unlabelled { "!%".to_owned() } else { kind.label.quoted_for_neo4j() }
}

/// ` USING RANGE INDEX SEEK …`: seeks elements of a kind by the index on a property. Without this hint the planner relies on the
/// last sample of the index: after a large transaction into a small graph, it scans the whole index for each key (3.4 s for 1,000
/// keys of 20,000 relationships, 5.26.12) and for each page. Neo4j ignores a hint to an index that does not exist, unless
/// `dbms.cypher.hints_error` is on. The hint names the type: if there is only a text index, Neo4j applies a hint without a type
/// to that index and fails ("Could not solve these hints", 5.26.12). Nodes without a label have no index.
pub(super) fn seek(profile: &Profile, kind: ElementKind, property: &PropertyName) -> String {
    let variable = match kind {
        ElementKind::Node(id) if profile.node(id).unlabelled => return String::new(),
        ElementKind::Node(_) => "n",
        ElementKind::Relationship(_) => "e",
    };
    format!(" USING RANGE INDEX SEEK {variable}:{}({})", quoted_for_neo4j(profile.kind_name(kind)), property.quoted_for_neo4j())
}

/// ` AND …`: the node belongs to no earlier kind.
pub(super) fn not_of_an_earlier_kind(profile: &Profile, id: NodeKindId) -> String {
    if profile.node(id).unlabelled {
        return String::new();
    }
    let earlier: Vec<&Label> = profile.earlier_labels(id).collect();
    let condition = has_none("n", &earlier);
    if condition.is_empty() { condition } else { format!(" AND {condition}") }
}

/// The condition that a node belongs to no kind.
pub(super) fn of_no_kind(profile: &Profile) -> String {
    let labelled: Vec<&Label> = profile.nodes.iter().filter(|kind| !kind.unlabelled).map(|kind| &kind.label).collect();
    let mut conditions = vec!["true".to_owned()];
    conditions.extend(Some(has_none("n", &labelled)).filter(|condition| !condition.is_empty()));
    if labelled.len() < profile.nodes.len() {
        conditions.push("size(labels(n)) > 0".to_owned());
    }
    conditions.join(" AND ")
}

/// ` AND …`: both ends of a relationship belong to a kind. Empty unless discovery leaves nodes out: otherwise an end of no kind
/// has a reason that somebody must learn.
pub(super) fn between_kinds(profile: &Profile) -> String {
    if !profile.leaves_nodes_out() {
        return String::new();
    }
    ["a", "b"].map(|end| format!(" AND {}", is_of_a_kind(profile, end))).concat()
}

pub(super) fn is_of_a_kind(profile: &Profile, variable: &str) -> String {
    if profile.nodes.len() <= ASKED_FOR {
        let labels: Vec<String> = profile.nodes.iter().map(label).collect();
        return if labels.is_empty() { "false".to_owned() } else { format!("{variable}:{}", labels.join("|")) };
    }
    let labelled = profile.nodes.iter().filter(|kind| !kind.unlabelled);
    let names: Vec<String> = labelled.map(|kind| text(kind.label.as_str())).collect();
    let any = format!("any(l IN labels({variable}) WHERE l IN [{}])", names.join(", "));
    if names.len() < profile.nodes.len() { format!("({any} OR size(labels({variable})) = 0)") } else { any }
}

fn has_none(variable: &str, labels: &[&Label]) -> String {
    if labels.len() > ASKED_FOR {
        let names: Vec<String> = labels.iter().map(|label| text(label.as_str())).collect();
        return format!("none(l IN labels({variable}) WHERE l IN [{}])", names.join(", "));
    }
    labels.iter().map(|label| format!("NOT {variable}:{}", label.quoted_for_neo4j())).collect::<Vec<_>>().join(" AND ")
}

/// The key of an endpoint, which depends on the endpoint's kind.
pub(super) fn endpoint_key(profile: &Profile, variable: &str) -> String {
    if let Some(one) = one_key(profile) {
        return key(variable, one.identity, &one.key);
    }
    let mut branches: Vec<(Vec<String>, String)> = Vec::new();
    for kind in &profile.nodes {
        let key = key(variable, kind.identity, &kind.key);
        match branches.last_mut() {
            Some((labels, same)) if *same == key => labels.push(label(kind)),
            _ => branches.push((vec![label(kind)], key)),
        }
    }
    let cases: String =
        branches.into_iter().map(|(labels, key)| format!(" WHEN {variable}:{} THEN {key}", labels.join("|"))).collect();
    if cases.is_empty() { "null".to_owned() } else { format!("CASE{cases} END") }
}

/// Returns a node kind if all node kinds have the same key.
fn one_key(profile: &Profile) -> Option<&NodeKind> {
    let first = profile.nodes.first()?;
    profile.nodes.iter().all(|kind| kind.identity == first.identity && kind.key == first.key).then_some(first)
}

/// Writes a text as a literal.
pub(super) fn text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::discovery::DiscoveredSchema;

    #[test]
    fn numbers_stand_as_keys_in_their_order() {
        let key = |number| number_key(ElementNumber(number)).unwrap();
        assert_eq!(key(42), "000000000042");
        assert!(key(9) < key(10) && key(99) < key(1_000_000));
        assert_eq!(key_number(&key(42)), Some(42));
        assert_eq!((key_number("42"), key_number(""), key_number("00000000000x")), (None, None, None));
        assert_eq!(number_key(ElementNumber(ABOVE)), None);
    }

    #[test]
    fn relationships_of_nodes_that_are_left_out_are_left_out() {
        let found = |labels: &[&str]| DiscoveredSchema {
            labels: labels.iter().map(|l| (*l).to_owned()).collect(),
            ..DiscoveredSchema::default()
        };
        let all = Profile::generic().unwrap().discovered(&found(&["A"])).unwrap();
        assert_eq!((between_kinds(&all), between_kinds(&Profile::graphiti().unwrap())), (String::new(), String::new()));
        let text = "name: x\ndiscover: { identity: i, labels: { exclude: [B] } }";
        let some = Profile::parse(text).unwrap().discovered(&found(&["A", "B", "C"])).unwrap();
        assert_eq!(between_kinds(&some), " AND a:`A`|`C` AND b:`A`|`C`");
        let none = Profile::parse(text).unwrap().discovered(&found(&["B"])).unwrap();
        assert_eq!(between_kinds(&none), " AND false AND false");
    }

    #[test]
    fn many_earlier_labels_stand_in_a_list() {
        let labels = (0..20).map(|number| format!("L{number:02}")).collect();
        let profile =
            Profile::generic().unwrap().discovered(&DiscoveredSchema { labels, ..DiscoveredSchema::default() }).unwrap();
        assert_eq!(not_of_an_earlier_kind(&profile, NodeKindId(1)), " AND NOT n:`L00`");
        assert!(not_of_an_earlier_kind(&profile, NodeKindId(19)).starts_with(" AND none(l IN labels(n) WHERE l IN ['L00', "));
        assert_eq!(not_of_an_earlier_kind(&profile, NodeKindId(20)), "", "nodes without labels carry none of them");
        assert_eq!(endpoint_key(&profile, "a"), "substring(toString(1000000000000 + id(a)), 1)");
        assert_eq!(node(profile.node(NodeKindId(20)), None), "(n:!%)");
    }
}
