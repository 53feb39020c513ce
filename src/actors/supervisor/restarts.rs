//! The step after a fault: another generation after a pause, or the end of a command.

use std::time::Duration;

use crate::actors::pipeline::SupervisionTimeouts;
use crate::error::{Directive, Error, ErrorKind};

/// The most generations in a row that may end without an acknowledged batch before a one-shot command gives up.
const FRUITLESS_GENERATIONS: u32 = 4;

/// Counts of faults in a row.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    /// Failures since the last generation that ran for long without a fault.
    failures: u32,
    /// Generations without an acknowledged batch.
    fruitless: u32,
}

/// The reaction of a supervisor to a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterFault {
    /// The command ends with the error.
    GiveUp,
    /// Another attempt follows at once: the fault is no failure.
    Again,
    /// Another attempt follows after this time.
    After(Duration),
    /// An operator is needed. Another attempt follows after this time nevertheless.
    Halted(Duration),
}

impl Restarts {
    /// Notes that a batch was acknowledged.
    pub(super) fn acknowledged(&mut self) {
        self.fruitless = 0;
    }

    /// Notes that a generation ran for long without a fault.
    pub(super) fn was_quiet(&mut self) {
        self.failures = 0;
    }

    pub(super) fn after(&mut self, error: &Error, is_one_shot: bool, timing: &SupervisionTimeouts) -> AfterFault {
        if error.kind() == ErrorKind::SourceOutgrown {
            return AfterFault::Again;
        }
        self.fruitless += 1;
        let next = self.after_full_sync(error, timing);
        if is_one_shot && (matches!(next, AfterFault::Halted(_)) || self.fruitless >= FRUITLESS_GENERATIONS) {
            return AfterFault::GiveUp;
        }
        next
    }

    /// Decides what follows a failed full sync beside the graph.
    pub(super) fn after_full_sync(&mut self, error: &Error, timing: &SupervisionTimeouts) -> AfterFault {
        self.failures += 1;
        let halted = error.directive() == Directive::Halt;
        let pause = match error.kind() {
            _ if halted => timing.halted,
            _ => timing.backoff.pause(self.failures),
        };
        if halted { AfterFault::Halted(pause) } else { AfterFault::After(pause) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retry::Backoff;

    fn timing() -> SupervisionTimeouts {
        let backoff = Backoff { base: Duration::from_millis(10), cap: Duration::from_secs(60) };
        SupervisionTimeouts { backoff, halted: Duration::from_secs(30), ..SupervisionTimeouts::default() }
    }

    fn error(kind: ErrorKind) -> Error {
        Error::new(kind, "for a test")
    }

    fn pause(next: AfterFault) -> Duration {
        match next {
            AfterFault::After(pause) => pause,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pauses_grow_until_a_generation_was_quiet() {
        let (mut restarts, timing, fault) = (Restarts::default(), timing(), error(ErrorKind::CacheConnection));
        let pauses: Vec<Duration> = (0..8).map(|_| pause(restarts.after(&fault, false, &timing))).collect();
        assert!(pauses[7] > Duration::from_millis(20) && pauses[0] <= Duration::from_millis(20), "{pauses:?}");
        restarts.was_quiet();
        assert!(pause(restarts.after(&fault, false, &timing)) <= Duration::from_millis(20));
    }

    #[test]
    fn a_command_gives_up_where_an_operator_is_needed_or_nothing_was_ever_acknowledged() {
        let (mut restarts, timing) = (Restarts::default(), timing());
        let (needs_operator, passes) = (error(ErrorKind::CacheAuthentication), error(ErrorKind::CacheConnection));
        assert_eq!(restarts.after(&needs_operator, true, &timing), AfterFault::GiveUp);
        assert_eq!(restarts.after(&needs_operator, false, &timing), AfterFault::Halted(timing.halted));
        restarts.acknowledged();
        for _ in 1..FRUITLESS_GENERATIONS {
            assert!(matches!(restarts.after(&passes, true, &timing), AfterFault::After(_)));
        }
        assert_eq!(restarts.after(&passes, true, &timing), AfterFault::GiveUp);
        assert!(matches!(restarts.after(&passes, false, &timing), AfterFault::After(_)), "a service goes on");
    }

    #[test]
    fn an_outgrown_profile_is_no_failure_and_a_command_does_not_wait_for_a_held_lease() {
        let (mut restarts, timing) = (Restarts::default(), timing());
        assert_eq!(restarts.after(&error(ErrorKind::SourceOutgrown), true, &timing), AfterFault::Again);
        assert_eq!(restarts.after(&error(ErrorKind::LeaseHeld), true, &timing), AfterFault::GiveUp);
    }
}
