//! Keys that more than one element of the source has, as a checkpoint keeps them.

use serde::{Deserialize, Serialize};

use super::kind::Step;

/// The most keys that a checkpoint names, of all kinds, and their bytes. The list is stored with every batch, so it has to stay
/// small.
const MAX_KEYS: usize = 1000;
const MAX_BYTES: usize = 64 * 1024;

/// Keys that several elements share, of which the cache holds one. A delete without any other trace may change which element that
/// is, so every pass reads the elements of these keys again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SharedKeys(Vec<OfKind>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct OfKind {
    kind: Step,
    keys: Vec<String>,
}

impl SharedKeys {
    /// The duplicates, as many as a checkpoint may name.
    pub(crate) fn bounded(kinds: impl IntoIterator<Item = (Step, Vec<String>)>) -> Self {
        let (mut number, mut bytes) = (0, 0);
        let mut fits = |key: &String| {
            number += 1;
            bytes += key.len();
            number <= MAX_KEYS && bytes <= MAX_BYTES
        };
        let of_kind = |(kind, mut keys): (Step, Vec<String>)| {
            keys.retain(&mut fits);
            OfKind { kind, keys }
        };
        Self(kinds.into_iter().map(of_kind).filter(|of_kind| !of_kind.keys.is_empty()).collect())
    }

    /// The keys of a kind.
    pub(crate) fn of(&self, kind: &Step) -> &[String] {
        self.0.iter().find(|of_kind| of_kind.kind == *kind).map_or(&[], |of_kind| &of_kind.keys)
    }

    /// Whether there are no duplicates.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::name::Label;

    #[test]
    fn they_are_bounded_by_number_and_by_bytes() {
        let kind = Step::Nodes(Label::parse("Entity").unwrap());
        let kept = |keys: Vec<String>| SharedKeys::bounded([(kind.clone(), keys)]).of(&kind).len();
        assert_eq!(kept((0..MAX_KEYS + 5).map(|number| number.to_string()).collect()), MAX_KEYS);
        assert_eq!(kept((0..40).map(|_| "x".repeat(4096)).collect()), 16);
        assert!(SharedKeys::bounded([(kind, Vec::new())]).is_empty());
    }
}
