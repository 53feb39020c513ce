//! Arbitrary bytes become rows, rows become payloads of GRAPH.BULK, and an independent reader must read exactly those rows
//! again: `cargo +nightly fuzz run bulk -- -max_total_time=600`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use neo4j_falkordb_sync::transform::bulk::agreement::check;

fuzz_target!(|bytes: &[u8]| {
    if let Err(disagreement) = check(bytes) {
        panic!("{disagreement}");
    }
});
