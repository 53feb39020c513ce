//! Keys of elements.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::element::{Properties, property};
use crate::model::kind::ElementKind;
use crate::model::value::Value;

/// Keys by kind.
pub(super) type Keys = BTreeMap<ElementKind, BTreeSet<String>>;

/// The key of an element, if it is a text.
pub(super) fn key_text<'a>(properties: &'a Properties, key: &str) -> Option<&'a str> {
    match property(properties, key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}
