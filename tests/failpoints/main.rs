//! The program killed at named places: `cargo test --features failpoints --test failpoints`.
#![recursion_limit = "256"]
#![allow(missing_docs, unreachable_pub, dead_code, unused_imports, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::large_futures, clippy::print_stdout, clippy::print_stderr)]

mod full_sync;
mod soak;
mod steps;
#[path = "../support/mod.rs"]
mod support;
