//! Whether readers of the cache can rely on it now.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::telemetry::status::{PipelineState, PipelineStatus, ServiceStatus};

/// The verdict on the whole service: ready if every pipeline is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Readiness {
    /// Whether all pipelines are ready.
    pub ready: bool,
    /// The verdict on each.
    pub pipelines: BTreeMap<String, PipelineReadiness>,
}

/// The verdict on one pipeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PipelineReadiness {
    /// Whether it is in step, and its lag under the limit.
    pub ready: bool,
    /// Seconds since the last pass that ended began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<f64>,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Readiness {
    /// Looks at a status. `limits` says how old the last pass of a pipeline may be: passes have their rhythm, so the limit is
    /// that rhythm and the configured lag.
    pub fn of(status: &ServiceStatus, limits: &BTreeMap<String, Duration>, now: DateTime<Utc>) -> Self {
        let verdict = |(name, limit): (&String, &Duration)| {
            let readiness = match status.pipelines.get(name) {
                Some(pipeline) => of_pipeline(pipeline, *limit, now),
                None => not_ready(None, "it has not begun"),
            };
            (name.clone(), readiness)
        };
        let pipelines: BTreeMap<_, _> = limits.iter().map(verdict).collect();
        Self { ready: pipelines.values().all(|pipeline| pipeline.ready), pipelines }
    }
}

fn of_pipeline(pipeline: &PipelineStatus, limit: Duration, now: DateTime<Utc>) -> PipelineReadiness {
    let lag = pipeline.lag_seconds(now);
    if !pipeline.is_in_step() {
        let fault = pipeline.last_fault.as_ref().map(|fault| fault.error.as_str());
        return not_ready(lag, fault.unwrap_or_else(|| state_reason(&pipeline.state)));
    }
    match lag {
        Some(lag) if lag <= limit.as_secs_f64() => PipelineReadiness { ready: true, lag_seconds: Some(lag), reason: None },
        lag => not_ready(lag, "the last pass that ended began too long ago"),
    }
}

fn state_reason(state: &PipelineState) -> &'static str {
    match state {
        PipelineState::Starting => "it connects",
        PipelineState::Running { .. } => "the graph is being filled",
        PipelineState::Idle => "no pass has ended yet",
        PipelineState::BackingOff { .. } => "it waits for the next attempt",
        PipelineState::Halted => "it needs a person",
        PipelineState::Stopping | PipelineState::Stopped => "it stops",
    }
}

fn not_ready(lag_seconds: Option<f64>, reason: &str) -> PipelineReadiness {
    PipelineReadiness { ready: false, lag_seconds, reason: Some(reason.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::pass::{Mode, PassSummary, Totals};
    use crate::telemetry::status::FaultReport;
    use chrono::TimeDelta;

    fn pipeline(state: PipelineState, age: TimeDelta) -> ServiceStatus {
        let began_at = Utc::now() - age;
        let pass = PassSummary { mode: Mode::Full, began_at, bookmark: None, ended_at: began_at, totals: Totals::default() };
        let pipeline =
            PipelineStatus { state, watermark: Some(began_at), last_pass: Some(pass), ..PipelineStatus::new("p", "g") };
        ServiceStatus { pipelines: BTreeMap::from([("p".to_owned(), pipeline)]) }
    }

    fn readiness(status: &ServiceStatus) -> Readiness {
        Readiness::of(status, &BTreeMap::from([("p".to_owned(), Duration::from_secs(60))]), Utc::now())
    }

    #[test]
    fn in_step_and_recent_is_ready() {
        assert!(readiness(&pipeline(PipelineState::Idle, TimeDelta::seconds(30))).ready);
        assert!(!readiness(&pipeline(PipelineState::Idle, TimeDelta::seconds(90))).ready);
        assert!(!readiness(&ServiceStatus::default()).ready);
    }

    #[test]
    fn a_fault_is_the_reason() {
        let mut status = pipeline(PipelineState::Halted, TimeDelta::zero());
        if let Some(pipeline) = status.pipelines.get_mut("p") {
            let fault = FaultReport { at: Utc::now(), error: "no route".to_owned(), remedy: "r".to_owned() };
            pipeline.last_fault = Some(fault);
        }
        assert_eq!(readiness(&status).pipelines["p"].reason.as_deref(), Some("no route"));
    }
}
