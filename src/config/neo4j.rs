//! Settings of the source.

use std::path::PathBuf;

use super::connection_uri::ConnectionUri;
use super::secret::Secret;
use super::section::Section;

/// The address of a server on the same machine.
const DEFAULT_URI: &str = "bolt://localhost:7687";

/// The initial user of every Neo4j server.
const DEFAULT_USER: &str = "neo4j";

/// The number that the replaced Python service opens.
const DEFAULT_POOL_SIZE: u64 = 10;

/// The most connections of one pool, to either server. This is far above what one pipeline can use; a larger number is a mistake.
pub(super) const MAX_POOL_SIZE: u64 = 1_000;

/// The connection to the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Neo4jConfig {
    /// The address of the server.
    pub(crate) uri: ConnectionUri,
    /// The user for reading; it needs no right to write.
    pub(crate) user: String,
    /// The password of the user.
    pub(crate) password: Secret,
    /// The database to read. If absent, the server's default one.
    pub(crate) database: Option<String>,
    /// The most connections to open.
    pub(crate) pool_size: usize,
    /// The certificate authority that signed the server's certificate, if the system does not know it.
    pub(crate) ca_file: Option<PathBuf>,
    /// The directory with the transaction log of the database. If absent, the service probes the source for changes.
    pub(crate) transaction_log: Option<PathBuf>,
}

impl Neo4jConfig {
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let uri = read_uri(section);
        let user = section.text("user").unwrap_or_else(|| DEFAULT_USER.to_owned());
        let password = read_password(section);
        let database = section.text("database");
        let pool_size = section.integer("pool_size", 1..=MAX_POOL_SIZE, "connections").unwrap_or(DEFAULT_POOL_SIZE);
        let ca_file = section.section("tls", |tls| read_ca_file(tls, uri.as_ref()));
        let transaction_log = section.section("transaction_log", |log| log.path("directory"));
        Some(Self { uri: uri?, user, password: password?, database, pool_size: pool_size as usize, ca_file, transaction_log })
    }
}

fn read_uri(section: &Section<'_>) -> Option<ConnectionUri> {
    if section.value("uri").is_some() { section.parsed("uri") } else { DEFAULT_URI.parse().ok() }
}

fn read_password(section: &Section<'_>) -> Option<Secret> {
    let given = section.value("password").is_some() || section.value("password_file").is_some();
    let password = section.secret("password", "password_file");
    if !given {
        section.problem(
            "password",
            "is missing: set neo4j.password_file, NEO4J_PASSWORD_FILE or NEO4J_PASSWORD \
                 (to any value if the server requires none)",
        );
    }
    password
}

fn read_ca_file(tls: &Section<'_>, uri: Option<&ConnectionUri>) -> Option<PathBuf> {
    let ca_file = tls.path("ca_file")?;
    match uri {
        Some(uri) if !uri.scheme().verifies_certificate() => {
            tls.problem("ca_file", "has no effect unless neo4j.uri starts with bolt+s or neo4j+s");
            None
        }
        _ => Some(ca_file),
    }
}
