//! The HTTP server of the service: liveness, readiness, status, and a few commands.

mod api;
mod authority;
mod chosen;
mod client;
mod commands;
mod hosts;
mod openapi;
mod page;
mod readiness;
mod refusal;
mod reload;
mod server;
mod unread;
mod updates;
mod views;
mod wait;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod updates_tests;

pub(crate) use api::{ApiState, HttpRules, Reload, Reloaded};
pub(crate) use client::get;
pub(crate) use hosts::Hosts;
pub(crate) use server::{bind, serve};
