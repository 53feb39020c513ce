//! Neo4j's token of its last commit.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// A bookmark. Neo4j documents its text as opaque. Where the text has the known layout, its database and transaction number are
/// compared; otherwise only equality counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bookmark(String);

/// The layout since Neo4j 5: `FB:` and, in base64, a list of one (database and transaction) and an empty list.
const PREFIX: &str = "FB:";
const LIST_OF_ONE: u8 = 0x91;
const SHORT_BYTES: u8 = 0xCC;
const DATABASE_ID_LENGTH: usize = 16;
const NO_EXTERNAL_STATES: u8 = 0x90;

impl Bookmark {
    /// A bookmark as Neo4j wrote it.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text that Neo4j wrote.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the database, as in the middle of its element ids.
    pub fn database_id(&self) -> Option<String> {
        let (id, _) = self.parts()?;
        let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let group = |from, to| hex.get(from..to);
        Some(format!("{}-{}-{}-{}-{}", group(0, 8)?, group(8, 12)?, group(12, 16)?, group(16, 20)?, group(20, 32)?))
    }

    /// The number of the transaction: higher for a later commit of the same database.
    pub fn transaction(&self) -> Option<u64> {
        let (_, number) = self.parts()?;
        u64::try_from(read_integer(&number)?).ok()
    }

    /// Whether this bookmark can come after another one: it is of the same database, as far as the texts tell, and not of an
    /// earlier commit.
    pub(crate) fn can_follow(&self, earlier: &Bookmark) -> bool {
        let backwards = self.transaction().zip(earlier.transaction()).is_some_and(|(now, before)| now < before);
        !backwards && self.database_id() == earlier.database_id()
    }

    /// Whether a reader that has seen this commit has also seen the other one: both are the same, or the other one is earlier in
    /// the same database, as far as the texts tell.
    pub(crate) fn includes(&self, other: &Bookmark) -> bool {
        let earlier = || other.transaction().zip(self.transaction()).is_some_and(|(other, this)| other <= this);
        self == other || (self.database_id() == other.database_id() && earlier())
    }

    /// The bookmark of another transaction of the same database; nothing if the layout of this bookmark is unknown.
    #[must_use]
    pub(crate) fn of_transaction(&self, transaction: u64) -> Option<Bookmark> {
        let (id, _) = self.parts()?;
        let number = write_integer(i64::try_from(transaction).ok()?);
        let bytes = [&[LIST_OF_ONE, SHORT_BYTES, DATABASE_ID_LENGTH as u8], &id[..], &number, &[NO_EXTERNAL_STATES]].concat();
        Some(Bookmark(format!("{PREFIX}{}", STANDARD.encode(bytes))))
    }

    /// The database's id, and the bytes from the transaction's number on.
    fn parts(&self) -> Option<([u8; DATABASE_ID_LENGTH], Vec<u8>)> {
        let bytes = STANDARD.decode(self.0.strip_prefix(PREFIX)?).ok()?;
        let (head, rest) = bytes.split_first_chunk::<3>()?;
        let (id, number) = rest.split_first_chunk::<DATABASE_ID_LENGTH>()?;
        let expected = [LIST_OF_ONE, SHORT_BYTES, 16];
        (*head == expected).then(|| (*id, number.to_vec()))
    }
}

/// Reads a PackStream integer at the front of some bytes.
fn read_integer(bytes: &[u8]) -> Option<i64> {
    let (marker, rest) = bytes.split_first()?;
    match marker {
        0x00..=0x7F | 0xF0..=0xFF => Some(i64::from(marker.cast_signed())),
        0xC8 => Some(i64::from(i8::from_be_bytes(*rest.first_chunk()?))),
        0xC9 => Some(i64::from(i16::from_be_bytes(*rest.first_chunk()?))),
        0xCA => Some(i64::from(i32::from_be_bytes(*rest.first_chunk()?))),
        0xCB => Some(i64::from_be_bytes(*rest.first_chunk()?)),
        _ => None,
    }
}

/// Writes a non-negative number as PackStream does, in as few bytes as possible.
fn write_integer(number: i64) -> Vec<u8> {
    if let Ok(tiny @ 0..) = i8::try_from(number) {
        return vec![tiny.cast_unsigned()];
    }
    if let Ok(number) = i16::try_from(number) {
        return [&[0xC9][..], &number.to_be_bytes()].concat();
    }
    if let Ok(number) = i32::try_from(number) {
        return [&[0xCA][..], &number.to_be_bytes()].concat();
    }
    [&[0xCB][..], &number.to_be_bytes()].concat()
}

impl fmt::Display for Bookmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bookmark(number: &[u8]) -> Bookmark {
        let id: Vec<u8> = (0..16).collect();
        let bytes = [&[0x91, 0xCC, 0x10], &id[..], number, &[0x90]].concat();
        Bookmark::new(format!("FB:{}", STANDARD.encode(bytes)))
    }

    #[test]
    fn database_and_transaction_are_read_from_the_known_layout() {
        let small = bookmark(&[42]);
        assert!(small.as_str().starts_with("FB:kcwQ"), "{small}");
        assert_eq!(small.database_id().as_deref(), Some("00010203-0405-0607-0809-0a0b0c0d0e0f"));
        assert_eq!(small.transaction(), Some(42));
        assert_eq!(bookmark(&[0xC9, 0x01, 0x00]).transaction(), Some(256));
        assert_eq!(bookmark(&[0xCB, 0, 0, 0, 1, 0, 0, 0, 0]).transaction(), Some(1 << 32));
        assert_eq!(bookmark(&[0xFF]).transaction(), None, "no transaction has a negative number");
    }

    #[test]
    fn the_bookmark_of_another_transaction_is_written_as_neo4j_writes_it() {
        let at = |number: u64| bookmark(&[1]).of_transaction(number);
        assert_eq!(at(42), Some(bookmark(&[42])));
        assert_eq!(at(128), Some(bookmark(&[0xC9, 0, 128])));
        assert_eq!(at(40_000), Some(bookmark(&[0xCA, 0, 0, 0x9C, 0x40])));
        assert_eq!(at(1 << 32), Some(bookmark(&[0xCB, 0, 0, 0, 1, 0, 0, 0, 0])));
        assert_eq!(Bookmark::new("neo4j:bookmark:v1:tx7").of_transaction(8), None);
    }

    #[test]
    fn an_earlier_commit_or_another_database_cannot_follow() {
        let (early, late) = (bookmark(&[1]), bookmark(&[2]));
        assert!(late.can_follow(&early) && late.can_follow(&late) && !early.can_follow(&late));
        let other = Bookmark::new(format!("FB:{}", STANDARD.encode([&[0x91, 0xCC, 0x10], &[7; 16][..], &[9, 0x90]].concat())));
        assert!(!other.can_follow(&late));
        assert!(Bookmark::new("x").can_follow(&Bookmark::new("y")), "texts of another make tell nothing");
    }

    #[test]
    fn another_layout_is_a_bookmark_all_the_same() {
        for text in ["neo4j:bookmark:v1:tx7", "FB:", "FB:kcwQ", "FB:!!", ""] {
            let bookmark = Bookmark::new(text);
            assert_eq!((bookmark.database_id(), bookmark.transaction()), (None, None), "{text}");
            assert_eq!(bookmark, Bookmark::new(text));
        }
    }

    #[test]
    fn a_bookmark_is_kept_as_its_text() {
        let text = serde_json::to_string(&Bookmark::new("FB:x")).unwrap();
        assert_eq!(text, "\"FB:x\"");
        assert_eq!(serde_json::from_str::<Bookmark>(&text).unwrap(), Bookmark::new("FB:x"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_layout_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let bookmark = Bookmark::new(format!("FB:{}", STANDARD.encode([&[0x91, 0xCC, 0x10], &bytes[..]].concat())));
            let _ = (bookmark.database_id(), bookmark.transaction());
        }
    }
}
