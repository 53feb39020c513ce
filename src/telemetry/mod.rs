//! Logs, metrics and status: the view of the running service.

mod json_lines;
pub(crate) mod logging;
pub mod metrics;
pub(crate) mod process;
mod statistics;
pub(crate) mod status;
pub(crate) mod tally;
mod unapplied;
