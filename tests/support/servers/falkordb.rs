//! FalkorDB (Redis with its module) as a child process.

use std::path::Path;
use std::time::Duration;

use redis::aio::MultiplexedConnection;

use super::directory::Directory;
use super::process::{Program, Restartable};
use super::{blocking, download, ports};
use crate::support::Result;
use crate::support::deadline::{self, within};

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(20);
const ATTEMPT: Duration = Duration::from_secs(5);

/// Where a FalkorDB is and how to get in; enough to connect from any runtime.
#[derive(Clone)]
pub struct FalkorAddress {
    pub host: String,
    pub port: u16,
    pub username: Option<String>,
    pub password: Option<String>,
}

impl FalkorAddress {
    /// A new connection. Make one per runtime: its task does not outlive the runtime that made it.
    pub async fn connect(&self) -> Result<MultiplexedConnection> {
        self.connect_within(deadline::CONNECT).await
    }

    /// As [`Self::connect`], for a caller that asks again if the server does not answer: it may be dead, frozen or not up yet.
    pub async fn try_to_connect(&self) -> Result<MultiplexedConnection> {
        self.connect_within(ATTEMPT).await
    }

    async fn connect_within(&self, limit: Duration) -> Result<MultiplexedConnection> {
        let settings = redis::RedisConnectionInfo::default();
        let settings = match &self.username {
            Some(username) => settings.set_username(username),
            None => settings,
        };
        let settings = match &self.password {
            Some(password) => settings.set_password(password),
            None => settings,
        };
        let address = redis::ConnectionAddr::Tcp(self.host.clone(), self.port);
        let info = redis::IntoConnectionInfo::into_connection_info(address)?.set_redis_settings(settings);
        let client = redis::Client::open(info)?;
        // The driver's own limit for a reply is half a second, which a large query exceeds.
        let config =
            redis::AsyncConnectionConfig::new().set_connection_timeout(Some(limit)).set_response_timeout(Some(deadline::QUERY));
        let connect = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = within(limit, "connecting to FalkorDB", connect).await?;
        let ping = redis::cmd("PING");
        let _: redis::Value = within(limit, "a PING of FalkorDB", ping.query_async(&mut connection)).await?;
        Ok(connection)
    }
}

#[derive(Clone, Default)]
pub struct FalkorOptions {
    /// More arguments of redis-server, such as `--maxmemory 100mb`.
    pub arguments: Vec<String>,
    /// The password that `--requirepass` sets.
    pub password: Option<String>,
}

pub struct FalkorServer {
    // Before the directory: fields are dropped in this order, and a running server would write to it again.
    process: Restartable,
    directory: Directory,
    address: FalkorAddress,
}

impl FalkorServer {
    pub async fn start() -> Result<Self> {
        Self::start_with(FalkorOptions::default()).await
    }

    pub async fn start_with(options: FalkorOptions) -> Result<Self> {
        let programs = blocking(download::falkordb).await?;
        let directory = Directory::new("falkordb")?;
        let port = ports::free()?;
        let program = Program {
            server: "FalkorDB",
            executable: programs.join("redis-server"),
            arguments: arguments(&programs, directory.path(), port, &options),
            environment: Vec::new(),
            log: directory.join("console.log"),
        };
        let server = Self {
            process: Restartable::start(program)?,
            directory,
            address: FalkorAddress { host: "127.0.0.1".to_owned(), port, username: None, password: options.password },
        };
        server.until_ready().await?;
        Ok(server)
    }

    pub fn address(&self) -> FalkorAddress {
        self.address.clone()
    }

    pub fn host(&self) -> &str {
        &self.address.host
    }

    pub fn port(&self) -> u16 {
        self.address.port
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub async fn connect(&self) -> Result<MultiplexedConnection> {
        self.address.connect().await
    }

    /// SIGTERM, and waits for the end. Data on disk and the port are kept for [`Self::restart`]; by default
    /// nothing is on disk, so a restarted server is empty.
    pub async fn stop(&self) {
        self.process.stop(STOP).await;
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.process.kill();
    }

    pub fn has_ended(&self) -> bool {
        self.process.ended().is_some()
    }

    /// SIGSTOP: its sockets stay open and nothing answers.
    pub fn pause(&self) {
        self.process.pause();
    }

    pub fn resume(&self) {
        self.process.resume();
    }

    /// Ends it if it still runs, and starts it again with the same port and directory.
    pub async fn restart(&self) -> Result<()> {
        self.process.restart(STOP).await?;
        self.until_ready().await
    }

    async fn until_ready(&self) -> Result<()> {
        self.process.until_ready(START, || self.address.try_to_connect()).await?;
        Ok(())
    }
}

fn arguments(programs: &Path, directory: &Path, port: u16, options: &FalkorOptions) -> Vec<String> {
    let module = programs.join("falkordb.so").display().to_string();
    let directory = directory.display().to_string();
    let port = port.to_string();
    let fixed = [
        "--port",
        &port,
        "--bind",
        "127.0.0.1",
        "--dir",
        &directory,
        "--save",
        "",
        "--appendonly",
        "no",
        // As compose.yaml sets it, and for the reason that docs/compatibility.md gives.
        "--busy-reply-threshold",
        "600000",
        "--loadmodule",
        &module,
    ];
    let password = options.password.iter().flat_map(|password| ["--requirepass", password]);
    fixed.into_iter().chain(password).map(str::to_owned).chain(options.arguments.iter().cloned()).collect()
}
