//! Servers that do what no server should: each ends in a prompt error of the right kind.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::chunk::{Frames, write_chunked};
use super::encode::PackStreamWriter;
use super::{BoltReader, Limits, Probe};
use crate::config::Secret;
use crate::error::{ErrorKind, Result};
use crate::model::bookmark::Bookmark;
use crate::model::element::SourceNode;
use crate::source::{Reader, Request, SourceAddress};

const LIMIT: Duration = Duration::from_millis(300);

/// What every error here has to come within: a second, and what a machine that does much else adds.
const PROMPT: Duration = Duration::from_secs(60);

const LIMITS: Limits = Limits {
    connect: LIMIT,
    handshake: LIMIT,
    message: LIMIT,
    pool: LIMIT,
    idle: Duration::from_secs(3),
    sign_of_life: LIMIT,
    catch_up: LIMIT,
    query: Duration::from_secs(2),
    message_bytes: 10_000,
};

/// What a server does after it sent its answer to a query.
#[derive(Clone, Copy)]
enum AfterwardsDo {
    GoOn,
    Close,
    /// Nothing, for ever.
    Hang,
    /// The sign of life again and again.
    KeepAlive,
    /// A chunk's bytes one by one, for ever.
    Drip,
}

#[derive(Clone)]
struct Script {
    /// The answer to the version handshake; none to be silent.
    version: Option<[u8; 4]>,
    /// The answers to HELLO and LOGON; none to be silent.
    log_on: Option<[Vec<u8>; 2]>,
    /// The answer to a query but the first, which is the one of connecting.
    answer: Vec<u8>,
    then: AfterwardsDo,
}

impl Default for Script {
    fn default() -> Self {
        let log_on = [message(&success(&[])), message(&success(&[]))];
        Self { version: Some([0, 0, 8, 5]), log_on: Some(log_on), answer: Vec::new(), then: AfterwardsDo::Hang }
    }
}

/// A server that follows its script on every connection.
struct Broken {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Broken {
    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let nth = counter.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(follow(script.clone(), socket, nth));
            }
        });
        Self { address, connections }
    }

    fn address(&self, pool_size: usize) -> SourceAddress {
        SourceAddress {
            uri: format!("bolt://{}", self.address),
            user: "neo4j".to_owned(),
            password: Secret::new("pw"),
            database: None,
            pool_size,
            ca_file: None,
        }
    }

    async fn reader(&self) -> Result<BoltReader> {
        BoltReader::connect(&self.address(1), LIMITS).await
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// The queries that a script answers well: the one of connecting.
async fn follow(script: Script, mut socket: TcpStream, nth: usize) -> std::io::Result<()> {
    let mut handshake = [0; 20];
    socket.read_exact(&mut handshake).await?;
    let Some(version) = script.version else { return hang().await };
    socket.write_all(&version).await?;
    let mut frames = Frames::new(1 << 20);
    let mut queries = 0;
    let mut log_on = script.log_on.into_iter().flatten();
    loop {
        while let Ok(Some(place)) = frames.message() {
            match frames.bytes(place)[1] {
                0x01 | 0x6A => match log_on.next() {
                    Some(answer) => socket.write_all(&answer).await?,
                    None => return hang().await,
                },
                0x10 if queries == 0 && nth == 0 => {}
                0x10 => {
                    socket.write_all(&script.answer).await?;
                    match script.then {
                        AfterwardsDo::GoOn => {}
                        AfterwardsDo::Close => return Ok(()),
                        AfterwardsDo::Hang => return hang().await,
                        AfterwardsDo::KeepAlive => return repeat(&mut socket, &[0, 0]).await,
                        AfterwardsDo::Drip => return drip(&mut socket).await,
                    }
                }
                0x2F => {
                    queries += 1;
                    socket.write_all(&[message(&success(&[])), message(&success(&[]))].concat()).await?;
                }
                0x0F => socket.write_all(&[message(&[0xB0, 0x7E]), message(&success(&[]))].concat()).await?,
                _ => {}
            }
        }
        match socket.read(frames.room()).await? {
            0 => return Ok(()),
            bytes => frames.arrived(bytes),
        }
    }
}

async fn hang() -> std::io::Result<()> {
    std::future::pending().await
}

async fn repeat(socket: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    loop {
        socket.write_all(bytes).await?;
        tokio::time::sleep(LIMIT / 10).await;
    }
}

async fn drip(socket: &mut TcpStream) -> std::io::Result<()> {
    socket.write_all(&[0x10, 0x00]).await?;
    repeat(socket, &[0x41]).await
}

/// A message in one chunk.
fn message(body: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    write_chunked(body, &mut stream);
    stream
}

fn success(columns: &[&str]) -> Vec<u8> {
    let mut packer = PackStreamWriter::default();
    packer.structure(1, 0x70);
    packer.map(1);
    packer.text("fields").unwrap();
    packer.texts(&columns.iter().map(|&column| column.to_owned()).collect::<Vec<_>>()).unwrap();
    packer.into_bytes()
}

fn failure(code: &str) -> Vec<u8> {
    let mut packer = PackStreamWriter::default();
    packer.structure(1, 0x7F);
    packer.map(2);
    for text in ["neo4j_code", code, "message", "because"] {
        packer.text(text).unwrap();
    }
    packer.into_bytes()
}

/// The columns of a node, and then these bytes as the first row.
fn node_row(row: &[u8]) -> Vec<u8> {
    [message(&success(&["id", "labels", "properties"])), message(row)].concat()
}

/// One good node.
fn good_rows() -> Vec<u8> {
    [node_row(b"\xB1\x71\x93\x854:u:7\x90\xA0"), message(&success(&[]))].concat()
}

async fn prompt<T>(future: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let outcome = tokio::time::timeout(PROMPT, future).await.expect("no answer at all");
    assert!(started.elapsed() < PROMPT);
    outcome
}

async fn nodes(reader: &BoltReader) -> Result<Vec<SourceNode>> {
    Ok(prompt(reader.nodes("Entity", Request::new("MATCH"), usize::MAX)).await?.rows)
}

/// The kind of error that reading from such a server ends with, and that no connection is kept.
async fn kind_of_reading(answer: Vec<u8>, then: AfterwardsDo) -> ErrorKind {
    let server = Broken::start(Script { answer, then, ..Script::default() }).await;
    let reader = server.reader().await.unwrap();
    let kind = nodes(&reader).await.unwrap_err().kind();
    nodes(&reader).await.unwrap_err();
    assert_eq!(server.connections(), 2, "a connection in an unknown state was used again");
    kind
}

async fn kind_of_connecting(script: Script) -> ErrorKind {
    let server = Broken::start(script).await;
    prompt(server.reader()).await.map(drop).unwrap_err().kind()
}

#[tokio::test]
async fn a_server_that_never_shakes_hands() {
    assert_eq!(kind_of_connecting(Script { version: None, ..Script::default() }).await, ErrorKind::SourceTimeout);
    assert_eq!(kind_of_connecting(Script { log_on: None, ..Script::default() }).await, ErrorKind::SourceTimeout);
}

#[tokio::test]
async fn a_server_of_another_protocol() {
    let version = |version| Script { version: Some(version), ..Script::default() };
    assert_eq!(kind_of_connecting(version(*b"HTTP")).await, ErrorKind::Configuration);
    assert_eq!(kind_of_connecting(version([0; 4])).await, ErrorKind::Configuration);
    assert_eq!(kind_of_connecting(version([0, 0, 4, 4])).await, ErrorKind::SourceProtocol);
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Broken { address: listener.local_addr().unwrap(), connections: Arc::default() };
    drop(listener);
    assert_eq!(server.reader().await.map(drop).unwrap_err().kind(), ErrorKind::SourceConnection);
}

#[tokio::test]
async fn a_refused_log_on() {
    let refused = message(&failure("Neo.ClientError.Security.Unauthorized"));
    let script = Script { log_on: Some([message(&success(&[])), refused]), ..Script::default() };
    let server = Broken::start(script).await;
    let error = server.reader().await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SourceAuthentication);
    assert!(!error.chain().contains("pw"), "{}", error.chain());
}

#[tokio::test]
async fn an_end_inside_a_chunk() {
    let mut cut = node_row(b"\xB1\x71\x93\x854:u:7");
    cut.truncate(cut.len() - 4);
    assert_eq!(kind_of_reading(cut, AfterwardsDo::Close).await, ErrorKind::SourceConnection);
}

#[tokio::test]
async fn lengths_that_no_message_has() {
    for row in [
        &b"\xB1\x71\xD6\x80\0\0\0"[..],
        b"\xB1\x71\x93\x854:u:7\xD6\x7F\xFF\xFF\xFF",
        b"\xB1\x71\x93\x854:u:7\x90\xDA\xFF\xFF\xFF\xFF",
        b"\xB1\x71\x93\x854:u:7\x90\xA1\x81a\xD2\x7F\xFF\xFF\xFF",
        b"\xB1\x71\x93\x854:u:7\x90\xA1\x81a\xCE\x7F\xFF\xFF\xFF",
    ] {
        assert_eq!(kind_of_reading(node_row(row), AfterwardsDo::Hang).await, ErrorKind::SourceProtocol, "{row:x?}");
    }
}

#[tokio::test]
async fn answers_that_mean_nothing() {
    for row in [&b"\xC4"[..], b"\x01\x02\x03", b"\xB1\x99\xA0", b"\xB1\x71\x92\xC0\xC0", b"\xB1\x71\x93\x854:u:7\x90\xA0\x01"] {
        assert_eq!(kind_of_reading(node_row(row), AfterwardsDo::Hang).await, ErrorKind::SourceProtocol, "{row:x?}");
    }
    let other_columns = message(&success(&["id", "properties", "labels"]));
    assert_eq!(kind_of_reading(other_columns, AfterwardsDo::Hang).await, ErrorKind::SourceProtocol);
}

#[tokio::test]
async fn a_message_without_an_end() {
    assert_eq!(kind_of_reading(node_row(&[0x41; 20_000]), AfterwardsDo::Hang).await, ErrorKind::SourceProtocol);
    assert_eq!(kind_of_reading(vec![], AfterwardsDo::Drip).await, ErrorKind::SourceTimeout);
}

#[tokio::test]
async fn silence_and_signs_of_life_without_an_answer() {
    assert_eq!(kind_of_reading(vec![], AfterwardsDo::Hang).await, ErrorKind::SourceTimeout);
    assert_eq!(kind_of_reading(vec![], AfterwardsDo::KeepAlive).await, ErrorKind::SourceTimeout);
    assert_eq!(kind_of_reading(vec![], AfterwardsDo::Close).await, ErrorKind::SourceConnection);
}

#[tokio::test]
async fn a_failed_query_leaves_a_good_connection() {
    let answer = message(&failure("Neo.ClientError.Statement.SyntaxError"));
    let server = Broken::start(Script { answer, then: AfterwardsDo::GoOn, ..Script::default() }).await;
    let reader = server.reader().await.unwrap();
    for _ in 0..2 {
        assert_eq!(nodes(&reader).await.unwrap_err().kind(), ErrorKind::SourceRefused);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_replaced_unnoticed() {
    let server = Broken::start(Script { answer: good_rows(), then: AfterwardsDo::Close, ..Script::default() }).await;
    let reader = server.reader().await.unwrap();
    for expected in 1..=3 {
        assert_eq!(nodes(&reader).await.unwrap().len(), 1);
        assert_eq!(server.connections(), expected);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// It answers once and then never again, as one does whose other end is gone without a word.
#[tokio::test]
async fn a_kept_connection_that_does_not_answer_is_replaced() {
    let server = Broken::start(Script { answer: good_rows(), then: AfterwardsDo::Hang, ..Script::default() }).await;
    let limits = Limits { idle: Duration::ZERO, ..LIMITS };
    let reader = BoltReader::connect(&server.address(1), limits).await.unwrap();
    // The first one was made by connecting.
    for expected in 2..=4 {
        assert_eq!(prompt(nodes(&reader)).await.unwrap().len(), 1);
        assert_eq!(server.connections(), expected);
    }
}

#[tokio::test]
async fn a_query_given_up_takes_its_connection_along() {
    let server = Broken::start(Script { then: AfterwardsDo::Hang, ..Script::default() }).await;
    // No limit of the reader's own comes first.
    let limits = Limits { message: PROMPT, query: PROMPT, ..LIMITS };
    let reader = BoltReader::connect(&server.address(1), limits).await.unwrap();
    let given_up = tokio::time::timeout(LIMIT, reader.nodes("Entity", Request::new("MATCH"), usize::MAX)).await;
    assert!(given_up.is_err());
    let is_connected_again = async {
        while server.connections() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = nodes(&reader) => panic!("an answer of a server that hangs: {:?}", answer.map(|rows| rows.len())),
        connected = tokio::time::timeout(PROMPT, is_connected_again) => connected.unwrap(),
    }
}

#[tokio::test]
async fn no_more_connections_than_the_pool_holds() {
    let server = Broken::start(Script { answer: good_rows(), then: AfterwardsDo::GoOn, ..Script::default() }).await;
    let reader = server.reader().await.unwrap();
    let taken = reader.pool.lease().await.unwrap();
    let error = nodes(&reader).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SourceTimeout, "{}", error.chain());
    taken.give_back();
    assert_eq!(nodes(&reader).await.unwrap().len(), 1);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_probe_recovers_from_every_error() {
    let server = Broken::start(Script { log_on: None, ..Script::default() }).await;
    let mut probe = Probe::new(&server.address(1), LIMITS).unwrap();
    for attempt in 1..=2 {
        let outcome: Result<Bookmark> = prompt(probe.bookmark()).await;
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::SourceTimeout);
        assert_eq!(server.connections(), attempt);
    }
}
