//! The servers of a pipeline, and what fails there.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A fault as shown to an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FaultReport {
    pub at: DateTime<Utc>,
    /// The error with its causes.
    pub error: String,
    pub remedy: String,
}

/// The two servers of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    Source,
    Cache,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Source => "Neo4j",
            Side::Cache => "FalkorDB",
        })
    }
}

/// The failed probes of a side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SideFailure {
    /// The number of consecutive failures.
    pub failures: u32,
    /// The time of the first failure.
    pub since: DateTime<Utc>,
    /// The reason for the last failure.
    pub error: String,
}
