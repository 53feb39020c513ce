//! The key that identifies an element within its kind, in a form that FalkorDB's index can find.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::value::Value;

/// FalkorDB's range index keeps only this many bytes of a string: longer keys collide (measured on 4.16.3).
pub(crate) const MAX_KEY_BYTES: usize = 4096;

/// A key that FalkorDB's range index can find: not empty, not blank at an edge, at most [`MAX_KEY_BYTES`] long, free of NUL and
/// U+0001. The index misses any other key, so that a MERGE on it would make duplicates.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(Arc<str>);

/// The reason why a value cannot be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UnusableKey {
    /// The property is absent.
    #[error("the key property is absent")]
    Missing,
    /// The property is not a string.
    #[error("the key is not a string")]
    NotText,
    /// The key is the empty string.
    #[error("the key is empty")]
    Empty,
    /// White space or a control character at an edge: the index trims it.
    #[error("the key begins or ends with a blank, which the cache's index does not store")]
    EdgeBlank,
    /// The key is longer than [`MAX_KEY_BYTES`].
    #[error("the key is longer than 4096 bytes, which the cache's index truncates")]
    TooLong,
    /// NUL cannot be stored; U+0001 is the index's own separator.
    #[error("the key contains a control character that the cache's index cannot store")]
    ControlCharacter,
}

impl Key {
    /// Checks a text as a key.
    pub fn parse(text: &str) -> Result<Self, UnusableKey> {
        let blank = |c: char| c.is_whitespace() || c.is_control();
        if text.is_empty() {
            return Err(UnusableKey::Empty);
        }
        if text.len() > MAX_KEY_BYTES {
            return Err(UnusableKey::TooLong);
        }
        if text.contains(['\0', '\u{1}']) {
            return Err(UnusableKey::ControlCharacter);
        }
        if text.starts_with(blank) || text.ends_with(blank) {
            return Err(UnusableKey::EdgeBlank);
        }
        Ok(Self(text.into()))
    }

    /// Checks whether a property value can be a key, and returns the key.
    pub(crate) fn from_value(value: Option<&Value>) -> Result<Self, UnusableKey> {
        match value {
            None => Err(UnusableKey::Missing),
            Some(Value::String(text)) => Self::parse(text),
            Some(_) => Err(UnusableKey::NotText),
        }
    }

    /// The text of the key.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Key {
    type Error = UnusableKey;
    fn try_from(text: String) -> Result<Self, UnusableKey> {
        Self::parse(&text)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0.to_string()
    }
}

/// A selection of keys by their beginnings: the first `length` characters must be one of the names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPrefixes {
    /// The number of compared characters.
    pub length: usize,
    /// The allowed beginnings; a key shorter than `length` is its own beginning.
    pub names: Vec<String>,
}

impl KeyPrefixes {
    /// All keys that begin with a text.
    pub(crate) fn with(text: &str) -> Self {
        Self { length: text.chars().count(), names: vec![text.to_owned()] }
    }

    /// Whether every key is selected: each begins with the empty text.
    pub(crate) fn are_all(&self) -> bool {
        self.length == 0 && self.names.iter().any(String::is_empty)
    }

    /// Whether a key is selected.
    #[cfg(test)]
    pub(crate) fn meet(&self, key: &str) -> bool {
        let beginning: String = key.chars().take(self.length).collect();
        self.names.contains(&beginning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_the_index_would_lose_are_refused() {
        for (text, reason) in [
            ("", UnusableKey::Empty),
            (" a", UnusableKey::EdgeBlank),
            ("a\t", UnusableKey::EdgeBlank),
            ("a\u{1}b", UnusableKey::ControlCharacter),
            ("a\0b", UnusableKey::ControlCharacter),
        ] {
            assert_eq!(Key::parse(text), Err(reason), "{text:?}");
        }
        assert_eq!(Key::parse(&"x".repeat(MAX_KEY_BYTES + 1)), Err(UnusableKey::TooLong));
        assert!(Key::parse(&"x".repeat(MAX_KEY_BYTES)).is_ok());
        assert!(Key::parse("a b'\"\\`").is_ok());
        assert_eq!(Key::from_value(Some(&Value::Integer(1))), Err(UnusableKey::NotText));
        assert_eq!(Key::from_value(None), Err(UnusableKey::Missing));
    }
}
