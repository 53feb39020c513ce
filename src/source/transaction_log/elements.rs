//! What a transaction changed.

use std::collections::BTreeMap;

/// The values that texts had before, by element and by the number of the property's name. `None` is a text whose bytes are not in
/// the log, or one that is too long for a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OldValues {
    /// Of nodes.
    pub nodes: BTreeMap<u64, BTreeMap<u32, Option<String>>>,
    /// Of relationships.
    pub relationships: BTreeMap<u64, BTreeMap<u32, Option<String>>>,
}

/// A name that was given a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it names.
    pub kind: TokenKind,
    /// Its number.
    pub number: u32,
    /// The name.
    pub name: String,
}

/// What a token names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A property.
    Property,
    /// A label.
    Label,
    /// A relationship type.
    Type,
}
