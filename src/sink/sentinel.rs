//! Redis Sentinel: finds the server that is the master now.

use std::time::Duration;

use futures::future::join_all;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Value, cmd};
use tokio::time::timeout;

use super::address::SentinelAddress;
use super::dial::{Peer, dial};
use super::{classify, reply};
use crate::error::{Error, ErrorKind, Result};
use crate::model::host_port::HostPort;

/// The time for all answers of one sentinel, the connection included. A sentinel that is down must not delay the others, and the
/// lease must be renewed within seconds.
const SENTINEL_TIMEOUT: Duration = Duration::from_secs(1);

/// What a sentinel says about the master.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    /// The number of the failover that made this server the master.
    epoch: u64,
    master: HostPort,
}

/// Returns the master. All sentinels are asked at the same time, and the answer after the most failovers counts: a sentinel that was
/// cut off from the others still names a former master.
pub(super) async fn master(address: &SentinelAddress) -> Result<HostPort> {
    let answers = join_all(address.hosts.iter().map(|host| ask(address, host))).await;
    let mut reasons = Vec::new();
    let mut newest: Option<Told> = None;
    for answer in answers {
        match answer {
            Ok(told) if newest.as_ref().is_none_or(|newest| told.epoch > newest.epoch) => newest = Some(told),
            Ok(_) => {}
            Err(error) => reasons.push(error),
        }
    }
    newest.map(|told| told.master).ok_or_else(|| no_master(address, reasons))
}

/// The error if no sentinel names a master. What a sentinel answers says more than that another one does not answer: a wrong password
/// or an unknown service does not pass by itself.
fn no_master(address: &SentinelAddress, mut reasons: Vec<Error>) -> Error {
    let message = format!("no sentinel names the master of {}", address.service);
    // The sort keeps the order of the sentinels otherwise.
    reasons.sort_by_key(|reason| reason.kind() == ErrorKind::CacheConnection);
    match reasons.into_iter().next() {
        Some(first) => Error::caused(first.kind(), message, first),
        None => Error::new(ErrorKind::CacheConnection, message),
    }
}

async fn ask(address: &SentinelAddress, host: &HostPort) -> Result<Told> {
    let doing = format!("ask the sentinel {host}");
    let silent = |_| Error::new(ErrorKind::CacheConnection, format!("cannot {doing}: no answer within 1 s"));
    timeout(SENTINEL_TIMEOUT, ask_once(address, host, &doing)).await.map_err(silent)?
}

async fn ask_once(address: &SentinelAddress, host: &HostPort, doing: &str) -> Result<Told> {
    let SentinelAddress { service, username, password, tls, .. } = address;
    let peer = Peer { server: host, username: username.as_deref(), password: password.as_ref(), tls: tls.as_ref() };
    let mut live = dial(peer, doing).await?;
    let command = cmd("SENTINEL").arg("MASTER").arg(service).to_owned();
    let value = live.req_packed_command(&command).await.map_err(|error| failed(doing, service, error))?;
    told(reply::answer(doing, value).map_err(|error| unknown_service(doing, service, error))?)
}

fn failed(doing: &str, service: &str, error: redis::RedisError) -> Error {
    unknown_service(doing, service, classify::driver_error(format!("cannot {doing}"), error))
}

/// A sentinel answers only about the services that it watches.
fn unknown_service(doing: &str, service: &str, error: Error) -> Error {
    if error.kind() != ErrorKind::CacheRefused {
        return error;
    }
    Error::caused(ErrorKind::Configuration, format!("cannot {doing}: it does not watch the service {service}"), error)
}

/// Reads the answer: pairs of a name and a text.
fn told(answer: Value) -> Result<Told> {
    let (mut epoch, mut host, mut port) = (None, None, None);
    for (name, value) in reply::pairs(answer)? {
        match name.as_str() {
            "config-epoch" => epoch = reply::text(&value)?.parse().ok(),
            "ip" => host = Some(reply::text(&value)?),
            "port" => port = reply::text(&value)?.parse().ok(),
            _ => {}
        }
    }
    match (epoch, host, port) {
        (Some(epoch), Some(host), Some(port)) => Ok(Told { epoch, master: HostPort::new(host, port) }),
        _ => Err(reply::unexpected("a sentinel's description of the master")),
    }
}

/// Fails if a server is a replica: a sentinel can name the former master for a moment, which is one soon. A user that may not ask
/// learns it from the first write.
pub(super) async fn expect_master(server: &HostPort, live: &mut MultiplexedConnection) -> Result<()> {
    const DOING: &str = "read the role of the server";
    let silent = |_| Error::new(ErrorKind::CacheConnection, format!("cannot {DOING}: no answer from {server} within 1 s"));
    let asked = timeout(SENTINEL_TIMEOUT, live.req_packed_command(&cmd("ROLE"))).await.map_err(silent)?;
    let value = asked.map_err(|error| classify::driver_error(format!("cannot {DOING}"), error))?;
    let role = match reply::answer(DOING, value) {
        Err(error) if error.kind() == ErrorKind::CachePermission => return Ok(()),
        role => reply::array(role?)?,
    };
    match role.first().map(reply::text).transpose()?.as_deref() {
        Some("master") => Ok(()),
        _ => Err(Error::new(ErrorKind::CacheConnection, format!("the sentinels name {server}, which is a replica"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn flat(pairs: &[(&str, &str)]) -> Value {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        Value::Array(pairs.iter().flat_map(|(name, value)| [text(name), text(value)]).collect())
    }

    fn mapped(pairs: &[(&str, &str)]) -> Value {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        Value::Map(pairs.iter().map(|(name, value)| (text(name), text(value))).collect())
    }

    const SAID: [(&str, &str); 5] =
        [("name", "cache"), ("ip", "10.0.0.7"), ("port", "6379"), ("flags", "master"), ("config-epoch", "3")];

    #[test]
    fn a_sentinel_tells_the_master_and_the_failover_that_made_it() {
        let expected = Told { epoch: 3, master: HostPort::new("10.0.0.7", 6379) };
        assert_eq!(told(flat(&SAID)).unwrap(), expected);
        assert_eq!(told(mapped(&SAID)).unwrap(), expected);
        assert!(told(flat(&SAID[..3])).is_err());
        assert!(told(Value::Nil).is_err());
    }

    #[test]
    fn what_a_sentinel_answers_counts_more_than_silence() {
        let address = SentinelAddress {
            service: "cache".to_owned(),
            hosts: vec![HostPort::new("a", 26379)],
            username: None,
            password: None,
            tls: None,
        };
        let error = |kind| Error::new(kind, "x");
        let kind = |reasons| no_master(&address, reasons).kind();
        assert_eq!(kind(vec![error(ErrorKind::CacheConnection), error(ErrorKind::Configuration)]), ErrorKind::Configuration);
        assert_eq!(kind(vec![error(ErrorKind::CacheConnection)]), ErrorKind::CacheConnection);
    }
}
