//! What changed elements were before.

use std::collections::BTreeMap;

use crate::model::committed::{Change, ChangeSet};
use crate::model::element::ElementNumber;

/// The former state of changed elements.
pub(super) struct Former<'c> {
    /// Texts that were replaced or deleted and are keys in the cache, each with the elements that had the text.
    pub(super) keys: BTreeMap<String, FormerOwners>,
    pub(super) changed: &'c ChangeSet,
    /// Whether a property decides whether an element is copied.
    pub(super) is_filtered: bool,
}

/// Elements that had a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FormerOwners {
    One(u64),
    Several,
}

impl Former<'_> {
    pub(super) fn is_new(&self, number: ElementNumber) -> bool {
        self.changed.elements.get(number.0) == Some(Change::Created)
    }

    pub(super) fn is_relabelled(&self, number: ElementNumber) -> bool {
        self.changed.relabelled.contains(&number.0)
    }

    /// Whether an element that has no place in the cache now can have had one before: by its labels, its key or its group.
    pub(super) fn may_have_had_place(&self, number: ElementNumber) -> bool {
        let own = self.changed.old_texts.get(&number.0);
        let had = |text: &String| self.is_filtered || self.keys.contains_key(text);
        self.is_relabelled(number) || own.is_some_and(|own| own.iter().any(had))
    }

    /// Whether an element had another key before, or another element had its key.
    pub(super) fn has_moved(&self, number: ElementNumber, key: &str) -> bool {
        let others = self.keys.get(key).is_some_and(|owners| *owners != FormerOwners::One(number.0));
        let own = self.changed.old_texts.get(&number.0);
        others || own.is_some_and(|own| own.iter().any(|text| text != key && self.keys.contains_key(text)))
    }
}
