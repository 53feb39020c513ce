//! Differences between the two sides, element by element.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join;

use super::super::cache_view::CacheView;
use super::context::ComparisonContext;
use super::expected::{ExpectedContents, expected, expected_by_key};
use super::part::{PAGE, Part};
use crate::error::Result;
use crate::model::comparison::{Difference, Finding};
use crate::model::element::{ElementIdentity, NodeIdentity, RelationshipIdentity};
use crate::model::kind::{ElementKind, KindName, NodeKindId};
use crate::model::projection::Projection;
use crate::model::quarantined::QuarantineCause;
use crate::transform::comparison::Content;

/// Separates what the cache lacks for a known reason, which is no difference, from what differs. If a row could be kept by its
/// content, only a refusal by the cache or a missing end is such a reason.
pub(super) async fn excused(
    sides: &mut ComparisonContext<'_>,
    kind: ElementKind,
    found: Vec<Finding>,
) -> Result<(Vec<Finding>, Vec<Finding>)> {
    if sides.excluded.is_empty() || found.is_empty() {
        return Ok((Vec::new(), found));
    }
    let name = sides.profile.name_of(kind);
    let (mut lacking, mut differing, mut unclear) = (Vec::new(), Vec::new(), Vec::new());
    for finding in found {
        let key = finding.identity.key().as_str();
        let own = sides.excluded.cause_of(name, key);
        let is_missing = finding.difference == Difference::Missing;
        match &finding.identity {
            _ if !is_missing => differing.push(finding),
            _ if matches!(own, Some(QuarantineCause::Cache | QuarantineCause::Graph))
                || (own.is_some() && sides.excluded.is_ignored(name, key)) =>
            {
                lacking.push(finding);
            }
            ElementIdentity::Node(_) => differing.push(finding),
            ElementIdentity::Relationship(relationship) => {
                let end = sides.excluded.listed_end(relationship);
                match end.and_then(|end| sides.excluded.cause_of(KindName::Label(end.label.as_str()), end.key.as_str())) {
                    // The element would be in the cache under its key.
                    Some(QuarantineCause::Content | QuarantineCause::Graph) => lacking.push(finding),
                    Some(QuarantineCause::Cache | QuarantineCause::End) => unclear.push(finding),
                    None if own == Some(QuarantineCause::End) => unclear.push(finding),
                    None => differing.push(finding),
                }
            }
        }
    }
    // It is not known in which of the other graphs the nodes would have to be.
    if sides.profile.routes.is_some() {
        lacking.append(&mut unclear);
        return Ok((lacking, differing));
    }
    let there = ends_in_cache(sides, &unclear).await?;
    for finding in unclear {
        let ElementIdentity::Relationship(RelationshipIdentity { start, end, .. }) = &finding.identity else { continue };
        if there.contains(start) && there.contains(end) { differing.push(finding) } else { lacking.push(finding) }
    }
    Ok((lacking, differing))
}

/// The ends of relationships that the cache holds.
async fn ends_in_cache(sides: &mut ComparisonContext<'_>, relationships: &[Finding]) -> Result<BTreeSet<NodeIdentity>> {
    let mut keys: BTreeMap<NodeKindId, BTreeSet<String>> = BTreeMap::new();
    for finding in relationships {
        let ElementIdentity::Relationship(RelationshipIdentity { start, end, .. }) = &finding.identity else { continue };
        for end in [start, end] {
            if let Some(kind) = sides.profile.node_kind(&end.label) {
                keys.entry(kind).or_default().insert(end.key.as_str().to_owned());
            }
        }
    }
    let mut there = BTreeSet::new();
    for (kind, keys) in keys {
        let keys: Vec<String> = keys.into_iter().collect();
        let mut left = &keys[..];
        while !left.is_empty() {
            let view = &mut *sides.view;
            let found = view.contents(ElementKind::Node(kind), Projection::Key, left).await?;
            left = &left[found.keys..];
            let node = |identity| if let ElementIdentity::Node(node) = identity { Some(node) } else { None };
            there.extend(found.elements.into_keys().filter_map(node));
        }
    }
    Ok(there)
}

/// Looks once more at the findings, on both sides and by key. Returns those that still differ, and how.
pub(crate) async fn look_again(sides: &mut ComparisonContext<'_>, found: &[Finding]) -> Result<Vec<Finding>> {
    let mut by_kind: BTreeMap<ElementKind, Vec<ElementIdentity>> = BTreeMap::new();
    for finding in found {
        by_kind.entry(finding.kind).or_default().push(finding.identity.clone());
    }
    let mut still = Vec::new();
    for (kind, suspects) in by_kind {
        for suspects in suspects.chunks(PAGE) {
            still.extend(differing_of(sides, kind, suspects).await?);
        }
    }
    Ok(still)
}

/// Compares these elements, read by key on both sides, as many at once as the source's side can answer.
pub(super) async fn differing_of(
    sides: &mut ComparisonContext<'_>,
    kind: ElementKind,
    suspects: &[ElementIdentity],
) -> Result<Vec<Finding>> {
    let keys: BTreeSet<&str> = suspects.iter().map(|identity| identity.key().as_str()).collect();
    let keys: Vec<String> = keys.into_iter().map(str::to_owned).collect();
    let mut left = &keys[..];
    let mut found = Vec::new();
    while !left.is_empty() {
        let (here, answered) = expected_by_key(sides, kind, left).await?;
        let view = &mut *sides.view;
        let there = view.contents(kind, Projection::Whole, &left[..answered]).await?;
        // Both sides were asked for these keys.
        let (asked, after) = left.split_at(there.keys);
        let there = there.elements;
        left = after;
        let finding = |identity: &ElementIdentity| {
            let difference = match (here.get(identity), there.get(identity)) {
                (None, None) => return None,
                (None, Some(_)) => Difference::Orphaned,
                (Some(_), None) => Difference::Missing,
                (Some(content), Some(cached)) => changed(content, cached)?,
            };
            Some(Finding { kind, identity: identity.clone(), difference })
        };
        // The keys are in order.
        let is_asked =
            |identity: &&ElementIdentity| asked.binary_search_by(|key| key.as_str().cmp(identity.key().as_str())).is_ok();
        found.extend(suspects.iter().filter(is_asked).filter_map(finding));
    }
    Ok(found)
}

fn changed(content: &Content, cached: &Content) -> Option<Difference> {
    let names = content.differences(cached);
    (!names.is_empty()).then_some(Difference::Changed(names))
}

/// Returns what differs in a page at a first look. Meanwhile, if the page has a next one, the source sends up to `limit` elements
/// more.
pub(super) async fn compare_and_read_on(
    sides: &mut ComparisonContext<'_>,
    part: Part,
    page: &ExpectedContents,
    limit: usize,
) -> Result<(Vec<ElementIdentity>, Option<ExpectedContents>)> {
    let (source, encoder) = (sides.source, sides.encoder);
    let ahead = async {
        match &page.next {
            Some(after) if limit > 0 => expected(source, encoder, part, after, limit).await.map(Some),
            _ => Ok(None),
        }
    };
    try_join(suspects(sides.view, part, &page.contents), ahead).await
}

async fn suspects(
    view: &mut dyn CacheView,
    part: Part,
    contents: &BTreeMap<ElementIdentity, Content>,
) -> Result<Vec<ElementIdentity>> {
    if contents.is_empty() {
        return Ok(Vec::new());
    }
    let keys: BTreeSet<&str> = contents.keys().map(|identity| identity.key().as_str()).collect();
    let keys: Vec<String> = keys.into_iter().map(str::to_owned).collect();
    let mut equal = BTreeSet::new();
    let mut left = &keys[..];
    while !left.is_empty() {
        let cached = view.contents(part.kind, part.detail, left).await?;
        left = &left[cached.keys..];
        for (identity, cached) in cached.elements {
            if contents.get(&identity).is_some_and(|content| changed(content, &cached).is_none()) {
                equal.insert(identity);
            }
        }
    }
    Ok(contents.keys().filter(|identity| !equal.contains(*identity)).cloned().collect())
}

/// Returns the suspects that differ at a second look as well, with their whole content: at the first look, the source may have
/// been read just before a change and the cache just after.
pub(super) async fn differing(
    sides: &mut ComparisonContext<'_>,
    kind: ElementKind,
    suspects: &[ElementIdentity],
) -> Result<Vec<Finding>> {
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = differing_of(sides, kind, suspects).await?;
    // What was deleted between the two looks is found with the other orphans.
    found.retain(|finding| finding.difference != Difference::Orphaned);
    Ok(found)
}
