//! What is written to break out of where it belongs: names and values in Neo4j, requests over HTTP.

use std::time::{Duration, Instant};

use neo4rs::query;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::api::{self, Http, TOKEN};
use super::pipeline::Pair;
use crate::support::graph::{GraphSpec, build};

/// Texts that end a string, a name, a map, a statement or a parameter where one is careless.
const HOSTILE: [&str; 16] = [
    "'}) DETACH DELETE n //",
    "\"}) DETACH DELETE n //",
    "\\",
    "\\'",
    "\\\"}] MATCH (n) DETACH DELETE n //",
    "x]; CYPHER rows=[] MATCH (n) DELETE n",
    "CYPHER rows=[{k:'a'}] RETURN 1",
    "$rows",
    "r.p",
    "{k:'a',p:{}}",
    "/* ",
    "// x",
    "a\nb\r\nc",
    "\u{2028}\u{202e}\u{feff}",
    "*1\r\n$8\r\nFLUSHALL\r\n",
    "${jndi:ldap://127.0.0.1/x}",
];

fn spec() -> GraphSpec {
    GraphSpec { entities: 20, facts: 20, episodes: 5, mentions: 10, groups: 1, dimension: 8, ..GraphSpec::default() }
}

/// Whatever stands in Neo4j arrives as data.
#[tokio::test]
async fn names_and_values_stay_what_they_are() {
    let pair = Pair::new("hostile").await;
    build(&pair.source.graph, &spec()).await.unwrap();
    let write = async |uuid_of: &dyn Fn(usize) -> String| {
        for (number, text) in HOSTILE.iter().enumerate() {
            // Neo4j's own way to write such a name.
            let name = text.replace('`', "``");
            let statement = format!(
                "CREATE (a:Entity:`{name}` {{uuid: $a, name: $text, group_id: $text, summary: $text, created_at: datetime(), \
                 `{name}`: $text, list: [$text, '']}}) \
                 CREATE (b:Entity {{uuid: $b, name: $text, group_id: '', created_at: datetime()}}) \
                 CREATE (a)-[:RELATES_TO {{uuid: $e, name: $text, fact: $text, group_id: $text, created_at: datetime(), `{name}`: \
                 $text, episodes: [$text]}}]->(b)"
            );
            let key = uuid_of(number);
            let statement = query(&statement)
                .param("a", format!("a{key}"))
                .param("b", format!("b{key}"))
                .param("e", format!("e{key}"))
                .param("text", *text);
            pair.source.graph.run(statement).await.unwrap();
        }
    };
    write(&|number| format!("{number}{}z", HOSTILE[number])).await;
    pair.sync("full").await;
    pair.assert_equal().await;
    write(&|number| format!("again{number}{}z", HOSTILE[number])).await;
    pair.sync("incremental").await;
    pair.assert_equal().await;
    // Deletes name their keys too.
    for text in HOSTILE {
        let statement = query("MATCH (n:Entity) WHERE n.uuid STARTS WITH 'aagain' AND n.name = $text DETACH DELETE n");
        pair.source.graph.run(statement.param("text", text)).await.unwrap();
    }
    pair.sync("incremental").await;
    pair.sync("differential").await;
    pair.assert_equal().await;
}

const REQUESTS: usize = 400;

/// A request of noise, or one that is nearly good.
fn request(random: &mut StdRng) -> Vec<u8> {
    let noise = |random: &mut StdRng, length: usize| (0..length).map(|_| random.random::<u8>()).collect::<Vec<u8>>();
    let word = |random: &mut StdRng| HOSTILE[random.random_range(0..HOSTILE.len())];
    let method = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "get", "P\u{0}ST"][random.random_range(0..9)];
    let path = [
        "/health",
        "/ready",
        "/metrics",
        "/",
        "/api/sync/status",
        "/api/sync/full",
        "/api/sync/approve",
        "/api/sync/pause",
        "/api/sync/rollback",
        "/api/sync/wait?bookmark=x&timeout_ms=1",
        "/api/sync/wait?timeout_ms=-1&bookmark=",
        "/api/sync/history?pipeline=",
        "/../../etc/passwd",
        "//api//sync//full",
        "/api/sync/full?pipeline=default",
    ][random.random_range(0..15)];
    let header = match random.random_range(0..6) {
        0 => format!("Authorization: Bearer {}\r\n", word(random)),
        1 => "Authorization: Bearer\r\n".to_owned(),
        2 => format!("Content-Length: {}\r\n", [-1i64, 0, 5, i64::MAX][random.random_range(0..4)]),
        3 => "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n".to_owned(),
        4 => format!("X: {}\r\n", "y".repeat(random.random_range(0..200_000))),
        _ => String::new(),
    };
    match random.random_range(0..10) {
        0 => {
            let length = random.random_range(0..5000);
            noise(random, length)
        }
        1 => [format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n").as_bytes(), &noise(random, 300), b"\r\n\r\n"].concat(),
        2 => format!("{method} {path}{} HTTP/9.9\r\n\r\n", word(random)).into_bytes(),
        _ => format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\nbody").into_bytes(),
    }
}

/// Sends it and hangs up at the latest when nothing comes for a while.
async fn send(http: &Http, request: &[u8]) {
    let mut stream = TcpStream::connect(("127.0.0.1", http.port)).await.unwrap();
    // The server may hang up first.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_millis(100), stream.read_to_end(&mut answer)).await;
}

#[tokio::test]
async fn no_request_does_harm() {
    let pair = Pair::new("hostile_http").await;
    build(&pair.source.graph, &spec()).await.unwrap();
    let (mut running, http) = api::start(&pair.service.clone().with("API_TOKEN", TOKEN)).await;
    http.until_ready(true).await;
    let before = http.status().await;
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..REQUESTS {
        let request = request(&mut random);
        send(&http, &request).await;
    }
    assert!(!running.is_over());
    let after = http.status().await;
    for unchanged in ["paused", "generation", "faults"] {
        assert_eq!(before[unchanged], after[unchanged], "{unchanged}");
    }
    let passes = |status: &serde_json::Value| status["statistics"]["passes"]["full"]["ended"].clone();
    assert_eq!(passes(&before), passes(&after), "a pass that nobody may order");
    assert!(!running.log().contains("panicked"), "{}", running.log());
    assert_eq!(running.terminate().await, 0);
}

/// How long a client may take that sends nothing more.
const SLOW: Duration = Duration::from_secs(60);

#[tokio::test]
async fn slow_clients_are_cut_off() {
    let pair = Pair::new("hostile_slow").await;
    build(&pair.source.graph, &spec()).await.unwrap();
    let (running, http) = api::start(&pair.service.clone().with("API_TOKEN", TOKEN)).await;
    http.until_ready(true).await;
    for (what, begun) in [
        ("nothing", String::new()),
        ("half a head", "GET /health HTTP/1.1\r\nHost".to_owned()),
        (
            "a head without its body",
            "POST /api/sync/pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12".to_owned(),
        ),
        (
            "a head with the token, without its body",
            format!(
                "POST /api/sync/pause HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 10\r\n\r\n"
            ),
        ),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", http.port)).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let began = Instant::now();
        let mut answer = Vec::new();
        let closed = timeout(SLOW, stream.read_to_end(&mut answer)).await;
        println!("{what}: {:.1} s, {:?}", began.elapsed().as_secs_f64(), String::from_utf8_lossy(&answer).lines().next());
        assert!(closed.is_ok(), "{what}: still open");
    }
    assert_eq!(http.status().await["paused"], false);
    assert_eq!(running.terminate().await, 0);
}
