//! The address of a Neo4j server, and the scheme of the connection.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use thiserror::Error;

use crate::model::host_port::HostPort;

/// The port of the Bolt protocol if the URI names none.
pub(crate) const DEFAULT_BOLT_PORT: u16 = 7687;

/// The scheme of the driver's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    /// One server, without encryption.
    Bolt,
    /// One server, TLS with a verified certificate.
    BoltSecure,
    /// One server, TLS with any certificate.
    BoltSelfSigned,
    /// Routing, but without encryption.
    Neo4j,
    /// Routing, TLS with a verified certificate.
    Neo4jSecure,
    /// Routing, TLS with any certificate.
    Neo4jSelfSigned,
}

impl Scheme {
    const ALL: [Self; 6] =
        [Self::Bolt, Self::BoltSecure, Self::BoltSelfSigned, Self::Neo4j, Self::Neo4jSecure, Self::Neo4jSelfSigned];

    /// The scheme as written in a URI.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Bolt => "bolt",
            Self::BoltSecure => "bolt+s",
            Self::BoltSelfSigned => "bolt+ssc",
            Self::Neo4j => "neo4j",
            Self::Neo4jSecure => "neo4j+s",
            Self::Neo4jSelfSigned => "neo4j+ssc",
        }
    }

    /// Whether the server tells which members of its cluster to use.
    pub(crate) const fn routes(self) -> bool {
        matches!(self, Self::Neo4j | Self::Neo4jSecure | Self::Neo4jSelfSigned)
    }

    /// Whether the server's certificate is checked, so that a certificate authority is meaningful.
    pub(crate) const fn verifies_certificate(self) -> bool {
        matches!(self, Self::BoltSecure | Self::Neo4jSecure)
    }
}

/// The address of a Neo4j server: `bolt://localhost:7687`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionUri {
    scheme: Scheme,
    host: String,
    port: u16,
}

/// The reason why a text is not the address of a Neo4j server. Never repeats the text, which may contain a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum ConnectionUriError {
    /// The text has no `://`.
    #[error("is not a Neo4j address (write bolt://host:7687)")]
    NoScheme,
    /// The scheme is another one, such as `http`.
    #[error("starts with an unknown scheme (bolt, bolt+s, bolt+ssc, neo4j, neo4j+s or neo4j+ssc)")]
    UnknownScheme,
    /// Credentials in an address would end up in logs.
    #[error("must not contain a user name or password (set neo4j.user and neo4j.password_file)")]
    Credentials,
    /// There is nothing between `://` and the port.
    #[error("has no host")]
    NoHost,
    /// The port is not a number, zero or too large.
    #[error("has an invalid port (1 to 65535)")]
    Port,
    /// The address has a path or a query.
    #[error("has text after the port (neo4j.database names the database)")]
    Trailing,
}

impl ConnectionUri {
    /// The scheme of the connection.
    pub(crate) const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The same server without routing: `neo4j+s` becomes `bolt+s`.
    #[must_use]
    pub(crate) fn without_routing(mut self) -> Self {
        self.scheme = match self.scheme {
            Scheme::Bolt | Scheme::Neo4j => Scheme::Bolt,
            Scheme::BoltSecure | Scheme::Neo4jSecure => Scheme::BoltSecure,
            Scheme::BoltSelfSigned | Scheme::Neo4jSelfSigned => Scheme::BoltSelfSigned,
        };
        self
    }

    /// Another server, reached in the same way.
    #[must_use]
    pub(crate) fn at(&self, server: &HostPort) -> Self {
        let HostPort { host, port } = server;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        Self { scheme: self.scheme, host, port: *port }
    }

    /// The host and the port.
    pub(crate) fn server(&self) -> HostPort {
        HostPort::new(self.host.trim_start_matches('[').trim_end_matches(']'), self.port)
    }

    /// The name or address of the host; an IPv6 address is in brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The port of the server.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for ConnectionUri {
    type Err = ConnectionUriError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.trim().split_once("://").ok_or(ConnectionUriError::NoScheme)?;
        let scheme = Scheme::ALL
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(scheme))
            .ok_or(ConnectionUriError::UnknownScheme)?;
        if rest.contains('@') {
            return Err(ConnectionUriError::Credentials);
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(ConnectionUriError::Trailing);
        }
        let (host, port) = split_port(authority);
        if !is_host(host) {
            return Err(ConnectionUriError::NoHost);
        }
        Ok(Self { scheme, host: host.to_owned(), port: port.map_or(Ok(DEFAULT_BOLT_PORT), read_port)? })
    }
}

/// Splits `host:port`. The host may be an IPv6 address in brackets.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let host_end = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    match authority[host_end..].split_once(':') {
        Some((rest, port)) => (&authority[..host_end + rest.len()], Some(port)),
        None => (authority, None),
    }
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control() || "[]".contains(c)),
    }
}

fn read_port(text: &str) -> Result<u16, ConnectionUriError> {
    text.parse().ok().filter(|port| *port != 0).ok_or(ConnectionUriError::Port)
}

impl fmt::Display for ConnectionUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}:{}", self.scheme.as_str(), self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConnectionUri, ConnectionUriError> {
        text.parse()
    }

    #[test]
    fn test_connection_uri_reads_every_scheme() {
        for scheme in Scheme::ALL {
            let text = format!("{}://graph.example.org:7688", scheme.as_str());
            let uri = parse(&text).unwrap();
            assert_eq!((uri.scheme(), uri.host(), uri.port()), (scheme, "graph.example.org", 7688));
            assert_eq!(uri.to_string(), text);
        }
        assert!(parse("BOLT+S://h").unwrap().scheme().verifies_certificate());
        assert!(!parse("bolt+ssc://h").unwrap().scheme().verifies_certificate());
    }

    #[test]
    fn test_connection_uri_keeps_its_encryption_without_routing() {
        for (with, without) in [("neo4j", "bolt"), ("neo4j+s", "bolt+s"), ("neo4j+ssc", "bolt+ssc"), ("bolt+s", "bolt+s")] {
            let uri = parse(&format!("{with}://[::1]:7")).unwrap().without_routing();
            assert_eq!(uri.to_string(), format!("{without}://[::1]:7"));
        }
    }

    #[test]
    fn test_connection_uri_fills_in_the_port() {
        assert_eq!(parse("bolt://neo4j/").unwrap().to_string(), "bolt://neo4j:7687");
        assert_eq!(parse(" bolt://[::1] ").unwrap().to_string(), "bolt://[::1]:7687");
        assert_eq!(parse("bolt://[::1]:1").unwrap().port(), 1);
    }

    #[test]
    fn test_connection_uri_says_what_is_wrong() {
        use ConnectionUriError as Error;
        for (text, error) in [
            ("", Error::NoScheme),
            ("localhost:7687", Error::NoScheme),
            ("http://localhost:7474", Error::UnknownScheme),
            ("bolt://neo4j:hunter2@localhost", Error::Credentials),
            ("bolt://", Error::NoHost),
            ("bolt://:7687", Error::NoHost),
            ("bolt://a b:7687", Error::NoHost),
            ("bolt://[::1:7687", Error::NoHost),
            ("bolt://[x]:7687", Error::NoHost),
            ("bolt://host:0", Error::Port),
            ("bolt://host:70000", Error::Port),
            ("bolt://host:", Error::Port),
            ("bolt://host/db", Error::Trailing),
            ("neo4j://host:7687?policy=eu", Error::Trailing),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
