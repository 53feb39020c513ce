//! Decides which elements of the source the cache can hold, under which identity, and why not the others.

use super::collapse::Identified;
use super::encoder::Encoder;
use super::quarantine_names::{self, RowRefusal};
use crate::model::element::{
    ElementIdentity, NodeIdentity, Properties, RelationshipIdentity, SourceEndpoint, SourceNode, SourceRelationship, property,
};
use crate::model::graph_name::GraphName;
use crate::model::key::Key;
use crate::model::kind::{KindName, NodeKindId, RelationshipKindId};
use crate::model::kind_rows::KindRows;
use crate::model::name::Label;
use crate::model::profile::{NodeKind, RelationshipKind};
use crate::model::quarantined::Quarantined;
use crate::model::routes::Routes;

/// The decision whether the cache keeps an element of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The element is kept under this identity.
    Kept(ElementIdentity),
    /// The element has this identity and cannot be kept: the cache must not hold an older state of it.
    Refused(ElementIdentity),
    /// The element has no identity that the cache could use.
    Nameless,
}

/// The kinds of a relationship's start and end.
pub(super) type Ends = (NodeKindId, NodeKindId);

pub(super) struct KeptNode {
    pub(super) extra_labels: Vec<Label>,
    pub(super) group: Option<String>,
    pub(super) node: SourceNode,
}

pub(super) struct KeptRelationship {
    pub(super) ends: Ends,
    pub(super) group: Option<String>,
    pub(super) relationship: SourceRelationship,
}

impl Encoder {
    pub(super) fn identified_relationships(
        &self,
        kind: &RelationshipKind,
        rows: Vec<SourceRelationship>,
        quarantined: &mut Vec<Quarantined>,
    ) -> Vec<Identified<RelationshipIdentity, KeptRelationship>> {
        let (identified, refused) = sorted_out(rows, |relationship| {
            let (identity, ends, group) = self.identify(kind, &relationship)?;
            let number = relationship.number;
            Ok(Identified { identity, number, row: KeptRelationship { ends, group, relationship } })
        });
        let kept = identified.iter().map(|row| &row.identity.key);
        quarantined.extend(quarantine_names::entries(KindName::Type(kind.rel_type.as_str()), refused, kept));
        identified
    }

    fn identify(
        &self,
        kind: &RelationshipKind,
        row: &SourceRelationship,
    ) -> Result<(RelationshipIdentity, Ends, Option<String>), RowRefusal> {
        let number = row.number;
        let key = Key::from_value(property(&row.properties, kind.key.as_str())).map_err(|reason| RowRefusal {
            number,
            key: None,
            reason: reason.to_string(),
        })?;
        let refused = |reason: String| RowRefusal { number, key: Some(key.clone()), reason };
        let (start_kind, start) = self.endpoint(&row.start).map_err(|reason| refused(format!("its start node: {reason}")))?;
        let (end_kind, end) = self.endpoint(&row.end).map_err(|reason| refused(format!("its end node: {reason}")))?;
        let group = self.group_of_relationship(row).map_err(refused)?;
        Ok((RelationshipIdentity { rel_type: kind.rel_type.clone(), key, start, end }, (start_kind, end_kind), group))
    }

    /// Returns the group of an element, if each group has a graph of its own. A missing group is treated like an empty text.
    pub(super) fn group_of(&self, properties: &Properties) -> Result<Option<String>, String> {
        let Some((name, routes)) = self.profile().group.as_ref().zip(self.profile().routes.as_ref()) else { return Ok(None) };
        let Some(group) = Routes::group_text(property(properties, name.as_str())) else {
            return Err(format!("its {name} is not a string, so it belongs to no graph"));
        };
        match routes.graph_of(group) {
            Ok(_) => Ok(Some(group.to_owned())),
            Err(reason) => Err(format!("its group cannot have a graph: {reason}")),
        }
    }

    /// Returns the graph of an element, if each group has a graph of its own and this group can have one.
    pub(crate) fn graph_of(&self, properties: &Properties) -> Option<GraphName> {
        let routes = self.profile().routes.as_ref()?;
        routes.graph_of(&self.group_of(properties).ok()??).ok()
    }

    /// As [`Self::group_of`], for a relationship, which is in the graph of its group only if both its ends are. An end that no
    /// graph can hold has a quarantine entry of its own, and the relationship waits for it.
    pub(super) fn group_of_relationship(&self, row: &SourceRelationship) -> Result<Option<String>, String> {
        let group = self.group_of(&row.properties)?;
        let Some((group_id, routes)) = group.as_deref().zip(self.profile().routes.as_ref()) else { return Ok(group) };
        for (end, name) in [(&row.start, "start"), (&row.end, "end")] {
            let Some(of_end) = Routes::group_text(end.group.as_ref()).filter(|of_end| *of_end != group_id) else { continue };
            if routes.graph_of(of_end).is_ok_and(|graph| routes.graph_of(group_id) != Ok(graph)) {
                return Err(format!("its {name} node is not in the graph of its group"));
            }
        }
        Ok(group)
    }

    pub(super) fn identified_nodes(
        &self,
        kind: &NodeKind,
        rows: Vec<SourceNode>,
        quarantined: &mut Vec<Quarantined>,
    ) -> Vec<Identified<Key, KeptNode>> {
        let (identified, refused) = sorted_out(rows, |node| {
            let (identity, extra_labels, group) = self.keep(kind, &node)?;
            let number = node.number;
            Ok(Identified { identity, number, row: KeptNode { extra_labels, group, node } })
        });
        quarantined.extend(quarantine_names::entries(
            KindName::Label(kind.label.as_str()),
            refused,
            identified.iter().map(|row| &row.identity),
        ));
        identified
    }

    fn keep(&self, kind: &NodeKind, node: &SourceNode) -> Result<(Key, Vec<Label>, Option<String>), RowRefusal> {
        let number = node.number;
        let key = Key::from_value(property(&node.properties, kind.key.as_str())).map_err(|reason| {
            let reason = format!("{reason} (its labels are {})", node.labels.join(", "));
            RowRefusal { number, key: None, reason }
        })?;
        let refused = |reason| RowRefusal { number, key: Some(key.clone()), reason };
        let labels = extra_labels(kind, &node.labels).map_err(refused)?;
        let group = self.group_of(&node.properties).map_err(refused)?;
        Ok((key, labels, group))
    }

    /// Returns the names under which refused elements of a kind are listed. The rows must include all elements of each key.
    pub(crate) fn names_of_refused(&self, rows: &KindRows) -> Vec<String> {
        let (mut kept, mut refused) = (Vec::new(), Vec::new());
        let mut note = |outcome: Result<Key, RowRefusal>| match outcome {
            Ok(key) => kept.push(key),
            Err(refusal) => refused.push(refusal),
        };
        match rows {
            KindRows::Nodes(id, rows) => {
                let kind = self.profile().node(*id);
                rows.iter().for_each(|row| note(self.keep(kind, row).map(|(key, ..)| key)));
            }
            KindRows::Relationships(id, rows) => {
                let kind = self.profile().relationship(*id);
                rows.iter().for_each(|row| note(self.identify(kind, row).map(|(identity, ..)| identity.key)));
            }
        }
        let entries = quarantine_names::entries(self.profile().name_of(rows.kind()), refused, kept.iter());
        entries.into_iter().map(|entry| entry.key).collect()
    }

    /// Returns for each element whether the cache can hold it, and under which identity.
    pub(crate) fn admissions(&self, rows: &KindRows) -> Vec<Admission> {
        match rows {
            KindRows::Nodes(id, rows) => rows.iter().map(|row| self.node_admission(*id, row)).collect(),
            KindRows::Relationships(id, rows) => rows.iter().map(|row| self.relationship_admission(*id, row)).collect(),
        }
    }

    fn node_admission(&self, id: NodeKindId, node: &SourceNode) -> Admission {
        let kind = self.profile().node(id);
        let Ok(key) = Key::from_value(property(&node.properties, kind.key.as_str())) else { return Admission::Nameless };
        let identity = ElementIdentity::Node(NodeIdentity { label: kind.label.clone(), key });
        let is_kept = node.labels.iter().all(|label| Label::check(label).is_ok()) && self.group_of(&node.properties).is_ok();
        if is_kept { Admission::Kept(identity) } else { Admission::Refused(identity) }
    }

    /// Returns the admission of a relationship, which has no identity without usable ends.
    fn relationship_admission(&self, id: RelationshipKindId, relationship: &SourceRelationship) -> Admission {
        let kind = self.profile().relationship(id);
        let key = Key::from_value(property(&relationship.properties, kind.key.as_str())).ok();
        let ends = self.endpoint(&relationship.start).ok().zip(self.endpoint(&relationship.end).ok());
        let Some((key, ((_, start), (_, end)))) = key.zip(ends) else { return Admission::Nameless };
        let rel_type = kind.rel_type.clone();
        let identity = ElementIdentity::Relationship(RelationshipIdentity { rel_type, key, start, end });
        if self.group_of_relationship(relationship).is_ok() { Admission::Kept(identity) } else { Admission::Refused(identity) }
    }

    fn endpoint(&self, endpoint: &SourceEndpoint) -> Result<(NodeKindId, NodeIdentity), String> {
        let Some(kind) = self.profile().kind_of(&endpoint.labels) else {
            return Err("the profile has no kind for it".to_owned());
        };
        let key = Key::from_value(endpoint.key.as_ref()).map_err(|reason| reason.to_string())?;
        Ok((kind, NodeIdentity { label: self.profile().node(kind).label.clone(), key }))
    }

    /// Returns the identity of the node at an end of a relationship, or the reason why it has none.
    pub(super) fn endpoint_identity(&self, endpoint: &SourceEndpoint) -> Result<NodeIdentity, String> {
        self.endpoint(endpoint).map(|(_, identity)| identity)
    }
}

/// Separates rows that can be kept from refused rows.
fn sorted_out<T, K>(rows: Vec<T>, keep: impl Fn(T) -> Result<K, RowRefusal>) -> (Vec<K>, Vec<RowRefusal>) {
    let (mut kept, mut refused) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        match keep(row) {
            Ok(row) => kept.push(row),
            Err(refusal) => refused.push(refusal),
        }
    }
    (kept, refused)
}

fn extra_labels(kind: &NodeKind, labels: &[String]) -> Result<Vec<Label>, String> {
    let others = labels.iter().filter(|label| *label != kind.label.as_str());
    let mut extra: Vec<Label> =
        others.map(|label| Label::parse(label)).collect::<Result<_, _>>().map_err(|reason| format!("a label: {reason}"))?;
    extra.sort_unstable();
    extra.dedup();
    Ok(extra)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::element::ElementNumber;
    use crate::model::name::RelationshipType;
    use crate::model::profile::Profile;
    use crate::model::value::Value;
    use crate::model::vector_dimensions::VectorDimensions;

    fn transformer() -> Encoder {
        Encoder::new(Arc::new(Profile::graphiti().unwrap()), VectorDimensions::default())
    }

    fn string(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    fn entity(number: u64, labels: &[&str], key: &str, properties: &[(&str, Value)]) -> SourceNode {
        let mut all = vec![("uuid".to_owned(), string(key))];
        all.extend(properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        SourceNode { number: ElementNumber(number), labels, properties: all }
    }

    fn fact(number: u64, start: (&str, &str), end: (&str, &str), properties: &[(&str, Value)]) -> SourceRelationship {
        let endpoint =
            |(label, key): (&str, &str)| SourceEndpoint { labels: vec![label.to_owned()], key: Some(string(key)), group: None };
        let properties = entity(0, &[], "f", properties).properties;
        SourceRelationship { number: ElementNumber(number), start: endpoint(start), end: endpoint(end), properties }
    }

    #[test]
    fn what_cannot_stand_in_the_graph_of_its_group_is_refused() {
        let routes = Routes::new(GraphName::new("home").unwrap());
        let profile = Profile::graphiti().unwrap().with_a_graph_for_each_group(routes).unwrap();
        let by_group = Encoder::new(Arc::new(profile), VectorDimensions::default());
        let node = |group: Value| {
            let row = entity(1, &["Entity"], "k", &[("group_id", group)]);
            matches!(by_group.node_admission(NodeKindId(0), &row), Admission::Kept(_))
        };
        assert_eq!([string("a"), string(""), string("{x}"), Value::Integer(5)].map(node), [true, true, false, false]);
        let rel_type = RelationshipType::parse("RELATES_TO").unwrap();
        let id = by_group.profile().relationship_kind(&rel_type).unwrap();
        let relationship = |group: &str, start: Option<Value>, end: Option<Value>| {
            let mut row = fact(1, ("Entity", "s"), ("Entity", "e"), &[("group_id", string(group))]);
            (row.start.group, row.end.group) = (start, end);
            matches!(by_group.relationship_admission(id, &row), Admission::Kept(_))
        };
        let of = |group: &str| Some(string(group));
        assert!(relationship("a", of("a"), of("a")));
        assert!(relationship("_", None, of("home")), "all three mean the same graph");
        assert!(relationship("a", of("a"), Some(Value::Integer(5))), "it waits for its end");
        assert!(
            !relationship("a", of("a"), of("b")) && !relationship("b", of("a"), of("a")) && !relationship("a", None, of("a"))
        );
    }

    #[test]
    fn an_element_stands_only_where_all_of_it_can_be_named() {
        let admission = |labels: &[&str], key: &str| transformer().node_admission(NodeKindId(0), &entity(1, labels, key, &[]));
        let identity = |key: &str| {
            ElementIdentity::Node(NodeIdentity { label: Label::parse("Entity").unwrap(), key: Key::parse(key).unwrap() })
        };
        assert_eq!(admission(&["Entity", "B"], "k"), Admission::Kept(identity("k")));
        assert_eq!(admission(&["Entity", "a`b"], "k"), Admission::Refused(identity("k")));
        assert_eq!(admission(&["Entity"], " k"), Admission::Nameless);
        let relationship = |start| {
            let row = fact(1, (start, "a"), ("Entity", "b"), &[]);
            transformer().relationship_admission(RelationshipKindId(0), &row)
        };
        assert!(matches!(relationship("Entity"), Admission::Kept(_)));
        assert_eq!(relationship("Person"), Admission::Nameless);
    }
}
