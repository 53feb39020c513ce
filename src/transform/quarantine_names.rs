//! The name under which the quarantine lists an element that the cache cannot hold.
//!
//! An entry under a key means that the cache holds no element of this key. So if several rows share a key and one of them is
//! kept, the others are listed by their numbers; if none is kept, the row with the lowest number is listed under the key.

use std::collections::{HashMap, HashSet};

use crate::model::element::ElementNumber;
use crate::model::key::Key;
use crate::model::kind::KindName;
use crate::model::quarantined::{Quarantined, is_name, name_by_id};

/// A row that cannot be kept.
#[derive(Debug)]
pub(super) struct RowRefusal {
    pub(super) number: ElementNumber,
    /// Its own key, if it has a usable one.
    pub(super) key: Option<Key>,
    pub(super) reason: String,
}

/// Returns the quarantine entries for rows of one kind that cannot be kept, given the keys of rows that are kept.
pub(super) fn entries<'k>(kind: KindName<'_>, refused: Vec<RowRefusal>, kept: impl Iterator<Item = &'k Key>) -> Vec<Quarantined> {
    // Nearly always, no row is refused.
    if refused.is_empty() {
        return Vec::new();
    }
    let kept: HashSet<&Key> = kept.collect();
    let mut first: HashMap<&Key, ElementNumber> = HashMap::new();
    for RowRefusal { number, key, .. } in &refused {
        if let Some(key) = key {
            let lowest = first.entry(key).or_insert(*number);
            *lowest = (*number).min(*lowest);
        }
    }
    let stands_for_key = |key: &&Key, number| !kept.contains(key) && first.get(*key) == Some(&number) && !is_name(key.as_str());
    let entry = |RowRefusal { number, key, reason }: &RowRefusal| {
        let key = key.as_ref().filter(|key| stands_for_key(key, *number));
        Quarantined::new(kind, key.map_or_else(|| name_by_id(*number), Key::to_string), None, reason.clone())
    };
    refused.iter().map(entry).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(refused: &[(u64, Option<&str>)], kept: &[&str]) -> Vec<String> {
        let key = |text: &str| Key::parse(text).unwrap();
        let row = |(number, text): &(u64, Option<&str>)| RowRefusal {
            number: ElementNumber(*number),
            key: text.map(key),
            reason: "r".to_owned(),
        };
        let kept: Vec<Key> = kept.iter().map(|text| key(text)).collect();
        entries(KindName::Label("Entity"), refused.iter().map(row).collect(), kept.iter())
            .into_iter()
            .map(|entry| entry.key)
            .collect()
    }

    #[test]
    fn a_key_names_what_is_refused_only_if_nothing_of_it_is_kept() {
        assert_eq!(names(&[(7, Some("a")), (8, None)], &["b"]), ["a", "Neo4j id 8"]);
        assert_eq!(names(&[(7, Some("a"))], &["a"]), ["Neo4j id 7"]);
        assert_eq!(names(&[(9, Some("a")), (7, Some("a")), (8, Some("a"))], &[]), ["Neo4j id 9", "a", "Neo4j id 8"]);
    }

    #[test]
    fn a_key_that_reads_like_a_name_names_nothing() {
        assert_eq!(names(&[(7, Some("Neo4j id 5")), (8, Some("relationships of (:A a)"))], &[]), ["Neo4j id 7", "Neo4j id 8"]);
    }
}
