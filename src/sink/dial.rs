//! Opens connections to servers that speak Redis' protocol: FalkorDB and the sentinels.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo,
    RedisError, TlsCertificates,
};
use tokio::time::timeout;

use super::address::CacheTls;
use super::classify::{self, DriverFailure};
use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};
use crate::model::host_port::HostPort;

/// The time limit for making a connection, TLS and login included: ten round trips across a continent, and slack.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Keepalive detects a peer that vanished while nothing was sent, so that the first command after a quiet hour does not hang.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);

/// A server to connect to, and the login.
#[derive(Clone, Copy)]
pub(super) struct Peer<'a> {
    pub server: &'a HostPort,
    pub username: Option<&'a str>,
    pub password: Option<&'a Secret>,
    pub tls: Option<&'a CacheTls>,
}

/// Opens a connection and logs in.
pub(super) async fn dial(peer: Peer<'_>, doing: &str) -> Result<MultiplexedConnection> {
    let (client, address) = (client(peer)?, peer.server);
    // Both timeouts of the driver are off: ours enclose it, and the driver's would name neither the command nor the server.
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    match timeout(CONNECT_TIMEOUT, client.get_multiplexed_async_connection_with_config(&config)).await {
        Ok(Ok(live)) => Ok(live),
        Ok(Err(error)) => Err(refusal(address, doing, error)),
        Err(_) => {
            let message = format!("cannot {doing}: no connection to {address} within {} s", CONNECT_TIMEOUT.as_secs());
            Err(Error::new(ErrorKind::CacheConnection, message))
        }
    }
}

/// The beginning of rustls' message about a server that it does not trust.
const UNTRUSTED: &str = "invalid peer certificate";

/// The error for a failed connection attempt. If it is neither known nor about the login, the server is not ready, or not Redis.
fn refusal(address: &HostPort, doing: &str, error: RedisError) -> Error {
    if let Some(message) = foreign_protocol(address, &error) {
        return Error::new(ErrorKind::CacheConnection, format!("cannot {doing}: {message}"));
    }
    let kind = match classify::driver_kind(&error) {
        // This never passes by itself: the authority is missing in the configuration, or the name is not the server's.
        _ if error.to_string().contains(UNTRUSTED) => ErrorKind::Configuration,
        ErrorKind::CacheTimeout | ErrorKind::CacheRefused | ErrorKind::CacheProtocol => ErrorKind::CacheConnection,
        kind => kind,
    };
    Error::caused(kind, format!("cannot {doing}: cannot connect to {address}"), DriverFailure(error))
}

/// Returns a message if a server takes the connection but does not answer the first command as Redis does: it sends something
/// else, or hangs up. A server that is stopping hangs up as well, so it is retried like any server that is not ready.
fn foreign_protocol(address: &HostPort, error: &RedisError) -> Option<String> {
    if error.kind() == redis::ErrorKind::Parse {
        return Some(format!("{address} does not answer like Redis: does FalkorDB use another port?"));
    }
    let hangs_up = error.is_connection_dropped() && !error.is_connection_refusal();
    hangs_up.then(|| format!("{address} closes the connection at the first command: does FalkorDB use another port?"))
}

fn client(peer: Peer<'_>) -> Result<Client> {
    let refused =
        |error| Error::caused(ErrorKind::Configuration, format!("cannot use the address {}", peer.server), DriverFailure(error));
    let info = connection_info(peer).map_err(refused)?;
    match peer.tls.and_then(|tls| tls.ca_file.as_ref()) {
        None => Client::open(info).map_err(refused),
        Some(path) => {
            let pem = std::fs::read(path)
                .map_err(|error| Error::caused(ErrorKind::Configuration, format!("cannot read {}", path.display()), error))?;
            let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem) };
            Client::build_with_tls(info, certificates).map_err(refused)
        }
    }
}

fn connection_info(peer: Peer<'_>) -> std::result::Result<ConnectionInfo, RedisError> {
    let mut login = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
    if let Some(username) = peer.username {
        login = login.set_username(username);
    }
    if let Some(password) = peer.password {
        login = login.set_password(password.expose());
    }
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY);
    // Closed at once, together with unsent data: a write that was given up must not arrive after a newer one.
    let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive).set_linger_time(Duration::ZERO);
    Ok(endpoint(peer).into_connection_info()?.set_redis_settings(login).set_tcp_settings(tcp))
}

fn endpoint(peer: Peer<'_>) -> ConnectionAddr {
    let HostPort { host, port } = peer.server.clone();
    match peer.tls {
        Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        None => ConnectionAddr::Tcp(host, port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_untrusted_certificate_is_not_waited_for() {
        let address = HostPort::new("cache", 6379);
        let kind = |text: &str| refusal(&address, "ask", RedisError::from(std::io::Error::other(text.to_owned()))).kind();
        assert_eq!(kind("invalid peer certificate: UnknownIssuer"), ErrorKind::Configuration);
        assert_eq!(kind("connection reset"), ErrorKind::CacheConnection);
    }

    #[test]
    fn a_server_that_is_not_redis_is_named() {
        let address = HostPort::new("cache", 7687);
        let said = |error: RedisError| {
            let error = refusal(&address, "load the checkpoint", error);
            assert_eq!(error.kind(), ErrorKind::CacheConnection);
            error.chain()
        };
        let hung_up = "cannot load the checkpoint: cache:7687 closes the connection at the first command: does FalkorDB use \
                       another port?";
        assert_eq!(said(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()), hung_up);
        let garbled = "cannot load the checkpoint: cache:7687 does not answer like Redis: does FalkorDB use another port?";
        assert_eq!(said((redis::ErrorKind::Parse, "Parse error at 1\nUnexpected `33`").into()), garbled);
        assert!(
            said(std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into()).contains("cannot connect to cache:7687")
        );
    }

    #[test]
    fn a_certificate_file_that_is_not_there_is_named() {
        let tls = CacheTls { ca_file: Some("/nowhere/ca.pem".into()) };
        let server = HostPort::new("cache", 6379);
        let peer = Peer { server: &server, username: None, password: None, tls: Some(&tls) };
        let error = client(peer).map(|_| ()).map_err(|error| error.chain());
        assert!(error.is_err_and(|text| text.contains("/nowhere/ca.pem")));
    }
}
