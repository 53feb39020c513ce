//! The progress of the work: bars on a terminal, a line now and then elsewhere, nothing if a program reads the result.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, MultiProgress, ProgressBar, ProgressStyle};
use tokio::sync::watch;

use super::arguments::Output;
use super::print;
use crate::model::pass::{PassMode, Totals};
use crate::telemetry::status::{PipelineState, PipelineStatus, ServiceStatus};

/// The interval between lines: short enough to show that the work continues, long enough for a log.
const LINES_APART: Duration = Duration::from_secs(5);

/// The template if the amount of work is known.
const BAR: &str = "{prefix:.bold} {msg} [{wide_bar}] {human_pos} of {human_len}, {per_sec}, {eta} left";

/// The template if it is unknown.
const COUNT: &str = "{prefix:.bold} {spinner} {msg}: {human_pos} elements, {per_sec}";

/// The place where progress is shown.
#[derive(Debug, Clone)]
pub(super) enum Progress {
    Bars(MultiProgress),
    /// Line by line on standard error.
    Lines,
    Log,
    Nothing,
}

/// The progress of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProgressStep {
    pub(super) what: String,
    /// The number of elements that are done.
    pub(super) done: u64,
    /// The number of all elements, if known.
    pub(super) of: Option<u64>,
}

/// Shows the progress of a command until it is dropped.
pub(super) struct ProgressLine {
    name: String,
    progress: Progress,
    bar: Option<ProgressBar>,
    /// The beginning of the present step, and the elements done by then.
    began: (Instant, u64),
    what: String,
    told: Instant,
}

impl Progress {
    /// The kind of progress that fits the command and the target of its standard error.
    pub(super) fn of(output: Output, is_service: bool) -> Self {
        match output {
            _ if std::io::stderr().is_terminal() && output == Output::Text => Self::Bars(MultiProgress::new()),
            _ if is_service => Self::Log,
            Output::Text => Self::Lines,
            Output::Json => Self::Nothing,
        }
    }

    /// The bars, around which other lines are written.
    pub(super) fn bars(&self) -> Option<MultiProgress> {
        match self {
            Self::Bars(bars) => Some(bars.clone()),
            _ => None,
        }
    }

    /// Begins to show the progress of something.
    pub(super) fn begin(&self, name: &str) -> ProgressLine {
        let bar = self.bars().map(|bars| bars.add(ProgressBar::no_length().with_prefix(name.to_owned())));
        let now = Instant::now();
        ProgressLine { name: name.to_owned(), progress: self.clone(), bar, began: (now, 0), what: String::new(), told: now }
    }

    /// Shows the progress of a pipeline until the condition is true for it, or while the future is awaited.
    pub(super) async fn follow(
        self,
        name: String,
        mut status: watch::Receiver<ServiceStatus>,
        until: impl Fn(&PipelineStatus) -> bool,
    ) {
        let mut shown = self.begin(&name);
        while status.changed().await.is_ok() {
            let standing = {
                let status = status.borrow_and_update();
                let Some(pipeline) = status.pipelines.get(&name) else { continue };
                if until(pipeline) {
                    return;
                }
                standing(pipeline)
            };
            if let Some(standing) = standing {
                shown.show(standing);
            }
        }
    }
}

impl ProgressLine {
    /// Shows the present progress.
    pub(super) fn show(&mut self, standing: ProgressStep) {
        if self.what != standing.what {
            self.begin_step(&standing);
        }
        if let Some(bar) = &self.bar {
            if let Some(of) = standing.of {
                bar.set_length(of.max(standing.done));
            }
            bar.set_position(standing.done);
        }
        if self.told.elapsed() < LINES_APART {
            return;
        }
        self.told = Instant::now();
        match self.progress {
            Progress::Lines => print::line_to_stderr(&format!("{}: {}", self.name, standing.text(self.rate(&standing)))),
            Progress::Log => {
                let ProgressStep { what, done, of } = &standing;
                let rate = self.rate(&standing).round();
                tracing::info!(pipeline = self.name, what, done, of, rows_per_second = rate, "progress");
            }
            Progress::Bars(_) | Progress::Nothing => {}
        }
    }

    fn begin_step(&mut self, standing: &ProgressStep) {
        self.what.clone_from(&standing.what);
        self.began = (Instant::now(), standing.done);
        if let Some(bar) = &self.bar {
            let template = if standing.of.is_some() { BAR } else { COUNT };
            // The templates are constants; an unreadable one would leave the bar with its default.
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("━╸ "));
            }
            bar.set_message(standing.what.clone());
            bar.reset_eta();
        }
    }

    fn rate(&self, standing: &ProgressStep) -> f64 {
        let (since, done) = self.began;
        standing.done.saturating_sub(done) as f64 / since.elapsed().as_secs_f64().max(0.001)
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl ProgressStep {
    fn text(&self, rate: f64) -> String {
        let done = HumanCount(self.done);
        let rate_text = HumanCount(rate as u64);
        let left = self.of.map(|of| of.saturating_sub(self.done) as f64).filter(|_| rate >= 1.0);
        let left = left.map(|left| format!(", {} left", HumanDuration(Duration::from_secs_f64(left / rate)))).unwrap_or_default();
        match self.of {
            Some(of) => format!("{}: {done} of {} elements, {rate_text} a second{left}", self.what, HumanCount(of)),
            None => format!("{}: {done} elements, {rate_text} a second", self.what),
        }
    }
}

/// The step that a pipeline is in.
fn standing(pipeline: &PipelineStatus) -> Option<ProgressStep> {
    let standing = |what: &str, totals: &Totals, of| Some(ProgressStep { what: what.to_owned(), done: totals.read, of });
    if let Some(full_sync) = &pipeline.full_sync {
        let what = if full_sync.pass == PassMode::Full { "full sync" } else { "full sync, catching up" };
        return standing(what, &full_sync.totals, full_sync.expected.filter(|_| full_sync.pass == PassMode::Full));
    }
    match &pipeline.state {
        PipelineState::Running { mode: PassMode::Full, totals, .. } => standing("full sync", totals, pipeline.expected),
        PipelineState::Running { mode, totals, .. } => standing(&format!("{mode} pass"), totals, None),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::telemetry::status::FullSyncStatus;

    #[test]
    fn a_standing_says_what_is_left() {
        let standing = ProgressStep { what: "full sync".to_owned(), done: 45_000, of: Some(95_000) };
        assert_eq!(standing.text(5_000.0), "full sync: 45,000 of 95,000 elements, 5,000 a second, 10 seconds left");
        assert_eq!(standing.text(0.0), "full sync: 45,000 of 95,000 elements, 0 a second");
        let open = ProgressStep { of: None, ..standing };
        assert_eq!(open.text(12.0), "full sync: 45,000 elements, 12 a second");
    }

    #[test]
    fn a_full_sync_beside_the_graph_counts_before_the_passes_that_feed_it() {
        let totals = Totals { read: 7, ..Totals::default() };
        let mut pipeline = PipelineStatus::new("p", "g");
        assert_eq!(standing(&pipeline), None);
        pipeline.state = PipelineState::Running { mode: PassMode::Incremental, since: Utc::now(), totals, cursor: None };
        assert_eq!(standing(&pipeline).unwrap().what, "incremental pass");
        let full_sync = FullSyncStatus { since: Utc::now(), pass: PassMode::Full, totals, expected: Some(9), cursor: None };
        pipeline.full_sync = Some(full_sync);
        assert_eq!(standing(&pipeline), Some(ProgressStep { what: "full sync".to_owned(), done: 7, of: Some(9) }));
    }
}
