//! Settings of the cache.

use std::fmt;
use std::str::FromStr;

use super::hosts::read_hosts;
use super::neo4j::MAX_POOL_SIZE;
use super::secret::Secret;
use super::section::Section;
use super::sentinel::SentinelConfig;
use super::tls::FalkorTls;
use crate::model::graph_name::{GraphName, GraphNameError};
use crate::model::host_port::HostPort;

const DEFAULT_HOST: &str = "localhost";

/// The port of Redis, of which FalkorDB is a module.
const DEFAULT_PORT: u16 = 6379;

/// The graph that the replaced Python service fills.
const DEFAULT_GRAPH: &str = "graphiti_cache";

/// The number that the replaced Python service opens.
const DEFAULT_POOL_SIZE: u64 = 5;

/// The value of `falkordb.database` if each group has its own graph.
const PER_GROUP: &str = "{group_id}";

/// The connection to the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FalkorConfig {
    /// The place of the server.
    pub(crate) location: FalkorLocation,
    /// The user. If absent, Redis's own `default`.
    pub(crate) username: Option<String>,
    /// The password, if the server asks for one.
    pub(crate) password: Option<Secret>,
    /// The graph or graphs of the cache.
    pub(crate) database: GraphTarget,
    /// The most connections to open.
    pub(crate) pool_size: usize,
    /// The encryption; `None` is unencrypted.
    pub(crate) tls: Option<FalkorTls>,
    /// Whether a graph that this service did not fill may be replaced.
    pub(crate) take_over: bool,
}

/// The place of the cache's server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FalkorLocation {
    /// Always this server.
    Fixed(HostPort),
    /// The master that Redis Sentinel names.
    Sentinel(SentinelConfig),
    /// The node of a Redis cluster that holds the graph; these are nodes of the cluster.
    Cluster(Vec<HostPort>),
}

/// The graph that a pipeline fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GraphTarget {
    /// One graph for everything.
    Single(GraphName),
    /// A graph for each group, named like the group: `{group_id}`.
    PerGroup,
}

impl FromStr for GraphTarget {
    type Err = GraphTargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == PER_GROUP {
            return Ok(Self::PerGroup);
        }
        Ok(Self::Single(GraphName::new(text)?))
    }
}

impl fmt::Display for GraphTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single(name) => name.fmt(formatter),
            Self::PerGroup => formatter.write_str(PER_GROUP),
        }
    }
}

/// The error for a text that names neither one graph nor a graph for each group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; write the name of one graph, or {PER_GROUP} alone for one graph per group")]
pub(crate) struct GraphTargetError(#[from] GraphNameError);

impl FalkorConfig {
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let database = read_database(section);
        Some(Self {
            location: read_location(section, database.as_ref()),
            username: section.text("username"),
            password: section.secret("password", "password_file"),
            pool_size: section.integer("pool_size", 1..=MAX_POOL_SIZE, "connections").unwrap_or(DEFAULT_POOL_SIZE) as usize,
            tls: section.section("tls", FalkorTls::read),
            take_over: section.flag("take_over").unwrap_or(false),
            database: database?,
        })
    }
}

/// All are read, so that the problems of all are found.
fn read_location(section: &Section<'_>, database: Option<&GraphTarget>) -> FalkorLocation {
    let fixed = HostPort::new(read_host(section), section.port("port").unwrap_or(DEFAULT_PORT));
    let sentinel = section.section("sentinel", SentinelConfig::read);
    let cluster = read_hosts(section, "cluster", DEFAULT_PORT);
    match (sentinel, cluster) {
        (None, None) => FalkorLocation::Fixed(fixed),
        (Some(sentinel), None) => FalkorLocation::Sentinel(sentinel),
        (sentinel, Some(nodes)) => {
            if sentinel.is_some() {
                section.problem("cluster", "cannot be combined with sentinel: a cluster needs no sentinels");
            }
            if database == Some(&GraphTarget::PerGroup) {
                let message = format!("cannot be combined with database {PER_GROUP:?}: name one graph for each pipeline");
                section.problem("cluster", message);
            }
            FalkorLocation::Cluster(nodes)
        }
    }
}

/// Users paste the address that another client expects; here the port and the encryption have their own settings.
fn read_host(section: &Section<'_>) -> String {
    let host = section.text("host").unwrap_or_else(|| DEFAULT_HOST.to_owned());
    if host.contains(['/', '@']) || host.contains(char::is_whitespace) {
        section.problem("host", "must be only a host name or an address (port, username and tls are separate settings)");
    }
    host
}

fn read_database(section: &Section<'_>) -> Option<GraphTarget> {
    if section.value("database").is_some() {
        section.parsed("database")
    } else {
        GraphName::new(DEFAULT_GRAPH).ok().map(GraphTarget::Single)
    }
}

impl FalkorLocation {
    /// Whether both can be the same server. Host names are compared as texts.
    pub(super) fn may_be(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fixed(server), Self::Fixed(other)) => server.is_same(other),
            (Self::Sentinel(sentinel), Self::Sentinel(other)) => sentinel.watches_same(other),
            (Self::Cluster(nodes), Self::Cluster(other)) => {
                nodes.iter().any(|node| other.iter().any(|other| other.is_same(node)))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_graph_target_is_one_graph_or_one_for_each_group() {
        assert_eq!("{group_id}".parse(), Ok(GraphTarget::PerGroup));
        assert_eq!("g".parse(), Ok(GraphTarget::Single(GraphName::new("g").unwrap())));
        for text in ["cache_{group_id}", "{group}", "{}"] {
            let error = text.parse::<GraphTarget>().unwrap_err().to_string();
            assert_eq!(
                error,
                "a graph name cannot contain { or }; write the name of one graph, or {group_id} alone \
                 for one graph per group"
            );
        }
    }

    #[test]
    fn test_graph_target_prints_what_it_reads() {
        for text in ["{group_id}", "g"] {
            assert_eq!(text.parse::<GraphTarget>().unwrap().to_string(), text);
        }
    }
}
