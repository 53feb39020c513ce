//! The description of all paths, for clients and for tests: every route is in it, and everything in it is a route.

use actix_web::HttpResponse;

const DOCUMENT: &str = include_str!("openapi.json");

pub(super) async fn openapi() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::telemetry::status::PipelineStatus;

    #[test]
    fn it_describes_this_version() {
        let document: serde_json::Value = serde_json::from_str(DOCUMENT).unwrap();
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn it_describes_every_field_of_a_pipeline() {
        let document: serde_json::Value = serde_json::from_str(DOCUMENT).unwrap();
        let schemas = &document["components"]["schemas"];
        let lacking = |answer: serde_json::Value, schema: &str| {
            let described = schemas[schema]["properties"].as_object().unwrap().clone();
            let fields = answer.as_object().unwrap().clone();
            fields.keys().filter(|field| !described.contains_key(*field)).cloned().collect::<Vec<_>>()
        };
        let status = PipelineStatus::new("p", "g");
        let none = Vec::<String>::new();
        assert_eq!(lacking(serde_json::to_value(&status.statistics).unwrap(), "Statistics"), none);
        assert_eq!(lacking(serde_json::to_value(&status).unwrap(), "Pipeline"), none);
    }
}
