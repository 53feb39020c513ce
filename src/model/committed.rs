//! The content of a change feed: which commits changed which elements.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use super::bookmark::Bookmark;
use super::log_position::LogPosition;

/// The change of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// The element is new.
    Created,
    /// Its properties or labels have changed.
    Updated,
    /// The element was deleted.
    Deleted,
}

/// Changed nodes or changed relationships, by their number in Neo4j (`id(n)`, the last part of `elementId(n)`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Elements(HashMap<u64, Change>);

impl Elements {
    /// Notes a change beside the known ones. If one element gives up a number and another one gets it meanwhile, the number
    /// counts as updated.
    pub(crate) fn note(&mut self, number: u64, change: Change) {
        let known = self.0.entry(number).or_insert(change);
        *known = match (*known, change) {
            (known, change) if known == change => known,
            (Change::Updated, other) | (other, Change::Updated) => other,
            _ => Change::Updated,
        };
    }

    /// Each number with its change, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, Change)> {
        self.0.iter().map(|(number, change)| (*number, *change))
    }

    /// The change of the element with a number.
    pub(crate) fn get(&self, number: u64) -> Option<Change> {
        self.0.get(&number).copied()
    }

    /// The number of changed elements.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds the later changes.
    fn add(&mut self, later: &Elements) {
        later.iter().for_each(|(number, change)| self.follow(number, change));
    }

    /// As [`Self::note`], for a change of a later transaction. Between the two, an aborted pass may have written an earlier state
    /// of the element. So only an element that one transaction created and none changed is new to the cache.
    fn follow(&mut self, number: u64, change: Change) {
        let known = self.0.entry(number).or_insert(change);
        *known = match (*known, change) {
            (_, Change::Deleted) => Change::Deleted,
            (known, change) if known == change => known,
            _ => Change::Updated,
        };
    }
}

/// Changed nodes or relationships, and texts that they held before: their old keys may be among these.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ChangeSet {
    /// The changed elements by number.
    pub elements: Elements,
    /// Texts that were replaced or deleted, by the element's number, whatever their property's name.
    pub old_texts: BTreeMap<u64, BTreeSet<String>>,
    /// Numbers of nodes with changed labels.
    pub relabelled: BTreeSet<u64>,
}

impl ChangeSet {
    /// Adds the later changes.
    pub(crate) fn add(&mut self, elements: &Elements, old_texts: impl IntoIterator<Item = (u64, String)>) {
        self.elements.add(elements);
        for (number, text) in old_texts {
            self.old_texts.entry(number).or_default().insert(text);
        }
    }
}

/// All commits since the feed was last read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CommittedChanges {
    /// The bookmark of the last commit: every later read has seen all of this.
    pub bookmark: Bookmark,
    /// The time of the last commit, by the server's clock. Absent if there was no commit.
    pub committed_at: Option<DateTime<Utc>>,
    /// The nodes that were changed.
    pub nodes: ChangeSet,
    /// The relationships that were changed.
    pub relationships: ChangeSet,
    /// The place in the feed after these commits.
    pub position: LogPosition,
    /// Whether there are more commits than are told at once.
    pub is_partial: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_an_element_is_what_became_of_it() {
        use Change::{Created, Deleted, Updated};
        for (notes, expected) in [
            (&[Created, Updated][..], Created),
            (&[Updated, Created], Created),
            (&[Updated, Deleted, Updated], Deleted),
            (&[Updated, Updated], Updated),
            (&[Created, Deleted], Updated),
        ] {
            let mut elements = Elements::default();
            notes.iter().for_each(|change| elements.note(7, *change));
            assert_eq!(elements.iter().collect::<Vec<_>>(), [(7, expected)], "{notes:?}");
        }
    }

    #[test]
    fn of_several_transactions_the_order_counts() {
        use Change::{Created, Deleted, Updated};
        for (changes, expected) in [
            (&[Created][..], Created),
            (&[Created, Updated], Updated),
            (&[Created, Deleted], Deleted),
            (&[Deleted, Created], Updated),
            (&[Deleted, Created, Deleted], Deleted),
            (&[Updated, Deleted], Deleted),
        ] {
            let mut all = ChangeSet::default();
            for change in changes {
                let mut one = Elements::default();
                one.note(7, *change);
                all.add(&one, []);
            }
            assert_eq!(all.elements.iter().collect::<Vec<_>>(), [(7, expected)], "{changes:?}");
        }
    }
}
