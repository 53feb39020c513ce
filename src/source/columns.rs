//! The columns of a row by their names.

use crate::error::{Error, ErrorKind, Result};
use crate::model::element::Properties;
use crate::model::value::Value;

/// Returns the error for an answer that does not have the requested shape.
pub(super) fn lacking(what: &str) -> Error {
    Error::new(ErrorKind::SourceProtocol, format!("Neo4j's answer to the query for {what} has an unexpected form"))
}

pub(super) fn column(row: &mut Properties, name: &str) -> Option<Value> {
    let at = row.iter().position(|(candidate, _)| candidate == name)?;
    Some(row.swap_remove(at).1)
}

/// Takes a text out of a row.
pub(super) fn take_text(row: &mut Properties, name: &str, doing: &str) -> Result<String> {
    match column(row, name) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(lacking(doing)),
    }
}

pub(super) fn count_of(mut row: Properties, doing: &str) -> Result<u64> {
    match column(&mut row, "count") {
        Some(Value::Integer(count)) => u64::try_from(count).map_err(|_| lacking(doing)),
        _ => Err(lacking(doing)),
    }
}
