//! Parameter text: the part `CYPHER name=[…] ` before a query, and its size limits for one request.

use std::collections::HashSet;
use std::hash::Hash;
use std::ops::Range;

use crate::model::element::RelationshipIdentity;
use crate::model::key::{Key, KeyPrefixes};
use crate::model::prepared::EncodedRows;

/// The most parameter text of one request. FalkorDB reads parameters in place and keeps the whole request in memory several
/// times over; with 8 MiB a request of 1,024-float rows holds about a thousand of them, beyond which nothing gets faster.
const REQUEST_BYTES: usize = 8 * 1024 * 1024;

/// The most rows of one request that reads: enough to make the round trip negligible.
const REQUEST_ROWS: usize = 5_000;

/// The most rows and the most parameter text of one transaction that writes. It runs on the server's main thread, and every other
/// client waits for it: some 10 ms with this much, as for a query that commits (measured with vectors of 256 numbers).
pub(super) const TRANSACTION_ROWS: usize = 250;
pub(super) const TRANSACTION_BYTES: usize = 256 * 1024;

/// Writes a string literal. FalkorDB reads UTF-8 raw: only the quote and the backslash need an escape. NUL ends its text: keys
/// and names have none, and all other texts must be free of it.
pub(super) fn push_string(text: &mut Vec<u8>, value: &str) {
    text.push(b'\'');
    for byte in value.bytes() {
        if matches!(byte, b'\'' | b'\\') {
            text.push(b'\\');
        }
        text.push(byte);
    }
    text.push(b'\'');
}

/// A request: some neighbouring rows, and their statement.
pub(super) fn with_rows(rows: &dyn RowText, range: Range<usize>, statement: &str) -> Vec<u8> {
    let bytes: usize = range.clone().map(|index| rows.row(index).len() + 1).sum();
    let mut text = Vec::with_capacity(bytes + statement.len() + 32);
    text.extend_from_slice(b"CYPHER rows=[");
    for index in range.clone() {
        if index > range.start {
            text.push(b',');
        }
        text.extend_from_slice(rows.row(index));
    }
    finish(text, statement)
}

/// A request with a list of keys as its parameter.
pub(super) fn with_keys<'a>(keys: impl IntoIterator<Item = &'a Key>, statement: &str) -> Vec<u8> {
    let mut text = b"CYPHER keys=[".to_vec();
    for (place, key) in keys.into_iter().enumerate() {
        if place > 0 {
            text.push(b',');
        }
        push_string(&mut text, key.as_str());
    }
    finish(text, statement)
}

/// A request with beginnings of keys as its parameters. They come from the source, where they may contain NUL: no text in
/// FalkorDB does, so no key begins with one of these. Returns nothing if no other beginning is left.
pub(super) fn with_beginnings(beginnings: &KeyPrefixes, statement: &str) -> Option<Vec<u8>> {
    let mut text = format!("CYPHER length={} prefixes=[", beginnings.length).into_bytes();
    let mut names = beginnings.names.iter().filter(|name| !name.contains('\0'));
    push_string(&mut text, names.next()?);
    for name in names {
        text.push(b',');
        push_string(&mut text, name);
    }
    Some(finish(text, statement))
}

/// A request with a list of identities as its parameter, each with its number `i`.
pub(super) fn with_identities<'a>(
    identities: impl IntoIterator<Item = (usize, &'a RelationshipIdentity)>,
    statement: &str,
) -> Vec<u8> {
    let mut text = b"CYPHER rows=[".to_vec();
    for (place, (number, identity)) in identities.into_iter().enumerate() {
        if place > 0 {
            text.push(b',');
        }
        text.extend_from_slice(format!("{{i:{number},k:").as_bytes());
        push_string(&mut text, identity.key.as_str());
        text.extend_from_slice(b",s:");
        push_string(&mut text, identity.start.key.as_str());
        text.extend_from_slice(b",e:");
        push_string(&mut text, identity.end.key.as_str());
        text.push(b'}');
    }
    finish(text, statement)
}

/// A request with an empty parameter: it shows whether FalkorDB takes the statement at all.
pub(super) fn without_rows(statement: &str) -> Vec<u8> {
    finish(b"CYPHER rows=[".to_vec(), statement)
}

fn finish(mut text: Vec<u8>, statement: &str) -> Vec<u8> {
    text.extend_from_slice(b"] ");
    text.extend_from_slice(statement.as_bytes());
    text
}

/// Encoded rows with any kind of identity.
pub(super) trait RowText: Sync {
    /// The text of a row.
    fn row(&self, index: usize) -> &[u8];
    /// The number of rows.
    fn len(&self) -> usize;
    /// For each row, whether an earlier one has the same identity.
    fn repeats(&self) -> Vec<bool>;
}

impl<I: Sync + Hash + Eq> RowText for EncodedRows<I> {
    fn row(&self, index: usize) -> &[u8] {
        EncodedRows::row(self, index)
    }

    fn len(&self) -> usize {
        EncodedRows::len(self)
    }

    fn repeats(&self) -> Vec<bool> {
        let mut seen = HashSet::with_capacity(self.len());
        self.identities().iter().map(|identity| !seen.insert(identity)).collect()
    }
}

/// Cuts rows into requests of at most [`REQUEST_BYTES`] and [`REQUEST_ROWS`]. A larger row gets its own request.
pub(super) fn requests(sizes: impl IntoIterator<Item = usize>) -> Vec<Range<usize>> {
    cut(sizes.into_iter().map(|size| (size, false)), REQUEST_BYTES, REQUEST_ROWS)
}

/// As [`requests`], for requests that write: each fits into a transaction.
pub(super) fn write_requests(sizes: impl IntoIterator<Item = usize>) -> Vec<Range<usize>> {
    write_requests_apart(sizes.into_iter().map(|size| (size, false)))
}

/// As [`write_requests`], for rows that must not share a request with earlier rows if they repeat an identity.
pub(super) fn write_requests_apart(rows: impl IntoIterator<Item = (usize, bool)>) -> Vec<Range<usize>> {
    cut(rows, TRANSACTION_BYTES, TRANSACTION_ROWS)
}

fn cut(rows: impl IntoIterator<Item = (usize, bool)>, most_bytes: usize, most_rows: usize) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut end, mut bytes) = (0, 0, 0);
    for (size, repeats) in rows {
        if end > start && (repeats || bytes + size > most_bytes || end - start >= most_rows) {
            ranges.push(start..end);
            (start, bytes) = (end, 0);
        }
        bytes += size;
        end += 1;
    }
    if end > start {
        ranges.push(start..end);
    }
    ranges
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rows(lengths: &[usize]) -> EncodedRows<usize> {
        let mut rows = EncodedRows::default();
        for (index, length) in lengths.iter().enumerate() {
            rows.push(index, |text| text.extend(std::iter::repeat_n(b'x', *length)));
        }
        rows
    }

    #[test]
    fn quotes_and_backslashes_are_escaped_and_nothing_else() {
        let mut text = Vec::new();
        push_string(&mut text, "it's a \\ \"ü\"\n");
        assert_eq!(text, "'it\\'s a \\\\ \"ü\"\n'".as_bytes());
    }

    #[test]
    fn requests_hold_the_parameter_and_the_statement() {
        let encoded = rows(&[1, 2, 1]);
        assert_eq!(with_rows(&encoded, 0..2, "S"), b"CYPHER rows=[x,xx] S");
        let keys = [Key::parse("a").unwrap(), Key::parse("b").unwrap()];
        assert_eq!(with_keys(&keys, "S"), b"CYPHER keys=['a','b'] S");
        assert_eq!(without_rows("S"), b"CYPHER rows=[] S");
    }

    #[test]
    fn what_no_key_begins_with_is_not_asked_for() {
        let beginnings = |names: &[&str]| KeyPrefixes { length: 2, names: names.iter().map(|name| (*name).to_owned()).collect() };
        let text = with_beginnings(&beginnings(&["a\0", "it", "a'"]), "S").unwrap();
        assert_eq!(text, b"CYPHER length=2 prefixes=['it','a\\''] S");
        assert_eq!(with_beginnings(&beginnings(&["a\0"]), "S"), None);
        assert_eq!(with_beginnings(&beginnings(&[""]), "S").unwrap(), b"CYPHER length=2 prefixes=[''] S");
    }

    #[test]
    fn groups_are_cut_by_bytes_and_by_rows() {
        let cut = |sizes: &[usize], bytes, rows| cut(sizes.iter().map(|size| (*size, *size == 9)), bytes, rows);
        assert_eq!(cut(&[4, 4, 4, 20, 1, 1], 8, 100), vec![0..2, 2..3, 3..4, 4..6]);
        assert_eq!(cut(&[1, 1, 1, 1, 1], 100, 2), vec![0..2, 2..4, 4..5]);
        assert_eq!(cut(&[1, 9, 1, 1], 100, 100), vec![0..1, 1..4]);
        assert_eq!(cut(&[], 8, 8), Vec::<Range<usize>>::new());
    }
}
