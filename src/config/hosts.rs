//! A list of hosts with their ports.

use std::net::Ipv6Addr;

use super::section::Section;
use crate::model::host_port::HostPort;

/// The error for a text that is not a host with or without a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("contains {0:?}, which is not a host (write a name or an address, and the port after a colon)")]
pub(crate) struct HostPortError(String);

/// Reads a host and its port.
fn read_host(text: &str, default_port: u16) -> Result<HostPort, HostPortError> {
    let wrong = || HostPortError(text.to_owned());
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
    let port = port.map_or(Ok(default_port), |port| port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong))?;
    Ok(HostPort::new(host, port))
}

/// Reads a list of hosts; absent if it is empty.
pub(super) fn read_hosts(section: &Section<'_>, name: &'static str, default_port: u16) -> Option<Vec<HostPort>> {
    let texts = section.texts(name)?;
    let parse = |text: &String| read_host(text, default_port).map_err(|error| section.problem(name, error)).ok();
    let hosts: Vec<HostPort> = texts.iter().filter(|text| !text.is_empty()).filter_map(parse).collect();
    (!hosts.is_empty()).then_some(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_host_has_a_port() {
        for (text, host, port) in [
            ("a", "a", 26379),
            ("a.example.com:5000", "a.example.com", 5000),
            ("10.0.0.7:26380", "10.0.0.7", 26380),
            ("[::1]:26380", "::1", 26380),
            ("[::1]", "::1", 26379),
        ] {
            assert_eq!(read_host(text, 26379), Ok(HostPort::new(host, port)));
        }
        for text in ["", ":1", "a:", "a:0", "a:b", "a:70000", "::1", "redis://a", "me@a", "a b", "[::1", "[a]:1", "[::1]x"] {
            assert_eq!(read_host(text, 26379), Err(HostPortError(text.to_owned())), "{text}");
        }
    }
}
