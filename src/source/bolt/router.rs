//! Chooses the member of a cluster for a new connection.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::connection::Connection;
use super::fault::Fault;
use super::members::{Members, Purpose};
use super::server::Server;
use crate::config::ConnectionUri;
use crate::error::ErrorKind;
use crate::model::host_port::HostPort;

/// The time for which a member that was behind is the last choice.
const AVOIDED: Duration = Duration::from_secs(60);

/// Opens connections to the configured server, or to members of its cluster if the scheme of the address says so.
pub(in crate::source) struct Router {
    seed: Server,
    known: Mutex<Option<Description>>,
    /// Members that did not reach a commit in time, and until when others are preferred.
    avoided: Mutex<Vec<(HostPort, Instant)>>,
    /// Counts connections, so that the members take turns.
    turns: AtomicUsize,
    /// Counts questions for the members that had no answer, so that the next one goes to another server.
    unanswered: AtomicUsize,
}

/// A description of the cluster, and the end of its validity.
#[derive(Clone)]
struct Description {
    members: Members,
    until: Instant,
}

impl Description {
    fn is_valid(&self) -> bool {
        Instant::now() < self.until
    }
}

/// Ends the validity of the description of a cluster when it is dropped: unless it is settled, a member does not do what the
/// description says. Also if nobody waits any longer: a probe gives up sooner than a connection to a silent member does, and must
/// not find the same member again.
pub(super) struct Doubt<'r>(Option<&'r Router>);

impl Doubt<'_> {
    pub(super) fn settle(mut self) {
        self.0 = None;
    }
}

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
        Self {
            seed,
            known: Mutex::default(),
            avoided: Mutex::default(),
            turns: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
        }
    }

    /// The configured server.
    pub(super) fn seed(&self) -> &Server {
        &self.seed
    }

    /// Whether the configured server is asked for the members of its cluster.
    pub(in crate::source) fn routes(&self) -> bool {
        self.seed.routes()
    }

    /// Whether the database is known to have more than one server.
    pub(super) fn is_cluster(&self) -> bool {
        self.known.lock().as_ref().is_some_and(|known| known.members.is_cluster())
    }

    /// Whether the description of the cluster is still valid. There is none of a server that is used without routing.
    pub(super) fn is_current(&self) -> bool {
        !self.routes() || self.known.lock().as_ref().is_some_and(Description::is_valid)
    }

    /// Begins something that a member does if the description of the cluster is right.
    pub(super) fn doubt(&self) -> Doubt<'_> {
        Doubt(Some(self))
    }

    /// Prefers other members to one that did not reach a commit in time.
    pub(super) fn avoid(&self, member: &HostPort) {
        let mut avoided = self.avoided.lock();
        avoided.retain(|(other, until)| other != member && Instant::now() < *until);
        avoided.push((member.clone(), Instant::now() + AVOIDED));
    }

    fn is_avoided(&self, member: &HostPort) -> bool {
        self.avoided.lock().iter().any(|(other, until)| other == member && Instant::now() < *until)
    }

    /// The address of a server that answers now, for a client that does not route.
    pub(in crate::source) async fn answering(&self) -> Result<ConnectionUri, Fault> {
        if !self.routes() {
            return Ok(self.seed.uri().clone());
        }
        let (server, connection) = self.open_at(Purpose::Reads).await?;
        connection.goodbye().await;
        Ok(server.uri().clone())
    }

    /// Opens a connection to a member that serves the purpose. Members that do not answer are passed over.
    pub(super) async fn open(&self, purpose: Purpose) -> Result<Connection, Fault> {
        if !self.routes() {
            return Connection::open(&self.seed).await;
        }
        self.open_at(purpose).await.map(|(_, connection)| connection)
    }

    async fn open_at(&self, purpose: Purpose) -> Result<(Server, Connection), Fault> {
        let members = self.members(purpose).await?;
        let doubt = self.doubt();
        let mut last = None;
        for member in self.in_turn(purpose, &members) {
            let server = self.seed.at(member);
            match Connection::open(&server).await {
                Ok(connection) => {
                    // If another member failed, the next connection needs a new description of the cluster.
                    if last.is_none() {
                        doubt.settle();
                    }
                    return Ok((server, connection));
                }
                Err(fault) if self.is_of_one_member(&server, &fault) => last = Some(self.named(&server, fault)),
                Err(fault) => return Err(self.named(&server, fault)),
            }
        }
        Err(last.unwrap_or(Fault::Unserved(purpose.lacking())))
    }

    /// The members for a purpose, beginning with another one each time. Those to avoid come last.
    fn in_turn<'m>(&self, purpose: Purpose, members: &'m Members) -> Vec<&'m HostPort> {
        let mut able: Vec<&HostPort> = members.able(purpose).iter().collect();
        if !able.is_empty() {
            let turn = self.turns.fetch_add(1, Ordering::Relaxed) % able.len();
            able.rotate_left(turn);
        }
        able.sort_by_key(|member| self.is_avoided(member));
        able
    }

    /// The members of the cluster, of which one serves the purpose. A server that is cut off from the others describes a cluster
    /// without a leader, so then the next server is asked.
    async fn members(&self, purpose: Purpose) -> Result<Members, Fault> {
        let known = self.known.lock().clone();
        if let Some(known) = known.as_ref().filter(|known| known.is_valid() && known.members.serve(purpose)) {
            return Ok(known.members.clone());
        }
        let routers = known.map(|known| known.members.routers).unwrap_or_default();
        let (mut first, mut is_described) = (None, false);
        for server in self.describing(&routers) {
            // Counted before the answer, because the caller may give up waiting: the next call then begins with another server.
            self.unanswered.fetch_add(1, Ordering::Relaxed);
            match ask(&server).await {
                Ok(members) if members.serve(purpose) => {
                    self.unanswered.fetch_sub(1, Ordering::Relaxed);
                    return Ok(self.note(members, &routers));
                }
                Ok(_) => is_described = true,
                Err(fault) if self.is_of_one_member(&server, &fault) => first = first.or(Some(self.named(&server, fault))),
                Err(fault) => return Err(self.named(&server, fault)),
            }
        }
        let unserved = || Fault::Unserved(purpose.lacking());
        Err(if is_described { unserved() } else { first.unwrap_or_else(unserved) })
    }

    /// Remembers a description. One without routers, of a cluster that is not whole, leaves the former ones.
    fn note(&self, mut members: Members, routers: &[HostPort]) -> Members {
        if members.routers.is_empty() {
            members.routers = routers.to_vec();
        }
        *self.known.lock() = Some(Description { until: Instant::now() + members.ttl, members: members.clone() });
        members
    }

    /// Whether another server may do what this one does not. Certificates and versions are a matter of each server, and a person
    /// has to know of them only if no server works.
    fn is_of_one_member(&self, server: &Server, fault: &Fault) -> bool {
        let is_configured = server.uri().server().is_same(&self.seed.uri().server());
        fault.is_of_one_member() || (!is_configured && fault.kind() == ErrorKind::Configuration)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::source::SourceAddress;
    use crate::source::bolt::Limits;

    #[test]
    fn members_take_turns_and_one_that_was_behind_comes_last() {
        let address = SourceAddress {
            uri: "neo4j://a:1".to_owned(),
            user: "neo4j".to_owned(),
            password: Secret::new("pw"),
            database: None,
            pool_size: 1,
            ca_file: None,
        };
        let router = Router::new(Server::new(&address, Limits::default()).unwrap());
        let [a, b, c] = ["a", "b", "c"].map(|host| HostPort::new(host, 1));
        let members = Members { readers: vec![a.clone(), b.clone(), c.clone()], ..Members::default() };
        let turn = || router.in_turn(Purpose::Reads, &members).into_iter().map(|member| member.host.as_str()).collect::<String>();
        assert_eq!([turn(), turn(), turn()], ["abc", "bca", "cab"]);
        router.avoid(&b);
        assert_eq!([turn(), turn(), turn()], ["acb", "cab", "cab"]);
    }
}
