//! Chooses the member of a cluster for a new connection.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::connection::Connection;
use super::fault::Fault;
use super::members::Members;
use super::server::Server;
use crate::config::ConnectionUri;
use crate::model::host_port::HostPort;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Reads under a bookmark: every member answers them, once it has applied the commit.
    Reads,
    /// The bookmark of the last commit: only the leader knows it.
    LastCommit,
}

impl Purpose {
    /// The member that serves the purpose, in words.
    fn lacking(self) -> &'static str {
        match self {
            Self::Reads => "member that serves the database",
            Self::LastCommit => "leader",
        }
    }
}

/// Opens connections to the configured server, or to members of its cluster if the scheme of the address says so.
pub(in crate::source) struct Router {
    seed: Server,
    known: Mutex<Option<Known>>,
    /// Counts connections, so that the members take turns.
    turns: AtomicUsize,
}

/// A description of the cluster, and the end of its validity.
#[derive(Clone)]
struct Known {
    members: Members,
    until: Instant,
}

impl Router {
    pub(in crate::source) fn new(seed: Server) -> Self {
        Self { seed, known: Mutex::default(), turns: AtomicUsize::new(0) }
    }

    /// The configured server.
    pub(super) fn seed(&self) -> &Server {
        &self.seed
    }

    /// The address of a server that answers now, for a client that does not route.
    pub(in crate::source) async fn answering(&self) -> Result<ConnectionUri, Fault> {
        if !self.seed.routes() {
            return Ok(self.seed.uri().clone());
        }
        let (server, connection) = self.open_at(Purpose::Reads).await?;
        connection.goodbye().await;
        Ok(server.uri().clone())
    }

    /// Opens a connection to a member that serves the purpose. Members that do not answer are passed over.
    pub(super) async fn open(&self, purpose: Purpose) -> Result<Connection, Fault> {
        if !self.seed.routes() {
            return Connection::open(&self.seed).await;
        }
        self.open_at(purpose).await.map(|(_, connection)| connection)
    }

    async fn open_at(&self, purpose: Purpose) -> Result<(Server, Connection), Fault> {
        let members = self.members().await?;
        let mut last = Fault::Unserved(purpose.lacking());
        for member in self.in_turn(purpose, &members) {
            let server = self.seed.at(member);
            match Connection::open(&server).await {
                Ok(connection) => return Ok((server, connection)),
                Err(fault) if fault.is_silence() => last = fault,
                Err(fault) => return Err(fault),
            }
        }
        // None of them answers: the next attempt asks for the members again.
        *self.known.lock() = None;
        Err(last)
    }

    /// The members for a purpose, beginning with another one each time.
    fn in_turn<'m>(&self, purpose: Purpose, members: &'m Members) -> Vec<&'m HostPort> {
        let able = match purpose {
            Purpose::LastCommit => &members.leaders,
            Purpose::Reads if members.readers.is_empty() => &members.leaders,
            Purpose::Reads => &members.readers,
        };
        let mut able: Vec<&HostPort> = able.iter().collect();
        if !able.is_empty() {
            let turn = self.turns.fetch_add(1, Ordering::Relaxed) % able.len();
            able.rotate_left(turn);
        }
        able
    }

    async fn members(&self) -> Result<Members, Fault> {
        let known = self.known.lock().clone();
        if let Some(known) = known.as_ref().filter(|known| Instant::now() < known.until) {
            return Ok(known.members.clone());
        }
        // A cluster that has moved on may not have the configured server any more.
        let routers = known.map(|known| known.members.routers).unwrap_or_default();
        let others = routers.iter().map(|router| self.seed.at(router));
        let mut last = None;
        for router in std::iter::once(self.seed.clone()).chain(others) {
            match ask(&router).await {
                Ok(members) => {
                    *self.known.lock() = Some(Known { until: Instant::now() + members.ttl, members: members.clone() });
                    return Ok(members);
                }
                Err(fault) if fault.is_silence() => last = last.or(Some(fault)),
                Err(fault) => return Err(fault),
            }
        }
        Err(last.unwrap_or(Fault::Closed))
    }
}

async fn ask(router: &Server) -> Result<Members, Fault> {
    let mut connection = Connection::open(router).await?;
    let members = connection.members(&router.uri().server().to_string()).await?;
    connection.goodbye().await;
    Ok(members)
}
