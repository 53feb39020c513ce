//! Tests against real servers. One binary, so that one Neo4j and one FalkorDB serve all of them.

// A test is a panic away from its message; these lints are for the product.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::large_futures
)]

#[path = "../support/mod.rs"]
mod support;

mod api;
mod applied;
mod bolt;
mod bookmarks;
mod bounded;
mod bulk;
mod carried_over;
mod changes;
mod check;
mod cluster;
mod comparer;
mod comparison;
mod compatibility;
mod control_plane;
mod crash;
mod doors;
mod driver;
mod faults;
mod fence;
mod fence_cost;
mod full_sync;
mod generic;
mod graph;
mod graphiti;
mod groups;
mod guard;
mod hostile;
mod hosts;
mod identity;
mod indices;
mod large;
mod limits;
mod logs;
mod many_kinds;
mod odd;
mod one_rule;
mod one_shot;
mod openapi;
mod page;
mod pipeline;
mod plans;
mod poison;
mod profile_change;
mod proofs;
mod property_names;
mod randomised;
mod refusals;
mod reload;
mod routing;
mod sentinel;
mod servers;
mod sink;
mod sink_faults;
mod spread;
mod standby;
mod survey;
mod sweep;
mod take_over;
mod transaction_log;
mod unsafe_indices;
mod unusable;
mod value_round_trip;
mod vectors;
mod verify;
mod words;
