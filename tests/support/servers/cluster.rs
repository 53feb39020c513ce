//! A Redis cluster of FalkorDB servers: masters that share the slots, and a replica of each.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::time::{Instant, sleep};

use super::falkordb::{FalkorOptions, FalkorServer};
use super::ports;
use crate::support::{Error, Result};

/// Of 16384 slots.
const RANGES: [(u16, u16); 3] = [(0, 5460), (5461, 10922), (10923, 16383)];

/// The silence after which the other nodes take one for dead: as short as a busy machine bears.
const SHORT_NODE_TIMEOUT_MS: u32 = 2000;

/// Where no node dies, one that a busy machine holds up must not be taken for dead.
const LONG_NODE_TIMEOUT_MS: u32 = 15_000;

/// Nodes get to know each other in seconds, and a failover takes as long.
const PATIENCE: Duration = Duration::from_secs(90);

pub struct Cluster {
    /// The first three begin as masters, and each of the others as the replica of the one three places before.
    pub servers: Vec<FalkorServer>,
}

/// A node as another node describes it.
struct Node {
    id: String,
    port: u16,
    is_master: bool,
    fails: bool,
    slots: Vec<(u16, u16)>,
}

async fn ask<T: redis::FromRedisValue>(server: &FalkorServer, command: &[&str]) -> Result<T> {
    let mut connection = server.address().try_to_connect().await?;
    ask_on(&mut connection, command).await
}

async fn ask_on<T: redis::FromRedisValue>(connection: &mut MultiplexedConnection, command: &[&str]) -> Result<T> {
    let mut built = redis::cmd(command[0]);
    built.arg(&command[1..]);
    Ok(built.query_async(connection).await?)
}

impl Node {
    /// Reads a line of CLUSTER NODES: id, address, flags, master, three numbers, state, slots.
    fn read(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let port = words.get(1)?.split('@').next()?.rsplit(':').next()?.parse().ok()?;
        let range = |word: &&str| {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        let flags = words.get(2)?;
        Some(Self {
            id: (*words.first()?).to_owned(),
            port,
            is_master: flags.contains("master"),
            fails: flags.contains("fail"),
            slots: words.iter().skip(8).filter_map(range).collect(),
        })
    }
}

impl Cluster {
    /// For a test in which no node dies.
    pub async fn start() -> Result<Self> {
        Self::start_with(LONG_NODE_TIMEOUT_MS).await
    }

    /// For a test in which a replica follows a master that dies.
    pub async fn start_with_failovers() -> Result<Self> {
        Self::start_with(SHORT_NODE_TIMEOUT_MS).await
    }

    async fn start_with(node_timeout_ms: u32) -> Result<Self> {
        let timeout = node_timeout_ms.to_string();
        let cluster = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", &timeout];
        // A replica need not wait for others that may want the same snapshot.
        let arguments = [&cluster[..], &["--repl-diskless-sync-delay", "0"]].concat();
        let (mut servers, mut buses) = (Vec::new(), Vec::new());
        for _ in 0..2 * RANGES.len() {
            // By default ten thousand above the server's port: the system may have given that one to a client.
            let bus = ports::free()?.to_string();
            let arguments = arguments.iter().chain(&["--cluster-port", &bus]).map(|text| (*text).to_owned()).collect();
            servers.push(FalkorServer::start_with(FalkorOptions { arguments, password: None }).await?);
            buses.push(bus);
        }
        let cluster = Self { servers };
        for (server, (first, last)) in cluster.servers.iter().zip(RANGES) {
            ask::<()>(server, &["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]).await?;
        }
        for (server, bus) in cluster.servers.iter().zip(&buses).skip(1) {
            ask::<()>(&cluster.servers[0], &["CLUSTER", "MEET", "127.0.0.1", &server.port().to_string(), bus]).await?;
        }
        let all = cluster.servers.len();
        cluster.until("nodes that know each other", async |nodes| nodes.len() == all).await?;
        for (master, replica) in cluster.servers.iter().zip(&cluster.servers[RANGES.len()..]) {
            let id: String = ask(master, &["CLUSTER", "MYID"]).await?;
            ask::<()>(replica, &["CLUSTER", "REPLICATE", &id]).await?;
        }
        cluster.until_whole().await?;
        Ok(cluster)
    }

    /// The nodes, as a setting lists them.
    pub fn hosts(&self) -> String {
        self.servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect::<Vec<_>>().join(",")
    }

    /// Waits until all slots have a master that answers, and each master a replica that has received everything.
    pub async fn until_whole(&self) -> Result<()> {
        self.until("a complete cluster", async |nodes| {
            let masters = nodes.iter().filter(|node| node.is_master && !node.fails && !node.slots.is_empty()).count();
            masters == RANGES.len() && nodes.iter().all(|node| !node.fails) && self.is_replicated().await
        })
        .await
    }

    async fn is_replicated(&self) -> bool {
        for server in &self.servers {
            let Ok(state) = ask::<String>(server, &["INFO", "replication"]).await else { return false };
            if state.contains("role:slave") && !state.contains("master_link_status:up") {
                return false;
            }
        }
        true
    }

    async fn until(&self, what: &str, reached: impl AsyncFn(&[Node]) -> bool) -> Result<()> {
        let began = Instant::now();
        loop {
            let mut all_agree = true;
            for server in &self.servers {
                match nodes(server).await {
                    Ok(nodes) => all_agree &= reached(&nodes).await,
                    // A server that is dead does not count: the others say that it fails.
                    Err(_) => all_agree &= server.has_ended(),
                }
            }
            if all_agree {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(Error::Timeout { what: what.to_owned(), after: PATIENCE });
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The master of a graph's slot, according to a server that is alive.
    pub async fn master_of(&self, graph: &str) -> Result<&FalkorServer> {
        let mut newest = None;
        for server in &self.servers {
            let Ok(info) = ask::<String>(server, &["CLUSTER", "INFO"]).await else { continue };
            let epoch = info.lines().find_map(|line| line.strip_prefix("cluster_current_epoch:")?.trim().parse::<u64>().ok());
            let Ok(known) = nodes(server).await else { continue };
            if newest.as_ref().is_none_or(|(before, _)| *before < epoch) {
                newest = Some((epoch, known));
            }
        }
        let (_, known) = newest.ok_or_else(|| Error::Unexpected("no node answers".to_owned()))?;
        let slot = self.slot(graph).await?;
        let is_master = |node: &&Node| node.is_master && node.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot));
        let port = known.iter().find(is_master).map(|node| node.port);
        self.servers.iter().find(|server| Some(server.port()) == port).ok_or_else(|| Error::Unexpected("no master".to_owned()))
    }

    async fn slot(&self, graph: &str) -> Result<u16> {
        for server in &self.servers {
            if let Ok(slot) = ask::<u16>(server, &["CLUSTER", "KEYSLOT", graph]).await {
                return Ok(slot);
            }
        }
        Err(Error::Unexpected("no node answers".to_owned()))
    }

    /// Waits until a graph's slot has another master than the one of this port.
    pub async fn until_failed_over(&self, graph: &str, from: u16) -> Result<()> {
        let began = Instant::now();
        while self.master_of(graph).await.map_or(true, |master| master.port() == from) {
            if began.elapsed() > PATIENCE {
                return Err(Error::Timeout { what: "another master".to_owned(), after: PATIENCE });
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Moves a graph's slot with all its keys to another master, as `redis-cli --cluster reshard` does. Returns an error if the
    /// server cannot move a key.
    pub async fn move_slot(&self, graph: &str) -> Result<()> {
        let slot = self.slot(graph).await?;
        let from = self.master_of(graph).await?;
        let mut masters = Vec::new();
        for server in &self.servers {
            if ask::<String>(server, &["INFO", "replication"]).await?.contains("role:master") {
                masters.push(server);
            }
        }
        let to = *masters.iter().find(|server| server.port() != from.port()).ok_or(Error::NoPort)?;
        let (slot, from_id, to_id) =
            (slot.to_string(), ask::<String>(from, &["CLUSTER", "MYID"]).await?, ask::<String>(to, &["CLUSTER", "MYID"]).await?);
        ask::<()>(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await?;
        ask::<()>(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await?;
        loop {
            let keys: Vec<String> = ask(from, &["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).await?;
            if keys.is_empty() {
                break;
            }
            let port = to.port().to_string();
            let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "10000", "REPLACE", "KEYS"];
            command.extend(keys.iter().map(String::as_str));
            ask::<redis::Value>(from, &command).await?;
        }
        for server in [to, from].into_iter().chain(masters.iter().copied()) {
            ask::<()>(server, &["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).await?;
        }
        Ok(())
    }
}

async fn nodes(server: &FalkorServer) -> Result<Vec<Node>> {
    let text: String = ask(server, &["CLUSTER", "NODES"]).await?;
    Ok(text.lines().filter_map(Node::read).collect())
}
