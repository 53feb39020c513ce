//! The sink towards a server that answers what a real one does not on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use neo4j_falkordb_sync::error::{Directive, ErrorKind};
use neo4j_falkordb_sync::model::graph_name::GraphName;
use neo4j_falkordb_sync::model::key::Key;
use neo4j_falkordb_sync::model::name::{Label, PropertyName};
use neo4j_falkordb_sync::model::prepared::{NodeWriteSet, PreparedRows};
use neo4j_falkordb_sync::sink::{CacheAddress, CacheConnection, FalkorSink, Ownership, Sink};
use redis::cmd;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const SOON: Duration = Duration::from_secs(5);

/// What a fake server does with a command that is not about the login.
#[derive(Clone, Copy)]
enum Answer {
    /// Sends this.
    Bytes(&'static str),
    /// Sends nothing.
    Silence,
    /// Sends this and closes.
    Cut(&'static str),
}

/// A server that gives every command the same answer, but those that are about the login and the fence.
struct FakeServer {
    port: u16,
    ownership: Ownership,
    connections: Arc<AtomicUsize>,
    commands: Arc<AtomicUsize>,
}

impl FakeServer {
    async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, commands) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let ownership = Ownership::claim(&GraphName::new("g").unwrap()).unwrap();
        let fence = ownership.token().to_owned();
        let server = Self { port, ownership, connections: Arc::clone(&connections), commands: Arc::clone(&commands) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, answer, fence.clone(), Arc::clone(&commands)));
            }
        });
        server
    }

    fn address(&self) -> CacheAddress {
        CacheAddress::plain("127.0.0.1", self.port)
    }

    fn sink(&self) -> FalkorSink {
        super::sink::sink(self.address(), &self.ownership)
    }
}

async fn serve(stream: TcpStream, answer: Answer, fence: String, commands: Arc<AtomicUsize>) {
    let mut stream = BufReader::new(stream);
    let mut queued = None;
    while let Some(name) = next_command(&mut stream).await {
        let reply = match (name.as_str(), answer) {
            ("HELLO" | "CLIENT" | "WATCH", _) => Some("+OK\r\n".to_owned()),
            ("GET", _) => Some(format!("${}\r\n{fence}\r\n", fence.len())),
            ("MULTI", _) => {
                queued = Some(0);
                Some("+OK\r\n".to_owned())
            }
            ("EXEC", Answer::Bytes(bytes)) => {
                let number = queued.take().unwrap_or(0);
                Some(format!("*{number}\r\n{}", bytes.repeat(number)))
            }
            _ => queued.as_mut().map(|queued| {
                *queued += 1;
                // The fence itself is written by SET.
                commands.fetch_add(usize::from(name != "SET"), Ordering::SeqCst);
                "+QUEUED\r\n".to_owned()
            }),
        };
        if let Some(reply) = reply {
            stream.write_all(reply.as_bytes()).await.unwrap();
            continue;
        }
        commands.fetch_add(1, Ordering::SeqCst);
        match answer {
            Answer::Bytes(bytes) => stream.write_all(bytes.as_bytes()).await.unwrap(),
            Answer::Silence => {}
            Answer::Cut(bytes) => {
                stream.write_all(bytes.as_bytes()).await.unwrap();
                return;
            }
        }
    }
}

/// The first word of the next command: an array of bulk strings.
async fn next_command(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let parts = number_after(stream, '*').await?;
    let mut first = None;
    for _ in 0..parts {
        let length = number_after(stream, '$').await?;
        let mut part = vec![0; length + 2];
        stream.read_exact(&mut part).await.ok()?;
        first.get_or_insert(String::from_utf8_lossy(&part[..length]).into_owned());
    }
    first
}

async fn number_after(stream: &mut BufReader<TcpStream>, sign: char) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.trim_end().strip_prefix(sign)?.parse().ok()
}

/// 64 entities.
fn batch() -> PreparedRows {
    let mut group = NodeWriteSet {
        group: None,
        label: Label::parse("Entity").unwrap(),
        key: PropertyName::parse("uuid").unwrap(),
        extra_labels: vec![],
        vectors: vec![],
        not_a_number: vec![],
        rows: Default::default(),
    };
    for number in 0..64 {
        let text = format!("{{k:'n{number}',p:{{uuid:'n{number}'}}}}");
        group.rows.push(Key::parse(&format!("n{number}")).unwrap(), |row| row.extend_from_slice(text.as_bytes()));
    }
    PreparedRows { nodes: vec![group], ..PreparedRows::default() }
}

#[tokio::test]
async fn what_the_server_says_decides_what_happens() {
    for (answer, kind) in [
        ("-LOADING Redis is loading the dataset in memory\r\n", ErrorKind::CacheBusy),
        ("-BUSY Redis is busy running a script.\r\n", ErrorKind::CacheBusy),
        ("-Max pending queries exceeded\r\n", ErrorKind::CacheBusy),
        ("-Query timed out\r\n", ErrorKind::CacheTimeout),
        ("-OOM command not allowed when used memory > 'maxmemory'.\r\n", ErrorKind::CacheOutOfMemory),
        ("-MISCONF Redis is configured to save RDB snapshots\r\n", ErrorKind::CacheCannotPersist),
        ("-READONLY You can't write against a read only replica.\r\n", ErrorKind::CacheReadOnly),
        ("-NOAUTH Authentication required.\r\n", ErrorKind::CacheAuthentication),
        ("-NOPERM User x has no permissions to run the 'graph.query' command\r\n", ErrorKind::CachePermission),
        ("-MOVED 3999 127.0.0.1:6381\r\n", ErrorKind::CacheElsewhere),
        ("-ERR unknown command 'GRAPH.QUERY', with args beginning with: 'g'\r\n", ErrorKind::CacheUnsupported),
        ("+OK\r\n", ErrorKind::CacheProtocol),
    ] {
        let server = FakeServer::start(Answer::Bytes(answer)).await;
        let error = server.sink().apply(&batch()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{answer}: {}", error.chain());
        // What may pass is asked again, and not for ever.
        let attempts = if error.directive() == Directive::Retry { 4 } else { 1 };
        let commands = server.commands.load(Ordering::SeqCst);
        assert!((attempts..=2 * attempts).contains(&commands), "{answer}: {commands} commands");
    }
}

/// A FalkorDB that lacks a part of the language refuses every row of every batch. None of them is at fault.
#[tokio::test]
async fn a_statement_that_the_server_does_not_take_quarantines_nothing() {
    let server = FakeServer::start(Answer::Bytes("-errMsg: Invalid input 'F': expected ...\r\n")).await;
    let error = server.sink().apply(&batch()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CacheUnsupported, "{}", error.chain());
    assert_eq!(server.commands.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_silent_server_costs_the_connection() {
    let server = FakeServer::start(Answer::Silence).await;
    let mut connection = CacheConnection::new(server.address());
    for attempt in 1..=3 {
        let error = connection.command("ask", &cmd("PING"), Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CacheTimeout);
        assert_eq!(server.connections.load(Ordering::SeqCst), attempt);
    }
}

#[tokio::test]
async fn a_cut_reply_costs_the_connection() {
    for half in ["$100\r\nabc", "*3\r\n:1\r\n", ""] {
        let server = FakeServer::start(Answer::Cut(half)).await;
        let mut connection = CacheConnection::new(server.address());
        for attempt in 1..=2 {
            let error = connection.command("ask", &cmd("PING"), SOON).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::CacheConnection, "{half:?}: {}", error.chain());
            assert_eq!(server.connections.load(Ordering::SeqCst), attempt);
        }
    }
}

/// A caller who gives up leaves no reply behind that the next one would take for its own.
#[tokio::test]
async fn a_cancelled_command_costs_the_connection() {
    let server = FakeServer::start(Answer::Silence).await;
    let mut connection = CacheConnection::new(server.address());
    let command = cmd("PING");
    let cancelled = tokio::time::timeout(Duration::from_millis(50), connection.command("ask", &command, SOON)).await;
    assert!(cancelled.is_err());
    connection.command("ask", &command, Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}
