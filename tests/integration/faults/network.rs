//! What the network does: silence, refusal, resets, slowness, answers that do not arrive.

use std::time::{Duration, Instant};

use super::{POLL, Proxied};
use crate::support::proxy::{Cut, Mode, Proxy};

/// `/ready` has to say so within this time.
const NOTICED: Duration = Duration::from_secs(15);

/// `/health` reads memory. An answer that waited for a server would be late each time, one that waited for a processor is not.
const ANSWERS: Duration = Duration::from_secs(1);
const TRIES: usize = 5;

/// An orderly end may take 8 s, and then the process has to go.
const ENDS: Duration = Duration::from_secs(10);

/// What a machine that does much else adds to a promised time.
const SLACK: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq)]
enum Server {
    Neo4j,
    FalkorDb,
}

impl Server {
    const BOTH: [Server; 2] = [Server::Neo4j, Server::FalkorDb];

    fn name(self) -> &'static str {
        match self {
            Self::Neo4j => "Neo4j",
            Self::FalkorDb => "FalkorDB",
        }
    }

    fn of(self, proxied: &Proxied) -> &Proxy {
        match self {
            Self::Neo4j => &proxied.bolt,
            Self::FalkorDb => &proxied.redis,
        }
    }
}

async fn lives(proxied: &Proxied) {
    let mut took = Vec::new();
    for _ in 0..TRIES {
        let began = Instant::now();
        assert_eq!(proxied.http.get("/health").await.0, 200);
        took.push(began.elapsed());
        if began.elapsed() < ANSWERS {
            return;
        }
    }
    panic!("/health answers late each time: {took:?}");
}

/// Waits until the service says that it is not in step, and because of whom. A moment before, it may still say that it connects.
async fn noticed(proxied: &Proxied, server: Server, what: &str) {
    let began = Instant::now();
    loop {
        let verdict = proxied.http.until_ready(false).await;
        println!("{what}: not ready after {:.2} s: {verdict}", began.elapsed().as_secs_f64());
        assert!(began.elapsed() < NOTICED + SLACK, "{what}: {:?} {verdict}", began.elapsed());
        if verdict.contains(server.name()) {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    lives(proxied).await;
}

#[tokio::test]
async fn silence_is_noticed_survived_and_no_reason_not_to_end() {
    for server in Server::BOTH {
        let what = format!("{} in a blackhole", server.name());
        let mut proxied = Proxied::new("blackhole").await;
        proxied.http.until_ready(true).await;
        server.of(&proxied).set(Mode::Blackhole).await;
        proxied.write().await;
        noticed(&proxied, server, &what).await;

        server.of(&proxied).set(Mode::Through).await;
        proxied.converges(&what).await;
        proxied.http.until_ready(true).await;

        server.of(&proxied).set(Mode::Blackhole).await;
        proxied.write().await;
        noticed(&proxied, server, &what).await;
        let began = Instant::now();
        assert_eq!(proxied.running.terminate().await, 0);
        println!("{what}: ended after {:.2} s", began.elapsed().as_secs_f64());
        assert!(began.elapsed() < ENDS + SLACK, "{what}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_server_that_refuses_is_named_and_waited_for() {
    let mut proxied = Proxied::new("refuse").await;
    for server in Server::BOTH {
        let what = format!("{} refusing", server.name());
        proxied.http.until_ready(true).await;
        server.of(&proxied).set(Mode::Refuse).await;
        proxied.write().await;
        noticed(&proxied, server, &what).await;
        server.of(&proxied).set(Mode::Through).await;
        proxied.converges(&what).await;
    }
    proxied.ends().await;
}

/// Connections that look open and are not: each is replaced before anything is entrusted to it. One that falls silent in the
/// middle of an answer is given up at the limit of its request.
#[tokio::test]
async fn half_open_connections_are_replaced() {
    let mut proxied = Proxied::new("half_open").await;
    for server in Server::BOTH {
        let what = format!("{} half open", server.name());
        for _ in 0..2 {
            proxied.at_rest().await;
            let before = server.of(&proxied).seen();
            server.of(&proxied).freeze().await;
            proxied.write().await;
            proxied.converges(&what).await;
            let now = server.of(&proxied).seen();
            assert!(now.connections > before.connections && now.frozen > before.frozen, "{before:?} {now:?}");
        }
    }
    proxied.http.until_ready(true).await;
    proxied.ends().await;
}

#[tokio::test]
async fn resets_and_slow_lines_lose_nothing() {
    let mut proxied = Proxied::new("slow").await;
    for server in Server::BOTH {
        for round in 0..3 {
            server.of(&proxied).reset().await;
            proxied.write().await;
            if round == 1 {
                server.of(&proxied).reset().await;
            }
        }
        proxied.converges(&format!("{} resetting", server.name())).await;
        for mode in [Mode::Late(Duration::from_millis(50)), Mode::Throttled { bytes_per_second: 50_000 }] {
            server.of(&proxied).set(mode).await;
            proxied.write().await;
            proxied.converges(&format!("{} with {mode:?}", server.name())).await;
        }
        server.of(&proxied).set(Mode::Through).await;
    }
    proxied.ends().await;
}

/// What FalkorDB is asked for in passes: nodes, relationships, deletes, and the transaction that stores a checkpoint.
const WRITES: [&str; 6] = ["CREATE (m:`Entity`", "CREATE (m:`Episodic`", "[m:`RELATES_TO`", "[m:`MENTIONS`", "DELETE n", "EXEC"];

/// And in full syncs: the payloads of the stage, its vectors, the swap, the dropped graph.
const FULL_SYNC_WRITES: [&str; 5] = ["GRAPH.BULK", "vecf32", "RENAME", "UNLINK", "EXEC"];

/// The write happened and nobody knows it: it is done again without harm, or found done.
#[tokio::test]
async fn a_lost_answer_doubles_nothing() {
    let mut proxied = Proxied::new("lost").await;
    for request in WRITES {
        for after in [0, 1] {
            let what = format!("{after} bytes of the answer to {request}");
            let before = proxied.redis.seen().cut;
            proxied.redis.cut(Cut::after(request, after));
            proxied.write().await;
            proxied.redis.until(&what, |seen| seen.cut > before).await;
            proxied.converges(&what).await;
        }
    }
    for request in FULL_SYNC_WRITES {
        let what = format!("a full sync without the answer to {request}");
        let before = proxied.redis.seen().cut;
        let from = proxied.running.length();
        proxied.redis.cut(Cut::before_reply(request));
        assert_eq!(proxied.http.command("full").await.0, 202);
        proxied.write().await;
        proxied.redis.until(&what, |seen| seen.cut > before).await;
        proxied.running.line_from(from, "full sync ended").await;
        proxied.converges(&what).await;
    }
    proxied.ends().await;
}

/// What Neo4j is asked for.
const READS: [&str; 3] = ["MATCH (n:`Entity`", "count(", "RETURN 1"];

#[tokio::test]
async fn a_cut_answer_of_the_source_is_asked_for_again() {
    let mut proxied = Proxied::new("cut_source").await;
    for request in READS {
        for after in [0, 1, 7, 300] {
            let what = format!("{after} bytes of the answer to {request}");
            let before = proxied.bolt.seen().cut;
            proxied.bolt.cut(Cut::after(request, after));
            proxied.write().await;
            proxied.bolt.until(&what, |seen| seen.cut > before).await;
            proxied.converges(&what).await;
        }
    }
    proxied.ends().await;
}
