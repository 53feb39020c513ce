//! A Neo4j that is reached through a routing table: reads go to the members that it names, and past those that do not answer.
//!
//! Neo4j Community has one member. A proxy before it stands for each member, and a listener that only describes a cluster for the
//! server that names them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use neo4j_falkordb_sync::source::bolt::{BoltReader, Limits, Probe};
use neo4j_falkordb_sync::source::{Request, SourceAddress};
use neo4rs::query;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::api::start;
use super::bolt::source_address;
use super::pipeline::{Pair, percent_encoded};
use crate::support::graph::{GraphSpec, build};
use crate::support::proxy::{Mode, Proxy};
use crate::support::servers::{Neo4jAddress, ports, source_lock};

/// A listener that speaks as much Bolt as it takes to describe a cluster.
struct Describer {
    port: u16,
    asked: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Describer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A text in PackStream.
fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    let head = if length < 16 { vec![0x80 + length] } else { vec![0xD0, length] };
    [head, text.as_bytes().to_vec()].concat()
}

fn head(marker: u8, length: usize) -> Vec<u8> {
    vec![marker + u8::try_from(length).unwrap()]
}

/// The answer to ROUTE: a table that is valid for this many seconds.
fn table(ttl: u8, leaders: &[u16], readers: &[u16], routers: &[u16]) -> Vec<u8> {
    let role = |name: &str, ports: &[u16]| {
        let addresses: Vec<Vec<u8>> = ports.iter().map(|port| text(&format!("127.0.0.1:{port}"))).collect();
        [head(0xA0, 2), text("addresses"), head(0x90, ports.len()), addresses.concat(), text("role"), text(name)].concat()
    };
    let servers = [head(0x90, 3), role("WRITE", leaders), role("READ", readers), role("ROUTE", routers)].concat();
    let described = [head(0xA0, 3), text("ttl"), vec![ttl], text("db"), text("neo4j"), text("servers"), servers].concat();
    [vec![0xB1, 0x70], head(0xA0, 1), text("rt"), described].concat()
}

impl Describer {
    async fn start(table: Vec<u8>) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let answer = move |message: &[u8]| match *message.get(1)? {
            HELLO | LOGON => Some(success(&[])),
            ROUTE => {
                counted.fetch_add(1, Ordering::Relaxed);
                Some(table.clone())
            }
            _ => None,
        };
        let (listener, port) = listen().await;
        Self { port, asked, task: tokio::spawn(serve(listener, answer)) }
    }

    /// Describes itself as the leader, beside these other members, and tells these transactions as the last ones, one after the
    /// other.
    async fn start_leader(mut last: impl Iterator<Item = u8> + Send + 'static, others: &[u16]) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let (listener, port) = listen().await;
        let routers = [&[port], others].concat();
        let answer = move |message: &[u8]| match *message.get(1)? {
            HELLO | LOGON | RUN => Some(success(&[])),
            ROUTE => Some(table(60, &[port], &[port], &routers)),
            DISCARD => {
                counted.fetch_add(1, Ordering::Relaxed);
                Some(success(&[("bookmark", &bookmark(last.next()?))]))
            }
            _ => None,
        };
        Self { port, asked, task: tokio::spawn(serve(listener, answer)) }
    }

    /// The address of a server that lets everybody in.
    fn address(&self, scheme: &str) -> SourceAddress {
        let uri = format!("{scheme}://127.0.0.1:{}", self.port);
        let (user, password, database) = ("neo4j".to_owned(), "any".to_owned(), "neo4j".to_owned());
        source_address(&Neo4jAddress { uri, user, password, database })
    }
}

const HELLO: u8 = 0x01;
const LOGON: u8 = 0x6A;
const RUN: u8 = 0x10;
const DISCARD: u8 = 0x2F;
const ROUTE: u8 = 0x66;

/// A bookmark as Neo4j writes it: the database and the number of a transaction.
fn bookmark(transaction: u8) -> String {
    let bytes = [&[0x91, 0xCC, 16][..], &[7; 16], &[transaction, 0x90]].concat();
    format!("FB:{}", STANDARD.encode(bytes))
}

fn success(entries: &[(&str, &str)]) -> Vec<u8> {
    let entries_of_text: Vec<u8> = entries.iter().flat_map(|(name, value)| [text(name), text(value)].concat()).collect();
    [vec![0xB1, 0x70], head(0xA0, entries.len()), entries_of_text].concat()
}

async fn listen() -> (TcpListener, u16) {
    let port = ports::free().unwrap();
    (TcpListener::bind(("127.0.0.1", port)).await.unwrap(), port)
}

async fn serve(listener: TcpListener, answer: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static) {
    let answer = Arc::new(Mutex::new(answer));
    while let Ok((stream, _)) = listener.accept().await {
        let answer = Arc::clone(&answer);
        tokio::spawn(async move { follow(stream, |message| answer.lock()(message)).await });
    }
}

/// Answers until the client hangs up, or says something that has no answer here.
async fn follow(mut stream: TcpStream, mut answer: impl FnMut(&[u8]) -> Option<Vec<u8>>) -> Option<()> {
    stream.read_exact(&mut [0; 20]).await.ok()?;
    stream.write_all(&[0, 0, 8, 5]).await.ok()?;
    loop {
        let message = message(&mut stream).await?;
        let answer = answer(&message)?;
        let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
        stream.write_all(&[&length[..], &answer, &[0, 0]].concat()).await.ok()?;
    }
}

async fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message: Vec<u8> = Vec::new();
    loop {
        let length = stream.read_u16().await.ok()?;
        if length == 0 && !message.is_empty() {
            return Some(message);
        }
        let mut chunk = vec![0; usize::from(length)];
        stream.read_exact(&mut chunk).await.ok()?;
        message.extend(chunk);
    }
}

fn routed(address: &SourceAddress, port: u16) -> SourceAddress {
    SourceAddress { uri: format!("neo4j://127.0.0.1:{port}"), ..address.clone() }
}

async fn count(reader: &BoltReader) -> u64 {
    reader.count("rows", Request::new("UNWIND range(1, 3) AS i RETURN i")).await.unwrap().rows
}

/// The port at which a server listens.
fn port_of(uri: &str) -> u16 {
    uri.rsplit(':').next().unwrap().parse().unwrap()
}

/// Neo4j itself describes what it is: one server, under the address at which it was asked, so it is usable behind any forwarding.
#[tokio::test]
async fn a_server_without_a_cluster_names_itself_as_it_was_reached() {
    let turn = source_lock().await;
    let address = source_address(&turn.address);
    let proxy = Proxy::before(port_of(&address.uri)).await.unwrap();
    for (scheme, connections) in [("bolt", 1), ("neo4j", 2)] {
        let before = proxy.seen().connections;
        let uri = format!("{scheme}://127.0.0.1:{}", proxy.port);
        let reader = BoltReader::connect(&SourceAddress { uri, ..address.clone() }, Limits::default()).await.unwrap();
        // With a scheme that routes, the first connection is only for the question.
        assert_eq!(proxy.seen().connections - before, connections, "{scheme}");
        assert_eq!(count(&reader).await, 3);
    }
}

#[tokio::test]
async fn a_service_reads_from_the_members_that_are_named() {
    let pair = Pair::new("routed").await;
    build(&pair.source.graph, &GraphSpec { entities: 40, facts: 60, dimension: 8, ..GraphSpec::default() }).await.unwrap();
    let port = port_of(&pair.source.address.uri);
    let (reader, leader) = (Proxy::before(port).await.unwrap(), Proxy::before(port).await.unwrap());
    let describer = Describer::start(table(60, &[leader.port], &[reader.port], &[leader.port])).await;
    let service = pair.service.clone().with("NEO4J_URI", format!("neo4j://127.0.0.1:{}", describer.port));
    let (running, http) = start(&service).await;
    http.until_ready(true).await;
    let seen = (reader.seen().connections, leader.seen().connections);
    assert!(seen.0 >= 2 && seen.1 >= 1, "the control plane and the reads, and the probe: {seen:?}");
    pair.source.graph.run(query("CREATE (:Entity {uuid: 'new', group_id: 'g', created_at: datetime()})")).await.unwrap();
    let bookmark = percent_encoded(&pair.bookmark().await);
    let (code, body) = http.get(&format!("/api/sync/wait?bookmark={bookmark}&level=applied&timeout_ms=60000")).await;
    assert_eq!(code, 200, "{body}\n{}", running.log());
    pair.assert_equal().await;
    assert_eq!(running.terminate().await, 0);
}

#[tokio::test]
async fn members_that_do_not_answer_are_passed_over() {
    let turn = source_lock().await;
    let address = source_address(&turn.address);
    let port = port_of(&turn.address.uri);
    let (first, second, leader) =
        (Proxy::before(port).await.unwrap(), Proxy::before(port).await.unwrap(), Proxy::before(port).await.unwrap());
    let readers = [first.port, second.port];
    let describer = Describer::start(table(60, &[leader.port], &readers, &[leader.port])).await;
    let address = routed(&address, describer.port);

    let reader = BoltReader::connect(&address, Limits::default()).await.unwrap();
    let mut probe = Probe::new(&address, Limits::default()).unwrap();
    probe.bookmark().await.unwrap();
    let seen = |proxy: &Proxy| proxy.seen().connections;
    assert_eq!((seen(&first) + seen(&second), seen(&leader)), (1, 1), "reads go to readers, and the probe to the leader");
    assert_eq!(describer.asked.load(Ordering::Relaxed), 2, "once for the reads, and once for the probe");

    // Whichever member is gone, the other one is read.
    for (gone, other) in [(&first, &second), (&second, &first)] {
        gone.set(Mode::Refuse).await;
        let before = seen(other);
        let reader = BoltReader::connect(&address, Limits::default()).await.unwrap();
        assert_eq!((count(&reader).await, seen(other)), (3, before + 1));
        gone.set(Mode::Through).await;
    }
    // None is there for a moment.
    for proxy in [&first, &second] {
        proxy.set(Mode::Refuse).await;
    }
    let failed = reader.count("rows", Request::new("RETURN 1")).await;
    let failed = match failed {
        // The connection that it had did not notice yet.
        Ok(_) => reader.count("rows", Request::new("RETURN 1")).await.map(drop),
        failed => failed.map(drop),
    };
    assert!(failed.is_err());
    first.set(Mode::Through).await;
    assert_eq!(count(&reader).await, 3);
}

/// A probe gives up sooner than a connection to a silent member does, and does not find the same description again.
#[tokio::test]
async fn whoever_gave_up_on_a_silent_leader_asks_for_the_members_again() {
    let turn = source_lock().await;
    let address = source_address(&turn.address);
    let leader = Proxy::before(port_of(&address.uri)).await.unwrap();
    leader.set(Mode::Blackhole).await;
    let describer = Describer::start(table(60, &[leader.port], &[], &[])).await;
    let mut probe = Probe::new(&routed(&address, describer.port), Limits::default()).unwrap();
    for asked in 1..=2 {
        let given_up = tokio::time::timeout(Duration::from_secs(2), probe.bookmark()).await;
        assert!(given_up.is_err(), "a blackhole does not answer");
        assert_eq!(describer.asked.load(Ordering::Relaxed), asked);
    }
    leader.set(Mode::Through).await;
    probe.bookmark().await.unwrap();
    assert_eq!(describer.asked.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_cluster_without_a_leader_or_a_reader_says_so() {
    let turn = source_lock().await;
    let address = source_address(&turn.address);
    let port = port_of(&turn.address.uri);
    let describer = Describer::start(table(60, &[], &[port], &[port])).await;
    let leaderless = routed(&address, describer.port);
    let reader = BoltReader::connect(&leaderless, Limits::default()).await.unwrap();
    assert_eq!(count(&reader).await, 3, "reads need no leader");
    let mut probe = Probe::new(&leaderless, Limits::default()).unwrap();
    let error = probe.bookmark().await.unwrap_err().chain();
    assert!(error.contains("the cluster has no leader"), "{error}");
    let nobody = Describer::start(table(60, &[], &[], &[port])).await;
    let error = BoltReader::connect(&routed(&address, nobody.port), Limits::default()).await.map(drop).unwrap_err().chain();
    assert!(error.contains("the cluster has no member that serves the database"), "{error}");
}

/// The configured server answers, so its address alone would mislead.
#[tokio::test]
async fn an_error_names_the_member_that_cannot_be_reached() {
    let turn = source_lock().await;
    let closed = ports::free().unwrap();
    let describer = Describer::start(table(60, &[closed], &[closed], &[])).await;
    let address = routed(&source_address(&turn.address), describer.port);
    let error = BoltReader::connect(&address, Limits::default()).await.map(drop).unwrap_err().chain();
    assert!(error.contains(&format!("127.0.0.1:{closed}, a member of the cluster: ")) && error.contains(&address.uri), "{error}");
}

/// A member that has just become the leader applies what its predecessor told a moment later: that is no restored database.
#[tokio::test]
async fn a_leader_that_is_behind_is_asked_again() {
    let leader = Describer::start_leader([10, 8, 9, 12, 13].into_iter(), &[1]).await;
    let mut probe = Probe::new(&leader.address("neo4j"), Limits::default()).unwrap();
    for (transaction, asked) in [(10, 1), (12, 4), (13, 5)] {
        assert_eq!(probe.bookmark().await.unwrap().transaction(), Some(transaction));
        assert_eq!(leader.asked.load(Ordering::Relaxed), asked);
    }
}

/// Whoever asks gives up sooner, again and again, and learns of it nevertheless.
#[tokio::test]
async fn a_cluster_that_stays_behind_was_restored() {
    let leader = Describer::start_leader([10].into_iter().chain(std::iter::repeat(8)), &[1]).await;
    let limits = Limits { catch_up: Duration::from_secs(5), ..Limits::default() };
    let mut probe = Probe::new(&leader.address("neo4j"), limits).unwrap();
    assert_eq!(probe.bookmark().await.unwrap().transaction(), Some(10));
    let mut given_up = 0;
    let told = loop {
        match tokio::time::timeout(Duration::from_millis(700), probe.bookmark()).await {
            Ok(told) => break told.unwrap(),
            Err(_) => given_up += 1,
        }
        assert!(given_up < 20);
    };
    assert!(given_up >= 2, "{given_up}");
    assert_eq!(told.transaction(), Some(8));
    assert_eq!(probe.bookmark().await.unwrap().transaction(), Some(8), "from now on");
}

#[tokio::test]
async fn a_server_alone_is_never_behind() {
    for scheme in ["bolt", "neo4j"] {
        let server = Describer::start_leader([10, 8].into_iter(), &[]).await;
        let mut probe = Probe::new(&server.address(scheme), Limits::default()).unwrap();
        for transaction in [10, 8] {
            assert_eq!(probe.bookmark().await.unwrap().transaction(), Some(transaction), "{scheme}");
        }
    }
}

/// The configured server is cut off from the others after a while: it knows of no leader any more.
#[tokio::test]
async fn another_member_is_asked_for_the_leader() {
    let leader = Describer::start_leader(std::iter::repeat(10), &[]).await;
    let port = leader.port;
    let tables = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tables);
    let (listener, seed) = listen().await;
    let answer = move |message: &[u8]| match *message.get(1)? {
        HELLO | LOGON => Some(success(&[])),
        ROUTE if counted.fetch_add(1, Ordering::Relaxed) == 0 => Some(table(1, &[port], &[port], &[seed, port])),
        ROUTE => Some(table(1, &[], &[seed], &[])),
        _ => None,
    };
    let configured = Describer { port: seed, asked: tables, task: tokio::spawn(serve(listener, answer)) };
    let mut probe = Probe::new(&configured.address("neo4j"), Limits::default()).unwrap();
    // The description is valid for a second.
    let began = std::time::Instant::now();
    while configured.asked.load(Ordering::Relaxed) < 2 {
        assert_eq!(probe.bookmark().await.unwrap().transaction(), Some(10));
        assert!(began.elapsed() < Duration::from_secs(10), "the configured server is asked once more");
    }
}
