//! Reads elements with their types from FalkorDB's compact replies.

use redis::Value as Reply;

use super::reply;
use crate::error::Result;
use crate::model::value::Value;
use crate::transform::comparison::CachedValue;

/// FalkorDB's codes of value types in compact replies.
mod code {
    pub(super) const NULL: i64 = 1;
    pub(super) const STRING: i64 = 2;
    pub(super) const INTEGER: i64 = 3;
    pub(super) const BOOLEAN: i64 = 4;
    pub(super) const DOUBLE: i64 = 5;
    pub(super) const ARRAY: i64 = 6;
    pub(super) const MAP: i64 = 10;
    pub(super) const VECTOR: i64 = 12;
}

/// A cell of a compact reply as text; nothing for null and for other types.
pub(super) fn text(cell: &Reply) -> Result<Option<String>> {
    match typed(cell)? {
        (code::STRING, value) => reply::text(value).map(Some),
        _ => Ok(None),
    }
}

/// A cell of a compact reply as a list of texts.
pub(super) fn texts(cell: &Reply) -> Result<Vec<String>> {
    match typed(cell)? {
        (code::ARRAY, Reply::Array(items)) => {
            items.iter().map(|item| text(item)?.ok_or_else(|| reply::unexpected("a string"))).collect()
        }
        _ => Err(reply::unexpected("a list of strings")),
    }
}

/// A cell of a compact reply as a count.
pub(super) fn count(cell: &Reply) -> Result<u64> {
    match typed(cell)? {
        (code::INTEGER, value) => u64::try_from(reply::integer(value)?).map_err(|_| reply::unexpected("a count")),
        _ => Err(reply::unexpected("a count")),
    }
}

/// A cell of a compact reply as properties.
pub(super) fn properties(cell: &Reply) -> Result<Vec<(String, CachedValue)>> {
    let (code::MAP, Reply::Array(pairs)) = typed(cell)? else { return Err(reply::unexpected("properties")) };
    let mut properties = Vec::with_capacity(pairs.len() / 2);
    for pair in pairs.chunks_exact(2) {
        if let Some(value) = value(&pair[1])? {
            properties.push((reply::text(&pair[0])?, value));
        }
    }
    Ok(properties)
}

fn typed(cell: &Reply) -> Result<(i64, &Reply)> {
    match cell {
        Reply::Array(parts) if parts.len() == 2 => Ok((reply::integer(&parts[0])?, &parts[1])),
        _ => Err(reply::unexpected("a typed value")),
    }
}

/// Converts a value. A type that we never write becomes a text that no value of ours has.
fn value(cell: &Reply) -> Result<Option<CachedValue>> {
    let (code, value) = typed(cell)?;
    if code == code::VECTOR {
        let Reply::Array(items) = value else { return Err(reply::unexpected("a vector")) };
        return Ok(Some(CachedValue::Vector(items.iter().map(float).collect::<Result<_>>()?)));
    }
    Ok(plain(code, value)?.map(CachedValue::Plain))
}

fn plain(code: i64, value: &Reply) -> Result<Option<Value>> {
    Ok(Some(match code {
        code::NULL => return Ok(None),
        code::STRING => Value::String(reply::text(value)?),
        code::INTEGER => Value::Integer(reply::integer(value)?),
        code::BOOLEAN => Value::Boolean(reply::text(value)? == "true"),
        code::DOUBLE => Value::Float(float(value)?),
        code::ARRAY => list(value)?,
        other => Value::String(format!("\0of FalkorDB's type {other}")),
    }))
}

fn list(value: &Reply) -> Result<Value> {
    let Reply::Array(items) = value else { return Err(reply::unexpected("a list")) };
    let mut list = Vec::with_capacity(items.len());
    for item in items {
        let (code, value) = typed(item)?;
        // NaN becomes null if a list was compared as text; a list cannot contain nulls of its own.
        list.push(plain(code, value)?.unwrap_or(Value::Float(f64::NAN)));
    }
    let floats: Option<Vec<f64>> =
        list.iter().map(|item| if let Value::Float(float) = item { Some(*float) } else { None }).collect();
    Ok(match floats {
        Some(floats) if !floats.is_empty() => Value::Floats(floats),
        _ => Value::List(list),
    })
}

fn float(value: &Reply) -> Result<f64> {
    match value {
        Reply::Double(float) => Ok(*float),
        Reply::Int(integer) => Ok(*integer as f64),
        other => reply::text(other)?.parse().map_err(|_| reply::unexpected("a number")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn cell(code: i64, value: Reply) -> Reply {
        Reply::Array(vec![Reply::Int(code), value])
    }

    fn bulk(text: &str) -> Reply {
        Reply::BulkString(text.into())
    }

    #[test]
    fn values_come_back_with_their_types() {
        let pairs = vec![
            bulk("d"),
            cell(5, bulk("-0")),
            bulk("n"),
            cell(5, bulk("-nan")),
            bulk("l"),
            cell(6, Reply::Array(vec![cell(3, Reply::Int(1)), cell(5, bulk("2.5"))])),
            bulk("v"),
            cell(12, Reply::Array(vec![Reply::Double(1.5)])),
            bulk("null"),
            cell(1, Reply::Nil),
        ];
        let read = properties(&cell(10, Reply::Array(pairs))).unwrap();
        assert_eq!(read.len(), 4);
        assert!(matches!(&read[0].1, CachedValue::Plain(Value::Float(f)) if f.to_bits() == (-0.0_f64).to_bits()));
        assert!(matches!(&read[1].1, CachedValue::Plain(Value::Float(f)) if f.is_nan()));
        assert_eq!(read[2].1, CachedValue::Plain(Value::List(vec![Value::Integer(1), Value::Float(2.5)])));
        assert_eq!(read[3].1, CachedValue::Vector(vec![1.5]));
    }
}
