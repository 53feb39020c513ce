//! What the transformer makes of a batch: rows encoded for FalkorDB, grouped by the one query that can take them.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use chrono::{DateTime, Utc};

use super::element::{ElementNumber, NodeIdentity, RelationshipIdentity};
use super::key::Key;
use super::kind::{ElementClass, ElementKind, KindName};
use super::name::{Label, PropertyName, RelationshipType};
use super::profile::Profile;

/// Rows encoded as FalkorDB parameter text, each a map literal, side by side in one buffer, so that a refused group can be
/// halved without encoding anything again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedRows<I> {
    identities: Vec<I>,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl<I> Default for EncodedRows<I> {
    fn default() -> Self {
        Self { identities: Vec::new(), text: Vec::new(), ends: Vec::new() }
    }
}

impl<I> EncodedRows<I> {
    /// Appends a row; `encode` writes its text.
    pub fn push(&mut self, identity: I, encode: impl FnOnce(&mut Vec<u8>)) {
        encode(&mut self.text);
        self.ends.push(self.text.len());
        self.identities.push(identity);
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.identities.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.identities.is_empty()
    }

    /// The rows' identities, in order.
    pub fn identities(&self) -> &[I] {
        &self.identities
    }

    /// The text of the row at `index`.
    pub fn row(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.text[start..self.ends[index]]
    }

    /// Keeps only the rows whose index the condition holds for.
    pub(crate) fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        let mut kept = Self::default();
        let identities = std::mem::take(&mut self.identities);
        for (index, identity) in identities.into_iter().enumerate().filter(|(index, _)| keep(*index)) {
            let row = self.row(index);
            kept.push(identity, |text| text.extend_from_slice(row));
        }
        *self = kept;
    }

    /// Bytes of all rows' text.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }
}

/// Nodes that one query writes: the same kind, labels, present vectors and properties that hold NaN.
///
/// A row is `{k:"key",p:{…all other properties…},v0:[…],v1:[…],f0:null,f1:[1.0,null]}`: `v{i}` for the i-th of `vectors`,
/// `f{i}` for the i-th of `not_a_number`.
///
/// The statement must begin with the full replacement `SET n = r.p` and continue with one assignment a vector and
/// [`not_a_number_expression`] a property of `not_a_number`. FalkorDB skips a single assignment of a value that it deems
/// equal, and it deems `-0.0` equal to `0.0`, `1` to `1.0`, and vectors equal that differ in the last digits (4.16.3); a full
/// replacement clears first, so nothing is skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeGroup {
    /// The group of all its rows, where each group has a graph of its own.
    pub group: Option<String>,
    /// The identity label.
    pub label: Label,
    /// The key property.
    pub key: PropertyName,
    /// Labels besides the identity label, sorted.
    pub extra_labels: Vec<Label>,
    /// Vector properties that every row of the group has.
    pub vectors: Vec<PropertyName>,
    /// Properties that hold NaN in every row of the group, alone or within a list.
    pub not_a_number: Vec<PropertyName>,
    /// The rows, by key.
    pub rows: EncodedRows<Key>,
}

/// The Cypher that makes the i-th property of `not_a_number` out of column `f{i}` of the row `row`.
///
/// Parameter text cannot say NaN, query text can, as `0.0/0.0`. A Neo4j list never holds null, so null stands in NaN's place.
pub fn not_a_number_expression(row: &str, index: usize) -> String {
    format!("CASE WHEN {row}.f{index} IS NULL THEN 0.0/0.0 ELSE [x IN {row}.f{index} | coalesce(x, 0.0/0.0)] END")
}

/// One end of a relationship group: which label and key property find the node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointKind {
    /// The identity label.
    pub label: Label,
    /// The key property.
    pub key: PropertyName,
}

/// Relationships that one query writes: the same type, endpoint kinds, present vectors and properties that hold NaN.
///
/// A row is `{k:"key",s:"start key",e:"end key",p:{…},v0:[…],f0:null}`, its columns as those of [`NodeGroup`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationshipGroup {
    /// The group of all its rows, where each group has a graph of its own.
    pub group: Option<String>,
    /// The type.
    pub rel_type: RelationshipType,
    /// The key property.
    pub key: PropertyName,
    /// The kind that it begins at.
    pub start: EndpointKind,
    /// The kind that it ends at.
    pub end: EndpointKind,
    /// Vector properties that every row of the group has.
    pub vectors: Vec<PropertyName>,
    /// Properties that hold NaN in every row of the group, alone or within a list.
    pub not_a_number: Vec<PropertyName>,
    /// The rows.
    pub rows: EncodedRows<RelationshipIdentity>,
}

/// All that one batch writes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PreparedRows {
    /// Nodes to write.
    pub nodes: Vec<NodeGroup>,
    /// Relationships to write.
    pub relationships: Vec<RelationshipGroup>,
    /// Nodes to delete, with their relationships.
    pub deleted_nodes: Vec<NodeIdentity>,
    /// Relationships to delete.
    pub deleted_relationships: Vec<RelationshipIdentity>,
    /// Elements that cannot be written, with the reason.
    pub quarantined: Vec<Quarantined>,
    /// What was converted by rule, counted.
    pub conversions: Conversions,
    /// Elements that share an identity with another one and gave way to it.
    pub collapsed: u64,
    /// Whether it mends the cache: then what it writes may stand where it does not belong.
    pub repairs: bool,
    /// What a look at unusable elements found, for the quarantine alone.
    pub review: Review,
}

/// What a look at the elements of the quarantine found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Review {
    /// Kind and key of entries whose element is gone from the source, or has another name by now.
    pub released: Vec<(ElementKind, String)>,
    /// By type, how many relationships cannot be written because this end of them is in the quarantine. For a type that is named,
    /// these are all.
    pub waiting: BTreeMap<RelationshipType, BTreeMap<NodeIdentity, u64>>,
}

impl PreparedRows {
    /// Adds rows of other kinds.
    pub(crate) fn append(&mut self, mut other: PreparedRows) {
        self.nodes.append(&mut other.nodes);
        self.relationships.append(&mut other.relationships);
        self.deleted_nodes.append(&mut other.deleted_nodes);
        self.deleted_relationships.append(&mut other.deleted_relationships);
        self.quarantined.append(&mut other.quarantined);
        self.conversions.add(other.conversions);
        self.collapsed += other.collapsed;
    }

    /// How many elements this writes or deletes.
    pub(crate) fn len(&self) -> usize {
        self.nodes.iter().map(|g| g.rows.len()).sum::<usize>()
            + self.relationships.iter().map(|g| g.rows.len()).sum::<usize>()
            + self.deleted_nodes.len()
            + self.deleted_relationships.len()
    }

    /// Whether there is nothing to write or delete.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An element or one of its properties that the cache cannot hold. Two are the same that are about the same for the same reason,
/// however often that was tried.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Quarantined {
    /// Label or type.
    pub kind: String,
    /// Which of the two; absent in what was stored before a label and a type of one name were told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub element: Option<ElementClass>,
    /// The key where there is a usable one, else a name made of Neo4j's id of the element. Relationships that wait for one of their
    /// ends share an entry, which is named by that end.
    pub key: String,
    /// The property, when the rest of the element was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<String>,
    /// Why, for a person; never holds the value.
    pub reason: String,
    /// Since when; absent until it is listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// How often it could not be written since then.
    #[serde(default, skip_serializing_if = "is_none")]
    pub attempts: u32,
    /// Whether an operator has said to let it be: it stays listed, and is neither counted nor tried again with all others.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ignored: bool,
    /// How many elements it stands for.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub number: u64,
    /// What keeps the element out of the cache.
    #[serde(default, skip_serializing_if = "Cause::is_content")]
    pub cause: Cause,
}

/// What keeps an element out of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The reason lies in the element: its key, a label, its group or the key of an end.
    #[default]
    Content,
    /// The cache has refused its row, by a constraint or a limit. Only another attempt can tell whether it still does.
    Cache,
    /// An end of it was not in the cache.
    End,
    /// A graph of its group's name is foreign: an older state of the element must not stand in another graph.
    Graph,
}

impl Cause {
    fn is_content(&self) -> bool {
        *self == Cause::Content
    }
}

/// How an element without usable key is named, before its id.
const ID: &str = "Neo4j id ";

/// The name of an element that has no usable key.
pub(crate) fn name_by_id(number: ElementNumber) -> String {
    format!("{ID}{}", number.0)
}

/// The id in such a name.
pub(crate) fn id_in_name(name: &str) -> Option<ElementNumber> {
    name.strip_prefix(ID)?.parse().ok().map(ElementNumber)
}

/// How the entry of relationships is named that wait for one of their ends, before the end.
const WAITING: &str = "relationships of ";

/// The name of all relationships that wait for this end of them.
pub(crate) fn name_by_end(label: &str, key: &str) -> String {
    format!("{WAITING}(:{label} {key})")
}

/// Whether this is the name of such relationships.
pub(crate) fn is_name_by_end(name: &str) -> bool {
    name.starts_with(WAITING)
}

/// Whether an entry of this name is not named by a key. An element with a key that reads so is not listed by its key either.
pub(crate) fn is_name(name: &str) -> bool {
    id_in_name(name).is_some() || is_name_by_end(name)
}

fn one() -> u64 {
    1
}

fn is_one(number: &u64) -> bool {
    *number == 1
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// What was stored before attempts were counted has none, and is found again only as it was written.
fn is_none(attempts: &u32) -> bool {
    *attempts == 0
}

impl Quarantined {
    /// One that is not listed yet.
    pub fn new(kind: KindName<'_>, key: impl Into<String>, property: Option<String>, reason: impl Into<String>) -> Self {
        let (element, kind) = (Some(kind.class()), kind.as_str().to_owned());
        let (key, reason) = (key.into(), reason.into());
        let cause = Cause::Content;
        Self { kind, element, key, property, reason, since: None, attempts: 0, ignored: false, number: 1, cause }
    }

    /// Its label or its type.
    pub(crate) fn kind_name(&self) -> KindName<'_> {
        match self.element {
            Some(ElementClass::Relationship) => KindName::Type(&self.kind),
            Some(ElementClass::Node) => KindName::Label(&self.kind),
            None if self.is_about_waiting() => KindName::Type(&self.kind),
            None => KindName::Label(&self.kind),
        }
    }

    /// What the entry is about: its kind and the key.
    pub(crate) fn place(&self) -> (KindName<'_>, &str) {
        (self.kind_name(), &self.key)
    }

    /// The same for an entry that was stored before a label and a type of one name were told apart. Where the profile has both,
    /// it is taken for one of a node: the next look at it tells.
    pub(crate) fn told_apart(self, profile: &Profile) -> Self {
        if self.element.is_some() {
            return self;
        }
        let is_label = profile.nodes.iter().any(|kind| kind.label.as_str() == self.kind);
        let is_node = is_label && !self.is_about_waiting();
        let element = if is_node { ElementClass::Node } else { ElementClass::Relationship };
        Self { element: Some(element), ..self }
    }

    /// So many relationships of a type that cannot be written because this end of them is in the quarantine.
    pub(crate) fn waiting(rel_type: &RelationshipType, end: &NodeIdentity, number: u64) -> Self {
        const REASON: &str = "a node at their end is in the quarantine: they follow once it can be written";
        Self {
            number,
            ..Self::new(KindName::Type(rel_type.as_str()), name_by_end(end.label.as_str(), end.key.as_str()), None, REASON)
        }
    }

    /// The same, for this cause.
    pub(crate) fn because_of(self, cause: Cause) -> Self {
        Self { cause, ..self }
    }

    /// Whether it is about relationships that wait for one of their ends.
    pub(crate) fn is_about_waiting(&self) -> bool {
        is_name_by_end(&self.key)
    }

    /// Whether it is about an element and not about a property of one.
    pub(crate) fn is_of_element(&self) -> bool {
        self.property.is_none()
    }

    /// As it is listed the first time.
    pub(crate) fn listed(&self, since: DateTime<Utc>) -> Self {
        Self { since: Some(since), attempts: 1, ..self.clone() }
    }

    /// As it is listed when it was tried again in vain.
    pub(crate) fn tried_again(&self) -> Self {
        Self { attempts: self.attempts.saturating_add(1), ..self.clone() }
    }

    /// As it is listed once an operator has said to let it be.
    pub(crate) fn ignored(&self) -> Self {
        Self { ignored: true, ..self.clone() }
    }

    /// How many of these need attention.
    pub(crate) fn count<'q>(entries: impl IntoIterator<Item = &'q Self>) -> u64 {
        entries.into_iter().filter(|entry| !entry.ignored).count() as u64
    }

    fn identity(&self) -> (KindName<'_>, &str, Option<&str>, &str) {
        (self.kind_name(), &self.key, self.property.as_deref(), &self.reason)
    }
}

impl PartialEq for Quarantined {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Quarantined {}

impl Hash for Quarantined {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

/// Values that were converted by a documented rule that loses something, counted (guarantee G5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Conversions {
    /// Strings from which NUL was removed.
    pub nul_removed: u64,
    /// Datetimes whose nanoseconds were cut to microseconds.
    pub nanoseconds_cut: u64,
    /// Dates, times, durations and points that became text.
    pub became_text: u64,
    /// Byte arrays that became base64 text.
    pub became_base64: u64,
    /// Vectors with a number that is not exactly a 32-bit float and was rounded to one.
    pub vectors_narrowed: u64,
}

impl Conversions {
    /// Adds another count to this one.
    pub(crate) fn add(&mut self, other: Conversions) {
        self.nul_removed += other.nul_removed;
        self.nanoseconds_cut += other.nanoseconds_cut;
        self.became_text += other.became_text;
        self.became_base64 += other.became_base64;
        self.vectors_narrowed += other.vectors_narrowed;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn elements_without_key_are_named_by_their_id() {
        assert_eq!(name_by_id(ElementNumber(17)), "Neo4j id 17");
        assert_eq!(id_in_name("Neo4j id 17"), Some(ElementNumber(17)));
        assert_eq!((id_in_name("17"), id_in_name("Neo4j id x")), (None, None));
    }

    #[test]
    fn an_entry_that_was_stored_without_a_number_stands_for_one_element() {
        let stored = r#"{"kind":"A","key":"k","reason":"r"}"#;
        let entry: Quarantined = serde_json::from_str(stored).unwrap();
        assert_eq!((entry.number, serde_json::to_string(&entry).unwrap().as_str()), (1, stored));
    }

    #[test]
    fn entries_tell_a_label_from_a_type_of_its_name() {
        let of = |kind| Quarantined::new(kind, "k", None, "r");
        let (node, relationship) = (of(KindName::Label("Foo")), of(KindName::Type("Foo")));
        assert_ne!(node, relationship);
        let stored = serde_json::to_string(&relationship).unwrap();
        assert_eq!(stored, r#"{"kind":"Foo","element":"relationship","key":"k","reason":"r"}"#);
        assert_eq!(serde_json::from_str::<Quarantined>(&stored).unwrap(), relationship);
    }

    #[test]
    fn what_was_stored_before_is_told_apart_by_the_profile() {
        let profile = Profile::graphiti().unwrap();
        let stored = |kind: &str, key: &str| {
            let entry: Quarantined = serde_json::from_str(&format!(r#"{{"kind":"{kind}","key":"{key}","reason":"r"}}"#)).unwrap();
            entry.told_apart(&profile).element
        };
        assert_eq!(stored("Entity", "a"), Some(ElementClass::Node));
        assert_eq!(stored("RELATES_TO", "a"), Some(ElementClass::Relationship));
        assert_eq!(stored("RELATES_TO", &name_by_end("Entity", "a")), Some(ElementClass::Relationship));
    }

    #[test]
    fn rows_are_found_again_one_by_one() {
        let mut rows = EncodedRows::default();
        rows.push(1, |text| text.extend_from_slice(b"{a:1}"));
        rows.push(2, |text| text.extend_from_slice(b"{}"));
        assert_eq!((rows.row(0), rows.row(1)), (&b"{a:1}"[..], &b"{}"[..]));
        assert_eq!((rows.len(), rows.bytes()), (2, 7));
    }
}
