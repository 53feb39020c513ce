//! One dedicated connection to the cache.
//!
//! While FalkorDB runs a query, every other command on the same connection waits (measured): each caller that must not wait has
//! its own connection. A connection that timed out or broke is discarded and made again at its next use, because the driver never
//! replaces one that is merely silent.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Pipeline, RedisError, Value, cmd};
use tokio::time::{Instant, timeout};

use super::address::{CacheAddress, CacheLocation};
use super::dial::{Peer, dial};
use super::{classify, cluster, reply, sentinel};
use crate::error::{Directive, Error, ErrorKind, Result};
use crate::model::host_port::HostPort;
use crate::retry::Attempts;
use crate::telemetry::tally::GaugeGuard;

/// The time limit of a small command. FalkorDB stops everything while it commits or loads in bulk; the longest such pause seen
/// with batches of this size was well under a second, and an unlucky snapshot's fork takes a few.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that was idle for this long may have lost its peer silently. The limit is longer than the time between renewals
/// of a lease, so that a connection in constant use is not checked.
const IDLE: Duration = Duration::from_secs(2);

/// The interval at which a connection that is used several times a second asks whether the master is still the same.
const FOLLOWED_EVERY: Duration = Duration::from_secs(1);

/// The time limit for the check of an idle connection.
const SIGN_OF_LIFE: Duration = Duration::from_secs(3);

/// A command that takes this long is logged: readers of the cache may wait for it.
const SLOW: Duration = Duration::from_millis(200);

/// A connection to FalkorDB. Its single owner sends one command after another.
pub struct CacheConnection {
    address: CacheAddress,
    /// The server of the last connection.
    server: Option<HostPort>,
    live: Option<MultiplexedConnection>,
    used: Instant,
    /// The time at which the master was last asked for.
    followed: Option<Instant>,
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
        let (server, live, open, followed) = (None, None, None, None);
        let (life, watch) = (Life::Any, Watch::New);
        Self { address, server, live, used: Instant::now(), followed, open, life, watch, only_reads: false }
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

    /// Gives up a connection to a server that is no longer the master; the next command connects to the new one. A former master that
    /// is cut off from the others, or was stopped, still accepts writes, which are lost. If nobody names the master, the one that was
    /// known last stays.
    pub(super) async fn follow_master(&mut self) {
        let (true, Some(server), Some(_)) = (self.is_followed(), &self.server, &self.live) else { return };
        match master(&self.address).await {
            Ok(master) if master != *server => {
                tracing::info!(from = %server, to = %master, "master changed");
                self.hang_up();
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(error = %error.chain(), "nobody names the master"),
        }
    }

    /// As [`Self::follow_master`], at most once a second.
    pub(super) async fn follow_master_at_times(&mut self) {
        if self.followed.is_none_or(|followed| followed.elapsed() >= FOLLOWED_EVERY) {
            self.follow_master().await;
            self.followed = Some(Instant::now());
        }
    }

    fn hang_up(&mut self) {
        self.live = None;
        self.open = None;
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
        self.read(doing, value)
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
        Ok(values.into_iter().map(|value| self.read(doing, value)).collect())
    }

    /// Reads a reply. A server that is no longer the master of the graph is a lost connection, if somebody names the new one. At a
    /// fixed address it is a configuration that does not mend itself.
    fn read(&mut self, doing: &str, value: Value) -> Result<Value> {
        match reply::answer(doing, value) {
            Err(error) if is_elsewhere(error.kind()) && self.is_followed() => {
                self.hang_up();
                let message = format!("cannot {doing}: the connection no longer leads to {}", self.address);
                Err(Error::caused(ErrorKind::CacheConnection, message, error))
            }
            answer => answer,
        }
    }

    /// Whether the server can change.
    pub(super) fn is_followed(&self) -> bool {
        !matches!(self.address.location, CacheLocation::Fixed(_))
    }

    /// Takes the connection out, so that a cancelled caller leaves none behind in an unknown state.
    async fn take(&mut self, doing: &str) -> Result<MultiplexedConnection> {
        match self.live.take() {
            Some(live) => Ok(live),
            None => {
                let (server, mut live) = connect(&self.address, doing).await?;
                self.server = Some(server);
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
            Ok(Ok(value)) => reply::answer(doing, value),
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

/// Whether an error says that another server has the graph now.
fn is_elsewhere(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::CacheReadOnly | ErrorKind::CacheElsewhere)
}

/// The server of an address at this moment.
async fn master(address: &CacheAddress) -> Result<HostPort> {
    match &address.location {
        CacheLocation::Fixed(server) => Ok(server.clone()),
        CacheLocation::Sentinel(sentinels) => sentinel::master(sentinels).await,
        CacheLocation::Cluster(nodes) => cluster::master(address, nodes).await,
    }
}

async fn connect(address: &CacheAddress, doing: &str) -> Result<(HostPort, MultiplexedConnection)> {
    let server = master(address).await?;
    let CacheAddress { username, password, tls, .. } = address;
    let peer = Peer { server: &server, username: username.as_deref(), password: password.as_ref(), tls: tls.as_ref() };
    let mut live = dial(peer, doing).await?;
    if matches!(address.location, CacheLocation::Sentinel(_)) {
        sentinel::expect_master(&server, &mut live).await?;
    }
    Ok((server, live))
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
}
