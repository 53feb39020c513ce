//! The first 128 bytes of a log file, big endian.

use super::input::{Input, ReadAt};
use super::parse_error::LogParseError;
use crate::model::log_position::StoreId;

/// The offset of the first entry.
pub(crate) const HEADER_BYTES: u64 = 128;

/// The log formats: 8 in Neo4j 5.0 to 5.19, 9 in all later versions with default settings.
const FORMATS: std::ops::RangeInclusive<u8> = 8..=9;

/// The version of a store id.
const STORE_ID: u8 = 1;

/// The storage engine of Community.
const ENGINE: &str = "record";

/// The header of a log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileHeader {
    /// The number in the file's name.
    pub file: u64,
    /// The last transaction before this file.
    pub last_transaction: u64,
    /// The store that the log belongs to.
    pub store: StoreId,
}

impl FileHeader {
    /// Reads the header; `None` if the server has made the file but not written its header yet.
    pub(crate) fn read(source: impl ReadAt) -> Result<Option<Self>, LogParseError> {
        let mut input = Input::new(source, 0);
        let mut bytes = Vec::with_capacity(HEADER_BYTES as usize);
        match input.append(HEADER_BYTES, &mut bytes) {
            Err(LogParseError::Unfinished) => return Ok(None),
            read => read?,
        }
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        parse(&bytes).map(Some)
    }
}

fn parse(bytes: &[u8]) -> Result<FileHeader, LogParseError> {
    let mut rest = Rest(bytes);
    let first = rest.number()?;
    let format = (first as u64 >> 56) as u8;
    if !FORMATS.contains(&format) {
        return Err(LogParseError::LogFormat(format));
    }
    let file = first as u64 & ((1 << 56) - 1);
    let last_transaction = u64::try_from(rest.number()?).map_err(|_| LogParseError::Header)?;
    if format == *FORMATS.end() {
        // The same number again, as the append index.
        rest.number()?;
    }
    if rest.take(1)? != [STORE_ID] {
        return Err(LogParseError::Header);
    }
    let (created_ms, random) = (rest.number()?, rest.number()?);
    let engine = rest.text()?;
    if engine != ENGINE {
        return Err(LogParseError::Engine(engine));
    }
    Ok(FileHeader { file, last_transaction, store: StoreId { created_ms, random, format: rest.text()? } })
}

/// The bytes of the header that are not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], LogParseError> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(LogParseError::Header)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<i64, LogParseError> {
        let bytes = self.take(8)?.try_into().map_err(|_| LogParseError::Header)?;
        Ok(i64::from_be_bytes(bytes))
    }

    fn text(&mut self) -> Result<String, LogParseError> {
        let length = usize::from(self.take(1)?[0]);
        String::from_utf8(self.take(length)?.to_vec()).map_err(|_| LogParseError::Header)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const STORE: &[u8] = b"\x01\x00\x00\x01\xa2\x21\x11\x00\x25\x76\xf1\x7d\x49\x87\xbb\x05\xc7\x06record\x07aligned\x01\x01";

    fn header(numbers: &[u64], store: &[u8]) -> Vec<u8> {
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        bytes.extend_from_slice(store);
        bytes.resize(HEADER_BYTES as usize, 0);
        bytes
    }

    #[test]
    fn both_formats_are_read() {
        for (format, numbers) in [(8, vec![7, 41]), (9, vec![7, 41, 41])] {
            let numbers: Vec<u64> =
                numbers.iter().enumerate().map(|(at, n)| if at == 0 { format << 56 | n } else { *n }).collect();
            let read = FileHeader::read(&header(&numbers, STORE)[..]).unwrap().unwrap();
            assert_eq!((read.file, read.last_transaction), (7, 41));
            assert_eq!((read.store.created_ms, read.store.format.as_str()), (0x01a2_2111_0025, "aligned"));
        }
    }

    #[test]
    fn a_file_without_a_header_is_waited_for() {
        assert_eq!(FileHeader::read(&[0_u8; 4096][..]).unwrap(), None);
        assert_eq!(FileHeader::read(&[9_u8; 5][..]).unwrap(), None);
    }

    #[test]
    fn what_is_no_known_header_is_odd() {
        let read = |bytes: &[u8]| FileHeader::read(bytes).unwrap_err().to_string();
        assert_eq!(read(&header(&[10 << 56, 1, 1], STORE)), "unknown log format 10");
        let block: Vec<u8> = STORE.iter().copied().take(17).chain(*b"\x05block\x05block\x01\x01").collect();
        assert_eq!(read(&header(&[9 << 56, 1, 1], &block)), "the storage engine is \"block\", not \"record\"");
        let long: Vec<u8> = STORE.iter().copied().take(17).chain([255]).collect();
        assert!(read(&header(&[9 << 56, 1, 1], &long)).contains("header"));
        assert!(read(&header(&[9 << 56, 1 << 63, 1], STORE)).contains("header"));
    }
}
