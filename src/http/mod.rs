//! The service over HTTP: whether it lives, whether it is in step, and what it does.

mod client;
mod readiness;
mod server;

pub use client::{Answer, get};
pub use readiness::{PipelineReadiness, Readiness};
pub use server::{StatusServer, serve};
