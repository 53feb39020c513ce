//! Stands between a client and a server, and keeps what the client says.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{Error, Result};

/// A port of its own, behind which is a server; closed with it.
pub struct Recorder {
    pub port: u16,
    said: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Recorder {
    /// Before the server on this port of the loopback interface.
    pub async fn before(server: u16) -> Result<Self> {
        let failed = |error: std::io::Error| Error::Unexpected(format!("no port to record at: {error}"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let said = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(accept(listener, server, Arc::clone(&said)));
        Ok(Self { port, said, task })
    }

    /// What clients said since the last call, as far as it is text.
    pub fn take(&self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut *self.said.lock())).into_owned()
    }

    /// How often clients said something since the last [`Self::take`].
    pub fn count(&self, text: &str) -> usize {
        String::from_utf8_lossy(&self.said.lock()).matches(text).count()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: u16, said: Arc<Mutex<Vec<u8>>>) {
    while let Ok((client, _)) = listener.accept().await {
        let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
        let (client_in, mut client_out) = client.into_split();
        let (mut server_in, server_out) = server.into_split();
        tokio::spawn(forward(client_in, server_out, Arc::clone(&said)));
        tokio::spawn(async move { tokio::io::copy(&mut server_in, &mut client_out).await });
    }
}

async fn forward(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    said: Arc<Mutex<Vec<u8>>>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        said.lock().extend_from_slice(&buffer[..read]);
        to.write_all(&buffer[..read]).await?;
    }
}
