//! Records of properties: the elements that they belong to, and the texts that they held.

use super::input::{Input, ReadAt};
use super::parse_error::LogParseError;
use super::record::{IN_USE, dynamic_records};
use super::short_string;

const OF_NODE: u8 = 0x40;
const OF_RELATIONSHIP: u8 = 0x80;

/// The most properties that fit one record.
const MAX_BLOCKS: i64 = 4;

/// The width of a property name's number: the low bits of the first word.
const NAME_BITS: u32 = 24;

/// The value types of texts: stored in records of their own, and in the property's record.
const LONG_STRING: u64 = 9;
const SHORT_STRING: u64 = 11;

/// The owner of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Node(u64),
    Relationship(u64),
    /// An index or a constraint.
    Schema,
    Unknown,
}

/// The texts to keep while reading.
#[derive(Clone, Copy)]
pub(super) struct WantedTexts<'a> {
    /// Selects texts by the number of the property's name.
    pub(super) named: &'a dyn Fn(u32) -> bool,
    /// The most bytes of a text. Longer texts count as not in the log: each may have megabytes.
    pub(super) longest: usize,
}

impl WantedTexts<'_> {
    pub(super) const NONE: WantedTexts<'static> = WantedTexts { named: &|_| false, longest: 0 };
}

/// A record of up to four properties.
#[derive(Debug)]
pub(super) struct PropertyRecord {
    pub(super) in_use: bool,
    pub(super) owner: Owner,
    /// The wanted texts, each with the number of its property's name.
    pub(super) texts: Vec<(u32, Option<String>)>,
}

impl PropertyRecord {
    /// Reads a record with its wanted texts.
    pub(super) fn read<R: ReadAt>(input: &mut Input<R>, wanted: WantedTexts<'_>) -> Result<Self, LogParseError> {
        let flags = input.u8()?;
        // Its neighbours in the chain of properties.
        input.skip(2 * 8)?;
        let owner = owner(flags, input.i64()?);
        let blocks = i64::from(input.u8()? as i8);
        if !(0..=MAX_BLOCKS).contains(&blocks) {
            return Err(LogParseError::Length(blocks));
        }
        let mut texts = Vec::new();
        for _ in 0..blocks {
            texts.extend(block(input, wanted)?);
        }
        dynamic_records(input, None)?;
        Ok(Self { in_use: flags & IN_USE != 0, owner, texts })
    }
}

fn owner(flags: u8, number: i64) -> Owner {
    match u64::try_from(number) {
        Err(_) => Owner::Unknown,
        Ok(number) if flags & OF_NODE != 0 => Owner::Node(number),
        Ok(number) if flags & OF_RELATIONSHIP != 0 => Owner::Relationship(number),
        Ok(_) => Owner::Schema,
    }
}

/// Reads a property: up to four words, and records for a value that does not fit them.
fn block<R: ReadAt>(input: &mut Input<R>, wanted: WantedTexts<'_>) -> Result<Option<(u32, Option<String>)>, LogParseError> {
    let size = input.u8()?;
    let mut words = [0_u64; short_string::WORDS];
    let used = usize::from(size / 8);
    if size % 8 != 0 || !(1..=words.len()).contains(&used) {
        return Err(LogParseError::Length(size.into()));
    }
    for word in &mut words[..used] {
        *word = input.i64()? as u64;
    }
    let name = (words[0] & ((1 << NAME_BITS) - 1)) as u32;
    let kind = words[0] >> NAME_BITS & 0xf;
    if !(wanted.named)(name) || !matches!(kind, LONG_STRING | SHORT_STRING) {
        dynamic_records(input, None)?;
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let records = dynamic_records(input, Some(&mut bytes))?;
    let text = match kind {
        SHORT_STRING => short_string::decode(&words[..used]),
        _ if records == 0 || bytes.len() > wanted.longest => None,
        _ => String::from_utf8(bytes).ok(),
    };
    Ok(Some((name, text)))
}
