//! Wall clocks become instants, by what Neo4j said they are. Only for a client of Bolt 4: see [`super::Reader`].

use std::collections::HashMap;

use serde::Deserialize;

use super::paging::{Row, key_text};
use crate::model::element::{ElementNumber, Properties};
use crate::model::name::PropertyName;
use crate::model::value::Value;

/// The instants of one property: one, or one an item of its list.
#[derive(Deserialize)]
pub(super) struct Instants {
    name: String,
    seconds: Vec<i64>,
}

/// Turns wall clocks into instants.
pub(super) fn with_instants(mut properties: Properties, instants: Vec<Instants>) -> Properties {
    let mut seconds: HashMap<String, Vec<i64>> = instants.into_iter().map(|i| (i.name, i.seconds)).collect();
    for (name, value) in &mut properties {
        let Some(seconds) = seconds.remove(name) else { continue };
        match value {
            Value::List(items) if items.len() == seconds.len() => {
                items.iter_mut().zip(seconds).for_each(|(item, seconds)| set_instant(item, seconds));
            }
            value if seconds.len() == 1 => set_instant(value, seconds[0]),
            _ => {}
        }
    }
    properties
}

fn set_instant(value: &mut Value, epoch_seconds: i64) {
    if let Value::WallClock { nanoseconds, .. } = *value {
        *value = Value::DateTime { epoch_seconds, nanoseconds };
    }
}

fn has_wall_clock(properties: &Properties) -> bool {
    let wall = |value: &Value| matches!(value, Value::WallClock { .. });
    properties.iter().any(|(_, value)| wall(value) || matches!(value, Value::List(items) if items.iter().any(wall)))
}

/// The keys of rows that have to be read again.
pub(super) fn keys_with_wall_clocks<T: Row>(rows: &[T], key: &PropertyName) -> Vec<String> {
    rows.iter().filter(|row| has_wall_clock(row.properties())).filter_map(|row| key_text(row, key)).map(str::to_owned).collect()
}

/// Puts rows that were read again in their old places.
pub(super) fn replace_by_number<T: Row>(rows: &mut [T], again: Vec<T>) {
    let mut again: HashMap<ElementNumber, T> = again.into_iter().map(|row| (row.number(), row)).collect();
    for row in rows {
        if let Some(read_again) = again.remove(&row.number()) {
            *row = read_again;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_clocks_become_instants_in_lists_too() {
        let wall = |s| Value::WallClock { local_seconds: s, nanoseconds: 7, zone: "Europe/Berlin".to_owned() };
        let properties = vec![("a".to_owned(), wall(1)), ("b".to_owned(), Value::List(vec![wall(1), wall(2)]))];
        assert!(has_wall_clock(&properties));
        let instants =
            vec![Instants { name: "a".to_owned(), seconds: vec![10] }, Instants { name: "b".to_owned(), seconds: vec![20, 30] }];
        let resolved = with_instants(properties, instants);
        let instant = |epoch_seconds| Value::DateTime { epoch_seconds, nanoseconds: 7 };
        assert_eq!(resolved[0].1, instant(10));
        assert_eq!(resolved[1].1, Value::List(vec![instant(20), instant(30)]));
    }
}
