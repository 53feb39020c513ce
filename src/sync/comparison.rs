//! The comparison: every element of the source against what the cache holds of it, and the key sets of both against each other.
//!
//! It is the only thing that finds a change which left no timestamp, no episode and no count behind. It goes through the kinds
//! in the order of their keys and can stop after any page, so it runs in slices between the passes that follow changes.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;

use super::sweep::{self, Groups};
use crate::error::Result;
use crate::model::comparison::{ComparisonUnderWay, Difference, Finding, Verdict};
use crate::model::element::{ElementIdentity, ElementKind, ElementNumber};
use crate::model::pass::{Cursor, Step};
use crate::model::profile::Profile;
use crate::repeat;
use crate::sink::CacheView;
use crate::source::Source;
use crate::transform::Transformer;
use crate::transform::comparison::Content;

/// Rows compared at once: a page of the source, and the reply of the cache for its keys.
const PAGE: usize = 1000;

/// Findings that a verdict names; the rest is counted.
pub const LISTED: usize = 10_000;

/// What a comparison looks at.
pub struct Sides<'a> {
    /// The source.
    pub source: &'a dyn Source,
    /// The cache.
    pub view: &'a mut dyn CacheView,
    /// The rules that lead from one to the other.
    pub encoder: &'a Transformer,
    /// The kinds.
    pub profile: &'a Profile,
}

/// What a comparison did in one go.
#[derive(Debug)]
pub struct Advance {
    /// What differs.
    pub found: Vec<Finding>,
    /// Kinds that were gone through to their end: all their orphans are found.
    pub completed: Vec<ElementKind>,
    /// What it says, once it has gone through everything.
    pub verdict: Option<Verdict>,
}

/// A comparison under way.
#[derive(Debug)]
pub struct Comparison {
    standing: ComparisonUnderWay,
    begun_with: Option<u64>,
    listed: Vec<Finding>,
    /// How many elements of the kind under way the source has by their keys' beginnings, those that share an identity counted
    /// once; absent where an earlier generation compared a part of the kind.
    groups: Option<Groups>,
    /// Whether it was begun by an earlier generation and nobody was told yet.
    resumed: bool,
}

impl Comparison {
    /// Begins one. Nothing that was read earlier may be on its way to the cache. `order` is the number of the order that it
    /// begins with.
    pub async fn begin(source: &dyn Source, ordered: bool, order: u64) -> Result<Self> {
        let bookmark = repeat!(source.bookmark())?;
        let standing = ComparisonUnderWay { began_at: Utc::now(), bookmark, ordered, cursor: None, findings: 0, rows: 0 };
        Ok(Self { standing, begun_with: Some(order), listed: Vec::new(), groups: Some(Groups::new()), resumed: false })
    }

    /// Goes on with one that an earlier generation began. It finds what is left to find, but proves nothing: what happened to
    /// the part that was compared before is not known.
    pub fn resume(standing: ComparisonUnderWay) -> Self {
        Self { standing, begun_with: None, listed: Vec::new(), groups: None, resumed: true }
    }

    /// Says once in the log that it goes on.
    pub(super) fn tell_if_resumed(&mut self) {
        if std::mem::take(&mut self.resumed) {
            let step = self.standing.cursor.as_ref().map(|cursor| cursor.step.name());
            tracing::info!(rows = self.standing.rows, step, "comparison goes on");
        }
    }

    /// Where it stands.
    pub fn standing(&self) -> &ComparisonUnderWay {
        &self.standing
    }

    /// Compares about `rows` elements more.
    pub async fn advance(&mut self, sides: &mut Sides<'_>, rows: usize) -> Result<Advance> {
        let kinds = sides.profile.kinds();
        let (first, mut after) = self.place(sides.profile, &kinds);
        let mut place = first;
        let mut found = Vec::new();
        let mut left = rows;
        while left > 0 {
            let Some(kind) = kinds.get(place).copied() else { break };
            let page = expected(sides, kind, &after, left.min(PAGE)).await?;
            let compared = page.contents.len();
            if let Some(groups) = &mut self.groups {
                for identity in page.contents.keys() {
                    *groups.entry(sweep::group_of(identity.key().as_str())).or_default() += 1;
                }
            }
            found.extend(differing(sides, kind, page.contents).await?);
            left -= compared.clamp(1, left);
            self.standing.rows += compared as u64;
            match page.next {
                Some(next) => after = next,
                None => {
                    let groups = self.groups.replace(Groups::new());
                    found.extend(orphans(sides, kind, groups.as_ref()).await?);
                    (place, after) = (place + 1, String::new());
                }
            }
        }
        self.standing.findings += found.len() as u64;
        self.listed.extend(found.iter().take(LISTED - self.listed.len()).cloned());
        self.standing.cursor = kinds.get(place).map(|kind| Cursor { step: Step::of(sides.profile, *kind), after });
        let verdict = if place == kinds.len() { Some(self.verdict(sides.source).await?) } else { None };
        Ok(Advance { found, completed: kinds[first..place].to_vec(), verdict })
    }

    fn place(&self, profile: &Profile, kinds: &[ElementKind]) -> (usize, String) {
        let Some(cursor) = &self.standing.cursor else { return (0, String::new()) };
        match kinds.iter().position(|kind| Step::of(profile, *kind) == cursor.step) {
            Some(place) => (place, cursor.after.clone()),
            None => (0, String::new()),
        }
    }

    async fn verdict(&mut self, source: &dyn Source) -> Result<Verdict> {
        let now = repeat!(source.bookmark())?;
        let ComparisonUnderWay { bookmark, findings, rows, .. } = self.standing.clone();
        let equal = self.begun_with.is_some() && findings == 0 && now == bookmark;
        Ok(Verdict {
            equal_as_of: equal.then_some(now),
            began_at: bookmark,
            findings,
            rows,
            begun_with: self.begun_with,
            listed: std::mem::take(&mut self.listed),
        })
    }
}

/// Looks once more at what was found, on both sides and by key: what still differs, and how.
pub async fn look_again(sides: &mut Sides<'_>, found: &[Finding]) -> Result<Vec<Finding>> {
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

/// Compares these elements, read by key on both sides.
async fn differing_of(sides: &mut Sides<'_>, kind: ElementKind, suspects: &[ElementIdentity]) -> Result<Vec<Finding>> {
    let keys: BTreeSet<&str> = suspects.iter().map(|identity| identity.key().as_str()).collect();
    let keys: Vec<String> = keys.into_iter().map(str::to_owned).collect();
    let here = expected_by_key(sides, kind, &keys).await?;
    let view = &mut *sides.view;
    let there = repeat!(view.contents(kind, &keys))?;
    let finding = |identity: &ElementIdentity| {
        let difference = match (here.get(identity), there.get(identity)) {
            (None, None) => return None,
            (None, Some(_)) => Difference::Orphaned,
            (Some(_), None) => Difference::Missing,
            (Some(content), Some(cached)) => changed(content, cached)?,
        };
        Some(Finding { kind, identity: identity.clone(), difference })
    };
    Ok(suspects.iter().filter_map(finding).collect())
}

fn changed(content: &Content, cached: &Content) -> Option<Difference> {
    let names = content.differences(cached);
    (!names.is_empty()).then_some(Difference::Changed(names))
}

struct Expected {
    contents: BTreeMap<ElementIdentity, Content>,
    next: Option<String>,
}

/// A page of the source, as it has to stand in the cache. Of several elements with one identity the one with the lowest
/// number counts.
async fn expected(sides: &mut Sides<'_>, kind: ElementKind, after: &str, limit: usize) -> Result<Expected> {
    let (source, encoder) = (sides.source, sides.encoder);
    match kind {
        ElementKind::Node(id) => {
            let page = repeat!(source.node_page(id, after, limit))?;
            let of_kind = page.rows.iter().map(|row| (row.number, encoder.node_content(id, row)));
            Ok(Expected { contents: lowest(of_kind), next: page.next })
        }
        ElementKind::Relationship(id) => {
            let page = repeat!(source.relationship_page(id, after, limit))?;
            let of_kind = page.rows.iter().map(|row| (row.number, encoder.relationship_content(id, row)));
            Ok(Expected { contents: lowest(of_kind), next: page.next })
        }
    }
}

async fn expected_by_key(
    sides: &mut Sides<'_>,
    kind: ElementKind,
    keys: &[String],
) -> Result<BTreeMap<ElementIdentity, Content>> {
    let (source, encoder) = (sides.source, sides.encoder);
    match kind {
        ElementKind::Node(id) => {
            let rows = repeat!(source.nodes_by_key(id, keys))?;
            Ok(lowest(rows.iter().map(|row| (row.number, encoder.node_content(id, row)))))
        }
        ElementKind::Relationship(id) => {
            let rows = repeat!(source.relationships_by_key(id, keys))?;
            Ok(lowest(rows.iter().map(|row| (row.number, encoder.relationship_content(id, row)))))
        }
    }
}

fn lowest(rows: impl Iterator<Item = (ElementNumber, Option<(ElementIdentity, Content)>)>) -> BTreeMap<ElementIdentity, Content> {
    let mut kept: BTreeMap<ElementIdentity, (ElementNumber, Content)> = BTreeMap::new();
    for (number, row) in rows {
        let Some((identity, content)) = row else { continue };
        match kept.get(&identity) {
            Some((known, _)) if *known <= number => {}
            _ => drop(kept.insert(identity, (number, content))),
        }
    }
    kept.into_iter().map(|(identity, (_, content))| (identity, content)).collect()
}

/// What differs at two looks: at the first one, the source may have been read just before a change and the cache just after.
async fn differing(
    sides: &mut Sides<'_>,
    kind: ElementKind,
    contents: BTreeMap<ElementIdentity, Content>,
) -> Result<Vec<Finding>> {
    let suspects = suspects(sides, kind, &contents).await?;
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = differing_of(sides, kind, &suspects).await?;
    // What was deleted between the two looks is found with the other orphans.
    found.retain(|finding| finding.difference != Difference::Orphaned);
    Ok(found)
}

async fn suspects(
    sides: &mut Sides<'_>,
    kind: ElementKind,
    contents: &BTreeMap<ElementIdentity, Content>,
) -> Result<Vec<ElementIdentity>> {
    if contents.is_empty() {
        return Ok(Vec::new());
    }
    let keys: BTreeSet<&str> = contents.keys().map(|identity| identity.key().as_str()).collect();
    let keys: Vec<String> = keys.into_iter().map(str::to_owned).collect();
    let view = &mut *sides.view;
    let cached = repeat!(view.contents(kind, &keys))?;
    let differs = |(identity, content): &(&ElementIdentity, &Content)| {
        cached.get(*identity).is_none_or(|cached| changed(content, cached).is_some())
    };
    Ok(contents.iter().filter(differs).map(|(identity, _)| identity.clone()).collect())
}

/// What the source does not have: by the key sets of both sides, and then by key, on both.
async fn orphans(sides: &mut Sides<'_>, kind: ElementKind, expected: Option<&Groups>) -> Result<Vec<Finding>> {
    let surplus = match expected {
        Some(expected) => sweep::surplus(sides.source, sides.view, kind, expected).await?,
        None => sweep::find(sides.source, sides.view, kind, None).await?.orphaned,
    };
    let suspects: Vec<ElementIdentity> = surplus.into_iter().collect();
    let mut orphans = Vec::new();
    for suspects in suspects.chunks(PAGE) {
        orphans.extend(differing_of(sides, kind, suspects).await?);
    }
    orphans.retain(|finding| finding.difference == Difference::Orphaned);
    Ok(orphans)
}
