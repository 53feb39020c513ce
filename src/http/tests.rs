//! The paths, answered by the handlers themselves over a supervisor that only counts.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context, Handler};
use actix_web::App;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HOST};
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::web::Data;
use chrono::Utc;
use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use tokio::sync::{Semaphore, broadcast, watch};

use super::api::{ApiState, HttpRules, Reload, Reloaded, SupervisorHandle};
use super::hosts::Hosts;
use super::server::routes;
use super::updates::Followers;
use super::wait::{MAX_TIMEOUT, MAX_WAITERS};
use crate::actors::messages::{Approve, AwaitApplied, AwaitVerified, IgnoreQuarantine, RequestPass, RollBack, SetPaused};
use crate::config::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, ErrorKind, Result};
use crate::model::bookmark::Bookmark;
use crate::model::kind::KindName;
use crate::model::pass::{PassMode, PassSummary, Totals};
use crate::model::quarantined::Quarantined;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::status::{PipelineState, PipelineStatus, Promise, ServiceStatus};

const TOKEN: &str = "0123456789abcdef";

/// The pass that the supervisor would begin next.
const NEXT_PASS: u64 = 7;

#[derive(Debug, Clone, PartialEq)]
enum TestOrder {
    Pass(PassMode),
    AwaitApplied,
    AwaitVerified,
    Approve,
    RollBack,
    Ignore,
    Paused(bool),
}

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<TestOrder>>>);

impl Actor for Recorder {
    type Context = Context<Self>;
}

impl Handler<RequestPass> for Recorder {
    type Result = ();
    fn handle(&mut self, RequestPass(mode): RequestPass, _: &mut Self::Context) {
        self.0.lock().push(TestOrder::Pass(mode));
    }
}

impl Handler<AwaitApplied> for Recorder {
    type Result = Result<Promise>;
    fn handle(&mut self, AwaitApplied(bookmark): AwaitApplied, _: &mut Self::Context) -> Result<Promise> {
        if bookmark == commit(UNREACHED) {
            return Err(Error::new(ErrorKind::SourceBehind, "Neo4j has not reached the commit"));
        }
        let generation = self.0.lock().iter().filter(|order| **order == TestOrder::AwaitApplied).count() as u64;
        self.0.lock().push(TestOrder::AwaitApplied);
        Ok(Promise { generation, number: NEXT_PASS })
    }
}

impl Handler<AwaitVerified> for Recorder {
    type Result = Result<Promise>;
    fn handle(&mut self, _: AwaitVerified, _: &mut Self::Context) -> Result<Promise> {
        self.0.lock().push(TestOrder::AwaitVerified);
        Ok(Promise { generation: 0, number: NEXT_PASS })
    }
}

impl Handler<Approve> for Recorder {
    type Result = ();
    fn handle(&mut self, _: Approve, _: &mut Self::Context) {
        self.0.lock().push(TestOrder::Approve);
    }
}

impl Handler<RollBack> for Recorder {
    type Result = Result<()>;
    fn handle(&mut self, _: RollBack, _: &mut Self::Context) -> Result<()> {
        self.0.lock().push(TestOrder::RollBack);
        Err(Error::new(ErrorKind::Configuration, "there is no previous graph"))
    }
}

impl Handler<IgnoreQuarantine> for Recorder {
    type Result = Result<usize>;
    fn handle(&mut self, _: IgnoreQuarantine, _: &mut Self::Context) -> Result<usize> {
        self.0.lock().push(TestOrder::Ignore);
        Ok(3)
    }
}

impl Handler<SetPaused> for Recorder {
    type Result = Result<()>;
    fn handle(&mut self, SetPaused(paused): SetPaused, _: &mut Self::Context) -> Result<()> {
        self.0.lock().push(TestOrder::Paused(paused));
        Ok(())
    }
}

/// The bookmark of a commit of the source. Its text holds a plus sign.
fn commit(transaction: u8) -> Bookmark {
    of_database(0xFB, transaction)
}

fn of_database(id: u8, transaction: u8) -> Bookmark {
    let bytes = [&[0x91, 0xCC, 0x10], &[id; 16][..], &[transaction, 0x90]].concat();
    Bookmark::new(format!("FB:{}", STANDARD.encode(bytes)))
}

/// A commit that the source never reaches.
const UNREACHED: u8 = 99;

/// A configuration that cannot be read any more.
struct Unreadable;

#[async_trait::async_trait(?Send)]
impl Reload for Unreadable {
    async fn reload(&self) -> Result<Reloaded> {
        Err(Error::new(ErrorKind::Configuration, "neo4j.uri: is not a URI"))
    }
}

fn summary(transaction: u8) -> PassSummary {
    let (began_at, bookmark) = (Utc::now(), Some(commit(transaction)));
    PassSummary { mode: PassMode::Incremental, began_at, bookmark, ended_at: began_at, totals: Totals::default() }
}

fn in_step() -> PipelineStatus {
    let mut status = PipelineStatus {
        state: PipelineState::Idle,
        leads: true,
        settled: true,
        watermark: Some(Utc::now()),
        assured: Some(commit(10)),
        source_bookmark: Some(commit(10)),
        passes_ended: 1,
        ..PipelineStatus::new("p", "g")
    };
    status.applied(summary(10));
    status
}

/// The paths over one pipeline, `p`.
pub(super) struct Service {
    orders: Recorder,
    pub(super) shown: watch::Sender<ServiceStatus>,
    pub(super) api: Data<ApiState>,
    waiters: Data<Semaphore>,
}

impl Service {
    fn of(pipelines: &[&str], token: Option<&str>, metrics: bool) -> Self {
        let orders = Recorder::default();
        let address = orders.clone().start();
        let control = SupervisorHandle {
            pass: address.clone().recipient(),
            cover: address.clone().recipient(),
            prove: address.clone().recipient(),
            approve: address.clone().recipient(),
            rollback: address.clone().recipient(),
            ignore: address.clone().recipient(),
            pause: address.recipient(),
        };
        let shown = pipelines.iter().map(|name| ((*name).to_owned(), PipelineStatus { name: (*name).to_owned(), ..in_step() }));
        let (shown, status) = watch::channel(ServiceStatus { pipelines: shown.collect() });
        let api = ApiState {
            status,
            rules: Arc::new(RwLock::new(HttpRules {
                limits: pipelines.iter().map(|name| ((*name).to_owned(), Duration::from_secs(60))).collect(),
                standby_is_ready: false,
                token: token.map(Secret::new),
                hosts: Hosts { bound: Some("10.0.0.5".parse().unwrap()), allowed: vec!["sync.example.com".parse().unwrap()] },
            })),
            reload: Arc::new(Unreadable),
            pipelines: pipelines.iter().map(|name| ((*name).to_owned(), control.clone())).collect::<BTreeMap<_, _>>(),
            metrics: metrics.then(|| Arc::new(Metrics::new())),
            applied: broadcast::Sender::new(1),
        };
        Self { orders, shown, api: Data::new(api), waiters: Data::new(Semaphore::new(MAX_WAITERS)) }
    }

    pub(super) fn new() -> Self {
        Self::of(&["p"], Some(TOKEN), true)
    }

    fn orders(&self) -> Vec<TestOrder> {
        self.orders.0.lock().clone()
    }

    fn change(&self, change: impl FnOnce(&mut PipelineStatus)) {
        self.shown.send_modify(|status| change(status.pipelines.get_mut("p").unwrap()));
    }

    async fn answer(&self, request: TestRequest) -> (StatusCode, String) {
        let (api, waiters) = (self.api.clone(), self.waiters.clone());
        let followers = Data::new(Followers::default());
        let app = init_service(App::new().configure(move |config| routes(config, api, waiters, followers))).await;
        let response = call_service(&app, request.to_request()).await;
        let status = response.status();
        (status, String::from_utf8(read_body(response).await.to_vec()).unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        self.answer(TestRequest::get().uri(path)).await
    }

    async fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn post(&self, path: &str, authorization: Option<&str>) -> (StatusCode, String) {
        let mut request = TestRequest::post().uri(path);
        if let Some(authorization) = authorization {
            request = request.insert_header((AUTHORIZATION, authorization));
        }
        self.answer(request).await
    }
}

#[actix::test]
async fn commands_need_the_token() {
    let service = Service::new();
    for name in ["full", "incremental", "differential", "approve", "quarantine/retry", "quarantine/ignore", "pause", "resume"] {
        let path = &format!("/api/sync/{name}");
        let wrong = ["", "Bearer", "Bearer ", "Bearer 0123456789abcdeX", "Basic 0123456789abcdef", "0123456789abcdef"];
        for authorization in std::iter::once(None).chain(wrong.map(Some)) {
            assert_eq!(service.post(path, authorization).await.0, StatusCode::UNAUTHORIZED, "{path} {authorization:?}");
        }
        let (status, body) = Service::of(&["p"], None, true).post(path, Some("Bearer 0123456789abcdef")).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(body.contains("monitoring.api_token"), "{body}");
    }
    assert!(service.orders().is_empty());
}

#[actix::test]
async fn a_configuration_that_cannot_be_read_changes_nothing() {
    let service = Service::new();
    assert_eq!(service.post("/api/reload", None).await.0, StatusCode::UNAUTHORIZED);
    let (status, body) = service.post("/api/reload", Some("Bearer 0123456789abcdef")).await;
    assert!(status == StatusCode::CONFLICT && body.contains("neo4j.uri"), "{status} {body}");
}

#[actix::test]
async fn commands_reach_the_supervisor() {
    let service = Service::new();
    let token = Some("bearer 0123456789abcdef");
    assert_eq!(service.post("/api/sync/full", token).await.0, StatusCode::ACCEPTED);
    assert_eq!(service.post("/api/sync/incremental?pipeline=p", token).await.0, StatusCode::ACCEPTED);
    assert_eq!(service.post("/api/sync/differential", token).await.0, StatusCode::ACCEPTED);
    assert_eq!(service.post("/api/sync/approve", token).await.0, StatusCode::ACCEPTED);
    let (status, body) = service.post("/api/sync/rollback", token).await;
    assert!(status == StatusCode::CONFLICT && body.contains("there is no previous graph"), "{status} {body}");
    let (status, body) = service.post("/api/sync/quarantine/ignore", token).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, r#"{"ignored":3,"pipelines":["p"]}"#));
    assert_eq!(service.post("/api/sync/pause", token).await.0, StatusCode::OK);
    let (status, body) = service.post("/api/sync/resume", token).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, r#"{"paused":false,"pipelines":["p"]}"#));
    let passes = [PassMode::Full, PassMode::Incremental, PassMode::Differential].map(TestOrder::Pass).to_vec();
    let expected = [
        passes,
        vec![TestOrder::Approve, TestOrder::RollBack, TestOrder::Ignore, TestOrder::Paused(true), TestOrder::Paused(false)],
    ]
    .concat();
    assert_eq!(service.orders(), expected);
    assert_eq!(service.post("/api/sync/full?pipeline=q", token).await.0, StatusCode::NOT_FOUND);
    assert_eq!(service.post("/api/sync/full?pipelin=p", token).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(service.orders().len(), expected.len());
}

#[actix::test]
async fn a_command_with_a_large_body_is_refused() {
    let service = Service::new();
    let request = TestRequest::post().uri("/api/sync/full").set_payload(vec![b' '; 10_000]);
    let request = request.insert_header((AUTHORIZATION, format!("Bearer {TOKEN}")));
    assert_eq!(service.answer(request).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(service.orders().is_empty());
}

#[actix::test]
async fn waiting_for_what_is_applied_is_answered_at_once() {
    let service = Service::new();
    // Escaped or not, a plus sign is a plus sign; and a cache that holds a commit holds those before it.
    for known in [commit(10), commit(4)] {
        assert!(known.as_str().contains('+'), "{known}");
        for bookmark in [known.to_string(), known.as_str().replace('+', "%2B")] {
            let answer = service.json(&format!("/api/sync/wait?bookmark={bookmark}&level=applied&timeout_ms=50")).await;
            assert_eq!((&answer["pipeline"], &answer["bookmark"]), (&"p".into(), &known.as_str().into()));
        }
    }
    assert!(service.orders().is_empty());
}

#[actix::test]
async fn a_bookmark_that_cannot_be_the_sources_is_refused() {
    let service = Service::new();
    for bookmark in ["nonsense".to_owned(), "FB:".to_owned(), of_database(7, 1).to_string()] {
        for level in ["applied", "verified"] {
            let (status, body) = service.get(&format!("/api/sync/wait?bookmark={bookmark}&level={level}&timeout_ms=50")).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        }
    }
    assert!(service.orders().is_empty());
}

#[actix::test]
async fn a_commit_that_the_source_does_not_reach_is_named() {
    let service = Service::new();
    let (status, body) = service.get(&format!("/api/sync/wait?bookmark={}&timeout_ms=5000", commit(UNREACHED))).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("has not reached"), "{body}");
}

#[actix::test]
async fn waiting_ends_with_the_first_pass_that_begins_later() {
    let service = Service::new();
    let later = format!("/api/sync/wait?bookmark={}&timeout_ms=5000", commit(20));
    let waiting = service.get(&later);
    let passes = async {
        while service.orders().is_empty() {
            tokio::task::yield_now().await;
        }
        // One that had begun before ends with another bookmark: that proves nothing.
        service.change(|status| {
            status.passes_ended = NEXT_PASS - 1;
            status.applied(summary(15));
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(service.waiters.available_permits(), MAX_WAITERS - 1, "it still waits");
        service.change(|status| status.passes_ended = NEXT_PASS);
    };
    let ((status, body), ()) = tokio::join!(waiting, passes);
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!((service.orders(), service.waiters.available_permits()), (vec![TestOrder::AwaitApplied], MAX_WAITERS));
}

#[actix::test]
async fn a_promise_of_an_earlier_generation_is_asked_for_anew() {
    let service = Service::new();
    let later = format!("/api/sync/wait?bookmark={}&timeout_ms=5000", commit(20));
    let waiting = service.get(&later);
    let generations = async {
        while service.orders().is_empty() {
            tokio::task::yield_now().await;
        }
        // The pass of this number ended in a generation that has not reached the commit.
        service.change(|status| (status.generation, status.passes_ended) = (1, NEXT_PASS));
        while service.orders().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    let ((status, body), ()) = tokio::join!(waiting, generations);
    assert_eq!((status, service.orders()), (StatusCode::OK, vec![TestOrder::AwaitApplied; 2]), "{body}");
}

#[actix::test]
async fn a_pipeline_that_has_not_led_takes_no_command_that_it_would_keep() {
    let service = Service::new();
    service.change(|status| *status = PipelineStatus::new("p", "g"));
    let token = Some("Bearer 0123456789abcdef");
    for command in ["full", "incremental", "differential", "approve", "quarantine/retry"] {
        let (status, body) = service.post(&format!("/api/sync/{command}"), token).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{command}: {body}");
        assert!(body.contains("p: this process does not lead the pipeline now"), "{body}");
    }
    assert!(service.orders().is_empty());
    assert_eq!(service.post("/api/sync/pause", token).await.0, StatusCode::OK, "it is kept beside the graph");

    let several = Service::of(&["p", "q"], Some("0123456789abcdef"), true);
    several.change(|status| *status = PipelineStatus::new("p", "g"));
    let (status, body) = several.post("/api/sync/full", token).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap()["pipelines"],
        serde_json::json!(["q"]),
        "one that fails is no reason for another"
    );
    assert_eq!(several.post("/api/sync/full?pipeline=p", token).await.0, StatusCode::SERVICE_UNAVAILABLE);
    while several.orders().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(several.orders(), [TestOrder::Pass(PassMode::Full)]);
}

#[actix::test]
async fn what_is_proven_is_answered_at_once_and_else_with_the_first_proof_that_began_later() {
    let service = Service::new();
    service.change(|status| status.equal_as_of = Some(commit(10)));
    let verified =
        |transaction, timeout| format!("/api/sync/wait?bookmark={}&level=verified&timeout_ms={timeout}", commit(transaction));
    service.json(&verified(9, 50)).await;
    let answer = service.json(&verified(10, 50)).await;
    assert_eq!((&answer["level"], service.orders().len()), (&"verified".into(), 0));
    let other = verified(20, 5000);
    let waiting = service.get(&other);
    let comparisons = async {
        while service.orders().is_empty() {
            tokio::task::yield_now().await;
        }
        // One that had begun before.
        service.change(|status| {
            status.proven_by = NEXT_PASS - 1;
            status.equal_as_of = Some(commit(15));
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(service.waiters.available_permits(), MAX_WAITERS - 1, "it still waits");
        service.change(|status| status.proven_by = NEXT_PASS);
    };
    let ((status, body), ()) = tokio::join!(waiting, comparisons);
    assert_eq!((status, service.orders()), (StatusCode::OK, vec![TestOrder::AwaitVerified]), "{body}");
    let (status, body) = service.get(&verified(30, 30)).await;
    assert_eq!(status, StatusCode::OK, "the recorder promises what has come already: {body}");
    service.change(|status| status.proven_by = 0);
    let (status, body) = service.get(&verified(30, 30)).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    assert!(body.contains("not proven"), "{body}");
}

#[actix::test]
async fn waiting_has_an_end() {
    let service = Service::new();
    let later = format!("/api/sync/wait?bookmark={}&timeout_ms=30", commit(20));
    let (status, body) = service.get(&later).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    assert!(body.contains("not applied yet") && body.contains("idle"), "{body}");
    let _all = service.waiters.try_acquire_many(MAX_WAITERS as u32).unwrap();
    assert_eq!(service.get(&later).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[actix::test]
async fn waiting_says_what_is_wrong_with_the_question() {
    let service = Service::new();
    let too_long = format!("bookmark=x&timeout_ms={}", MAX_TIMEOUT.as_millis() + 1);
    for query in ["", "bookmark=", "bookmark=x&level=certain", "bookmark=x&timeout_ms=soon", "bookmark=x&foo=1", &too_long] {
        assert_eq!(service.get(&format!("/api/sync/wait?{query}")).await.0, StatusCode::BAD_REQUEST, "{query}");
    }
    assert_eq!(service.get("/api/sync/wait?bookmark=x&pipeline=q").await.0, StatusCode::NOT_FOUND);
    let two = Service::of(&["p", "q"], None, false);
    assert_eq!(two.get("/api/sync/wait?bookmark=x").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(two.get(&format!("/api/sync/wait?bookmark={}&pipeline=q", commit(10))).await.0, StatusCode::OK);
}

#[actix::test]
async fn what_is_listed_is_by_pipeline() {
    let service = Service::new();
    service.change(|status| {
        status.applied(summary(12));
        status.statistics.rows_read = 12;
        status.quarantined = 1;
        let entry = Quarantined::new(KindName::Label("Entity"), "k", None, "too large");
        status.quarantine = Arc::new(vec![entry]);
    });
    let history = service.json("/api/sync/history").await;
    let bookmarks: Vec<_> = history["pipelines"]["p"].as_array().unwrap().iter().map(|pass| &pass["bookmark"]).collect();
    assert_eq!(bookmarks, [commit(12).as_str(), commit(10).as_str()]);
    let statistics = service.json("/api/sync/statistics").await;
    assert_eq!(statistics["pipelines"]["p"]["statistics"]["rows_read"], 12);
    let quarantine = service.json("/api/sync/quarantine").await;
    assert_eq!(quarantine["pipelines"]["p"]["entries"][0]["reason"], "too large");
    let status: ServiceStatus = serde_json::from_value(service.json("/api/sync/status").await).unwrap();
    assert_eq!(status.pipelines["p"].statistics.rows_read, 12);
}

/// Each described path with each of its methods is there, and each method that it lacks is refused as one.
#[actix::test]
async fn what_is_described_is_there() {
    let service = Service::new();
    let document = service.json("/api/openapi.json").await;
    let paths = document["paths"].as_object().unwrap();
    for (path, methods) in paths {
        for method in ["get", "post"] {
            let request = if method == "get" { TestRequest::get() } else { TestRequest::post() };
            let (status, body) = service.answer(request.uri(path)).await;
            let known = methods.get(method).map(|method| method["responses"].as_object().unwrap());
            match known {
                Some(answers) => assert!(answers.contains_key(status.as_str()), "{method} {path}: {status} {body}"),
                None => assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}"),
            }
        }
    }
    let routes = include_str!("server.rs").matches("path(\"/").count();
    assert_eq!(paths.len(), routes, "a path that is not described, or described and not there");
}

/// The paths that a page of another site could read if its name were pointed here, and those for monitors.
#[actix::test]
async fn a_strange_host_is_refused_but_for_monitors() {
    let service = Service::new();
    let document = service.json("/api/openapi.json").await;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, description) in methods.as_object().unwrap() {
            let ask = |host: &str| {
                let request = if method == "get" { TestRequest::get() } else { TestRequest::post() };
                service.answer(request.uri(path).insert_header((HOST, host)))
            };
            let is_for_monitors = ["/health", "/ready", "/metrics"].contains(&path.as_str());
            for strange in
                ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "10.0.0.6", "", "localhost@evil.example"]
            {
                let (status, body) = ask(strange).await;
                let is_refused = status == StatusCode::FORBIDDEN && body.contains("does not answer under");
                assert_eq!(is_refused, !is_for_monitors, "{method} {path} for {strange:?}: {status} {body}");
            }
            assert_eq!(description["responses"]["403"].is_object(), !is_for_monitors, "{path}");
            for own in ["localhost", "127.0.0.1:8080", "[::1]:8080", "10.0.0.5:8080", "Sync.Example.com:443"] {
                let (status, body) = ask(own).await;
                assert!(!body.contains("does not answer under"), "{method} {path} for {own}: {status} {body}");
            }
        }
    }
    assert!(service.orders().is_empty(), "nothing was ordered");
    let two = TestRequest::get().uri("/").append_header((HOST, "localhost")).append_header((HOST, "evil.example"));
    assert_eq!(service.answer(two).await.0, StatusCode::FORBIDDEN);
}

#[actix::test]
async fn metrics_can_be_off() {
    let (status, body) = Service::new().get("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.ends_with("# EOF\n") && body.contains("neo4j_falkordb_sync_in_step{pipeline=\"p\"} 1.0"), "{body}");
    assert_eq!(Service::of(&["p"], None, false).get("/metrics").await.0, StatusCode::NOT_FOUND);
}
