//! The members of a Neo4j cluster, as one of them describes it.

use std::time::Duration;

use super::packstream::{DecodeError, Decoded, Decoder, for_each_entry};
use super::value::texts;
use crate::config::DEFAULT_BOLT_PORT;
use crate::model::host_port::HostPort;

/// The shortest time for which a description is used: the probe asks a few times a second, and not for the members each time.
const SHORTEST_TTL: Duration = Duration::from_secs(1);

/// The longest time for which a description is used: a former leader that is cut off from the others goes on to answer.
const LONGEST_TTL: Duration = Duration::from_secs(10);

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
    pub(super) fn lacking(self) -> &'static str {
        match self {
            Self::Reads => "member that serves the database",
            Self::LastCommit => "leader",
        }
    }
}

/// The members that serve a database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Members {
    /// The members for reads.
    pub readers: Vec<HostPort>,
    /// The leader; none while the members elect one.
    pub leaders: Vec<HostPort>,
    /// The members that can describe the cluster.
    pub routers: Vec<HostPort>,
    /// The time for which the description is valid.
    pub ttl: Duration,
}

impl Members {
    /// The members that serve a purpose. A cluster without members for reads is read from its leader.
    pub(super) fn able(&self, purpose: Purpose) -> &[HostPort] {
        match purpose {
            Purpose::Reads if !self.readers.is_empty() => &self.readers,
            Purpose::Reads | Purpose::LastCommit => &self.leaders,
        }
    }

    /// Whether a member serves the purpose.
    pub(super) fn serve(&self, purpose: Purpose) -> bool {
        !self.able(purpose).is_empty()
    }

    /// Whether there is more than one server.
    pub(super) fn is_cluster(&self) -> bool {
        let mut all = self.readers.iter().chain(&self.leaders).chain(&self.routers);
        all.next().is_some_and(|first| all.any(|other| !other.is_same(first)))
    }

    /// Reads a routing table: a time to live in seconds, and lists of addresses with their roles.
    pub(super) fn read(decoder: &mut Decoder<'_>) -> Decoded<Self> {
        let mut members = Self::default();
        for_each_entry(decoder, |name, value| match name {
            "ttl" => {
                let seconds = u64::try_from(value.integer()?).unwrap_or_default();
                members.ttl = Duration::from_secs(seconds).clamp(SHORTEST_TTL, LONGEST_TTL);
                Ok(())
            }
            "servers" => members.read_servers(value),
            _ => value.skip(),
        })?;
        Ok(members)
    }

    fn read_servers(&mut self, decoder: &mut Decoder<'_>) -> Decoded<()> {
        let roles = decoder.list()?;
        decoder.nested(|inner| (0..roles).try_for_each(|_| self.read_role(inner)))
    }

    fn read_role(&mut self, decoder: &mut Decoder<'_>) -> Decoded<()> {
        let (mut addresses, mut role) = (Vec::new(), String::new());
        for_each_entry(decoder, |name, value| {
            match name {
                "addresses" => addresses = texts(value)?,
                "role" => value.text()?.clone_into(&mut role),
                _ => value.skip()?,
            }
            Ok(())
        })?;
        let servers = addresses.iter().map(|text| address(text)).collect::<Decoded<Vec<_>>>()?;
        match role.as_str() {
            "READ" => self.readers.extend(servers),
            "WRITE" => self.leaders.extend(servers),
            "ROUTE" => self.routers.extend(servers),
            _ => {}
        }
        Ok(())
    }
}

/// Reads `host:port`; an address of IPv6 is in brackets.
fn address(text: &str) -> Decoded<HostPort> {
    let wrong = || DecodeError::Missing("address of a member");
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (text, DEFAULT_BOLT_PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() { Err(wrong()) } else { Ok(HostPort::new(host, port)) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::encode::PackStreamWriter;
    use super::*;

    /// A table of two members, of which the first leads.
    fn table(ttl: i64, first: &str) -> Vec<u8> {
        let mut to = PackStreamWriter::reusing(Vec::new());
        to.map(3);
        to.text("ttl").unwrap();
        to.integer(ttl);
        to.text("db").unwrap();
        to.text("neo4j").unwrap();
        to.text("servers").unwrap();
        to.list(3).unwrap();
        for (addresses, role) in [(vec![first], "WRITE"), (vec![first, "[::1]:7688"], "READ"), (vec!["b"], "ROUTE")] {
            to.map(2);
            to.text("addresses").unwrap();
            to.texts(&addresses.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap();
            to.text("role").unwrap();
            to.text(role).unwrap();
        }
        to.into_bytes()
    }

    #[test]
    fn a_routing_table_names_members_by_role() {
        let members = Members::read(&mut Decoder::new(&table(5, "a:7000"))).unwrap();
        let a = HostPort::new("a", 7000);
        let expected = Members {
            readers: vec![a.clone(), HostPort::new("::1", 7688)],
            leaders: vec![a],
            routers: vec![HostPort::new("b", 7687)],
            ttl: Duration::from_secs(5),
        };
        assert_eq!(members, expected);
        assert_eq!(Members::read(&mut Decoder::new(&table(i64::MAX, "a"))).unwrap().ttl, LONGEST_TTL);
        assert_eq!(Members::read(&mut Decoder::new(&table(-1, "a"))).unwrap().ttl, SHORTEST_TTL);
    }

    #[test]
    fn reads_go_to_readers_or_else_to_the_leader() {
        let (a, b) = (HostPort::new("a", 1), HostPort::new("b", 1));
        let led = Members { leaders: vec![a.clone()], routers: vec![a.clone()], ..Members::default() };
        assert_eq!((led.able(Purpose::Reads), led.able(Purpose::LastCommit)), (&[a.clone()][..], &[a.clone()][..]));
        assert!(!led.is_cluster());
        let electing = Members { readers: vec![a.clone(), b.clone()], routers: vec![b.clone()], ..Members::default() };
        assert_eq!(electing.able(Purpose::Reads), [a, b]);
        assert!(electing.is_cluster() && electing.serve(Purpose::Reads) && !electing.serve(Purpose::LastCommit));
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        for text in ["", ":1", "a:b", "a:70000"] {
            assert!(Members::read(&mut Decoder::new(&table(1, text))).is_err(), "{text}");
        }
    }
}
