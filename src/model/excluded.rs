//! What stands in the quarantine: the cache lacks it, and that is no difference.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;

use super::element::ElementIdentity;
use super::prepared::{Cause, Quarantined, is_name};

/// What the writer of a graph has quarantined, for whoever compares the graph. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Excluded(Arc<RwLock<Listed>>);

#[derive(Debug, Default)]
struct Listed {
    kinds: Kinds,
    /// How many elements of a label or type have left since the beginning.
    left: HashMap<String, u64>,
}

/// By label or type.
type Kinds = HashMap<String, Names>;

#[derive(Debug, Default)]
struct Names {
    /// Elements by key, or by the name that stands for it.
    elements: HashMap<String, Element>,
    /// Properties that an element lacks, by its key.
    properties: HashMap<String, BTreeSet<String>>,
}

#[derive(Debug, Clone, Copy)]
struct Element {
    /// Whether an operator lets it be.
    ignored: bool,
    /// How many elements of the source it stands for.
    number: u64,
    cause: Cause,
}

impl Excluded {
    /// What a quarantine lists.
    pub fn of<'q>(quarantine: impl IntoIterator<Item = &'q Quarantined>) -> Self {
        let excluded = Self::default();
        excluded.add(quarantine);
        excluded
    }

    /// Adds entries.
    pub fn add<'q>(&self, entries: impl IntoIterator<Item = &'q Quarantined>) {
        self.replace([], entries);
    }

    /// Takes entries out again.
    pub fn remove<'q>(&self, entries: impl IntoIterator<Item = &'q Quarantined>) {
        self.replace(entries, []);
    }

    /// Takes entries out and adds others, in one step for whoever looks.
    pub fn replace<'q>(
        &self,
        outdated: impl IntoIterator<Item = &'q Quarantined>,
        added: impl IntoIterator<Item = &'q Quarantined>,
    ) {
        let mut listed = self.0.write();
        let mut gone: BTreeSet<(&str, &str)> = BTreeSet::new();
        for entry in outdated {
            take_out(&mut listed.kinds, entry);
            gone.extend(entry.is_of_element().then_some((entry.kind.as_str(), entry.key.as_str())));
        }
        for entry in added {
            gone.remove(&(entry.kind.as_str(), entry.key.as_str()));
            let names = listed.kinds.entry(entry.kind.clone()).or_default();
            match &entry.property {
                None => {
                    let element = Element { ignored: entry.ignored, number: entry.number, cause: entry.cause };
                    names.elements.insert(entry.key.clone(), element);
                }
                Some(property) => drop(names.properties.entry(entry.key.clone()).or_default().insert(property.clone())),
            }
        }
        for (kind, _) in gone {
            *listed.left.entry(kind.to_owned()).or_default() += 1;
        }
    }

    /// How many elements of such labels or types have left the list so far.
    pub fn left_of(&self, is_asked_for: impl Fn(&str) -> bool) -> u64 {
        self.0.read().left.iter().filter(|(kind, _)| is_asked_for(kind)).map(|(_, number)| number).sum()
    }

    /// Whether an element of this label or type is listed as a whole.
    pub fn contains(&self, kind: &str, key: &str) -> bool {
        self.0.read().kinds.get(kind).is_some_and(|names| names.elements.contains_key(key))
    }

    /// What keeps the element of this key out of the cache, if it is listed under it.
    pub fn cause_of(&self, kind: &str, key: &str) -> Option<Cause> {
        self.0.read().cause_of(kind, key)
    }

    /// Whether it explains that the cache lacks an element that can be written as far as its content says: its row was refused, or it
    /// is a relationship and an end of it cannot be kept.
    pub fn covers(&self, identity: &ElementIdentity) -> bool {
        let listed = self.0.read();
        // Nearly always there is none.
        if listed.kinds.is_empty() {
            return false;
        }
        let (kind, key) = (identity.kind_name(), identity.key().as_str());
        match listed.cause_of(kind, key) {
            Some(Cause::Cache | Cause::End) => return true,
            // An operator lets it be.
            Some(Cause::Content) if listed.is_ignored(kind, key) => return true,
            // Its content was another one then.
            Some(Cause::Content) | None => {}
        }
        let ElementIdentity::Relationship(relationship) = identity else { return false };
        [&relationship.start, &relationship.end]
            .into_iter()
            .any(|end| listed.cause_of(end.label.as_str(), end.key.as_str()).is_some())
    }

    /// Whether it is one of those that an operator lets be.
    pub fn is_ignored(&self, kind: &str, key: &str) -> bool {
        self.0.read().is_ignored(kind, key)
    }

    /// How many elements of the source it explains that the cache lacks of a label or type.
    pub fn number_of(&self, kind: &str) -> u64 {
        self.0.read().kinds.get(kind).map_or(0, |names| names.elements.values().map(|element| element.number).sum())
    }

    /// Names under which something is listed of a label or type: up to `limit`, in the order of the names, those after `after`.
    pub fn names_of(&self, kind: &str, after: &str, limit: usize) -> Vec<String> {
        let listed = self.0.read();
        let Some(names) = listed.kinds.get(kind) else { return Vec::new() };
        let all: BTreeSet<&String> = names.elements.keys().chain(names.properties.keys()).collect();
        all.into_iter().filter(|name| name.as_str() > after).take(limit).cloned().collect()
    }

    /// How many elements are listed.
    pub fn len(&self) -> usize {
        self.0.read().kinds.values().map(|names| names.elements.len()).sum()
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.0.read().kinds.is_empty()
    }
}

impl Listed {
    /// An element with a key that reads like a name is not what the entry of that name is about.
    fn cause_of(&self, kind: &str, key: &str) -> Option<Cause> {
        let element = self.kinds.get(kind)?.elements.get(key)?;
        (!is_name(key)).then_some(element.cause)
    }

    fn is_ignored(&self, kind: &str, key: &str) -> bool {
        self.kinds.get(kind).and_then(|names| names.elements.get(key)).is_some_and(|element| element.ignored)
    }
}

fn take_out(kinds: &mut Kinds, entry: &Quarantined) {
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
        let whole = Quarantined::new("Entity", "a", None, "reason");
        let property = Quarantined::new("Entity", "b", Some("name".to_owned()), "reason");
        let excluded = Excluded::of([&whole, &property]);
        assert!(excluded.contains("Entity", "a") && !excluded.contains("Entity", "b") && !excluded.contains("Saga", "a"));
        assert!(!excluded.is_ignored("Entity", "a"));
        assert_eq!(excluded.names_of("Entity", "", 9), ["a", "b"]);
        assert_eq!(excluded.names_of("Entity", "a", 9), ["b"]);
        excluded.add([&whole.ignored()]);
        assert!(excluded.is_ignored("Entity", "a") && excluded.len() == 1);
        excluded.replace([&whole], [&whole]);
        assert_eq!(excluded.left_of(|kind| kind == "Entity"), 0, "it is listed again");
        excluded.clone().remove([&whole, &property]);
        assert!(excluded.is_empty() && excluded.left_of(|kind| kind == "Entity") == 1);
    }

    #[test]
    fn relationships_of_a_node_that_is_listed_are_covered_by_it() {
        let rel_type = RelationshipType::parse("KNOWS").unwrap();
        let fact = |start, end| {
            let key = Key::parse("f").unwrap();
            let rel_type = rel_type.clone();
            ElementIdentity::Relationship(RelationshipIdentity { rel_type, key, start: node(start), end: node(end) })
        };
        let listed = Quarantined::new("Entity", "hub", None, "reason");
        let excluded = Excluded::of([&listed]);
        assert!(excluded.covers(&fact("hub", "a")) && excluded.covers(&fact("a", "hub")) && !excluded.covers(&fact("a", "b")));
        assert!(!excluded.covers(&ElementIdentity::Node(node("hub"))), "its content tells");
        excluded.replace([&listed], [&listed.clone().because_of(Cause::Cache)]);
        assert!(excluded.covers(&ElementIdentity::Node(node("hub"))), "only another attempt tells");
        excluded.add([&Quarantined::waiting(&rel_type, &node("hub"), 7)]);
        assert_eq!((excluded.number_of("KNOWS"), excluded.number_of("Entity"), excluded.number_of("Saga")), (7, 1, 0));
    }
}
