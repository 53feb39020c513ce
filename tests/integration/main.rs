//! Tests against real servers. One binary, so that one Neo4j and one FalkorDB serve all of them.

// A test is a panic away from its message; these lints are for the product.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod bulk;
mod value_round_trip;
