//! A transaction of the log: its beginning, its commands and its end, with the checksum over all of it.

use std::collections::BTreeSet;

use super::command::{Commands, RecordChanges};
use super::elements::{OldValues, Token};
use super::header::HEADER_BYTES;
use super::input::{Input, ReadAt};
use super::kernel::KernelVersion;
use super::parse_error::LogParseError;
use super::property::WantedTexts;
use crate::model::committed::Elements;

const START: u8 = 1;
const COMMAND: u8 = 3;
const COMMIT: u8 = 5;

/// The transaction before the wanted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PrecedingTransaction {
    /// The id of the transaction.
    pub id: u64,
    /// Its checksum; unknown for the transaction before the oldest file.
    pub checksum: Option<u32>,
}

/// A committed transaction of the log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Transaction {
    /// Its id: the number in the bookmark of its commit.
    pub id: u64,
    /// The version of the kernel that wrote it.
    pub kernel: KernelVersion,
    /// Its append index, which counts all that was appended to the log; absent before kernel 17.
    pub append_index: Option<i64>,
    /// The offset of its first byte in its file.
    pub start: u64,
    /// The offset after its last byte.
    pub end: u64,
    /// The time of its commit by the server's clock, in milliseconds since 1970.
    pub committed_ms: i64,
    /// The CRC-32C over its bytes.
    pub checksum: u32,
    /// The nodes that it changed.
    pub nodes: Elements,
    /// The relationships that it changed.
    pub relationships: Elements,
    /// Texts that it replaced or deleted.
    pub old_values: OldValues,
    /// Nodes with labels that it may have changed.
    pub relabelled: BTreeSet<u64>,
    /// Names that it assigned a number to.
    pub tokens: Vec<Token>,
    /// The number of its commands about indices and constraints.
    pub schema_rules: u64,
}

/// Reads transactions one after another.
#[derive(Debug)]
pub(crate) struct TransactionReader<R> {
    input: Input<R>,
    longest_text: usize,
}

impl<R: ReadAt> TransactionReader<R> {
    /// Creates a reader of this source.
    pub(crate) fn new(source: R) -> Self {
        Self { input: Input::new(source, HEADER_BYTES), longest_text: usize::MAX }
    }

    /// Limits the old texts that the reader keeps to this number of bytes.
    #[must_use]
    pub(crate) fn with_texts_up_to(self, longest_text: usize) -> Self {
        Self { longest_text, ..self }
    }

    /// Reads the transaction that begins at this place. With `previous`, it must be the next one. Keeps the old texts of
    /// properties for which `wanted` is true. An odd transaction is read anew the next time.
    pub(crate) fn read(
        &mut self,
        offset: u64,
        previous: Option<PrecedingTransaction>,
        wanted: &dyn Fn(u32) -> bool,
    ) -> Result<Option<Transaction>, LogParseError> {
        if self.input.position() != offset {
            self.input.go_to(offset);
        }
        let read = self.transaction(offset, previous, wanted);
        if !matches!(read, Ok(Some(_))) {
            self.input.go_to(offset);
        }
        read
    }

    fn transaction(
        &mut self,
        offset: u64,
        previous: Option<PrecedingTransaction>,
        wanted: &dyn Fn(u32) -> bool,
    ) -> Result<Option<Transaction>, LogParseError> {
        let wanted = WantedTexts { named: wanted, longest: self.longest_text };
        let input = &mut self.input;
        if input.peek()? == 0 {
            return Ok(None);
        }
        input.begin_checksum();
        let StartEntry { kernel, append_index, previous_checksum } = StartEntry::read(input)?;
        let mut commands = Commands { input: &mut *input, kernel, wanted, changes: RecordChanges::default() };
        while next_entry(commands.input, kernel)? == COMMAND {
            commands.read()?;
        }
        let RecordChanges { nodes, relationships, old_values, relabelled, tokens, schema_rules, unowned } = commands.changes;
        let (id, committed_ms) = (input.i64()?, input.i64()?);
        let checksum = input.checksum();
        if input.i32()? as u32 != checksum {
            return Err(LogParseError::Checksum);
        }
        let id = follows(id, previous_checksum, previous)?;
        if unowned > 0 {
            return Err(LogParseError::Unowned);
        }
        let end = input.position();
        Ok(Some(Transaction {
            id,
            kernel,
            append_index,
            start: offset,
            end,
            committed_ms,
            checksum,
            nodes,
            relationships,
            old_values,
            relabelled,
            tokens,
            schema_rules,
        }))
    }
}

fn follows(id: i64, previous_checksum: Option<u32>, previous: Option<PrecedingTransaction>) -> Result<u64, LogParseError> {
    let last = previous.map(|previous| previous.id);
    let number = u64::try_from(id).ok().filter(|number| last.is_none_or(|last| *number == last.saturating_add(1)));
    let number = number.ok_or(LogParseError::Sequence { last: last.unwrap_or_default(), found: id })?;
    let expected = previous.and_then(|previous| previous.checksum);
    match expected.zip(previous_checksum) {
        Some((expected, found)) if expected != found => Err(LogParseError::PreviousChecksum),
        _ => Ok(number),
    }
}

struct StartEntry {
    kernel: KernelVersion,
    append_index: Option<i64>,
    previous_checksum: Option<u32>,
}

impl StartEntry {
    fn read<R: ReadAt>(input: &mut Input<R>) -> Result<Self, LogParseError> {
        let kernel = KernelVersion::parse(input.u8()?)?;
        match input.u8()? {
            START => {}
            other => return Err(LogParseError::Entry(other)),
        }
        // The time at which the transaction began, and the newest transaction at that time.
        input.skip(8 + 8)?;
        let previous_checksum = if kernel.has_previous_checksum() { Some(input.i32()? as u32) } else { None };
        let append_index = if kernel.has_append_index() { Some(input.i64()?) } else { None };
        if kernel.has_sequence_number() {
            input.skip(8)?;
        }
        let header = input.length()?;
        input.skip(header.into())?;
        Ok(Self { kernel, append_index, previous_checksum })
    }
}

/// Reads the type of the next entry of a transaction.
fn next_entry<R: ReadAt>(input: &mut Input<R>, kernel: KernelVersion) -> Result<u8, LogParseError> {
    match input.u8()? {
        0 => return Err(LogParseError::Unfinished),
        version if version != kernel.number() => {
            KernelVersion::parse(version)?;
            return Err(LogParseError::KernelChanges);
        }
        _ => {}
    }
    match input.u8()? {
        entry @ (COMMAND | COMMIT) => Ok(entry),
        other => Err(LogParseError::Entry(other)),
    }
}
