//! Estimates how much the cache would send for elements by key, before asking it to send them.
//!
//! FalkorDB sends an answer in one piece. If the source's elements are light and the cache still holds an older, heavier state,
//! the answer may weigh any multiple of what was read from the source. The question for the weight costs a tenth of the answer.

use crate::model::kind::ElementKind;
use crate::model::profile::Profile;

/// The approximate limit of an answer's weight, unless one element alone weighs more. A page of the source has it too.
pub(super) const ANSWER_BYTES: u64 = 8 << 20;

/// Returns the approximate total bytes of the texts of the elements of `$keys`. Numbers and vectors are left out: they are
/// bounded by the number of properties and by the vectors' dimensions.
pub(super) fn statement(profile: &Profile, kind: ElementKind) -> String {
    let key = profile.key(kind).quoted();
    let (pattern, element) = match kind {
        ElementKind::Node(id) => (format!("(n:{} {{{key}: k}})", profile.node(id).label.quoted()), 'n'),
        ElementKind::Relationship(id) => (format!("()-[e:{} {{{key}: k}}]->()", profile.relationship(id).rel_type.quoted()), 'e'),
    };
    format!(
        "UNWIND $keys AS k MATCH {pattern} RETURN toInteger(sum(reduce(s = 0, p IN keys({element}) | \
         s + coalesce(size(toStringOrNull({element}[p])), 0) + reduce(t = 0, x IN CASE typeOf({element}[p]) WHEN 'List' \
         THEN {element}[p] ELSE [] END | t + coalesce(size(toStringOrNull(x)), 8)))))"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::kind::{NodeKindId, RelationshipKindId};

    #[test]
    fn elements_are_found_by_the_index_of_their_key() {
        let profile = Profile::graphiti().unwrap();
        let text = statement(&profile, ElementKind::Node(NodeKindId(0)));
        assert!(text.starts_with("UNWIND $keys AS k MATCH (n:`Entity` {`uuid`: k}) RETURN "), "{text}");
        let text = statement(&profile, ElementKind::Relationship(RelationshipKindId(0)));
        assert!(text.starts_with("UNWIND $keys AS k MATCH ()-[e:`RELATES_TO` {`uuid`: k}]->() RETURN "), "{text}");
    }
}
