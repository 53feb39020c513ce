//! Elements that stand in the quarantine as a whole: the cache lacks them, and that is no difference.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;

use super::prepared::Quarantined;

/// What the writer of a graph has quarantined, for whoever compares the graph; each with whether it is ignored. Clones are the same
/// one.
#[derive(Debug, Clone, Default)]
pub struct Excluded(Arc<RwLock<HashMap<(String, String), bool>>>);

impl Excluded {
    /// The elements of a quarantine.
    pub fn of<'q>(quarantine: impl IntoIterator<Item = &'q Quarantined>) -> Self {
        let excluded = Self::default();
        excluded.add(quarantine);
        excluded
    }

    /// Adds those entries that are about elements and not about a property of one.
    pub fn add<'q>(&self, entries: impl IntoIterator<Item = &'q Quarantined>) {
        let mut elements = self.0.write();
        elements.extend(entries.into_iter().filter_map(element));
    }

    /// Takes the elements of these entries out again.
    pub fn remove<'q>(&self, entries: impl IntoIterator<Item = &'q Quarantined>) {
        let mut elements = self.0.write();
        for (gone, _) in entries.into_iter().filter_map(element) {
            elements.remove(&gone);
        }
    }

    /// Whether an element of this label or type is among them.
    pub fn contains(&self, kind: &str, key: &str) -> bool {
        let elements = self.0.read();
        // Nearly always there is none, and then nothing is worth an allocation.
        !elements.is_empty() && elements.contains_key(&(kind.to_owned(), key.to_owned()))
    }

    /// Keys of elements of this label or type, in order and up to a number.
    pub fn keys(&self, kind: &str, limit: usize) -> BTreeSet<String> {
        let elements = self.0.read();
        let keys = elements.keys().filter(|(of, _)| of == kind).map(|(_, key)| key.clone());
        keys.take(limit).collect()
    }

    /// How many elements of this label or type there are.
    pub fn number(&self, kind: &str) -> u64 {
        self.0.read().keys().filter(|(of, _)| of == kind).count() as u64
    }

    /// Whether it is one of those that an operator lets be.
    pub fn is_ignored(&self, kind: &str, key: &str) -> bool {
        self.0.read().get(&(kind.to_owned(), key.to_owned())).copied().unwrap_or(false)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.read().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.read().is_empty()
    }
}

fn element(entry: &Quarantined) -> Option<((String, String), bool)> {
    entry.property.is_none().then(|| ((entry.kind.clone(), entry.key.clone()), entry.ignored))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_excluded_and_properties_are_not() {
        let whole = Quarantined::new("Entity", "a", None, "reason");
        let property = Quarantined::new("Entity", "b", Some("name".to_owned()), "reason");
        let excluded = Excluded::of([&whole, &property]);
        assert!(excluded.contains("Entity", "a") && !excluded.contains("Entity", "b") && !excluded.contains("Saga", "a"));
        assert!(!excluded.is_ignored("Entity", "a"));
        excluded.add([&whole.ignored()]);
        assert!(excluded.is_ignored("Entity", "a") && excluded.len() == 1);
        assert_eq!((excluded.number("Entity"), excluded.keys("Entity", 9).len(), excluded.keys("Entity", 0).len()), (1, 1, 0));
        excluded.clone().remove([&whole]);
        assert!(excluded.is_empty());
    }
}
