//! The WebSocket, spoken to by a client over loopback.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use awc::BoxedSocket;
use awc::error::WsClientError;
use awc::ws::{CloseCode, Codec, Frame, Message};
use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::sync::{broadcast, watch};
use tokio::time::timeout;

use super::server::{bind, serve};
use super::tests::Service;
use super::updates::MAX_FOLLOWERS;
use crate::actors::health::AppliedBatch;
use crate::model::changes::{BatchChanges, CacheOperation};
use crate::telemetry::status::ServiceStatus;

/// Over loopback everything comes at once; this is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

type Socket = actix_codec::Framed<BoxedSocket, Codec>;

struct Running {
    address: SocketAddr,
    shown: watch::Sender<ServiceStatus>,
    applied: broadcast::Sender<Arc<AppliedBatch>>,
    handle: ServerHandle,
}

impl Running {
    fn start() -> Self {
        let Service { shown, api, .. } = Service::new();
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let api = Arc::into_inner(api.into_inner()).unwrap();
        let applied = api.applied.clone();
        let (server, handle) = serve(listener, api).unwrap();
        actix::spawn(server);
        Self { address, shown, applied, handle }
    }

    async fn connect(&self, query: &str, origin: Option<&str>) -> Result<Socket, WsClientError> {
        let mut request = awc::Client::new().ws(format!("http://{}/ws/updates{query}", self.address));
        if let Some(origin) = origin {
            request = request.origin(origin);
        }
        request.connect().await.map(|(_, socket)| socket)
    }

    fn apply(&self, key: &str) {
        let mut changes = BatchChanges { sequence: 7, ..BatchChanges::default() };
        changes.note("Entity", CacheOperation::Written, [key]);
        let batch = AppliedBatch { pipeline: "p".to_owned(), graph: "g".to_owned(), changes: Arc::new(changes) };
        // Nobody may listen any more.
        let _ = self.applied.send(Arc::new(batch));
    }
}

async fn frame(socket: &mut Socket) -> Frame {
    timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap()
}

/// The next message of that type.
async fn message(socket: &mut Socket, wanted: &str) -> Value {
    loop {
        if let Frame::Text(text) = frame(socket).await {
            let message: Value = serde_json::from_slice(&text).unwrap();
            if message["type"] == wanted {
                return message;
            }
        }
    }
}

fn refused(outcome: Result<Socket, WsClientError>) -> StatusCode {
    match outcome {
        Err(WsClientError::InvalidResponseStatus(status)) => status,
        other => panic!("{:?}", other.map(drop)),
    }
}

#[actix::test]
async fn a_snapshot_comes_first_and_then_what_changed() {
    let running = Running::start();
    let mut socket = running.connect("", None).await.unwrap();
    let snapshot = message(&mut socket, "snapshot").await;
    assert_eq!((&snapshot["commands"], &snapshot["version"]), (&true.into(), &env!("CARGO_PKG_VERSION").into()));
    assert_eq!(snapshot["pipelines"]["p"]["state"]["state"], "idle");
    running.shown.send_modify(|status| status.pipelines.get_mut("p").unwrap().paused = true);
    let update = message(&mut socket, "update").await;
    assert_eq!(update["pipelines"], serde_json::json!({ "p": { "paused": true } }));
    socket.send(Message::Ping("hello".into())).await.unwrap();
    while frame(&mut socket).await != Frame::Pong("hello".into()) {}
    running.handle.stop(false).await;
}

#[actix::test]
async fn whoever_asks_is_told_the_keys_of_each_batch() {
    let running = Running::start();
    let mut socket = running.connect("?changes=1", None).await.unwrap();
    message(&mut socket, "snapshot").await;
    running.apply("e1");
    let told = message(&mut socket, "changes").await;
    assert_eq!((&told["pipeline"], &told["graph"], &told["sequence"]), (&"p".into(), &"g".into(), &7.into()));
    let expected = serde_json::json!([
        { "kind": "Entity", "operation": "written", "count": 1, "first": "e1", "last": "e1", "keys": ["e1"] }
    ]);
    assert_eq!((&told["kinds"], &told["truncated"]), (&expected, &false.into()));
    running.handle.stop(false).await;
}

#[actix::test]
async fn whoever_is_too_slow_is_let_go_and_others_go_on() {
    let running = Running::start();
    let mut slow = running.connect("?changes=1", None).await.unwrap();
    let mut other = running.connect("", None).await.unwrap();
    message(&mut slow, "snapshot").await;
    let began = tokio::time::Instant::now();
    let close = loop {
        assert!(began.elapsed() < PATIENCE, "it is never let go");
        // More at once than are kept for anyone, unless the server takes each before the next one.
        (0..5).for_each(|number| running.apply(&number.to_string()));
        if let Frame::Close(reason) = frame(&mut slow).await {
            break reason.unwrap();
        }
    };
    assert!(close.code == CloseCode::Policy && close.description.unwrap().contains("too slow"));
    running.shown.send_modify(|status| status.pipelines.get_mut("p").unwrap().generation = 9);
    message(&mut other, "update").await;
    running.handle.stop(false).await;
}

#[actix::test]
async fn strangers_and_crowds_are_refused() {
    let running = Running::start();
    assert_eq!(refused(running.connect("", Some("http://elsewhere.example")).await), StatusCode::FORBIDDEN);
    assert_eq!(refused(running.connect("?changes=2", None).await), StatusCode::BAD_REQUEST);
    assert_eq!(refused(running.connect("?change=1", None).await), StatusCode::BAD_REQUEST);
    let own = format!("http://{}", running.address);
    let mut followers = BTreeMap::new();
    for number in 0..MAX_FOLLOWERS {
        followers.insert(number, running.connect("", Some(&own)).await.unwrap());
    }
    assert_eq!(refused(running.connect("", None).await), StatusCode::SERVICE_UNAVAILABLE);
    // A place is free again once a follower has gone.
    let mut gone = followers.pop_first().unwrap().1;
    gone.send(Message::Close(None)).await.unwrap();
    while timeout(PATIENCE, gone.next()).await.unwrap().is_some() {}
    let began = tokio::time::Instant::now();
    while running.connect("", None).await.is_err() {
        assert!(began.elapsed() < PATIENCE, "its place was not given back");
        tokio::task::yield_now().await;
    }
    running.handle.stop(false).await;
}
