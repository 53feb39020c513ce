//! Answers that are no result.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::json;

/// An answer that says in a sentence why there is nothing else.
pub(super) fn refusal(status: StatusCode, reason: impl AsRef<str>) -> HttpResponse {
    HttpResponse::build(status).json(json!({ "error": reason.as_ref() }))
}
