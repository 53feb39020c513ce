//! Decides which requests are answered: requests for an allowed host, and commands with the token.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::AUTHORIZATION;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpRequest, ResponseError};

use super::api::ApiState;
use super::refusal::{Refusal, SCHEME};

/// The answer to a client that uses another host name.
const STRANGE_HOST: &str = "the service does not answer under this host name: add it to monitoring.allowed_hosts (ALLOWED_HOSTS)";

/// Answers only requests for an allowed host.
pub(super) async fn only_allowed(
    api: Data<ApiState>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    if api.rules.read().hosts.allow_request(request.request()) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    Ok(request.into_response(Refusal::new(StatusCode::FORBIDDEN, STRANGE_HOST).error_response()).map_into_right_body())
}

/// Checks that a request may change something.
pub(super) fn authorize(request: &HttpRequest, api: &ApiState) -> Result<(), Refusal> {
    let rules = api.rules.read();
    let Some(token) = &rules.token else {
        let reason = "commands over HTTP are off: no token is configured (monitoring.api_token or monitoring.api_token_file)";
        return Err(Refusal::new(StatusCode::FORBIDDEN, reason));
    };
    let presented = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
    if presented.is_some_and(|presented| token.matches(presented)) {
        return Ok(());
    }
    let reason = if presented.is_some() { "the token is wrong" } else { "a bearer token is missing" };
    Err(Refusal::new(StatusCode::UNAUTHORIZED, reason))
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case(SCHEME).then_some(token.trim())
}
