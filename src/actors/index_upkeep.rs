//! Reports of the loader about the cache's indices: each fact once, when it changes.

use crate::sink::IndexReport;
use crate::telemetry::status::IndexStatus;

/// The most indices made at once that the log names; the rest is counted.
const NAMED: usize = 50;
/// The most dropped indices that are remembered by name: a client that makes more than these again and again is known by then.
const DROPPED_SHOWN: usize = 100;

/// The last report, and whether the supervisor has it.
#[derive(Debug, Default)]
pub(super) struct IndexUpkeep {
    status: IndexStatus,
    told: bool,
}

impl IndexUpkeep {
    /// Starts with the indices that the last full sync could not make again.
    pub(super) fn new(lost: Vec<String>) -> Self {
        Self { status: IndexStatus { lost, ..IndexStatus::default() }, told: false }
    }

    /// Notes the changes of the indices.
    pub(super) fn note(&mut self, report: IndexReport) {
        for statement in report.made.iter().take(NAMED) {
            tracing::info!(statement, "index created");
        }
        if report.made.len() > NAMED {
            tracing::info!(more = report.made.len() - NAMED, "more indices created");
        }
        self.note_dropped(report.dropped);
        if report.foreign != self.status.foreign && !report.foreign.is_empty() {
            tracing::info!(indexes = report.foreign.join(", "), "foreign indices left unchanged");
        }
        if report.unsafe_ones != self.status.unsafe_ones && !report.unsafe_ones.is_empty() {
            tracing::warn!(indexes = report.unsafe_ones.join(", "), "FalkorDB returns wrong results with these indices");
        }
        if report.left_out != self.status.left_out && !report.left_out.is_empty() {
            tracing::info!(
                indexes = report.left_out.join(", "),
                "indices not created: FalkorDB would return wrong results with them"
            );
        }
        for what in &report.lost {
            tracing::warn!(what, "cannot carry over a foreign index or constraint");
        }
        let status = &mut self.status;
        let lists = [
            (&mut status.foreign, report.foreign),
            (&mut status.unsafe_ones, report.unsafe_ones),
            (&mut status.left_out, report.left_out),
            (&mut status.constraints, report.constraints),
        ];
        for (known, now) in lists {
            self.told &= *known == now;
            *known = now;
        }
        if !report.lost.is_empty() {
            status.lost = report.lost;
            self.told = false;
        }
    }

    fn note_dropped(&mut self, dropped: Vec<String>) {
        for index in dropped {
            tracing::warn!(index, "index dropped: FalkorDB returns wrong results with it");
            if !self.status.dropped.contains(&index) && self.status.dropped.len() < DROPPED_SHOWN {
                self.status.dropped.push(index);
                self.told = false;
            }
        }
    }

    /// Notes which of the source's indices the cache cannot have: by what is known of FalkorDB, and by its own answers.
    pub(super) fn note_inexpressible(&mut self, inexpressible: Vec<String>, report: &IndexReport) {
        let refused = report.refused.iter().map(|statement| format!("FalkorDB refuses {statement}"));
        let inexpressible: Vec<String> = inexpressible.into_iter().chain(refused).collect();
        if inexpressible != self.status.inexpressible {
            for index in &inexpressible {
                tracing::warn!(index, "cannot mirror an index of the source exactly");
            }
            self.status.inexpressible = inexpressible;
            self.told = false;
        }
    }

    /// Returns the status for the supervisor, if anything in it is new.
    pub(super) fn take_changed(&mut self) -> Option<IndexStatus> {
        (!std::mem::replace(&mut self.told, true)).then(|| self.status.clone())
    }
}
