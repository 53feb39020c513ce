//! What a person sees of the service while it runs.

mod json_lines;
pub(crate) mod logging;
pub mod metrics;
pub(crate) mod process;
mod statistics;
pub(crate) mod status;
pub(crate) mod tally;
mod unapplied;
