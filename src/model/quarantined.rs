//! The entries of the quarantine.

use std::hash::{Hash, Hasher};

use chrono::{DateTime, Utc};

use super::element::{ElementNumber, NodeIdentity};
use super::kind::{ElementClass, KindName};
use super::name::RelationshipType;
use super::profile::Profile;

/// An element or one of its properties that the cache cannot hold. Two entries are the same if they concern the same for the same
/// reason, whatever the number of attempts.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Quarantined {
    /// The label or the type.
    pub kind: String,
    /// The class of the element. Absent in entries that were stored before a label and a type of the same name were
    /// distinguished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) element: Option<ElementClass>,
    /// The key if it is usable, otherwise a name made of Neo4j's id of the element. Relationships that wait for one of their ends
    /// share an entry, which has the name of that end.
    pub key: String,
    /// The property, if the rest of the element was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<String>,
    /// The reason for an operator; never contains the value.
    pub reason: String,
    /// The beginning of the quarantine. Absent until the entry is listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// The number of failed attempts since then.
    #[serde(default, skip_serializing_if = "is_none")]
    pub attempts: u32,
    /// Whether an operator has ignored the entry: it stays listed, and is neither counted nor retried with all others.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ignored: bool,
    /// The number of elements that the entry covers.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub number: u64,
    /// The cause that keeps the element out of the cache.
    #[serde(default, skip_serializing_if = "QuarantineCause::is_content")]
    pub(crate) cause: QuarantineCause,
}

/// The cause that keeps an element out of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum QuarantineCause {
    /// The reason lies in the element: its key, a label, its group or the key of an end.
    #[default]
    Content,
    /// The cache has refused its row because of a constraint or a limit. Only another attempt shows whether it still does.
    Cache,
    /// One of its ends was not in the cache.
    End,
    /// A graph with its group's name is foreign: an older state of the element must not remain in another graph.
    Graph,
}

impl QuarantineCause {
    fn is_content(&self) -> bool {
        *self == QuarantineCause::Content
    }
}

/// The beginning of a name for an element without a usable key, before its id.
const ID: &str = "Neo4j id ";

/// The name of an element that has no usable key.
pub(crate) fn name_by_id(number: ElementNumber) -> String {
    format!("{ID}{}", number.0)
}

/// The id in such a name.
pub(crate) fn id_in_name(name: &str) -> Option<ElementNumber> {
    name.strip_prefix(ID)?.parse().ok().map(ElementNumber)
}

/// The beginning of the name for relationships that wait for one of their ends, before the end.
const WAITING: &str = "relationships of ";

/// The name of all relationships that wait for this end of them.
pub(crate) fn name_by_end(label: &str, key: &str) -> String {
    format!("{WAITING}(:{label} {key})")
}

/// Whether this is the name of such relationships.
pub(crate) fn is_name_by_end(name: &str) -> bool {
    name.starts_with(WAITING)
}

/// Whether an entry of this name is not named by a key. An element with a key of this form is not listed by its key either.
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

/// An entry that was stored before attempts were counted has none, and is found again only in its stored form.
fn is_none(attempts: &u32) -> bool {
    *attempts == 0
}

impl Quarantined {
    /// An entry that is not listed yet.
    pub fn new(kind: KindName<'_>, key: impl Into<String>, property: Option<String>, reason: impl Into<String>) -> Self {
        let (element, kind) = (Some(kind.class()), kind.as_str().to_owned());
        let (key, reason) = (key.into(), reason.into());
        let cause = QuarantineCause::Content;
        Self { kind, element, key, property, reason, since: None, attempts: 0, ignored: false, number: 1, cause }
    }

    /// The label or type, with the distinction.
    pub(crate) fn kind_name(&self) -> KindName<'_> {
        match self.element {
            Some(ElementClass::Relationship) => KindName::Type(&self.kind),
            Some(ElementClass::Node) => KindName::Label(&self.kind),
            None if self.is_about_waiting() => KindName::Type(&self.kind),
            None => KindName::Label(&self.kind),
        }
    }

    /// The kind and the key of the entry's element.
    pub(crate) fn place(&self) -> (KindName<'_>, &str) {
        (self.kind_name(), &self.key)
    }

    /// Completes an entry that was stored before a label and a type of the same name were distinguished. If the profile has both,
    /// it counts as an entry of a node: the next review corrects this.
    pub(crate) fn told_apart(self, profile: &Profile) -> Self {
        if self.element.is_some() {
            return self;
        }
        let is_label = profile.nodes.iter().any(|kind| kind.label.as_str() == self.kind);
        let is_node = is_label && !self.is_about_waiting();
        let element = if is_node { ElementClass::Node } else { ElementClass::Relationship };
        Self { element: Some(element), ..self }
    }

    /// An entry for this number of relationships of a type that cannot be written because this end of them is in the quarantine.
    pub(crate) fn waiting(rel_type: &RelationshipType, end: &NodeIdentity, number: u64) -> Self {
        const REASON: &str = "a node at one end is in the quarantine: the relationships are written once the node can be written";
        Self {
            number,
            ..Self::new(KindName::Type(rel_type.as_str()), name_by_end(end.label.as_str(), end.key.as_str()), None, REASON)
        }
    }

    /// The same entry with this cause.
    pub(crate) fn because_of(self, cause: QuarantineCause) -> Self {
        Self { cause, ..self }
    }

    /// Whether the entry is for relationships that wait for one of their ends.
    pub(crate) fn is_about_waiting(&self) -> bool {
        is_name_by_end(&self.key)
    }

    /// Whether the entry is for an element and not for one of its properties.
    pub(crate) fn is_of_element(&self) -> bool {
        self.property.is_none()
    }

    /// The entry when it is first listed.
    pub(crate) fn listed(&self, since: DateTime<Utc>) -> Self {
        Self { since: Some(since), attempts: 1, ..self.clone() }
    }

    /// The entry after another failed attempt.
    pub(crate) fn tried_again(&self) -> Self {
        Self { attempts: self.attempts.saturating_add(1), ..self.clone() }
    }

    /// The entry after an operator has ignored it.
    pub(crate) fn ignored(&self) -> Self {
        Self { ignored: true, ..self.clone() }
    }

    /// The number of entries that need attention.
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
}
