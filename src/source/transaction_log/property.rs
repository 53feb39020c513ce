//! Records of properties: to which element they belong, and which texts they held.

use super::input::{Input, ReadAt};
use super::parse_error::LogParseError;
use super::record::{IN_USE, dynamic_records};
use super::short_string;

const OF_NODE: u8 = 0x40;
const OF_RELATIONSHIP: u8 = 0x80;

/// Properties that a record has room for.
const MAX_BLOCKS: i64 = 4;

/// The number of a property's name: the low bits of its first word.
const NAME_BITS: u32 = 24;

/// Types of values that are texts: in records of their own, and in the property's.
const LONG_STRING: u64 = 9;
const SHORT_STRING: u64 = 11;

/// What a property belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Node(u64),
    Relationship(u64),
    /// An index or a constraint.
    Schema,
    Unknown,
}

/// Which texts are kept.
#[derive(Clone, Copy)]
pub(super) struct WantedTexts<'a> {
    /// By the number of the property's name.
    pub(super) named: &'a dyn Fn(u32) -> bool,
    /// Of how many bytes at most. Those that are longer count as not in the log: there may be megabytes of each.
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
    /// Texts by the number of their property's name, of those that were asked for.
    pub(super) texts: Vec<(u32, Option<String>)>,
}

impl PropertyRecord {
    /// Reads it, with those of its texts that are wanted.
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

/// A property: up to four words, and records with what has no room in them.
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
