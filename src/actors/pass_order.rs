//! The orders of the supervisor to the extractor.

use crate::model::pass::{PassMode, PassUnderWay};
use crate::sync::SliceOrder;

/// The pass that the extractor is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PassOrder {
    Begin(PassMode),
    /// Resumes a pass that a checkpoint left.
    Resume(Box<PassUnderWay>),
    /// A slice of the comparison.
    Compare(SliceOrder),
}

impl PassOrder {
    /// Returns the part of a comparison that this order covers.
    pub(crate) fn slice(&self) -> SliceOrder {
        match self {
            PassOrder::Compare(slice) => *slice,
            PassOrder::Begin(_) | PassOrder::Resume(_) => SliceOrder::default(),
        }
    }

    pub(crate) fn mode(&self) -> PassMode {
        match self {
            PassOrder::Begin(mode) => *mode,
            PassOrder::Resume(pass) => pass.mode,
            PassOrder::Compare(_) => PassMode::Differential,
        }
    }
}
