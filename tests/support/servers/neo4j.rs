//! Neo4j Community as a child process.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use neo4rs::{ConfigBuilder, Graph, query};
use tokio::sync::OnceCell;

use super::directory::Directory;
use super::process::{Program, Restartable};
use super::{blocking, download, ports};
use crate::support::deadline::{self, within};
use crate::support::{Error, Result};

const PASSWORD: &str = "graph-tests";

/// The size of a file of the transaction log. Many tests write to one server, and a service in a debug build reads a file of the default
/// size, 256 MB, for seconds.
const LOG_FILE: &str = "64M";

/// Ten seconds are usual; a machine that compiles at the same time takes minutes.
const START: Duration = Duration::from_secs(300);
const STOP: Duration = Duration::from_secs(180);
const ATTEMPT: Duration = Duration::from_secs(10);
/// The driver's limit for one message. A query's first row can take as long as the query.
const MESSAGE: Duration = Duration::from_secs(300);

/// Where a Neo4j is and how to get in; enough to connect from any runtime.
#[derive(Clone)]
pub struct Neo4jAddress {
    pub uri: String,
    pub user: String,
    pub password: String,
    pub database: String,
}

impl Neo4jAddress {
    /// A new connection pool. Make one per runtime: connections do not outlive the runtime that made them.
    pub async fn connect(&self) -> Result<Graph> {
        self.connect_within(deadline::CONNECT).await
    }

    /// As [`Self::connect`], for a caller that asks again if the server is not up yet.
    async fn try_to_connect(&self) -> Result<Graph> {
        self.connect_within(ATTEMPT).await
    }

    async fn connect_within(&self, limit: Duration) -> Result<Graph> {
        let graph = self.open(&self.password)?;
        within(limit, "a first query on Neo4j", graph.run(query("RETURN 1"))).await?;
        Ok(graph)
    }

    fn open(&self, password: &str) -> Result<Graph> {
        let config = ConfigBuilder::new()
            .uri(&self.uri)
            .user(&self.user)
            .password(password)
            .db(self.database.as_str())
            .fetch_size(2_000)
            .max_connections(8)
            .connection_timeout(MESSAGE)
            .build()?;
        Ok(Graph::connect(config)?)
    }
}

#[derive(Clone)]
pub struct Neo4jOptions {
    pub heap: String,
    pub page_cache: String,
    /// More options of the Java machine.
    pub java: Vec<String>,
    /// More lines of neo4j.conf.
    pub settings: Vec<(String, String)>,
}

impl Default for Neo4jOptions {
    fn default() -> Self {
        Self {
            heap: "2g".to_owned(),
            page_cache: "512m".to_owned(),
            java: Vec::new(),
            settings: vec![("db.tx_log.rotation.size".to_owned(), LOG_FILE.to_owned())],
        }
    }
}

/// A version that a server is to be upgraded to.
pub struct LaterNeo4j {
    version: String,
    java_home: PathBuf,
}

impl LaterNeo4j {
    /// The version that `NEO4J_FALKORDB_SYNC_UPGRADE_TO` names, and its Java.
    pub fn named() -> Option<Self> {
        let version = download::variable("NEO4J_FALKORDB_SYNC_UPGRADE_TO")?;
        let java_home = download::variable("NEO4J_FALKORDB_SYNC_UPGRADE_JAVA_HOME")?.into();
        Some(Self { version, java_home })
    }
}

pub struct Neo4jServer {
    // Before the directory: fields are dropped in this order, and a running server would write to it again.
    process: Restartable,
    directory: Directory,
    bolt_port: u16,
    http_port: u16,
}

impl Neo4jServer {
    pub async fn start() -> Result<Self> {
        Self::start_with(Neo4jOptions::default()).await
    }

    pub async fn start_with(mut options: Neo4jOptions) -> Result<Self> {
        let jars = blocking(download::neo4j).await?;
        options.java.extend(recorded_classes(&jars).await.iter().cloned());
        Self::start_from(&jars, &options).await
    }

    async fn start_from(jars: &Path, options: &Neo4jOptions) -> Result<Self> {
        let directory = Directory::new("neo4j")?;
        let (bolt_port, http_port) = (ports::free()?, ports::free()?);
        write_configuration(directory.path(), options, bolt_port, http_port)?;
        let program = Program {
            server: "Neo4j",
            executable: download::java(),
            arguments: arguments(jars, &download::neo4j_version(), directory.path(), options),
            environment: Vec::new(),
            log: directory.join("console.log"),
        };
        let server = Self { process: Restartable::start(program)?, directory, bolt_port, http_port };
        server.set_password().await?;
        Ok(server)
    }

    pub fn address(&self) -> Neo4jAddress {
        Neo4jAddress { uri: self.uri(), user: "neo4j".to_owned(), password: PASSWORD.to_owned(), database: "neo4j".to_owned() }
    }

    pub fn uri(&self) -> String {
        format!("bolt://127.0.0.1:{}", self.bolt_port)
    }

    pub fn bolt_port(&self) -> u16 {
        self.bolt_port
    }

    pub fn http_port(&self) -> u16 {
        self.http_port
    }

    pub fn user(&self) -> &'static str {
        "neo4j"
    }

    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// SIGTERM, and waits for the end. Data and ports are kept for [`Self::restart`].
    pub async fn stop(&self) {
        self.process.stop(STOP).await;
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// SIGSTOP: its sockets stay open and nothing answers.
    pub fn pause(&self) {
        self.process.pause();
    }

    pub fn resume(&self) {
        self.process.resume();
    }

    /// Ends it if it still runs, and starts it again with the same ports and data.
    pub async fn restart(&self) -> Result<()> {
        self.process.restart(STOP).await?;
        let address = self.address();
        self.process.until_ready(START, || address.try_to_connect()).await?;
        Ok(())
    }

    /// Where all databases are; to be touched only while the server is stopped.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Where the transaction log of the database is.
    pub fn transaction_log(&self) -> PathBuf {
        self.data().join("transactions").join("neo4j")
    }

    /// Ends it, and starts a later version in its place, with the same data.
    pub async fn upgrade(&self, later: &LaterNeo4j) -> Result<()> {
        let version = later.version.clone();
        let jars = blocking(move || download::neo4j_of(&version)).await?;
        let arguments = arguments(&jars, &later.version, self.directory.path(), &Neo4jOptions::default());
        self.process.replace(later.java_home.join("bin/java"), arguments);
        self.restart().await
    }

    /// As [`Self::restart`], where [`Self::data`] is gone: a new database behind the same address.
    pub async fn restart_anew(&self) -> Result<()> {
        self.process.restart(STOP).await?;
        self.set_password().await
    }

    /// The first start demands a new password, and serves nothing else until it is set.
    async fn set_password(&self) -> Result<()> {
        let address = self.address();
        let ready = || async {
            let changed = change_password(&address).await;
            // A change whose answer came too late was made all the same: then only the new password works.
            address.try_to_connect().await.map_err(|error| changed.err().unwrap_or(error))
        };
        self.process.until_ready(START, ready).await?;
        Ok(())
    }
}

async fn change_password(address: &Neo4jAddress) -> Result<()> {
    let graph = address.open("neo4j")?;
    let text = "ALTER CURRENT USER SET PASSWORD FROM 'neo4j' TO $password";
    let change = graph.run_on("system", query(text).param("password", PASSWORD));
    within(ATTEMPT, "setting Neo4j's password", change).await
}

fn write_configuration(home: &Path, options: &Neo4jOptions, bolt_port: u16, http_port: u16) -> Result<()> {
    let configuration = home.join("conf");
    fs::create_dir_all(&configuration).map_err(Error::file("cannot make", &configuration))?;
    let fixed = format!(
        "server.default_listen_address=127.0.0.1\n\
         server.default_advertised_address=127.0.0.1\n\
         server.bolt.listen_address=127.0.0.1:{bolt_port}\n\
         server.bolt.advertised_address=127.0.0.1:{bolt_port}\n\
         server.http.enabled=true\n\
         server.http.listen_address=127.0.0.1:{http_port}\n\
         server.http.advertised_address=127.0.0.1:{http_port}\n\
         server.https.enabled=false\n\
         server.memory.pagecache.size={}\n\
         db.tx_log.preallocate=false\n\
         db.tx_log.rotation.retention_policy=1 files\n\
         dbms.security.auth_minimum_password_length=1\n\
         dbms.security.auth_max_failed_attempts=0\n\
         dbms.usage_report.enabled=false\n",
        options.page_cache
    );
    let chosen = options.settings.iter().map(|(name, value)| format!("{name}={value}\n"));
    let file = configuration.join("neo4j.conf");
    fs::write(&file, fixed + &chosen.collect::<String>()).map_err(Error::file("cannot write", &file))
}

fn arguments(jars: &Path, version: &str, home: &Path, options: &Neo4jOptions) -> Vec<String> {
    let opened = ["java.base/java.nio", "java.base/java.io", "java.base/sun.nio.ch"];
    let mut arguments = vec![
        format!("-Xms{}", options.heap),
        format!("-Xmx{}", options.heap),
        "-XX:+UseParallelGC".to_owned(),
        "-cp".to_owned(),
        jars.join("lib/*").display().to_string(),
    ];
    arguments.extend(options.java.iter().cloned());
    arguments.extend(opened.iter().map(|package| format!("--add-opens={package}=ALL-UNNAMED")));
    let by_year = download::is_named_by_year(version);
    arguments.push(format!("org.neo4j.server.{}", if by_year { "Neo4jCommunity" } else { "CommunityEntryPoint" }));
    arguments.push(format!("--home-dir={}", home.display()));
    arguments.push(format!("--config-dir={}", home.join("conf").display()));
    arguments
}

/// The option that makes a start take less than half the time: the loaded classes of an earlier start, recorded once
/// for each version of Java. Without them it starts all the same.
async fn recorded_classes(jars: &Path) -> &'static [String] {
    static OPTION: OnceCell<Vec<String>> = OnceCell::const_new();
    let record = || async {
        let archive = download::cache_directory().join(download::neo4j_classes());
        match archive.is_file() || record_classes(jars, &archive).await.is_ok() {
            true => vec![format!("-XX:SharedArchiveFile={}", archive.display())],
            false => Vec::new(),
        }
    };
    OPTION.get_or_init(record).await
}

/// Java writes the record at a regular end; under its final name it is complete.
async fn record_classes(jars: &Path, archive: &Path) -> Result<()> {
    let partial = archive.with_extension(format!("partial-{}", std::process::id()));
    let java = vec![format!("-XX:ArchiveClassesAtExit={}", partial.display())];
    let server = Neo4jServer::start_from(jars, &Neo4jOptions { java, ..Neo4jOptions::default() }).await?;
    server.stop().await;
    fs::rename(&partial, archive).map_err(Error::file("no record of classes at", &partial))
}

/// Deletes all data, in transactions small enough for the heap.
///
/// A transaction holds the properties that it deletes about four times over: 2,000 nodes of 400,000 characters fill a
/// heap of one gigabyte, and the server answers nobody from then on.
pub async fn clear(graph: &Graph) -> Result<()> {
    let statement = "MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 100 ROWS";
    within(deadline::QUERY, "emptying Neo4j", graph.run(query(statement))).await
}
