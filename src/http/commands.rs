//! The operator's commands, which need the token. A command applies to the pipeline that it names, otherwise to all.

use actix_web::HttpResponse;
use serde_json::json;

use super::chosen::Chosen;
use super::refusal::Refusal;
use super::unread::Unread;
use crate::actors::messages::{Approve, IgnoreQuarantine, RequestPass, RollBack, SetPaused};
use crate::model::pass::PassMode;

pub(super) async fn full(chosen: Chosen, _body: Unread) -> Result<HttpResponse, Refusal> {
    order(&chosen, PassMode::Full)
}

pub(super) async fn incremental(chosen: Chosen, _body: Unread) -> Result<HttpResponse, Refusal> {
    order(&chosen, PassMode::Incremental)
}

pub(super) async fn differential(chosen: Chosen, _body: Unread) -> Result<HttpResponse, Refusal> {
    order(&chosen, PassMode::Differential)
}

fn order(chosen: &Chosen, mode: PassMode) -> Result<HttpResponse, Refusal> {
    let told = chosen.tell(&format!("{mode} pass"), |control| &control.pass, || RequestPass(mode))?;
    Ok(HttpResponse::Accepted().json(json!({ "mode": mode, "pipelines": told })))
}

/// Lets the next pass send the held deletes.
pub(super) async fn approve(chosen: Chosen, _body: Unread) -> Result<HttpResponse, Refusal> {
    let told = chosen.tell("approve held deletes", |control| &control.approve, || Approve)?;
    Ok(HttpResponse::Accepted().json(json!({ "approved": true, "pipelines": told })))
}

/// Starts a comparison, which reads quarantined elements again and repairs them if possible.
pub(super) async fn retry_quarantine(chosen: Chosen, _body: Unread) -> Result<HttpResponse, Refusal> {
    let told = chosen.tell("retry quarantine", |control| &control.pass, || RequestPass(PassMode::Differential))?;
    Ok(HttpResponse::Accepted().json(json!({ "retried": true, "pipelines": told })))
}

/// Ignores the quarantined elements: they stay listed, and are no longer counted or retried.
pub(super) async fn ignore_quarantine(chosen: Chosen, _body: Unread) -> Result<HttpResponse, Refusal> {
    let ignored = chosen.ask("ignore quarantine", |control| &control.ignore, || IgnoreQuarantine).await?;
    Ok(HttpResponse::Ok().json(json!({ "ignored": ignored.iter().sum::<usize>(), "pipelines": chosen.names() })))
}

pub(super) async fn pause(chosen: Chosen, _body: Unread) -> Result<HttpResponse, Refusal> {
    set_paused(&chosen, "pause", true).await
}

pub(super) async fn resume(chosen: Chosen, _body: Unread) -> Result<HttpResponse, Refusal> {
    set_paused(&chosen, "resume", false).await
}

async fn set_paused(chosen: &Chosen, command: &str, paused: bool) -> Result<HttpResponse, Refusal> {
    chosen.ask(command, |control| &control.pause, || SetPaused(paused)).await?;
    Ok(HttpResponse::Ok().json(json!({ "paused": paused, "pipelines": chosen.names() })))
}

/// Replaces the live graph by the kept previous graph. Passes are paused until an operator resumes them.
pub(super) async fn rollback(chosen: Chosen, _body: Unread) -> Result<HttpResponse, Refusal> {
    chosen.ask("rollback", |control| &control.rollback, || RollBack).await?;
    Ok(HttpResponse::Ok().json(json!({ "rolled_back": true, "paused": true, "pipelines": chosen.names() })))
}
