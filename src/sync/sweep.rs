//! The key sweep: compares the key sets of one kind on both sides. Counts of groups of keys narrow the search before keys are
//! read.
//!
//! Others act on what it finds: missing elements are read and written; elements that the source does not have any more are
//! weighed by the delete guard, looked up once more by key, and deleted only if they are still absent.

use super::cache_view::CacheView;
use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join;

use crate::error::Result;
use crate::model::element::ElementIdentity;
use crate::model::key::KeyPrefixes;
use crate::model::kind::ElementKind;
use crate::model::name::Label;
use crate::source::Source;

/// The most keys of a group that is listed; a larger group is split first.
const LISTED: u64 = 500;

/// About how many keys one listing has: a few megabytes on each side.
const LISTED_AT_ONCE: u64 = 20_000;

/// By how many characters a group's name grows in a split: hexadecimal keys give 256 groups.
const SPLIT: usize = 2;

/// The longest name of a group: keys that agree in this many characters are listed, however many they are.
const LONGEST_NAME: usize = 64;

/// Identities that only one of the two sides has.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct KeySetDifference {
    /// Identities that the cache lacks.
    pub missing: BTreeSet<ElementIdentity>,
    /// Identities that the source lacks.
    pub orphaned: BTreeSet<ElementIdentity>,
    /// Whether there may be more differences than are listed here.
    pub(super) more: bool,
    /// The number of keys, and of beginnings of keys, that were read of both sides.
    pub(super) listed: u64,
}

impl KeySetDifference {
    /// Whether neither side has anything that the other lacks.
    pub(crate) fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.orphaned.is_empty()
    }

    /// Returns the differences that were also seen before.
    pub(crate) fn lasting(mut self, before: &KeySetDifference) -> KeySetDifference {
        self.missing.retain(|identity| before.missing.contains(identity));
        self.orphaned.retain(|identity| before.orphaned.contains(identity));
        self
    }
}

/// Finds what only one side has, as far as the counts of groups show it: elements of a kind, or its nodes with one more label.
pub(super) async fn find(
    source: &dyn Source,
    view: &mut dyn CacheView,
    kind: ElementKind,
    with: Option<&Label>,
) -> Result<KeySetDifference> {
    look(source, view, (kind, with), KeyPrefixes::with("")).await
}

/// The number of keys for each beginning.
pub(super) type Groups = BTreeMap<String, u64>;

/// Compares keys that begin with one of these prefixes, in groups whose names grow from level to level. No index supports a look
/// at the cache's keys, so each look is a scan of the kind: all groups of a level are looked at together.
async fn look(
    source: &dyn Source,
    view: &mut dyn CacheView,
    (kind, with): (ElementKind, Option<&Label>),
    mut above: KeyPrefixes,
) -> Result<KeySetDifference> {
    let mut gaps = KeySetDifference::default();
    while !above.names.is_empty() {
        let length = above.length + SPLIT;
        let here = source.key_groups(kind, with, &above, length);
        let (here, there) = try_join(here, view.key_groups(kind, with, &above, length)).await?;
        gaps.listed += (here.len() + there.len()) as u64;
        let mut listed = ListedKeys::new(length);
        let mut split = Vec::new();
        for name in differing(&here, &there) {
            let size = here.get(&name).max(there.get(&name)).copied().unwrap_or(0);
            // A name that did not grow is a whole key.
            let grows = name.len() == length && length < LONGEST_NAME;
            match (name.is_ascii(), size > LISTED && grows) {
                (true, true) => split.push(name),
                (true, false) => listed.add(name, size),
                // The two sides may cut this name differently.
                (false, _) => listed.add_all_above(&name, &above),
            }
        }
        list(source, view, (kind, with), listed, &mut gaps).await?;
        above = KeyPrefixes { length, names: split };
    }
    Ok(gaps)
}

async fn list(
    source: &dyn Source,
    view: &mut dyn CacheView,
    (kind, with): (ElementKind, Option<&Label>),
    listed: ListedKeys,
    gaps: &mut KeySetDifference,
) -> Result<()> {
    for beginnings in listed.parts() {
        let here = source.identities(kind, with, &beginnings);
        let (here, there) = try_join(here, view.identities(kind, with, &beginnings)).await?;
        gaps.listed += (here.len() + there.len()) as u64;
        gaps.missing.extend(here.difference(&there).cloned());
        gaps.orphaned.extend(there.difference(&here).cloned());
    }
    Ok(())
}

/// The groups of one level that are listed, in parts with a bounded number of keys.
struct ListedKeys {
    length: usize,
    parts: Vec<KeyPrefixes>,
    keys: u64,
    /// The parents of groups that cannot be told apart on both sides.
    whole: Option<KeyPrefixes>,
}

impl ListedKeys {
    fn new(length: usize) -> Self {
        Self { length, parts: Vec::new(), keys: 0, whole: None }
    }

    fn add(&mut self, name: String, size: u64) {
        if self.parts.is_empty() || self.keys + size > LISTED_AT_ONCE {
            self.parts.push(KeyPrefixes { length: self.length, names: Vec::new() });
            self.keys = 0;
        }
        self.keys += size;
        if let Some(part) = self.parts.last_mut() {
            part.names.push(name);
        }
    }

    fn add_all_above(&mut self, name: &str, above: &KeyPrefixes) {
        let parent = above.names.iter().find(|parent| name.starts_with(parent.as_str()));
        let whole = self.whole.get_or_insert_with(|| KeyPrefixes { length: above.length, names: Vec::new() });
        whole.names.extend(parent.filter(|parent| !whole.names.contains(parent)).cloned());
    }

    fn parts(self) -> impl Iterator<Item = KeyPrefixes> {
        self.parts.into_iter().chain(self.whole)
    }
}

fn differing(here: &Groups, there: &Groups) -> Vec<String> {
    let names: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
    names.into_iter().filter(|name| here.get(*name) != there.get(*name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_listed_together_up_to_a_number_of_keys() {
        let mut listed = ListedKeys::new(2);
        for (name, size) in [("aa", 1), ("ab", LISTED_AT_ONCE - 1), ("ac", 1)] {
            listed.add(name.to_owned(), size);
        }
        listed.add_all_above("bé", &KeyPrefixes { length: 1, names: vec!["a".to_owned(), "b".to_owned()] });
        let parts: Vec<_> = listed.parts().map(|part| (part.length, part.names.join(" "))).collect();
        assert_eq!(parts, [(2, "aa ab".to_owned()), (2, "ac".to_owned()), (1, "b".to_owned())]);
    }

    #[test]
    fn groups_differ_by_name_and_by_count() {
        let groups = |pairs: &[(&str, u64)]| pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let (here, there) = (groups(&[("a", 1), ("b", 2), ("c", 3)]), groups(&[("a", 1), ("b", 3), ("d", 1)]));
        assert_eq!(differing(&here, &there), ["b", "c", "d"]);
    }
}
