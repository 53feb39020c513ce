//! Pages in the order of a key that need not be unique.

use super::Page;
use crate::error::{Error, ErrorKind};
use crate::model::element::{ElementNumber, Properties, SourceNode, SourceRelationship, property};
use crate::model::name::PropertyName;
use crate::model::value::Value;

/// A page of one key alone grows to this many rows before it is an error: a key that a hundred thousand elements share
/// identifies nothing.
pub(super) const MAX_ROWS_OF_ONE_KEY: usize = 100_000;

/// A row of either kind, so that paging is written once.
pub(super) trait Row: Send {
    fn properties(&self) -> &Properties;
    fn number(&self) -> ElementNumber;
    fn weight(&self) -> usize;
}

impl Row for SourceNode {
    fn properties(&self) -> &Properties {
        &self.properties
    }
    fn number(&self) -> ElementNumber {
        self.number
    }
    fn weight(&self) -> usize {
        SourceNode::weight(self)
    }
}

impl Row for SourceRelationship {
    fn properties(&self) -> &Properties {
        &self.properties
    }
    fn number(&self) -> ElementNumber {
        self.number
    }
    fn weight(&self) -> usize {
        SourceRelationship::weight(self)
    }
}

pub(super) fn key_text<'a>(row: &'a impl Row, key: &PropertyName) -> Option<&'a str> {
    match property(row.properties(), key.as_str()) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// Keeps the rows of one key together: of a page that is not the last, the last key may have more rows, so it opens the next page. None
/// if all rows are of one key.
pub(super) fn cut_page<T: Row>(mut rows: Vec<T>, key: &PropertyName, is_last: bool) -> Option<Page<T>> {
    if is_last {
        return Some(Page { rows, next: None });
    }
    let last = rows.last().and_then(|row| key_text(row, key)).map(str::to_owned)?;
    let whole = rows.partition_point(|row| key_text(row, key) != Some(&last));
    rows.truncate(whole);
    let next = rows.last().and_then(|row| key_text(row, key)).map(str::to_owned)?;
    Some(Page { rows, next: Some(next) })
}

pub(super) fn too_many(what: &str) -> Error {
    Error::new(ErrorKind::SourceRefused, format!("more than {MAX_ROWS_OF_ONE_KEY} elements of {what} share one key"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn node(number: u64, key: &str) -> SourceNode {
        let properties = vec![("uuid".to_owned(), Value::String(key.to_owned()))];
        SourceNode { number: ElementNumber(number), labels: vec![], properties }
    }

    #[test]
    fn rows_of_one_key_stay_in_one_page() {
        let uuid = PropertyName::parse("uuid").unwrap();
        let page = cut_page(vec![node(1, "a"), node(2, "b"), node(3, "b")], &uuid, false).unwrap();
        assert_eq!((page.rows.len(), page.next.as_deref()), (1, Some("a")));
        let last = cut_page(vec![node(2, "b"), node(3, "b")], &uuid, true).unwrap();
        assert_eq!((last.rows.len(), last.next), (2, None));
        assert!(cut_page(vec![node(2, "b"), node(3, "b")], &uuid, false).is_none(), "one key alone needs a larger page");
    }
}
