//! `/ws/updates`: sends the status as it changes and, on request, the keys of each batch as it is applied.
//!
//! A client gets a snapshot, and then the changed fields of each pipeline. A client that does not read its messages is
//! disconnected: it may reconnect, and begins with a snapshot again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{HOST, ORIGIN};
use actix_web::web::{Data, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use actix_ws::{AggregatedMessage, CloseCode, CloseReason, Session};
use chrono::Utc;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::api::ApiState;
use super::refusal::Refusal;
use crate::actors::health::AppliedBatch;
use crate::telemetry::status::ServiceStatus;

/// The most clients that follow at once: the people of a team with a tab each, and a few drawings. Each costs a task and a copy
/// of the last state that it was sent.
pub(super) const MAX_FOLLOWERS: usize = 64;

/// The interval between updates of one client: a person needs no faster changes.
const UPDATES_APART: Duration = Duration::from_millis(100);

/// The time limit for a message to reach a client's socket.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// The interval between checks whether a client is still there: short enough that no proxy closes the connection for its silence.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// A client that is silent for this time, without even a pong, is gone.
const SILENCE: Duration = Duration::from_secs(40);

/// Clients send nothing but pongs.
const MAX_MESSAGE_BYTES: usize = 1024;

pub(super) struct Followers(Arc<Semaphore>);

impl Default for Followers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_FOLLOWERS)))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateParameters {
    /// 1 to receive the keys of each batch as well.
    #[serde(default)]
    changes: u8,
}

pub(super) async fn updates(
    request: HttpRequest,
    body: Payload,
    api: Data<ApiState>,
    followers: Data<Followers>,
) -> Result<HttpResponse, Refusal> {
    if !is_of_this_site(&request) {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "pages of other sites cannot follow updates"));
    }
    let parameters = match Query::<UpdateParameters>::from_query(request.query_string()) {
        Ok(parameters) if parameters.changes <= 1 => parameters,
        Ok(_) => return Err(Refusal::bad_request("changes must be 0 or 1")),
        Err(error) => return Err(Refusal::bad_request(format!("invalid parameters, only changes is allowed: {error}"))),
    };
    let Ok(place) = Arc::clone(&followers.0).try_acquire_owned() else {
        return Err(Refusal::unavailable(format!("{MAX_FOLLOWERS} clients already follow updates")));
    };
    let (response, session, stream) = actix_ws::handle(&request, body)
        .map_err(|error| Refusal::bad_request(format!("this path accepts only WebSocket connections: {error}")))?;
    let stream = stream.max_frame_size(MAX_MESSAGE_BYTES).aggregate_continuations().max_continuation_size(MAX_MESSAGE_BYTES);
    let follower = Follower {
        commands: api.rules.read().token.is_some(),
        status: api.status.clone(),
        applied: (parameters.changes == 1).then(|| api.applied.subscribe()),
        session,
        shown: BTreeMap::new(),
        _place: place,
    };
    actix_web::rt::spawn(follower.follow(stream));
    Ok(response)
}

/// Browsers name the page that opens a WebSocket, but let any page open one: a page of another site must not read this one.
fn is_of_this_site(request: &HttpRequest) -> bool {
    let Some(origin) = request.headers().get(ORIGIN) else { return true };
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    origin.is_some() && origin == host
}

/// Fields of a pipeline's status by name.
type UpdateFields = Map<String, Value>;

struct Follower {
    /// Whether the service accepts commands at all.
    commands: bool,
    status: watch::Receiver<ServiceStatus>,
    applied: Option<broadcast::Receiver<Arc<AppliedBatch>>>,
    session: Session,
    /// The last state that the client was sent.
    shown: BTreeMap<String, UpdateFields>,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    async fn follow(mut self, mut stream: actix_ws::AggregatedMessageStream) {
        let mut heard = Instant::now();
        let mut pings = interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let snapshot = self.snapshot();
        let mut alive = self.send(&snapshot).await;
        let (mut updated, mut stale) = (Instant::now(), false);
        while alive {
            alive = tokio::select! {
                message = stream.next() => match message {
                    Some(Ok(AggregatedMessage::Ping(bytes))) => {
                        heard = Instant::now();
                        timeout(SEND_TIMEOUT, self.session.pong(&bytes)).await.is_ok_and(|sent| sent.is_ok())
                    }
                    Some(Ok(AggregatedMessage::Close(_)) | Err(_)) | None => false,
                    Some(Ok(_)) => {
                        heard = Instant::now();
                        true
                    }
                },
                changed = self.status.changed(), if !stale => {
                    stale = true;
                    changed.is_ok()
                }
                () = sleep_until(updated + UPDATES_APART), if stale => {
                    (updated, stale) = (Instant::now(), false);
                    match self.update() {
                        Some(update) => self.send(&update).await,
                        None => true,
                    }
                }
                batch = next_batch(&mut self.applied) => match batch {
                    Ok(batch) => self.send(&changes(&batch)).await,
                    Err(reason) => return self.let_go(reason).await,
                },
                _ = pings.tick() => heard.elapsed() < SILENCE
                    && timeout(SEND_TIMEOUT, self.session.ping(b"")).await.is_ok_and(|sent| sent.is_ok()),
            };
        }
        self.let_go("").await;
    }

    fn snapshot(&mut self) -> Value {
        self.shown = fields(&self.status.borrow_and_update().at(Utc::now()));
        json!({
            "type": "snapshot", "at": Utc::now(), "version": env!("CARGO_PKG_VERSION"), "commands": self.commands,
            "pipelines": self.shown,
        })
    }

    /// The changes since the last message, as a merge patch; nothing if there are none.
    fn update(&mut self) -> Option<Value> {
        let now = fields(&self.status.borrow_and_update().at(Utc::now()));
        let changed: BTreeMap<&String, UpdateFields> = now
            .iter()
            .map(|(name, fields)| (name, difference(self.shown.get(name), fields)))
            .filter(|(_, fields)| !fields.is_empty())
            .collect();
        let update = (!changed.is_empty()).then(|| json!({ "type": "update", "at": Utc::now(), "pipelines": changed }));
        self.shown = now;
        update
    }

    /// Whether the client accepted the message.
    async fn send(&mut self, message: &Value) -> bool {
        timeout(SEND_TIMEOUT, self.session.text(message.to_string())).await.is_ok_and(|sent| sent.is_ok())
    }

    async fn let_go(self, reason: &'static str) {
        let code = if reason.is_empty() { CloseCode::Away } else { CloseCode::Policy };
        let description = (!reason.is_empty()).then(|| reason.to_owned());
        // The client may be gone already.
        let _ = timeout(SEND_TIMEOUT, self.session.close(Some(CloseReason { code, description }))).await;
    }
}

/// Waits for the next batch; waits without end for a client that does not ask for batches.
async fn next_batch(applied: &mut Option<broadcast::Receiver<Arc<AppliedBatch>>>) -> Result<Arc<AppliedBatch>, &'static str> {
    match applied {
        None => std::future::pending().await,
        Some(applied) => applied.recv().await.map_err(|error| match error {
            RecvError::Lagged(_) => "the client is too slow and missed batches",
            RecvError::Closed => "the service is stopping",
        }),
    }
}

fn changes(batch: &AppliedBatch) -> Value {
    // This is plain data with text keys, which can always be written as JSON.
    let mut message = serde_json::to_value(batch).unwrap_or_default();
    message["type"] = "changes".into();
    message
}

fn fields(status: &ServiceStatus) -> BTreeMap<String, UpdateFields> {
    let of = |pipeline| match serde_json::to_value(pipeline) {
        Ok(Value::Object(fields)) => fields,
        // A status is always an object.
        _ => UpdateFields::new(),
    };
    status.pipelines.iter().map(|(name, pipeline)| (name.clone(), of(pipeline))).collect()
}

/// The fields with changed values; null for removed ones.
fn difference(before: Option<&UpdateFields>, now: &UpdateFields) -> UpdateFields {
    let Some(before) = before else { return now.clone() };
    let changed = now.iter().filter(|(name, value)| before.get(*name) != Some(value));
    let mut fields: UpdateFields = changed.map(|(name, value)| (name.clone(), value.clone())).collect();
    fields.extend(before.keys().filter(|name| !now.contains_key(*name)).map(|name| (name.clone(), Value::Null)));
    fields
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(value: Value) -> UpdateFields {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn only_what_changed_is_told_and_what_is_gone_is_null() {
        let before = of(json!({ "state": { "state": "idle" }, "paused": false, "last_fault": { "error": "x" } }));
        let now = of(json!({ "state": { "state": "paused" }, "paused": false, "expected": 7 }));
        let expected = of(json!({ "state": { "state": "paused" }, "expected": 7, "last_fault": null }));
        assert_eq!(difference(Some(&before), &now), expected);
        assert!(difference(Some(&now), &now).is_empty());
        assert_eq!(difference(None, &now), now);
    }
}
