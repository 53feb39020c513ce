//! How much is read at once: a bounded number of bytes, whatever the elements weigh.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::model::detail::Detail;
use crate::model::kind::ElementKind;

/// Elements that are read at once weigh about this much. A page of 2,000 elements with vectors of 256 floats weighs 6 MB, so that
/// ordinary pages are as long as they are asked for; of elements of 10 MB, a page has one.
const PORTION_BYTES: usize = 8 << 20;

/// So much is asked for, going by what elements weigh in memory: some are heavier than the average, and a float takes 9 bytes on the
/// wire where it weighs 8.
const ASKED_FOR: usize = PORTION_BYTES / 4 * 3;

/// A page of fewer elements cannot tell whether its last key has more of them.
const SHORTEST_PAGE: usize = 2;

/// How much one read may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Portions {
    /// Elements.
    pub(super) rows: usize,
    /// Their weight, about.
    pub(super) bytes: usize,
}

impl Portions {
    /// For a page that holds one key alone and not all of its elements.
    pub(super) fn doubled(self) -> Self {
        Self { rows: self.rows.saturating_mul(2), bytes: self.bytes.saturating_mul(2) }
    }
}

/// What an element of each kind weighed on average when elements of it were last read: so many are asked for next time that the
/// query need not be broken off.
#[derive(Debug, Default)]
pub(super) struct Weights {
    averages: Mutex<HashMap<(ElementKind, Detail), usize>>,
}

impl Weights {
    /// What a page of up to `limit` elements of a kind may bring.
    pub(super) fn page(&self, kind: ElementKind, detail: Detail, limit: usize) -> Portions {
        let rows = self.bearable(kind, detail).clamp(SHORTEST_PAGE, limit.max(SHORTEST_PAGE));
        Portions { rows, bytes: PORTION_BYTES }
    }

    /// How many of these keys to ask for at once.
    pub(super) fn keys(&self, kind: ElementKind, keys: usize) -> usize {
        self.bearable(kind, Detail::Whole).clamp(1, keys.max(1)).min(keys)
    }

    /// How much an answer for so many keys may weigh. One element has to be read whatever it weighs.
    pub(super) fn answer(keys: usize) -> usize {
        if keys > 1 { PORTION_BYTES } else { usize::MAX }
    }

    /// Remembers what so many elements weighed when they were read.
    pub(super) fn note(&self, kind: ElementKind, detail: Detail, weight: usize, elements: usize) {
        if let Some(average) = weight.checked_div(elements) {
            self.averages.lock().insert((kind, detail), average);
        }
    }

    fn bearable(&self, kind: ElementKind, detail: Detail) -> usize {
        self.averages.lock().get(&(kind, detail)).map_or(usize::MAX, |average| ASKED_FOR / average.max(&1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kind::NodeKindId;

    const KIND: ElementKind = ElementKind::Node(NodeKindId(0));

    #[test]
    fn pages_of_heavy_elements_are_shorter() {
        let weights = Weights::default();
        assert_eq!(weights.page(KIND, Detail::Whole, 1000), Portions { rows: 1000, bytes: PORTION_BYTES });
        weights.note(KIND, Detail::Whole, PORTION_BYTES / 20, 1);
        let rows = weights.page(KIND, Detail::Whole, 1000).rows;
        assert!((10..=15).contains(&rows), "{rows}");
        assert_eq!(weights.page(KIND, Detail::Vectors, 1000).rows, 1000, "another part of them weighs something else");
        weights.note(KIND, Detail::Whole, 2 * PORTION_BYTES, 1);
        assert_eq!((weights.page(KIND, Detail::Whole, 1000).rows, weights.keys(KIND, 7)), (SHORTEST_PAGE, 1));
        weights.note(KIND, Detail::Whole, 10, 1);
        assert_eq!((weights.page(KIND, Detail::Whole, 1000).rows, weights.keys(KIND, 7)), (1000, 7));
        weights.note(KIND, Detail::Whole, 0, 0);
        assert_eq!(weights.keys(KIND, 0), 0);
    }
}
