//! What a transaction changed.

use std::collections::{BTreeMap, HashMap};

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
    /// Notes a change beside those that are known. A number that one element gives back and another one gets in the
    /// same transaction counts as updated.
    pub(super) fn note(&mut self, number: u64, change: Change) {
        let known = self.0.entry(number).or_insert(change);
        *known = match (*known, change) {
            (known, change) if known == change => known,
            (Change::Updated, other) | (other, Change::Updated) => other,
            _ => Change::Updated,
        };
    }

    /// Each number with what happened, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Change)> {
        self.0.iter().map(|(number, change)| (*number, *change))
    }

    /// How many changed.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The values that texts had before, by element and by the number of the property's name. `None` is a text whose bytes are not in
/// the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OldValues {
    /// Of nodes.
    pub nodes: BTreeMap<u64, BTreeMap<u32, Option<String>>>,
    /// Of relationships.
    pub relationships: BTreeMap<u64, BTreeMap<u32, Option<String>>>,
}

/// A name that was given a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it names.
    pub kind: TokenKind,
    /// Its number.
    pub number: u32,
    /// The name.
    pub name: String,
}

/// What a token names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A property.
    Property,
    /// A label.
    Label,
    /// A relationship type.
    Type,
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
}
