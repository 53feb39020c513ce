//! Read your own writes: answers once the cache holds a commit.
//!
//! The supervisor waits until the source has reached the commit, then promises the next pass, which covers it. The supervisor begins
//! the passes and numbers them; no clock and no delayed view is involved. A promise ends with its generation: the next one is asked
//! anew.

use std::time::Duration;

use actix::MailboxError;
use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use super::api::{ApiState, SupervisorHandle};
use super::refusal::Refusal;
use crate::actors::messages::{AwaitApplied, AwaitVerified};
use crate::error::{Directive, Error, ErrorKind, Result};
use crate::model::bookmark::Bookmark;
use crate::model::leader::Leader;
use crate::telemetry::status::{PipelineStatus, Promise, ServiceStatus};

/// The most requests that wait at once. Each costs a connection and a little memory; the service asks further clients to come
/// back.
pub(super) const MAX_WAITERS: usize = 256;

/// The wait of a request without a timeout: far longer than a pass over a few changes.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest wait. Proxies close a silent connection after a minute.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// A bookmark of Neo4j has some forty characters.
const MAX_BOOKMARK_LENGTH: usize = 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitParameters {
    bookmark: String,
    level: Option<String>,
    timeout_ms: Option<u64>,
    pipeline: Option<String>,
}

/// The level that a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// The cache holds the commit, as far as a thorough pass finds its changes: all elements with their labels, and all
    /// properties that change together with a timestamp or an episode. Only comparisons find a change that leaves neither trace.
    Applied,
    /// Both sides are proven equal.
    Verified,
}

struct Order<'a> {
    bookmark: Bookmark,
    level: Level,
    within: Duration,
    name: &'a String,
    control: &'a SupervisorHandle,
}

pub(super) async fn wait(request: HttpRequest, api: Data<ApiState>, waiters: Data<Semaphore>) -> Result<HttpResponse, Refusal> {
    let order = read(request.query_string(), &api)?;
    carry_out(order, &api, &waiters).await
}

fn read<'a>(query: &str, api: &'a ApiState) -> Result<Order<'a>, Refusal> {
    let bad = |reason: String| Refusal::bad_request(reason);
    let parameters = Query::<WaitParameters>::from_query(query).map_err(|error| bad(error.to_string()))?.into_inner();
    let level = match parameters.level.as_deref() {
        None | Some("applied") => Level::Applied,
        Some("verified") => Level::Verified,
        Some(_) => return Err(bad("level must be applied or verified".to_owned())),
    };
    // A bookmark has no spaces, but an unescaped plus sign arrives as a space.
    let bookmark = parameters.bookmark.replace(' ', "+");
    if bookmark.is_empty() || bookmark.len() > MAX_BOOKMARK_LENGTH {
        return Err(bad(format!("bookmark must have 1 to {MAX_BOOKMARK_LENGTH} characters")));
    }
    let within = parameters.timeout_ms.map_or(DEFAULT_TIMEOUT, Duration::from_millis);
    if within > MAX_TIMEOUT {
        return Err(bad(format!("timeout_ms must be at most {}", MAX_TIMEOUT.as_millis())));
    }
    let found = match &parameters.pipeline {
        Some(name) => api.pipelines.get_key_value(name),
        None if api.pipelines.len() > 1 => {
            return Err(bad("there are several pipelines: the parameter pipeline must name one".to_owned()));
        }
        None => api.pipelines.first_key_value(),
    };
    let missing = || Refusal::new(StatusCode::NOT_FOUND, "there is no such pipeline");
    let (name, control) = found.ok_or_else(missing)?;
    let bookmark = Bookmark::new(bookmark);
    let source = api.status.borrow().pipelines.get(name).and_then(|pipeline| pipeline.source_bookmark.clone());
    if let Some(reason) = foreign(&bookmark, source.as_ref()) {
        return Err(bad(reason));
    }
    Ok(Order { bookmark, level, within, name, control })
}

/// Returns why a bookmark cannot belong to the source. To wait for such a commit would be in vain, at the source's expense.
fn foreign(bookmark: &Bookmark, source: Option<&Bookmark>) -> Option<String> {
    if bookmark.transaction().is_none() {
        return Some(
            "bookmark is not a bookmark of Neo4j 5 or later: pass it as the driver returns it, percent-encoded".to_owned(),
        );
    }
    let other = source.is_some_and(|source| source.database_id() != bookmark.database_id());
    other.then(|| "bookmark belongs to another database than the pipeline's source".to_owned())
}

async fn carry_out(order: Order<'_>, api: &ApiState, waiters: &Semaphore) -> Result<HttpResponse, Refusal> {
    let began = Instant::now();
    let mut status = api.status.clone();
    let held = status.borrow_and_update().pipelines.get(order.name).is_some_and(|pipeline| order.is_met(pipeline, None));
    let outcome = if held {
        WaitOutcome::Met
    } else {
        let Ok(_waiting) = waiters.try_acquire() else {
            let body = json!({ "error": "too many requests are already waiting" });
            return Ok(HttpResponse::ServiceUnavailable().insert_header((RETRY_AFTER, "1")).json(body));
        };
        match timeout_at(began + order.within, until_met(&order, &mut status)).await {
            Ok(outcome) => outcome,
            Err(_) => WaitOutcome::Late,
        }
    };
    let waited_ms = began.elapsed().as_millis() as u64;
    match outcome {
        WaitOutcome::Met => Ok(HttpResponse::Ok().json(json!({
            "pipeline": order.name, "bookmark": order.bookmark, "level": order.level, "waited_ms": waited_ms,
        }))),
        WaitOutcome::Ended => Err(Refusal::unavailable("the pipeline has ended")),
        WaitOutcome::Standby(leader) => Err(Refusal::standby(&leader)),
        WaitOutcome::Failed(error) => Err(Refusal::unavailable(error.chain())),
        WaitOutcome::Late => {
            let state = status.borrow().pipelines.get(order.name).map(|pipeline| pipeline.state.clone());
            let error = match order.level {
                Level::Applied => "the commit is not applied yet",
                Level::Verified => "the two sides are not proven equal yet",
            };
            Ok(HttpResponse::GatewayTimeout().json(json!({
                "error": error, "pipeline": order.name, "waited_ms": waited_ms, "state": state,
            })))
        }
    }
}

enum WaitOutcome {
    Met,
    Ended,
    /// Another process leads the pipeline.
    Standby(Leader),
    /// The source did not reach the commit.
    Failed(Error),
    Late,
}

impl Order<'_> {
    /// Whether the level is reached. The promise names the first pass, or the first
    /// comparison, that begins after the request.
    fn is_met(&self, pipeline: &PipelineStatus, promise: Option<Promise>) -> bool {
        match self.level {
            // A delete that waits for approval is not applied.
            Level::Applied => {
                let applied = promise.is_some_and(|pass| pipeline.has_ended(pass)) || pipeline.holds(&self.bookmark);
                applied && pipeline.held.is_empty()
            }
            Level::Verified => pipeline.is_proven(&self.bookmark, promise),
        }
    }

    async fn ask(&self) -> Result<Result<Promise>, MailboxError> {
        match self.level {
            Level::Applied => self.control.cover.send(AwaitApplied(self.bookmark.clone())).await,
            Level::Verified => self.control.prove.send(AwaitVerified(self.bookmark.clone())).await,
        }
    }
}

async fn until_met(order: &Order<'_>, status: &mut watch::Receiver<ServiceStatus>) -> WaitOutcome {
    let mut is_promised = false;
    loop {
        let leader = status.borrow().pipelines.get(order.name).and_then(PipelineStatus::leader).cloned();
        if let Some(leader) = leader {
            return WaitOutcome::Standby(leader);
        }
        let promise = match order.ask().await {
            Ok(Ok(promise)) => promise,
            // Between two generations nobody answers; the status announces the next one. A fault that broke a promise may last a
            // little longer.
            Ok(Err(error)) if error.kind() == ErrorKind::ActorStopped || (is_promised && is_over_soon(&error)) => {
                match status.changed().await {
                    Ok(()) => continue,
                    Err(_) => return WaitOutcome::Ended,
                }
            }
            Ok(Err(error)) => return WaitOutcome::Failed(error),
            Err(_) => return WaitOutcome::Ended,
        };
        is_promised = true;
        let is_over = |pipeline: &PipelineStatus| {
            let is_broken = pipeline.generation > promise.generation;
            order.is_met(pipeline, Some(promise)) || is_broken || pipeline.leader().is_some()
        };
        match status.wait_for(|status| status.pipelines.get(order.name).is_some_and(is_over)).await {
            Err(_) => return WaitOutcome::Ended,
            Ok(status) if status.pipelines.get(order.name).is_some_and(|pipeline| order.is_met(pipeline, Some(promise))) => {
                return WaitOutcome::Met;
            }
            // The next generation is asked anew.
            Ok(_) => {}
        }
    }
}

fn is_over_soon(error: &Error) -> bool {
    error.directive() == Directive::Retry && error.kind() != ErrorKind::SourceBehind
}
