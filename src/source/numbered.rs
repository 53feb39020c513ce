//! Requests and pages of kinds with element numbers as keys.

use super::Page;
use super::expressions::{key_number, number_key};
use super::request::Request;
use crate::model::kind_rows::KindRows;
use crate::model::profile::Identity;

/// Requests elements by their keys. A key that should be a number and is not has no element.
pub(super) fn by_keys(text: String, identity: Identity, keys: &[String]) -> Request {
    let request = Request::new(text);
    match identity {
        Identity::Property => request.with("keys", keys.to_vec()),
        Identity::ElementNumber => request.with("keys", keys.iter().filter_map(|key| key_number(key)).collect::<Vec<_>>()),
    }
}

/// Requests the page after a key.
pub(super) fn page_after(text: String, identity: Identity, after: &str, limit: usize) -> Request {
    let request = Request::new(text).with("limit", limit);
    match identity {
        Identity::Property => request.with("after", after),
        // Numbers begin at zero.
        Identity::ElementNumber => request.with("after", key_number(after).unwrap_or(-1)),
    }
}

/// Makes a page of elements that each have a number of their own.
pub(super) fn page(rows: KindRows, is_last: bool) -> Page {
    let last = rows.elements().last().map(|(number, _)| number);
    Page { rows, next: last.filter(|_| !is_last).and_then(number_key) }
}
