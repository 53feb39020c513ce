//! Stands between a client and a server, and does to their bytes what networks do on a bad day, when a test says so.
//!
//! What happened is told by [`Seen`]: a test waits for that, never for a time.

mod connection;
mod script;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::servers::ports;
use super::{Error, Result};
use script::Shared;
pub use script::{Cut, Mode, Seen};

/// What a test waits for happens within this time, or not at all.
const HAPPENS_WITHIN: Duration = Duration::from_secs(120);

/// A port of its own, behind which is a server; closed with it.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Before the server on this port of the loopback interface.
    pub async fn before(server: u16) -> Result<Self> {
        // Not one that the system may give to somebody else while nobody listens here.
        let port = ports::free()?;
        let listener = listen(port).await?;
        let shared = Arc::new(Shared::new(server));
        let task = tokio::spawn(accept(listener, port, Arc::clone(&shared)));
        Ok(Self { port, shared, task })
    }

    /// What happens to all bytes from now on.
    pub async fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
        self.until("the proxy listens as told", |seen| seen.listening == (mode != Mode::Refuse)).await;
    }

    /// Resets the connections that there are; new ones are forwarded.
    pub async fn reset(&self) {
        let before = self.seen();
        self.shared.fates.send_modify(|fates| fates.reset_up_to = before.connections);
        self.until("connections are reset", |seen| seen.open == 0 || seen.reset > before.reset).await;
    }

    /// Leaves the connections that there are open without an answer for ever; new ones are forwarded.
    pub async fn freeze(&self) {
        let before = self.seen();
        self.shared.fates.send_modify(|fates| fates.frozen_up_to = before.connections);
        self.until("connections are frozen", |seen| seen.open == 0 || seen.frozen > before.frozen).await;
    }

    /// Has the answer to the next request that fits cut. One at a time: [`Seen::cut`] counts them.
    pub fn cut(&self, cut: Cut) {
        *self.shared.cut.lock() = Some(cut);
    }

    /// Takes back what [`Self::cut`] ordered, if it has not happened.
    pub fn spare(&self) {
        *self.shared.cut.lock() = None;
    }

    pub fn seen(&self) -> Seen {
        *self.shared.seen.borrow()
    }

    /// Waits until something has happened.
    pub async fn until(&self, what: &str, wanted: impl FnMut(&Seen) -> bool) -> Seen {
        let mut seen = self.shared.seen.subscribe();
        let waited = timeout(HAPPENS_WITHIN, seen.wait_for(wanted)).await;
        match waited {
            Ok(Ok(seen)) => *seen,
            _ => panic!("it did not happen that {what}: {:?}", self.seen()),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(port: u16) -> Result<TcpListener> {
    let failed = |error: std::io::Error| Error::Unexpected(format!("no port for a proxy: {error}"));
    TcpListener::bind(("127.0.0.1", port)).await.map_err(failed)
}

async fn accept(listener: TcpListener, port: u16, shared: Arc<Shared>) {
    let mut mode = shared.mode.subscribe();
    let mut listener = Some(listener);
    // Ended with this task.
    let mut connections = JoinSet::new();
    loop {
        if *mode.borrow_and_update() == Mode::Refuse {
            listener = None;
            shared.seen.send_modify(|seen| seen.listening = false);
            let reached = shared.seen.borrow().connections;
            shared.fates.send_modify(|fates| fates.reset_up_to = reached);
            if mode.wait_for(|mode| *mode != Mode::Refuse).await.is_err() {
                return;
            }
            continue;
        }
        let listening = match listener.take() {
            Some(listening) => listening,
            None => match listen(port).await {
                Ok(listening) => listening,
                Err(error) => panic!("{error}"),
            },
        };
        shared.seen.send_if_modified(|seen| !std::mem::replace(&mut seen.listening, true));
        tokio::select! {
            _ = mode.changed() => {}
            accepted = listening.accept() => if let Ok((client, _)) = accepted {
                let number = shared.opened();
                connections.spawn(connection::serve(client, number, Arc::clone(&shared)));
            }
        }
        listener = Some(listening);
        while connections.try_join_next().is_some() {}
    }
}
