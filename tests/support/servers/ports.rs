//! Free loopback ports.

use std::net::TcpListener;

use rand::Rng;

use crate::support::{Error, Result};

/// Below the range from which systems hand out ports to clients. A port of that range could be taken while a
/// server restarts, and a client that keeps trying a closed one can even end up connected to itself.
const RANGE: std::ops::Range<u16> = 20_000..31_000;

pub fn free() -> Result<u16> {
    let mut random = rand::rng();
    (0..200).map(|_| random.random_range(RANGE)).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).ok_or(Error::NoPort)
}
