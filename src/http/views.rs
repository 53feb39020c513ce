//! The paths that show the state of the service.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use chrono::Utc;
use serde_json::{Value, json};

use super::api::ApiState;
use super::readiness::Readiness;
use super::refusal::Refusal;
use crate::telemetry::metrics::CONTENT_TYPE;
use crate::telemetry::status::PipelineStatus;

pub(super) async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "alive", "version": env!("CARGO_PKG_VERSION") }))
}

pub(super) async fn ready(api: Data<ApiState>) -> HttpResponse {
    let readiness = Readiness::of(&api.status.borrow(), &api.rules.read(), Utc::now());
    let mut response = if readiness.ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(readiness)
}

pub(super) async fn status(api: Data<ApiState>) -> HttpResponse {
    HttpResponse::Ok().json(api.status.borrow().at(Utc::now()))
}

pub(super) async fn statistics(api: Data<ApiState>) -> HttpResponse {
    let now = Utc::now();
    of_each(&api, |pipeline| {
        json!({
            "statistics": pipeline.statistics,
            "samples": *pipeline.samples,
            "passes_begun": pipeline.passes_begun,
            "passes_ended": pipeline.passes_ended,
            "generation": pipeline.generation,
            "faults": pipeline.faults,
            "quarantined": pipeline.quarantined,
            "commits_behind": pipeline.commits_behind,
            "seconds_behind": pipeline.lag_seconds(now),
        })
    })
}

pub(super) async fn history(api: Data<ApiState>) -> HttpResponse {
    of_each(&api, |pipeline| json!(*pipeline.history))
}

pub(super) async fn quarantine(api: Data<ApiState>) -> HttpResponse {
    of_each(&api, |pipeline| json!({ "total": pipeline.quarantined, "entries": *pipeline.quarantine }))
}

pub(super) async fn metrics(api: Data<ApiState>) -> Result<HttpResponse, Refusal> {
    let text = api.metrics.as_ref().map(|metrics| metrics.text(&api.status.borrow(), Utc::now()));
    match text {
        Some(Ok(text)) => Ok(HttpResponse::Ok().content_type(CONTENT_TYPE).body(text)),
        Some(Err(_)) => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "cannot encode the metrics")),
        None => Err(Refusal::new(StatusCode::NOT_FOUND, "metrics are off (monitoring.metrics_enabled)")),
    }
}

fn of_each(api: &ApiState, show: impl Fn(&PipelineStatus) -> Value) -> HttpResponse {
    let status = api.status.borrow();
    let pipelines: BTreeMap<&String, Value> = status.pipelines.iter().map(|(name, pipeline)| (name, show(pipeline))).collect();
    HttpResponse::Ok().json(json!({ "pipelines": pipelines }))
}
