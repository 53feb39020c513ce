//! Free loopback ports.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::Mutex;

use rand::Rng;

use crate::support::{Error, Result};

/// Below the range from which systems hand out ports to clients. A port of that range could be taken while a
/// server restarts, and a client that keeps trying a closed one can even end up connected to itself.
const RANGE: std::ops::Range<u16> = 20_000..31_000;

/// A port that this process has not given out before: a server that is stopped, or has yet to start, still needs its own.
pub fn free() -> Result<u16> {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap();
    let given = given.get_or_insert_default();
    let mut random = rand::rng();
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let port =
        (0..200).map(|_| random.random_range(RANGE)).filter(|port| !given.contains(port)).find(is_free).ok_or(Error::NoPort)?;
    given.insert(port);
    Ok(port)
}
