//! Reading replies of Redis and of FalkorDB's queries.

use redis::Value;

use super::classify;
use crate::error::{Error, ErrorKind, Result};

/// The rows of a query's verbose reply: header, rows, statistics. A query without a result has only statistics.
pub(super) fn rows(reply: Value) -> Result<Vec<Vec<Value>>> {
    let mut parts = array(reply)?;
    match parts.len() {
        1 => Ok(Vec::new()),
        3 => array(parts.swap_remove(1))?.into_iter().map(array).collect(),
        _ => Err(unexpected("a query's reply")),
    }
}

/// A number of a query's statistics, such as `Nodes deleted: 3`; 0 if it is missing.
pub(super) fn statistic(reply: &Value, name: &str) -> u64 {
    let Value::Array(parts) = reply else { return 0 };
    let Some(Value::Array(statistics)) = parts.last() else { return 0 };
    let number = |line: &Value| text(line).ok()?.strip_prefix(name)?.strip_prefix(": ")?.parse().ok();
    statistics.iter().find_map(number).unwrap_or(0)
}

/// The one number that a query returns.
pub(super) fn single_count(reply: Value) -> Result<u64> {
    match rows(reply)?.first().and_then(|row| row.first()) {
        Some(Value::Int(number)) => u64::try_from(*number).map_err(|_| unexpected("a count")),
        _ => Err(unexpected("a count")),
    }
}

pub(super) fn integer(value: &Value) -> Result<i64> {
    match value {
        Value::Int(number) => Ok(*number),
        _ => Err(unexpected("an integer")),
    }
}

pub(super) fn array(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(items) | Value::Set(items) => Ok(items),
        _ => Err(unexpected("a list")),
    }
}

pub(super) fn text(value: &Value) -> Result<String> {
    match value {
        Value::BulkString(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(text.clone()),
        Value::Okay => Ok("OK".to_owned()),
        _ => Err(unexpected("a string")),
    }
}

/// Converts an error reply to an error; its cause is the server's own words, stripped of values.
pub(super) fn answer(doing: &str, value: Value) -> Result<Value> {
    match value {
        Value::ServerError(error) => Err(classify::server_error(doing, &error)),
        value => Ok(value),
    }
}

/// A text that may be absent.
pub(super) fn optional_text(value: &Value) -> Result<Option<String>> {
    match value {
        Value::Nil => Ok(None),
        value => text(value).map(Some),
    }
}

/// The cell of a row.
pub(super) fn cell(row: &[Value], index: usize) -> Result<&Value> {
    row.get(index).ok_or_else(|| unexpected("a row"))
}

/// Names and values of a map. The older protocol sends a map as a list.
pub(super) fn pairs(value: Value) -> Result<Vec<(String, Value)>> {
    match value {
        Value::Map(pairs) => pairs.into_iter().map(|(name, value)| Ok((text(&name)?, value))).collect(),
        Value::Array(items) => {
            let mut items = items.into_iter();
            let mut pairs = Vec::new();
            while let (Some(name), Some(value)) = (items.next(), items.next()) {
                pairs.push((text(&name)?, value));
            }
            Ok(pairs)
        }
        _ => Err(unexpected("a map")),
    }
}

/// The error for a reply that is not of the expected shape.
pub(super) fn unexpected(wanted: &str) -> Error {
    Error::new(ErrorKind::CacheProtocol, format!("FalkorDB's answer is not {wanted}"))
}

/// The run id in the server's `INFO`: it changes whenever the server is started.
pub(super) fn run_id(info: &str) -> Option<String> {
    info.lines().find_map(|line| line.strip_prefix("run_id:")).map(|id| id.trim().to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn rows_and_statistics_are_found_in_a_reply() {
        let reply = Value::Array(vec![
            Value::Array(vec![bulk("count")]),
            Value::Array(vec![Value::Array(vec![Value::Int(7)])]),
            Value::Array(vec![bulk("Nodes deleted: 3"), bulk("Cached execution: 0")]),
        ]);
        assert_eq!(statistic(&reply, "Nodes deleted"), 3);
        assert_eq!(statistic(&reply, "Relationships deleted"), 0);
        assert_eq!(single_count(reply).unwrap(), 7);
    }

    #[test]
    fn a_reply_of_another_shape_is_an_error() {
        assert_eq!(rows(Value::Int(1)).unwrap_err().kind(), ErrorKind::CacheProtocol);
        assert_eq!(single_count(Value::Array(vec![Value::Array(vec![])])).unwrap_err().kind(), ErrorKind::CacheProtocol);
    }

    #[test]
    fn a_map_is_read_in_both_protocols() {
        let flat = Value::Array(vec![bulk("name"), bulk("graph"), bulk("ver"), Value::Int(41603)]);
        let map = Value::Map(vec![(bulk("name"), bulk("graph")), (bulk("ver"), Value::Int(41603))]);
        assert_eq!(pairs(flat).unwrap(), pairs(map).unwrap());
    }
}
