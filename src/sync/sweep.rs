//! The key sweep: key sets of one kind compared on both sides, narrowed by the counts of groups of keys before keys travel.
//!
//! What is missing in the cache is read and written; what the source does not have any more is looked for once more by key,
//! and deleted only if it is absent then.

use std::collections::{BTreeMap, BTreeSet};

use super::follow::Keys;
use super::reader::Reader;
use crate::error::Result;
use crate::model::element::{ElementIdentity, ElementKind};
use crate::repeat;
use crate::sink::CacheView;

/// Groups of at most so many keys are listed; larger ones are split first.
const LISTED: u64 = 500;

/// By how many characters a group's name grows when it is split: with hexadecimal keys into 256 groups.
const SPLIT: usize = 2;

/// Names grow to this length at most: keys that agree in so many characters are listed however many they are.
const LONGEST_NAME: usize = 64;

/// What a sweep found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Swept {
    /// Identities that the cache lacked.
    pub(super) missing: usize,
    /// Identities that the source did not have any more.
    pub(super) orphaned: usize,
}

/// Sweeps one kind. Nothing of this pass may be on its way when it begins.
pub(super) async fn sweep(reader: &mut Reader<'_>, view: &mut dyn CacheView, kind: ElementKind) -> Result<Swept> {
    let mut missing = BTreeSet::new();
    let mut orphaned = BTreeSet::new();
    let mut groups = vec![(String::new(), 0)];
    while let Some((prefix, length)) = groups.pop() {
        let source = reader.source;
        let (here, there) = (
            repeat!(source.key_groups(kind, &prefix, length + SPLIT))?,
            repeat!(view.key_groups(kind, &prefix, length + SPLIT))?,
        );
        for name in differing(&here, &there) {
            let size = here.get(&name).max(there.get(&name)).copied().unwrap_or(0);
            // A name that did not grow is a whole key; one that is not ASCII may be cut differently on the two sides.
            let splits = name.len() == length + SPLIT && name.is_ascii() && name.len() < LONGEST_NAME;
            if size > LISTED && splits {
                groups.push((name, length + SPLIT));
                continue;
            }
            let listed = if name.is_ascii() { name } else { prefix.clone() };
            let (here, there) = (repeat!(source.identities(kind, &listed))?, repeat!(view.identities(kind, &listed))?);
            missing.extend(here.difference(&there).cloned());
            orphaned.extend(there.difference(&here).cloned());
        }
    }
    let swept = Swept { missing: missing.len(), orphaned: orphaned.len() };
    reader.fetch(&keys_of(kind, missing)).await?;
    reader.delete_absent(kind, orphaned).await?;
    Ok(swept)
}

fn differing(here: &BTreeMap<String, u64>, there: &BTreeMap<String, u64>) -> Vec<String> {
    let names: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
    names.into_iter().filter(|name| here.get(*name) != there.get(*name)).cloned().collect()
}

fn keys_of(kind: ElementKind, identities: BTreeSet<ElementIdentity>) -> Keys {
    Keys::from([(kind, identities.iter().map(|identity| identity.key().as_str().to_owned()).collect())])
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
