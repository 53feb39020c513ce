//! The orders of the supervisor to the extractor.

use crate::model::pass::{Mode, PassUnderWay};
use crate::sync::Slice;

/// The pass that the extractor is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PassOrder {
    Begin(Mode),
    /// Resumes a pass that a checkpoint left.
    Resume(Box<PassUnderWay>),
    /// A slice of the comparison.
    Compare(Slice),
}

impl PassOrder {
    /// Returns the part of a comparison that this order covers.
    pub(crate) fn slice(&self) -> Slice {
        match self {
            PassOrder::Compare(slice) => *slice,
            PassOrder::Begin(_) | PassOrder::Resume(_) => Slice::default(),
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        match self {
            PassOrder::Begin(mode) => *mode,
            PassOrder::Resume(pass) => pass.mode,
            PassOrder::Compare(_) => Mode::Differential,
        }
    }
}
