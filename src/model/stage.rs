//! The progress of filling a stage graph: its content, and the payload that may or may not be in it.
//!
//! GRAPH.BULK cannot be repeated, so before each call the checkpoint stores the stage's totals before and after it. A process
//! that resumes from there counts, and knows whether the payload was applied.

use serde::{Deserialize, Serialize};

use super::pass::{Cursor, Totals};

/// The totals of a stage. FalkorDB numbers the nodes of a graph without deletes from 0 on, so `nodes` is also the next id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StageTotals {
    /// The number of nodes.
    pub nodes: u64,
    /// The number of relationships.
    pub relationships: u64,
}

impl StageTotals {
    /// The totals of the stage with this many more.
    #[must_use]
    pub(crate) fn with(self, nodes: u64, relationships: u64) -> Self {
        Self { nodes: self.nodes + nodes, relationships: self.relationships + relationships }
    }
}

/// The filling of a stage, as its checkpoint keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct StageFill {
    /// The totals of the stage without the payload under way.
    pub holds: StageTotals,
    /// The payload that is being loaded, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loading: Option<PendingPayload>,
}

/// A payload that is being loaded, and the state of the pass once it is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PendingPayload {
    /// The totals of the stage then.
    pub after: StageTotals,
    /// The cursor of the pass then. Absent for a payload in the middle of a batch: the batch can then neither be repeated nor
    /// continued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
    /// The results of the pass then.
    pub totals: Totals,
}

/// The fate of a payload after its reply was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PayloadState {
    /// The payload must be sent.
    NotApplied,
    /// The payload must not be sent again.
    Applied,
    /// The stage is not the one for which the payload was made: it must be dropped.
    Neither,
}

impl StageFill {
    /// Derives the fate of the payload under way from the stage's totals. The totals before and after it differ, because a
    /// payload is never empty.
    pub(crate) fn standing(&self, found: StageTotals) -> PayloadState {
        match &self.loading {
            _ if found == self.holds => PayloadState::NotApplied,
            Some(loading) if found == loading.after && loading.cursor.is_some() => PayloadState::Applied,
            _ => PayloadState::Neither,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::kind::Step;
    use crate::model::name::Label;

    fn totals(nodes: u64, relationships: u64) -> StageTotals {
        StageTotals { nodes, relationships }
    }

    fn fill(whole: bool) -> StageFill {
        let cursor = Cursor { step: Step::Nodes(Label::parse("A").unwrap()), after: "k".to_owned() };
        let loading = PendingPayload { after: totals(7, 2), cursor: whole.then_some(cursor), totals: Totals::default() };
        StageFill { holds: totals(5, 2), loading: Some(loading) }
    }

    #[test]
    fn totals_tell_what_became_of_a_payload() {
        assert_eq!(fill(true).standing(totals(5, 2)), PayloadState::NotApplied);
        assert_eq!(fill(true).standing(totals(7, 2)), PayloadState::Applied);
        for found in [totals(6, 2), totals(7, 3), totals(0, 0)] {
            assert_eq!(fill(true).standing(found), PayloadState::Neither);
        }
        assert_eq!(fill(false).standing(totals(7, 2)), PayloadState::Neither, "half a batch");
        assert_eq!(StageFill::default().standing(totals(1, 0)), PayloadState::Neither);
    }
}
