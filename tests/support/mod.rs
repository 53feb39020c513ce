//! What the integration tests, the demonstration and the benchmarks share: real servers, a Graphiti-shaped
//! graph, and a comparison of two graphs that knows nothing of the product's own code.

// Each binary that includes this module uses a part of it, and none of it is a library's interface.
#![allow(dead_code, unused_imports, missing_docs, unreachable_pub, clippy::large_futures, clippy::map_entry)]

pub mod arrival;
pub mod browser;
pub mod certificates;
pub mod cgroup;
pub mod comparer;
pub mod copier;
pub mod deadline;
pub mod error;
pub mod foreign;
pub mod graph;
pub mod graphiti;
pub mod http;
pub mod proxy;
pub mod python;
pub mod recorder;
pub mod sequence;
pub mod servers;
pub mod service;
pub mod transactions;

pub use error::{Error, Result};
