//! What a change feed tells: which elements were changed by which commits.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use super::bookmark::Bookmark;
use super::log_position::LogPosition;

/// What happened to an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Created,
    /// Its properties or labels are not what they were.
    Updated,
    /// It is gone.
    Deleted,
}

/// Changed nodes, or changed relationships, by their number in Neo4j (`id(n)`, the last part of `elementId(n)`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Elements(HashMap<u64, Change>);

impl Elements {
    /// Notes a change beside those that are known. A number that one element gives back and another one gets meanwhile counts as
    /// updated.
    pub(crate) fn note(&mut self, number: u64, change: Change) {
        let known = self.0.entry(number).or_insert(change);
        *known = match (*known, change) {
            (known, change) if known == change => known,
            (Change::Updated, other) | (other, Change::Updated) => other,
            _ => Change::Updated,
        };
    }

    /// Each number with what happened, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, Change)> {
        self.0.iter().map(|(number, change)| (*number, *change))
    }

    /// What happened to the element of a number.
    pub(crate) fn get(&self, number: u64) -> Option<Change> {
        self.0.get(&number).copied()
    }

    /// How many changed.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds what was changed later.
    fn add(&mut self, later: &Elements) {
        later.iter().for_each(|(number, change)| self.follow(number, change));
    }

    /// As [`Self::note`], for a change of a later transaction. Between the two a pass that broke off may have written what the element
    /// was then, so only what one transaction created and none changed is new to the cache.
    fn follow(&mut self, number: u64, change: Change) {
        let known = self.0.entry(number).or_insert(change);
        *known = match (*known, change) {
            (_, Change::Deleted) => Change::Deleted,
            (known, change) if known == change => known,
            _ => Change::Updated,
        };
    }
}

/// Nodes or relationships that were changed, and texts that they held before: a key of theirs may be among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changed {
    /// By number.
    pub elements: Elements,
    /// Texts that were replaced or deleted, by the element's number, whatever the name of their property.
    pub old_texts: BTreeMap<u64, BTreeSet<String>>,
    /// Numbers of nodes that have other labels than before.
    pub relabelled: BTreeSet<u64>,
}

impl Changed {
    /// Adds what was changed later.
    pub(crate) fn add(&mut self, elements: &Elements, old_texts: impl IntoIterator<Item = (u64, String)>) {
        self.elements.add(elements);
        for (number, text) in old_texts {
            self.old_texts.entry(number).or_default().insert(text);
        }
    }
}

/// All that was committed since the last time that the feed was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// The bookmark of the last commit: whatever is read after it has seen all of this.
    pub bookmark: Bookmark,
    /// When the last commit was made, by the server's clock; absent where there was none.
    pub committed_at: Option<DateTime<Utc>>,
    /// Changed nodes.
    pub nodes: Changed,
    /// Changed relationships.
    pub relationships: Changed,
    /// The place in the feed after it.
    pub position: LogPosition,
    /// Whether more was committed than was to be told at once.
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
            let mut all = Changed::default();
            for change in changes {
                let mut one = Elements::default();
                one.note(7, *change);
                all.add(&one, []);
            }
            assert_eq!(all.elements.iter().collect::<Vec<_>>(), [(7, expected)], "{changes:?}");
        }
    }
}
