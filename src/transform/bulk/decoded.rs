//! A reader of the binary form that shares nothing with its writer and is stricter than FalkorDB: input that FalkorDB 4.16.3
//! accepts silently or crashes on is an error here.

use std::collections::BTreeMap;

/// The number of properties in a header at which FalkorDB's process ends.
const TOO_MANY_PROPERTIES: u32 = 65_535;

/// A value as FalkorDB reads it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum DecodedPayload {
    Null,
    Boolean(bool),
    Integer(i64),
    /// The float's bits: −0.0 differs from 0.0, and NaN equals itself.
    Float(u64),
    String(String),
    List(Vec<DecodedPayload>),
}

/// A record as FalkorDB reads it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DecodedRecord {
    /// The labels, or the one type.
    pub(super) names: Vec<String>,
    /// The ids of start and end; none for a node.
    pub(super) ends: Option<(u64, u64)>,
    pub(super) properties: BTreeMap<String, DecodedPayload>,
}

/// Reads a token of nodes.
pub(super) fn decode_nodes(token: &[u8]) -> Result<Vec<DecodedRecord>, String> {
    decode(token, false)
}

/// Reads a token of relationships.
pub(super) fn decode_relationships(token: &[u8]) -> Result<Vec<DecodedRecord>, String> {
    decode(token, true)
}

fn decode(token: &[u8], with_ends: bool) -> Result<Vec<DecodedRecord>, String> {
    let mut reader = PayloadReader(token);
    let joined = reader.c_string()?;
    let names: Vec<String> = joined.split(':').map(str::to_owned).collect();
    if names.iter().any(String::is_empty) || (with_ends && names.len() != 1) {
        return Err(format!("names {joined:?}"));
    }
    let count = u32::from_le_bytes(reader.fixed()?);
    if count == 0 || count >= TOO_MANY_PROPERTIES {
        return Err(format!("{count} properties"));
    }
    let columns: Vec<String> = (0..count).map(|_| reader.c_string()).collect::<Result<_, _>>()?;
    let mut records = Vec::new();
    while !reader.0.is_empty() {
        records.push(reader.record(&names, &columns, with_ends)?);
    }
    if records.is_empty() { Err("a token without a record".to_owned()) } else { Ok(records) }
}

struct PayloadReader<'a>(&'a [u8]);

impl PayloadReader<'_> {
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.0.split_first_chunk().ok_or("the token ends within a value")?;
        self.0 = rest;
        Ok(*taken)
    }

    fn c_string(&mut self) -> Result<String, String> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or("a string does not end")?;
        let text = std::str::from_utf8(&self.0[..end]).map_err(|error| error.to_string())?.to_owned();
        self.0 = &self.0[end + 1..];
        Ok(text)
    }

    fn record(&mut self, names: &[String], columns: &[String], with_ends: bool) -> Result<DecodedRecord, String> {
        let ends = if with_ends { Some((u64::from_le_bytes(self.fixed()?), u64::from_le_bytes(self.fixed()?))) } else { None };
        let mut properties = BTreeMap::new();
        for column in columns {
            let value = self.value(true)?;
            if value != DecodedPayload::Null && properties.insert(column.clone(), value).is_some() {
                return Err(format!("{column} twice"));
            }
        }
        if properties.is_empty() {
            return Err("a record without a property".to_owned());
        }
        Ok(DecodedRecord { names: names.to_vec(), ends, properties })
    }

    fn value(&mut self, may_be_list: bool) -> Result<DecodedPayload, String> {
        let [tag] = self.fixed()?;
        match tag {
            0 => Ok(DecodedPayload::Null),
            1 => match self.fixed()? {
                [0] => Ok(DecodedPayload::Boolean(false)),
                [1] => Ok(DecodedPayload::Boolean(true)),
                [other] => Err(format!("boolean {other}")),
            },
            2 => Ok(DecodedPayload::Float(u64::from_le_bytes(self.fixed()?))),
            3 => self.c_string().map(DecodedPayload::String),
            4 => Ok(DecodedPayload::Integer(i64::from_le_bytes(self.fixed()?))),
            5 if may_be_list => self.list(),
            other => Err(format!("tag {other}")),
        }
    }

    fn list(&mut self) -> Result<DecodedPayload, String> {
        let length = usize::try_from(i64::from_le_bytes(self.fixed()?)).map_err(|error| error.to_string())?;
        // Every item takes at least one byte.
        if length > self.0.len() {
            return Err(format!("a list of {length} items in {} bytes", self.0.len()));
        }
        (0..length).map(|_| self.value(false)).collect::<Result<_, _>>().map(DecodedPayload::List)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_falkordb_would_die_of_is_refused() {
        let whole = b"A:B\0\x02\0\0\0k\0x\0\x03a\0\x05\x01\0\0\0\0\0\0\0\x01\x01";
        assert_eq!(decode_nodes(whole).map(|records| records.len()), Ok(1));
        for end in 0..whole.len() {
            assert!(decode_nodes(&whole[..end]).is_err(), "cut at {end}");
        }
        for token in [
            &b"A\0\0\0\0\0"[..],
            b"A\0\xff\xff\0\0k\0",
            b"A\0\x01\0\0\0k\0\0",
            b"A\0\x01\0\0\0k\0\x06",
            b"A\0\x01\0\0\0k\0\x01\x02",
            b"A\0\x01\0\0\0k\0\x05\xff\xff\xff\xff\xff\xff\xff\xff",
            b"A::B\0\x01\0\0\0k\0\x01\x01",
            b"A\0\x02\0\0\0k\0k\0\x01\x01\x01\x01",
        ] {
            assert!(decode_nodes(token).is_err(), "{token:?}");
        }
        assert!(decode_relationships(b"A:B\0\x01\0\0\0k\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01").is_err());
    }
}
