//! The body of a request that needs none.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::error::ErrorRequestTimeout;
use actix_web::web::Bytes;
use actix_web::{Error, FromRequest, HttpRequest};
use tokio::time::timeout;

use super::api::REQUEST_TIMEOUT;

/// A body that nobody uses: it is read from the connection up to a size and within a time, so that a client that announces a body
/// and does not send it is cut off, like a client that does not finish its head.
pub(super) struct Unread;

impl FromRequest for Unread {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = Bytes::from_request(request, payload);
        Box::pin(async move {
            match timeout(REQUEST_TIMEOUT, body).await {
                Ok(read) => read.map(|_| Self),
                Err(_) => Err(ErrorRequestTimeout("the body did not arrive in time")),
            }
        })
    }
}
