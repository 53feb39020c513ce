//! The HTTP server.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Recipient};
use actix_web::dev::{HttpServiceFactory, Server, ServerHandle};
use actix_web::http::Method;
use actix_web::http::header::ALLOW;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, PayloadConfig, ServiceConfig, get, post};
use actix_web::{HttpResponse, HttpServer, Resource, Route};
use parking_lot::RwLock;
use serde_json::json;
use tokio::sync::{Semaphore, broadcast, watch};

use super::reload::{Reload, Rules, reload};
use super::{commands, hosts, openapi, page, updates, views, wait};
use crate::actors::health::AppliedBatch;
use crate::actors::messages::{Approve, Cover, IgnoreQuarantine, Prove, RequestPass, RollBack, SetPaused};
use crate::actors::supervisor::Supervisor;
use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::status::ServiceStatus;

/// One thread is plenty for answers from memory, and leaves the cores to the work.
const WORKERS: usize = 1;

/// How long a client may take to send its request's head, and then its body: a slower one is no monitor.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Clients at once: those that wait for a commit, those that follow, and as many again for monitors and people.
const MAX_CONNECTIONS: usize = 2 * (wait::MAX_WAITERS + updates::MAX_FOLLOWERS);

/// No command has a body; what clients send nevertheless is read up to here.
const MAX_BODY_BYTES: usize = 4096;

/// What the paths answer from: the state that Health shows, and the supervisors. Never a worker.
pub struct Api {
    /// The state.
    pub status: watch::Receiver<ServiceStatus>,
    /// What they go by.
    pub rules: Arc<RwLock<Rules>>,
    /// Reads the configuration again.
    pub reload: Arc<dyn Reload>,
    /// Each pipeline's supervisor.
    pub pipelines: BTreeMap<String, Control>,
    /// What `/metrics` shows; without them there is no such path.
    pub metrics: Option<Arc<Metrics>>,
    /// Where batches can be followed as they are applied.
    pub applied: broadcast::Sender<Arc<AppliedBatch>>,
}

/// What a supervisor can be asked for.
#[derive(Clone)]
pub struct Control {
    /// Passes.
    pub pass: Recipient<RequestPass>,
    /// Passes that cover a commit.
    pub cover: Recipient<Cover>,
    /// Comparisons that prove equality.
    pub prove: Recipient<Prove>,
    /// Deletes that are held.
    pub approve: Recipient<Approve>,
    /// The way back to the previous graph.
    pub rollback: Recipient<RollBack>,
    /// What is quarantined and is to be let be.
    pub ignore: Recipient<IgnoreQuarantine>,
    /// Pauses.
    pub pause: Recipient<SetPaused>,
}

impl From<Addr<Supervisor>> for Control {
    fn from(supervisor: Addr<Supervisor>) -> Self {
        Self {
            pass: supervisor.clone().recipient(),
            cover: supervisor.clone().recipient(),
            prove: supervisor.clone().recipient(),
            approve: supervisor.clone().recipient(),
            rollback: supervisor.clone().recipient(),
            ignore: supervisor.clone().recipient(),
            pause: supervisor.recipient(),
        }
    }
}

/// Takes the address. Before anything else begins, so that a port in use is said at once.
pub fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).map_err(|error| cannot_listen(address, error))
}

fn cannot_listen(address: SocketAddr, error: std::io::Error) -> Error {
    Error::caused(
        ErrorKind::Configuration,
        format!("cannot listen on {address} (monitoring.bind and monitoring.health_port)"),
        error,
    )
}

/// The server on an address. It has to be awaited to run; the handle stops it.
pub fn serve(listener: TcpListener, api: Api) -> Result<(Server, ServerHandle)> {
    let unusable = |error| Error::caused(ErrorKind::Configuration, "cannot serve HTTP", error);
    let data = Data::new(api);
    let waiters = Data::new(Semaphore::new(wait::MAX_WAITERS));
    let followers = Data::new(updates::Followers::default());
    let server = HttpServer::new(move || {
        let (data, waiters, followers) = (data.clone(), waiters.clone(), followers.clone());
        actix_web::App::new().configure(move |config| routes(config, data, waiters, followers))
    })
    .workers(WORKERS)
    .max_connections(MAX_CONNECTIONS)
    .client_request_timeout(REQUEST_TIMEOUT)
    .disable_signals()
    .listen(listener)
    .map_err(unusable)?
    .run();
    let handle = server.handle();
    Ok((server, handle))
}

/// All paths.
pub(super) fn routes(config: &mut ServiceConfig, api: Data<Api>, waiters: Data<Semaphore>, followers: Data<updates::Followers>) {
    let metrics = api.metrics.is_some();
    config
        .app_data(api)
        .app_data(waiters)
        .app_data(followers)
        .app_data(PayloadConfig::new(MAX_BODY_BYTES))
        .service(path("/", Method::GET, get().to(page::page)))
        .service(path("/ws/updates", Method::GET, get().to(updates::updates)))
        .service(open_path("/health", Method::GET, get().to(views::health)))
        .service(open_path("/ready", Method::GET, get().to(views::ready)))
        .service(path("/api/openapi.json", Method::GET, get().to(openapi::openapi)))
        .service(path("/api/reload", Method::POST, post().to(reload)))
        .service(
            web::scope("/api/sync")
                .service(path("/status", Method::GET, get().to(views::status)))
                .service(path("/statistics", Method::GET, get().to(views::statistics)))
                .service(path("/history", Method::GET, get().to(views::history)))
                .service(path("/quarantine", Method::GET, get().to(views::quarantine)))
                .service(path("/wait", Method::GET, get().to(wait::wait)))
                .service(path("/full", Method::POST, post().to(commands::full)))
                .service(path("/incremental", Method::POST, post().to(commands::incremental)))
                .service(path("/differential", Method::POST, post().to(commands::differential)))
                .service(path("/approve", Method::POST, post().to(commands::approve)))
                .service(path("/quarantine/retry", Method::POST, post().to(commands::retry_quarantine)))
                .service(path("/quarantine/ignore", Method::POST, post().to(commands::ignore_quarantine)))
                .service(path("/rollback", Method::POST, post().to(commands::rollback)))
                .service(path("/pause", Method::POST, post().to(commands::pause)))
                .service(path("/resume", Method::POST, post().to(commands::resume))),
        );
    if metrics {
        config.service(open_path("/metrics", Method::GET, get().to(views::metrics)));
    }
}

/// A path for browsers and programs: answered only where the host is allowed.
fn path(path: &str, method: Method, route: Route) -> impl HttpServiceFactory + 'static {
    open_path(path, method, route).wrap(from_fn(hosts::only_allowed))
}

/// A path for monitors, whatever name they know this service by: it tells neither keys nor values. With the one method that it has.
fn open_path(path: &str, method: Method, route: Route) -> Resource {
    let refused = move || {
        let allowed = method.to_string();
        async move {
            let error = json!({ "error": format!("this path takes {allowed} only") });
            HttpResponse::MethodNotAllowed().insert_header((ALLOW, allowed)).json(error)
        }
    };
    web::resource(path).route(route).default_service(web::to(refused))
}
