//! What the incremental passes of one generation remember: bounded, and never trusted beyond sparing work.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::comparison::Comparison;
use super::follow::Keys;
use crate::model::element::ElementKind;
use crate::model::pass::Mode;
use crate::source::ChangedKey;

/// Keys remembered at most. One takes some 150 bytes; beyond this the memory begins anew, which costs one more reading.
const MAX_KEYS: usize = 200_000;

/// Duplicate keys of a kind remembered at most.
const MAX_DUPLICATES: usize = 1000;

/// A row whose timestamps did not move is read again after this time at the earliest: graphiti writes some rows twice in a
/// row, and the second time without a trace. Shorter costs readings, longer costs freshness of the second writing.
pub const READ_AGAIN: Duration = Duration::from_millis(2500);

/// A source that is written without a pause never lets its counts be compared exactly; after so many readings in a row that
/// differ, the keys are.
const MAX_READINGS: u32 = 10;

/// When an incremental pass does what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// How far back rows are looked for that were committed late.
    pub overlap: Duration,
    /// How often.
    pub late_check: Duration,
}

/// The memory.
#[derive(Debug, Default)]
pub struct Memory {
    seen: HashMap<(ElementKind, String), Seen>,
    last_late_check: Option<Instant>,
    /// By kind, how many more elements the source has than the cache, for reasons that a sweep has found to stand:
    /// quarantined and collapsed elements, and such.
    explained: HashMap<ElementKind, i64>,
    /// Keys that more than one element had when they were last read. Which of them stands for the key may change by a delete
    /// that leaves no other trace, so they are read again in every pass.
    duplicates: Keys,
    /// The comparison under way, between two slices.
    comparison: Option<Comparison>,
    /// Whether the source's indices were looked at since the last full pass.
    mirrored: bool,
    /// Kinds whose counts differed at the last readings, and at how many.
    suspicious: HashMap<ElementKind, u32>,
}

#[derive(Debug)]
struct Seen {
    stamp: String,
    read_at: Instant,
}

impl Memory {
    /// Whether a changed row has to be read now. A row that is spared has to be looked at again after [`READ_AGAIN`].
    pub(super) fn must_read(&self, kind: ElementKind, changed: &ChangedKey, now: Instant) -> bool {
        match self.seen.get(&(kind, changed.key.clone())) {
            Some(seen) => seen.stamp != changed.stamp || now.duration_since(seen.read_at) >= READ_AGAIN,
            None => true,
        }
    }

    /// Whether a row of the overlap was never read with these timestamps.
    pub(super) fn is_new(&self, kind: ElementKind, changed: &ChangedKey) -> bool {
        self.seen.get(&(kind, changed.key.clone())).is_none_or(|seen| seen.stamp != changed.stamp)
    }

    /// Remembers that a row was read.
    pub(super) fn note_read(&mut self, kind: ElementKind, changed: &ChangedKey, now: Instant) {
        if self.seen.len() >= MAX_KEYS {
            self.seen.clear();
        }
        self.seen.insert((kind, changed.key.clone()), Seen { stamp: changed.stamp.clone(), read_at: now });
    }

    /// Whether it is time to look through the overlap; if so, the time begins anew.
    pub(super) fn late_check_due(&mut self, rhythm: Rhythm, now: Instant) -> bool {
        let due = self.last_late_check.is_none_or(|last| now.duration_since(last) >= rhythm.late_check);
        if due {
            self.last_late_check = Some(now);
        }
        due
    }

    /// Takes a reading of the counts of a kind: how many more elements the source has than the cache. `quiet` says that nothing
    /// was committed since the rows of this pass were read.
    pub(super) fn asks_for_sweep(&mut self, kind: ElementKind, difference: i64, quiet: bool) -> Verdict {
        let explained = self.explained.get(&kind).copied().unwrap_or(0);
        if difference == explained {
            self.suspicious.remove(&kind);
            return Verdict::Agrees;
        }
        let readings = self.suspicious.entry(kind).or_default();
        *readings += 1;
        // What was committed meanwhile makes the source's count the larger one.
        if quiet || difference < explained || *readings >= MAX_READINGS {
            self.suspicious.remove(&kind);
            return Verdict::Sweep;
        }
        Verdict::LookAgain
    }

    /// Whether the source's indices have to be looked at in a pass of this mode; if so, they are looked at now. A full pass leaves
    /// that to the one after it, because filling a graph with indices costs more.
    pub(super) fn take_mirroring_due(&mut self, mode: Mode) -> bool {
        let full = mode == Mode::Full;
        !std::mem::replace(&mut self.mirrored, !full) && !full
    }

    /// Takes out the comparison under way. A new one looks at the source's indices as well.
    pub(super) fn take_comparison(&mut self) -> Option<Comparison> {
        self.mirrored &= self.comparison.is_some();
        self.comparison.take()
    }

    /// Keeps a comparison until its next slice.
    pub(super) fn keep_comparison(&mut self, comparison: Comparison) {
        self.comparison = Some(comparison);
    }

    /// Takes the duplicates out, to be read again.
    pub(super) fn take_duplicates(&mut self) -> Keys {
        std::mem::take(&mut self.duplicates)
    }

    /// Adds duplicates that a pass has met, up to a bound: a graph full of them is left to the comparisons.
    pub(super) fn note_duplicates(&mut self, met: Keys) {
        for (kind, keys) in met {
            let known = self.duplicates.entry(kind).or_default();
            let room = MAX_DUPLICATES.saturating_sub(known.len());
            known.extend(keys.into_iter().take(room));
        }
    }

    /// Remembers the difference that stands after a sweep.
    pub(super) fn explain(&mut self, kind: ElementKind, difference: i64) {
        self.explained.insert(kind, difference);
    }
}

/// What a reading of counts says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing to do.
    Agrees,
    /// A difference that commits in the meantime may explain.
    LookAgain,
    /// A difference that they do not.
    Sweep,
}

/// From when on rows count as written lately.
pub(super) fn overlap_begin(now: DateTime<Utc>, rhythm: Rhythm) -> DateTime<Utc> {
    chrono::TimeDelta::from_std(rhythm.overlap).map_or(DateTime::UNIX_EPOCH, |overlap| now - overlap)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::profile::NodeKindId;

    const KIND: ElementKind = ElementKind::Node(NodeKindId(0));

    fn key(stamp: &str) -> ChangedKey {
        ChangedKey { key: "k".to_owned(), stamp: stamp.to_owned() }
    }

    #[test]
    fn a_row_is_spared_only_for_a_short_time_and_while_its_timestamps_stand() {
        let mut memory = Memory::default();
        let now = Instant::now();
        assert!(memory.must_read(KIND, &key("1"), now) && memory.is_new(KIND, &key("1")));
        memory.note_read(KIND, &key("1"), now);
        assert!(!memory.must_read(KIND, &key("1"), now) && !memory.is_new(KIND, &key("1")));
        assert!(memory.must_read(KIND, &key("2"), now), "its timestamps moved");
        assert!(memory.must_read(KIND, &key("1"), now + READ_AGAIN), "time has passed");
    }

    #[test]
    fn a_difference_asks_for_a_sweep_unless_it_is_explained_or_may_be_commits_in_the_meantime() {
        let mut memory = Memory::default();
        assert_eq!(memory.asks_for_sweep(KIND, 0, false), Verdict::Agrees);
        assert_eq!(memory.asks_for_sweep(KIND, 1, false), Verdict::LookAgain);
        assert_eq!(memory.asks_for_sweep(KIND, 1, true), Verdict::Sweep, "nothing was committed");
        assert_eq!(memory.asks_for_sweep(KIND, -1, false), Verdict::Sweep, "no commit explains what only the cache has");
        memory.explain(KIND, 2);
        assert_eq!(memory.asks_for_sweep(KIND, 2, true), Verdict::Agrees);
        assert_eq!(memory.asks_for_sweep(KIND, 1, false), Verdict::Sweep);
        let busy: Vec<Verdict> = (1..=MAX_READINGS).map(|_| memory.asks_for_sweep(KIND, 5, false)).collect();
        assert_eq!(busy.iter().filter(|verdict| **verdict == Verdict::Sweep).count(), 1, "{busy:?}");
    }
}
