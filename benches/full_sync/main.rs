//! A full sync against real servers, beside what it cannot be faster than.
//!
//! `cargo bench --bench full_sync` starts its own servers (see `tests/support`). Each figure is a ratio of two things measured in
//! turn within one run, because the machine is shared: what counts is the ratio, not the seconds.
//!
//! - `limit`: a Bolt client that streams every row and throws it away, against the program from its start until the graph is
//!   swapped in and indexed; and how far any copy could go on this machine, by the processor time that both servers need;
//! - `loader`: the same rows into FalkorDB by GRAPH.BULK and by parameters, with nothing else going on;
//! - `readers`: a query of the live graph in a loop, idle and during full syncs of the same server;
//! - `pipelines`: one source in eight graphs by eight pipelines, against one graph by one;
//! - `scale`: as `limit`, at each size of `FULL_SYNC_SIZES` (100000 and 1000000 unless named), with the independent comparer;
//! - `comparison`: `verify` against the same reader, at each size of `FULL_SYNC_SIZES` (100000 unless named);
//! - `timeline`: a full sync of 1,000,000 elements (`FULL_SYNC_SIZES`), phase by phase: seconds, and the processor time of Neo4j, of
//!   each of FalkorDB's threads, and ours;
//! - `serve`: nothing but the servers with the graph, and their addresses, until it is interrupted: for a profiler;
//! - `memory`: the program's peak, at 100,000 and at 1,000,000 elements (`FULL_SYNC_MEMORY=1`: the larger one takes minutes).

#![recursion_limit = "256"]
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
#![allow(clippy::panic, clippy::large_futures, unused_imports)]

mod comparison;
mod limit;
mod loader;
mod memory;
mod pipelines;
mod processor;
mod readers;
mod scale;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;
mod timeline;

use support::graph::GraphSpec;
use support::servers::{Neo4jAddress, fresh_graph_name, shared};
use support::service::Service;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_neo4j-falkordb-sync");

/// 25,000 nodes and 70,000 relationships; entities, communities and facts have vectors of 256.
pub fn graph() -> GraphSpec {
    GraphSpec {
        entities: 19_500,
        facts: 40_000,
        episodes: 5_000,
        mentions: 24_100,
        communities: 400,
        members: 1_000,
        sagas: 100,
        ..GraphSpec::default()
    }
}

pub async fn service(graph: &str) -> Service {
    let servers = shared().await;
    Service::new(PROGRAM, &servers.neo4j.address(), &servers.falkordb.address(), graph)
}

#[tokio::main]
async fn main() {
    // Cargo passes `--bench`; what is named besides is what is run.
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|wanted| wanted == name);
    table::print_machine();
    if named.iter().any(|name| name == "serve") {
        return limit::serve().await;
    }
    if wanted("limit") {
        limit::run().await;
    }
    if wanted("loader") {
        loader::run().await;
    }
    if wanted("readers") {
        readers::run().await;
    }
    if wanted("pipelines") {
        pipelines::run().await;
    }
    if wanted("memory") {
        memory::run().await;
    }
    // Minutes and gigabytes: only if named.
    if named.iter().any(|name| name == "scale") {
        scale::run().await;
    }
    if named.iter().any(|name| name == "comparison") {
        comparison::run().await;
    }
    if named.iter().any(|name| name == "timeline") {
        timeline::run().await;
    }
}
