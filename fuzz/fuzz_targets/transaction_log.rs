//! Arbitrary bytes as a file of Neo4j's transaction log: every answer is a transaction, nothing or an oddity, never a panic, and
//! what was read lies within the file. `cargo +nightly fuzz run transaction_log fuzz/corpus/transaction_log`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use neo4j_falkordb_sync::source::transaction_log::{FileHeader, HEADER_BYTES, Previous, TransactionReader};

fuzz_target!(|bytes: &[u8]| {
    let _ = FileHeader::read(bytes);
    for begin in [0, HEADER_BYTES] {
        let mut reader = TransactionReader::new(bytes);
        let (mut offset, mut previous) = (begin, None);
        while let Ok(Some(transaction)) = reader.read(offset, previous, &|_| true) {
            assert!(transaction.start == offset && transaction.end > offset && transaction.end <= bytes.len() as u64);
            // An element costs more than its number in the file.
            let elements = transaction.nodes.len() + transaction.relationships.len();
            assert!(elements as u64 * 8 < transaction.end - transaction.start);
            offset = transaction.end;
            previous = Some(Previous { id: transaction.id, checksum: Some(transaction.checksum) });
        }
    }
});
