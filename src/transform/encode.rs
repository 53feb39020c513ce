//! Turns rows of the source into rows of parameter text, grouped by the statement that can take them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::Hash;

use super::admission::{Ends, KeptNode, KeptRelationship};
use super::collapse::{Identified, collapse};
use super::encoder::Encoder;
use super::layout::{Columns, Layout, PropertyRefusal, VectorProperty};
use super::literal::write_string;
use crate::model::element::{RelationshipIdentity, SourceNode, SourceRelationship};
use crate::model::key::Key;
use crate::model::kind::{KindName, NodeKindId, RelationshipKindId};
use crate::model::kind_rows::KindRows;
use crate::model::name::Label;
use crate::model::prepared::{EncodedRows, EndpointKind, NodeWriteSet, PreparedRows, RelationshipWriteSet};
use crate::model::profile::{NodeKind, RelationshipKind};
use crate::model::quarantined::Quarantined;

impl Encoder {
    /// Encodes elements of one kind.
    pub fn encode(&self, rows: KindRows) -> PreparedRows {
        match rows {
            KindRows::Nodes(id, rows) => self.nodes(id, rows),
            KindRows::Relationships(id, rows) => self.relationships(id, rows),
        }
    }

    /// Encodes nodes of one kind, as [`kind_of`](crate::model::profile::Profile::kind_of) determines it from their labels.
    pub fn nodes(&self, kind: NodeKindId, rows: Vec<SourceNode>) -> PreparedRows {
        let kind = self.profile.node(kind);
        let mut prepared = PreparedRows::default();
        let mut rows = self.identified_nodes(kind, rows, &mut prepared.quarantined);
        prepared.collapsed = collapse(&mut rows);
        self.write_nodes(kind, rows, &mut prepared);
        prepared
    }

    pub(super) fn encode_nodes(&self, kind: &NodeKind, rows: Vec<Identified<Key, KeptNode>>) -> PreparedRows {
        let mut prepared = PreparedRows::default();
        self.write_nodes(kind, rows, &mut prepared);
        prepared
    }

    fn write_nodes(&self, kind: &NodeKind, rows: Vec<Identified<Key, KeptNode>>, prepared: &mut PreparedRows) {
        let own_vectors = self.node_vectors(kind);
        let mut layout = Layout::default();
        let mut places = HashMap::new();
        for Identified { identity: key, row: KeptNode { extra_labels, group, mut node }, .. } in rows {
            let vectors = self.with_vectors_of(&extra_labels, &own_vectors);
            let refuse = refusals(KindName::Label(kind.label.as_str()), &key, &mut prepared.quarantined);
            let columns = layout.arrange(&mut node.properties, &vectors, &self.names, refuse);
            let group = grouped(&mut prepared.nodes, &mut places, (group, extra_labels, columns), |signature| {
                node_group(kind, signature)
            });
            let conversions = &mut prepared.conversions;
            group.rows.push(key.clone(), |out| {
                out.extend_from_slice(b"{k:");
                write_string(out, key.as_str());
                layout.write(out, &node.properties, conversions);
                out.push(b'}');
            });
        }
    }

    /// Encodes relationships of one kind.
    pub fn relationships(&self, kind: RelationshipKindId, rows: Vec<SourceRelationship>) -> PreparedRows {
        let kind = self.profile.relationship(kind);
        let mut prepared = PreparedRows::default();
        let mut rows = self.identified_relationships(kind, rows, &mut prepared.quarantined);
        prepared.collapsed = collapse(&mut rows);
        self.write_relationships(kind, rows, &mut prepared);
        prepared
    }

    pub(super) fn encode_relationships(
        &self,
        kind: &RelationshipKind,
        rows: Vec<Identified<RelationshipIdentity, KeptRelationship>>,
    ) -> PreparedRows {
        let mut prepared = PreparedRows::default();
        self.write_relationships(kind, rows, &mut prepared);
        prepared
    }

    fn write_relationships(
        &self,
        kind: &RelationshipKind,
        rows: Vec<Identified<RelationshipIdentity, KeptRelationship>>,
        prepared: &mut PreparedRows,
    ) {
        let vectors = self.relationship_vectors(kind);
        let mut layout = Layout::default();
        let mut places = HashMap::new();
        for Identified { identity, row: KeptRelationship { ends, group, mut relationship }, .. } in rows {
            let refuse = refusals(KindName::Type(kind.rel_type.as_str()), &identity.key, &mut prepared.quarantined);
            let columns = layout.arrange(&mut relationship.properties, &vectors, &self.names, refuse);
            let make = |signature: &_| self.relationship_group(kind, signature);
            let group = grouped(&mut prepared.relationships, &mut places, (group, ends, columns), make);
            let conversions = &mut prepared.conversions;
            group.rows.push(identity.clone(), |out| {
                write_relationship_head(out, &identity);
                layout.write(out, &relationship.properties, conversions);
                out.push(b'}');
            });
        }
    }

    pub(super) fn node_vectors(&self, kind: &NodeKind) -> Vec<VectorProperty> {
        let dimension = |name| self.dimensions.of_node(&kind.label, name);
        kind.vectors.iter().map(|name| VectorProperty { name: name.clone(), dimension: dimension(name) }).collect()
    }

    /// Adds the vectors of all other kinds with a label that a node carries: searches of these kinds find the node, too, so their
    /// vectors are also vectors here.
    pub(super) fn with_vectors_of<'v>(&self, extra_labels: &[Label], own: &'v [VectorProperty]) -> Cow<'v, [VectorProperty]> {
        let mut vectors = Cow::Borrowed(own);
        for kind in self.profile.nodes.iter().filter(|kind| !kind.vectors.is_empty() && extra_labels.contains(&kind.label)) {
            vectors.to_mut().extend(self.node_vectors(kind));
        }
        vectors
    }

    pub(super) fn relationship_vectors(&self, kind: &RelationshipKind) -> Vec<VectorProperty> {
        let dimension = |name| self.dimensions.of_relationship(&kind.rel_type, name);
        kind.vectors.iter().map(|name| VectorProperty { name: name.clone(), dimension: dimension(name) }).collect()
    }

    fn relationship_group(
        &self,
        kind: &RelationshipKind,
        (group, (start, end), columns): &(Option<String>, Ends, Columns),
    ) -> RelationshipWriteSet {
        let endpoint = |id: NodeKindId| {
            let NodeKind { label, key, .. } = self.profile.node(id);
            EndpointKind { label: label.clone(), key: key.clone() }
        };
        RelationshipWriteSet {
            group: group.clone(),
            rel_type: kind.rel_type.clone(),
            key: kind.key.clone(),
            start: endpoint(*start),
            end: endpoint(*end),
            vectors: columns.vectors.clone(),
            not_a_number: columns.not_a_number.clone(),
            rows: EncodedRows::default(),
        }
    }
}

fn node_group(kind: &NodeKind, (group, extra_labels, columns): &(Option<String>, Vec<Label>, Columns)) -> NodeWriteSet {
    NodeWriteSet {
        group: group.clone(),
        label: kind.label.clone(),
        key: kind.key.clone(),
        extra_labels: extra_labels.clone(),
        vectors: columns.vectors.clone(),
        not_a_number: columns.not_a_number.clone(),
        rows: EncodedRows::default(),
    }
}

/// Returns the group of a signature; a new group goes to the end, so groups are in the order of their first appearance.
fn grouped<'g, S: Eq + Hash, G>(
    groups: &'g mut Vec<G>,
    places: &mut HashMap<S, usize>,
    signature: S,
    make: impl FnOnce(&S) -> G,
) -> &'g mut G {
    let place = match places.get(&signature) {
        Some(place) => *place,
        None => {
            groups.push(make(&signature));
            places.insert(signature, groups.len() - 1);
            groups.len() - 1
        }
    };
    &mut groups[place]
}

fn write_relationship_head(out: &mut Vec<u8>, identity: &RelationshipIdentity) {
    for (column, key) in [("{k:", &identity.key), (",s:", &identity.start.key), (",e:", &identity.end.key)] {
        out.extend_from_slice(column.as_bytes());
        write_string(out, key.as_str());
    }
}

/// Quarantines properties of one element.
pub(super) fn refusals(kind: KindName<'_>, key: &Key, quarantined: &mut Vec<Quarantined>) -> impl FnMut(&str, PropertyRefusal) {
    move |property, reason| {
        quarantined.push(Quarantined::new(kind, key.to_string(), Some(property.to_owned()), reason.to_string()));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::decoded::{DecodedValue, any_plain, any_text, decode, expected};
    use super::super::values::{Fit, fit};
    use super::*;
    use crate::model::element::{ElementNumber, SourceEndpoint};
    use crate::model::name::{PropertyName, RelationshipType};
    use crate::model::profile::Profile;
    use crate::model::value::Value;
    use crate::model::vector_dimensions::VectorDimensions;

    fn transformer() -> Encoder {
        let mut dimensions = VectorDimensions::default();
        dimensions.set_node(Label::parse("Entity").unwrap(), name("name_embedding"), 2);
        dimensions.set_relationship(RelationshipType::parse("RELATES_TO").unwrap(), name("fact_embedding"), 2);
        Encoder::new(Arc::new(Profile::graphiti().unwrap()), dimensions)
    }

    fn name(text: &str) -> PropertyName {
        PropertyName::parse(text).unwrap()
    }

    fn names(texts: &[&str]) -> Vec<PropertyName> {
        texts.iter().map(|text| name(text)).collect()
    }

    fn string(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn entity(number: u64, labels: &[&str], key: &str, properties: &[(&str, Value)]) -> SourceNode {
        let mut all = vec![("uuid".to_owned(), string(key))];
        all.extend(properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        SourceNode { number: ElementNumber(number), labels: strings(labels), properties: all }
    }

    fn fact(number: u64, start: (&str, &str), end: (&str, &str), properties: &[(&str, Value)]) -> SourceRelationship {
        let endpoint =
            |(label, key): (&str, &str)| SourceEndpoint { labels: strings(&[label]), key: Some(string(key)), group: None };
        SourceRelationship {
            number: ElementNumber(number),
            start: endpoint(start),
            end: endpoint(end),
            properties: entity(0, &[], "f", properties).properties,
        }
    }

    fn texts<I>(rows: &EncodedRows<I>) -> Vec<String> {
        (0..rows.len()).map(|index| String::from_utf8(rows.row(index).to_vec()).unwrap()).collect()
    }

    fn reasons(prepared: &PreparedRows) -> Vec<(&str, Option<&str>, &str)> {
        prepared.quarantined.iter().map(|q| (q.key.as_str(), q.property.as_deref(), q.reason.as_str())).collect()
    }

    #[test]
    fn a_node_becomes_a_row_with_its_vector_beside_the_map() {
        let properties =
            [("name_embedding", Value::Floats(vec![0.5, 1.0])), ("a b", Value::Integer(1)), ("name", string("\"x\""))];
        let prepared = transformer().nodes(NodeKindId(0), vec![entity(1, &["Person", "Entity", "Big"], "k", &properties)]);
        let [group] = &prepared.nodes[..] else { panic!("{:?}", prepared.nodes) };
        assert_eq!(group.extra_labels.iter().map(Label::as_str).collect::<Vec<_>>(), ["Big", "Person"]);
        assert_eq!((&group.vectors, &group.not_a_number), (&names(&["name_embedding"]), &vec![]));
        assert_eq!(texts(&group.rows), [r#"{k:"k",p:{`a b`:1,name:"\"x\"",uuid:"k"},v0:[0.5,1.0]}"#]);
        assert_eq!((prepared.quarantined.len(), prepared.collapsed), (0, 0));
    }

    #[test]
    fn the_label_of_another_kind_brings_its_vectors() {
        let properties = [("name_embedding", Value::Floats(vec![0.5]))];
        let nodes = |labels: &[&str]| transformer().nodes(NodeKindId(1), vec![entity(1, labels, "k", &properties)]);
        assert_eq!(texts(&nodes(&["Episodic"]).nodes[0].rows), [r#"{k:"k",p:{name_embedding:[0.5],uuid:"k"}}"#]);
        assert_eq!(texts(&nodes(&["Episodic", "Community"]).nodes[0].rows), [r#"{k:"k",p:{uuid:"k"},v0:[0.5]}"#]);
    }

    #[test]
    fn nan_gets_a_column_of_its_own() {
        let properties = [("y", Value::Float(f64::NAN)), ("x", Value::Floats(vec![f64::NAN, -0.0])), ("z", Value::Float(1.0))];
        let prepared = transformer().nodes(NodeKindId(0), vec![entity(1, &["Entity"], "k", &properties)]);
        assert_eq!(prepared.nodes[0].not_a_number, names(&["x", "y"]));
        assert_eq!(texts(&prepared.nodes[0].rows), [r#"{k:"k",p:{uuid:"k",z:1.0},f0:[null,-0.0],f1:null}"#]);
    }

    #[test]
    fn groups_stand_in_the_order_of_first_appearance() {
        let vector = [("name_embedding", Value::Floats(vec![0.5, 1.0]))];
        let rows = vec![
            entity(1, &["Entity", "B"], "1", &[]),
            entity(2, &["Entity"], "2", &vector),
            entity(3, &["B", "Entity"], "3", &[]),
            entity(4, &["Entity"], "4", &[]),
        ];
        let prepared = transformer().nodes(NodeKindId(0), rows);
        let keys = |group: &NodeWriteSet| group.rows.identities().iter().map(Key::to_string).collect::<Vec<_>>();
        assert_eq!(prepared.nodes.iter().map(keys).collect::<Vec<_>>(), [vec!["1", "3"], vec!["2"], vec!["4"]]);
    }

    #[test]
    fn a_property_that_cannot_be_written_leaves_the_rest() {
        let properties = [
            ("at", Value::Date { days: i64::MAX }),
            ("a`b", Value::Integer(1)),
            ("name_embedding", Value::Floats(vec![0.5])),
            ("ok", Value::Boolean(true)),
        ];
        let prepared = transformer().nodes(NodeKindId(0), vec![entity(1, &["Entity"], "k", &properties)]);
        assert_eq!(texts(&prepared.nodes[0].rows), [r#"{k:"k",p:{ok:true,uuid:"k"}}"#]);
        assert_eq!(prepared.nodes[0].vectors, vec![]);
        assert_eq!(
            reasons(&prepared),
            [
                ("k", Some("a`b"), "the name contains a backtick, which FalkorDB cannot express"),
                ("k", Some("at"), "the date, time or offset is outside the range of Neo4j"),
                ("k", Some("name_embedding"), "the vector has 1 dimensions where 2 are expected"),
            ]
        );
    }

    #[test]
    fn a_node_without_usable_key_or_label_is_quarantined_whole() {
        let mut unkeyed = entity(17, &["Entity"], "", &[]);
        unkeyed.properties.clear();
        let rows = vec![unkeyed, entity(18, &["Entity"], " k", &[]), entity(19, &["Entity", "a`b"], "k", &[])];
        let prepared = transformer().nodes(NodeKindId(0), rows);
        assert!(prepared.is_empty());
        assert_eq!(
            reasons(&prepared),
            [
                ("Neo4j id 17", None, "the key property is absent (its labels are Entity)"),
                (
                    "Neo4j id 18",
                    None,
                    "the key begins or ends with a blank, which the cache's index does not store (its labels are Entity)"
                ),
                ("k", None, "a label: the name contains a backtick, which FalkorDB cannot express"),
            ]
        );
    }

    #[test]
    fn nodes_of_one_key_collapse_to_the_lowest_number() {
        let rows = vec![entity(9, &["Entity"], "k", &[("n", Value::Integer(9))]), entity(2, &["Entity", "B"], "k", &[])];
        let prepared = transformer().nodes(NodeKindId(0), rows);
        assert_eq!((prepared.len(), prepared.collapsed), (1, 1));
        assert_eq!(texts(&prepared.nodes[0].rows), [r#"{k:"k",p:{uuid:"k"}}"#]);
    }

    #[test]
    fn a_property_that_the_source_names_twice_is_written_once() {
        let prepared = transformer().nodes(NodeKindId(0), vec![entity(1, &["Entity"], "k", &[("uuid", string("k"))])]);
        assert_eq!(texts(&prepared.nodes[0].rows), [r#"{k:"k",p:{uuid:"k"}}"#]);
    }

    #[test]
    fn relationships_are_grouped_by_the_kinds_of_their_ends() {
        let vector = [("fact_embedding", Value::Floats(vec![0.5, 1.0]))];
        let rows = vec![
            fact(1, ("Entity", "a"), ("Entity", "b"), &vector),
            fact(2, ("Episodic", "a"), ("Entity", "b"), &[]),
            fact(3, ("Entity", "a"), ("Entity", "c"), &vector),
        ];
        let prepared = transformer().relationships(RelationshipKindId(0), rows);
        let [facts, other] = &prepared.relationships[..] else { panic!("{:?}", prepared.relationships) };
        assert_eq!(
            texts(&facts.rows),
            [r#"{k:"f",s:"a",e:"b",p:{uuid:"f"},v0:[0.5,1.0]}"#, r#"{k:"f",s:"a",e:"c",p:{uuid:"f"},v0:[0.5,1.0]}"#]
        );
        assert_eq!((other.start.label.as_str(), other.end.label.as_str()), ("Episodic", "Entity"));
        assert_eq!((facts.start.key.as_str(), facts.vectors.len(), other.vectors.len()), ("uuid", 1, 0));
    }

    #[test]
    fn a_relationship_with_an_end_outside_the_profile_is_quarantined() {
        let mut keyless = fact(2, ("Entity", "a"), ("Entity", "b"), &[]);
        keyless.end.key = None;
        let rows = vec![fact(1, ("Person", "a"), ("Entity", "b"), &[]), keyless];
        let prepared = transformer().relationships(RelationshipKindId(0), rows);
        assert!(prepared.is_empty());
        assert_eq!(
            reasons(&prepared),
            [
                ("f", None, "its start node: the profile has no kind for it"),
                ("Neo4j id 2", None, "its end node: the key property is absent")
            ]
        );
    }

    #[test]
    fn relationships_collapse_only_between_the_same_ends() {
        let between = |number, end| fact(number, ("Entity", "a"), ("Entity", end), &[]);
        let prepared =
            transformer().relationships(RelationshipKindId(0), vec![between(5, "b"), between(4, "b"), between(6, "c")]);
        assert_eq!((prepared.len(), prepared.collapsed), (2, 1));
    }

    /// Returns what a row must hold, made from the properties without any of the code above.
    fn expected_row(properties: &BTreeMap<String, Value>) -> DecodedValue {
        let usable = |name: &str| !name.is_empty() && name.len() <= 512 && !name.contains(['`', '\0']);
        let (mut map, mut row) = (BTreeMap::new(), BTreeMap::new());
        for (name, value) in properties.iter().filter(|(name, _)| usable(name)) {
            match fit(value).unwrap() {
                Fit::Whole => map.insert(name.clone(), expected(value)),
                Fit::ButForNaN => row.insert(format!("f{}", row.len()), expected(value)),
            };
        }
        row.insert("k".to_owned(), expected(&properties["uuid"]));
        row.insert("p".to_owned(), DecodedValue::Map(map));
        DecodedValue::Map(row)
    }

    proptest! {
        #[test]
        fn any_row_reads_back_whole(rows in prop::collection::vec(prop::collection::btree_map(any_text(), any_plain(), 0..8), 0..12)) {
            let mut rows = rows;
            for (index, properties) in rows.iter_mut().enumerate() {
                properties.insert("uuid".to_owned(), string(&format!("k{index:02}")));
                properties.remove("name_embedding");
            }
            let node = |(index, properties): (usize, &BTreeMap<String, Value>)| SourceNode {
                number: ElementNumber(index as u64),
                labels: strings(&["Entity"]),
                properties: properties.clone().into_iter().rev().collect(),
            };
            let prepared = transformer().nodes(NodeKindId(0), rows.iter().enumerate().map(node).collect());
            prop_assert_eq!(prepared.len(), rows.len());
            let mut signatures = BTreeSet::new();
            for group in &prepared.nodes {
                prop_assert!(signatures.insert(group.not_a_number.clone()), "two groups of one signature");
                for (key, text) in group.rows.identities().iter().zip(texts(&group.rows)) {
                    let index: usize = key.as_str()[1..].parse().unwrap();
                    prop_assert_eq!(decode(&text), Ok(expected_row(&rows[index])), "{}", text);
                }
            }
        }
    }
}
