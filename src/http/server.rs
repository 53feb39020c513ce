//! The HTTP server.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Recipient};
use actix_web::HttpServer;
use actix_web::dev::{Server, ServerHandle};
use actix_web::web::{self, Data, PayloadConfig, ServiceConfig, get, post};
use parking_lot::RwLock;
use tokio::sync::{Semaphore, broadcast, watch};

use super::reload::{Reload, Rules, reload};
use super::{commands, openapi, page, updates, views, wait};
use crate::actors::health::AppliedBatch;
use crate::actors::messages::{Approve, Cover, Prove, RequestPass, RollBack, SetPaused};
use crate::actors::supervisor::Supervisor;
use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::status::ServiceStatus;

/// One thread is plenty for answers from memory, and leaves the cores to the work.
const WORKERS: usize = 1;

/// How long a client may take to send its request's head: a slower one is no monitor.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

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
            pause: supervisor.recipient(),
        }
    }
}

/// Takes the address. Before anything else begins, so that a port in use is said at once.
pub fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).map_err(|error| cannot_listen(address, error))
}

fn cannot_listen(address: SocketAddr, error: std::io::Error) -> Error {
    Error::caused(ErrorKind::Configuration, format!("cannot listen on {address}"), error)
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
        .route("/", get().to(page::page))
        .route("/ws/updates", get().to(updates::updates))
        .route("/health", get().to(views::health))
        .route("/ready", get().to(views::ready))
        .route("/api/openapi.json", get().to(openapi::openapi))
        .route("/api/reload", post().to(reload))
        .service(
            web::scope("/api/sync")
                .route("/status", get().to(views::status))
                .route("/statistics", get().to(views::statistics))
                .route("/history", get().to(views::history))
                .route("/quarantine", get().to(views::quarantine))
                .route("/wait", get().to(wait::wait))
                .route("/full", post().to(commands::full))
                .route("/incremental", post().to(commands::incremental))
                .route("/differential", post().to(commands::differential))
                .route("/approve", post().to(commands::approve))
                .route("/quarantine/retry", post().to(commands::retry_quarantine))
                .route("/rollback", post().to(commands::rollback))
                .route("/pause", post().to(commands::pause))
                .route("/resume", post().to(commands::resume)),
        );
    if metrics {
        config.route("/metrics", get().to(views::metrics));
    }
}
