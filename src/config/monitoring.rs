//! The settings of the HTTP server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::scalar::shown;
use super::secret::Secret;
use super::section::Section;
use crate::model::host::{AllowedHost, Host, HostError};

/// The port of the replaced Python service.
const DEFAULT_PORT: u16 = 8080;

/// All interfaces: in a container, the page is useless on the loopback interface. Every change needs the token.
const DEFAULT_BIND: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

const DEFAULT_READY_LAG: Duration = Duration::from_secs(60);

/// A cache with a lag of more than a day is not in step by any measure.
const MAX_READY_LAG_SECONDS: u64 = 86_400;

/// A shorter token can be guessed over HTTP.
const MIN_TOKEN_LENGTH: usize = 16;

/// The settings of the HTTP server and of its access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitoringConfig {
    /// The port; `None` (written 0) means no HTTP.
    pub health_port: Option<u16>,
    /// The address to listen on.
    pub bind: IpAddr,
    /// The hosts that browsers may request, besides this machine and the address.
    pub(crate) allowed_hosts: Vec<AllowedHost>,
    /// Whether the service serves `/metrics`.
    pub metrics_enabled: bool,
    /// The token that commands must carry. If absent, there are no commands over HTTP.
    pub api_token: Option<Secret>,
    /// The largest lag with which the cache still counts as ready.
    pub ready_lag: Duration,
    /// Whether a pipeline on standby counts as ready.
    pub standby_is_ready: bool,
    /// The address by which other processes name this one's HTTP server, if it is not the machine's name and the port.
    pub advertised_url: Option<String>,
}

impl MonitoringConfig {
    /// The address to listen on; `None` if HTTP is off.
    pub fn address(&self) -> Option<SocketAddr> {
        self.health_port.map(|port| SocketAddr::new(self.bind, port))
    }

    /// The address by which clients of another process find this one's HTTP server; `None` if HTTP is off.
    pub(crate) fn url(&self, host: &str) -> Option<String> {
        let address = self.address()?;
        if self.advertised_url.is_some() {
            return self.advertised_url.clone();
        }
        if !self.bind.is_unspecified() {
            return Some(format!("http://{address}"));
        }
        // A machine without a name cannot be found by it.
        host.parse::<Host>().is_ok().then(|| format!("http://{host}:{}", address.port()))
    }

    /// The hosts that are answered: those that the configuration allows, and the host of the address that a standby names.
    pub(crate) fn hosts(&self, host: &str) -> Vec<AllowedHost> {
        let advertised = self.url(host).as_deref().and_then(host_of).map(AllowedHost::One);
        self.allowed_hosts.iter().cloned().chain(advertised).collect()
    }

    pub(super) fn read(section: &Section<'_>) -> Self {
        Self {
            health_port: section.port_or_off("health_port").unwrap_or(Some(DEFAULT_PORT)),
            bind: read_bind(section).unwrap_or(DEFAULT_BIND),
            allowed_hosts: read_allowed_hosts(section),
            metrics_enabled: section.flag("metrics_enabled").unwrap_or(true),
            api_token: read_token(section),
            ready_lag: section.seconds("ready_lag_seconds", 1..=MAX_READY_LAG_SECONDS).unwrap_or(DEFAULT_READY_LAG),
            standby_is_ready: section.flag("standby_is_ready").unwrap_or(false),
            advertised_url: read_advertised_url(section),
        }
    }
}

fn read_bind(section: &Section<'_>) -> Option<IpAddr> {
    let address = section.text("bind")?.parse();
    if address.is_err() {
        section.problem("bind", "is not an IP address (0.0.0.0 accepts all connections, 127.0.0.1 only those of this machine)");
    }
    address.ok()
}

/// Returns the host of an address with a scheme, as a `Host` header names it.
fn host_of(url: &str) -> Option<Host> {
    let rest = url.split_once("://")?.1;
    Host::of_header(rest.split('/').next()?).ok()
}

fn read_advertised_url(section: &Section<'_>) -> Option<String> {
    let url = section.text("advertised_url").filter(|url| !url.is_empty())?;
    let is_http = ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
    if !is_http || host_of(&url).is_none() {
        section.problem("advertised_url", "is not an address (write http:// or https://, the host and the port)");
        return None;
    }
    Some(url)
}

fn read_allowed_hosts(section: &Section<'_>) -> Vec<AllowedHost> {
    let parse = |text: &String| {
        let explain = |error| format!("{} {error} (write it without scheme and port; * allows every host)", shown(text));
        text.parse().map_err(|error: HostError| section.problem("allowed_hosts", explain(error))).ok()
    };
    section.texts("allowed_hosts").unwrap_or_default().iter().filter_map(parse).collect()
}

fn read_token(section: &Section<'_>) -> Option<Secret> {
    let token = section.secret("api_token", "api_token_file")?;
    let text = token.expose();
    if text.len() < MIN_TOKEN_LENGTH || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        section.problem(
            "api_token",
            format_args!("must have at least {MIN_TOKEN_LENGTH} characters, all of them ASCII without spaces"),
        );
    }
    Some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(bind: &str, advertised_url: Option<&str>) -> MonitoringConfig {
        MonitoringConfig {
            health_port: Some(8080),
            bind: bind.parse().unwrap_or(DEFAULT_BIND),
            allowed_hosts: Vec::new(),
            metrics_enabled: true,
            api_token: None,
            ready_lag: DEFAULT_READY_LAG,
            standby_is_ready: false,
            advertised_url: advertised_url.map(str::to_owned),
        }
    }

    #[test]
    fn a_standby_names_an_address_that_reaches_the_leader() {
        let url = |bind, advertised, host| config(bind, advertised).url(host);
        assert_eq!(url("0.0.0.0", None, "box").as_deref(), Some("http://box:8080"));
        assert_eq!(url("127.0.0.1", None, "box").as_deref(), Some("http://127.0.0.1:8080"));
        assert_eq!(url("::1", None, "box").as_deref(), Some("http://[::1]:8080"));
        assert_eq!(url("0.0.0.0", Some("https://sync.example"), "box").as_deref(), Some("https://sync.example"));
        assert_eq!(url("0.0.0.0", None, "an unknown host"), None);
        assert_eq!(MonitoringConfig { health_port: None, ..config("0.0.0.0", None) }.url("box"), None);
    }

    #[test]
    fn the_leader_answers_under_the_host_of_that_address() {
        let hosts = |advertised| config("0.0.0.0", advertised).hosts("box");
        let one = |host: &str| vec![AllowedHost::One(Host::of_header(host).unwrap_or_else(|_| panic!("{host} is a host")))];
        assert_eq!(hosts(None), one("box"));
        assert_eq!(hosts(Some("https://sync.example:8443/under")), one("sync.example"));
    }
}
