//! A small Bolt 5 client that reads and only reads.
//!
//! It exists beside neo4rs for what that cannot do: tell the bookmark at a low price, read zoned datetimes exactly (Bolt 4
//! loses the instant in the hour that a clock change repeats), decode vectors without 96 bytes a float, and survive whatever
//! a broken server sends: every wait has a limit, and every length is compared with what is there.
//!
//! From the socket up: [`Server`] (socket and TLS), frames of chunks, [`Connection`] (one query at a time), a pool,
//! [`BoltReader`] (rows that become elements without a stop), and [`BoltSource`]. [`Probe`] has a connection of its own.

#[cfg(test)]
mod broken_server_tests;
mod chunk;
mod connection;
mod encode;
mod fault;
mod limits;
mod message;
mod packstream;
mod pool;
mod probe;
mod reader;
mod record;
mod rows;
mod server;
mod tls;
mod value;

pub use connection::{Connection, Counted};
pub use fault::Fault;
pub use limits::Limits;
pub use packstream::{DecodeError, Decoder};
pub use probe::Probe;
pub use reader::{BoltReader, BoltSource};
pub use record::Record;
pub use rows::Rows;
pub use server::Server;
