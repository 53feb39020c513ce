//! The `neo4j-falkordb-sync` program: see the library for everything.
#![forbid(unsafe_code)]

use neo4j_falkordb_sync::cli::{self, exit::Exit};

fn main() -> Exit {
    #[cfg(feature = "failpoints")]
    let _scenario = fail::FailScenario::setup();
    cli::main(std::env::args_os())
}
