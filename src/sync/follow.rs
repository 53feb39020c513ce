//! What hangs on a changed element and is written beside it without a trace: the follow rules of the profile, applied.

use super::keys::Keys;
use super::reader::Reader;
use crate::error::Result;
use crate::model::kind::ElementKind;
use crate::model::profile::{FollowRule, Profile};
use crate::repeat;

/// Keys asked about at once.
const KEYS: usize = 1000;

/// The keys that the rules lead to from the changed elements. Rules are applied in the profile's order, so that a rule finds
/// what an earlier one led to.
pub(super) async fn follow(reader: &mut Reader<'_>, changed: &Keys) -> Result<Keys> {
    let mut begin = changed.clone();
    let mut found = Keys::new();
    for rule in &reader.profile.follow.clone() {
        let Some((from, relationships)) = ends(reader.profile, rule) else { continue };
        let keys: Vec<String> = begin.get(&from).into_iter().flatten().cloned().collect();
        for keys in keys.chunks(KEYS) {
            let source = reader.source;
            let followed = repeat!(source.followed(rule, keys))?;
            found.entry(relationships).or_default().extend(followed.relationships);
            for (kind, keys) in followed.nodes {
                begin.entry(ElementKind::Node(kind)).or_default().extend(keys.iter().cloned());
                found.entry(ElementKind::Node(kind)).or_default().extend(keys);
            }
        }
    }
    Ok(found)
}

/// The kind that a rule begins at, and the kind of the relationships that it leads to.
fn ends(profile: &Profile, rule: &FollowRule) -> Option<(ElementKind, ElementKind)> {
    match rule {
        FollowRule::Relationships { from, rel_type, .. } | FollowRule::ListedRelationships { from, rel_type, .. } => {
            let from = ElementKind::Node(profile.node_kind(from)?);
            Some((from, ElementKind::Relationship(profile.relationship_kind(rel_type)?)))
        }
        FollowRule::ListedNodes { from_type, .. } => {
            let from = ElementKind::Relationship(profile.relationship_kind(from_type)?);
            Some((from, from))
        }
    }
}
