//! Reads bytes in order from any source, with a running checksum.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::parse_error::LogParseError;

/// The bytes of the first read at a place: a check whether anything is written there must cost little.
const FIRST: usize = 512;

/// The most bytes of one read. Nearly every transaction is smaller.
const MOST: usize = 256 * 1024;

/// A source that can be read at any place.
pub(crate) trait ReadAt {
    /// Reads some bytes at this place; returns 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }
}

impl<R: ReadAt + ?Sized> ReadAt for &R {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buffer, offset)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }
}

/// Reads forward from a place. The checksum covers the bytes read.
#[derive(Debug)]
pub(super) struct Input<R> {
    source: R,
    buffer: Vec<u8>,
    /// The position of the buffer's first byte in the source.
    base: u64,
    /// The positions of the next byte and of the end of the data in the buffer.
    at: usize,
    end: usize,
    /// The checksum up to `summed`.
    checksum: u32,
    summed: usize,
}

impl<R: ReadAt> Input<R> {
    pub(super) fn new(source: R, offset: u64) -> Self {
        Self { source, buffer: vec![0; FIRST], base: offset, at: 0, end: 0, checksum: 0, summed: 0 }
    }

    /// The position of the next byte in the source.
    pub(super) fn position(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Moves to a place and discards the buffer: the source may hold something else there by now.
    pub(super) fn go_to(&mut self, offset: u64) {
        (self.base, self.at, self.end, self.summed) = (offset, 0, 0, 0);
        self.buffer.truncate(FIRST);
    }

    /// Begins a new checksum here.
    pub(super) fn begin_checksum(&mut self) {
        (self.checksum, self.summed) = (0, self.at);
    }

    /// Ensures that the buffer holds at least one more byte; `false` at the end of the source.
    fn fill(&mut self) -> Result<bool, LogParseError> {
        if self.at < self.end {
            return Ok(true);
        }
        self.sum();
        self.base += self.end as u64;
        if self.end == self.buffer.len() {
            self.buffer.resize(MOST.min(2 * self.buffer.len()), 0);
        }
        (self.at, self.end, self.summed) = (0, 0, 0);
        self.end = loop {
            match self.source.read_at(&mut self.buffer, self.base) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        Ok(self.end > 0)
    }

    fn sum(&mut self) {
        self.checksum = crc32c::crc32c_append(self.checksum, &self.buffer[self.summed..self.at]);
        self.summed = self.at;
    }

    /// The CRC-32C of all bytes that were read.
    pub(super) fn checksum(&mut self) -> u32 {
        self.sum();
        self.checksum
    }

    /// Returns the next byte without reading past it. At the end of the source it is zero, as in a file allocated in advance.
    pub(super) fn peek(&mut self) -> Result<u8, LogParseError> {
        Ok(if self.fill()? { self.buffer[self.at] } else { 0 })
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], LogParseError> {
        let mut bytes = [0; N];
        if let Some(there) = self.buffer[self.at..self.end].first_chunk::<N>() {
            bytes = *there;
            self.at += N;
            return Ok(bytes);
        }
        for byte in &mut bytes {
            if !self.fill()? {
                return Err(LogParseError::Unfinished);
            }
            *byte = self.buffer[self.at];
            self.at += 1;
        }
        Ok(bytes)
    }

    pub(super) fn u8(&mut self) -> Result<u8, LogParseError> {
        Ok(u8::from_le_bytes(self.bytes()?))
    }

    pub(super) fn i32(&mut self) -> Result<i32, LogParseError> {
        Ok(i32::from_le_bytes(self.bytes()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64, LogParseError> {
        Ok(i64::from_le_bytes(self.bytes()?))
    }

    /// Reads the number of items that follow.
    pub(super) fn length(&mut self) -> Result<u32, LogParseError> {
        let length = self.i32()?;
        u32::try_from(length).map_err(|_| LogParseError::Length(length.into()))
    }

    /// Skips this number of bytes.
    pub(super) fn skip(&mut self, bytes: u64) -> Result<(), LogParseError> {
        self.each_part(bytes, |_| ())
    }

    /// Appends this number of bytes. Memory is allocated only for bytes that were read.
    pub(super) fn append(&mut self, bytes: u64, to: &mut Vec<u8>) -> Result<(), LogParseError> {
        self.each_part(bytes, |part| to.extend_from_slice(part))
    }

    fn each_part(&mut self, bytes: u64, mut take: impl FnMut(&[u8])) -> Result<(), LogParseError> {
        let mut left = bytes;
        while left > 0 {
            if !self.fill()? {
                return Err(LogParseError::Unfinished);
            }
            let there = self.end - self.at;
            let part = usize::try_from(left).map_or(there, |left| left.min(there));
            take(&self.buffer[self.at..self.at + part]);
            self.at += part;
            left -= part as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A source that yields one byte at a time.
    struct Slowly<'a>(&'a [u8]);

    impl ReadAt for Slowly<'_> {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            self.0.read_at(&mut buffer[..1], offset)
        }
    }

    #[test]
    fn numbers_and_parts_are_the_same_however_bytes_arrive() {
        let bytes: Vec<u8> = (1..=40).collect();
        let mut sums = Vec::new();
        for source in [&&bytes[..] as &dyn ReadAt, &Slowly(&bytes)] {
            let mut input = Input::new(source, 2);
            assert_eq!(input.peek().unwrap(), 3);
            assert_eq!(input.i32().unwrap(), 0x06_05_04_03);
            input.skip(1).unwrap();
            assert_eq!(input.i64().unwrap(), 0x0f_0e_0d_0c_0b_0a_09_08);
            let mut part = Vec::new();
            input.append(3, &mut part).unwrap();
            assert_eq!((part, input.position()), (vec![16, 17, 18], 18));
            sums.push(input.checksum());
            assert_eq!(input.checksum(), crc32c::crc32c(&bytes[2..18]));
            assert!(matches!(input.skip(u64::MAX), Err(LogParseError::Unfinished)));
            assert_eq!(input.peek().unwrap(), 0);
        }
        assert_eq!(sums[0], sums[1]);
    }

    #[test]
    fn a_length_below_zero_is_odd() {
        let bytes = (-1_i32).to_le_bytes();
        assert!(matches!(Input::new(&bytes[..], 0).length(), Err(LogParseError::Length(-1))));
    }
}
