//! Real servers on loopback ports, without containers: downloaded once, started in a directory of their own,
//! ended with the process that started them.

pub mod cluster;
pub mod directory;
pub mod download;
pub mod falkordb;
pub mod neo4j;
pub mod ports;
pub mod process;
pub mod sentinel;

use std::path::PathBuf;

use tokio::sync::{Mutex, MutexGuard, OnceCell};

use super::{Error, Result};
pub use falkordb::{FalkorAddress, FalkorOptions, FalkorServer};
pub use neo4j::{LaterNeo4j, Neo4jAddress, Neo4jOptions, Neo4jServer};

/// The servers that tests of this binary share: a Neo4j, because it takes about ten seconds to start, and a FalkorDB for tests of
/// single statements. A test of a whole pipeline has a FalkorDB of its own.
pub struct Shared {
    pub neo4j: Neo4jServer,
    pub falkordb: FalkorServer,
}

/// Starts the shared servers at the first call. They end with this process.
///
/// A server that cannot be had fails the test: a skipped test would prove nothing.
pub async fn shared() -> &'static Shared {
    static SHARED: OnceCell<Shared> = OnceCell::const_new();
    match SHARED.get_or_try_init(start_both).await {
        Ok(shared) => shared,
        Err(error) => panic!("no servers to test with: {error}"),
    }
}

async fn start_both() -> Result<Shared> {
    let (neo4j, falkordb) = tokio::try_join!(Neo4jServer::start(), FalkorServer::start())?;
    Ok(Shared { neo4j, falkordb })
}

/// A turn with a shared Neo4j, emptied of data. Community has a single user database, so tests that write to one server go one
/// after the other.
pub struct SourceTurn {
    pub graph: neo4rs::Graph,
    pub address: Neo4jAddress,
    /// Where the server writes the transaction log of the database.
    pub log: PathBuf,
    pub server: &'static Neo4jServer,
    _turn: MutexGuard<'static, ()>,
}

/// Waits for a turn with a shared Neo4j and empties it. Its indices stay: they cost seconds to make.
///
/// There are two servers: a turn mostly waits for a server, so one alone leaves a processor idle.
pub async fn source_lock() -> SourceTurn {
    static FIRST: Mutex<()> = Mutex::const_new(());
    static SECOND: Mutex<()> = Mutex::const_new(());
    let (server, turn) = tokio::select! {
        biased;
        turn = FIRST.lock() => (&shared().await.neo4j, turn),
        turn = SECOND.lock() => (second_source().await, turn),
    };
    let address = server.address();
    // A pool of one's own: a connection belongs to the runtime that made it, and each test has its own.
    let graph = match address.connect().await {
        Ok(graph) => graph,
        Err(error) => panic!("the shared Neo4j does not answer: {error}"),
    };
    if let Err(error) = neo4j::clear(&graph).await {
        panic!("the shared Neo4j could not be emptied: {error}");
    }
    SourceTurn { graph, address, log: server.transaction_log(), server, _turn: turn }
}

/// Starts the second Neo4j when two tests want a turn at the same time.
async fn second_source() -> &'static Neo4jServer {
    static SECOND: OnceCell<Neo4jServer> = OnceCell::const_new();
    match SECOND.get_or_try_init(Neo4jServer::start).await {
        Ok(server) => server,
        Err(error) => panic!("no second Neo4j to test with: {error}"),
    }
}

/// A graph name that no other test uses.
pub fn fresh_graph_name(test: &str) -> String {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    format!("{test}_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs blocking work, such as a download, away from the threads that drive the sockets.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) => Err(Error::Unexpected(format!("work on a thread of its own was interrupted: {error}"))),
    }
}
