//! Elements that were read and that the cache cannot keep.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::element::ElementIdentity;
use crate::model::kind::{ElementKind, KindName};
use crate::model::kind_rows::KindRows;
use crate::model::quarantine_index::QuarantineIndex;
use crate::model::quarantined::name_by_id;
use crate::transform::{Admission, Encoder};

/// The most refused elements that a pass remembers to delete from the cache. Their entries lead to the rest again.
pub(super) const MAX_REFUSED: usize = 10_000;

/// Remembers an identity of which the cache must not hold an older state.
pub(super) fn note_refused(
    refused: &mut BTreeMap<ElementKind, BTreeSet<ElementIdentity>>,
    kind: ElementKind,
    admission: Admission,
) {
    let Admission::Refused(identity) = admission else { return };
    let of_kind = refused.entry(kind).or_default();
    if of_kind.len() < MAX_REFUSED {
        of_kind.insert(identity);
    }
}

/// Returns the listed names by number that these rows, which are all rows of their keys, do not have any more.
pub(super) fn outdated_names(excluded: &QuarantineIndex, kind: KindName<'_>, rows: &KindRows, encoder: &Encoder) -> Vec<String> {
    if excluded.is_empty() {
        return Vec::new();
    }
    let names = rows.elements().map(|(number, _)| name_by_id(number));
    let mut names: Vec<String> = names.filter(|name| excluded.contains(kind, name)).collect();
    if !names.is_empty() {
        let refused: BTreeSet<String> = encoder.names_of_refused(rows).into_iter().collect();
        names.retain(|name| !refused.contains(name));
    }
    names
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::element::NodeIdentity;
    use crate::model::key::Key;
    use crate::model::kind::NodeKindId;
    use crate::model::name::Label;

    fn node(key: &str) -> NodeIdentity {
        NodeIdentity { label: Label::parse("Entity").unwrap(), key: Key::parse(key).unwrap() }
    }

    #[test]
    fn only_what_has_an_identity_and_is_refused_is_remembered_up_to_a_bound() {
        let kind = ElementKind::Node(NodeKindId(0));
        let mut refused = BTreeMap::new();
        note_refused(&mut refused, kind, Admission::Kept(ElementIdentity::Node(node("kept"))));
        note_refused(&mut refused, kind, Admission::Nameless);
        assert!(refused.is_empty());
        for number in 0..MAX_REFUSED + 5 {
            note_refused(&mut refused, kind, Admission::Refused(ElementIdentity::Node(node(&format!("k{number}")))));
        }
        assert_eq!(refused[&kind].len(), MAX_REFUSED);
    }
}
