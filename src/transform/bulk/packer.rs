//! Packs records into tokens and tokens into payloads of a bounded size.

use super::header::Header;
use super::payload::{BulkPayload, MAX_PAYLOAD_BYTES, MAX_PAYLOAD_ROWS};
use crate::model::element::NodeIdentity;

/// The payloads that are being filled.
#[derive(Default)]
pub(super) struct Packer {
    closed: Vec<BulkPayload>,
    open: BulkPayload,
    bytes: usize,
    /// Whether the last token of the open payload belongs to the current header.
    in_token: bool,
}

impl Packer {
    /// Notes that the next records have another header.
    pub(super) fn next_header(&mut self) {
        self.in_token = false;
    }

    /// Adds a node; `write` appends its record, which must fit the header.
    pub(super) fn node(&mut self, header: &Header<'_>, identity: NodeIdentity, write: impl FnOnce(&mut Vec<u8>)) {
        self.open.nodes.push(identity);
        append(&mut self.open.node_tokens, header, &mut self.in_token, &mut self.bytes, write);
        self.close_if_full();
    }

    /// Adds a relationship; `write` appends both ids and its record, which must fit the header.
    pub(super) fn relationship(&mut self, header: &Header<'_>, write: impl FnOnce(&mut Vec<u8>)) {
        self.open.relationships += 1;
        append(&mut self.open.relationship_tokens, header, &mut self.in_token, &mut self.bytes, write);
        self.close_if_full();
    }

    /// Returns all payloads; none of them is empty.
    pub(super) fn finish(mut self) -> Vec<BulkPayload> {
        self.close();
        self.closed
    }

    fn close_if_full(&mut self) {
        let rows = self.open.nodes.len() as u64 + self.open.relationships;
        if self.bytes >= MAX_PAYLOAD_BYTES || rows >= MAX_PAYLOAD_ROWS as u64 {
            self.close();
        }
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.closed.push(std::mem::take(&mut self.open));
        }
        self.bytes = 0;
        self.in_token = false;
    }
}

fn append(
    tokens: &mut Vec<Vec<u8>>,
    header: &Header<'_>,
    in_token: &mut bool,
    bytes: &mut usize,
    write: impl FnOnce(&mut Vec<u8>),
) {
    if !std::mem::replace(in_token, true) {
        tokens.push(header.bytes().to_vec());
        *bytes += header.bytes().len();
    }
    if let Some(token) = tokens.last_mut() {
        let before = token.len();
        write(token);
        *bytes += token.len() - before;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::key::Key;
    use crate::model::name::Label;

    fn packed(rows: usize, row_bytes: usize) -> Vec<BulkPayload> {
        let label = Label::parse("A").unwrap();
        let header = Header::of_nodes([&label].into_iter(), vec!["k"]);
        let mut packer = Packer::default();
        for row in 0..rows {
            let identity = NodeIdentity { label: label.clone(), key: Key::parse(&row.to_string()).unwrap() };
            packer.node(&header, identity, |out| out.resize(out.len() + row_bytes, 1));
        }
        packer.finish()
    }

    #[test]
    fn a_payload_is_bounded_by_rows_and_by_bytes() {
        let counts = |payloads: &[BulkPayload]| payloads.iter().map(BulkPayload::node_count).collect::<Vec<_>>();
        assert_eq!(counts(&packed(2 * MAX_PAYLOAD_ROWS + 1, 2)), [MAX_PAYLOAD_ROWS as u64, MAX_PAYLOAD_ROWS as u64, 1]);
        let halves = packed(5, MAX_PAYLOAD_BYTES / 2);
        assert_eq!(counts(&halves), [2, 2, 1]);
        assert!(halves.iter().all(|payload| payload.bytes() < MAX_PAYLOAD_BYTES + MAX_PAYLOAD_BYTES / 2));
        assert_eq!(counts(&packed(2, 2 * MAX_PAYLOAD_BYTES)), [1, 1]);
        assert!(packed(0, 0).is_empty());
    }

    #[test]
    fn every_payload_and_every_header_begins_a_token() {
        let payloads = packed(3, MAX_PAYLOAD_BYTES);
        assert!(payloads.iter().all(|payload| payload.node_tokens().len() == 1 && payload.node_tokens()[0].starts_with(b"A\0")));
    }
}
