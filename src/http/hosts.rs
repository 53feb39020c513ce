//! Decides which `Host` headers are answered.
//!
//! A web page may point its own name at this machine after a browser has loaded it (DNS rebinding). To the browser the service is
//! then a part of that page's site, so the page may read every answer. But the header still contains the page's name, which
//! reveals the attack.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::HOST;

use crate::model::host::{AllowedHost, Host};

/// The hosts under which the service answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts {
    /// The address on which the service listens.
    pub bound: Option<IpAddr>,
    /// The hosts that the configuration adds.
    pub allowed: Vec<AllowedHost>,
}

impl Hosts {
    /// Whether a request for this host is answered. A service that listens on all addresses answers under each of them: a browser
    /// that was given an address has asked no name server, so nobody can have redirected it here.
    fn allow(&self, host: &Host) -> bool {
        let is_own = |bound: &IpAddr| match host {
            Host::Address(address) => bound.is_unspecified() || bound.to_canonical() == *address,
            Host::Name(_) => false,
        };
        host.is_loopback() || self.bound.as_ref().is_some_and(is_own) || self.allowed.iter().any(|allowed| allowed.allows(host))
    }

    /// Whether every host that the request names is answered. Every browser sends the header, so a client without it is not a
    /// browser.
    pub(super) fn allow_request(&self, request: &HttpRequest) -> bool {
        request.headers().get_all(HOST).all(|header| {
            let host = header.to_str().ok().and_then(|header| Host::of_header(header).ok());
            host.is_some_and(|host| self.allow(&host))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn allows(bound: &str, allowed: &[&str], host: &str) -> bool {
        let allowed = allowed.iter().map(|text| text.parse().unwrap()).collect();
        Hosts { bound: Some(bound.parse().unwrap()), allowed }.allow(&host.parse().unwrap())
    }

    #[test]
    fn the_service_answers_under_loopback_its_address_and_the_configured_hosts() {
        for host in ["localhost", "127.0.0.1", "::1", "10.0.0.5"] {
            assert!(allows("10.0.0.5", &[], host), "{host}");
            assert!(allows("0.0.0.0", &[], host), "{host}");
            assert!(allows("::", &[], host), "{host}");
        }
        for host in ["evil.example", "sync", "10.0.0.5.evil.example"] {
            assert!(!allows("0.0.0.0", &["sync.example.com"], host), "{host}");
        }
        assert!(!allows("10.0.0.5", &[], "10.0.0.6"));
        assert!(allows("10.0.0.5", &["10.0.0.6", "sync"], "10.0.0.6") && allows("10.0.0.5", &["sync"], "SYNC"));
        assert!(allows("127.0.0.1", &["*"], "evil.example"));
    }
}
