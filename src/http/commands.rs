//! What an operator can have done, with the token. A command is for the pipeline that it names, else for all.

use actix_web::http::StatusCode;
use actix_web::http::header::USER_AGENT;
use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::json;

use super::answer::refusal;
use super::authority::authorize;
use super::server::{Api, Control};
use super::unread::Unread;
use crate::actors::messages::{Approve, IgnoreQuarantine, RequestPass, RollBack, SetPaused};
use crate::error::ErrorKind;
use crate::model::pass::Mode;
use crate::telemetry::logging::AUDIT_TARGET;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    pipeline: Option<String>,
}

pub(super) async fn full(request: HttpRequest, api: Data<Api>, _body: Unread) -> HttpResponse {
    order(&request, &api, Mode::Full)
}

pub(super) async fn incremental(request: HttpRequest, api: Data<Api>, _body: Unread) -> HttpResponse {
    order(&request, &api, Mode::Incremental)
}

pub(super) async fn differential(request: HttpRequest, api: Data<Api>, _body: Unread) -> HttpResponse {
    order(&request, &api, Mode::Differential)
}

/// Deletes that are held go with the next pass.
pub(super) async fn approve(request: HttpRequest, api: Data<Api>, _body: Unread) -> HttpResponse {
    let chosen = match chosen(&request, &api) {
        Ok(chosen) => chosen,
        Err(refusal) => return refusal,
    };
    for (name, control) in &chosen {
        audit(&request, name, "approval of held deletes");
        control.approve.do_send(Approve);
    }
    HttpResponse::Accepted().json(json!({ "approved": true, "pipelines": names(&chosen) }))
}

/// What is quarantined is read again: by a comparison, which mends whatever can be mended meanwhile.
pub(super) async fn retry_quarantine(request: HttpRequest, api: Data<Api>, _body: Unread) -> HttpResponse {
    let chosen = match chosen(&request, &api) {
        Ok(chosen) => chosen,
        Err(refusal) => return refusal,
    };
    for (name, control) in &chosen {
        audit(&request, name, "retry of the quarantine");
        control.pass.do_send(RequestPass(Mode::Differential));
    }
    HttpResponse::Accepted().json(json!({ "retried": true, "pipelines": names(&chosen) }))
}

/// What is quarantined stays listed, and is no longer counted or tried again with all others.
pub(super) async fn ignore_quarantine(request: HttpRequest, api: Data<Api>, _body: Unread) -> HttpResponse {
    let chosen = match chosen(&request, &api) {
        Ok(chosen) => chosen,
        Err(refusal) => return refusal,
    };
    let mut ignored = 0;
    for (name, control) in &chosen {
        audit(&request, name, "ignoring of the quarantine");
        let reason = match control.ignore.send(IgnoreQuarantine).await {
            Ok(Ok(entries)) => {
                ignored += entries;
                continue;
            }
            Ok(Err(error)) => error.chain(),
            Err(_) => "it has ended".to_owned(),
        };
        return refusal(StatusCode::SERVICE_UNAVAILABLE, format!("pipeline {name}: {reason}"));
    }
    HttpResponse::Ok().json(json!({ "ignored": ignored, "pipelines": names(&chosen) }))
}

pub(super) async fn pause(request: HttpRequest, api: Data<Api>, _body: Unread) -> HttpResponse {
    set_paused(&request, &api, true).await
}

pub(super) async fn resume(request: HttpRequest, api: Data<Api>, _body: Unread) -> HttpResponse {
    set_paused(&request, &api, false).await
}

/// The kept previous graph takes the live one's place; passes are held back until they are resumed.
pub(super) async fn rollback(request: HttpRequest, api: Data<Api>, _body: Unread) -> HttpResponse {
    let chosen = match chosen(&request, &api) {
        Ok(chosen) => chosen,
        Err(refusal) => return refusal,
    };
    for (name, control) in &chosen {
        audit(&request, name, "rollback");
        let (status, reason) = match control.rollback.send(RollBack).await {
            Ok(Ok(())) => continue,
            Ok(Err(error)) if error.kind() == ErrorKind::Configuration => (StatusCode::CONFLICT, error.chain()),
            Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, error.chain()),
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "it has ended".to_owned()),
        };
        return refusal(status, format!("pipeline {name}: {reason}"));
    }
    HttpResponse::Ok().json(json!({ "rolled_back": true, "paused": true, "pipelines": names(&chosen) }))
}

fn order(request: &HttpRequest, api: &Api, mode: Mode) -> HttpResponse {
    let chosen = match chosen(request, api) {
        Ok(chosen) => chosen,
        Err(refusal) => return refusal,
    };
    for (name, control) in &chosen {
        audit(request, name, &format!("{mode} pass"));
        control.pass.do_send(RequestPass(mode));
    }
    HttpResponse::Accepted().json(json!({ "mode": mode, "pipelines": names(&chosen) }))
}

async fn set_paused(request: &HttpRequest, api: &Api, paused: bool) -> HttpResponse {
    let chosen = match chosen(request, api) {
        Ok(chosen) => chosen,
        Err(refusal) => return refusal,
    };
    for (name, control) in &chosen {
        audit(request, name, if paused { "pause" } else { "resume" });
        let reason = match control.pause.send(SetPaused(paused)).await {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error.chain(),
            Err(_) => "it has ended".to_owned(),
        };
        return refusal(StatusCode::SERVICE_UNAVAILABLE, format!("pipeline {name}: {reason}"));
    }
    HttpResponse::Ok().json(json!({ "paused": paused, "pipelines": names(&chosen) }))
}

/// Who asked for what. Behind a proxy the origin is the proxy's: whatever a client says of itself is not relied on.
pub(super) fn audit(request: &HttpRequest, pipeline: &str, command: &str) {
    let origin = request.peer_addr().map(|address| address.to_string());
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    tracing::info!(target: AUDIT_TARGET, pipeline, command, origin, agent, "command over HTTP");
}

fn names<'a>(chosen: &[(&'a String, &Control)]) -> Vec<&'a String> {
    chosen.iter().map(|(name, _)| *name).collect()
}

/// The pipelines that a command is for, if it may be given.
fn chosen<'a>(request: &HttpRequest, api: &'a Api) -> Result<Vec<(&'a String, &'a Control)>, HttpResponse> {
    authorize(request, api)?;
    let parameters = Query::<Parameters>::from_query(request.query_string())
        .map_err(|error| refusal(StatusCode::BAD_REQUEST, format!("the only parameter is pipeline: {error}")))?;
    let Some(wanted) = &parameters.pipeline else { return Ok(api.pipelines.iter().collect()) };
    match api.pipelines.get_key_value(wanted) {
        Some(found) => Ok(vec![found]),
        None => Err(refusal(StatusCode::NOT_FOUND, format!("there is no pipeline {wanted}"))),
    }
}
