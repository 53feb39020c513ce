//! Settings of Redis Sentinel, which names the cache's master.

use std::net::Ipv6Addr;

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

/// The error for a text that is not a host with or without a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("contains {0:?}, which is not a host (write a name or an address, and the port after a colon)")]
pub(crate) struct SentinelHostError(String);

/// Reads a host and its port.
fn read_host(text: &str) -> Result<HostPort, SentinelHostError> {
    let wrong = || SentinelHostError(text.to_owned());
    let (host, port) = match (text.strip_prefix('['), text.rsplit_once(':')) {
        // An address of IPv6 has brackets, because it contains colons.
        (Some(rest), _) => {
            let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(wrong)?) })
        }
        (None, Some((host, port))) => (host, Some(port)),
        (None, None) => (text, None),
    };
    let is_host = if text.starts_with('[') {
        host.parse::<Ipv6Addr>().is_ok()
    } else {
        !host.is_empty() && !host.contains(['/', '@', ':', '[', ']']) && !host.contains(char::is_whitespace)
    };
    if !is_host {
        return Err(wrong());
    }
    let port = port.map_or(Ok(DEFAULT_PORT), |port| port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong))?;
    Ok(HostPort::new(host, port))
}

impl SentinelConfig {
    /// Absent if neither a service nor a sentinel is named.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let (service, hosts) = (section.text("service").filter(|name| !name.is_empty()), read_hosts(section));
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

/// Absent if there is none.
fn read_hosts(section: &Section<'_>) -> Option<Vec<HostPort>> {
    let texts = section.texts("hosts")?;
    let parse = |text: &String| read_host(text).map_err(|error| section.problem("hosts", error)).ok();
    let hosts: Vec<HostPort> = texts.iter().filter(|text| !text.is_empty()).filter_map(parse).collect();
    (!hosts.is_empty()).then_some(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_sentinel_host_has_a_port() {
        for (text, host, port) in [
            ("a", "a", 26379),
            ("a.example.com:5000", "a.example.com", 5000),
            ("10.0.0.7:26380", "10.0.0.7", 26380),
            ("[::1]:26380", "::1", 26380),
            ("[::1]", "::1", 26379),
        ] {
            assert_eq!(read_host(text), Ok(HostPort::new(host, port)));
        }
        for text in ["", ":1", "a:", "a:0", "a:b", "a:70000", "::1", "redis://a", "me@a", "a b", "[::1", "[a]:1", "[::1]x"] {
            assert_eq!(read_host(text), Err(SentinelHostError(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn test_sentinel_is_the_same_by_service_and_a_common_host() {
        let config = |service: &str, hosts: &[&str]| SentinelConfig {
            service: service.to_owned(),
            hosts: hosts.iter().map(|host| read_host(host).unwrap()).collect(),
            username: None,
            password: None,
            tls: None,
        };
        assert!(config("cache", &["a", "b"]).watches_same(&config("cache", &["B:26379", "c"])));
        assert!(!config("cache", &["a"]).watches_same(&config("other", &["a"])));
        assert!(!config("cache", &["a"]).watches_same(&config("cache", &["a:1"])));
    }
}
