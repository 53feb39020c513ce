//! Rows that are decoded directly into elements.

use super::fault::Fault;
use super::packstream::{DecodeError, Decoded, Decoder};
use super::value::{properties, texts, value};
use crate::model::element::{ElementNumber, SourceEndpoint, SourceNode, SourceRelationship};

/// A row of known columns. Columns are read by place, so their names are compared once for each query.
pub(crate) trait Record: Sized + Send {
    /// The names of the columns, in order.
    const COLUMNS: &'static [&'static str];

    /// Reads the columns of one row.
    fn read(decoder: &mut Decoder<'_>) -> Decoded<Self>;
}

impl Record for SourceNode {
    const COLUMNS: &'static [&'static str] = &["id", "labels", "properties"];

    fn read(decoder: &mut Decoder<'_>) -> Decoded<Self> {
        Ok(Self { number: number(decoder)?, labels: texts(decoder)?, properties: properties(decoder)? })
    }
}

impl Record for SourceRelationship {
    const COLUMNS: &'static [&'static str] =
        &["id", "start_labels", "start_key", "start_group", "end_labels", "end_key", "end_group", "properties"];

    fn read(decoder: &mut Decoder<'_>) -> Decoded<Self> {
        Ok(Self {
            number: number(decoder)?,
            start: endpoint(decoder)?,
            end: endpoint(decoder)?,
            properties: properties(decoder)?,
        })
    }
}

impl Record for (String, SourceRelationship) {
    const COLUMNS: &'static [&'static str] =
        &["type", "id", "start_labels", "start_key", "start_group", "end_labels", "end_key", "end_group", "properties"];

    fn read(decoder: &mut Decoder<'_>) -> Decoded<Self> {
        Ok((decoder.text()?.to_owned(), SourceRelationship::read(decoder)?))
    }
}

fn endpoint(decoder: &mut Decoder<'_>) -> Decoded<SourceEndpoint> {
    Ok(SourceEndpoint { labels: texts(decoder)?, key: value(decoder)?, group: value(decoder)? })
}

/// Reads the number in an element id: `4:<database>:<number>`.
fn number(decoder: &mut Decoder<'_>) -> Decoded<ElementNumber> {
    let number = decoder.text()?.rsplit(':').next().and_then(|number| number.parse().ok());
    number.map(ElementNumber).ok_or(DecodeError::Missing("number in an element id"))
}

/// Checks that the columns are the ones that will be read by place.
pub(super) fn check_columns<T: Record>(columns: &[String]) -> Result<(), Fault> {
    if columns == T::COLUMNS { Ok(()) } else { Err(DecodeError::Missing("columns").into()) }
}

/// Reads a row after its columns were checked.
pub(super) fn read_record<T: Record>(mut decoder: Decoder<'_>) -> Result<T, DecodeError> {
    if decoder.list()? != T::COLUMNS.len() {
        return Err(DecodeError::Missing("number of columns"));
    }
    let record = T::read(&mut decoder)?;
    decoder.finish()?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::value::Value;
    use proptest::prelude::*;

    #[test]
    fn a_node_is_read_by_place() {
        let bytes = b"\x854:u:7\x91\x86Entity\xA1\x81k\x81v";
        let node = SourceNode {
            number: ElementNumber(7),
            labels: vec!["Entity".to_owned()],
            properties: vec![("k".to_owned(), Value::String("v".to_owned()))],
        };
        assert_eq!(SourceNode::read(&mut Decoder::new(bytes)), Ok(node));
    }

    #[test]
    fn a_relationship_may_have_endpoints_without_a_key() {
        let bytes = b"\x855:u:7\x90\xC0\xC0\x91\x81A\x81b\x81g\xA0";
        let relationship = SourceRelationship {
            number: ElementNumber(7),
            start: SourceEndpoint { labels: vec![], key: None, group: None },
            end: SourceEndpoint {
                labels: vec!["A".to_owned()],
                key: Some(Value::String("b".to_owned())),
                group: Some(Value::String("g".to_owned())),
            },
            properties: vec![],
        };
        assert_eq!(SourceRelationship::read(&mut Decoder::new(bytes)), Ok(relationship));
    }

    #[test]
    fn an_element_id_ends_with_a_number() {
        assert_eq!(number(&mut Decoder::new(b"\x834:u")), Err(DecodeError::Missing("number in an element id")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_element_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let whole = [b"\x854:u:7\x91\x86Entity", &bytes[..]].concat();
            let _ = SourceNode::read(&mut Decoder::new(&whole));
            let _ = SourceRelationship::read(&mut Decoder::new(&whole));
        }
    }
}
