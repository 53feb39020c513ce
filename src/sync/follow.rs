//! Applies the follow rules of the profile: they lead to elements beside a changed one that are written without a trace.

use std::collections::BTreeSet;

use futures::future::try_join_all;

use super::keys::Keys;
use super::reader::PassReader;
use crate::error::Result;
use crate::model::follow_rule::FollowRule;
use crate::model::kind::ElementKind;
use crate::model::profile::Profile;
use crate::source::{Followed, Source};

/// Keys asked about at once.
const KEYS: usize = 1000;

/// Returns the keys that the rules lead to from the changed elements. A rule also follows what an earlier rule led to. The
/// queries for the changed elements themselves run at the same time: they nearly always find everything.
pub(super) async fn follow(reader: &mut PassReader<'_>, changed: &Keys) -> Result<Keys> {
    let source = reader.source;
    let rules = applicable(reader.profile);
    let none = BTreeSet::new();
    let first = rules.iter().map(|Rule { rule, from, .. }| followed(source, rule, changed.get(from).unwrap_or(&none)));
    let answers = try_join_all(first).await?;
    let (mut led_to, mut found) = (Keys::new(), Keys::new());
    for (Rule { rule, from, relationships }, answer) in rules.iter().zip(answers) {
        let is_new = |key: &&String| changed.get(from).is_none_or(|asked| !asked.contains(*key));
        let further: BTreeSet<String> = led_to.get(from).into_iter().flatten().filter(is_new).cloned().collect();
        for Followed { relationships: keys, nodes } in [answer, followed(source, rule, &further).await?] {
            found.entry(*relationships).or_default().extend(keys);
            for (kind, keys) in nodes {
                led_to.entry(ElementKind::Node(kind)).or_default().extend(keys.iter().cloned());
                found.entry(ElementKind::Node(kind)).or_default().extend(keys);
            }
        }
    }
    Ok(found)
}

/// Returns what a rule leads to from these keys.
async fn followed(source: &dyn Source, rule: &FollowRule, keys: &BTreeSet<String>) -> Result<Followed> {
    let keys: Vec<String> = keys.iter().cloned().collect();
    let mut all = Followed::default();
    for keys in keys.chunks(KEYS) {
        let Followed { relationships, nodes } = source.followed(rule, keys).await?;
        all.relationships.extend(relationships);
        for (kind, keys) in nodes {
            all.nodes.entry(kind).or_default().extend(keys);
        }
    }
    Ok(all)
}

/// A follow rule with kinds that the profile has.
struct Rule<'p> {
    rule: &'p FollowRule,
    from: ElementKind,
    /// The relationships that it leads to.
    relationships: ElementKind,
}

/// Returns the rules that can lead anywhere, in the profile's order.
fn applicable(profile: &Profile) -> Vec<Rule<'_>> {
    let ends = |rule| ends(profile, rule).map(|(from, relationships)| Rule { rule, from, relationships });
    profile.follow.iter().filter_map(ends).collect()
}

/// Returns the kind that a rule begins at, and the kind of the relationships that it leads to.
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
