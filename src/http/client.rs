//! Asks a running service, for the commands that show its state.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// The service answers from memory: a longer time means that it does not answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The answer of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub status: u16,
    pub body: String,
}

/// Asks the service that listens on `address` for a path.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    let address = reachable(address);
    let failed = |cause: String| Error::new(ErrorKind::Configuration, format!("no service answers on {address}: {cause}"));
    let client = awc::Client::builder().timeout(TIMEOUT).finish();
    let mut response = client.get(format!("http://{address}{path}")).send().await.map_err(|error| failed(error.to_string()))?;
    let body = response.body().await.map_err(|error| failed(error.to_string()))?;
    Ok(Answer { status: response.status().as_u16(), body: String::from_utf8_lossy(&body).into_owned() })
}

/// The address for a request: a service that listens on all interfaces is asked on the loopback interface.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
