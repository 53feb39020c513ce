//! `POST /api/reload`: the configuration is read again, and what can hold from now on does.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::authority::authorize;
use super::chosen::audit;
use super::hosts::Hosts;
use super::refusal::Refusal;
use super::server::Api;
use super::unread::Unread;
use crate::config::Secret;
use crate::error::Result;

/// Reads the configuration again and has it followed.
#[async_trait(?Send)]
pub trait Reload: Send + Sync {
    /// Does it.
    async fn reload(&self) -> Result<Reloaded>;
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Reloaded {
    /// Settings that are followed from now on.
    pub applied: Vec<String>,
    /// Settings that changed and need a new process.
    pub needs_restart: Vec<String>,
}

/// What the paths go by; it may change while they answer.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// How many seconds each pipeline may be behind.
    pub limits: BTreeMap<String, Duration>,
    /// What commands must carry; without one there are none.
    pub token: Option<Secret>,
    /// The hosts that a browser may ask for.
    pub hosts: Hosts,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoParameters {}

pub(super) async fn reload(request: HttpRequest, api: Data<Api>, _body: Unread) -> Result<HttpResponse, Refusal> {
    authorize(&request, &api)?;
    Query::<NoParameters>::from_query(request.query_string()).map_err(|_| Refusal::bad_request("there are no parameters"))?;
    audit(&request, "", "reload");
    Ok(HttpResponse::Ok().json(api.reload.reload().await?))
}
