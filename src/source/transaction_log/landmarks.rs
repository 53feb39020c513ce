//! Landmarks: positions in a log that were read before. A tail that begins at a known transaction reads on from the landmark before
//! it, instead of from the beginning of the file.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::model::log_position::LogPosition;

/// The distance between two landmarks in bytes. A tail reads this much in milliseconds, and a file of Neo4j's usual size, 256 MB,
/// has 256 of them.
const SPACING: u64 = 1 << 20;

/// The most landmarks that are kept, the newest: those of four files of the usual size. Each takes some 100 bytes.
const MOST: usize = 1024;

/// The landmarks of one log, by transaction.
#[derive(Debug, Default)]
pub(super) struct Landmarks(Mutex<BTreeMap<u64, LogPosition>>);

impl Landmarks {
    /// Notes a position after a transaction that was just read.
    pub(super) fn note(&self, position: &LogPosition) {
        let mut places = self.0.lock();
        places.insert(position.transaction, position.clone());
        if places.len() > MOST {
            places.pop_first();
        }
    }

    /// Returns the last landmark in this file that is no later than a transaction. The log may have been replaced since, so the
    /// caller verifies it.
    pub(super) fn before(&self, file: u64, transaction: u64) -> Option<LogPosition> {
        let places = self.0.lock();
        places.range(..=transaction).next_back().map(|(_, place)| place).filter(|place| place.file == file).cloned()
    }
}

/// Whether a position is far enough from the last landmark, a file and an offset, to become one.
pub(super) fn is_due(last: Option<(u64, u64)>, position: &LogPosition) -> bool {
    last.is_none_or(|(file, offset)| file != position.file || position.offset.saturating_sub(offset) >= SPACING)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::log_position::StoreId;

    fn position(file: u64, offset: u64, transaction: u64) -> LogPosition {
        let store = StoreId { created_ms: 1, random: 2, format: "aligned".to_owned() };
        LogPosition { store, file, start: Some(offset - 1), offset, transaction, checksum: Some(3) }
    }

    #[test]
    fn the_last_landmark_of_the_file_that_is_no_later_is_found() {
        let landmarks = Landmarks::default();
        for place in [position(0, 100, 5), position(0, 200, 9), position(1, 100, 12)] {
            landmarks.note(&place);
        }
        for (file, transaction, expected) in
            [(0, 4, None), (0, 5, Some(5)), (0, 8, Some(5)), (0, 11, Some(9)), (0, 12, None), (1, 11, None), (1, 99, Some(12))]
        {
            let found = landmarks.before(file, transaction).map(|place| place.transaction);
            assert_eq!(found, expected, "{transaction} in file {file}");
        }
    }

    #[test]
    fn the_newest_are_kept() {
        let landmarks = Landmarks::default();
        for transaction in 0..=MOST as u64 {
            landmarks.note(&position(0, 100 + transaction, transaction));
        }
        assert_eq!(landmarks.before(0, 0), None);
        assert_eq!(landmarks.before(0, 1).unwrap().transaction, 1);
    }

    #[test]
    fn landmarks_keep_their_distance() {
        let last = Some((0, 100));
        assert!(!is_due(last, &position(0, 99 + SPACING, 7)));
        assert!(is_due(last, &position(0, 100 + SPACING, 7)));
        assert!(is_due(last, &position(1, 100, 7)), "another file");
        assert!(is_due(None, &position(0, 100, 7)), "the first one");
    }
}
