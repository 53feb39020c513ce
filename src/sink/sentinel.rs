//! Redis Sentinel: finds the server that is the master now.

use std::time::Duration;

use futures::future::join_all;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Pipeline, Value, cmd};
use tokio::time::timeout;

use super::address::SentinelAddress;
use super::dial::{Peer, dial};
use super::witness::{Testimony, newest};
use super::{classify, reply};
use crate::error::{Error, ErrorKind, Result};
use crate::model::host_port::HostPort;

/// The time for all answers of one sentinel, the connection included. A sentinel that is down must not delay the others, and the
/// lease must be renewed within seconds.
const SENTINEL_TIMEOUT: Duration = Duration::from_secs(1);

/// Returns the master. All sentinels are asked at the same time, and the answer after the most failovers counts: a sentinel that was
/// cut off from the others still names a former master.
pub(super) async fn master(address: &SentinelAddress) -> Result<HostPort> {
    let answers = join_all(address.hosts.iter().map(|host| ask(address, host))).await;
    newest(answers, || format!("no sentinel names the master of {}", address.service))
}

async fn ask(address: &SentinelAddress, host: &HostPort) -> Result<Testimony<u64>> {
    let doing = format!("ask the sentinel {host}");
    let silent = |_| Error::new(ErrorKind::CacheConnection, format!("cannot {doing}: no answer within 1 s"));
    timeout(SENTINEL_TIMEOUT, ask_once(address, host, &doing)).await.map_err(silent)?
}

async fn ask_once(address: &SentinelAddress, host: &HostPort, doing: &str) -> Result<Testimony<u64>> {
    let SentinelAddress { service, username, password, tls, .. } = address;
    let peer = Peer { server: host, username: username.as_deref(), password: password.as_ref(), tls: tls.as_ref() };
    let mut live = dial(peer, doing).await?;
    let mut questions = Pipeline::new();
    // While a failover lasts, the description of the master still has the address of the former one, but the new epoch.
    questions.add_command(cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(service).to_owned());
    questions.add_command(cmd("SENTINEL").arg("MASTER").arg(service).to_owned());
    let failed = |error| unknown_service(doing, service, classify::driver_error(format!("cannot {doing}"), error));
    let values = live.req_packed_commands(&questions, 0, questions.len()).await.map_err(failed)?;
    let read = |value| reply::answer(doing, value).map_err(|error| unknown_service(doing, service, error));
    let mut answers = values.into_iter().map(read);
    let mut next = || answers.next().unwrap_or_else(|| Err(reply::unexpected("an answer to each question")));
    let (address, description) = (next()?, next()?);
    Ok(Testimony { rank: epoch(description)?, master: place(address)? })
}

/// A sentinel answers only about the services that it watches.
fn unknown_service(doing: &str, service: &str, error: Error) -> Error {
    if error.kind() != ErrorKind::CacheRefused {
        return error;
    }
    Error::caused(ErrorKind::Configuration, format!("cannot {doing}: it does not watch the service {service}"), error)
}

/// Reads the number of the failover that made the master, from the pairs of a name and a text that describe it.
fn epoch(description: Value) -> Result<u64> {
    let pairs = reply::pairs(description)?;
    let epoch = pairs.iter().find(|(name, _)| name == "config-epoch").map(|(_, value)| reply::text(value)).transpose()?;
    epoch.and_then(|epoch| epoch.parse().ok()).ok_or_else(|| reply::unexpected("a sentinel's description of the master"))
}

/// Reads a host and a port. A sentinel that does not watch the service names none.
fn place(address: Value) -> Result<HostPort> {
    let parts = reply::array(address)?;
    let (host, port) = (reply::text(reply::cell(&parts, 0)?)?, reply::text(reply::cell(&parts, 1)?)?);
    Ok(HostPort { host, port: port.parse().map_err(|_| reply::unexpected("a port"))? })
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
        [("name", "cache"), ("ip", "10.0.0.6"), ("port", "6379"), ("flags", "master"), ("config-epoch", "3")];

    #[test]
    fn a_sentinel_tells_the_master_and_the_failover_that_made_it() {
        assert_eq!((epoch(flat(&SAID)).unwrap(), epoch(mapped(&SAID)).unwrap()), (3, 3));
        assert!(epoch(flat(&SAID[..4])).is_err() && epoch(Value::Nil).is_err());
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        assert_eq!(place(Value::Array(vec![text("10.0.0.7"), text("6379")])).unwrap(), HostPort::new("10.0.0.7", 6379));
        assert!(place(Value::Nil).is_err() && place(Value::Array(vec![text("a")])).is_err());
    }
}
