//! Commands need the token.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::AUTHORIZATION;

use super::refusal::{Refusal, SCHEME};
use super::server::Api;

/// Checks that a request may change something.
pub(super) fn authorize(request: &HttpRequest, api: &Api) -> Result<(), Refusal> {
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
