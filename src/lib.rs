//! Keeps a FalkorDB graph equal to a Neo4j graph.
#![forbid(unsafe_code)]

pub mod actors;
pub mod cli;
pub mod config;
pub mod connector;
pub mod error;
pub mod http;
pub mod model;
pub mod retry;
pub mod sink;
pub mod source;
pub mod sync;
pub mod telemetry;
pub mod transform;
