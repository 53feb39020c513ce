//! The host that a client names in its request: a name or an address.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

/// The name of this machine, alone and as the last part of every other name (RFC 6761).
const LOCALHOST: &str = "localhost";

/// The longest host name that DNS allows.
const MAX_NAME_LENGTH: usize = 253;

/// A host without a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    /// An address; an IPv4 address in IPv6 notation is the IPv4 address.
    Address(IpAddr),
    /// A name in lower case, without the dot of the root at its end.
    Name(String),
}

/// The error for a text that is not a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("is not a host name or an address")]
pub(crate) struct HostError;

impl Host {
    /// The host of a `Host` header, without its port.
    pub(crate) fn of_header(header: &str) -> Result<Self, HostError> {
        let (host, port) = match header.strip_prefix('[') {
            Some(rest) => {
                let (address, rest) = rest.split_once(']').ok_or(HostError)?;
                let address: Ipv6Addr = address.parse().map_err(|_| HostError)?;
                (Self::Address(IpAddr::V6(address).to_canonical()), rest.strip_prefix(':').unwrap_or(rest))
            }
            None => {
                let (host, port) = header.split_once(':').unwrap_or((header, ""));
                (host.parse()?, port)
            }
        };
        if port.bytes().all(|byte| byte.is_ascii_digit()) { Ok(host) } else { Err(HostError) }
    }

    /// Whether the host is the machine that asks.
    pub(crate) fn is_loopback(&self) -> bool {
        match self {
            Self::Address(address) => address.is_loopback(),
            Self::Name(name) => name == LOCALHOST || name.strip_suffix(LOCALHOST).is_some_and(|rest| rest.ends_with('.')),
        }
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(Self::Address(address.to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
        if name.is_empty() || name.len() > MAX_NAME_LENGTH || !name.chars().all(allowed) {
            return Err(HostError);
        }
        Ok(Self::Name(name.to_ascii_lowercase()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A host that a configuration allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AllowedHost {
    /// Every host is allowed.
    Any,
    /// Only this host is allowed.
    One(Host),
}

impl AllowedHost {
    /// Whether a host is allowed.
    pub(crate) fn allows(&self, host: &Host) -> bool {
        match self {
            Self::Any => true,
            Self::One(allowed) => allowed == host,
        }
    }
}

impl FromStr for AllowedHost {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        if text == "*" { Ok(Self::Any) } else { text.parse().map(Self::One) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_header_names_a_host_with_or_without_a_port() {
        let host = |header: &str| Host::of_header(header).unwrap().to_string();
        assert_eq!(host("localhost:8080"), "localhost");
        assert_eq!(host("Sync.Example.COM."), "sync.example.com");
        assert_eq!(host("127.0.0.1:80"), "127.0.0.1");
        assert_eq!(host("[::1]:8080"), "::1");
        assert_eq!(host("[::ffff:10.0.0.5]"), "10.0.0.5");
        for wrong in ["", ":80", "a b", "evil.example/x", "user@host", "host:80x", "[::1", "[10.0.0.1]", "[::1]x", "a:1:2", "ä"]
        {
            assert_eq!(Host::of_header(wrong), Err(HostError), "{wrong}");
        }
    }

    #[test]
    fn only_localhost_and_loopback_addresses_mean_the_machine_that_asks() {
        let is_loopback = |text: &str| text.parse::<Host>().unwrap().is_loopback();
        for own in ["localhost", "LOCALHOST.", "page.localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1"] {
            assert!(is_loopback(own), "{own}");
        }
        for strange in ["notlocalhost", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "0.0.0.0", "::2"] {
            assert!(!is_loopback(strange), "{strange}");
        }
    }

    #[test]
    fn an_allowed_host_is_one_or_any() {
        let host: Host = "sync.example.com".parse().unwrap();
        let allows = |text: &str| text.parse::<AllowedHost>().unwrap().allows(&host);
        assert!(allows("*") && allows("SYNC.example.com") && !allows("example.com") && !allows("10.0.0.1"));
        assert!("http://sync".parse::<AllowedHost>().is_err() && "*.example.com".parse::<AllowedHost>().is_err());
    }
}
