//! What ships beside the program: container, dashboards, documents. Checked as far as it can be without a server, Docker or
//! Prometheus, so that a file that names what is not there is found here and not by whoever uses it.

// A test is a panic away from its message; these lints are for the product.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod compose;
mod container;
mod documents;
mod kubernetes;
mod layers;
mod monitoring;
#[path = "../support/mod.rs"]
mod support;
mod unprivileged;

use std::path::PathBuf;

/// A file of the checkout.
fn shipped(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(shipped(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
