//! Records of the store, as commands carry them: in their state before a transaction, and in their state after it.

use super::input::{Input, ReadAt};
use super::parse_error::LogParseError;

/// The flag of a record in use, the same for every kind of record.
pub(super) const IN_USE: u8 = 0x01;
const HAS_SECONDARY_UNIT: u8 = 0x08;

/// Bytes of a relationship group after its flags, without a secondary unit.
const GROUP_BYTES: u64 = 4 + 5 * 8 + 1;

/// The part of a node's record in which a change of the node shows. The rest of the record holds the heads of chains.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NodeRecord {
    pub(super) in_use: bool,
    first_property: i64,
    labels: i64,
    /// Whether labels that do not fit the record changed: the server rewrites them in place, so `labels` can stay the same.
    has_dynamic_labels: bool,
}

impl NodeRecord {
    pub(super) fn read<R: ReadAt>(input: &mut Input<R>) -> Result<Self, LogParseError> {
        let flags = input.u8()?;
        let mut record = Self { in_use: flags & IN_USE != 0, first_property: -1, labels: 0, has_dynamic_labels: false };
        if record.in_use {
            // Whether the node is dense, and its first relationship.
            input.skip(1 + 8)?;
            (record.first_property, record.labels) = (input.i64()?, input.i64()?);
        }
        secondary_unit(input, flags)?;
        record.has_dynamic_labels = dynamic_records(input, None)? > 0;
        Ok(record)
    }

    /// Whether more than a chain of relationships moved.
    pub(super) fn differs(&self, before: &Self) -> bool {
        let dynamic = self.has_dynamic_labels || before.has_dynamic_labels;
        dynamic || self.first_property != before.first_property || self.labels != before.labels
    }

    /// Whether the labels may have changed.
    pub(super) fn is_relabelled(&self, before: &Self) -> bool {
        self.has_dynamic_labels || before.has_dynamic_labels || self.labels != before.labels
    }
}

/// The part of a relationship's record in which a change of the relationship shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RelationshipRecord {
    pub(super) in_use: bool,
    ends: (i64, i64),
    type_number: i32,
    first_property: i64,
}

impl RelationshipRecord {
    pub(super) fn read<R: ReadAt>(input: &mut Input<R>) -> Result<Self, LogParseError> {
        let flags = input.u8()?;
        let mut record = Self { in_use: flags & IN_USE != 0, ends: (-1, -1), type_number: 0, first_property: -1 };
        if record.in_use {
            record.ends = (input.i64()?, input.i64()?);
            record.type_number = input.i32()?;
            // Its neighbours in the chains of both nodes.
            input.skip(4 * 8)?;
            record.first_property = input.i64()?;
            input.skip(1)?;
        } else {
            record.type_number = input.i32()?;
        }
        secondary_unit(input, flags)?;
        Ok(record)
    }

    /// Whether more than its place in chains moved.
    pub(super) fn differs(&self, before: &Self) -> bool {
        self != before
    }
}

pub(super) fn skip_group<R: ReadAt>(input: &mut Input<R>) -> Result<(), LogParseError> {
    let flags = input.u8()?;
    input.skip(GROUP_BYTES)?;
    secondary_unit(input, flags)
}

fn secondary_unit<R: ReadAt>(input: &mut Input<R>, flags: u8) -> Result<(), LogParseError> {
    if flags & HAS_SECONDARY_UNIT != 0 { input.skip(8) } else { Ok(()) }
}

/// Reads records that hold parts of long values; returns their number and appends the bytes of the records in use.
pub(super) fn dynamic_records<R: ReadAt>(input: &mut Input<R>, mut bytes: Option<&mut Vec<u8>>) -> Result<u32, LogParseError> {
    let number = input.length()?;
    for _ in 0..number {
        input.skip(8 + 4)?;
        let flags = input.u8()?;
        if flags & IN_USE == 0 {
            continue;
        }
        let length = u64::from(input.length()?);
        input.skip(8)?;
        match &mut bytes {
            Some(bytes) => input.append(length, bytes)?,
            None => input.skip(length)?,
        }
    }
    Ok(number)
}
