//! Reads from an answer the keys of recently written elements, according to their timestamps.

use super::columns::{column, lacking, take_text};
use super::{ChangedKey, KeyPage};
use crate::error::Result;
use crate::model::element::{ElementNumber, Properties};
use crate::model::value::Value;

/// A page of up to `limit` rows. A row without a usable key has the number of its element instead.
pub(super) fn page(rows: Vec<Properties>, doing: &str, limit: usize) -> Result<KeyPage> {
    let is_full = rows.len() >= limit;
    let mut page = KeyPage::default();
    for mut row in rows {
        let stamp = take_text(&mut row, "s", doing)?;
        match column(&mut row, "number") {
            Some(Value::Integer(number)) => {
                page.without_key.push(ElementNumber(u64::try_from(number).map_err(|_| lacking(doing))?));
            }
            _ => page.keys.push(ChangedKey { key: take_text(&mut row, "k", doing)?, stamp }),
        }
    }
    page.next = page.keys.last().filter(|_| is_full).map(|changed| changed.key.clone());
    Ok(page)
}
