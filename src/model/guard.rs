//! The delete guard's memory: the recent number of elements of each kind, and the deletes that wait for approval.
//!
//! Whether a kind shrinks at once or little by little, it is measured against its highest count since the last approval or in the
//! last day, whichever is more recent.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::kind::Step;

/// Counts are remembered by the hour, so that a day takes some 25 entries.
const GRAIN: TimeDelta = TimeDelta::hours(1);

/// The time that the hour of a count is remembered, so that the count itself lasts for at least a day.
const MEMORY: TimeDelta = TimeDelta::hours(25);

/// The number of deletes that are always allowed: a small kind empties and fills in normal operation.
pub(crate) const ALWAYS_ALLOWED: u64 = 100;

/// The most keys that are shown of a kind's held deletes: enough to see what they are.
pub(crate) const SAMPLE: usize = 10;

/// The largest share of a kind that may be deleted without approval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct DeleteLimit(f64);

impl DeleteLimit {
    /// A limit from a share between 0 and 1; 1 never holds anything.
    pub(crate) fn new(fraction: f64) -> Self {
        Self(fraction)
    }

    /// Whether a kind that had `high` elements must not shrink to `left` without approval.
    pub(crate) fn holds(self, high: u64, left: u64) -> bool {
        let loss = high.saturating_sub(left);
        // Counts beyond 2^53 do not occur.
        loss > ALWAYS_ALLOWED && self.0 < 1.0 && loss as f64 > self.0 * high as f64
    }
}

/// The memory of all kinds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Guard {
    kinds: Vec<Guarded>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Guarded {
    kind: Step,
    /// Falling counts, the latest last.
    #[serde(default)]
    highs: Vec<High>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held: Option<Held>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct High {
    /// The hour of the count.
    at: DateTime<Utc>,
    count: u64,
}

/// Deletes of one kind that wait for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    /// The number of deletes.
    pub number: u64,
    /// Some of their keys.
    pub sample: Vec<String>,
    /// The beginning of the wait.
    pub since: DateTime<Utc>,
}

/// Deletes of one kind that wait for approval, as they are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeldDeletes {
    /// The label or type.
    pub kind: String,
    /// Their number, some of their keys, and the beginning of the wait.
    #[serde(flatten)]
    pub held: Held,
}

impl Guard {
    /// Notes a final count of a kind, not one in the middle of a pass. A kind that never had more elements than may always be
    /// deleted is not remembered: there may be thousands of such kinds, in every checkpoint.
    pub(crate) fn observe(&mut self, kind: &Step, count: u64, now: DateTime<Utc>) {
        if count <= ALWAYS_ALLOWED && self.of(kind).is_none() {
            return;
        }
        let highs = &mut self.of_mut(kind).highs;
        let at = now.duration_trunc(GRAIN).unwrap_or(now);
        // A count that is not higher than a later count is no high any more.
        while highs.last().is_some_and(|last| last.count <= count) {
            highs.pop();
        }
        if highs.last().is_none_or(|last| last.at < at) {
            highs.push(High { at, count });
        }
        highs.retain(|high| now - high.at <= MEMORY);
    }

    /// The highest count of a kind that is still relevant. Absent if none is known.
    pub(crate) fn high(&self, kind: &Step, now: DateTime<Utc>) -> Option<u64> {
        let highs = &self.of(kind)?.highs;
        highs.iter().filter(|high| now - high.at <= MEMORY).map(|high| high.count).max()
    }

    /// Whether a kind with `count` elements must not shrink to `left` without approval.
    pub(crate) fn holds(&self, limit: DeleteLimit, kind: &Step, count: u64, left: u64, now: DateTime<Utc>) -> bool {
        limit.holds(self.high(kind, now).unwrap_or(count), left)
    }

    /// Takes an approval: later losses of a kind are measured against this count.
    pub(crate) fn approve(&mut self, kind: &Step, count: u64, now: DateTime<Utc>) {
        if self.of(kind).is_some() {
            let kept = self.of_mut(kind);
            kept.highs.clear();
            kept.held = None;
        }
        self.observe(kind, count, now);
    }

    /// Notes which deletes of a kind wait now; a number of 0 means none. Returns whether this is new.
    pub(crate) fn hold(&mut self, kind: &Step, number: u64, sample: Vec<String>, now: DateTime<Utc>) -> bool {
        if number == 0 && self.of(kind).is_none() {
            return false;
        }
        let held = &mut self.of_mut(kind).held;
        let before = held.as_ref().map_or(0, |held| held.number);
        let since = held.as_ref().map_or(now, |held| held.since);
        *held = (number > 0).then_some(Held { number, sample, since });
        before != number
    }

    /// Clears all held deletes: the elements that they refer to no longer exist.
    pub(crate) fn release(&mut self) {
        self.kinds.iter_mut().for_each(|kept| kept.held = None);
    }

    /// The number of waiting deletes of a kind.
    pub(crate) fn held(&self, kind: &Step) -> u64 {
        self.of(kind).and_then(|kept| kept.held.as_ref()).map_or(0, |held| held.number)
    }

    /// Whether any delete waits for approval.
    pub(crate) fn holds_any(&self) -> bool {
        self.kinds.iter().any(|kept| kept.held.is_some())
    }

    /// All waiting deletes, as they are shown.
    pub(crate) fn shown(&self) -> Vec<HeldDeletes> {
        let held = |kept: &Guarded| Some(HeldDeletes { kind: kept.kind.name().to_owned(), held: kept.held.clone()? });
        self.kinds.iter().filter_map(held).collect()
    }

    fn of(&self, kind: &Step) -> Option<&Guarded> {
        self.kinds.iter().find(|kept| kept.kind == *kind)
    }

    fn of_mut(&mut self, kind: &Step) -> &mut Guarded {
        let place = self.kinds.iter().position(|kept| kept.kind == *kind).unwrap_or_else(|| {
            self.kinds.push(Guarded { kind: kind.clone(), highs: Vec::new(), held: None });
            self.kinds.len() - 1
        });
        &mut self.kinds[place]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::name::Label;

    fn kind() -> Step {
        Step::Nodes(Label::parse("Entity").unwrap())
    }

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::hours(hours) + TimeDelta::minutes(7)
    }

    #[test]
    fn more_than_the_share_and_more_than_a_hundred_are_held() {
        let half = DeleteLimit::new(0.5);
        assert!(half.holds(1000, 499) && !half.holds(1000, 500) && !half.holds(100, 0));
        assert!(DeleteLimit::new(0.0).holds(1000, 899) && !DeleteLimit::new(0.0).holds(1000, 900));
        assert!(!DeleteLimit::new(1.0).holds(1000, 0));
    }

    #[test]
    fn what_goes_little_by_little_is_measured_against_the_highest_count_of_a_day() {
        let mut guard = Guard::default();
        for (hour, count) in [(0, 1000), (1, 900), (2, 950), (3, 700), (3, 650)] {
            guard.observe(&kind(), count, at(hour));
        }
        assert_eq!(guard.high(&kind(), at(3)), Some(1000));
        assert!(guard.holds(DeleteLimit::new(0.5), &kind(), 650, 499, at(3)));
        assert_eq!(guard.high(&kind(), at(26)), Some(950), "a day later that is forgotten");
        guard.observe(&kind(), 600, at(26));
        assert_eq!(guard.of(&kind()).unwrap().highs.len(), 3);
        assert_eq!(guard.high(&kind(), at(60)), None);
        assert!(!guard.holds(DeleteLimit::new(0.5), &kind(), 600, 400, at(60)), "then the count at hand counts");
    }

    #[test]
    fn many_observations_stay_few() {
        let mut guard = Guard::default();
        for minute in 0..100 * 60 {
            guard.observe(&kind(), 1_000_000 - minute, at(0) + TimeDelta::minutes(minute.cast_signed()));
        }
        assert!(guard.of(&kind()).unwrap().highs.len() <= 27);
    }

    #[test]
    fn an_approval_begins_anew() {
        let mut guard = Guard::default();
        guard.observe(&kind(), 1000, at(0));
        assert!(guard.hold(&kind(), 900, vec!["a".to_owned()], at(1)) && guard.holds_any());
        assert!(!guard.hold(&kind(), 900, vec!["b".to_owned()], at(2)), "no news");
        assert_eq!((guard.held(&kind()), guard.shown()[0].held.since), (900, at(1)));
        let text = serde_json::to_string(&guard).unwrap();
        assert_eq!(serde_json::from_str::<Guard>(&text).unwrap(), guard);
        guard.approve(&kind(), 100, at(3));
        assert_eq!((guard.holds_any(), guard.high(&kind(), at(3))), (false, Some(100)));
    }
}
