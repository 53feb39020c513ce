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
    /// Counts questions for the members that had no answer, so that the next one goes to another server.
    unanswered: AtomicUsize,
}

/// A description of the cluster, and the end of its validity.
#[derive(Clone)]
struct Known {
    members: Members,
    until: Instant,
}

impl Known {
    fn is_valid(&self) -> bool {
        Instant::now() < self.until
    }
}

/// Ends the validity of the description unless a member answers. Also if nobody waits any longer: a probe gives up sooner than a
/// connection to a silent member does, and must not find the same member again for minutes.
struct Doubt<'r>(Option<&'r Router>);

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        let Some(router) = self.0 else { return };
        // Its routers are kept: the configured server may be gone.
        if let Some(known) = router.known.lock().as_mut() {
            known.until = Instant::now();
        }
    }
}

impl Router {
    pub(in crate::source) fn new(seed: Server) -> Self {
        Self { seed, known: Mutex::default(), turns: AtomicUsize::new(0), unanswered: AtomicUsize::new(0) }
    }

    /// The configured server.
    pub(super) fn seed(&self) -> &Server {
        &self.seed
    }

    /// Whether the description of the cluster is still valid. There is none of a server that is used without routing.
    pub(super) fn is_current(&self) -> bool {
        !self.seed.routes() || self.known.lock().as_ref().is_some_and(Known::is_valid)
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
        let mut doubt = Doubt(Some(self));
        let mut last = Fault::Unserved(purpose.lacking());
        for member in self.in_turn(purpose, &members) {
            let server = self.seed.at(member);
            match Connection::open(&server).await {
                Ok(connection) => {
                    doubt.0 = None;
                    return Ok((server, connection));
                }
                Err(fault) if fault.is_of_one_member() => last = self.named(&server, fault),
                Err(fault) => return Err(self.named(&server, fault)),
            }
        }
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
        if let Some(known) = known.as_ref().filter(|known| known.is_valid()) {
            return Ok(known.members.clone());
        }
        let routers = known.map(|known| known.members.routers).unwrap_or_default();
        let mut first = None;
        for server in self.describing(&routers) {
            // Counted before the answer: whoever gives up waiting for this server begins with another one next time.
            self.unanswered.fetch_add(1, Ordering::Relaxed);
            match ask(&server).await {
                Ok(members) => {
                    self.unanswered.fetch_sub(1, Ordering::Relaxed);
                    *self.known.lock() = Some(Known { until: Instant::now() + members.ttl, members: members.clone() });
                    return Ok(members);
                }
                Err(fault) if fault.is_of_one_member() => first = first.or(Some(self.named(&server, fault))),
                Err(fault) => return Err(self.named(&server, fault)),
            }
        }
        Err(first.unwrap_or(Fault::Closed))
    }

    /// The servers that can describe the cluster: the configured one, and those of the last description, because a cluster that
    /// has moved on may not have the configured one any more. They begin with the one that answered last.
    fn describing(&self, routers: &[HostPort]) -> Vec<Server> {
        let others = routers.iter().filter(|router| !router.is_same(&self.seed.uri().server()));
        let mut servers = vec![self.seed.clone()];
        servers.extend(others.map(|router| self.seed.at(router)));
        let first = self.unanswered.load(Ordering::Relaxed) % servers.len();
        servers.rotate_left(first);
        servers
    }

    /// The fault with the address of the server, unless that is the configured one, which every error names.
    fn named(&self, server: &Server, fault: Fault) -> Fault {
        let member = server.uri().server();
        if member.is_same(&self.seed.uri().server()) {
            return fault;
        }
        Fault::Member { member, fault: Box::new(fault) }
    }
}

async fn ask(router: &Server) -> Result<Members, Fault> {
    let mut connection = Connection::open(router).await?;
    let members = connection.members(&router.uri().server().to_string()).await?;
    connection.goodbye().await;
    Ok(members)
}
