//! A FalkorDB, its replica, and the sentinels that watch both.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::time::{Instant, sleep};

use super::directory::Directory;
use super::falkordb::{FalkorAddress, FalkorOptions, FalkorServer};
use super::process::{Program, Restartable};
use super::{blocking, download, ports};
use crate::support::{Error, Result, deadline};

/// The name of the master at the sentinels.
pub const SERVICE: &str = "cache";

/// The password of the sentinels, and that of the servers.
pub const SENTINEL_PASSWORD: &str = "of-the-sentinels";
pub const SERVER_PASSWORD: &str = "of-the-servers";

/// The user as whom a replica logs in to its master.
pub const REPLICA_USER: &str = "replica";

/// The silence after which a sentinel takes a server for dead: as short as a busy machine bears. A server that is taken for dead too
/// early is replaced before the test does anything to it.
const DOWN_AFTER_MS: u32 = 5000;

/// Three, so that the end of one leaves a majority.
const SENTINELS: usize = 3;

const START: Duration = Duration::from_secs(60);

/// A failover takes some seconds after the master is taken for dead, and half a minute more if a sentinel stood still meanwhile.
const FAILOVER: Duration = deadline::EVENT;

pub struct Sentinel {
    // Before the directory: fields are dropped in this order, and a running sentinel would write to it again.
    process: Restartable,
    _directory: Directory,
    address: FalkorAddress,
}

pub struct Replicated {
    pub servers: [FalkorServer; 2],
    pub sentinels: Vec<Sentinel>,
}

impl Sentinel {
    async fn start(master: &FalkorServer) -> Result<Self> {
        let programs = blocking(download::falkordb).await?;
        let directory = Directory::new("sentinel")?;
        let port = ports::free()?;
        let configuration = directory.join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nrequirepass {SENTINEL_PASSWORD}\nsentinel sentinel-pass {SENTINEL_PASSWORD}\n\
             sentinel monitor {SERVICE} 127.0.0.1 {} 2\nsentinel auth-pass {SERVICE} {SERVER_PASSWORD}\n\
             sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\nsentinel failover-timeout {SERVICE} 10000\n",
            directory.path().display(),
            master.port()
        );
        std::fs::write(&configuration, text).map_err(Error::file("cannot write", &configuration))?;
        let program = Program {
            server: "Sentinel",
            executable: programs.join("redis-server"),
            arguments: vec![configuration.display().to_string(), "--sentinel".to_owned()],
            environment: Vec::new(),
            log: directory.join("console.log"),
        };
        let password = Some(SENTINEL_PASSWORD.to_owned());
        let address = FalkorAddress { host: "127.0.0.1".to_owned(), port, username: None, password };
        let sentinel = Self { process: Restartable::start(program)?, _directory: directory, address };
        sentinel.process.until_ready(START, || sentinel.address.try_to_connect()).await?;
        Ok(sentinel)
    }

    pub fn port(&self) -> u16 {
        self.address.port
    }

    async fn try_to_connect(&self) -> Result<MultiplexedConnection> {
        self.address.try_to_connect().await
    }

    pub fn kill(&self) {
        self.process.kill();
    }
}

impl Replicated {
    /// Starts a master, its replica and three sentinels, and waits until each sentinel knows all of them.
    pub async fn start() -> Result<Self> {
        let password = format!(">{SERVER_PASSWORD}");
        let replica_user = ["--user", REPLICA_USER, "on", &password, "~*", "&*", "+@all"];
        // A replica need not wait for others that may want the same snapshot.
        let login = ["--masteruser", REPLICA_USER, "--masterauth", SERVER_PASSWORD, "--repl-diskless-sync-delay", "0"];
        let options = |arguments: &[&str]| FalkorOptions {
            arguments: [&replica_user[..], &login[..], arguments].concat().iter().map(|text| (*text).to_owned()).collect(),
            password: Some(SERVER_PASSWORD.to_owned()),
        };
        let master = FalkorServer::start_with(options(&[])).await?;
        let replica = FalkorServer::start_with(options(&["--replicaof", "127.0.0.1", &master.port().to_string()])).await?;
        let mut sentinels = Vec::new();
        for _ in 0..SENTINELS {
            sentinels.push(Sentinel::start(&master).await?);
        }
        let replicated = Self { servers: [master, replica], sentinels };
        replicated.until_replicated().await?;
        Ok(replicated)
    }

    /// The sentinels, as a setting lists them.
    pub fn hosts(&self) -> String {
        self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect::<Vec<_>>().join(",")
    }

    /// The port of the master according to the first sentinel that answers.
    pub async fn master_port(&self) -> Result<u16> {
        for sentinel in &self.sentinels {
            let Ok(mut connection) = sentinel.try_to_connect().await else { continue };
            let (_, port): (String, String) =
                redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(SERVICE).query_async(&mut connection).await?;
            return port.parse().map_err(|_| Error::Unexpected(format!("{port} is no port")));
        }
        Err(Error::Unexpected("no sentinel answers".to_owned()))
    }

    /// The server that is the master now, and the other one.
    pub async fn roles(&self) -> Result<(&FalkorServer, &FalkorServer)> {
        let port = self.master_port().await?;
        let [one, other] = &self.servers;
        Ok(if one.port() == port { (one, other) } else { (other, one) })
    }

    /// Waits until the sentinels name another master than the one of this port.
    pub async fn until_failed_over(&self, from: u16) -> Result<()> {
        self.until("another master", async || Ok(self.master_port().await? != from)).await
    }

    /// Waits until each sentinel knows the others and the replica, and the replica has received everything.
    pub async fn until_replicated(&self) -> Result<()> {
        self.until("a complete set of servers", async || {
            for sentinel in &self.sentinels {
                let mut connection = sentinel.try_to_connect().await?;
                let known: std::collections::HashMap<String, String> =
                    redis::cmd("SENTINEL").arg("MASTER").arg(SERVICE).query_async(&mut connection).await?;
                let has = |name: &str, number: usize| known.get(name).is_some_and(|found| *found == number.to_string());
                if !has("num-slaves", 1) || !has("num-other-sentinels", SENTINELS - 1) || known["flags"] != "master" {
                    return Ok(false);
                }
            }
            let (_, replica) = self.roles().await?;
            let mut connection = replica.address().try_to_connect().await?;
            let state: String = redis::cmd("INFO").arg("replication").query_async(&mut connection).await?;
            Ok(state.contains("role:slave") && state.contains("master_link_status:up"))
        })
        .await
    }

    async fn until(&self, what: &str, reached: impl AsyncFn() -> Result<bool>) -> Result<()> {
        let began = Instant::now();
        while !reached().await.unwrap_or(false) {
            if began.elapsed() > FAILOVER {
                return Err(Error::Timeout { what: what.to_owned(), after: FAILOVER });
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}
