//! The quarantined elements: the cache lacks them, and this is no difference.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;

use super::element::{ElementIdentity, NodeIdentity, RelationshipIdentity};
use super::kind::KindName;
use super::quarantined::{QuarantineCause, Quarantined, is_name};

/// The quarantine of a graph's writer, as comparisons of the graph need it. Clones share one list.
#[derive(Debug, Clone, Default)]
pub(crate) struct QuarantineIndex(Arc<RwLock<QuarantineList>>);

#[derive(Debug, Default)]
struct QuarantineList {
    kinds: Kinds,
    /// The number of nodes that have left the list since the beginning.
    nodes_left: u64,
}

#[derive(Debug, Default)]
struct Kinds {
    by_label: HashMap<String, QuarantinedNames>,
    by_type: HashMap<String, QuarantinedNames>,
}

impl Kinds {
    fn of(&self, kind: KindName<'_>) -> Option<&QuarantinedNames> {
        match kind {
            KindName::Label(name) => self.by_label.get(name),
            KindName::Type(name) => self.by_type.get(name),
        }
    }

    fn like(&mut self, kind: KindName<'_>) -> &mut HashMap<String, QuarantinedNames> {
        match kind {
            KindName::Label(_) => &mut self.by_label,
            KindName::Type(_) => &mut self.by_type,
        }
    }

    fn lists(&self, kind: KindName<'_>, key: &str) -> bool {
        self.of(kind).is_some_and(|names| names.elements.contains_key(key))
    }

    fn all(&self) -> impl Iterator<Item = &QuarantinedNames> {
        self.by_label.values().chain(self.by_type.values())
    }
}

#[derive(Debug, Default)]
struct QuarantinedNames {
    /// Quarantined elements by key. An element without a usable key has a substitute name.
    elements: HashMap<String, Element>,
    /// Properties that an element lacks, by its key.
    properties: HashMap<String, BTreeSet<String>>,
}

#[derive(Debug, Clone, Copy)]
struct Element {
    /// Whether an operator has ignored the entry.
    ignored: bool,
    /// The number of elements of the source that the entry covers.
    number: u64,
    cause: QuarantineCause,
}

impl QuarantineIndex {
    /// The list of a quarantine.
    pub(crate) fn of<'q>(quarantine: impl IntoIterator<Item = &'q Quarantined>) -> Self {
        let excluded = Self::default();
        excluded.add(quarantine);
        excluded
    }

    /// Adds entries to the list.
    pub(crate) fn add<'q>(&self, entries: impl IntoIterator<Item = &'q Quarantined>) {
        self.replace([], entries);
    }

    /// Removes entries from the list.
    pub(crate) fn remove<'q>(&self, entries: impl IntoIterator<Item = &'q Quarantined>) {
        self.replace(entries, []);
    }

    /// Removes entries and adds others, in one step for all readers.
    pub(crate) fn replace<'q>(
        &self,
        outdated: impl IntoIterator<Item = &'q Quarantined>,
        added: impl IntoIterator<Item = &'q Quarantined>,
    ) {
        let mut listed = self.0.write();
        let mut gone: BTreeSet<(KindName<'_>, &str)> = BTreeSet::new();
        for entry in outdated {
            take_out(&mut listed.kinds, entry);
            gone.extend(entry.is_of_element().then_some(entry.place()));
        }
        for entry in added {
            gone.remove(&entry.place());
            let names = listed.kinds.like(entry.kind_name()).entry(entry.kind.clone()).or_default();
            match &entry.property {
                None => {
                    let element = Element { ignored: entry.ignored, number: entry.number, cause: entry.cause };
                    names.elements.insert(entry.key.clone(), element);
                }
                Some(property) => drop(names.properties.entry(entry.key.clone()).or_default().insert(property.clone())),
            }
        }
        listed.nodes_left += gone.iter().filter(|(kind, _)| matches!(kind, KindName::Label(_))).count() as u64;
    }

    /// The number of nodes that have left the list so far.
    pub(crate) fn nodes_left(&self) -> u64 {
        self.0.read().nodes_left
    }

    /// Whether an element of this label or type is listed as a whole.
    pub(crate) fn contains(&self, kind: KindName<'_>, key: &str) -> bool {
        self.0.read().kinds.lists(kind, key)
    }

    /// Whether an element is listed because its group has no graph.
    pub(crate) fn is_without_graph(&self, kind: KindName<'_>, key: &str) -> bool {
        self.element(kind, key).is_some_and(|element| element.cause == QuarantineCause::Graph)
    }

    /// Keys of elements of a label or type that are listed because their group has no graph: up to `limit`.
    pub(crate) fn keys_without_graph(&self, kind: KindName<'_>, limit: usize) -> Vec<String> {
        let listed = self.0.read();
        let elements = listed.kinds.of(kind).into_iter().flat_map(|names| &names.elements);
        elements.filter(|(_, element)| element.cause == QuarantineCause::Graph).map(|(key, _)| key.clone()).take(limit).collect()
    }

    fn element(&self, kind: KindName<'_>, key: &str) -> Option<Element> {
        self.0.read().kinds.of(kind).and_then(|names| names.elements.get(key)).copied()
    }

    /// The cause that keeps the element of this key out of the cache, if this key is listed.
    pub(crate) fn cause_of(&self, kind: KindName<'_>, key: &str) -> Option<QuarantineCause> {
        self.0.read().cause_of(kind, key)
    }

    /// Whether the list explains that the cache lacks an element with writable content: its row was refused, or it is a
    /// relationship with an end that cannot be kept.
    pub(crate) fn covers(&self, identity: &ElementIdentity) -> bool {
        let listed = self.0.read();
        // The list is nearly always empty.
        if listed.kinds.all().next().is_none() {
            return false;
        }
        let (kind, key) = (identity.kind_name(), identity.key().as_str());
        match listed.cause_of(kind, key) {
            Some(QuarantineCause::Cache | QuarantineCause::End | QuarantineCause::Graph) => return true,
            // An operator has ignored the entry.
            Some(QuarantineCause::Content) if listed.is_ignored(kind, key) => return true,
            // The element had other content then.
            Some(QuarantineCause::Content) | None => {}
        }
        let ElementIdentity::Relationship(relationship) = identity else { return false };
        [&relationship.start, &relationship.end]
            .into_iter()
            .any(|end| listed.cause_of(KindName::Label(end.label.as_str()), end.key.as_str()).is_some())
    }

    /// The end of a relationship that is listed as a whole.
    pub(crate) fn listed_end<'r>(&self, relationship: &'r RelationshipIdentity) -> Option<&'r NodeIdentity> {
        let is_listed = |end: &&NodeIdentity| self.cause_of(KindName::Label(end.label.as_str()), end.key.as_str()).is_some();
        [&relationship.start, &relationship.end].into_iter().find(is_listed)
    }

    /// Whether an operator has ignored the entry.
    pub(crate) fn is_ignored(&self, kind: KindName<'_>, key: &str) -> bool {
        self.0.read().is_ignored(kind, key)
    }

    /// The number of a label's or type's elements in the source that the cache lacks because of the list.
    pub(crate) fn number_of(&self, kind: KindName<'_>) -> u64 {
        self.0.read().kinds.of(kind).map_or(0, |names| names.elements.values().map(|element| element.number).sum())
    }

    /// Names of the entries of a label or type: up to `limit`, in order, after the name `after`.
    pub(crate) fn names_of(&self, kind: KindName<'_>, after: &str, limit: usize) -> Vec<String> {
        let listed = self.0.read();
        let Some(names) = listed.kinds.of(kind) else { return Vec::new() };
        let all: BTreeSet<&String> = names.elements.keys().chain(names.properties.keys()).collect();
        all.into_iter().filter(|name| name.as_str() > after).take(limit).cloned().collect()
    }

    /// The number of listed elements.
    pub(crate) fn len(&self) -> usize {
        self.0.read().kinds.all().map(|names| names.elements.len()).sum()
    }

    /// Whether nothing is listed.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.read().kinds.all().next().is_none()
    }
}

impl QuarantineList {
    /// If an element's key reads like a name, the entry of this name does not concern the element.
    fn cause_of(&self, kind: KindName<'_>, key: &str) -> Option<QuarantineCause> {
        let element = self.kinds.of(kind)?.elements.get(key)?;
        (!is_name(key)).then_some(element.cause)
    }

    fn is_ignored(&self, kind: KindName<'_>, key: &str) -> bool {
        self.kinds.of(kind).and_then(|names| names.elements.get(key)).is_some_and(|element| element.ignored)
    }
}

fn take_out(kinds: &mut Kinds, entry: &Quarantined) {
    let kinds = kinds.like(entry.kind_name());
    let Some(names) = kinds.get_mut(&entry.kind) else { return };
    match &entry.property {
        None => drop(names.elements.remove(&entry.key)),
        Some(property) => {
            if let Some(properties) = names.properties.get_mut(&entry.key) {
                properties.remove(property);
                if properties.is_empty() {
                    names.properties.remove(&entry.key);
                }
            }
        }
    }
    if names.elements.is_empty() && names.properties.is_empty() {
        kinds.remove(&entry.kind);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::element::{NodeIdentity, RelationshipIdentity};
    use crate::model::key::Key;
    use crate::model::name::{Label, RelationshipType};

    fn node(key: &str) -> NodeIdentity {
        NodeIdentity { label: Label::parse("Entity").unwrap(), key: Key::parse(key).unwrap() }
    }

    #[test]
    fn elements_are_excluded_and_properties_are_not() {
        let (entity, saga) = (KindName::Label("Entity"), KindName::Label("Saga"));
        let whole = Quarantined::new(entity, "a", None, "reason");
        let property = Quarantined::new(entity, "b", Some("name".to_owned()), "reason");
        let excluded = QuarantineIndex::of([&whole, &property]);
        assert!(excluded.contains(entity, "a") && !excluded.contains(entity, "b") && !excluded.contains(saga, "a"));
        assert!(!excluded.contains(KindName::Type("Entity"), "a"), "a type of that name is something else");
        assert!(!excluded.is_ignored(entity, "a"));
        assert_eq!(excluded.names_of(entity, "", 9), ["a", "b"]);
        assert_eq!(excluded.names_of(entity, "a", 9), ["b"]);
        excluded.add([&whole.ignored()]);
        assert!(excluded.is_ignored(entity, "a") && excluded.len() == 1);
        excluded.replace([&whole], [&whole]);
        assert_eq!(excluded.nodes_left(), 0, "it is listed again");
        excluded.clone().remove([&whole, &property]);
        assert!(excluded.is_empty() && excluded.nodes_left() == 1);
    }

    #[test]
    fn relationships_of_a_node_that_is_listed_are_covered_by_it() {
        let rel_type = RelationshipType::parse("KNOWS").unwrap();
        let fact = |start, end| {
            let key = Key::parse("f").unwrap();
            let rel_type = rel_type.clone();
            ElementIdentity::Relationship(RelationshipIdentity { rel_type, key, start: node(start), end: node(end) })
        };
        let listed = Quarantined::new(KindName::Label("Entity"), "hub", None, "reason");
        let excluded = QuarantineIndex::of([&listed]);
        assert!(excluded.covers(&fact("hub", "a")) && excluded.covers(&fact("a", "hub")) && !excluded.covers(&fact("a", "b")));
        assert!(!excluded.covers(&ElementIdentity::Node(node("hub"))), "its content tells");
        excluded.replace([&listed], [&listed.clone().because_of(QuarantineCause::Cache)]);
        assert!(excluded.covers(&ElementIdentity::Node(node("hub"))), "only another attempt tells");
        excluded.add([&Quarantined::waiting(&rel_type, &node("hub"), 7)]);
        let number = |kind| excluded.number_of(kind);
        assert_eq!(
            (number(KindName::Type("KNOWS")), number(KindName::Label("Entity")), number(KindName::Label("KNOWS"))),
            (7, 1, 0)
        );
    }

    #[test]
    fn a_relationship_waits_for_the_end_that_is_listed() {
        let rel_type = RelationshipType::parse("RELATES_TO").unwrap();
        let fact = RelationshipIdentity { rel_type, key: Key::parse("f").unwrap(), start: node("a"), end: node("b") };
        let excluded = QuarantineIndex::of(&[Quarantined::new(KindName::Label("Entity"), "b", None, "r")]);
        assert_eq!(excluded.listed_end(&fact), Some(&node("b")));
        assert_eq!(QuarantineIndex::default().listed_end(&fact), None);
    }
}
