//! The demonstration: a Neo4j that keeps changing, a FalkorDB that follows, and a table that shows how closely.
//!
//! It starts the servers it needs, or uses those that `NEO4J_URI` and `FALKORDB_HOST` name. With `ONCE=1` it ends
//! when the first changes have arrived, which makes it a test.

// It talks to a terminal, and shares its servers with tests, whose own lints these are.
#![allow(missing_docs, unreachable_pub, clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod counts;
mod places;
mod table;
mod traffic;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use counts::Counts;
use places::Places;
use support::graph::{GraphSpec, build};
use support::{Error, Result};
use table::Table;
use traffic::Traffic;

/// With `ONCE=1`: how long the first changes may take, the first copy included.
const FIRST_CHANGES: Duration = Duration::from_secs(120);
/// How often it looks whether a change has arrived; the times shown are as exact as this.
const LOOK: Duration = Duration::from_millis(100);
/// Every so many looks there is a change, and a new table.
const LOOKS_PER_CHANGE: u32 = 10;

#[tokio::main]
async fn main() -> ExitCode {
    match demonstrate().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn demonstrate() -> Result<()> {
    // Before anything starts, so that a Ctrl-C at any time stops it all.
    let mut stop = Stop::new()?;
    let once = std::env::var_os("ONCE").is_some_and(|value| !value.is_empty() && value != "0");
    let shown = tokio::select! {
        shown = show(once) => shown,
        () = stop.asked() => Ok(()),
    };
    println!("Stopped what was started.");
    shown
}

/// Everything it starts ends with this future: when it is done, and when it is dropped.
async fn show(once: bool) -> Result<()> {
    println!("Starting the servers …");
    let places = Places::find_or_start().await?;
    println!("Writing a graph as Graphiti writes it …");
    let spec = GraphSpec { groups: 1, seed: rand::random(), ..graph_size() };
    let world = build(&places.neo4j, &spec).await?;
    let service = places.start_service()?;
    let mut traffic = Traffic::new(world, places.cache().await?, places.graph.clone());
    let table = Table::new(&places, &service);
    let started = Instant::now();
    let mut look = tokio::time::interval(LOOK);
    for number in 0_u32.. {
        look.tick().await;
        if let Some(status) = service.ended() {
            return Err(Error::Unexpected(format!("the service ended ({status}); the end of its log:\n{}", service.log())));
        }
        traffic.look().await?;
        if number % LOOKS_PER_CHANGE == 0 {
            traffic.change().await?;
            let counts = Counts::read(&places.neo4j, traffic.cache(), &places.graph).await?;
            table.show(&counts, &traffic);
        }
        if once && traffic.first_have_arrived() {
            println!("The first changes have arrived.");
            break;
        }
        if once && started.elapsed() > FIRST_CHANGES {
            return Err(late(&traffic, &service.log()));
        }
    }
    service.stop().await;
    Ok(())
}

fn graph_size() -> GraphSpec {
    GraphSpec {
        entities: 800,
        facts: 2_000,
        episodes: 300,
        mentions: 900,
        communities: 20,
        members: 200,
        sagas: 5,
        ..GraphSpec::default()
    }
}

fn late(traffic: &Traffic, log: &str) -> Error {
    Error::Unexpected(format!(
        "the first changes have not arrived within {FIRST_CHANGES:?}: {}; the end of the service's log:\n{log}",
        traffic.waiting()
    ))
}

/// Ctrl-C, or a request to end.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).map_err(|error| Error::Unexpected(format!("no signals: {error}")));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
