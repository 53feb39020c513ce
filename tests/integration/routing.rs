//! A Neo4j that is reached through a routing table: reads go to the members that it names, and past those that do not answer.
//!
//! Neo4j Community has one member. A proxy stands for a member where the server itself is enough; a listener that only describes a
//! cluster stands for the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use neo4j_falkordb_sync::source::bolt::{BoltReader, Limits, Probe};
use neo4j_falkordb_sync::source::{Reader, Request, SourceAddress};
use neo4rs::query;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::api::start;
use super::bolt::source_address;
use super::pipeline::{PROGRAM, last_bookmark, percent_encoded};
use crate::support::comparer::assert_equal;
use crate::support::graph::{GraphSpec, build};
use crate::support::proxy::{Mode, Proxy};
use crate::support::servers::{Neo4jOptions, Neo4jServer, fresh_graph_name, ports, shared, source_lock};
use crate::support::service::Service;

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
        let mut message = Vec::new();
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

#[tokio::test]
async fn reads_go_to_the_member_that_the_server_names() {
    // The server names the proxy, which is made before it.
    let bolt = ports::free().unwrap();
    let proxy = Proxy::before(bolt).await.unwrap();
    let options = Neo4jOptions { advertised: Some(proxy.port), ..Neo4jOptions::default() };
    let server = Neo4jServer::start_at(options, bolt).await.unwrap();
    let address = server.address();
    let graph = address.connect().await.unwrap();
    build(&graph, &GraphSpec { entities: 40, facts: 60, dimension: 8, ..GraphSpec::default() }).await.unwrap();
    let direct = SourceAddress { uri: address.uri.clone(), ..source_address(&address) };
    let reader = BoltReader::connect(&direct, Limits::default()).await.unwrap();
    assert_eq!((count(&reader).await, proxy.seen().connections), (3, 0), "bolt:// asks nobody");

    let (cache, name) = (shared().await.falkordb.address(), fresh_graph_name("routed"));
    let mut neo4j = address.clone();
    neo4j.uri = format!("neo4j://127.0.0.1:{bolt}");
    let service = Service::new(PROGRAM, &neo4j, &cache, &name);
    let (running, http) = start(&service).await;
    http.until_ready(true).await;
    let seen = proxy.seen();
    assert!(seen.connections >= 2, "the reads and the probe of the service: {seen:?}");
    graph.run(query("CREATE (:Entity {uuid: 'new', group_id: 'g', created_at: datetime()})")).await.unwrap();
    let bookmark = percent_encoded(&last_bookmark(&address).await);
    let (code, body) = http.get(&format!("/api/sync/wait?bookmark={bookmark}&level=applied&timeout_ms=30000")).await;
    assert_eq!(code, 200, "{body}\n{}", running.log());
    assert_equal(&graph, &cache, &name).await;
    assert_eq!(running.terminate().await, 0);
    server.stop().await;
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

#[tokio::test]
async fn a_cluster_without_a_leader_or_a_reader_says_so() {
    let turn = source_lock().await;
    let address = source_address(&turn.address);
    let port = port_of(&turn.address.uri);
    let describer = Describer::start(table(60, &[], &[port], &[port])).await;
    let address = routed(&address, describer.port);
    let reader = BoltReader::connect(&address, Limits::default()).await.unwrap();
    assert_eq!(count(&reader).await, 3);
    let mut probe = Probe::new(&address, Limits::default()).unwrap();
    let error = probe.bookmark().await.unwrap_err().chain();
    assert!(error.contains("the cluster has no leader"), "{error}");
    tokio::time::timeout(Duration::from_secs(5), reader.count("rows", Request::new("RETURN 1"))).await.unwrap().unwrap();
}
