//! The HTTP server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::web::{Data, get};
use actix_web::{App, HttpResponse, HttpServer};
use chrono::Utc;
use serde_json::json;
use tokio::sync::watch;

use super::readiness::Readiness;
use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::status::ServiceStatus;

/// One thread is plenty for a status page, and leaves the cores to the work.
const WORKERS: usize = 1;

/// How long a client may take to send its request's head: a slower one is no monitor.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Clients at once. Each waits for nothing here, so this is far more than monitors and people need.
const MAX_CONNECTIONS: usize = 256;

/// What the paths answer from: the state that Health shows, never a worker.
#[derive(Debug, Clone)]
pub struct StatusServer {
    /// The state.
    pub status: watch::Receiver<ServiceStatus>,
    /// How old the last pass of each pipeline may be.
    pub limits: BTreeMap<String, Duration>,
}

/// Binds the address. The server has to be awaited to run; the handle stops it.
pub fn serve(address: SocketAddr, state: StatusServer) -> Result<(Server, ServerHandle)> {
    let data = Data::new(state);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .route("/health", get().to(health))
            .route("/ready", get().to(ready))
            .route("/api/sync/status", get().to(status))
    })
    .workers(WORKERS)
    .max_connections(MAX_CONNECTIONS)
    .client_request_timeout(REQUEST_TIMEOUT)
    .disable_signals()
    .bind(address)
    .map_err(|error| Error::caused(ErrorKind::Configuration, format!("cannot listen on {address}"), error))?
    .run();
    let handle = server.handle();
    Ok((server, handle))
}

async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "alive", "version": env!("CARGO_PKG_VERSION") }))
}

async fn ready(state: Data<StatusServer>) -> HttpResponse {
    let readiness = Readiness::of(&state.status.borrow(), &state.limits, Utc::now());
    let mut response = if readiness.ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(readiness)
}

async fn status(state: Data<StatusServer>) -> HttpResponse {
    HttpResponse::Ok().json(&*state.status.borrow())
}
