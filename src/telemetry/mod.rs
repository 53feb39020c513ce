//! What a person sees of the service while it runs.

pub mod logging;
pub mod metrics;
pub mod status;
