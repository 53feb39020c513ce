//! The end of a pass.

use chrono::Utc;

use super::quarantine::unresolved;
use super::{COMPARISON_STORED, Writer, no_pass};
use crate::actors::messages::Acknowledged;
use crate::error::Result;
use crate::model::batch::PassEnd;
use crate::model::pass::{PassMode, PassSummary};
use crate::model::pass_outcome::PassOutcome;

impl Writer {
    pub(super) async fn end(&mut self, end: PassEnd) -> Result<Acknowledged> {
        let apart = self.profile.routes.is_some();
        let unresolved: Vec<_> = end.unresolved.iter().map(|identity| unresolved(identity, apart)).collect();
        self.add_to_quarantine(&unresolved, &[]).await?;
        if let Some(outside) = end.outside_profile {
            self.checkpoint.outside_profile = outside;
        }
        if self.pass_mut()?.mode == PassMode::Full {
            let report = self.sink.prepare().await?;
            if report.from_nothing {
                return Err(self.graph_was_replaced().await?);
            }
            self.checkpoint.lost_indexes.clone_from(&report.lost);
            self.indexes.note(report);
        }
        let mut pass = self.checkpoint.pass.take().ok_or_else(no_pass)?;
        pass.totals.quarantined += unresolved.len() as u64;
        pass.totals.keys_listed += end.keys_listed;
        let (mode, began_at, bookmark) = (pass.mode, pass.began_at, pass.bookmark);
        let summary = PassSummary { mode, began_at, bookmark, ended_at: Utc::now(), totals: pass.totals };
        let ended = end.outcome.verdict.is_some();
        if end.comparison.as_ref().is_some_and(|comparison| comparison.findings > 0) {
            self.checkpoint.note_difference();
        }
        let log_gap = self.gap_after(mode, &end.outcome);
        let collapses_alike = self.checkpoint.duplicates == end.duplicates;
        let news = ended || self.checkpoint.guard != end.guard || !collapses_alike || self.checkpoint.log_gap != log_gap;
        self.checkpoint.guard = end.guard;
        self.checkpoint.duplicates = end.duplicates;
        self.checkpoint.comparison = end.comparison;
        self.checkpoint.log_gap = log_gap;
        if let Some(verdict) = &end.outcome.verdict {
            self.checkpoint.note_compared(verdict);
            self.checkpoint.compared_at = Some(summary.ended_at);
        }
        // A comparison reads no changes: only the other passes move the watermark.
        if mode != PassMode::Differential {
            // A proof names what is excepted: what the cache lacks, and keys that several elements share.
            let lacks_none = unresolved.is_empty() && summary.totals.quarantined == 0 && !self.checkpoint.guard.holds_any();
            let is_sound = lacks_none && collapses_alike;
            self.checkpoint.note_told(end.position, summary.bookmark.as_ref(), is_sound, &end.outcome);
            self.checkpoint.watermark = Some(began_at);
            self.checkpoint.bookmark = summary.bookmark.clone();
            self.checkpoint.last_pass = Some(summary.clone());
        }
        let is_bare_slice = mode == PassMode::Differential && !news && summary.totals.read == 0;
        let is_late = self.stored_at.is_none_or(|at| at.elapsed() >= COMPARISON_STORED);
        if !is_bare_slice || is_late {
            self.store_checkpoint().await?;
        }
        let (equal_as_of, told_as_of) = (self.checkpoint.equal_as_of.clone(), self.checkpoint.told_as_of.clone());
        let is_proven_by_log = self.checkpoint.is_proven_by_log();
        let acknowledged = self.acknowledged(Vec::new(), Some(summary));
        Ok(Acknowledged { outcome: end.outcome, equal_as_of, told_as_of, is_proven_by_log, ..acknowledged })
    }

    /// Returns what is left of a gap in the log. A comparison closes the gap only if it has looked past it.
    fn gap_after(&self, mode: PassMode, outcome: &PassOutcome) -> Option<u64> {
        if mode != PassMode::Differential {
            return outcome.log_gap;
        }
        let has_looked_past = |gap: &u64| outcome.verdict.as_ref().is_some_and(|verdict| verdict.has_looked_past(*gap));
        self.checkpoint.log_gap.max(outcome.log_gap).filter(|gap| !has_looked_past(gap))
    }
}
