//! The key sweep: key sets of one kind compared on both sides, narrowed by the counts of groups of keys before keys travel.
//!
//! What it finds is for others to act on: what is missing in the cache is read and written; what the source does not have any
//! more is weighed by the delete guard, looked for once more by key, and deleted only if it is absent then.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Result;
use crate::model::element::{ElementIdentity, ElementKind};
use crate::model::name::Label;
use crate::repeat;
use crate::sink::CacheView;
use crate::source::Source;

/// Groups of at most so many keys are listed; larger ones are split first.
const LISTED: u64 = 500;

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

/// Finds what only one side has: elements of a kind, or its nodes with one more label.
pub(super) async fn find(source: &dyn Source, view: &mut dyn CacheView, kind: ElementKind, with: Option<&Label>) -> Result<Gaps> {
    let mut gaps = Gaps::default();
    let mut groups = vec![(String::new(), 0)];
    while let Some((prefix, length)) = groups.pop() {
        let length = length + SPLIT;
        let (here, there) =
            (repeat!(source.key_groups(kind, with, &prefix, length))?, repeat!(view.key_groups(kind, with, &prefix, length))?);
        for name in differing(&here, &there) {
            let size = here.get(&name).max(there.get(&name)).copied().unwrap_or(0);
            // A name that did not grow is a whole key; one that is not ASCII may be cut differently on the two sides.
            let splits = name.len() == length && name.is_ascii() && name.len() < LONGEST_NAME;
            if size > LISTED && splits {
                groups.push((name, length));
                continue;
            }
            let listed = if name.is_ascii() { &name } else { &prefix };
            let (here, there) = (repeat!(source.identities(kind, with, listed))?, repeat!(view.identities(kind, with, listed))?);
            gaps.missing.extend(here.difference(&there).cloned());
            gaps.orphaned.extend(there.difference(&here).cloned());
        }
    }
    Ok(gaps)
}

fn differing(here: &BTreeMap<String, u64>, there: &BTreeMap<String, u64>) -> Vec<String> {
    let names: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
    names.into_iter().filter(|name| here.get(*name) != there.get(*name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_differ_by_name_and_by_count() {
        let groups = |pairs: &[(&str, u64)]| pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let (here, there) = (groups(&[("a", 1), ("b", 2), ("c", 3)]), groups(&[("a", 1), ("b", 3), ("d", 1)]));
        assert_eq!(differing(&here, &there), ["b", "c", "d"]);
    }
}
