//! The HTTP server of the service.

use std::net::{SocketAddr, TcpListener};

use actix_web::dev::{HttpServiceFactory, Server, ServerHandle};
use actix_web::http::Method;
use actix_web::http::header::ALLOW;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, PayloadConfig, ServiceConfig, get, post};
use actix_web::{HttpResponse, HttpServer, Resource, Route};
use serde_json::json;
use tokio::sync::Semaphore;

use super::api::{ApiState, REQUEST_TIMEOUT};
use super::authority::only_allowed;
use super::reload::reload;
use super::{commands, openapi, page, updates, views, wait};
use crate::error::{Error, ErrorKind, Result};

/// One thread is enough for answers from memory, and leaves the cores to the work.
const WORKERS: usize = 1;

/// The most clients at once: the waiting ones, the following ones, and as many again for monitors and people.
const MAX_CONNECTIONS: usize = 2 * (wait::MAX_WAITERS + updates::MAX_FOLLOWERS);

/// No command has a body; a body that a client sends nevertheless is read up to this size.
const MAX_BODY_BYTES: usize = 4096;

/// Binds the address. This happens before anything else begins, so that a port in use is reported at once.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).map_err(|error| cannot_listen(address, error))
}

fn cannot_listen(address: SocketAddr, error: std::io::Error) -> Error {
    Error::caused(
        ErrorKind::Configuration,
        format!("cannot listen on {address} (monitoring.bind and monitoring.health_port)"),
        error,
    )
}

/// Returns the server for an address. It runs only while it is awaited; the handle stops it.
pub(crate) fn serve(listener: TcpListener, api: ApiState) -> Result<(Server, ServerHandle)> {
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

pub(super) fn routes(
    config: &mut ServiceConfig,
    api: Data<ApiState>,
    waiters: Data<Semaphore>,
    followers: Data<updates::Followers>,
) {
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

/// A path for browsers and programs: answered only for an allowed host.
fn path(path: &str, method: Method, route: Route) -> impl HttpServiceFactory + 'static {
    open_path(path, method, route).wrap(from_fn(only_allowed))
}

/// A path that monitors may call under any name of this service: it reveals neither keys nor values. It accepts only this method.
fn open_path(path: &str, method: Method, route: Route) -> Resource {
    let refused = move || {
        let allowed = method.to_string();
        async move {
            let error = json!({ "error": format!("this path allows only {allowed}") });
            HttpResponse::MethodNotAllowed().insert_header((ALLOW, allowed)).json(error)
        }
    };
    web::resource(path).route(route).default_service(web::to(refused))
}
