//! The findings of a pass that decide when the next one runs.

use std::time::Duration;

use super::comparison::{ComparisonUnderWay, Verdict};

/// The findings of a pass for the scheduler of the next one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PassOutcome {
    /// Some rows were skipped and have to be checked again a little later.
    pub look_again: bool,
    /// Counts differed, perhaps because of commits in the meantime: the next pass should follow at once.
    pub look_again_soon: bool,
    /// There is more to mend than one pass mends.
    pub more: bool,
    /// There was a commit since the pass began: the next one need not wait for a probe to see it.
    pub source_moved: bool,
    /// Late keys were not looked for, and should be after this time even without any further commit.
    pub late_check_in: Option<Duration>,
    /// A change feed told what the pass read: the pass found everything, and the feed tells when the next one is due.
    pub is_told: bool,
    /// The pass read what a change feed told, and a later commit came before its last read. The cache may still hold an older state
    /// of an element that the later commit deleted or moved; the feed tells this to the next pass.
    pub is_overtaken: bool,
    /// Up to this transaction, a comparison must still look for changes that the change feed has not told.
    pub log_gap: Option<u64>,
    /// The comparison of which the pass was a slice, unless it is over.
    pub comparison: Option<ComparisonUnderWay>,
    /// The result of a comparison that has gone through everything.
    pub verdict: Option<Verdict>,
}

impl PassOutcome {
    /// Whether the pass left nothing to be checked again.
    pub(crate) fn is_settled(&self) -> bool {
        !self.look_again && !self.look_again_soon
    }
}
