//! A Neo4j that is reached through a routing table: reads go to the members that it names, and past those that do not answer.
//!
//! Neo4j Community has one member. A proxy before it stands for each member, and a listener that only describes a cluster for the
//! server that names them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use neo4j_falkordb_sync::source::bolt::{BoltReader, Limits, Probe};
use neo4j_falkordb_sync::source::{Request, SourceAddress};
use neo4rs::query;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::api::start;
use super::bolt::source_address;
use super::pipeline::{Pair, percent_encoded};
use crate::support::graph::{GraphSpec, build};
use crate::support::proxy::{Mode, Proxy};
use crate::support::servers::{ports, source_lock};

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
        let port = ports::free().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (table, asked) = (table.clone(), Arc::clone(&counted));
                tokio::spawn(async move { describe(stream, &table, &asked).await });
            }
        });
        Self { port, asked, task }
    }
}

/// Answers until the client hangs up or says something else than a client does that wants a table.
async fn describe(mut stream: TcpStream, table: &[u8], asked: &AtomicUsize) -> Option<()> {
    stream.read_exact(&mut [0; 20]).await.ok()?;
    stream.write_all(&[0, 0, 8, 5]).await.ok()?;
    loop {
        let mut message: Vec<u8> = Vec::new();
        loop {
            let length = stream.read_u16().await.ok()?;
            if length == 0 && !message.is_empty() {
                break;
            }
            let mut chunk = vec![0; usize::from(length)];
            stream.read_exact(&mut chunk).await.ok()?;
            message.extend(chunk);
        }
        let answer = match message.get(1)? {
            // HELLO and LOGON.
            0x01 | 0x6A => vec![0xB1, 0x70, 0xA0],
            0x66 => {
                asked.fetch_add(1, Ordering::Relaxed);
                table.to_vec()
            }
            _ => return None,
        };
        let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
        stream.write_all(&[&length[..], &answer, &[0, 0]].concat()).await.ok()?;
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
    let (code, body) = http.get(&format!("/api/sync/wait?bookmark={bookmark}&level=applied&timeout_ms=30000")).await;
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
