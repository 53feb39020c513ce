//! The address of the cache, and the login.

use std::fmt;
use std::path::PathBuf;

use crate::config::Secret;
use crate::model::host_port::HostPort;

/// Encryption towards the cache.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CacheTls {
    /// Certificate authorities to trust, PEM. If absent, those of the system.
    pub ca_file: Option<PathBuf>,
}

/// Everything needed to connect to a FalkorDB server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheAddress {
    /// The place of the server.
    pub location: CacheLocation,
    /// ACL user. If absent, the default user.
    pub username: Option<String>,
    /// The password of the ACL user.
    pub password: Option<Secret>,
    /// The encryption of the connection. Absent if it is not encrypted.
    pub tls: Option<CacheTls>,
}

/// The place of the cache's server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheLocation {
    /// Always this server.
    Fixed(HostPort),
    /// The server that the sentinels name as the master at the moment of each connection.
    Sentinel(SentinelAddress),
    /// The node of a Redis cluster that is the master of the graph's slot at the moment of each connection.
    Cluster(ClusterAddress),
}

/// The nodes of a Redis cluster, and the graph whose slot decides about the node. All keys beside a graph are in its slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterAddress {
    /// Nodes of the cluster, at least one.
    pub hosts: Vec<HostPort>,
    /// The name of the graph.
    pub graph: String,
}

/// The sentinels that watch the cache's server and its replicas, and the login to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentinelAddress {
    /// The name that the sentinels give to the master.
    pub service: String,
    /// The sentinels, at least one.
    pub hosts: Vec<HostPort>,
    /// ACL user. If absent, the default user.
    pub username: Option<String>,
    /// The password of the ACL user.
    pub password: Option<Secret>,
    /// The encryption of the connections to the sentinels.
    pub tls: Option<CacheTls>,
}

impl CacheAddress {
    /// A server without user, password and encryption.
    pub fn plain(host: impl Into<String>, port: u16) -> Self {
        let location = CacheLocation::Fixed(HostPort::new(host, port));
        Self { location, username: None, password: None, tls: None }
    }
}

impl fmt::Display for CacheAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            CacheLocation::Fixed(server) => server.fmt(f),
            CacheLocation::Sentinel(sentinel) => write!(f, "the master of {} (Sentinel)", sentinel.service),
            CacheLocation::Cluster(cluster) => write!(f, "the master of the slot of {} (Cluster)", cluster.graph),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let address = CacheAddress { password: Some(Secret::new("hunter2")), ..CacheAddress::plain("cache", 6379) };
        assert!(!format!("{address:?} {address}").contains("hunter2"));
    }
}
