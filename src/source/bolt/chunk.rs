//! Bolt's framing: a message comes as chunks, each after its length in two bytes, and ends with a chunk of length zero. Such an
//! end without a message is a sign of life and carries nothing else.
//!
//! A message is joined in place in the receive buffer, so most messages are decoded from the very bytes that the socket wrote.

use std::ops::Range;

use thiserror::Error;

/// The initial size of the buffer: two of the longest chunks, so that a read takes many messages at once.
const INITIAL_ROOM: usize = 128 << 10;

/// The largest buffer that is kept: a buffer that one large message made larger is freed afterwards.
const RETAINED_ROOM: usize = 1 << 20;

/// The smallest room for a read: a system call for a few bytes costs as much as one for many.
const SMALLEST_READ: usize = 16 << 10;

/// The longest chunk: its length has two bytes.
const LONGEST_CHUNK: usize = u16::MAX as usize;

const HEADER: usize = 2;

/// The place of a message's tag, after the marker of a structure.
const TAG: usize = 1;

/// The error for a message longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a message is longer than {limit} bytes")]
pub struct MessageTooLong {
    /// The limit in bytes.
    pub limit: usize,
}

/// The receive buffer of a connection.
#[derive(Debug)]
pub(super) struct Frames {
    buffer: Vec<u8>,
    /// The joined part of the message that is arriving.
    joined: Range<usize>,
    /// The header of the next chunk.
    next: usize,
    /// The end of what has arrived.
    filled: usize,
    limit: usize,
}

impl Frames {
    /// Creates a buffer for messages of up to `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { buffer: vec![0; INITIAL_ROOM], joined: 0..0, next: 0, filled: 0, limit }
    }

    /// Returns the place of the next message, if all of it has arrived. The place is valid until the next call of [`Self::room`].
    pub(super) fn message(&mut self) -> Result<Option<Range<usize>>, MessageTooLong> {
        loop {
            let Some(chunk) = self.chunk() else { return Ok(None) };
            self.next = chunk.end;
            if !chunk.is_empty() {
                self.join(chunk)?;
                continue;
            }
            let message = std::mem::replace(&mut self.joined, self.next..self.next);
            if !message.is_empty() {
                return Ok(Some(message));
            }
        }
    }

    /// Passes the next message without joining it, if its end has arrived, and returns its tag and length. `begun` holds the
    /// known tag and length of a message that is still arriving.
    pub(super) fn pass(&mut self, begun: &mut Option<(u8, usize)>) -> Option<(u8, usize)> {
        while let Some(chunk) = self.chunk() {
            self.next = chunk.end;
            self.joined = chunk.end..chunk.end;
            if chunk.is_empty() && begun.is_some() {
                return begun.take();
            }
            if let Some(tag) = self.buffer[chunk.clone()].get(TAG) {
                let (tag, length) = begun.unwrap_or((*tag, 0));
                *begun = Some((tag, length + chunk.len()));
            }
        }
        None
    }

    /// The bytes of a message at this place.
    pub(super) fn bytes(&self, message: Range<usize>) -> &[u8] {
        self.buffer.get(message).unwrap_or_default()
    }

    /// Returns room for the bytes that arrive next.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.joined.is_empty() && self.next == self.filled {
            self.empty();
        }
        if self.buffer.len() - self.filled < SMALLEST_READ {
            self.compact();
        }
        if self.buffer.len() - self.filled < SMALLEST_READ {
            // The arriving message is already this long: the buffer grows with the bytes that came, not with an announced length.
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        &mut self.buffer[self.filled..]
    }

    /// Notes that this number of bytes of the room were filled.
    pub(super) fn arrived(&mut self, bytes: usize) {
        self.filled = (self.filled + bytes).min(self.buffer.len());
    }

    /// The content of the next chunk, if all of it has arrived.
    fn chunk(&self) -> Option<Range<usize>> {
        let header = self.buffer[self.next..self.filled].first_chunk::<HEADER>()?;
        let start = self.next + HEADER;
        let end = start + usize::from(u16::from_be_bytes(*header));
        (end <= self.filled).then_some(start..end)
    }

    fn join(&mut self, chunk: Range<usize>) -> Result<(), MessageTooLong> {
        if self.joined.len() + chunk.len() > self.limit {
            return Err(MessageTooLong { limit: self.limit });
        }
        if self.joined.is_empty() {
            self.joined = chunk;
            return Ok(());
        }
        let end = self.joined.end + chunk.len();
        self.buffer.copy_within(chunk, self.joined.end);
        self.joined.end = end;
        Ok(())
    }

    fn empty(&mut self) {
        if self.buffer.len() > RETAINED_ROOM {
            self.buffer = vec![0; INITIAL_ROOM];
        }
        (self.joined, self.next, self.filled) = (0..0, 0, 0);
    }

    /// Moves the bytes still needed to the front, and the next chunks directly after the joined ones.
    fn compact(&mut self) {
        let joined = self.joined.len();
        self.buffer.copy_within(self.joined.clone(), 0);
        self.buffer.copy_within(self.next..self.filled, joined);
        self.filled = joined + (self.filled - self.next);
        self.next = joined;
        self.joined = 0..joined;
    }
}

/// Writes a message in chunks.
pub(super) fn write_chunked(message: &[u8], to: &mut Vec<u8>) {
    for chunk in message.chunks(LONGEST_CHUNK) {
        // Two bytes can express the length of every chunk.
        let length = u16::try_from(chunk.len()).unwrap_or(u16::MAX);
        to.extend(length.to_be_bytes());
        to.extend(chunk);
    }
    to.extend([0, 0]);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 1 << 20;

    /// Feeds a stream in reads of at most `step` bytes and returns the resulting messages.
    fn received(stream: &[u8], step: usize) -> Vec<Vec<u8>> {
        let mut frames = Frames::new(LIMIT);
        let mut messages = Vec::new();
        let mut rest = stream;
        while !rest.is_empty() {
            let room = frames.room();
            let count = room.len().min(step).min(rest.len());
            room[..count].copy_from_slice(&rest[..count]);
            frames.arrived(count);
            rest = &rest[count..];
            while let Some(message) = frames.message().unwrap() {
                messages.push(frames.bytes(message).to_vec());
            }
        }
        messages
    }

    /// Writes messages with chunks of the given length and signs of life between them.
    fn sent(messages: &[Vec<u8>], chunk: usize) -> Vec<u8> {
        let mut stream = vec![0, 0];
        for message in messages {
            for part in message.chunks(chunk) {
                stream.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
                stream.extend(part);
            }
            stream.extend([0, 0, 0, 0]);
        }
        stream
    }

    proptest! {
        #[test]
        fn messages_arrive_whole_however_they_are_cut(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..2_000), 0..20),
            chunk in 1_usize..1_500,
            step in 1_usize..3_000,
        ) {
            prop_assert_eq!(received(&sent(&messages, chunk), step), messages);
        }
    }

    #[test]
    fn a_message_larger_than_the_buffer_makes_it_grow_and_gives_the_room_back() {
        let large: Vec<u8> = (0..LIMIT).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let mut stream = Vec::new();
        write_chunked(&large, &mut stream);
        write_chunked(b"after", &mut stream);
        assert_eq!(received(&stream, 50_000), [large.clone(), b"after".to_vec()]);

        let mut frames = Frames::new(LIMIT);
        frames.buffer.resize(RETAINED_ROOM * 2, 0);
        assert_eq!(frames.room().len(), INITIAL_ROOM);
    }

    #[test]
    fn a_message_over_the_limit_is_refused_while_it_arrives() {
        let mut stream = Vec::new();
        write_chunked(&vec![1; 2_000], &mut stream);
        let mut frames = Frames::new(1_000);
        frames.room()[..stream.len()].copy_from_slice(&stream);
        frames.arrived(stream.len());
        assert_eq!(frames.message(), Err(MessageTooLong { limit: 1_000 }));
    }

    #[test]
    fn long_messages_are_written_in_several_chunks() {
        let mut stream = Vec::new();
        write_chunked(&vec![7; LONGEST_CHUNK + 1], &mut stream);
        assert_eq!(stream.len(), LONGEST_CHUNK + 1 + 3 * HEADER);
        assert_eq!(received(&stream, 999), [vec![7; LONGEST_CHUNK + 1]]);
    }
}
