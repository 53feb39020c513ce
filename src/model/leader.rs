//! The process that holds the lease of a graph, as other processes show it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The leader of a pipeline: the only process that writes its graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// The name of its machine.
    pub host: String,
    /// Its process id on that machine.
    pub pid: u32,
    /// The start of that process's claim, RFC 3339.
    pub since: String,
    /// The address of its HTTP server, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl fmt::Display for Leader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}, since {}", self.pid, self.host, self.since)?;
        self.url.iter().try_for_each(|url| write!(f, ", at {url}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_where_to_find_it() {
        let leader = |url| Leader { host: "box".to_owned(), pid: 7, since: "2026-01-01T00:00:00Z".to_owned(), url };
        assert_eq!(leader(None).to_string(), "process 7 on box, since 2026-01-01T00:00:00Z");
        let at = leader(Some("http://box:8080".to_owned())).to_string();
        assert_eq!(at, "process 7 on box, since 2026-01-01T00:00:00Z, at http://box:8080");
    }
}
