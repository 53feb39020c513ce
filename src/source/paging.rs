//! Pages in the order of a key that need not be unique.

use super::Page;
use crate::error::{Error, ErrorKind};
use crate::model::kind_rows::KindRows;
use crate::model::name::PropertyName;

/// The most rows of a page that holds only one key. Beyond them it is an error: a key that a hundred thousand elements share
/// identifies nothing.
pub(super) const MAX_ROWS_OF_ONE_KEY: usize = 100_000;

/// Keeps the elements of one key together: unless a page is the last, its last key may have more elements, so that key opens the
/// next page. `None` if all elements share one key.
pub(super) fn cut_page(mut rows: KindRows, key: &PropertyName, is_last: bool) -> Option<Page> {
    if is_last {
        return Some(Page { rows, next: None });
    }
    let last = rows.keys(key).last()??.to_owned();
    let whole = rows.keys(key).take_while(|key| *key != Some(&last)).count();
    rows.truncate(whole);
    let next = rows.keys(key).last()??.to_owned();
    Some(Page { rows, next: Some(next) })
}

pub(super) fn too_many(what: &str) -> Error {
    Error::new(ErrorKind::SourceRefused, format!("more than {MAX_ROWS_OF_ONE_KEY} elements of {what} share one key"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::element::{ElementNumber, SourceNode};
    use crate::model::kind::NodeKindId;
    use crate::model::value::Value;

    fn node(number: u64, key: &str) -> SourceNode {
        let properties = vec![("uuid".to_owned(), Value::String(key.to_owned()))];
        SourceNode { number: ElementNumber(number), labels: vec![], properties }
    }

    #[test]
    fn rows_of_one_key_stay_in_one_page() {
        let uuid = PropertyName::parse("uuid").unwrap();
        let rows = |nodes: &[(u64, &str)]| {
            KindRows::Nodes(NodeKindId(0), nodes.iter().map(|(number, key)| node(*number, key)).collect())
        };
        let page = cut_page(rows(&[(1, "a"), (2, "b"), (3, "b")]), &uuid, false).unwrap();
        assert_eq!((page.rows.len(), page.next.as_deref()), (1, Some("a")));
        let last = cut_page(rows(&[(2, "b"), (3, "b")]), &uuid, true).unwrap();
        assert_eq!((last.rows.len(), last.next), (2, None));
        assert!(cut_page(rows(&[(2, "b"), (3, "b")]), &uuid, false).is_none(), "one key alone needs a larger page");
    }
}
