//! The `neo4j-falkordb-sync` program: see the library for everything.
#![forbid(unsafe_code)]

use neo4j_falkordb_sync::cli::{self, exit::Exit};

fn main() -> Exit {
    cli::main(std::env::args_os())
}
