//! The delete guard's memory: how many elements each kind had lately, and which deletes wait for a person.
//!
//! A kind that shrinks at once or little by little is measured against the highest count that it had since the last approval
//! or in the last day, whichever is shorter ago.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::kind::Step;

/// Counts are remembered by the hour, so that a day of them takes some 25 entries.
const GRAIN: TimeDelta = TimeDelta::hours(1);

/// How long the hour of a count is remembered: the count itself for a day at least.
const MEMORY: TimeDelta = TimeDelta::hours(25);

/// So many elements may always go: a small kind empties and fills in the normal course of things.
pub const ALWAYS_ALLOWED: u64 = 100;

/// Keys shown of the deletes held of a kind: enough to see what they are.
pub const SAMPLE: usize = 10;

/// The largest share of a kind that may go without a person's word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeleteLimit(f64);

impl DeleteLimit {
    /// From a share between 0 and 1; 1 never holds anything.
    pub(crate) fn new(fraction: f64) -> Self {
        Self(fraction)
    }

    /// Whether a kind that had `high` elements must not shrink to `left` without a person's word.
    pub(crate) fn holds(self, high: u64, left: u64) -> bool {
        let loss = high.saturating_sub(left);
        // Counts beyond 2^53 do not occur.
        loss > ALWAYS_ALLOWED && self.0 < 1.0 && loss as f64 > self.0 * high as f64
    }
}

/// The memory of all kinds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Guard {
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
    /// The hour.
    at: DateTime<Utc>,
    count: u64,
}

/// Deletes of one kind that wait for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// How many.
    pub number: u64,
    /// Some of their keys.
    pub sample: Vec<String>,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// Deletes of one kind that wait for a person, as they are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldDeletes {
    /// The label or type.
    pub kind: String,
    /// How many, some of their keys, and since when.
    #[serde(flatten)]
    pub held: Held,
}

impl Guard {
    /// Notes a count that a kind has for good, not in the middle of a pass. A kind that never had more elements than may always go
    /// is not remembered: of those there may be thousands, in every checkpoint.
    pub(crate) fn observe(&mut self, kind: &Step, count: u64, now: DateTime<Utc>) {
        if count <= ALWAYS_ALLOWED && self.of(kind).is_none() {
            return;
        }
        let highs = &mut self.of_mut(kind).highs;
        let at = now.duration_trunc(GRAIN).unwrap_or(now);
        // What is not higher than a later count is no high any more.
        while highs.last().is_some_and(|last| last.count <= count) {
            highs.pop();
        }
        if highs.last().is_none_or(|last| last.at < at) {
            highs.push(High { at, count });
        }
        highs.retain(|high| now - high.at <= MEMORY);
    }

    /// The highest count of a kind that counts; absent where none is known.
    pub(crate) fn high(&self, kind: &Step, now: DateTime<Utc>) -> Option<u64> {
        let highs = &self.of(kind)?.highs;
        highs.iter().filter(|high| now - high.at <= MEMORY).map(|high| high.count).max()
    }

    /// Whether a kind that has `count` elements must not shrink to `left` without a person's word.
    pub(crate) fn holds(&self, limit: DeleteLimit, kind: &Step, count: u64, left: u64, now: DateTime<Utc>) -> bool {
        limit.holds(self.high(kind, now).unwrap_or(count), left)
    }

    /// Takes a person's word: what a kind loses from here on is measured against this count.
    pub(crate) fn approve(&mut self, kind: &Step, count: u64, now: DateTime<Utc>) {
        if self.of(kind).is_some() {
            let kept = self.of_mut(kind);
            kept.highs.clear();
            kept.held = None;
        }
        self.observe(kind, count, now);
    }

    /// Notes which deletes of a kind wait now; none is a number of 0. Says whether that is news.
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

    /// How many deletes of a kind wait.
    pub(crate) fn held(&self, kind: &Step) -> u64 {
        self.of(kind).and_then(|kept| kept.held.as_ref()).map_or(0, |held| held.number)
    }

    /// Whether any delete waits for approval.
    pub(crate) fn holds_any(&self) -> bool {
        self.kinds.iter().any(|kept| kept.held.is_some())
    }

    /// All that waits, as it is shown.
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
