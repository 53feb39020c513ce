//! Arbitrary bytes as a file of Neo4j's transaction log: every answer is a transaction, nothing or an oddity, never a panic, and
//! what was read lies within the file. `cargo +nightly fuzz run transaction_log fuzz/corpus/transaction_log`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use neo4j_falkordb_sync::source::check_log;

fuzz_target!(|bytes: &[u8]| {
    if let Err(oddity) = check_log(bytes) {
        panic!("{oddity}");
    }
});
