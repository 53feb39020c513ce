//! Redis Cluster: finds the node that is the master of a graph's slot.

use std::time::Duration;

use futures::future::join_all;
use redis::aio::ConnectionLike;
use redis::{Pipeline, Value, cmd};
use tokio::time::timeout;

use super::address::{CacheAddress, ClusterAddress};
use super::dial::{Peer, dial};
use super::witness::{Testimony, newest};
use super::{classify, reply};
use crate::error::{Error, ErrorKind, Result};
use crate::model::host_port::HostPort;

/// The time for all answers of one node, the connection included. A node that is down must not delay the others, and the lease must
/// be renewed within seconds.
const NODE_TIMEOUT: Duration = Duration::from_secs(1);

/// The number of the cluster's last change that a node knows, and whether the node names itself as the master. Other nodes can know the
/// number of a change before they know the new master.
type Rank = (u64, bool);

/// Returns the master of the graph's slot. All nodes are asked at the same time, and the answer of the one that knows the last change
/// counts: a node that was cut off from the others still names a former master.
pub(super) async fn master(address: &CacheAddress, cluster: &ClusterAddress) -> Result<HostPort> {
    let answers = join_all(cluster.hosts.iter().map(|host| ask(address, cluster, host))).await;
    newest(answers, || format!("no node of the cluster names the master of the slot of {}", cluster.graph))
}

async fn ask(address: &CacheAddress, cluster: &ClusterAddress, host: &HostPort) -> Result<Testimony<Rank>> {
    let doing = format!("ask the node {host} about the cluster");
    let silent = |_| Error::new(ErrorKind::CacheConnection, format!("cannot {doing}: no answer within 1 s"));
    timeout(NODE_TIMEOUT, ask_once(address, cluster, host, &doing)).await.map_err(silent)?
}

async fn ask_once(address: &CacheAddress, cluster: &ClusterAddress, host: &HostPort, doing: &str) -> Result<Testimony<Rank>> {
    let CacheAddress { username, password, tls, .. } = address;
    let peer = Peer { server: host, username: username.as_deref(), password: password.as_ref(), tls: tls.as_ref() };
    let mut live = dial(peer, doing).await?;
    let mut questions = Pipeline::new();
    questions.add_command(cmd("CLUSTER").arg("KEYSLOT").arg(&cluster.graph).to_owned());
    questions.add_command(cmd("CLUSTER").arg("INFO").to_owned());
    questions.add_command(cmd("CLUSTER").arg("SLOTS").to_owned());
    let failed = |error| classify::driver_error(format!("cannot {doing}"), error);
    let values = live.req_packed_commands(&questions, 0, questions.len()).await.map_err(failed)?;
    let mut answers = values.into_iter().map(|value| reply::answer(doing, value).map_err(|error| no_cluster(host, error)));
    let mut next = || answers.next().unwrap_or_else(|| Err(reply::unexpected("an answer to each question")));
    let slot = reply::integer(&next()?)?;
    let epoch = epoch(&reply::text(&next()?)?)?;
    let master = master_of(slot, next()?, host)?;
    Ok(Testimony { rank: (epoch, master.is_same(host)), master })
}

/// A server that is no node of a cluster refuses these questions.
fn no_cluster(host: &HostPort, error: Error) -> Error {
    if error.kind() != ErrorKind::CacheRefused {
        return error;
    }
    Error::caused(ErrorKind::Configuration, format!("{host} is no node of a Redis cluster"), error)
}

fn epoch(info: &str) -> Result<u64> {
    let number = info.lines().find_map(|line| line.strip_prefix("cluster_current_epoch:"));
    number.and_then(|number| number.trim().parse().ok()).ok_or_else(|| reply::unexpected("the state of a cluster"))
}

/// Reads the ranges of slots with their nodes, of which the first is the master.
fn master_of(slot: i64, ranges: Value, asked: &HostPort) -> Result<HostPort> {
    for range in reply::array(ranges)? {
        let range = reply::array(range)?;
        let (first, last) = (reply::integer(reply::cell(&range, 0)?)?, reply::integer(reply::cell(&range, 1)?)?);
        if (first..=last).contains(&slot) {
            let node = reply::array(reply::cell(&range, 2)?.clone())?;
            return node_of(&node, asked);
        }
    }
    let message = format!("no node of the cluster serves the slot {slot}");
    Err(Error::new(ErrorKind::CacheConnection, message))
}

/// A node that does not know its own address leaves it out, or writes a question mark: it is the one under which it was asked.
fn node_of(node: &[Value], asked: &HostPort) -> Result<HostPort> {
    let host = reply::optional_text(reply::cell(node, 0)?)?.filter(|host| !host.is_empty() && host != "?");
    let port = u16::try_from(reply::integer(reply::cell(node, 1)?)?).map_err(|_| reply::unexpected("a port"))?;
    Ok(HostPort { host: host.unwrap_or_else(|| asked.host.clone()), port })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn range(first: i64, last: i64, nodes: &[(&str, i64)]) -> Value {
        let node =
            |(host, port): &(&str, i64)| Value::Array(vec![text(host), Value::Int(*port), text("id"), Value::Array(Vec::new())]);
        Value::Array([Value::Int(first), Value::Int(last)].into_iter().chain(nodes.iter().map(node)).collect())
    }

    #[test]
    fn the_first_node_of_a_range_is_the_master_of_its_slots() {
        let ranges = || {
            Value::Array(vec![
                range(0, 5460, &[("10.0.0.1", 6379), ("10.0.0.4", 6379)]),
                range(5461, 10922, &[("", 6380), ("10.0.0.5", 6379)]),
                range(10923, 16383, &[("?", 6381)]),
            ])
        };
        let asked = HostPort::new("b", 1);
        let master = |slot| master_of(slot, ranges(), &asked).unwrap();
        assert_eq!((master(0), master(5460)), (HostPort::new("10.0.0.1", 6379), HostPort::new("10.0.0.1", 6379)));
        assert_eq!(master(5461), HostPort::new("b", 6380), "it does not know its own address");
        assert_eq!(master(16383), HostPort::new("b", 6381));
        let gap = master_of(1, Value::Array(vec![range(5, 9, &[("a", 1)])]), &asked).unwrap_err();
        assert_eq!(gap.kind(), ErrorKind::CacheConnection, "a cluster that is not complete may become so");
    }

    #[test]
    fn the_epoch_is_read() {
        assert_eq!(epoch("cluster_state:ok\r\ncluster_current_epoch:7\r\ncluster_my_epoch:2\r\n").unwrap(), 7);
        assert!(epoch("cluster_state:ok\r\n").is_err());
    }
}
