//! `POST /api/reload`: reads the configuration again, and applies the settings that can change at runtime.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use super::api::ApiState;
use super::authority::authorize;
use super::chosen::audit;
use super::refusal::Refusal;
use super::unread::Unread;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoParameters {}

pub(super) async fn reload(request: HttpRequest, api: Data<ApiState>, _body: Unread) -> Result<HttpResponse, Refusal> {
    authorize(&request, &api)?;
    Query::<NoParameters>::from_query(request.query_string())
        .map_err(|_| Refusal::bad_request("this path accepts no parameters"))?;
    audit(&request, "", "reload");
    Ok(HttpResponse::Ok().json(api.reload.reload().await?))
}
