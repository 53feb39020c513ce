//! What a loader says of the cache's indices: each thing once, when it changes.

use crate::sink::IndexReport;
use crate::telemetry::status::IndexStatus;

/// Indices that the log names of those that were made at once; the rest is counted.
const NAMED: usize = 50;

/// What was said last, and whether that is still to be told to the supervisor.
#[derive(Debug, Default)]
pub(super) struct IndexUpkeep {
    status: IndexStatus,
    told: bool,
}

impl IndexUpkeep {
    /// Takes what became of the indices.
    pub(super) fn note(&mut self, report: IndexReport) {
        for statement in report.made.iter().take(NAMED) {
            tracing::info!(statement, "index made");
        }
        if report.made.len() > NAMED {
            tracing::info!(more = report.made.len() - NAMED, "indices made");
        }
        if report.foreign != self.status.foreign {
            if !report.foreign.is_empty() {
                tracing::info!(indexes = report.foreign.join(", "), "indices that are not ours, left alone");
            }
            self.status.foreign = report.foreign;
            self.told = false;
        }
    }

    /// Takes what of the source's indices the cache cannot have: for what is known of FalkorDB, and for what it said.
    pub(super) fn note_inexpressible(&mut self, inexpressible: Vec<String>, report: &IndexReport) {
        let refused = report.refused.iter().map(|statement| format!("FalkorDB refuses {statement}"));
        let inexpressible: Vec<String> = inexpressible.into_iter().chain(refused).collect();
        if inexpressible != self.status.inexpressible {
            for index in &inexpressible {
                tracing::warn!(index, "an index of the source is not mirrored as it is");
            }
            self.status.inexpressible = inexpressible;
            self.told = false;
        }
    }

    /// What is to be told, if anything is new.
    pub(super) fn take_changed(&mut self) -> Option<IndexStatus> {
        (!std::mem::replace(&mut self.told, true)).then(|| self.status.clone())
    }
}
