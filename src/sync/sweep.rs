//! The key sweep: key sets of one kind compared on both sides, narrowed by the counts of groups of keys before keys travel.
//!
//! What it finds is for others to act on: what is missing in the cache is read and written; what the source does not have any
//! more is weighed by the delete guard, looked for once more by key, and deleted only if it is absent then.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join;

use crate::error::Result;
use crate::model::element::{ElementIdentity, ElementKind};
use crate::model::key::Beginnings;
use crate::model::name::Label;
use crate::repeat;
use crate::sink::CacheView;
use crate::source::Source;

/// Groups of at most so many keys are listed; larger ones are split first.
const LISTED: u64 = 500;

/// Keys of one listing, about: a few megabytes on each side.
const LISTED_AT_ONCE: u64 = 20_000;

/// By how many characters a group's name grows when it is split: with hexadecimal keys into 256 groups.
const SPLIT: usize = 2;

/// Names grow to this length at most: keys that agree in so many characters are listed however many they are.
const LONGEST_NAME: usize = 64;

/// Identities that only one of the two sides has.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Gaps {
    /// What the cache lacks.
    pub(super) missing: BTreeSet<ElementIdentity>,
    /// What the source does not have.
    pub(super) orphaned: BTreeSet<ElementIdentity>,
    /// How many keys travelled for it, and beginnings of keys, of both sides.
    pub(super) listed: u64,
}

/// How many identities only one of the two sides has.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct GapCount {
    /// What the cache lacks.
    pub missing: usize,
    /// What the source does not have.
    pub orphaned: usize,
}

/// Counts what only one side has of a kind.
pub async fn gaps(source: &dyn Source, view: &mut dyn CacheView, kind: ElementKind) -> Result<GapCount> {
    let gaps = find(source, view, kind, None).await?;
    Ok(GapCount { missing: gaps.missing.len(), orphaned: gaps.orphaned.len() })
}

/// Finds what only one side has, as far as the counts of groups betray it: elements of a kind, or its nodes with one more label.
pub(super) async fn find(source: &dyn Source, view: &mut dyn CacheView, kind: ElementKind, with: Option<&Label>) -> Result<Gaps> {
    let everything = (String::new(), SPLIT);
    look(source, view, (kind, with), everything, Look::WhereCountsDiffer).await
}

/// Finds what only the cache has, given how many elements it should have of each group of keys.
///
/// The counts of the source are no measure: where several elements share an identity, the cache holds one of them, and one that
/// it should not hold makes the counts agree again.
pub(super) async fn surplus(
    source: &dyn Source,
    view: &mut dyn CacheView,
    kind: ElementKind,
    expected: &Groups,
) -> Result<BTreeSet<ElementIdentity>> {
    let held = repeat!(view.key_groups(kind, None, "", SPLIT))?;
    let mut surplus = BTreeSet::new();
    for name in differing(expected, &held) {
        let group = (name.clone(), SPLIT + SPLIT);
        let mut found = look(source, view, (kind, None), group.clone(), Look::WhereCountsDiffer).await?.orphaned;
        if found.is_empty() && held.get(&name) > expected.get(&name) {
            found = look(source, view, (kind, None), group, Look::Everywhere).await?.orphaned;
        }
        surplus.extend(found);
    }
    Ok(surplus)
}

/// How many keys there are by the characters that they begin with.
pub(super) type Groups = BTreeMap<String, u64>;

/// The group that [`surplus`] expects a key in.
pub(super) fn group_of(key: &str) -> String {
    key.chars().take(SPLIT).collect()
}

/// Which groups are listed.
#[derive(Clone, Copy, PartialEq)]
enum Look {
    WhereCountsDiffer,
    Everywhere,
}

/// Looks at the keys that begin with a name, in groups of names of at least this length.
async fn look(
    source: &dyn Source,
    view: &mut dyn CacheView,
    (kind, with): (ElementKind, Option<&Label>),
    at: (String, usize),
    look: Look,
) -> Result<Gaps> {
    let mut gaps = Gaps::default();
    let mut groups = vec![at];
    while let Some((prefix, length)) = groups.pop() {
        let here = async { repeat!(source.key_groups(kind, with, &prefix, length)) };
        let (here, there) = try_join(here, async { repeat!(view.key_groups(kind, with, &prefix, length)) }).await?;
        gaps.listed += (here.len() + there.len()) as u64;
        let names = if look == Look::Everywhere { all(&here, &there) } else { differing(&here, &there) };
        let mut listed = Listed::new(length);
        for name in names {
            let size = here.get(&name).max(there.get(&name)).copied().unwrap_or(0);
            // A name that did not grow is a whole key; one that is not ASCII may be cut differently on the two sides.
            let splits = name.len() == length && name.is_ascii() && name.len() < LONGEST_NAME;
            if size > LISTED && splits {
                groups.push((name, length + SPLIT));
                continue;
            }
            if name.is_ascii() {
                listed.add(name, size);
            } else {
                listed.add_all_of(&prefix);
            }
        }
        // No index serves a listing of the cache, so each is a scan of the kind: as many groups as there is room for go in one.
        for beginnings in listed.parts() {
            let here = async { repeat!(source.identities(kind, with, &beginnings)) };
            let (here, there) = try_join(here, async { repeat!(view.identities(kind, with, &beginnings)) }).await?;
            gaps.listed += (here.len() + there.len()) as u64;
            gaps.missing.extend(here.difference(&there).cloned());
            gaps.orphaned.extend(there.difference(&here).cloned());
        }
    }
    Ok(gaps)
}

/// The groups of one level that are listed, in parts of a bounded number of keys.
struct Listed {
    length: usize,
    parts: Vec<Beginnings>,
    keys: u64,
    /// For groups that cannot be told apart on both sides: the one above them.
    whole: Option<Beginnings>,
}

impl Listed {
    fn new(length: usize) -> Self {
        Self { length, parts: Vec::new(), keys: 0, whole: None }
    }

    fn add(&mut self, name: String, size: u64) {
        if self.parts.is_empty() || self.keys + size > LISTED_AT_ONCE {
            self.parts.push(Beginnings { length: self.length, names: Vec::new() });
            self.keys = 0;
        }
        self.keys += size;
        if let Some(part) = self.parts.last_mut() {
            part.names.push(name);
        }
    }

    fn add_all_of(&mut self, prefix: &str) {
        self.whole = Some(Beginnings::with(prefix));
    }

    fn parts(self) -> impl Iterator<Item = Beginnings> {
        self.parts.into_iter().chain(self.whole)
    }
}

fn all(here: &Groups, there: &Groups) -> Vec<String> {
    let names: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
    names.into_iter().cloned().collect()
}

fn differing(here: &Groups, there: &Groups) -> Vec<String> {
    all(here, there).into_iter().filter(|name| here.get(name) != there.get(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_listed_together_up_to_a_number_of_keys() {
        let mut listed = Listed::new(2);
        for (name, size) in [("aa", 1), ("ab", LISTED_AT_ONCE - 1), ("ac", 1)] {
            listed.add(name.to_owned(), size);
        }
        listed.add_all_of("b");
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
