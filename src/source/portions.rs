//! Limits how much is read at once: a bounded number of bytes, whatever the elements weigh.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::model::kind::ElementKind;
use crate::model::projection::Projection;

/// The approximate weight of the elements that are read at once. A page of 2,000 elements with vectors of 256 floats weighs 6 MB,
/// so ordinary pages have the requested length; a page of elements of 10 MB has only two.
const PORTION_BYTES: usize = 8 << 20;

/// The weight to ask for, by the weight of elements in memory: some elements are heavier than the average, and a float of 8 bytes
/// takes 9 on the wire.
const ASKED_FOR: usize = PORTION_BYTES / 4 * 3;

/// The fewest elements of a page. A shorter page cannot show whether its last key has more elements.
const SHORTEST_PAGE: usize = 2;

/// The limits of one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Portions {
    /// The most elements of the read.
    pub(super) rows: usize,
    /// The approximate limit of their weight.
    pub(super) bytes: usize,
}

impl Portions {
    /// Doubles the limits, for a page that holds only one key and not all of its elements.
    pub(super) fn doubled(self) -> Self {
        Self { rows: self.rows.saturating_mul(2), bytes: self.bytes.saturating_mul(2) }
    }
}

/// The average weight of each kind's elements at their last read. The next read asks for so few elements that the query need not
/// be cut off.
#[derive(Debug, Default)]
pub(super) struct Weights {
    averages: Mutex<HashMap<(ElementKind, Projection), usize>>,
}

impl Weights {
    /// Returns the limits of a page of up to `limit` elements of a kind.
    pub(super) fn page(&self, kind: ElementKind, detail: Projection, limit: usize) -> Portions {
        let rows = self.bearable(kind, detail).clamp(SHORTEST_PAGE, limit.max(SHORTEST_PAGE));
        Portions { rows, bytes: PORTION_BYTES }
    }

    /// Returns how many of these keys to ask for at once.
    pub(super) fn keys(&self, kind: ElementKind, keys: usize) -> usize {
        self.bearable(kind, Projection::Whole).clamp(1, keys.max(1)).min(keys)
    }

    /// Returns the most weight of an answer for this number of keys. A single element must be read whatever it weighs.
    pub(super) fn answer(keys: usize) -> usize {
        if keys > 1 { PORTION_BYTES } else { usize::MAX }
    }

    /// Remembers the weight of this number of elements that were read.
    pub(super) fn note(&self, kind: ElementKind, detail: Projection, weight: usize, elements: usize) {
        if let Some(average) = weight.checked_div(elements) {
            self.averages.lock().insert((kind, detail), average);
        }
    }

    fn bearable(&self, kind: ElementKind, detail: Projection) -> usize {
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
        assert_eq!(weights.page(KIND, Projection::Whole, 1000), Portions { rows: 1000, bytes: PORTION_BYTES });
        weights.note(KIND, Projection::Whole, PORTION_BYTES / 20, 1);
        let rows = weights.page(KIND, Projection::Whole, 1000).rows;
        assert!((10..=15).contains(&rows), "{rows}");
        assert_eq!(weights.page(KIND, Projection::Vectors, 1000).rows, 1000, "another part of them weighs something else");
        weights.note(KIND, Projection::Whole, 2 * PORTION_BYTES, 1);
        assert_eq!((weights.page(KIND, Projection::Whole, 1000).rows, weights.keys(KIND, 7)), (SHORTEST_PAGE, 1));
        weights.note(KIND, Projection::Whole, 10, 1);
        assert_eq!((weights.page(KIND, Projection::Whole, 1000).rows, weights.keys(KIND, 7)), (1000, 7));
        weights.note(KIND, Projection::Whole, 0, 0);
        assert_eq!(weights.keys(KIND, 0), 0);
    }
}
