//! The memory of the incremental passes of one generation: bounded, and only ever used to avoid work.

mod readings;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::comparison::Comparison;
use super::key_sets::ElementHasher;
use super::keys::Keys;
pub(super) use readings::CountVerdict;
use readings::Readings;

use crate::model::bookmark::Bookmark;
use crate::model::checkpoint::Checkpoint;
use crate::model::comparison::ComparisonUnderWay;
use crate::model::guard::Guard;
use crate::model::kind::ElementKind;
use crate::model::pass::PassMode;
use crate::model::profile::Profile;
use crate::model::shared_keys::SharedKeys;
use crate::source::{ChangedKey, ScanPause};

/// The most keys that are remembered. A key takes some 150 bytes; beyond this the memory begins anew, which costs one more
/// reading.
const MAX_KEYS: usize = 200_000;

/// The most duplicate keys of a kind that are remembered.
const MAX_DUPLICATES: usize = 1000;

/// The shortest time after which a row with unchanged timestamps is read again: graphiti writes some rows twice in a row, and the
/// second time without a trace. A shorter time costs readings, a longer one delays the second writing.
pub(crate) const READ_AGAIN: Duration = Duration::from_millis(2500);

/// Readings in a row that differ before the keys are compared: a source that is written without a pause never lets its counts be
/// compared exactly. Deletes that later commits hide in the counts wait as long, at some ten readings a second.
const MAX_READINGS: u32 = 10;

/// The shortest time between two sweeps of a source that is written without a pause: a sweep scans the kind, and all other
/// changes wait for it. Deletes may take longer than other changes.
const SWEEP_PAUSE: Duration = Duration::from_millis(1200);

/// The intervals at which an incremental pass does its checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CheckIntervals {
    /// How far back a pass looks for rows that were committed late.
    pub overlap: Duration,
    pub late_check: Duration,
}

/// The memory of unusable elements that the passes of a generation share.
#[derive(Debug, Default)]
pub(super) struct UnusableMemory {
    /// The number of nodes with each label that FalkorDB cannot express; absent before the first look.
    pub(super) labels: Option<BTreeMap<String, u64>>,
    /// The bookmark at the last late check.
    pub(super) reviewed_at: Option<Bookmark>,
    /// The last name of each kind that was looked at again. A long list is checked part by part.
    pub(super) reviewed: BTreeMap<ElementKind, String>,
    /// The number of node entries that had left the quarantine at the last look at the relationships.
    pub(super) left: u64,
    /// The pauses after the last scans for unusable elements.
    scan_pauses: BTreeMap<ElementKind, ScanPause>,
}

#[derive(Debug, Default)]
pub(crate) struct Memory {
    seen: HashMap<(ElementKind, String), ReadKey>,
    last_late_check: Option<Instant>,
    /// The time of the last sweep.
    last_sweep: Option<Instant>,
    kinds: Readings<ElementKind>,
    /// The number of times in a row that a kind's counts differed in a way that commits in the meantime may explain.
    unclear: HashMap<ElementKind, u32>,
    /// Differences of counts that the last sweep of a kind did not explain, until the kind is scanned for unusable elements.
    unexplained: HashMap<ElementKind, i64>,
    /// Whether a pass has looked at the source's indices since the last full pass.
    mirrored: bool,
    /// Counts of labels that are of no kind.
    labels: Readings<String>,
    /// Labels for which a comparison found no difference: nodes outside the profile carry them.
    shared_labels: HashSet<String>,
    /// Keys that more than one element had when they were last read. A delete that leaves no other trace may change which of the
    /// elements is kept, so these keys are read again in every pass.
    duplicates: Keys,
    /// Relationships that a pass could not keep and that later commits overtook. One of their ends may have been in a state that
    /// existed only between two commits, and then nothing else shows that they can be kept.
    doubtful: Keys,
    /// Whether a pass had more relationships without an end than it remembers, and later commits overtook it.
    has_forgotten: bool,
    /// The comparison under way, between two slices.
    comparison: Option<Comparison>,
    pub(super) hasher: ElementHasher,
    /// The memory of the delete guard.
    pub(super) guard: Guard,
    /// The memory of elements that the cache cannot hold.
    pub(super) unusable: UnusableMemory,
}

/// The time of a pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct PassTime {
    /// One moment for everything that the pass remembers.
    pub(super) now: Instant,
    /// The source's clock when the pass began. Timestamps are compared with it.
    pub(super) source_clock: DateTime<Utc>,
}

#[derive(Debug)]
struct ReadKey {
    stamp: String,
    read_at: Instant,
    /// The source's clock before the first reading with this stamp.
    known_since: DateTime<Utc>,
}

impl Memory {
    /// Creates the memory that a generation begins with, from the checkpoint.
    pub(crate) fn new(checkpoint: &Checkpoint, profile: &Profile) -> Self {
        let of_kind = |kind| {
            let keys = checkpoint.duplicates.of(&profile.step(kind)).iter().cloned().collect();
            (kind, keys)
        };
        let duplicates =
            if checkpoint.duplicates.is_empty() { Keys::new() } else { profile.kinds().into_iter().map(of_kind).collect() };
        let comparison = checkpoint.comparison.clone().map(Comparison::resume);
        Self { guard: checkpoint.guard.clone(), comparison, duplicates, ..Self::default() }
    }

    /// Returns the known duplicates, for the checkpoint.
    pub(super) fn duplicates(&self, profile: &Profile) -> SharedKeys {
        let known = self.duplicates.iter().filter(|(_, keys)| !keys.is_empty());
        SharedKeys::bounded(known.map(|(kind, keys)| (profile.step(*kind), keys.iter().cloned().collect())))
    }

    /// Forgets what is known of the graph that a full pass has replaced.
    pub(super) fn begin_anew(&mut self) {
        self.comparison = None;
        self.doubtful.clear();
        self.kinds = Readings::default();
        self.unclear.clear();
        self.labels = Readings::default();
        self.shared_labels.clear();
        self.guard = Guard::default();
    }

    /// Remembers relationships for the next incremental pass to read again, because later commits may have changed their ends.
    /// An incremental pass that was not overtaken leaves no doubts. A comparison only adds relationships.
    pub(super) fn note_doubtful(&mut self, relationships: Keys, mode: PassMode, is_overtaken: bool) {
        if mode == PassMode::Incremental {
            self.doubtful.clear();
        }
        if is_overtaken {
            for (kind, keys) in relationships {
                self.doubtful.entry(kind).or_default().extend(keys);
            }
        }
    }

    /// Remembers that the next pass has to read around each changed node, because the cache does not show which ones have moved.
    pub(super) fn note_forgotten(&mut self) {
        self.has_forgotten = true;
    }

    /// Returns whether the next pass has to read around each changed node.
    pub(crate) fn take_forgotten(&mut self) -> bool {
        std::mem::take(&mut self.has_forgotten)
    }

    /// Takes the relationships that the last pass could not keep and that later commits may have changed.
    pub(super) fn take_doubtful(&mut self) -> Keys {
        std::mem::take(&mut self.doubtful)
    }

    /// Whether a changed row has to be read now. A row that is skipped has to be looked at again after [`READ_AGAIN`].
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
    pub(super) fn note_read(&mut self, kind: ElementKind, changed: &ChangedKey, pass: PassTime) {
        if self.seen.len() >= MAX_KEYS {
            self.seen.clear();
        }
        let place = (kind, changed.key.clone());
        let known = self.seen.get(&place).filter(|seen| seen.stamp == changed.stamp);
        let known_since = known.map_or(pass.source_clock, |seen| seen.known_since);
        self.seen.insert(place, ReadKey { stamp: changed.stamp.clone(), read_at: pass.now, known_since });
    }

    /// Whether a row counts as written before `since`, whatever its timestamps say. With a timestamp in the future, every pass
    /// until that time would read the row: for such a row, the first reading with these timestamps counts.
    pub(super) fn is_known_since(&self, kind: ElementKind, changed: &ChangedKey, since: DateTime<Utc>) -> bool {
        let seen = self.seen.get(&(kind, changed.key.clone()));
        seen.is_some_and(|seen| seen.stamp == changed.stamp && seen.known_since <= since)
    }

    /// Whether a look through the overlap is due. If it is, the interval begins anew.
    pub(super) fn late_check_due(&mut self, rhythm: CheckIntervals, now: Instant) -> bool {
        let due = self.last_late_check.is_none_or(|last| now.duration_since(last) >= rhythm.late_check);
        if due {
            self.last_late_check = Some(now);
        }
        due
    }

    /// Returns the time until the next late check.
    pub(super) fn late_check_in(&self, rhythm: CheckIntervals, now: Instant) -> Duration {
        self.last_late_check.map_or(Duration::ZERO, |last| rhythm.late_check.saturating_sub(now.duration_since(last)))
    }

    /// Takes a reading of the counts of a kind. `quiet` means that nothing was committed after the rows of this pass were read.
    pub(super) fn asks_for_sweep(&mut self, kind: ElementKind, source: u64, cache: u64, quiet: bool) -> CountVerdict {
        let rested = self.last_sweep.is_none_or(|last| last.elapsed() >= SWEEP_PAUSE);
        let difference = source.cast_signed() - cache.cast_signed();
        let explained = self.kinds.explained.get(&kind).copied().unwrap_or(0);
        let readings = self.unclear.entry(kind).or_default();
        if difference == explained {
            *readings = 0;
            return CountVerdict::Agrees;
        }
        *readings += 1;
        // Commits in the meantime raise the source's count, so a surplus in the cache is real.
        if quiet || (rested && (difference < explained || *readings >= MAX_READINGS)) {
            *readings = 0;
            return CountVerdict::Sweep;
        }
        CountVerdict::LookAgain
    }

    /// Whether a difference of a kind's counts is already explained.
    pub(super) fn is_explained(&self, kind: ElementKind, difference: i64) -> bool {
        self.kinds.explained.get(&kind).copied().unwrap_or(0) == difference
    }

    /// Notes the difference of a kind's counts that a sweep did not explain. Returns whether the previous sweep left the same
    /// one.
    pub(super) fn note_unexplained(&mut self, kind: ElementKind, difference: Option<i64>) -> bool {
        let before = match difference {
            Some(difference) => self.unexplained.insert(kind, difference),
            None => self.unexplained.remove(&kind),
        };
        difference.is_some() && before == difference
    }

    /// Remembers that a kind was scanned for unusable elements: the remaining difference of its counts is explained.
    pub(super) fn note_scanned(&mut self, kind: ElementKind, scan: Duration) {
        self.unexplained.remove(&kind);
        self.unusable.scan_pauses.insert(kind, ScanPause::after(scan, Instant::now()));
    }

    /// Whether a kind is not scanned for unusable elements while the source is written.
    pub(super) fn spares_scan(&self, kind: ElementKind) -> bool {
        self.unusable.scan_pauses.get(&kind).is_some_and(|pause| pause.lasts(Instant::now()))
    }

    /// Kinds that are not scanned for unusable elements while the source is written.
    pub(super) fn spared_scans(&self) -> BTreeSet<ElementKind> {
        self.unusable.scan_pauses.keys().copied().filter(|kind| self.spares_scan(*kind)).collect()
    }

    /// Whether a difference of a kind's counts waits for a scan.
    pub(super) fn is_unexplained(&self, kind: ElementKind) -> bool {
        self.unexplained.contains_key(&kind)
    }

    /// Whether the cache has more elements of a kind than expected.
    pub(super) fn is_surplus(&self, kind: ElementKind, source: u64, cache: u64) -> bool {
        cache > self.expected(kind, source)
    }

    /// Takes a reading of the counts of a label. If nodes outside the profile carry the label, it is compared at late checks
    /// only: its count says little about the nodes that are kept in step.
    pub(super) fn asks_for_labels(&mut self, label: &str, source: u64, cache: u64, late: bool) -> CountVerdict {
        if !self.shared_labels.contains(label) {
            return self.labels.take(label.to_owned(), source, cache);
        }
        // The next pass is no late check, so one reading has to be enough: a difference is then read by key in any case.
        let explained = self.labels.is_explained(label, source, cache);
        if late && !explained { CountVerdict::Sweep } else { CountVerdict::Agrees }
    }

    /// Remembers the difference that remains after a comparison of the label sets.
    pub(super) fn explain_label(&mut self, label: &str, source: u64, cache: u64, found: bool) {
        self.labels.explain(label.to_owned(), source, cache);
        if found {
            self.shared_labels.remove(label);
        } else {
            self.shared_labels.insert(label.to_owned());
        }
    }

    /// Returns the place of the comparison under way, for the checkpoint.
    pub(super) fn comparison(&self) -> Option<&ComparisonUnderWay> {
        self.comparison.as_ref().map(Comparison::standing)
    }

    /// Returns whether a pass of this mode has to look at the source's indices, and notes that it does. A full pass leaves that
    /// to the next pass, because filling a graph with indices costs more.
    pub(super) fn take_mirroring_due(&mut self, mode: PassMode) -> bool {
        let full = mode == PassMode::Full;
        !std::mem::replace(&mut self.mirrored, !full) && !full
    }

    /// Removes and returns the comparison under way. If there is none, a new one looks at the source's indices as well.
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

    /// Adds duplicates that a pass has found, up to a bound: a graph full of them is left to the comparisons.
    pub(super) fn note_duplicates(&mut self, met: Keys) {
        for (kind, keys) in met {
            let known = self.duplicates.entry(kind).or_default();
            let room = MAX_DUPLICATES.saturating_sub(known.len());
            known.extend(keys.into_iter().take(room));
        }
    }

    /// Whether any key is known that several nodes share.
    pub(super) fn knows_shared_nodes(&self) -> bool {
        self.duplicates.iter().any(|(kind, keys)| kind.is_node() && !keys.is_empty())
    }

    /// Returns how many elements of a kind the cache has to have if the source has this many, as far as is known.
    pub(super) fn expected(&self, kind: ElementKind, source: u64) -> u64 {
        let explained = self.kinds.explained.get(&kind).copied().unwrap_or(0);
        u64::try_from(source.cast_signed() - explained).unwrap_or(0)
    }

    /// Gives the guard the number of elements of each kind. While a pass has written and not yet deleted, or the other way round,
    /// the count is not final: the guard gets the smaller count of both sides.
    pub(super) fn observe(&mut self, profile: &Profile, source: &[u64], cache: &[u64], now: DateTime<Utc>) {
        for (place, kind) in profile.kinds().into_iter().enumerate() {
            let step = profile.step(kind);
            let count = match self.guard.high(&step, now) {
                None => cache[place],
                Some(_) => self.expected(kind, source[place]).min(cache[place]),
            };
            self.guard.observe(&step, count, now);
        }
    }

    /// Remembers that kinds were swept now.
    pub(super) fn note_sweep(&mut self) {
        self.last_sweep = Some(Instant::now());
    }

    /// Remembers the difference that remains after a sweep.
    pub(super) fn explain(&mut self, kind: ElementKind, difference: i64) {
        self.kinds.explained.insert(kind, difference);
    }
}

/// The time from which on rows count as recently written.
pub(super) fn overlap_begin(now: DateTime<Utc>, rhythm: CheckIntervals) -> DateTime<Utc> {
    chrono::TimeDelta::from_std(rhythm.overlap).map_or(DateTime::UNIX_EPOCH, |overlap| now - overlap)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kind::NodeKindId;

    const KIND: ElementKind = ElementKind::Node(NodeKindId(0));

    fn key(stamp: &str) -> ChangedKey {
        ChangedKey { key: "k".to_owned(), stamp: stamp.to_owned() }
    }

    #[test]
    fn what_two_sweeps_leave_unexplained_stands() {
        let (mut memory, kind) = (Memory::default(), ElementKind::Node(NodeKindId(0)));
        let found = [Some(1), Some(2), Some(2), None, Some(2), Some(2)].map(|left| memory.note_unexplained(kind, left));
        assert_eq!(found, [false, false, true, false, false, true]);
    }

    #[test]
    fn an_unexplained_difference_waits_for_a_scan_and_the_next_scan_for_a_pause() {
        let mut memory = Memory::default();
        assert!(memory.spared_scans().is_empty());
        memory.note_unexplained(KIND, Some(1));
        assert!(memory.is_unexplained(KIND));
        memory.note_scanned(KIND, Duration::from_secs(1));
        assert!(!memory.is_unexplained(KIND) && memory.spared_scans() == BTreeSet::from([KIND]));
    }

    #[test]
    fn a_row_is_spared_only_for_a_short_time_and_while_its_timestamps_stand() {
        let mut memory = Memory::default();
        let now = Instant::now();
        assert!(memory.must_read(KIND, &key("1"), now) && memory.is_new(KIND, &key("1")));
        memory.note_read(KIND, &key("1"), PassTime { now, source_clock: DateTime::UNIX_EPOCH });
        assert!(!memory.must_read(KIND, &key("1"), now) && !memory.is_new(KIND, &key("1")));
        assert!(memory.must_read(KIND, &key("2"), now), "its timestamps moved");
        assert!(memory.must_read(KIND, &key("1"), now + READ_AGAIN), "time has passed");
    }

    #[test]
    fn a_row_of_the_future_counts_from_when_it_was_first_read() {
        let mut memory = Memory::default();
        let (begin, second) = (DateTime::UNIX_EPOCH, chrono::TimeDelta::seconds(1));
        let pass = |number: i32| PassTime { now: Instant::now(), source_clock: begin + second * number };
        memory.note_read(KIND, &key("2099"), pass(1));
        assert!(!memory.is_known_since(KIND, &key("2099"), begin), "the pass after it reads what came a moment before as well");
        memory.note_read(KIND, &key("2099"), pass(2));
        assert!(memory.is_known_since(KIND, &key("2099"), begin + second), "reading it again makes it no younger");
        assert!(!memory.is_known_since(KIND, &key("2100"), begin + second), "its timestamps moved");
        memory.note_read(KIND, &key("2100"), pass(3));
        assert!(!memory.is_known_since(KIND, &key("2100"), begin + second));
    }

    #[test]
    fn a_difference_asks_for_a_sweep_unless_it_is_explained_or_may_be_commits_in_the_meantime() {
        let mut memory = Memory::default();
        assert_eq!(memory.asks_for_sweep(KIND, 10, 10, false), CountVerdict::Agrees);
        assert_eq!(memory.asks_for_sweep(KIND, 11, 10, false), CountVerdict::LookAgain);
        assert_eq!(memory.asks_for_sweep(KIND, 11, 10, true), CountVerdict::Sweep, "nothing was committed");
        assert_eq!(memory.asks_for_sweep(KIND, 10, 11, false), CountVerdict::Sweep, "no commit explains what only the cache has");
        memory.explain(KIND, 2);
        assert_eq!(memory.asks_for_sweep(KIND, 14, 12, true), CountVerdict::Agrees);
        assert_eq!(memory.expected(KIND, 14), 12);
        assert_eq!(memory.asks_for_sweep(KIND, 13, 12, false), CountVerdict::Sweep);
        let busy: Vec<CountVerdict> = (1..=MAX_READINGS).map(|_| memory.asks_for_sweep(KIND, 15, 10, false)).collect();
        assert_eq!(busy.iter().filter(|verdict| **verdict == CountVerdict::Sweep).count(), 1, "{busy:?}");
    }

    #[test]
    fn a_label_that_others_carry_as_well_is_looked_at_now_and_then_only() {
        let mut memory = Memory::default();
        assert_eq!(memory.asks_for_labels("Document", 5, 0, false), CountVerdict::LookAgain);
        assert_eq!(memory.asks_for_labels("Document", 5, 0, false), CountVerdict::Sweep);
        memory.explain_label("Document", 5, 0, false);
        assert_eq!(memory.asks_for_labels("Document", 6, 0, false), CountVerdict::Agrees);
        assert_eq!(memory.asks_for_labels("Document", 6, 0, false), CountVerdict::Agrees);
        assert_eq!(memory.asks_for_labels("Document", 5, 0, true), CountVerdict::Agrees);
        assert_eq!(memory.asks_for_labels("Document", 6, 0, true), CountVerdict::Sweep);
        memory.explain_label("Document", 6, 0, true);
        assert_eq!(memory.asks_for_labels("Document", 7, 0, false), CountVerdict::LookAgain);
    }
}
