//! Keeps a FalkorDB graph equal to a Neo4j graph.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod error;
pub mod model;
pub mod sink;
pub mod source;
pub mod telemetry;
pub mod transform;
