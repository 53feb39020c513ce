//! Kernel versions, which decide the layout of entries.

use super::parse_error::LogParseError;

/// The first version with little-endian entries: 5.0.
const FIRST: u8 = 5;

/// The last version that is known: 2026.09.
const LAST: u8 = 33;

/// The first version with separate commands for creation and deletion: 5.11.
const WITH_CREATES: u8 = 10;

/// The first version with an append index in each transaction: 5.20.
const WITH_APPEND_INDEX: u8 = 17;

/// The first version without the previous transaction's checksum in each transaction: 2025.05.
const WITHOUT_PREVIOUS_CHECKSUM: u8 = 22;

/// The first version with a sequence number in each transaction: 2026.06.
const WITH_SEQUENCE_NUMBER: u8 = 30;

/// The version of the kernel that wrote an entry, limited to known versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KernelVersion(u8);

impl KernelVersion {
    pub(super) fn parse(byte: u8) -> Result<Self, LogParseError> {
        if (FIRST..=LAST).contains(&byte) { Ok(Self(byte)) } else { Err(LogParseError::Kernel(byte)) }
    }

    /// The number of the version.
    pub(crate) fn number(self) -> u8 {
        self.0
    }

    pub(super) fn has_creates(self) -> bool {
        self.0 >= WITH_CREATES
    }

    pub(super) fn has_append_index(self) -> bool {
        self.0 >= WITH_APPEND_INDEX
    }

    pub(super) fn has_previous_checksum(self) -> bool {
        self.0 < WITHOUT_PREVIOUS_CHECKSUM
    }

    pub(super) fn has_sequence_number(self) -> bool {
        self.0 >= WITH_SEQUENCE_NUMBER
    }
}
