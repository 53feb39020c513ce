//! The relationships of a stage whose vectors are still lists.

use std::collections::VecDeque;
use std::ops::Range;

use crate::model::kind::RelationshipKindId;

/// Kinds that are loaded and not converted, each with the ids of the start nodes that are left. They are converted piece by piece
/// between the payloads of later kinds, while the source is read: at their own end, the source would wait for them.
#[derive(Debug, Default)]
pub(super) struct Unconverted(VecDeque<(RelationshipKindId, Range<u64>)>);

impl Unconverted {
    /// Adds a kind whose relationships start at the nodes below this id.
    pub(super) fn add(&mut self, kind: RelationshipKindId, nodes: u64) {
        if nodes > 0 {
            self.0.push_back((kind, 0..nodes));
        }
    }

    /// Takes the next piece, of at most this many ids.
    pub(super) fn take(&mut self, at_most: u64) -> Option<(RelationshipKindId, Range<u64>)> {
        let (kind, left) = self.0.front_mut()?;
        let piece = left.start..left.end.min(left.start.saturating_add(at_most));
        let kind = *kind;
        left.start = piece.end;
        if left.is_empty() {
            self.0.pop_front();
        }
        Some((kind, piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_of_every_kind_is_taken_once_and_in_order() {
        let (first, second) = (RelationshipKindId(0), RelationshipKindId(3));
        let mut unconverted = Unconverted::default();
        unconverted.add(first, 5);
        unconverted.add(RelationshipKindId(1), 0);
        unconverted.add(second, 2);
        let pieces: Vec<_> = std::iter::from_fn(|| unconverted.take(2)).collect();
        assert_eq!(pieces, [(first, 0..2), (first, 2..4), (first, 4..5), (second, 0..2)]);
        assert_eq!(unconverted.take(2), None);
    }
}
