//! The comparison in the background: slices between the passes, at its rate.

use std::time::Duration;

use actix::{AsyncContext, Context};
use tokio::time::Instant;

use super::{Ending, Schedule, Supervisor, Then};
use crate::actors::messages::PassOrder;
use crate::model::bookmark::Bookmark;
use crate::model::pass::PassSummary;
use crate::sync::PassOutcome;
use crate::telemetry::status::PipelineState;

/// It goes on so often: short slices, because a pass waits for the one under way.
const SLICE: Duration = Duration::from_millis(250);
const SLICES_PER_SECOND: usize = 4;

impl Supervisor {
    /// A slice of the comparison, or all of it, is done.
    pub(super) fn comparison_advanced(&mut self, summary: PassSummary, outcome: PassOutcome, ctx: &mut Context<Self>) {
        self.running = None;
        self.tell_quiet();
        if let Some(verdict) = &outcome.verdict {
            let equal_as_of = verdict.equal_as_of.as_ref().map(Bookmark::as_str);
            tracing::info!(
                pipeline = %self.pipeline.name, generation = self.generation.0, rows = verdict.rows, differences = verdict.findings,
                equal_as_of, "comparison ended"
            );
            self.status.equal_as_of.clone_from(&verdict.equal_as_of);
        }
        self.show(PipelineState::Idle);
        match self.pipeline.schedule {
            Schedule::Once(_) | Schedule::Stage(_) => self.end(Ending::Drained, Then::Stop(Ok(Some(summary))), ctx),
            Schedule::Continuous { .. } => {
                if let Some(mode) = self.requested.take() {
                    return self.start_pass(PassOrder::Begin(mode));
                }
                self.schedule_slice(ctx);
            }
        }
    }

    /// Whether something was committed since the two were last found equal.
    pub(super) fn needs_comparison(&self) -> bool {
        let now = self.status.source_bookmark.as_ref().or(self.status.last_pass.as_ref().and_then(|pass| pass.bookmark.as_ref()));
        self.status.watermark.is_some() && self.status.equal_as_of.as_ref() != now
    }

    /// Has the comparison go on after a pause that keeps its rate: from one beginning to the next, whatever a slice takes. It
    /// yields to passes, but never to below a tenth of its rate.
    pub(super) fn schedule_slice(&mut self, ctx: &mut Context<Self>) {
        if self.slice_rows().is_none() || !self.needs_comparison() {
            return;
        }
        let generation = self.generation;
        let pause = self.last_slice.map_or(SLICE, |at| SLICE.saturating_sub(at.elapsed()));
        ctx.run_later(pause, move |supervisor, _| {
            // A pass that ended meanwhile has scheduled one as well.
            let due = supervisor.last_slice.is_none_or(|at| at.elapsed() >= SLICE);
            if supervisor.generation == generation && supervisor.running.is_none() && due {
                supervisor.start_slice();
            }
        });
    }

    pub(super) fn start_slice(&mut self) {
        if self.status.paused {
            return;
        }
        if let Some(rows) = self.slice_rows().filter(|_| self.needs_comparison()) {
            self.last_slice = Some(Instant::now());
            self.start_pass(PassOrder::Compare(rows));
        }
    }

    pub(super) fn is_comparison_starved(&self) -> bool {
        let waits = self.last_slice.is_none_or(|at| at.elapsed() >= SLICE * 10);
        waits && !self.status.paused && self.slice_rows().is_some() && self.needs_comparison()
    }

    pub(super) fn slice_rows(&self) -> Option<usize> {
        let rate = usize::try_from(self.pipeline.settings.scrub_rows_per_second?).unwrap_or(usize::MAX);
        Some((rate / SLICES_PER_SECOND).max(1))
    }
}
