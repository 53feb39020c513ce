//! For fuzzing: reads arbitrary bytes as a file of the log.

use super::header::{FileHeader, HEADER_BYTES};
use super::transaction::{PrecedingTransaction, TransactionReader};

/// Reads these bytes as a file of the log, and returns what is wrong with a transaction that was read.
pub fn check_log(bytes: &[u8]) -> Result<(), String> {
    let _ = FileHeader::read(bytes);
    for begin in [0, HEADER_BYTES] {
        let mut reader = TransactionReader::new(bytes);
        let (mut offset, mut previous) = (begin, None);
        while let Ok(Some(transaction)) = reader.read(offset, previous, &|_| true) {
            let is_within = transaction.start == offset && transaction.end > offset && transaction.end <= bytes.len() as u64;
            // An element costs more than its number in the file.
            let elements = transaction.nodes.len() + transaction.relationships.len();
            if !is_within || elements as u64 * 8 >= transaction.end - transaction.start {
                return Err(format!("{elements} elements from {offset}: {transaction:?}"));
            }
            offset = transaction.end;
            previous = Some(PrecedingTransaction { id: transaction.id, checksum: Some(transaction.checksum) });
        }
    }
    Ok(())
}
