//! The elements, texts and names that a transaction changed.

use std::collections::BTreeMap;

/// The former values of texts, by element and by the number of the property's name. `None` is a text whose bytes are not in the
/// log, or a text that is too long for a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OldValues {
    /// The old texts of nodes.
    pub nodes: BTreeMap<u64, BTreeMap<u32, Option<String>>>,
    /// The old texts of relationships.
    pub relationships: BTreeMap<u64, BTreeMap<u32, Option<String>>>,
}

/// A name to which the server assigned a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// The kind of thing that it names.
    pub kind: TokenKind,
    /// The number of the name.
    pub number: u32,
    /// The name as a text.
    pub name: String,
}

/// The kind of thing that a token names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A name of properties.
    Property,
    /// A label of nodes.
    Label,
    /// A type of relationships.
    Type,
}
