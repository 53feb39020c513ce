//! The service over HTTP: whether it lives, whether it is in step, what it does, and a few commands.

mod answer;
mod authority;
mod client;
mod commands;
mod readiness;
mod server;
mod views;
mod wait;

#[cfg(test)]
mod tests;

pub use client::{Answer, get};
pub use readiness::{PipelineReadiness, Readiness};
pub use server::{Api, Control, bind, serve};
