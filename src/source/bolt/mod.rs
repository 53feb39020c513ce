//! A small Bolt 5 client that only reads.
//!
//! It carries all data on the way from a commit to the cache, because it is fast and exact: it obtains the bookmark cheaply,
//! reads zoned datetimes exactly (Bolt 4 loses the instant in the hour that a clock change repeats), decodes vectors without 96
//! bytes for each float, and survives whatever a broken server sends: every wait has a limit, and every length is compared with
//! the bytes present. Questions about the server itself go through the [control plane](super::ControlPlane), by neo4rs.
//!
//! From the socket up: [`Server`] (socket and TLS), frames of chunks, [`Connection`] (one query at a time), a router (the member
//! of a cluster for each new connection), a pool, [`BoltReader`] (rows that are decoded directly into elements). [`Probe`] has a
//! connection of its own, to the leader of a cluster.

#[cfg(test)]
mod broken_server_tests;
mod chunk;
mod connection;
mod encode;
mod fault;
mod limits;
mod members;
mod message;
mod packstream;
mod pool;
mod probe;
mod reader;
mod record;
mod router;
mod server;
mod tls;
mod value;

pub use connection::Connection;
pub(super) use fault::Fault;
pub use limits::Limits;
pub(super) use message::AGENT;
pub use probe::Probe;
pub use reader::BoltReader;
pub(super) use reader::log_on;
pub(super) use router::Router;
pub use server::Server;
pub(super) use tls::refused_certificate;
