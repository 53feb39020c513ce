//! What a person sees of the service while it runs.

mod json_lines;
pub mod logging;
pub mod metrics;
pub mod process;
mod statistics;
pub mod status;
pub mod tally;
