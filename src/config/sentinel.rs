//! Settings of Redis Sentinel, which names the cache's master.

use super::hosts::read_hosts;
use super::secret::Secret;
use super::section::Section;
use super::tls::FalkorTls;
use crate::model::host_port::HostPort;

/// The port of Sentinel.
const DEFAULT_PORT: u16 = 26379;

/// The sentinels and what they watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SentinelConfig {
    /// The name that the sentinels give to the master.
    pub service: String,
    /// The sentinels, at least one.
    pub hosts: Vec<HostPort>,
    /// The user. If absent, Redis's own `default`.
    pub username: Option<String>,
    /// The password of the sentinels, if they ask for one.
    pub password: Option<Secret>,
    /// The encryption of the connections to the sentinels; `None` is unencrypted.
    pub tls: Option<FalkorTls>,
}

impl SentinelConfig {
    /// Absent if neither a service nor a sentinel is named.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let (service, hosts) =
            (section.text("service").filter(|name| !name.is_empty()), read_hosts(section, "hosts", DEFAULT_PORT));
        let (username, password) = (section.text("username"), section.secret("password", "password_file"));
        let tls = section.section("tls", FalkorTls::read);
        match (service, hosts) {
            (None, None) => None,
            (Some(service), Some(hosts)) => Some(Self { service, hosts, username, password, tls }),
            (None, Some(_)) => {
                section.problem("service", "is missing: it is the name that the sentinels give to the master");
                None
            }
            (Some(_), None) => {
                section.problem("hosts", "is missing: name at least one sentinel");
                None
            }
        }
    }

    /// Whether both name the same master: the same service of at least one common sentinel.
    pub(super) fn watches_same(&self, other: &Self) -> bool {
        let is_common = |host: &HostPort| other.hosts.iter().any(|other| other.is_same(host));
        self.service == other.service && self.hosts.iter().any(is_common)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_sentinel_is_the_same_by_service_and_a_common_host() {
        let config = |service: &str, hosts: &[&str]| SentinelConfig {
            service: service.to_owned(),
            hosts: hosts.iter().map(|host| HostPort::new(*host, 26379)).collect(),
            username: None,
            password: None,
            tls: None,
        };
        assert!(config("cache", &["a", "b"]).watches_same(&config("cache", &["B", "c"])));
        assert!(!config("cache", &["a"]).watches_same(&config("other", &["a"])));
    }
}
