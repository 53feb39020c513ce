//! The faults of a soak.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use redis::Value;

use super::Soak;
use crate::support::proxy::{Cut, Mode, Proxy};

/// Whose line, or which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Neo4j,
    FalkorDb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Late(Side),
    Throttled(Side),
    Blackhole(Side),
    Refused(Side),
    Reset(Side),
    HalfOpen(Side),
    AnswerCut(Side),
    AnswerLost,
    ServerStopped(Side),
    ServerKilled(Side),
    ServerPaused(Side),
    /// Saved, so that it comes back with what it held then.
    ComesBackOlder,
    OutOfMemory,
    ReadOnly,
    QueriesCutShort,
    Flushed,
    GraphDeleted,
    CheckpointDeleted,
    TransactionsEnded,
    ServiceKilled,
    ServiceStopped,
    FullSyncOrdered,
}

/// What lasts, lasts so long; what is longer than every short timeout is rare.
const LASTS_MS: std::ops::Range<u64> = 200..6000;
const LASTS_LONG_MS: std::ops::Range<u64> = 10_000..14_000;
const LONG_ONE_IN: u32 = 6;

impl Fault {
    pub fn any(random: &mut StdRng) -> Self {
        use Fault::*;
        let side = if random.random() { Side::Neo4j } else { Side::FalkorDb };
        let of_a_line = [Late, Throttled, Blackhole, Refused, Reset, HalfOpen, AnswerCut];
        let of_a_server = [ServerStopped, ServerKilled, ServerPaused];
        let of_the_cache = [
            AnswerLost,
            AnswerLost,
            ComesBackOlder,
            OutOfMemory,
            ReadOnly,
            QueriesCutShort,
            Flushed,
            GraphDeleted,
            CheckpointDeleted,
        ];
        let others = [TransactionsEnded, ServiceKilled, ServiceKilled, ServiceStopped, FullSyncOrdered];
        match random.random_range(0..10) {
            0..4 => of_a_line[random.random_range(0..of_a_line.len())](side),
            4..6 => of_a_server[random.random_range(0..of_a_server.len())](side),
            6..8 => of_the_cache[random.random_range(0..of_the_cache.len())],
            _ => others[random.random_range(0..others.len())],
        }
    }
}

impl Soak {
    /// Does it, for as long as it lasts, and undoes it.
    pub(super) async fn injected(&mut self, fault: Fault) {
        self.measures.count(format!("{fault:?}"));
        match fault {
            Fault::Late(side) => self.line(side, Mode::Late(Duration::from_millis(40))).await,
            Fault::Throttled(side) => self.line(side, Mode::Throttled { bytes_per_second: 100_000 }).await,
            Fault::Blackhole(side) => self.line(side, Mode::Blackhole).await,
            Fault::Refused(side) => self.line(side, Mode::Refuse).await,
            Fault::Reset(side) => self.proxy(side).reset().await,
            Fault::HalfOpen(side) => self.proxy(side).freeze().await,
            Fault::AnswerCut(side) => {
                let after = self.random.random_range(0..2000);
                self.cut(side, Cut::after("", after)).await;
            }
            Fault::AnswerLost => {
                let requests = ["GRAPH.QUERY", "EXEC", "GRAPH.BULK", "RENAME", "CREATE (m:"];
                let request = requests[self.random.random_range(0..requests.len())];
                self.cut(Side::FalkorDb, Cut::before_reply(request)).await;
            }
            Fault::ServerStopped(side) => self.server_down(side, true).await,
            Fault::ServerKilled(side) => self.server_down(side, false).await,
            Fault::ServerPaused(side) => self.server_paused(side).await,
            Fault::ComesBackOlder => {
                self.redis(&["SAVE"]).await;
                self.lasts().await;
                self.falkordb.kill();
                self.falkordb.restart().await.unwrap();
            }
            Fault::OutOfMemory => self.while_set(&["CONFIG", "SET", "maxmemory"], "1mb", "0").await,
            Fault::ReadOnly => {
                self.redis(&["REPLICAOF", "127.0.0.1", "1"]).await;
                self.lasts().await;
                self.redis(&["REPLICAOF", "NO", "ONE"]).await;
            }
            Fault::QueriesCutShort => {
                self.redis(&["GRAPH.CONFIG", "SET", "TIMEOUT_DEFAULT", "1"]).await;
                self.while_set(&["GRAPH.CONFIG", "SET", "TIMEOUT_MAX"], "1", "0").await;
                self.redis(&["GRAPH.CONFIG", "SET", "TIMEOUT_DEFAULT", "0"]).await;
            }
            Fault::Flushed => drop(self.redis(&["FLUSHALL"]).await),
            Fault::GraphDeleted => drop(self.try_redis(&["GRAPH.DELETE", super::GRAPH]).await),
            Fault::CheckpointDeleted => {
                let key = format!("{{{}}}:checkpoint", super::GRAPH);
                self.redis(&["DEL", &key]).await;
            }
            Fault::TransactionsEnded => self.end_transactions().await,
            Fault::ServiceKilled => {
                self.look().await;
                self.running.kill_now().await;
                self.start();
            }
            Fault::ServiceStopped => {
                self.look().await;
                let began = std::time::Instant::now();
                assert_eq!(self.running.terminate_now().await, 0, "{}", self.running.log());
                assert!(began.elapsed() < Duration::from_secs(12), "it took {:?} to end", began.elapsed());
                self.start();
            }
            Fault::FullSyncOrdered => {
                // Refused while it starts.
                let _ = self.http.post("/api/sync/full", super::TOKEN).await;
            }
        }
    }

    fn proxy(&self, side: Side) -> &Proxy {
        match side {
            Side::Neo4j => &self.bolt,
            Side::FalkorDb => &self.redis,
        }
    }

    /// The length of a fault is a part of it, so this is no wait for an event.
    async fn lasts(&mut self) {
        let range = if self.random.random_ratio(1, LONG_ONE_IN) { LASTS_LONG_MS } else { LASTS_MS };
        let length = Duration::from_millis(self.random.random_range(range));
        self.measures.watch_for(length).await;
    }

    async fn line(&mut self, side: Side, mode: Mode) {
        self.proxy(side).set(mode).await;
        self.lasts().await;
        self.proxy(side).set(Mode::Through).await;
    }

    async fn cut(&mut self, side: Side, cut: Cut) {
        self.proxy(side).cut(cut);
        self.lasts().await;
        self.proxy(side).spare();
    }

    async fn server_down(&mut self, side: Side, orderly: bool) {
        match (side, orderly) {
            (Side::Neo4j, true) => self.neo4j.stop().await,
            (Side::Neo4j, false) => self.neo4j.kill(),
            (Side::FalkorDb, true) => self.falkordb.stop().await,
            (Side::FalkorDb, false) => self.falkordb.kill(),
        }
        self.lasts().await;
        match side {
            Side::Neo4j => self.neo4j.restart().await.unwrap(),
            Side::FalkorDb => self.falkordb.restart().await.unwrap(),
        }
    }

    async fn server_paused(&mut self, side: Side) {
        match side {
            Side::Neo4j => self.neo4j.pause(),
            Side::FalkorDb => self.falkordb.pause(),
        }
        self.lasts().await;
        match side {
            Side::Neo4j => self.neo4j.resume(),
            Side::FalkorDb => self.falkordb.resume(),
        }
    }

    async fn while_set(&mut self, command: &[&str], bad: &str, good: &str) {
        self.redis(&[command, &[bad]].concat()).await;
        self.lasts().await;
        self.redis(&[command, &[good]].concat()).await;
    }

    async fn end_transactions(&mut self) {
        let text = "SHOW TRANSACTIONS YIELD transactionId AS id, currentQuery AS text WHERE NOT text CONTAINS 'SHOW' RETURN id";
        let Ok(mut rows) = self.source.execute(neo4rs::query(text)).await else { return };
        let mut ids = Vec::new();
        while let Ok(Some(row)) = rows.next().await {
            ids.extend(row.get::<String>("id"));
        }
        for id in ids {
            // It may be over by itself.
            let _ = self.source.run(neo4rs::query(&format!("TERMINATE TRANSACTIONS '{id}'"))).await;
        }
    }

    async fn redis(&self, command: &[&str]) -> Value {
        self.try_redis(command).await.unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    async fn try_redis(&self, command: &[&str]) -> redis::RedisResult<Value> {
        let mut built = redis::cmd(command[0]);
        built.arg(&command[1..]);
        let mut connection = self.falkordb.connect().await.unwrap();
        built.query_async(&mut connection).await
    }
}
