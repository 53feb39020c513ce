//! Refusals of requests, with their reasons.

use actix_web::http::StatusCode;
use actix_web::http::header::WWW_AUTHENTICATE;
use actix_web::{HttpResponse, ResponseError};
use serde_json::json;
use thiserror::Error;

use crate::error::{Error, ErrorKind};
use crate::model::leader::Leader;

/// The authorization scheme of commands.
pub(super) const SCHEME: &str = "Bearer";

/// The reason why a request gets no result, in a sentence.
#[derive(Debug, Error)]
#[error("{reason}")]
pub(super) struct Refusal {
    status: StatusCode,
    reason: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }

    pub(super) fn bad_request(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    pub(super) fn unavailable(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reason)
    }

    /// The answer of a standby, which names the process to ask instead. No answer of a standby would be up to date.
    pub(super) fn standby(leader: &Leader) -> Self {
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            format!("this process is on standby: send the request to the leader, {leader}"),
        )
    }

    /// Adds the name of the pipeline that refuses.
    pub(super) fn of_pipeline(self, name: &str) -> Self {
        Self { reason: format!("pipeline {name}: {}", self.reason), ..self }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::Configuration => StatusCode::CONFLICT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.chain())
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, SCHEME));
        }
        response.json(json!({ "error": self.reason }))
    }
}
