//! One connection through a proxy.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::sleep;

use super::script::{Mode, Shared};

/// What is forwarded at once.
const PIECE: usize = 16 * 1024;

/// A text that decides over a cut may stand in two pieces; this much of the earlier one is looked at again.
const LOOK_BACK: usize = 128;

/// A slow line is slow in steps of this length.
const STEP: Duration = Duration::from_millis(20);

enum Ending {
    Closed,
    Reset,
    Frozen,
    Cut,
}

pub(super) async fn serve(mut client: TcpStream, number: u64, shared: Arc<Shared>) {
    let ending = {
        let mut fates = shared.fates.subscribe();
        let fate = async {
            match fates.wait_for(|fates| fates.reset_up_to.max(fates.frozen_up_to) >= number).await {
                Ok(fates) if fates.reset_up_to < number => Ending::Frozen,
                _ => Ending::Reset,
            }
        };
        tokio::select! {
            ending = carry(&mut client, &shared) => ending,
            ending = fate => ending,
        }
    };
    match ending {
        Ending::Closed => shared.count(|seen| seen.open -= 1),
        Ending::Reset => {
            reset(client);
            shared.count(|seen| (seen.open, seen.reset) = (seen.open - 1, seen.reset + 1));
        }
        Ending::Cut => {
            reset(client);
            shared.count(|seen| (seen.open, seen.cut) = (seen.open - 1, seen.cut + 1));
        }
        Ending::Frozen => {
            shared.count(|seen| (seen.open, seen.frozen) = (seen.open - 1, seen.frozen + 1));
            // Open, with nobody behind it, until the proxy or the client ends.
            std::future::pending::<()>().await;
            drop(client);
        }
    }
}

/// Closes without a farewell.
fn reset(socket: TcpStream) {
    // Where it is closed already there is nothing to reset.
    let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
}

/// Forwards in both directions until one of them ends.
async fn carry(client: &mut TcpStream, shared: &Shared) -> Ending {
    moving(shared).await;
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", shared.server)).await else { return Ending::Reset };
    for socket in [&*client, &server] {
        if socket.set_nodelay(true).is_err() {
            return Ending::Reset;
        }
    }
    let cut_after = Mutex::new(None);
    let ending = {
        let (client_in, client_out) = client.split();
        let (server_in, server_out) = server.split();
        tokio::select! {
            ending = requests(client_in, server_out, shared, &cut_after) => ending,
            ending = answers(server_in, client_out, shared, &cut_after) => ending,
        }
    };
    if !matches!(ending, Ending::Closed) {
        reset(server);
    }
    ending
}

/// Waits for the end of a blackhole.
async fn moving(shared: &Shared) {
    // The sender lives as long as this.
    let _ = shared.mode.subscribe().wait_for(|mode| *mode != Mode::Blackhole).await;
}

/// Reads the next piece, but in a blackhole none; then a connection that its other end has given up has no next piece: what
/// was sent before that is lost.
async fn next(from: &mut ReadHalf<'_>, buffer: &mut [u8], shared: &Shared) -> Result<usize, Ending> {
    let mut mode = shared.mode.subscribe();
    loop {
        if *mode.borrow_and_update() == Mode::Blackhole {
            moving(shared).await;
            let ready = from.ready(Interest::READABLE).now_or_never();
            if ready.is_some_and(|ready| ready.map_or(true, |ready| ready.is_read_closed())) {
                return Err(Ending::Reset);
            }
        }
        tokio::select! {
            biased;
            _ = mode.changed() => {}
            read = from.read(buffer) => return match read {
                Ok(0) => Err(Ending::Closed),
                Ok(length) => Ok(length),
                Err(_) => Err(Ending::Reset),
            },
        }
    }
}

async fn requests(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, shared: &Shared, cut_after: &Mutex<Option<usize>>) -> Ending {
    let mut buffer = vec![0; PIECE];
    let mut said = Vec::new();
    loop {
        let length = match next(&mut from, &mut buffer, shared).await {
            Ok(length) => length,
            Err(ending) => return ending,
        };
        said.drain(..said.len().saturating_sub(LOOK_BACK));
        said.extend_from_slice(&buffer[..length]);
        if let Some(cut) = shared.take_cut(&said) {
            *cut_after.lock() = Some(cut.after);
        }
        let mode = *shared.mode.borrow();
        if let Mode::Late(delay) = mode {
            sleep(delay).await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return Ending::Reset;
        }
    }
}

async fn answers(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, shared: &Shared, cut_after: &Mutex<Option<usize>>) -> Ending {
    let mut buffer = vec![0; PIECE];
    loop {
        let piece = match *shared.mode.borrow() {
            Mode::Throttled { bytes_per_second } => (bytes_per_second / (1000 / STEP.as_millis() as usize)).clamp(1, PIECE),
            _ => PIECE,
        };
        let mut length = match next(&mut from, &mut buffer[..piece], shared).await {
            Ok(length) => length,
            Err(ending) => return ending,
        };
        let left = *cut_after.lock();
        if let Some(left) = left {
            length = length.min(left);
            *cut_after.lock() = Some(left - length);
        }
        let mode = *shared.mode.borrow();
        match mode {
            Mode::Late(delay) => sleep(delay).await,
            Mode::Throttled { .. } => sleep(STEP).await,
            _ => {}
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return Ending::Reset;
        }
        if left.is_some_and(|left| left == length) {
            return Ending::Cut;
        }
    }
}
