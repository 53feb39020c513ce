//! Directories as a server makes them, of the logs of real servers: files that fill, are left, and are deleted.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio_util::sync::CancellationToken;

use super::directory::LogDirectory;
use super::feed::{LogFeed, LoggedDatabase};
use super::follower::{LogFollower, LogStart};
use super::header::HEADER_BYTES;
use super::refusal::LogRefusal;
use super::shared_tail::SharedTail;
use super::tail::{NextTransaction, Tail};
use super::transaction::TransactionReader;
use crate::model::bookmark::Bookmark;
use crate::source::change_feed::{ChangeFeed, FeedState};

/// A file made large in advance.
const PREALLOCATED: u64 = 1024 * 1024;

struct Log {
    directory: tempfile::TempDir,
    /// Transactions of a real log, each with its id and its bytes.
    transactions: Vec<(u64, Vec<u8>)>,
    header: Vec<u8>,
}

impl Log {
    fn new() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/transaction-log/5.26.12/neostore.transaction.db.0");
        let bytes = fs::read(path).unwrap();
        let mut reader = TransactionReader::new(&bytes[..]);
        let (mut transactions, mut offset) = (Vec::new(), HEADER_BYTES);
        while let Some(transaction) = reader.read(offset, None, &|_| false).unwrap() {
            transactions.push((transaction.id, bytes[transaction.start as usize..transaction.end as usize].to_vec()));
            offset = transaction.end;
        }
        let header = bytes[..HEADER_BYTES as usize].to_vec();
        Self { directory: tempfile::tempdir().unwrap(), transactions, header }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.path().join(format!("neostore.transaction.db.{number}"))
    }

    fn header(&self, number: u64, last_transaction: u64) -> Vec<u8> {
        let mut header = self.header.clone();
        header[1..8].copy_from_slice(&number.to_be_bytes()[1..]);
        header[8..16].copy_from_slice(&last_transaction.to_be_bytes());
        header
    }

    /// Writes a file with these of the transactions, and zeros up to a size.
    fn write(&self, number: u64, transactions: std::ops::Range<usize>, size: Option<u64>) {
        let last = self.transactions[transactions.start].0 - 1;
        let mut bytes = self.header(number, last);
        self.transactions[transactions].iter().for_each(|(_, part)| bytes.extend_from_slice(part));
        let file = self.path(number);
        fs::write(&file, &bytes).unwrap();
        if let Some(size) = size {
            fs::File::options().write(true).open(&file).unwrap().set_len(size).unwrap();
        }
    }

    /// Adds these transactions to a file, as a server does: what is there stays.
    fn append(&self, number: u64, transactions: std::ops::Range<usize>) {
        let mut file = fs::File::options().append(true).open(self.path(number)).unwrap();
        self.transactions[transactions].iter().for_each(|(_, part)| file.write_all(part).unwrap());
    }

    fn directory(&self) -> LogDirectory {
        LogDirectory::new(self.directory.path())
    }
}

/// Reads what is there; the last id.
fn read_on(tail: &mut Tail) -> u64 {
    while let NextTransaction::Transaction(_) = tail.next(&|_| true).unwrap() {}
    tail.position().transaction
}

#[test]
fn files_are_followed_one_after_the_other() {
    let log = Log::new();
    let id = |at: usize| log.transactions[at].0;
    log.write(0, 0..10, Some(PREALLOCATED));
    let mut tail = Tail::after(log.directory(), id(4)).unwrap();
    assert_eq!(tail.position().transaction, id(4));
    assert_eq!(read_on(&mut tail), id(9));
    log.write(0, 0..20, Some(PREALLOCATED));
    assert_eq!(read_on(&mut tail), id(19));
    // The server leaves the file, makes the next one, and writes its header later.
    log.write(0, 0..20, None);
    fs::write(log.path(1), vec![0; 4096]).unwrap();
    assert_eq!(read_on(&mut tail), id(19));
    log.write(1, 20..30, Some(PREALLOCATED));
    assert_eq!(read_on(&mut tail), id(29));
    assert_eq!((tail.position().file, tail.position().start.is_some()), (1, true));
}

#[test]
fn a_stored_position_is_found_again() {
    let log = Log::new();
    log.write(0, 0..20, None);
    log.write(1, 20..30, Some(PREALLOCATED));
    for last in [10, 19, 20, 29] {
        let tail = Tail::after(log.directory(), log.transactions[last].0).unwrap();
        let stored = serde_json::to_string(tail.position()).unwrap();
        let mut resumed = Tail::resume(log.directory(), &serde_json::from_str(&stored).unwrap()).unwrap();
        assert_eq!(read_on(&mut resumed), log.transactions[29].0);
    }
}

#[test]
fn a_file_that_is_held_open_is_read_after_its_deletion() {
    let log = Log::new();
    log.write(0, 0..10, None);
    log.write(1, 10..20, None);
    log.write(2, 20..30, None);
    let mut tail = Tail::after(log.directory(), log.transactions[4].0).unwrap();
    tail.look_ahead().unwrap();
    fs::remove_file(log.path(0)).unwrap();
    fs::remove_file(log.path(1)).unwrap();
    assert_eq!(read_on(&mut tail), log.transactions[29].0);
}

#[test]
fn another_history_is_named() {
    let log = Log::new();
    let id = |at: usize| log.transactions[at].0;
    log.write(0, 0..10, None);
    log.write(1, 10..20, Some(PREALLOCATED));
    let position = Tail::after(log.directory(), id(15)).unwrap().position().clone();
    // The server lost its last transactions and wrote others with the same ids.
    let mut bytes = fs::read(log.path(1)).unwrap();
    bytes[position.start.unwrap() as usize + 10] ^= 1;
    fs::write(log.path(1), &bytes).unwrap();
    assert!(matches!(Tail::resume(log.directory(), &position), Err(LogRefusal::OtherHistory(lost)) if lost == id(15)));
    log.write(1, 10..13, Some(PREALLOCATED));
    assert!(matches!(Tail::resume(log.directory(), &position), Err(LogRefusal::OtherHistory(_))));
    let mut other = log.header(1, id(9));
    other[30] ^= 1;
    fs::write(log.path(1), other).unwrap();
    assert!(matches!(Tail::resume(log.directory(), &position), Err(LogRefusal::OtherStore)));
    assert!(matches!(Tail::after(log.directory(), id(29)), Err(LogRefusal::OtherStore | LogRefusal::OtherHistory(_))));
}

#[test]
fn a_log_that_does_not_reach_back_is_named() {
    let log = Log::new();
    let id = |at: usize| log.transactions[at].0;
    log.write(0, 0..10, None);
    let mut tail = Tail::after(log.directory(), id(4)).unwrap();
    let position = tail.position().clone();
    log.write(3, 20..30, Some(PREALLOCATED));
    read_on_to_the_gap(&mut tail, 1);
    fs::remove_file(log.path(0)).unwrap();
    let expected =
        format!("the log begins after transaction {}: the first transaction that it still contains is {}", id(4), id(20));
    assert_eq!(Tail::resume(log.directory(), &position).unwrap_err().to_string(), expected);
    assert_eq!(Tail::after(log.directory(), id(4)).unwrap_err().to_string(), expected);
    fs::remove_file(log.path(3)).unwrap();
    assert!(matches!(Tail::resume(log.directory(), &position), Err(LogRefusal::Empty(_))));
    let nowhere = LogDirectory::new(log.directory.path().join("nowhere"));
    assert!(Tail::after(nowhere, 1).unwrap_err().to_string().starts_with("cannot read "));
}

fn read_on_to_the_gap(tail: &mut Tail, missing: u64) {
    let refusal = loop {
        match tail.next(&|_| false) {
            Ok(NextTransaction::Transaction(_)) => {}
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => break refusal,
        }
    };
    assert!(matches!(refusal, LogRefusal::MissingFile(number) if number == missing), "{refusal}");
}

/// Nothing before a landmark is read again: damage there goes unnoticed.
#[test]
fn a_log_that_was_read_before_is_read_from_a_landmark() {
    let log = Log::new();
    let id = |at: usize| log.transactions[at].0;
    log.write(0, 0..30, Some(PREALLOCATED));
    let directory = log.directory();
    let tail = Tail::after(directory.clone(), id(9)).unwrap();
    directory.landmarks().note(tail.position());
    let mut bytes = fs::read(log.path(0)).unwrap();
    bytes[tail.position().start.unwrap() as usize - 10] ^= 1;
    fs::write(log.path(0), &bytes).unwrap();
    assert!(Tail::after(log.directory(), id(19)).is_err(), "without the landmark the damage is read");
    let mut again = Tail::after(directory.clone(), id(19)).unwrap();
    assert_eq!((again.position().transaction, read_on(&mut again)), (id(19), id(29)));
    assert_eq!(Tail::newest(directory.clone()).unwrap().position().transaction, id(29));
    // An earlier transaction is looked for from an earlier landmark.
    assert!(Tail::after(directory, id(8)).is_err());
}

/// The server lost what was read, and wrote something else in its place.
#[test]
fn a_landmark_that_is_not_there_any_more_is_not_used() {
    let log = Log::new();
    let id = |at: usize| log.transactions[at].0;
    log.write(0, 0..30, Some(PREALLOCATED));
    let directory = log.directory();
    let tail = Tail::after(directory.clone(), id(19)).unwrap();
    let mut moved = tail.position().clone();
    moved.checksum = moved.checksum.map(|checksum| checksum ^ 1);
    directory.landmarks().note(&moved);
    assert_eq!(Tail::after(directory, id(24)).unwrap().position().transaction, id(24));
}

/// A tail leaves landmarks on its way, the first one at once.
#[test]
fn a_tail_leaves_landmarks() {
    let log = Log::new();
    log.write(0, 0..10, None);
    log.write(1, 10..20, Some(PREALLOCATED));
    let directory = log.directory();
    let id = |at: usize| log.transactions[at].0;
    read_on(&mut Tail::after(directory.clone(), id(0) - 1).unwrap());
    for (file, first, last) in [(0, 0, 9), (1, 10, 19)] {
        assert_eq!(directory.landmarks().before(file, id(last)).unwrap().transaction, id(first), "file {file}");
    }
}

#[test]
fn a_file_under_another_number_is_named() {
    let log = Log::new();
    log.write(0, 0..10, None);
    fs::rename(log.path(0), log.path(5)).unwrap();
    let refusal = Tail::after(log.directory(), 1).unwrap_err().to_string();
    assert!(refusal.ends_with("names file 0 of the log"), "{refusal}");
}

/// A follower on a thread of its own, until the end of the test.
struct Following {
    feed: LogFeed,
    quit: CancellationToken,
    thread: std::thread::JoinHandle<Result<(), LogRefusal>>,
}

impl Following {
    fn new(directory: LogDirectory, start: LogStart) -> Self {
        // FB: a map of the database's id and the transaction.
        let bytes = [&[0x91, 0xCC, 0x10], &[7; 16][..], &[5, 0x90]].concat();
        let bookmark = Bookmark::new(format!("FB:{}", STANDARD.encode(bytes)));
        let (follower, feed) = LogFollower::new(directory, start, LoggedDatabase { bookmark, created_ms: None });
        let quit = CancellationToken::new();
        let told = quit.clone();
        let thread = std::thread::spawn(move || follower.run(&told, |_| {}));
        Self { feed, quit, thread }
    }

    fn last(&self) -> Option<u64> {
        match self.feed.state() {
            FeedState::Following(segment) => Some(segment.last),
            FeedState::Opening | FeedState::Lost(_) => None,
        }
    }

    fn reaches(&self, transaction: u64) {
        wait_until(|| self.last() == Some(transaction));
    }

    fn ends(self) -> Result<(), LogRefusal> {
        self.quit.cancel();
        self.thread.join().unwrap()
    }
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn all_that_are_at_the_end_of_a_log_share_one_reader() {
    let log = Log::new();
    let id = |place: usize| log.transactions[place].0;
    log.write(0, 0..10, None);
    let shared = SharedTail::of(log.directory.path());
    let first = Following::new(log.directory(), LogStart::After(id(0) - 1));
    let second = Following::new(log.directory(), LogStart::Newest);
    wait_until(|| shared.members() == 2);
    log.append(0, 10..20);
    first.reaches(id(19));
    second.reaches(id(19));
    // One that comes later reads by itself up to where the others are.
    let third = Following::new(log.directory(), LogStart::After(id(4)));
    wait_until(|| shared.members() == 3);
    // Whoever reads may go.
    first.ends().unwrap();
    log.append(0, 20..30);
    second.reaches(id(29));
    third.reaches(id(29));
    second.ends().unwrap();
    log.append(0, 30..40);
    third.reaches(id(39));
    third.ends().unwrap();
    assert_eq!(shared.members(), 0);
}

#[test]
fn all_notice_that_what_they_have_read_is_not_there_any_more() {
    let log = Log::new();
    log.write(0, 0..20, Some(PREALLOCATED));
    let followers = [LogStart::Newest, LogStart::Newest].map(|start| Following::new(log.directory(), start));
    followers.iter().for_each(|follower| follower.reaches(log.transactions[19].0));
    // The server lost its last commits, and nothing stands in their place yet.
    log.write(0, 0..15, Some(PREALLOCATED));
    followers.iter().for_each(|follower| follower.feed.doubt());
    for follower in followers {
        wait_until(|| follower.thread.is_finished());
        assert!(matches!(follower.ends(), Err(LogRefusal::OtherHistory(_))));
    }
}
