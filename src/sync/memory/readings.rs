//! Whether a difference of counts lasts.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Counts on both sides, reading by reading.
#[derive(Debug)]
pub(super) struct Readings<K> {
    /// How many more elements the source has than the cache, apart from quarantined ones, for reasons that a comparison of keys has
    /// confirmed: collapsed elements and held deletes.
    pub(super) explained: HashMap<K, i64>,
    /// The differences at the last reading.
    pub(super) suspicious: HashMap<K, i64>,
}

impl<K> Default for Readings<K> {
    fn default() -> Self {
        Self { explained: HashMap::new(), suspicious: HashMap::new() }
    }
}

impl<K: Eq + Hash> Readings<K> {
    pub(super) fn is_explained<Q: Eq + Hash + ?Sized>(&self, of: &Q, source: u64, cache: u64) -> bool
    where
        K: Borrow<Q>,
    {
        source.cast_signed() - cache.cast_signed() == self.explained.get(of).copied().unwrap_or(0)
    }

    /// Takes a reading. Returns whether the keys have to be compared: they have to if two readings in a row show a difference
    /// that is not explained.
    pub(super) fn take(&mut self, of: K, source: u64, cache: u64) -> CountVerdict {
        if self.is_explained(&of, source, cache) {
            self.suspicious.remove(&of);
            return CountVerdict::Agrees;
        }
        let difference = source.cast_signed() - cache.cast_signed();
        if self.suspicious.get(&of) == Some(&difference) {
            self.suspicious.remove(&of);
            return CountVerdict::Sweep;
        }
        self.suspicious.insert(of, difference);
        CountVerdict::LookAgain
    }

    pub(super) fn explain(&mut self, of: K, source: u64, cache: u64) {
        self.explained.insert(of, source.cast_signed() - cache.cast_signed());
    }
}

/// The result of comparing the counts of a kind once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sync) enum CountVerdict {
    Agrees,
    /// A difference that commits in the meantime may explain.
    LookAgain,
    /// A difference that commits in the meantime do not explain.
    Sweep,
}
