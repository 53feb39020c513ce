//! The address of a Bolt server, and the socket to it.

use std::io;
use std::time::Duration;

use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::fault::Fault;
use super::limits::{Limits, within};
use super::message::Login;
use super::tls;
use crate::config::{ConnectionUri, Secret};
use crate::model::host_port::HostPort;
use crate::source::SourceAddress;

/// A silently vanished peer is noticed after `IDLE + PROBES * INTERVAL`, 30 s: before firewalls on the way forget a silent
/// connection, and before any limit for a message.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;

/// A socket, encrypted or not.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Transport for T {}

/// A server, with the user and the database to read.
#[derive(Clone)]
pub struct Server {
    uri: ConnectionUri,
    tls: Option<TlsConnector>,
    user: String,
    password: Secret,
    /// The database; the server's default if absent.
    pub(super) database: Option<String>,
    pub(super) limits: Limits,
}

impl Server {
    /// Reads certificates and checks the address; does not connect.
    pub fn new(address: &SourceAddress, limits: Limits) -> Result<Self, Fault> {
        let uri: ConnectionUri = address.uri.parse().map_err(|error| Fault::Setup(format!("neo4j.uri {error}")))?;
        Ok(Self {
            tls: tls::connector(uri.scheme(), address.ca_file.as_deref())?,
            uri,
            user: address.user.clone(),
            password: address.password.clone(),
            database: address.database.clone(),
            limits,
        })
    }

    /// The address, for messages.
    pub(crate) fn uri(&self) -> &ConnectionUri {
        &self.uri
    }

    /// Whether the server tells which members of its cluster to use.
    pub(super) fn routes(&self) -> bool {
        self.uri.scheme().routes()
    }

    /// Another member of the same cluster.
    pub(super) fn at(&self, member: &HostPort) -> Self {
        Self { uri: self.uri.at(member), ..self.clone() }
    }

    /// Returns the way to log on. An empty user means a server without authentication.
    pub(super) fn login(&self) -> Login<'_> {
        match self.user.as_str() {
            "" => Login::None,
            user => Login::Basic { user, password: self.password.expose() },
        }
    }

    /// Opens a socket to the server.
    pub(super) async fn connect(&self) -> Result<Box<dyn Transport>, Fault> {
        within(self.limits.connect, "connection", self.open()).await
    }

    async fn open(&self) -> Result<Box<dyn Transport>, Fault> {
        let host = self.uri.host().trim_start_matches('[').trim_end_matches(']');
        let socket = TcpStream::connect((host, self.uri.port())).await?;
        // A request is written at once and then awaits its answer: to wait for more bytes to send would only delay it.
        socket.set_nodelay(true)?;
        SockRef::from(&socket).set_tcp_keepalive(
            &TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_PROBES),
        )?;
        let Some(tls) = &self.tls else { return Ok(Box::new(socket)) };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| Fault::Setup(format!("{host}: {error}")))?;
        let encrypted = tls.connect(name, socket).await.map_err(tls_fault)?;
        Ok(Box::new(encrypted))
    }
}

/// Returns the fault of a TLS error: a refused certificate does not become valid by a new try.
fn tls_fault(error: io::Error) -> Fault {
    match tls::refused_certificate(&error) {
        Some(refused) => Fault::Setup(refused.to_string()),
        None => Fault::Io(error),
    }
}
