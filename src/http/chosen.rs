//! The pipelines that a command applies to.

use std::future::{Ready, ready};

use actix::{Message, Recipient};
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::USER_AGENT;
use actix_web::web::{Data, Query};
use actix_web::{FromRequest, HttpRequest};
use serde::Deserialize;
use tokio::sync::watch;

use super::api::{ApiState, SupervisorHandle};
use super::authority::authorize;
use super::refusal::Refusal;
use crate::error::Result;
use crate::telemetry::logging::AUDIT_TARGET;
use crate::telemetry::status::{PipelineStatus, ServiceStatus};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChoiceParameters {
    pipeline: Option<String>,
}

/// The pipeline that a request names, otherwise all pipelines. Only a request with the token gets here.
pub(super) struct Chosen {
    request: HttpRequest,
    status: watch::Receiver<ServiceStatus>,
    pipelines: Vec<(String, SupervisorHandle)>,
}

impl FromRequest for Chosen {
    type Error = Refusal;
    type Future = Ready<std::result::Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(choose(request))
    }
}

fn choose(request: &HttpRequest) -> std::result::Result<Chosen, Refusal> {
    let no_api = || Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the server was started without its state");
    let api = request.app_data::<Data<ApiState>>().ok_or_else(no_api)?;
    authorize(request, api)?;
    let parameters = Query::<ChoiceParameters>::from_query(request.query_string())
        .map_err(|error| Refusal::bad_request(format!("invalid parameters, only pipeline is allowed: {error}")))?;
    let is_chosen = |name: &str| parameters.pipeline.as_ref().is_none_or(|wanted| wanted == name);
    let pipelines: Vec<_> = api.pipelines.iter().filter(|(name, _)| is_chosen(name)).collect();
    match &parameters.pipeline {
        Some(wanted) if pipelines.is_empty() => {
            Err(Refusal::new(StatusCode::NOT_FOUND, format!("there is no pipeline {wanted}")))
        }
        _ => {
            refuse_on_standby(api, pipelines.iter().map(|(name, _)| *name))?;
            let pipelines = pipelines.into_iter().map(|(name, control)| (name.clone(), control.clone())).collect();
            Ok(Chosen { request: request.clone(), status: api.status.clone(), pipelines })
        }
    }
}

/// Refuses a command to a pipeline that another process leads.
fn refuse_on_standby<'a>(api: &ApiState, names: impl Iterator<Item = &'a String>) -> std::result::Result<(), Refusal> {
    let status = api.status.borrow();
    for name in names {
        if let Some(leader) = status.pipelines.get(name).and_then(PipelineStatus::leader) {
            return Err(Refusal::standby(leader).of_pipeline(name));
        }
    }
    Ok(())
}

impl Chosen {
    pub(super) fn names(&self) -> Vec<&str> {
        self.pipelines.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Sends each pipeline that this process leads a message, and returns their names. The outcome shows in the status. Another
    /// process may turn out to lead the rest. If this process leads none of them, the command is refused.
    pub(super) fn tell<M>(
        &self,
        command: &str,
        to: impl Fn(&SupervisorHandle) -> &Recipient<M>,
        message: impl Fn() -> M,
    ) -> std::result::Result<Vec<&str>, Refusal>
    where
        M: Message<Result = ()> + Send,
    {
        let is_led = |(name, _): &&(String, SupervisorHandle)| {
            self.status.borrow().pipelines.get(name).is_some_and(|pipeline| pipeline.leads)
        };
        let led: Vec<_> = self.pipelines.iter().filter(is_led).collect();
        if let ([], Some((name, _))) = (&led[..], self.pipelines.first()) {
            return Err(Refusal::unavailable("this process does not lead the pipeline now").of_pipeline(name));
        }
        for (name, control) in &led {
            audit(&self.request, name, command);
            to(control).do_send(message());
        }
        Ok(led.into_iter().map(|(name, _)| name.as_str()).collect())
    }

    /// Sends each pipeline a message and returns their answers. The first refusal ends the command.
    pub(super) async fn ask<M, T>(
        &self,
        command: &str,
        to: impl Fn(&SupervisorHandle) -> &Recipient<M>,
        message: impl Fn() -> M,
    ) -> std::result::Result<Vec<T>, Refusal>
    where
        M: Message<Result = Result<T>> + Send,
        T: Send + 'static,
    {
        let mut answers = Vec::with_capacity(self.pipelines.len());
        for (name, control) in &self.pipelines {
            audit(&self.request, name, command);
            let answer = to(control).send(message()).await.map_err(|_| Refusal::unavailable("the pipeline has ended"));
            let answer = answer.and_then(|answer| answer.map_err(Refusal::from));
            answers.push(answer.map_err(|refusal| refusal.of_pipeline(name))?);
        }
        Ok(answers)
    }
}

/// Logs a command with its origin. Behind a proxy the origin is the proxy: the service trusts no header about the client's
/// identity.
pub(super) fn audit(request: &HttpRequest, pipeline: &str, command: &str) {
    let origin = request.peer_addr().map(|address| address.to_string());
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    tracing::info!(target: AUDIT_TARGET, pipeline, command, origin, agent, "command over HTTP");
}
