//! Decides whether readers of the cache can rely on it now.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::api::HttpRules;
use crate::model::leader::Leader;
use crate::telemetry::status::{PipelineState, PipelineStatus, QUARANTINE_ALARM, ServiceStatus};

/// The verdict on the whole service: ready if every pipeline is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Readiness {
    /// Whether all pipelines are ready.
    pub ready: bool,
    /// The verdict on each pipeline.
    pub pipelines: BTreeMap<String, PipelineReadiness>,
}

/// The verdict on one pipeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct PipelineReadiness {
    /// Whether the pipeline is in step, and its lag is under the limit.
    pub ready: bool,
    /// Seconds since the first known commit that is not applied yet. Absent before the pipeline has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_behind: Option<f64>,
    /// The reason why the pipeline is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Readiness {
    /// Judges a status.
    pub(super) fn of(status: &ServiceStatus, rules: &HttpRules, now: DateTime<Utc>) -> Self {
        let verdict = |(name, limit): (&String, &Duration)| {
            let readiness = match status.pipelines.get(name) {
                Some(pipeline) => match pipeline.leader() {
                    Some(leader) => on_standby(leader, rules.standby_is_ready),
                    None => of_pipeline(pipeline, *limit, now),
                },
                None => not_ready(None, "the pipeline has not started"),
            };
            (name.clone(), readiness)
        };
        let pipelines: BTreeMap<_, _> = rules.limits.iter().map(verdict).collect();
        Self { ready: pipelines.values().all(|pipeline| pipeline.ready), pipelines }
    }
}

fn of_pipeline(pipeline: &PipelineStatus, limit: Duration, now: DateTime<Utc>) -> PipelineReadiness {
    let behind = pipeline.lag_seconds(now);
    if !pipeline.is_in_step() {
        // The remedy names the affected server.
        let fault = pipeline.last_fault.as_ref().map(|fault| format!("{}; {}", fault.error, fault.remedy));
        return not_ready(Some(behind), fault.as_deref().unwrap_or_else(|| state_reason(&pipeline.state)));
    }
    if let Some((side, failing)) = pipeline.unreachable() {
        return not_ready(Some(behind), &format!("{side} does not answer: {}", failing.error));
    }
    if let Some(held) = pipeline.held_deletes() {
        let way = "approve them with POST /api/sync/approve or sync --mode differential --allow-deletes";
        return not_ready(Some(behind), &format!("deletes are held: {held}; {way}"));
    }
    if pipeline.quarantined >= QUARANTINE_ALARM as u64 {
        let number = pipeline.quarantined;
        return not_ready(Some(behind), &format!("{number} elements and properties are quarantined: see /api/sync/quarantine"));
    }
    if pipeline.passes_ended == 0 && !pipeline.paused {
        return not_ready(Some(behind), "the first pass since the service started has not ended");
    }
    if behind > limit.as_secs_f64() {
        let held = if pipeline.paused { "; an operator paused the pipeline" } else { "" };
        return not_ready(Some(behind), &format!("the cache has been behind for {behind:.0} s{held}"));
    }
    PipelineReadiness { ready: true, seconds_behind: Some(behind), reason: None }
}

/// A standby knows nothing of the cache's lag. Its reason stands in the answer even if it counts as ready.
fn on_standby(leader: &Leader, is_ready: bool) -> PipelineReadiness {
    PipelineReadiness { ready: is_ready, seconds_behind: None, reason: Some(format!("on standby: {leader} leads")) }
}

fn state_reason(state: &PipelineState) -> &'static str {
    match state {
        PipelineState::Starting => "the pipeline is connecting to both servers",
        PipelineState::Running { .. } => "the graph is being filled",
        PipelineState::Idle => "no pass has ended yet",
        PipelineState::Paused => "an operator paused the pipeline before the graph was filled",
        PipelineState::BackingOff { .. } => "the pipeline is waiting for the next attempt",
        PipelineState::Standby { .. } => "another process leads the pipeline",
        PipelineState::Halted => "the pipeline is halted and needs an operator",
        PipelineState::Stopping | PipelineState::Stopped => "the pipeline is stopping",
    }
}

fn not_ready(seconds_behind: Option<f64>, reason: &str) -> PipelineReadiness {
    PipelineReadiness { ready: false, seconds_behind, reason: Some(reason.to_owned()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::guard::{Held, HeldDeletes};
    use crate::telemetry::status::{FaultReport, Side};
    use chrono::TimeDelta;

    fn service(pipeline: PipelineStatus) -> ServiceStatus {
        ServiceStatus { pipelines: BTreeMap::from([("p".to_owned(), pipeline)]) }
    }

    fn pipeline(state: PipelineState) -> PipelineStatus {
        // The graph was filled long ago: an idle source has no passes.
        let filled = Utc::now() - TimeDelta::days(3);
        PipelineStatus { state, watermark: Some(filled), passes_ended: 1, ..PipelineStatus::new("p", "g") }
    }

    fn rules(standby_is_ready: bool) -> HttpRules {
        let limits = BTreeMap::from([("p".to_owned(), Duration::from_secs(60))]);
        HttpRules { limits, standby_is_ready, ..HttpRules::default() }
    }

    fn readiness(pipeline: PipelineStatus) -> PipelineReadiness {
        Readiness::of(&service(pipeline), &rules(false), Utc::now()).pipelines["p"].clone()
    }

    #[test]
    fn a_standby_names_its_leader_and_is_ready_where_a_setting_says_so() {
        let leader = Leader { host: "box".to_owned(), pid: 7, since: "2026-01-01T00:00:00Z".to_owned(), url: None };
        let standby = pipeline(PipelineState::Standby { leader, since: Utc::now() });
        let of = |standby_is_ready| {
            let readiness = Readiness::of(&service(standby.clone()), &rules(standby_is_ready), Utc::now());
            (readiness.ready, readiness.pipelines["p"].clone())
        };
        let (ready, verdict) = of(false);
        assert!(!ready && !verdict.ready);
        assert_eq!(verdict.reason.as_deref(), Some("on standby: process 7 on box, since 2026-01-01T00:00:00Z leads"));
        let (ready, with_setting) = of(true);
        assert!(ready);
        assert_eq!(with_setting.reason, verdict.reason, "a reader still learns who leads");
    }

    #[test]
    fn a_pipeline_is_ready_once_a_pass_has_ended_since_the_start() {
        let started = PipelineStatus { passes_ended: 0, ..pipeline(PipelineState::Idle) };
        let reason = readiness(started.clone()).reason.unwrap();
        assert!(reason.contains("first pass"), "{reason}");
        assert!(readiness(PipelineStatus { paused: true, ..started }).ready, "no pass is to come");
    }

    #[test]
    fn in_step_with_an_idle_source_is_ready() {
        assert!(readiness(pipeline(PipelineState::Idle)).ready);
        assert!(readiness(pipeline(PipelineState::Paused)).ready, "nothing was committed since");
        let empty = PipelineStatus { watermark: None, ..pipeline(PipelineState::Idle) };
        assert!(!readiness(empty).ready);
        assert!(!Readiness::of(&ServiceStatus::default(), &rules(false), Utc::now()).ready);
    }

    #[test]
    fn a_commit_that_waits_too_long_is_not_ready() {
        let behind = |seconds| PipelineStatus {
            behind_since: Some(Utc::now() - TimeDelta::seconds(seconds)),
            ..pipeline(PipelineState::Idle)
        };
        assert!(readiness(behind(30)).ready);
        let late = readiness(behind(90));
        assert!(!late.ready && late.reason.unwrap().contains("behind for 90 s"));
    }

    #[test]
    fn held_deletes_are_the_reason() {
        let held = Held { number: 990, sample: vec!["a".to_owned()], since: Utc::now() };
        let held = vec![HeldDeletes { kind: "Entity".to_owned(), held }];
        let reason = readiness(PipelineStatus { held, ..pipeline(PipelineState::Idle) }).reason.unwrap();
        assert!(reason.contains("990 of Entity") && reason.contains("approve"), "{reason}");
    }

    #[test]
    fn a_large_quarantine_is_an_alarm() {
        let quarantined = |number| PipelineStatus { quarantined: number, ..pipeline(PipelineState::Idle) };
        assert!(readiness(quarantined(QUARANTINE_ALARM as u64 - 1)).ready);
        let reason = readiness(quarantined(QUARANTINE_ALARM as u64)).reason.unwrap();
        assert!(reason.contains("10000") && reason.contains("quarantine"), "{reason}");
    }

    #[test]
    fn a_side_that_does_not_answer_is_named() {
        let mut deaf = pipeline(PipelineState::Idle);
        deaf.probed(Side::Cache, Some("cannot connect to cache:6379".to_owned()), Utc::now());
        assert!(readiness(deaf.clone()).ready, "one failure is a hiccup");
        deaf.probed(Side::Cache, Some("cannot connect to cache:6379".to_owned()), Utc::now());
        let reason = readiness(deaf).reason.unwrap();
        assert!(reason.contains("FalkorDB does not answer") && reason.contains("cache:6379"), "{reason}");
    }

    #[test]
    fn a_fault_is_the_reason() {
        let fault = FaultReport { at: Utc::now(), error: "no route".to_owned(), remedy: "check neo4j.uri".to_owned() };
        let halted = PipelineStatus { last_fault: Some(fault), ..pipeline(PipelineState::Halted) };
        assert_eq!(readiness(halted).reason.as_deref(), Some("no route; check neo4j.uri"));
    }
}
