//! Which pass runs, and which passes are requested, held or promised. `next_pass` chooses among them.

use tokio::time::Instant;

use crate::actors::pass_order::PassOrder;
use crate::actors::pipeline::Schedule;
use crate::model::pass::{PassMode, Totals};
use crate::model::pass_outcome::PassOutcome;

/// The passes of one pipeline, over all its generations.
#[derive(Debug)]
pub(super) struct PassQueue {
    running: Option<RunningPass>,
    /// A pass that was requested and has not begun.
    requested: Option<PassMode>,
    /// The order that waits for the end of a pause.
    held: Option<PassOrder>,
    /// Whether a client waits for the next pass, which then has to be thorough.
    awaited: bool,
    /// Whether the last thorough pass could not mend everything that it found: what was promised is not kept yet.
    unkept: bool,
    /// Whether the last pass left something for the next one.
    left_over: bool,
    /// The number of the last pass that was promised to a client.
    promised: u64,
    /// Passes begun so far. Passes that resume after a restart and comparisons have no number.
    begun: u64,
    /// Passes that ended, in the same numbers.
    ended: u64,
    /// The work of the last pass that the statistics hold. Acknowledgements may come after the pass broke off.
    counted: Totals,
    /// Whether an operator lets the deletes of the next pass through.
    approved: bool,
    /// Whether an approval holds for all passes: an operator gave it to a command that ends.
    keeps_approval: bool,
    /// Whether each incremental pass is thorough, because none follows that could find the rest.
    always_thorough: bool,
}

/// The pass that runs.
#[derive(Debug)]
pub(super) struct RunningPass {
    pub(super) mode: PassMode,
    /// Whether an earlier generation began it.
    pub(super) resumed: bool,
    /// Whether the pass was begun for a client that waits for everything that a commit may have changed.
    thorough: bool,
    /// Whether an operator lets its deletes through.
    pub(super) approved: bool,
    /// The time when the pass began or resumed.
    pub(super) started: Instant,
}

/// The conditions that the extractor gets with the order of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) thorough: bool,
    pub(super) allow_deletes: bool,
}

impl RunningPass {
    /// Whether the pass finds everything that was committed before it began. A full pass reads everything.
    pub(super) fn finds_all(&self) -> bool {
        self.thorough || self.mode == PassMode::Full
    }
}

impl PassQueue {
    pub(super) fn new(schedule: Schedule, approved: bool) -> Self {
        let (requested, keeps_approval) = match schedule {
            Schedule::Once(mode) | Schedule::Stage(mode) => (Some(mode), true),
            Schedule::Continuous { full_first, .. } => (full_first.then_some(PassMode::Full), false),
        };
        Self {
            running: None,
            requested,
            held: None,
            awaited: false,
            unkept: false,
            left_over: false,
            promised: 0,
            begun: 0,
            ended: 0,
            counted: Totals::default(),
            approved,
            keeps_approval,
            always_thorough: schedule == Schedule::Once(PassMode::Incremental),
        }
    }

    /// Forgets what was requested, held and approved. Numbers go on, because clients compare them.
    pub(super) fn forget_requests(&mut self) {
        (self.requested, self.held, self.awaited) = (None, None, false);
        self.forget_approval();
    }

    /// Forgets an approval, unless it was given to a command that ends.
    pub(super) fn forget_approval(&mut self) {
        self.approved &= self.keeps_approval;
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.is_none()
    }

    pub(super) fn requested(&self) -> Option<PassMode> {
        self.requested
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    pub(super) fn ended(&self) -> u64 {
        self.ended
    }

    pub(super) fn is_approved(&self) -> bool {
        self.approved
    }

    /// Requests a pass after the one that runs. A full pass covers an incremental one.
    pub(super) fn request(&mut self, mode: PassMode) {
        if self.requested != Some(PassMode::Full) {
            self.requested = Some(mode);
        }
    }

    pub(super) fn take_requested(&mut self) -> Option<PassMode> {
        self.requested.take()
    }

    /// Promises a thorough pass that begins after now, and returns its number. The pass that runs may have read its bookmark
    /// before the commit in question.
    pub(super) fn promise(&mut self) -> u64 {
        self.awaited = true;
        self.promised = self.begun + 1;
        self.promised
    }

    pub(super) fn approve(&mut self) {
        self.approved = true;
    }

    /// Notes that the swap of a full sync used the approval.
    pub(super) fn use_approval(&mut self) {
        self.forget_approval();
    }

    /// Keeps an order for the end of the pause. An incremental pass does not replace an order that does more.
    pub(super) fn hold(&mut self, order: PassOrder) {
        if order == PassOrder::Begin(PassMode::Full) {
            // A new generation may begin before the pause ends.
            self.requested = Some(PassMode::Full);
        }
        let goes_first = matches!(self.held, Some(PassOrder::Resume(_) | PassOrder::Begin(PassMode::Full)));
        if !goes_first || order.mode() == PassMode::Full {
            self.held = Some(order);
        }
    }

    pub(super) fn take_held(&mut self) -> Option<PassOrder> {
        self.held.take()
    }

    /// Begins a pass, resumes one, or compares.
    pub(super) fn begin(&mut self, order: &PassOrder) -> Terms {
        let mode = order.mode();
        let (resumed, counted, awaited) = match order {
            PassOrder::Begin(_) => {
                self.begun += 1;
                (false, Totals::default(), std::mem::take(&mut self.awaited))
            }
            PassOrder::Resume(pass) => (true, pass.totals, false),
            // A comparison covers no commit: a client that waits for one waits for the next pass.
            PassOrder::Compare(_) => (false, Totals::default(), false),
        };
        if self.requested == Some(mode) || mode == PassMode::Full {
            self.requested = None;
        }
        self.counted = counted;
        let thorough = awaited || (self.always_thorough && mode == PassMode::Incremental);
        let (approved, started) = (self.approved, Instant::now());
        self.running = Some(RunningPass { mode, resumed, thorough, approved, started });
        Terms { thorough, allow_deletes: approved }
    }

    /// Returns the work that the statistics hold.
    pub(super) fn counted(&self) -> Totals {
        self.counted
    }

    /// Notes the work that the statistics hold from now on, and returns what they held before.
    pub(super) fn count(&mut self, totals: Totals) -> Totals {
        std::mem::replace(&mut self.counted, totals)
    }

    /// Notes the end of a slice of a comparison.
    pub(super) fn compared(&mut self) {
        self.running = None;
    }

    /// Notes the end of a pass, and returns the pass.
    pub(super) fn end(&mut self) -> Option<RunningPass> {
        let pass = self.running.take()?;
        if pass.approved {
            self.approved = self.keeps_approval;
        }
        Some(pass)
    }

    /// Counts the ended pass for the clients that wait. A pass that saw a difference for the first time, or that later commits
    /// overtook, does not count: the next one mends what is left. An overtaken pass after one that left something does not make that
    /// one count either. A thorough pass that could not mend everything it found keeps no promise, however many such passes there
    /// are. A pass that was promised and has not ended is requested, unless deletes are held: no client's wait can end before an
    /// operator approves them.
    pub(super) fn count_ended(&mut self, outcome: &PassOutcome, found_all: bool, is_held: bool) {
        let (kept, is_owed) = (self.ended, self.ended < self.promised);
        let left_over = std::mem::replace(&mut self.left_over, outcome.look_again_soon);
        let uncounted = match outcome {
            PassOutcome { look_again_soon: true, .. } => 1,
            PassOutcome { is_overtaken: true, .. } => 1 + u64::from(left_over),
            _ => 0,
        };
        self.ended = kept.max(self.begun.saturating_sub(uncounted));
        if found_all {
            self.unkept = is_owed && outcome.look_again_soon;
        }
        if self.unkept {
            self.ended = kept;
        }
        if !is_held {
            self.request_promised();
        }
    }

    /// Requests the pass that was promised to a client and has not ended.
    pub(super) fn request_promised(&mut self) {
        if self.ended < self.promised {
            self.awaited = true;
            self.requested.get_or_insert(PassMode::Incremental);
        }
    }

    /// Breaks off the pass that runs because the generation ends. The resumed pass is not thorough, so the pass after it has to
    /// be.
    pub(super) fn break_off(&mut self) -> Option<RunningPass> {
        let pass = self.running.take()?;
        self.awaited |= pass.thorough;
        Some(pass)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::pass::PassUnderWay;

    const CONTINUOUS: Schedule = Schedule::Continuous { full_first: false, interval: None };

    fn incremental() -> PassOrder {
        PassOrder::Begin(PassMode::Incremental)
    }

    fn resumed(mode: PassMode) -> PassOrder {
        PassOrder::Resume(Box::new(PassUnderWay::begin(mode, chrono::Utc::now(), None)))
    }

    fn ends(queue: &mut PassQueue, outcome: &PassOutcome) {
        let found_all = queue.end().is_some_and(|pass| pass.finds_all());
        queue.count_ended(outcome, found_all, false);
    }

    #[test]
    fn a_promise_is_kept_by_the_next_pass_that_begins() {
        let mut queue = PassQueue::new(CONTINUOUS, false);
        assert!(!queue.begin(&incremental()).thorough);
        assert_eq!(queue.promise(), 2, "the one that runs began before");
        ends(&mut queue, &PassOutcome::default());
        assert_eq!((queue.ended(), queue.take_requested()), (1, Some(PassMode::Incremental)));
        assert!(queue.begin(&incremental()).thorough);
        ends(&mut queue, &PassOutcome::default());
        assert_eq!((queue.ended(), queue.requested()), (2, None));
        assert!(!queue.begin(&incremental()).thorough, "nobody waits any more");
    }

    #[test]
    fn a_pass_that_has_to_look_again_keeps_no_promise() {
        let mut queue = PassQueue::new(CONTINUOUS, false);
        let promised = queue.promise();
        queue.begin(&incremental());
        ends(&mut queue, &PassOutcome { look_again_soon: true, ..PassOutcome::default() });
        for _ in 0..3 {
            assert!(queue.ended() < promised && queue.requested() == Some(PassMode::Incremental));
            assert!(queue.begin(&incremental()).thorough, "the client still waits");
            ends(&mut queue, &PassOutcome { look_again_soon: true, ..PassOutcome::default() });
        }
        assert!(queue.ended() < promised, "more than a pass mends is left each time");
        queue.begin(&incremental());
        ends(&mut queue, &PassOutcome::default());
        assert!(queue.ended() >= promised);
    }

    #[test]
    fn a_promise_is_kept_by_the_pass_after_the_one_that_was_overtaken_even_if_it_is_overtaken_as_well() {
        let mut queue = PassQueue::new(CONTINUOUS, false);
        let overtaken = PassOutcome { is_told: true, is_overtaken: true, ..PassOutcome::default() };
        let promised = queue.promise();
        queue.begin(&incremental());
        ends(&mut queue, &overtaken);
        assert!(queue.ended() < promised && queue.requested() == Some(PassMode::Incremental));
        queue.begin(&incremental());
        ends(&mut queue, &overtaken);
        assert!(queue.ended() >= promised, "a source that is written without a pause");
    }

    /// A log tells a backlog in parts, and a later commit overtakes the pass that gets the last part.
    #[test]
    fn an_overtaken_pass_keeps_no_promise_of_a_pass_that_left_something() {
        let mut queue = PassQueue::new(CONTINUOUS, false);
        let partial = PassOutcome { is_told: true, look_again_soon: true, more: true, ..PassOutcome::default() };
        let overtaken = PassOutcome { is_told: true, is_overtaken: true, ..PassOutcome::default() };
        let promised = queue.promise();
        for outcome in [&partial, &overtaken] {
            queue.begin(&incremental());
            ends(&mut queue, outcome);
            assert!(queue.ended() < promised && queue.requested() == Some(PassMode::Incremental), "{outcome:?}");
        }
        queue.begin(&incremental());
        ends(&mut queue, &overtaken);
        assert!(queue.ended() >= promised);
    }

    #[test]
    fn a_later_client_changes_nothing_for_an_earlier_one() {
        let mut queue = PassQueue::new(CONTINUOUS, false);
        let more = PassOutcome { look_again_soon: true, more: true, ..PassOutcome::default() };
        let first = queue.promise();
        for _ in 0..3 {
            queue.begin(&incremental());
            queue.promise();
            ends(&mut queue, &more);
            assert!(queue.ended() < first, "no pass has mended everything");
        }
        queue.begin(&incremental());
        ends(&mut queue, &PassOutcome::default());
        assert!(queue.ended() >= first);
    }

    #[test]
    fn a_promise_waits_for_the_approval_of_what_is_held() {
        let mut queue = PassQueue::new(CONTINUOUS, false);
        let more = PassOutcome { look_again_soon: true, more: true, ..PassOutcome::default() };
        let end = |queue: &mut PassQueue, outcome: &PassOutcome, is_held| {
            let found_all = queue.end().is_some_and(|pass| pass.finds_all());
            queue.count_ended(outcome, found_all, is_held);
        };
        let promised = queue.promise();
        queue.begin(&incremental());
        end(&mut queue, &more, true);
        assert!(queue.ended() < promised && queue.requested().is_none(), "it would find the same");
        assert!(!queue.begin(&incremental()).thorough);
        end(&mut queue, &PassOutcome::default(), true);
        assert!(queue.ended() < promised && queue.requested().is_none(), "a pass that was not thorough says nothing");
        queue.begin(&incremental());
        end(&mut queue, &PassOutcome::default(), false);
        assert!(queue.ended() < promised && queue.take_requested().is_some(), "approved");
        assert!(queue.begin(&incremental()).thorough);
        end(&mut queue, &PassOutcome::default(), false);
        assert!(queue.ended() >= promised);
    }

    #[test]
    fn a_promise_outlives_the_pass_that_broke_off() {
        let mut queue = PassQueue::new(CONTINUOUS, false);
        queue.promise();
        queue.begin(&incremental());
        assert!(queue.break_off().is_some() && queue.break_off().is_none());
        assert!(!queue.begin(&resumed(PassMode::Incremental)).thorough, "its begin did not look everywhere");
        assert!(queue.end().unwrap().resumed);
        assert!(queue.begin(&incremental()).thorough);
        queue.end();
        queue.begin(&PassOrder::Begin(PassMode::Full));
        queue.break_off();
        assert!(!queue.begin(&incremental()).thorough, "nobody waited for the full pass");
    }

    #[test]
    fn an_approval_is_for_one_pass_unless_a_command_has_it() {
        for (schedule, after) in [(CONTINUOUS, false), (Schedule::Once(PassMode::Incremental), true)] {
            let mut queue = PassQueue::new(schedule, false);
            queue.begin(&incremental());
            queue.approve();
            queue.end();
            assert!(queue.is_approved(), "the pass that ran did not have it");
            assert!(queue.begin(&incremental()).allow_deletes);
            queue.end();
            assert_eq!(queue.is_approved(), after);
        }
    }

    #[test]
    fn a_pause_keeps_the_order_that_does_most() {
        let mut queue = PassQueue::new(CONTINUOUS, false);
        queue.hold(incremental());
        queue.hold(resumed(PassMode::Incremental));
        queue.hold(incremental());
        assert!(matches!(queue.take_held(), Some(PassOrder::Resume(_))));
        queue.hold(PassOrder::Begin(PassMode::Full));
        queue.hold(incremental());
        assert_eq!((queue.take_held(), queue.requested()), (Some(PassOrder::Begin(PassMode::Full)), Some(PassMode::Full)));
        queue.request(PassMode::Incremental);
        assert_eq!(queue.take_requested(), Some(PassMode::Full), "a full pass covers an incremental one");
    }

    #[test]
    fn the_only_pass_of_a_command_is_thorough() {
        let mut queue = PassQueue::new(Schedule::Once(PassMode::Incremental), false);
        assert_eq!(queue.requested(), Some(PassMode::Incremental));
        assert!(queue.begin(&incremental()).thorough && queue.requested().is_none());
    }
}
