//! Follows a log from file to file, transaction by transaction.

use std::fs::File;

use super::directory::{LogDirectory, LogFile};
use super::header::{FileHeader, HEADER_BYTES};
use super::landmarks::is_due;
use super::parse_error::LogParseError;
use super::refusal::LogRefusal;
use super::transaction::{PrecedingTransaction, Transaction, TransactionReader};
use crate::model::key::MAX_KEY_BYTES;
use crate::model::log_position::LogPosition;

/// The outcome of reading the next transaction.
#[derive(Debug)]
pub(crate) enum NextTransaction {
    /// The next transaction, read whole.
    Transaction(Box<Transaction>),
    /// Nothing is written yet.
    Nothing,
    /// A transaction that the server has not completely written yet. If it stays incomplete although a bookmark names it, the log
    /// has an unknown format or is damaged.
    Unwhole,
}

/// A reader at a position in a log.
#[derive(Debug)]
pub(crate) struct Tail {
    directory: LogDirectory,
    position: LogPosition,
    file: OpenFile,
    /// The next file, opened as soon as it exists: a server may delete files that are not read yet.
    ahead: Option<LogFile>,
    /// The file and the offset of the last landmark that this tail made.
    landmark: Option<(u64, u64)>,
}

#[derive(Debug)]
struct OpenFile {
    reader: TransactionReader<File>,
    /// The same file, to ask for its size.
    file: File,
}

impl OpenFile {
    fn new(file: File) -> Result<Self, LogRefusal> {
        // An old text is useful only as a key.
        let reader = TransactionReader::new(file.try_clone().map_err(LogParseError::Io)?).with_texts_up_to(MAX_KEY_BYTES);
        Ok(Self { reader, file })
    }

    fn size(&self) -> Result<u64, LogRefusal> {
        Ok(self.file.metadata().map_err(LogParseError::Io)?.len())
    }
}

impl Tail {
    /// Follows a log from the first transaction after this one, which must be in the log or immediately precede its first one.
    pub(crate) fn after(directory: LogDirectory, transaction: u64) -> Result<Self, LogRefusal> {
        let mut files = directory.open_all()?;
        let oldest = files.values().next().ok_or_else(|| LogRefusal::Empty(directory.path().to_owned()))?;
        let oldest = oldest.header.last_transaction;
        let newest_before = files.iter().rev().find(|(_, file)| file.header.last_transaction <= transaction);
        let number = *newest_before.ok_or(LogRefusal::Pruned { last_read: transaction, oldest: oldest + 1 })?.0;
        let file = files.remove(&number).ok_or(LogRefusal::MissingFile(number))?;
        let mut tail = Self::before(directory, file, transaction)?;
        while tail.position.transaction < transaction {
            match tail.next(&|_| false)? {
                NextTransaction::Transaction(_) => {}
                NextTransaction::Nothing | NextTransaction::Unwhole => return Err(LogRefusal::OtherHistory(transaction)),
            }
        }
        Ok(tail)
    }

    /// Follows a log from its end.
    pub(crate) fn newest(directory: LogDirectory) -> Result<Self, LogRefusal> {
        let file = directory.newest()?;
        let mut tail = Self::before(directory, file, u64::MAX)?;
        while let NextTransaction::Transaction(_) = tail.next(&|_| false)? {}
        Ok(tail)
    }

    /// Begins in a file at the last landmark that is no later than a transaction, or else at the beginning of the file: a file of
    /// Neo4j's usual size takes seconds to read on a slow machine.
    fn before(directory: LogDirectory, LogFile { file, header }: LogFile, transaction: u64) -> Result<Self, LogRefusal> {
        let landmark = directory.landmarks().before(header.file, transaction);
        if let Some(tail) = landmark.and_then(|place| Self::resume(directory.clone(), &place).ok()) {
            return Ok(tail);
        }
        let position = beginning(header.file, header);
        Ok(Self { directory, position, file: OpenFile::new(file)?, ahead: None, landmark: None })
    }

    /// Resumes at a stored position if the transaction that ends there is the same as before.
    pub(crate) fn resume(directory: LogDirectory, position: &LogPosition) -> Result<Self, LogRefusal> {
        let Some(LogFile { file, header }) = directory.open(position.file)? else {
            return Err(missing(&directory, position));
        };
        if header.store != position.store {
            return Err(LogRefusal::OtherStore);
        }
        let mut file = OpenFile::new(file)?;
        match position.start {
            None if header.last_transaction != position.transaction => {
                return Err(LogRefusal::OtherHistory(position.transaction));
            }
            None => {}
            Some(start) => {
                let read = file.reader.read(start, None, &|_| false);
                if !matches!(&read, Ok(Some(read)) if is_at(read, position)) {
                    return Err(LogRefusal::OtherHistory(position.transaction));
                }
            }
        }
        Ok(Self { directory, position: position.clone(), file, ahead: None, landmark: None })
    }

    /// Verifies that the last transaction that was read is still there unchanged. A server that lost the end of its log in a
    /// power cut, or runs on restored files, writes other transactions under the same numbers.
    pub(super) fn verify(&mut self) -> Result<(), LogRefusal> {
        let Some(start) = self.position.start else { return Ok(()) };
        match self.file.reader.read(start, None, &|_| false) {
            Ok(Some(read)) if is_at(&read, &self.position) => Ok(()),
            _ => Err(LogRefusal::OtherHistory(self.position.transaction)),
        }
    }

    /// The length of the last transaction that was read, in bytes.
    pub(super) fn last_bytes(&self) -> u64 {
        self.position.start.map_or(0, |start| self.position.offset.saturating_sub(start))
    }

    /// The position after the last transaction that was read.
    pub(crate) fn position(&self) -> &LogPosition {
        &self.position
    }

    /// Reads the next transaction. Keeps the old texts of properties for which `wanted` is true.
    pub(crate) fn next(&mut self, wanted: &dyn Fn(u32) -> bool) -> Result<NextTransaction, LogRefusal> {
        loop {
            let previous = PrecedingTransaction { id: self.position.transaction, checksum: self.position.checksum };
            match self.file.reader.read(self.position.offset, Some(previous), wanted) {
                Ok(Some(transaction)) => {
                    self.position.start = Some(transaction.start);
                    self.position.offset = transaction.end;
                    self.position.transaction = transaction.id;
                    self.position.checksum = Some(transaction.checksum);
                    self.note_landmark();
                    return Ok(NextTransaction::Transaction(Box::new(transaction)));
                }
                Ok(None) if self.is_at_the_end_of_the_file()? && self.turn_over()? => {}
                Ok(None) => return Ok(NextTransaction::Nothing),
                // The version is a single byte, so bytes that are still to come cannot change it.
                Err(oddity @ LogParseError::Kernel(_)) => return Err(LogRefusal::Odd(oddity)),
                Err(_) => return Ok(NextTransaction::Unwhole),
            }
        }
    }

    fn note_landmark(&mut self) {
        if is_due(self.landmark, &self.position) {
            self.directory.landmarks().note(&self.position);
            self.landmark = Some((self.position.file, self.position.offset));
        }
    }

    /// Opens the next file if it already exists.
    pub(crate) fn look_ahead(&mut self) -> Result<(), LogRefusal> {
        if self.ahead.is_none() {
            self.ahead = self.directory.open(self.position.file + 1)?;
        }
        Ok(())
    }

    /// Whether the position is at the end of the file. A file that the server has left ends with its last transaction; the file
    /// that it writes may be larger.
    fn is_at_the_end_of_the_file(&self) -> Result<bool, LogRefusal> {
        Ok(self.position.offset >= self.file.size()?)
    }

    /// Continues in the next file; `false` if there is none yet.
    fn turn_over(&mut self) -> Result<bool, LogRefusal> {
        self.look_ahead()?;
        let Some(LogFile { file, header }) = self.ahead.take() else {
            let later = self.directory.numbers()?.last().is_some_and(|last| *last > self.position.file + 1);
            return if later { Err(LogRefusal::MissingFile(self.position.file + 1)) } else { Ok(false) };
        };
        if header.store != self.position.store {
            return Err(LogRefusal::OtherStore);
        }
        if header.last_transaction != self.position.transaction {
            if self.is_at_the_end_of_the_file()? {
                return Err(LogRefusal::OtherHistory(self.position.transaction));
            }
            // More was written to this file before the server left it.
            self.ahead = Some(LogFile { file, header });
            return Ok(true);
        }
        self.file = OpenFile::new(file)?;
        self.position.file += 1;
        (self.position.start, self.position.offset) = (None, HEADER_BYTES);
        Ok(true)
    }
}

/// Whether a transaction is the one that ends at a position.
fn is_at(transaction: &Transaction, place: &LogPosition) -> bool {
    let is_same = transaction.id == place.transaction && Some(transaction.checksum) == place.checksum;
    is_same && transaction.end == place.offset
}

/// The position before the first transaction of a file.
fn beginning(file: u64, header: FileHeader) -> LogPosition {
    let FileHeader { last_transaction: transaction, store, .. } = header;
    LogPosition { store, file, start: None, offset: HEADER_BYTES, transaction, checksum: None }
}

/// Returns the refusal for a missing file: it was pruned if later files exist; otherwise the log is another one.
fn missing(directory: &LogDirectory, position: &LogPosition) -> LogRefusal {
    match directory.open_all() {
        Err(refusal) => refusal,
        Ok(files) => match files.values().next() {
            Some(oldest) if oldest.header.file > position.file => {
                LogRefusal::Pruned { last_read: position.transaction, oldest: oldest.header.last_transaction + 1 }
            }
            Some(_) => LogRefusal::OtherHistory(position.transaction),
            None => LogRefusal::Empty(directory.path().to_owned()),
        },
    }
}
