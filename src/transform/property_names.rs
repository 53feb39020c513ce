//! The property names that a graph has, and whether it has room for another one.
//!
//! FalkorDB numbers the names of a graph's properties with 16 bits. Beyond its limit the numbers begin again, so a property is
//! stored under the name of another one, without an error (4.16.3). A name that a graph once had keeps its number permanently.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::profile::Profile;

/// The most property names that a graph can have (tested on 4.16.3: 65,534 work, one more does not).
pub(crate) const MAX_PROPERTY_NAMES: usize = 65_534;

/// The names that a graph has, or gets from rows on the way to it. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct PropertyNames {
    known: Arc<Mutex<HashSet<Box<str>>>>,
}

impl PropertyNames {
    /// Collects the names of a graph and those that the profile itself writes: elements are found by the latter, so none of them
    /// is ever refused in favour of another name.
    pub(crate) fn new(profile: &Profile, of_graph: impl IntoIterator<Item = String>) -> Self {
        let kinds = profile.kinds();
        let keys = kinds.iter().map(|kind| profile.key(*kind));
        let vectors = kinds.iter().flat_map(|kind| profile.vectors(*kind));
        let indexed = profile.indexes.iter().flat_map(|index| &index.properties);
        let of_profile = keys.chain(vectors).chain(indexed).map(|name| Box::<str>::from(name.as_str()));
        let known = of_profile.chain(of_graph.into_iter().map(String::into_boxed_str)).collect();
        Self { known: Arc::new(Mutex::new(known)) }
    }

    /// The number of known names.
    pub(crate) fn len(&self) -> usize {
        self.known().len()
    }

    /// Whether the graph has this name or has room for it; an admitted name counts from now on.
    pub(super) fn admit(&self, name: &str) -> bool {
        let mut known = self.known();
        if known.contains(name) {
            return true;
        }
        if known.len() >= MAX_PROPERTY_NAMES {
            return false;
        }
        known.insert(name.into())
    }

    /// Locks the names. A thread that panicked between two changes of the set left it intact.
    fn known(&self) -> MutexGuard<'_, HashSet<Box<str>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_full_graph_takes_no_new_name_and_keeps_those_that_it_has() {
        let profile = Profile::graphiti().unwrap();
        let of_profile = PropertyNames::new(&profile, []).len();
        let of_graph = (0..MAX_PROPERTY_NAMES - of_profile - 1).map(|number| format!("p{number}"));
        let names = PropertyNames::new(&profile, of_graph);
        assert_eq!(names.len(), MAX_PROPERTY_NAMES - 1);
        assert!(names.admit("p7") && names.admit("uuid") && names.admit("the last one"));
        assert!(!names.clone().admit("one too many"));
        assert!(names.admit("the last one") && names.admit("uuid"));
        assert_eq!(names.len(), MAX_PROPERTY_NAMES);
    }
}
