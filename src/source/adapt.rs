//! Adds what the cache needs and the source lacks: numbers as keys, a label for nodes without one, other names of properties.
//! Rows leave this module as if the source held them in this form, so later stages know only keys and labels.

use super::expressions::number_key;
use crate::error::{Error, ErrorKind, Result};
use crate::model::element::{ElementNumber, Properties, SourceNode, SourceRelationship, property};
use crate::model::kind_rules::PropertyRules;
use crate::model::name::PropertyName;
use crate::model::profile::{Identity, NodeKind, RelationshipKind};
use crate::model::value::Value;

/// Adapts nodes to the form that the cache holds.
pub(super) fn nodes(kind: &NodeKind, mut rows: Vec<SourceNode>) -> Result<Vec<SourceNode>> {
    for row in &mut rows {
        if row.labels.is_empty() && kind.unlabelled {
            row.labels.push(kind.label.to_string());
        }
        follow_rules(&kind.properties, &mut row.properties);
        identify(kind.identity, &kind.key, row.number, &mut row.properties)?;
    }
    Ok(rows)
}

/// Adapts relationships to the form that the cache holds.
pub(super) fn relationships(kind: &RelationshipKind, mut rows: Vec<SourceRelationship>) -> Result<Vec<SourceRelationship>> {
    for row in &mut rows {
        follow_rules(&kind.properties, &mut row.properties);
        identify(kind.identity, &kind.key, row.number, &mut row.properties)?;
    }
    Ok(rows)
}

/// Puts the number first as the key. A property of the source with the key's name comes after it and is quarantined.
fn identify(identity: Identity, key: &PropertyName, number: ElementNumber, properties: &mut Properties) -> Result<()> {
    if identity == Identity::Property {
        return Ok(());
    }
    let text = number_key(number).ok_or_else(|| {
        Error::new(ErrorKind::SourceRefused, format!("the number of element {} is too large for a key", number.0))
    })?;
    properties.insert(0, (key.to_string(), Value::String(text)));
    Ok(())
}

fn follow_rules(rules: &PropertyRules, properties: &mut Properties) {
    if rules.is_empty() {
        return;
    }
    properties.retain(|(name, _)| !rules.omits(name));
    for place in 0..properties.len() {
        let Some(new) = rules.new_name(&properties[place].0) else { continue };
        if property(properties, new.as_str()).is_none() {
            properties[place].0 = new.to_string();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::discovery::DiscoveredSchema;
    use crate::model::kind::NodeKindId;
    use crate::model::profile::Profile;

    fn node(number: u64, names: &[&str]) -> SourceNode {
        let properties = names.iter().map(|name| ((*name).to_owned(), Value::Boolean(true))).collect();
        SourceNode { number: ElementNumber(number), labels: vec![], properties }
    }

    fn names(row: &SourceNode) -> Vec<&str> {
        row.properties.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn numbers_and_labels_are_added() {
        let profile = Profile::generic().unwrap().discovered(&DiscoveredSchema::default()).unwrap();
        let rows = nodes(profile.node(NodeKindId(0)), vec![node(7, &["x"])]).unwrap();
        assert_eq!(rows[0].labels, ["_Unlabelled"]);
        assert_eq!(rows[0].properties[0], ("_neo4j_id".to_owned(), Value::String("000000000007".to_owned())));
        assert!(nodes(profile.node(NodeKindId(0)), vec![node(u64::MAX, &[])]).is_err());
    }

    #[test]
    fn properties_are_left_out_and_renamed_but_never_merged() {
        let text = "name: x\ndiscover:\n  identity: i\n  unlabelled: U\n  properties: { omit: ['s*'], rename: { a: b, c: d } }";
        let profile = Profile::parse(text).unwrap().discovered(&DiscoveredSchema::default()).unwrap();
        let rows = vec![node(1, &["a", "secret", "c", "d"]), node(2, &["c"])];
        let rows = nodes(profile.node(NodeKindId(0)), rows).unwrap();
        assert_eq!(names(&rows[0]), ["i", "b", "c", "d"], "an element that has both keeps both");
        assert_eq!(names(&rows[1]), ["i", "d"]);
    }
}
