//! The status page: one file without any external resource, embedded in the program.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("page.html");

/// Only the page's own style and script run, identified by their hashes, and the page communicates only with this service: its
/// data comes from a graph, and must never run.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |element: &str| {
        let digest = Sha256::digest(content(PAGE, element).unwrap_or_default());
        format!("'sha256-{}'", STANDARD.encode(digest))
    };
    format!(
        "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hash("style"),
        hash("script")
    )
});

pub(super) async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, POLICY.as_str()))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        // The page changes only with the program, and costs nothing to send.
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(PAGE)
}

/// The content of the first element with this name.
fn content<'a>(page: &'a str, element: &str) -> Option<&'a str> {
    let (_, rest) = page.split_once(&format!("<{element}>"))?;
    rest.split_once(&format!("</{element}>")).map(|(content, _)| content)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_outside() {
        for outside in ["http://", "https://", "src=", "@import", "url(", "<link rel=\"stylesheet"] {
            // The namespace of drawings is only a name: nothing is fetched from there.
            let page = PAGE.replace("http://www.w3.org/2000/svg", "");
            assert!(!page.contains(outside), "{outside}");
        }
        for element in ["style", "script"] {
            assert!(content(PAGE, element).unwrap().len() > 100);
            assert_eq!(PAGE.matches(&format!("<{element}")).count(), 1, "the policy knows one {element}");
        }
        assert!(!PAGE.contains("innerHTML") && !PAGE.contains(" style=\"") && !PAGE.contains(" onclick="));
    }
}
