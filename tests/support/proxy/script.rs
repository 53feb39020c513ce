//! What a proxy is told, and what it tells.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

/// What happens to all bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// They arrive.
    Through,
    /// They arrive so much later, in each direction.
    Late(Duration),
    /// Answers arrive slowly.
    Throttled { bytes_per_second: usize },
    /// Nothing arrives and nothing closes; new connections are accepted and hear nothing. Afterwards what waits arrives, on
    /// connections that nobody has given up.
    Blackhole,
    /// Nobody listens, and what was connected is reset.
    Refuse,
}

/// An answer that does not arrive whole, and is the last of its connection.
#[derive(Clone, Debug)]
pub struct Cut {
    /// Which request: one that holds this text; any where it is empty.
    pub request: Vec<u8>,
    /// So many bytes of the answer arrive. With none of them the server has done what it was asked and nobody learns it.
    pub after: usize,
}

impl Cut {
    /// The server does it, and nobody learns it.
    pub fn before_reply(request: &str) -> Self {
        Self::after(request, 0)
    }

    pub fn after(request: &str, after: usize) -> Self {
        Self { request: request.as_bytes().to_vec(), after }
    }
}

/// What a proxy has seen and done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub listening: bool,
    /// Connections accepted so far.
    pub connections: u64,
    /// Those that are open and not frozen.
    pub open: u64,
    pub frozen: u64,
    pub reset: u64,
    pub cut: u64,
}

/// Until which of the connections, by number, something is done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fates {
    pub(super) reset_up_to: u64,
    pub(super) frozen_up_to: u64,
}

/// The script, as connections see it.
pub(super) struct Shared {
    pub(super) server: u16,
    pub(super) mode: watch::Sender<Mode>,
    pub(super) fates: watch::Sender<Fates>,
    pub(super) seen: watch::Sender<Seen>,
    pub(super) cut: Mutex<Option<Cut>>,
}

impl Shared {
    pub(super) fn new(server: u16) -> Self {
        Self {
            server,
            mode: watch::Sender::new(Mode::Through),
            fates: watch::Sender::new(Fates::default()),
            seen: watch::Sender::new(Seen { listening: true, ..Seen::default() }),
            cut: Mutex::new(None),
        }
    }

    /// Counts a new connection, and gives its number.
    pub(super) fn opened(&self) -> u64 {
        self.seen.send_modify(|seen| {
            seen.connections += 1;
            seen.open += 1;
        });
        self.seen.borrow().connections
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Seen)) {
        self.seen.send_modify(change);
    }

    /// The cut that was ordered, if a request that ends with these bytes holds its text.
    pub(super) fn take_cut(&self, said: &[u8]) -> Option<Cut> {
        let mut ordered = self.cut.lock();
        let fits = |cut: &Cut| cut.request.is_empty() || said.windows(cut.request.len()).any(|part| part == cut.request);
        let fits = ordered.as_ref().is_some_and(fits);
        if fits { ordered.take() } else { None }
    }
}
