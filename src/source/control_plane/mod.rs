//! The questions about Neo4j itself: its reachability, its version, its database, and its labels, types, properties and indices.
//!
//! Nothing here is on the way from a commit to the cache. All data on that way (element rows, changed keys, counts, the bookmark,
//! and whether there is a new label or type) comes through [`super::bolt`], which is faster and needs no second protocol version.
//!
//! The driver is neo4rs, with a typed row for each question. [`driver`] contains its hazards: every question has a time limit,
//! because the driver waits for a version handshake without a limit; and every question runs in a task of its own, because the
//! driver panics on some malformed messages. One hazard cannot be contained: if a list claims thousands of millions of items, the
//! driver requests more memory than exists, and the process ends.
//!
//! Two things differ from the driver's own behaviour:
//! - The driver speaks Bolt 4 and drops the code with which a server refuses a log on. Without the code, a wrong password looks
//!   like a directory service that fails to answer for a moment, so our own Bolt client repeats a refused log on once and obtains
//!   the code.
//! - The driver treats `neo4j://` as experimental and warns of it, so it gets `bolt://` and a member that our own client chose.

#[cfg(test)]
mod broken_server_tests;
mod discovery;
mod driver;
mod fault;
mod indexes;
mod rows;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use serde::de::DeserializeOwned;

use self::driver::Driver;
use self::fault::DriverFault;
use self::rows::{Component, Database, Dimension, Existence, Named};
use super::address::SourceAddress;
use super::bolt::{Limits, Probe, Router, Server, log_on};
use super::queries;
use super::reader::tell_if_slow;
use crate::error::{Error, ErrorKind, Result};
use crate::model::bookmark::Bookmark;
use crate::model::kind::Step;
use crate::model::profile::Profile;
use crate::model::source_identity::SourceIdentity;
use crate::retry::repeated;

pub(crate) use self::driver::DriverLimits;

/// The oldest Neo4j that speaks Bolt 5.
const OLDEST_MAJOR: u32 = 5;

/// Asks Neo4j about itself. Connects at the first question, and closes the connection when no more questions come.
pub struct ControlPlane {
    address: SourceAddress,
    driver: Driver,
}

impl ControlPlane {
    /// Creates a control plane that is not connected yet.
    pub fn new(address: &SourceAddress) -> Self {
        Self::with_limits(address, DriverLimits::default())
    }

    pub(crate) fn with_limits(address: &SourceAddress, limits: DriverLimits) -> Self {
        Self { address: address.clone(), driver: Driver::new(address, limits) }
    }

    /// Proves that the database can be read, and returns the server's version, such as `5.26.12 (community)`; `None` if the user
    /// may not ask for it.
    pub async fn connect(&self) -> Result<Option<String>> {
        // Our own checks of address and certificates give better messages than the driver's.
        let server = Server::new(&self.address, Limits::default());
        server.map_err(|fault| fault.during("cannot use Neo4j as configured"))?;
        if let Err(fault) = self.driver.connect().await {
            return Err(self.unreachable(fault).await);
        }
        let component = match self.driver.ask::<Component>(queries::server::SERVER_VERSION.to_owned(), None).await {
            Ok(rows) => rows.into_iter().next(),
            Err(fault) if fault.kind() == ErrorKind::SourceRefused => None,
            Err(fault) => return Err(self.unreachable(fault).await),
        };
        component.map(|component| supported(&component, &self.address.uri)).transpose()
    }

    /// Returns the profile with the kinds that the source has now, and with those that were found in it before.
    pub async fn discovered(&self, profile: &Profile, before: &[Step]) -> Result<Profile> {
        discovery::discovered(&self.after(self.last_commit().await?), profile, before).await
    }

    /// Returns the last commit of a cluster: a member that is behind may not have the newest label or index. A server alone is
    /// never behind.
    async fn last_commit(&self) -> Result<Option<Bookmark>> {
        let router = self.router()?;
        if router.routes() { Probe::by(router).bookmark().await.map(Some) } else { Ok(None) }
    }

    /// Returns the router that chooses the servers for all connections to the database.
    pub(super) fn router(&self) -> Result<Arc<Router>> {
        self.driver.router().map_err(|fault| fault.during("cannot use Neo4j as configured"))
    }

    /// Returns the identity of the database.
    pub async fn identity(&self) -> Result<SourceIdentity> {
        self.after(None).identity().await
    }

    /// Returns questions that the server answers only once it has applied this commit.
    pub(super) fn after(&self, bookmark: Option<Bookmark>) -> Questions<'_> {
        Questions { driver: &self.driver, bookmark }
    }

    async fn unreachable(&self, fault: DriverFault) -> Error {
        if fault.lacks_its_code() {
            // A refused log on takes milliseconds, so the limits of our own client do no harm.
            return match log_on(&self.address, Limits::default()).await {
                Err(error) => error,
                Ok(()) => fault.during(ErrorKind::SourceTransient, format!("Neo4j at {} refused the login", self.address.uri)),
            };
        }
        let kind = fault.kind();
        fault.during(kind, super::codes::why_unreachable(kind, &self.address.uri))
    }
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ControlPlane").field("uri", &self.address.uri).finish_non_exhaustive()
    }
}

/// Returns the version as a text, or an error for a version that the rest of the program cannot read.
fn supported(component: &Component, uri: &str) -> Result<String> {
    let version = &component.version;
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major < OLDEST_MAJOR) {
        let message = format!("Neo4j {version} at {uri} is too old: Neo4j {OLDEST_MAJOR}.0 or later is required");
        return Err(Error::new(ErrorKind::Configuration, message));
    }
    Ok(format!("{version} ({})", component.edition))
}

/// Questions that see at least one commit.
pub(super) struct Questions<'a> {
    driver: &'a Driver,
    bookmark: Option<Bookmark>,
}

impl Questions<'_> {
    /// Returns the identity of the database.
    pub(super) async fn identity(&self) -> Result<SourceIdentity> {
        const DOING: &str = "the database's identity";
        let row: Option<Database> = self.rows(DOING, queries::server::IDENTITY).await?.into_iter().next();
        let Database { id, name } = row.ok_or_else(|| super::columns::lacking(DOING))?;
        Ok(SourceIdentity { id, name })
    }

    /// Reads the labels, types or property names that this query text asks for.
    pub(super) async fn names<C: FromIterator<String>>(&self, doing: &str, text: &str) -> Result<C> {
        Ok(self.rows::<Named>(doing, text).await?.into_iter().map(|named| named.name).collect())
    }

    /// Reads the most frequent list length of a property by this query text; `None` if no element has a list.
    pub(super) async fn dimension(&self, text: &str) -> Result<Option<usize>> {
        let row = self.rows::<Dimension>("dimensions of vectors", text).await?.into_iter().next();
        Ok(row.and_then(|row| usize::try_from(row.dimension).ok()))
    }

    /// Whether something exists: the query returns a count of it, or no row at all.
    async fn exists(&self, doing: &str, text: &str) -> Result<bool> {
        Ok(self.rows::<Existence>(doing, text).await?.first().is_some_and(|row| row.count > 0))
    }

    async fn rows<T: DeserializeOwned + Send + 'static>(&self, doing: &str, text: &str) -> Result<Vec<T>> {
        let ask = || async {
            let begun = Instant::now();
            let answer = self.driver.ask(text.to_owned(), self.bookmark.clone()).await;
            tell_if_slow(doing, begun);
            answer.map_err(|fault| {
                let kind = fault.kind();
                fault.during(kind, format!("cannot read {doing} from Neo4j"))
            })
        };
        repeated(ask).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn component(version: &str) -> Component {
        Component { version: version.to_owned(), edition: "community".to_owned() }
    }

    #[test]
    fn only_a_server_that_is_known_to_be_too_old_is_refused() {
        for version in ["5.26.12", "2026.09.0", "5.26-aura", "dev"] {
            assert_eq!(supported(&component(version), "bolt://h:1").unwrap(), format!("{version} (community)"));
        }
        let error = supported(&component("4.4.36"), "bolt://h:1").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert_eq!(error.to_string(), "Neo4j 4.4.36 at bolt://h:1 is too old: Neo4j 5.0 or later is required");
    }
}
