//! Where the demonstration takes place: the servers, and the service between them.

use std::path::PathBuf;
use std::time::Duration;

use neo4rs::Graph;
use redis::aio::MultiplexedConnection;

use crate::support::servers::directory::Directory;
use crate::support::servers::process::{Program, Restartable};
use crate::support::servers::{FalkorAddress, FalkorServer, Neo4jAddress, Neo4jServer, ports};
use crate::support::{Error, Result};

const STOP: Duration = Duration::from_secs(15);

pub struct Places {
    pub neo4j: Graph,
    /// The name of the graph in FalkorDB.
    pub graph: String,
    neo4j_address: Neo4jAddress,
    falkordb_address: FalkorAddress,
    /// What it started itself, which ends with this value.
    servers: Option<(Neo4jServer, FalkorServer)>,
}

/// The program that is demonstrated, while it runs.
pub struct Service {
    // Before its directory: fields are dropped in this order.
    process: Restartable,
    _directory: Directory,
    pub status_page: String,
}

impl Places {
    /// Running servers, if the environment names both; else servers of its own.
    pub async fn find_or_start() -> Result<Self> {
        match (variable("NEO4J_URI"), variable("FALKORDB_HOST")) {
            (Some(uri), Some(host)) => Self::running(uri, host).await,
            _ => Self::started().await,
        }
    }

    async fn running(uri: String, host: String) -> Result<Self> {
        let neo4j_address = Neo4jAddress {
            uri,
            user: variable("NEO4J_USER").unwrap_or_else(|| "neo4j".to_owned()),
            password: variable("NEO4J_PASSWORD").unwrap_or_default(),
            database: variable("NEO4J_DATABASE").unwrap_or_else(|| "neo4j".to_owned()),
        };
        let falkordb_address = FalkorAddress {
            host,
            port: port(variable("FALKORDB_PORT"))?,
            username: variable("FALKORDB_USERNAME"),
            password: variable("FALKORDB_PASSWORD"),
        };
        println!("Using the running {} and {}; what is written there stays.", neo4j_address.uri, falkordb_address.host);
        Self::at(neo4j_address, falkordb_address, None).await
    }

    async fn started() -> Result<Self> {
        let (neo4j, falkordb) = tokio::try_join!(Neo4jServer::start(), FalkorServer::start())?;
        Self::at(neo4j.address(), falkordb.address(), Some((neo4j, falkordb))).await
    }

    async fn at(
        neo4j_address: Neo4jAddress,
        falkordb_address: FalkorAddress,
        servers: Option<(Neo4jServer, FalkorServer)>,
    ) -> Result<Self> {
        Ok(Self {
            neo4j: neo4j_address.connect().await?,
            graph: variable("FALKORDB_DATABASE").unwrap_or_else(|| "demo".to_owned()),
            neo4j_address,
            falkordb_address,
            servers,
        })
    }

    pub fn source(&self) -> &str {
        &self.neo4j_address.uri
    }

    pub fn target(&self) -> String {
        format!("{}:{}, graph {}", self.falkordb_address.host, self.falkordb_address.port, self.graph)
    }

    pub async fn cache(&self) -> Result<MultiplexedConnection> {
        self.falkordb_address.connect().await
    }

    /// Starts `neo4j-falkordb-sync run`, as its users do: with settings from the environment.
    pub fn start_service(&self) -> Result<Service> {
        let directory = Directory::new("demo")?;
        let health_port = ports::free()?;
        let process = Restartable::start(Program {
            server: "neo4j-falkordb-sync",
            executable: program()?,
            arguments: vec!["run".to_owned()],
            environment: self.environment(health_port),
            log: directory.join("service.log"),
        })?;
        let status_page = format!("http://127.0.0.1:{health_port}/");
        Ok(Service { process, _directory: directory, status_page })
    }

    fn environment(&self, health_port: u16) -> Vec<(String, String)> {
        let (neo4j, falkordb) = (&self.neo4j_address, &self.falkordb_address);
        let fixed = [
            ("NEO4J_URI", neo4j.uri.clone()),
            ("NEO4J_USER", neo4j.user.clone()),
            ("NEO4J_PASSWORD", neo4j.password.clone()),
            ("NEO4J_DATABASE", neo4j.database.clone()),
            ("FALKORDB_HOST", falkordb.host.clone()),
            ("FALKORDB_PORT", falkordb.port.to_string()),
            ("FALKORDB_DATABASE", self.graph.clone()),
            ("HEALTH_PORT", health_port.to_string()),
            ("HEALTH_BIND", "127.0.0.1".to_owned()),
            ("SYNC_INTERVAL_SECONDS", variable("SYNC_INTERVAL_SECONDS").unwrap_or_else(|| "1".to_owned())),
        ];
        let log = variable("NEO4J_TRANSACTION_LOG_DIRECTORY");
        let own_log = || self.servers.as_ref().map(|(neo4j, _)| neo4j.transaction_log().display().to_string());
        let log = log.or_else(own_log).map(|log| ("NEO4J_TRANSACTION_LOG_DIRECTORY", log));
        let username = falkordb.username.clone().map(|username| ("FALKORDB_USERNAME", username));
        let password = falkordb.password.clone().map(|password| ("FALKORDB_PASSWORD", password));
        let all = fixed.into_iter().chain(log).chain(username).chain(password);
        all.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl Service {
    pub fn ended(&self) -> Option<std::process::ExitStatus> {
        self.process.ended()
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    pub async fn stop(&self) {
        self.process.stop(STOP).await;
    }
}

/// The program lies beside the examples' directory, in which this one is.
fn program() -> Result<PathBuf> {
    let missing = || Error::Unexpected("neo4j-falkordb-sync is not built: run `cargo build` first".to_owned());
    let own = std::env::current_exe().map_err(|error| Error::Unexpected(format!("who am I? {error}")))?;
    let directory = own.parent().and_then(|examples| examples.parent()).ok_or_else(missing)?;
    let program = directory.join("neo4j-falkordb-sync");
    if program.is_file() { Ok(program) } else { Err(missing()) }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn port(text: Option<String>) -> Result<u16> {
    let text = text.unwrap_or_else(|| "6379".to_owned());
    text.parse().map_err(|_| Error::Unexpected(format!("FALKORDB_PORT is not a port: {text}")))
}
