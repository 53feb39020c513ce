//! Servers that do what no server should: each ends in an ordinary error of the right kind, in time.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{ControlPlane, DriverLimits};
use crate::config::Secret;
use crate::error::{Directive, Error, ErrorKind};
use crate::source::SourceAddress;

const LIMITS: DriverLimits =
    DriverLimits { connect: Duration::from_millis(500), question: Duration::from_secs(1), idle: Duration::from_millis(400) };

/// What every error here has to come within: seconds, and what a machine that does much else adds.
const PROMPT: Duration = Duration::from_secs(60);

const BOLT_4_4: [u8; 4] = [0, 0, 4, 4];

#[derive(Clone)]
struct BoltScript {
    /// The answer to the version handshake; `None` means that the server stays silent.
    version: Option<[u8; 4]>,
    /// The answer to a log on; `None` means that the server stays silent.
    log_on: Option<Vec<u8>>,
    /// The answer to a query after the trivial one of connecting; none to be silent.
    answer: Option<Vec<u8>>,
    /// Whether the connection is closed after that answer.
    closes: bool,
}

impl Default for BoltScript {
    fn default() -> Self {
        Self { version: Some(BOLT_4_4), log_on: Some(message(SUCCESS)), answer: None, closes: false }
    }
}

/// A server that follows its script on every connection.
struct BrokenDriverServer {
    address: SocketAddr,
    opened: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
}

impl BrokenDriverServer {
    async fn start(script: BoltScript) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (opened, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let server = Self { address, opened: Arc::clone(&opened), closed: Arc::clone(&closed) };
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                opened.fetch_add(1, Ordering::Relaxed);
                let (script, closed) = (script.clone(), Arc::clone(&closed));
                tokio::spawn(async move {
                    let _ = follow(script, socket).await;
                    closed.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        server
    }

    fn control_plane(&self) -> ControlPlane {
        let address = SourceAddress {
            uri: format!("bolt://{}", self.address),
            user: "neo4j".to_owned(),
            password: Secret::new("pw"),
            database: None,
            pool_size: 1,
            ca_file: None,
        };
        ControlPlane::with_limits(&address, LIMITS)
    }
}

async fn follow(script: BoltScript, mut socket: TcpStream) -> std::io::Result<()> {
    let mut handshake = [0; 20];
    socket.read_exact(&mut handshake).await?;
    let Some(version) = script.version else { return until_closed(&mut socket).await };
    socket.write_all(&version).await?;
    let mut queries = 0;
    loop {
        let body = read_message(&mut socket).await?;
        match body.get(1) {
            Some(0x01) => match &script.log_on {
                Some(answer) => socket.write_all(answer).await?,
                None => return until_closed(&mut socket).await,
            },
            Some(0x10) if queries == 0 => {
                queries += 1;
                socket.write_all(&[message(&fields("one")), message(b"\xB1\x71\x91\x01"), message(SUCCESS)].concat()).await?;
            }
            Some(0x10) => match &script.answer {
                Some(answer) => {
                    socket.write_all(answer).await?;
                    if script.closes {
                        return Ok(());
                    }
                }
                None => return until_closed(&mut socket).await,
            },
            Some(0x0F) => socket.write_all(&message(SUCCESS)).await?,
            // A pull is answered with its query.
            _ => {}
        }
    }
}

async fn until_closed(socket: &mut TcpStream) -> std::io::Result<()> {
    let mut room = [0; 1_024];
    while socket.read(&mut room).await? > 0 {}
    Ok(())
}

async fn read_message(socket: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let length = usize::from(socket.read_u16().await?);
        if length == 0 {
            return Ok(body);
        }
        let begun = body.len();
        body.resize(begun + length, 0);
        socket.read_exact(&mut body[begun..]).await?;
    }
}

const SUCCESS: &[u8] = b"\xB1\x70\xA0";

/// A message in one chunk.
fn message(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&length[..], body, &[0, 0]].concat()
}

/// The summary of a query with one column.
fn fields(column: &str) -> Vec<u8> {
    [b"\xB1\x70\xA1\x86fields\x91", &[0x80 | column.len() as u8][..], column.as_bytes()].concat()
}

fn failure(code: &str) -> Vec<u8> {
    let code = [&[0xD0, code.len() as u8][..], code.as_bytes()].concat();
    message(&[&b"\xB1\x7F\xA2\x84code"[..], &code, b"\x87message\x87because"].concat())
}

/// The answer of a query for names, with this as its row.
fn names(row: &[u8]) -> Vec<u8> {
    [message(&fields("name")), message(row), message(SUCCESS)].concat()
}

async fn prompt<T>(future: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let outcome = tokio::time::timeout(PROMPT, future).await.expect("no answer at all");
    assert!(started.elapsed() < PROMPT);
    outcome
}

async fn ask(control: &ControlPlane) -> Result<Vec<String>, Error> {
    control.after(None).names("labels", "CALL").await
}

async fn kind_of_asking(answer: Option<Vec<u8>>, closes: bool) -> ErrorKind {
    let server = BrokenDriverServer::start(BoltScript { answer, closes, ..BoltScript::default() }).await;
    let control = server.control_plane();
    let error = prompt(ask(&control)).await.unwrap_err();
    assert!(error.to_string().contains("cannot read labels"), "{}", error.chain());
    // A connection in an unknown state is not used again.
    prompt(ask(&control)).await.unwrap_err();
    // What may pass is asked again, and not for ever.
    let attempts = if error.directive() == Directive::Retry { 4 } else { 1 };
    assert_eq!(server.opened.load(Ordering::Relaxed), 2 * attempts);
    error.kind()
}

async fn kind_of_connecting(script: BoltScript) -> ErrorKind {
    let server = BrokenDriverServer::start(script).await;
    let error = prompt(server.control_plane().connect()).await.unwrap_err();
    assert!(error.chain().contains(&server.address.to_string()) && !error.chain().contains("pw"), "{}", error.chain());
    error.kind()
}

#[tokio::test]
async fn a_server_that_never_shakes_hands() {
    assert_eq!(kind_of_connecting(BoltScript { version: None, ..BoltScript::default() }).await, ErrorKind::SourceTimeout);
    assert_eq!(kind_of_connecting(BoltScript { log_on: None, ..BoltScript::default() }).await, ErrorKind::SourceTimeout);
    assert_eq!(kind_of_connecting(BoltScript::default()).await, ErrorKind::SourceTimeout, "no answer to the first question");
}

#[tokio::test]
async fn a_server_of_another_protocol() {
    let version = |version| BoltScript { version: Some(version), ..BoltScript::default() };
    assert_eq!(kind_of_connecting(version(*b"HTTP")).await, ErrorKind::Configuration);
    assert_eq!(kind_of_connecting(version([0; 4])).await, ErrorKind::Configuration);
    let malformed = BoltScript { log_on: Some(message(b"\xB1\x70\xA1\xD0\x40x")), ..BoltScript::default() };
    assert_eq!(kind_of_connecting(malformed).await, ErrorKind::SourceProtocol);
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let server = BrokenDriverServer { address, opened: Arc::default(), closed: Arc::default() };
    let error = server.control_plane().connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SourceConnection);
    assert_eq!(error.to_string(), format!("cannot reach Neo4j at bolt://{address}"));
}

/// A text that is longer than its message.
#[tokio::test]
async fn an_answer_on_which_the_driver_panics() {
    let answer = Some(names(b"\xB1\x71\x91\xD0\x40x"));
    let server = BrokenDriverServer::start(BoltScript { answer, ..BoltScript::default() }).await;
    let control = server.control_plane();
    for opened in 1..=2 {
        let error = prompt(ask(&control)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SourceProtocol);
        assert!(error.chain().contains("the driver panicked"), "{}", error.chain());
        assert_eq!(server.opened.load(Ordering::Relaxed), opened);
    }
}

#[tokio::test]
async fn answers_that_mean_nothing() {
    for row in [
        &b"\xB1\x71\x91\xD2\x7F\xFF\xFF\xFF"[..],
        b"\xB1\x71\x92\x81a",
        b"\xB1\x71\x91\xC4",
        b"\xB1\x71\x91\xDF",
        b"\xB1\x71\x91\x2A",
        b"\xB1\x71",
        b"\xB1\x99\xA0",
    ] {
        assert_eq!(kind_of_asking(Some(names(row)), false).await, ErrorKind::SourceProtocol, "{row:x?}");
    }
}

#[tokio::test]
async fn silence_and_an_end_in_the_middle() {
    assert_eq!(kind_of_asking(None, false).await, ErrorKind::SourceTimeout);
    assert_eq!(kind_of_asking(Some(message(&fields("name"))), false).await, ErrorKind::SourceTimeout);
    assert_eq!(kind_of_asking(Some(message(&fields("name"))), true).await, ErrorKind::SourceConnection);
    let mut cut = message(&fields("name"));
    cut.truncate(cut.len() - 4);
    assert_eq!(kind_of_asking(Some(cut), true).await, ErrorKind::SourceConnection);
}

#[tokio::test]
async fn a_refused_question_leaves_a_good_connection() {
    let ignored = message(b"\xB0\x7E");
    let answer = [failure("Neo.ClientError.Statement.SyntaxError"), ignored].concat();
    let server = BrokenDriverServer::start(BoltScript { answer: Some(answer), ..BoltScript::default() }).await;
    let control = server.control_plane();
    for _ in 0..2 {
        assert_eq!(prompt(ask(&control)).await.unwrap_err().kind(), ErrorKind::SourceRefused);
    }
    assert_eq!(server.opened.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_question_that_is_given_up_takes_its_connection_along() {
    let server = BrokenDriverServer::start(BoltScript::default()).await;
    let control = server.control_plane();
    let given_up = tokio::time::timeout(LIMITS.question / 3, ask(&control)).await;
    assert!(given_up.is_err());
    prompt(async {
        while server.closed.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_question_and_closed_when_none_comes() {
    let server =
        BrokenDriverServer::start(BoltScript { answer: Some(names(b"\xB1\x71\x91\x81a")), ..BoltScript::default() }).await;
    let control = server.control_plane();
    for _ in 0..3 {
        assert_eq!(prompt(ask(&control)).await.unwrap(), ["a"]);
    }
    assert_eq!((server.opened.load(Ordering::Relaxed), server.closed.load(Ordering::Relaxed)), (1, 0));
    prompt(async {
        while server.closed.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(prompt(ask(&control)).await.unwrap(), ["a"]);
    assert_eq!(server.opened.load(Ordering::Relaxed), 2);
}

/// The driver drops the code of a refused log on, so it is asked for once more. This server speaks Bolt 4 alone, which our own
/// client says.
#[tokio::test]
async fn a_refused_log_on_is_repeated_for_its_code() {
    let log_on = Some(failure("Neo.ClientError.Security.Unauthorized"));
    let server = BrokenDriverServer::start(BoltScript { log_on, ..BoltScript::default() }).await;
    let error = prompt(server.control_plane().connect()).await.unwrap_err();
    assert_eq!(server.opened.load(Ordering::Relaxed), 2);
    assert_eq!(error.kind(), ErrorKind::SourceProtocol, "{}", error.chain());
}
