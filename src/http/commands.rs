//! What an operator can have done, with the token. A command is for the pipeline that it names, else for all.

use actix_web::HttpResponse;
use serde_json::json;

use super::chosen::Chosen;
use super::refusal::Refusal;
use super::unread::Unread;
use crate::actors::messages::{Approve, IgnoreQuarantine, RequestPass, RollBack, SetPaused};
use crate::model::pass::Mode;

pub(super) async fn full(chosen: Chosen, _body: Unread) -> HttpResponse {
    order(&chosen, Mode::Full)
}

pub(super) async fn incremental(chosen: Chosen, _body: Unread) -> HttpResponse {
    order(&chosen, Mode::Incremental)
}

pub(super) async fn differential(chosen: Chosen, _body: Unread) -> HttpResponse {
    order(&chosen, Mode::Differential)
}

fn order(chosen: &Chosen, mode: Mode) -> HttpResponse {
    chosen.tell(&format!("{mode} pass"), |control| &control.pass, || RequestPass(mode));
    HttpResponse::Accepted().json(json!({ "mode": mode, "pipelines": chosen.names() }))
}

/// The next pass sends the deletes that are held.
pub(super) async fn approve(chosen: Chosen, _body: Unread) -> HttpResponse {
    chosen.tell("approval of held deletes", |control| &control.approve, || Approve);
    HttpResponse::Accepted().json(json!({ "approved": true, "pipelines": chosen.names() }))
}

/// A comparison reads again what is quarantined, and mends whatever can be mended by now.
pub(super) async fn retry_quarantine(chosen: Chosen, _body: Unread) -> HttpResponse {
    chosen.tell("retry of the quarantine", |control| &control.pass, || RequestPass(Mode::Differential));
    HttpResponse::Accepted().json(json!({ "retried": true, "pipelines": chosen.names() }))
}

/// What is quarantined stays listed, and is no longer counted or tried again.
pub(super) async fn ignore_quarantine(chosen: Chosen, _body: Unread) -> Result<HttpResponse, Refusal> {
    let ignored = chosen.ask("ignoring of the quarantine", |control| &control.ignore, || IgnoreQuarantine).await?;
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

/// The kept previous graph takes the live one's place; passes are held back until they are resumed.
pub(super) async fn rollback(chosen: Chosen, _body: Unread) -> Result<HttpResponse, Refusal> {
    chosen.ask("rollback", |control| &control.rollback, || RollBack).await?;
    Ok(HttpResponse::Ok().json(json!({ "rolled_back": true, "paused": true, "pipelines": chosen.names() })))
}
