//! Logs of real servers, written by random transactions of a client that kept the truth.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::model::committed::{Change, Elements};

use super::elements::TokenKind;
use super::header::{FileHeader, HEADER_BYTES};
use super::input::ReadAt;
use super::parse_error::LogParseError;
use super::transaction::{PrecedingTransaction, Transaction, TransactionReader};

const VERSIONS: [&str; 4] = ["5.15.0", "5.26.12", "2026.05.0", "2026.08.1"];

/// The end of a log in which every cut is tried.
const CUTS: usize = 4096;

/// Pieces in which a log arrives: from a few bytes to several transactions.
const PIECE: std::ops::Range<usize> = 1..20_000;

struct Fixture {
    bytes: Vec<u8>,
    expected: Vec<Value>,
}

fn fixture(version: &str) -> Fixture {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/transaction-log").join(version);
    let expected = std::fs::read_to_string(directory.join("expected.jsonl")).unwrap();
    let expected = expected.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Fixture { bytes: std::fs::read(directory.join("neostore.transaction.db.0")).unwrap(), expected }
}

/// A part of a log, and the zeros of a file that was made large in advance.
struct Prefix<'a> {
    written: &'a [u8],
    size: usize,
}

impl ReadAt for Prefix<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let offset = offset as usize;
        if offset >= self.written.len() {
            let zeros = buffer.len().min(self.size.saturating_sub(offset));
            buffer[..zeros].fill(0);
            return Ok(zeros);
        }
        self.written.read_at(buffer, offset as u64)
    }
}

/// A reader at a place of a log.
struct FixtureReader {
    offset: u64,
    previous: Option<PrecedingTransaction>,
    read: Vec<Transaction>,
}

impl FixtureReader {
    fn new() -> Self {
        Self { offset: HEADER_BYTES, previous: None, read: Vec::new() }
    }

    /// Reads what is there; how it stopped, if not at the end of what is written.
    fn read_on(&mut self, source: impl ReadAt) -> Option<LogParseError> {
        let mut reader = TransactionReader::new(source);
        loop {
            match reader.read(self.offset, self.previous, &|_| true) {
                Ok(None) => return None,
                Ok(Some(transaction)) => {
                    self.offset = transaction.end;
                    self.previous = Some(PrecedingTransaction { id: transaction.id, checksum: Some(transaction.checksum) });
                    self.read.push(transaction);
                }
                Err(oddity) => return Some(oddity),
            }
        }
    }
}

fn elements(elements: &Elements) -> Value {
    let letter = |change| match change {
        Change::Created => "c",
        Change::Updated => "u",
        Change::Deleted => "d",
    };
    elements.iter().map(|(number, change)| (number.to_string(), json!(letter(change)))).collect::<serde_json::Map<_, _>>().into()
}

/// The transaction in the words of the fixture.
fn described(transaction: &Transaction) -> Value {
    let mut gone: BTreeMap<String, BTreeMap<u32, &String>> = BTreeMap::new();
    let (nodes, relationships) = (&transaction.old_values.nodes, &transaction.old_values.relationships);
    for (letter, values) in [("n", nodes), ("r", relationships)] {
        for (number, values) in values {
            let texts: BTreeMap<u32, &String> = values.iter().filter_map(|(name, text)| Some((*name, text.as_ref()?))).collect();
            if !texts.is_empty() {
                gone.insert(format!("{letter}{number}"), texts);
            }
        }
    }
    let tokens = transaction.tokens.iter().map(|token| {
        let kind = match token.kind {
            TokenKind::Property => "key",
            TokenKind::Label => "label",
            TokenKind::Type => "type",
        };
        json!([kind, token.number, token.name])
    });
    json!({
        "txid": transaction.id,
        "append": transaction.append_index.unwrap_or(-1),
        "kernel": transaction.kernel.number(),
        "off": transaction.start,
        "end": transaction.end,
        "committed": transaction.committed_ms,
        "nodes": elements(&transaction.nodes),
        "rels": elements(&transaction.relationships),
        "tokens": tokens.collect::<Vec<_>>(),
        "schema": transaction.schema_rules,
        "gone": gone,
    })
}

/// What the fixture says, without what a reader does not tell: elements of which only chains moved are not among the changed.
fn wanted(expected: &Value) -> Value {
    let mut wanted = expected.clone();
    let fields = wanted.as_object_mut().unwrap();
    fields.remove("xn");
    fields.remove("xr");
    assert_eq!((fields.remove("file"), fields.remove("unowned")), (Some(json!(0)), Some(json!(0))));
    wanted
}

#[test]
fn every_transaction_of_every_version_is_read_as_it_was_written() {
    for version in VERSIONS {
        let Fixture { bytes, expected } = fixture(version);
        let header = FileHeader::read(&bytes[..]).unwrap().unwrap();
        assert_eq!((header.file, header.last_transaction, header.store.format.as_str()), (0, 1, "aligned"), "{version}");
        let mut reader = FixtureReader::new();
        assert!(reader.read_on(&bytes[..]).is_none(), "{version}");
        for (transaction, expected) in reader.read.iter().zip(&expected) {
            assert_eq!(described(transaction), wanted(expected), "{version}");
        }
        assert_eq!(reader.read.len(), expected.len(), "{version}");
    }
}

#[test]
fn a_log_that_arrives_in_pieces_is_read_as_a_whole_one() {
    for version in VERSIONS {
        let Fixture { bytes, .. } = fixture(version);
        let mut whole = FixtureReader::new();
        whole.read_on(&bytes[..]);
        for seed in 0..20 {
            let mut random = StdRng::seed_from_u64(seed);
            let (mut reader, mut written) = (FixtureReader::new(), 0);
            while written < bytes.len() {
                written = bytes.len().min(written + random.random_range(PIECE));
                let size = if random.random() { bytes.len() + CUTS } else { written };
                reader.read_on(Prefix { written: &bytes[..written], size });
            }
            assert!(reader.read_on(Prefix { written: &bytes, size: 2 * bytes.len() }).is_none());
            assert_eq!(reader.read, whole.read, "{version}, seed {seed}");
        }
    }
}

#[test]
fn a_log_that_is_cut_anywhere_is_read_up_to_the_cut_and_on_from_it() {
    for version in VERSIONS {
        let Fixture { bytes, .. } = fixture(version);
        let mut whole = FixtureReader::new();
        whole.read_on(&bytes[..]);
        let written = whole.offset as usize;
        let from = written.saturating_sub(CUTS);
        // What ends before every cut is read once.
        let after = whole.read.iter().position(|transaction| transaction.end as usize > from).unwrap();
        let last = &whole.read[after - 1];
        let (offset, previous) = (last.end, Some(PrecedingTransaction { id: last.id, checksum: Some(last.checksum) }));
        let expected = &whole.read[after..];
        for cut in from..written {
            for size in [cut, 2 * bytes.len()] {
                let mut reader = FixtureReader { offset, previous, read: Vec::new() };
                reader.read_on(Prefix { written: &bytes[..cut], size });
                let there = expected.iter().filter(|transaction| transaction.end as usize <= cut).count();
                // If a transaction ends in zero bytes and zeros follow, it reads as complete even if it is cut within them.
                let read = reader.read.len();
                assert!(read >= there && reader.read[..] == expected[..read], "{version}, cut at {cut}");
                assert!(reader.read_on(&bytes[..]).is_none(), "{version}, cut at {cut}");
                assert_eq!(reader.read, expected, "{version}, cut at {cut}");
            }
        }
    }
}

#[test]
fn a_changed_byte_is_never_taken_for_what_was_written() {
    for version in VERSIONS {
        let Fixture { bytes, .. } = fixture(version);
        let mut whole = FixtureReader::new();
        whole.read_on(&bytes[..]);
        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..300 {
            let mut damaged = bytes.clone();
            let at = random.random_range(HEADER_BYTES as usize..whole.offset as usize);
            damaged[at] ^= 1 << random.random_range(0..8);
            let mut reader = FixtureReader::new();
            let oddity = reader.read_on(&damaged[..]);
            let before = whole.read.iter().filter(|transaction| transaction.end as usize <= at).count();
            assert_eq!(reader.read[..], whole.read[..before], "{version}, byte {at}");
            // A version byte that is zero by now is the end of what is written.
            let is_end = whole.read.iter().any(|transaction| transaction.start as usize == at) && damaged[at] == 0;
            assert!(oddity.is_some() || is_end, "{version}, byte {at}");
        }
    }
}
