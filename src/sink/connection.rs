//! One dedicated connection to the cache.
//!
//! While FalkorDB runs a query, every other command on the same connection waits (measured): each caller that must not wait has
//! its own connection. A connection that timed out or broke is discarded and made again at its next use, because the driver never
//! replaces one that is merely silent.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline, ProtocolVersion,
    RedisConnectionInfo, RedisError, TlsCertificates, Value, cmd,
};
use tokio::time::{Instant, timeout};

use super::address::{CacheAddress, CacheTls};
use super::classify::{self, DriverFailure};
use super::reply;
use crate::error::{Directive, Error, ErrorKind, Result};
use crate::retry::Attempts;
use crate::telemetry::tally::GaugeGuard;

/// The time limit for making a connection, TLS and login included: ten round trips across a continent, and slack.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The time limit of a small command. FalkorDB stops everything while it commits or loads in bulk; the longest such pause seen
/// with batches of this size was well under a second, and an unlucky snapshot's fork takes a few.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// Keepalive detects a peer that vanished while nothing was sent, so that the first command after a quiet hour does not hang.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);

/// A connection that was idle for this long may have lost its peer silently. The limit is longer than the time between renewals
/// of a lease, so that a connection in constant use is not checked.
const IDLE: Duration = Duration::from_secs(2);

/// The time limit for the check of an idle connection.
const SIGN_OF_LIFE: Duration = Duration::from_secs(3);

/// A command that takes this long is logged: readers of the cache may wait for it.
const SLOW: Duration = Duration::from_millis(200);

/// A connection to FalkorDB. Its single owner sends one command after another.
pub struct CacheConnection {
    address: CacheAddress,
    live: Option<MultiplexedConnection>,
    used: Instant,
    /// Counts this connection as open until it is dropped.
    open: Option<GaugeGuard>,
    life: Life,
    watch: Watch,
    /// Whether the connection only reads: then commands that failed for a passing reason are repeated.
    only_reads: bool,
}

/// The server's state for this connection besides its login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watch {
    /// The connection is new: no fenced write went over it.
    New,
    /// The connection watches nothing, or more than the fence.
    Nothing,
    /// The connection watches the fence, which named this process when the watch began.
    Fence,
}

/// The lives of the server that a connection may use.
#[derive(Debug)]
enum Life {
    Any,
    /// Only the server process of the first connection, identified by its run id once known.
    First(Option<String>),
}

impl std::fmt::Debug for CacheConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CacheConnection").field("address", &self.address).field("live", &self.live.is_some()).finish()
    }
}

impl CacheConnection {
    /// A connection that is made at its first use.
    pub fn new(address: CacheAddress) -> Self {
        Self { address, live: None, used: Instant::now(), open: None, life: Life::Any, watch: Watch::New, only_reads: false }
    }

    /// A connection that only reads, made at its first use. A command that fails for a passing reason is repeated.
    pub(super) fn for_reads(address: CacheAddress) -> Self {
        Self { only_reads: true, ..Self::new(address) }
    }

    /// Refuses to reconnect to a server that was restarted in between: it may hold less than what was written here and
    /// acknowledged.
    pub(super) fn of_one_life(self) -> Self {
        Self { life: Life::First(None), ..self }
    }

    /// Checks that the peer of an idle connection still answers, before it gets a command with a much longer time limit;
    /// otherwise the next command reconnects. The connection's watch is forgotten.
    pub(super) async fn wake(&mut self) {
        if self.used.elapsed() < IDLE {
            return;
        }
        let Some(mut live) = self.live.take() else { return };
        // A command that every user of this program may run and that does nothing.
        if let Ok(Ok(_)) = timeout(SIGN_OF_LIFE, live.req_packed_command(&cmd("UNWATCH"))).await {
            self.forget_watch();
            self.live = Some(live);
        }
    }

    /// The connection's watch. A connection that is not made yet watches nothing.
    pub(super) fn watch(&self) -> Watch {
        if self.live.is_some() { self.watch } else { Watch::New }
    }

    /// Notes what the connection watches from now on.
    pub(super) fn note_watch(&mut self, watch: Watch) {
        self.watch = watch;
    }

    /// Notes that a transaction or `UNWATCH` ends the connection's watch.
    pub(super) fn forget_watch(&mut self) {
        if self.watch == Watch::Fence {
            self.watch = Watch::Nothing;
        }
    }

    /// Runs one command. An error reply is an error.
    pub async fn command(&mut self, doing: &str, command: &Cmd, within: Duration) -> Result<Value> {
        let mut attempts = Attempts::default();
        loop {
            match self.command_once(doing, command, within).await {
                Err(error) if self.only_reads => attempts.after(error).await?,
                answer => return answer,
            }
        }
    }

    async fn command_once(&mut self, doing: &str, command: &Cmd, within: Duration) -> Result<Value> {
        let mut live = self.take(doing).await?;
        let begun = Instant::now();
        let outcome = timeout(within, live.req_packed_command(command)).await;
        note_if_slow(doing, begun);
        let value = self.settle(doing, within, live, outcome)?;
        answer(doing, value)
    }

    /// Sends all commands at once and returns the reply to each, with error replies as errors in their places.
    pub async fn pipeline(&mut self, doing: &str, pipeline: &Pipeline, within: Duration) -> Result<Vec<Result<Value>>> {
        let mut attempts = Attempts::default();
        loop {
            match self.pipeline_once(doing, pipeline, within).await {
                Err(error) if self.only_reads => attempts.after(error).await?,
                Ok(answers) if self.only_reads => match all_or_transient(answers) {
                    Err(error) => attempts.after(error).await?,
                    answers => return answers,
                },
                answers => return answers,
            }
        }
    }

    async fn pipeline_once(&mut self, doing: &str, pipeline: &Pipeline, within: Duration) -> Result<Vec<Result<Value>>> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let mut live = self.take(doing).await?;
        let begun = Instant::now();
        let outcome = timeout(within, live.req_packed_commands(pipeline, 0, pipeline.len())).await;
        note_if_slow(doing, begun);
        let values = self.settle(doing, within, live, outcome)?;
        if values.len() != pipeline.len() {
            self.live = None;
            self.open = None;
            return Err(Error::new(ErrorKind::CacheProtocol, format!("cannot {doing}: replies are missing")));
        }
        Ok(values.into_iter().map(|value| answer(doing, value)).collect())
    }

    /// Takes the connection out, so that a cancelled caller leaves none behind in an unknown state.
    async fn take(&mut self, doing: &str) -> Result<MultiplexedConnection> {
        match self.live.take() {
            Some(live) => Ok(live),
            None => {
                let mut live = connect(&self.address, doing).await?;
                self.same_life(doing, &mut live).await?;
                self.watch = Watch::New;
                self.open = Some(GaugeGuard::falkordb_connection());
                Ok(live)
            }
        }
    }

    /// If the user may not ask for the run id, this check is skipped.
    async fn same_life(&mut self, doing: &str, live: &mut MultiplexedConnection) -> Result<()> {
        let Life::First(known) = &mut self.life else { return Ok(()) };
        let message = || format!("cannot {doing}: {} does not report its run id", self.address);
        let info = match timeout(COMMAND_TIMEOUT, live.req_packed_command(cmd("INFO").arg("server"))).await {
            Ok(Ok(value)) => answer(doing, value),
            Ok(Err(error)) => Err(classify::driver_error(message(), error)),
            Err(_) => Err(Error::new(ErrorKind::CacheTimeout, message())),
        };
        let now = match info {
            Err(error) if error.kind() == ErrorKind::CachePermission => None,
            info => reply::run_id(&reply::text(&info?)?),
        };
        match (&known, &now) {
            (Some(before), Some(now)) if before != now => {
                Err(Error::new(ErrorKind::CacheChanged, format!("cannot {doing}: FalkorDB at {} was restarted", self.address)))
            }
            _ => {
                *known = known.take().or(now);
                Ok(())
            }
        }
    }

    /// Puts the connection back if it can still be used.
    fn settle<T>(
        &mut self,
        doing: &str,
        within: Duration,
        live: MultiplexedConnection,
        outcome: std::result::Result<std::result::Result<T, RedisError>, tokio::time::error::Elapsed>,
    ) -> Result<T> {
        match outcome {
            Ok(Ok(value)) => {
                self.live = Some(live);
                self.used = Instant::now();
                Ok(value)
            }
            Ok(Err(error)) => {
                let error = classify::driver_error(format!("cannot {doing} on {}", self.address), error);
                let broken = matches!(
                    error.kind(),
                    ErrorKind::CacheConnection
                        | ErrorKind::CacheTimeout
                        | ErrorKind::CacheProtocol
                        | ErrorKind::CacheAuthentication
                );
                self.live = (!broken).then_some(live);
                self.open = self.open.take().filter(|_| !broken);
                Err(error)
            }
            Err(_) => {
                let message = format!("cannot {doing}: no answer from {} within {} s", self.address, within.as_secs_f32());
                Err(Error::new(ErrorKind::CacheTimeout, message))
            }
        }
    }
}

/// Returns the answers, or the first error among them that may pass: the other answers may differ at the next try.
fn all_or_transient(mut answers: Vec<Result<Value>>) -> Result<Vec<Result<Value>>> {
    let may_pass = |answer: &Result<Value>| matches!(answer, Err(error) if error.directive() == Directive::Retry);
    match answers.iter().position(may_pass) {
        Some(place) => answers.swap_remove(place).map(|_| Vec::new()),
        None => Ok(answers),
    }
}

fn note_if_slow(doing: &str, begun: Instant) {
    let seconds = begun.elapsed();
    if seconds >= SLOW {
        tracing::debug!(doing, seconds = seconds.as_secs_f64(), "slow FalkorDB command");
    }
}

async fn connect(address: &CacheAddress, doing: &str) -> Result<MultiplexedConnection> {
    let client = client(address)?;
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
fn refusal(address: &CacheAddress, doing: &str, error: RedisError) -> Error {
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
fn foreign_protocol(address: &CacheAddress, error: &RedisError) -> Option<String> {
    if error.kind() == redis::ErrorKind::Parse {
        return Some(format!("{address} does not answer like Redis: does FalkorDB use another port?"));
    }
    let hangs_up = error.is_connection_dropped() && !error.is_connection_refusal();
    hangs_up.then(|| format!("{address} closes the connection at the first command: does FalkorDB use another port?"))
}

fn client(address: &CacheAddress) -> Result<Client> {
    let refused =
        |error| Error::caused(ErrorKind::Configuration, format!("cannot use the address {address}"), DriverFailure(error));
    let info = connection_info(address).map_err(refused)?;
    match address.tls.as_ref().and_then(|tls| tls.ca_file.as_ref()) {
        None => Client::open(info).map_err(refused),
        Some(path) => {
            let pem = std::fs::read(path)
                .map_err(|error| Error::caused(ErrorKind::Configuration, format!("cannot read {}", path.display()), error))?;
            let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem) };
            Client::build_with_tls(info, certificates).map_err(refused)
        }
    }
}

fn connection_info(address: &CacheAddress) -> std::result::Result<ConnectionInfo, RedisError> {
    let mut login = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
    if let Some(username) = &address.username {
        login = login.set_username(username);
    }
    if let Some(password) = &address.password {
        login = login.set_password(password.expose());
    }
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY);
    // Closed at once, together with unsent data: a write that was given up must not arrive after a newer one.
    let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive).set_linger_time(Duration::ZERO);
    Ok(endpoint(address).into_connection_info()?.set_redis_settings(login).set_tcp_settings(tcp))
}

fn endpoint(address: &CacheAddress) -> ConnectionAddr {
    let (host, port) = (address.host.clone(), address.port);
    match address.tls {
        Some(CacheTls { .. }) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        None => ConnectionAddr::Tcp(host, port),
    }
}

/// Converts an error reply to an error; its cause is the server's own words, stripped of values.
pub(super) fn answer(doing: &str, value: Value) -> Result<Value> {
    match value {
        Value::ServerError(error) => Err(classify::server_error(doing, &error)),
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_asked_for_again_only_where_one_of_them_may_pass() {
        let error = |kind| Err(Error::new(kind, "x"));
        let kept = all_or_transient(vec![Ok(Value::Okay), error(ErrorKind::CacheProtocol)]).unwrap();
        assert!(kept[0].is_ok() && kept[1].is_err(), "an error that stays is the caller's to look at");
        let again = all_or_transient(vec![Ok(Value::Okay), error(ErrorKind::CacheProtocol), error(ErrorKind::CacheBusy)]);
        assert_eq!(again.unwrap_err().kind(), ErrorKind::CacheBusy);
    }

    #[test]
    fn an_untrusted_certificate_is_not_waited_for() {
        let address = CacheAddress::plain("cache", 6379);
        let kind = |text: &str| refusal(&address, "ask", RedisError::from(std::io::Error::other(text.to_owned()))).kind();
        assert_eq!(kind("invalid peer certificate: UnknownIssuer"), ErrorKind::Configuration);
        assert_eq!(kind("connection reset"), ErrorKind::CacheConnection);
    }

    #[test]
    fn a_server_that_is_not_redis_is_named() {
        let address = CacheAddress::plain("cache", 7687);
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
        let tls = Some(CacheTls { ca_file: Some("/nowhere/ca.pem".into()) });
        let error =
            client(&CacheAddress { tls, ..CacheAddress::plain("cache", 6379) }).map(|_| ()).map_err(|error| error.chain());
        assert!(error.is_err_and(|text| text.contains("/nowhere/ca.pem")));
    }
}
