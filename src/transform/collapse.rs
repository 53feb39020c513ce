//! Reduces elements of a batch that share an identity to one: FalkorDB would apply the rows of one identity in an order that it
//! does not guarantee (4.16.3: backwards for MERGE, forwards for MATCH).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use crate::model::element::ElementNumber;

/// A row with its identity and element number.
pub(super) struct Identified<I, R> {
    pub(super) identity: I,
    pub(super) number: ElementNumber,
    pub(super) row: R,
}

/// Keeps the row with the lowest element number among rows that share an identity, and returns how many elements gave way. Of two
/// readings of the same element the later one stays; that does not count as a collapse.
pub(super) fn collapse<I: Eq + Hash, R>(rows: &mut Vec<Identified<I, R>>) -> u64 {
    let mut stays = vec![true; rows.len()];
    let mut best: HashMap<&I, usize> = HashMap::with_capacity(rows.len());
    for (place, row) in rows.iter().enumerate() {
        let mut holder = match best.entry(&row.identity) {
            Entry::Vacant(vacant) => {
                vacant.insert(place);
                continue;
            }
            Entry::Occupied(occupied) => occupied,
        };
        let yields = if row.number <= rows[*holder.get()].number { holder.insert(place) } else { place };
        stays[yields] = false;
    }
    if best.len() == rows.len() {
        return 0;
    }
    let numbers = |wanted: bool| rows.iter().zip(&stays).filter(move |(_, stay)| **stay == wanted).map(|(row, _)| row.number);
    let mut gone: HashSet<ElementNumber> = numbers(false).collect();
    for number in numbers(true) {
        gone.remove(&number);
    }
    let collapsed = gone.len() as u64;
    let mut stays = stays.into_iter();
    rows.retain(|_| stays.next().unwrap_or(true));
    collapsed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collapsed(rows: &[(&'static str, u64)]) -> (Vec<(&'static str, u64, usize)>, u64) {
        let identified = |(row, (identity, number)): (usize, &(&'static str, u64))| Identified {
            identity: *identity,
            number: ElementNumber(*number),
            row,
        };
        let mut rows = rows.iter().enumerate().map(identified).collect();
        let count = collapse(&mut rows);
        (rows.into_iter().map(|row| (row.identity, row.number.0, row.row)).collect(), count)
    }

    #[test]
    fn the_lowest_number_stays_at_its_own_place() {
        assert_eq!(collapsed(&[("a", 5), ("b", 9), ("a", 3), ("a", 4)]), (vec![("b", 9, 1), ("a", 3, 2)], 2));
        assert_eq!(collapsed(&[("a", 1), ("b", 2)]), (vec![("a", 1, 0), ("b", 2, 1)], 0));
    }

    #[test]
    fn a_second_reading_replaces_the_first_and_is_not_counted() {
        assert_eq!(collapsed(&[("a", 5), ("a", 5)]), (vec![("a", 5, 1)], 0));
        assert_eq!(collapsed(&[("a", 5), ("a", 3), ("a", 5), ("a", 3)]), (vec![("a", 3, 3)], 1));
    }
}
