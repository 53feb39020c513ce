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

/// Returns the keys that the rules lead to from the changed elements. A rule also follows what an earlier rule led to. The rules
/// of a stage are asked about at the same time.
pub(super) async fn follow(reader: &mut PassReader<'_>, changed: &Keys) -> Result<Keys> {
    let source = reader.source;
    let (mut begins, mut found) = (changed.clone(), Keys::new());
    for stage in stages(applicable(reader.profile)) {
        let asked = begins.clone();
        let none = BTreeSet::new();
        let answers = stage.iter().map(|Rule { rule, from, .. }| followed(source, rule, asked.get(from).unwrap_or(&none)));
        let answers = try_join_all(answers).await?;
        for (Rule { rule, from, relationships, .. }, answer) in stage.iter().zip(answers) {
            let is_new = |key: &&String| asked.get(from).is_none_or(|asked| !asked.contains(*key));
            let further: BTreeSet<String> = begins.get(from).into_iter().flatten().filter(is_new).cloned().collect();
            for Followed { relationships: keys, nodes } in [answer, followed(source, rule, &further).await?] {
                found.entry(*relationships).or_default().extend(keys);
                for (kind, keys) in nodes {
                    begins.entry(ElementKind::Node(kind)).or_default().extend(keys.iter().cloned());
                    found.entry(ElementKind::Node(kind)).or_default().extend(keys);
                }
            }
        }
    }
    Ok(found)
}

/// Divides the rules into stages, without a change of their order. A rule that leads to listed nodes nearly always finds some, so
/// the rules that begin at their kind wait for it. What other rules lead to is nearly always known already.
fn stages(rules: Vec<Rule<'_>>) -> Vec<Vec<Rule<'_>>> {
    let mut stages: Vec<Vec<Rule<'_>>> = Vec::new();
    for rule in rules {
        match stages.last_mut() {
            Some(stage) if !stage.iter().any(|earlier| earlier.lists == Some(rule.from)) => stage.push(rule),
            _ => stages.push(vec![rule]),
        }
    }
    stages
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
    /// The kind of the nodes that the rule's elements list.
    lists: Option<ElementKind>,
}

/// Returns the rules that can lead anywhere, in the profile's order.
fn applicable(profile: &Profile) -> Vec<Rule<'_>> {
    profile.follow.iter().filter_map(|rule| Rule::new(profile, rule)).collect()
}

impl<'p> Rule<'p> {
    fn new(profile: &Profile, rule: &'p FollowRule) -> Option<Self> {
        let node = |label| profile.node_kind(label).map(ElementKind::Node);
        let relationship = |rel_type| profile.relationship_kind(rel_type).map(ElementKind::Relationship);
        let (from, relationships, lists) = match rule {
            FollowRule::Relationships { from, rel_type, .. } | FollowRule::ListedRelationships { from, rel_type, .. } => {
                (node(from)?, relationship(rel_type)?, None)
            }
            FollowRule::ListedNodes { from_type, label, .. } => {
                let from = relationship(from_type)?;
                (from, from, node(label))
            }
        };
        Some(Self { rule, from, relationships, lists })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rules_wait_only_for_lists_of_the_nodes_at_which_they_begin() {
        let profile = Profile::graphiti().unwrap();
        let stages: Vec<Vec<String>> = stages(applicable(&profile))
            .iter()
            .map(|stage| stage.iter().map(|rule| profile.kind_name(rule.relationships).to_owned()).collect())
            .collect();
        assert_eq!(stages, [vec!["RELATES_TO"], vec!["MENTIONS", "RELATES_TO", "HAS_EPISODE", "NEXT_EPISODE"]]);
        assert!(super::stages(Vec::new()).is_empty());
    }
}
