//! What a pass found out that decides when the next one runs.

use std::time::Duration;

use super::comparison::Verdict;

/// What a pass tells the scheduler of the next one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PassOutcome {
    /// Rows were spared that have to be looked at again a little later.
    pub look_again: bool,
    /// Counts differed, and commits in the meantime may explain it: the next pass should follow at once.
    pub look_again_soon: bool,
    /// Something was committed since the pass began: the next one need not wait for a probe to see it.
    pub source_moved: bool,
    /// Keys that were committed late were not looked for, and are to be after this time even if nothing more is committed.
    pub late_check_in: Option<Duration>,
    /// A change feed told what the pass read: it found everything, and the feed tells when the next one is due.
    pub is_told: bool,
    /// What a change feed has not told is still to be looked for by a comparison, up to this transaction.
    pub log_gap: Option<u64>,
    /// What a comparison says that has gone through everything.
    pub verdict: Option<Verdict>,
}

impl PassOutcome {
    /// Whether what was committed before the pass began is in the cache, as far as the pass can tell.
    pub(crate) fn is_settled(&self) -> bool {
        !self.look_again && !self.look_again_soon
    }
}
