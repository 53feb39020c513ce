//! The comparison: every element of the source against what the cache holds of it, and the key sets of both against each other.
//!
//! It is the only thing that finds a change which left no timestamp, no episode and no count behind. It goes through the kinds
//! in the order of their keys and can stop after any page, so it runs in slices between the passes that follow changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::sweep::{self, Groups};
use crate::error::Result;
use crate::model::bookmark::Bookmark;
use crate::model::element::{ElementIdentity, ElementKind, ElementNumber};
use crate::model::profile::Profile;
use crate::repeat;
use crate::sink::CacheView;
use crate::source::Source;
use crate::transform::Transformer;
use crate::transform::comparison::Content;

/// Rows compared at once: a page of the source, and the reply of the cache for its keys.
const PAGE: usize = 1000;

/// How an element differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Difference {
    /// The cache lacks it.
    Missing,
    /// The source does not have it.
    Orphaned,
    /// These properties differ; `(labels)` for labels.
    Changed(Vec<String>),
}

/// An element that differs, confirmed by a second look at both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its kind.
    pub kind: ElementKind,
    /// What identifies it.
    pub identity: ElementIdentity,
    /// How it differs.
    pub difference: Difference,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.identity {
            ElementIdentity::Node(node) => write!(f, "{node}")?,
            ElementIdentity::Relationship(relationship) => write!(f, "{relationship}")?,
        }
        match &self.difference {
            Difference::Missing => f.write_str(" is missing in the cache"),
            Difference::Orphaned => f.write_str(" is not in the source"),
            Difference::Changed(names) => write!(f, " differs in {}", names.join(", ")),
        }
    }
}

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

/// A comparison under way.
#[derive(Debug)]
pub struct Comparison {
    begun_at: Bookmark,
    kinds: Vec<ElementKind>,
    after: String,
    /// How many elements of the kind under way the source has by their keys' beginnings, those that share an identity
    /// counted once.
    groups: Groups,
    findings: u64,
    rows: u64,
}

/// What a comparison that has gone through everything says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The two were equal as of this bookmark: nothing differed, and nothing was committed meanwhile.
    pub equal_as_of: Option<Bookmark>,
    /// Elements that differed.
    pub findings: u64,
    /// Elements that were compared.
    pub rows: u64,
}

impl Comparison {
    /// Begins one. Nothing that was read earlier may be on its way to the cache.
    pub async fn begin(source: &dyn Source, profile: &Profile) -> Result<Self> {
        let mut kinds = profile.kinds();
        kinds.reverse();
        Ok(Self {
            begun_at: repeat!(source.bookmark())?,
            kinds,
            after: String::new(),
            groups: Groups::new(),
            findings: 0,
            rows: 0,
        })
    }

    /// Compares about `rows` elements more, and hands over what differs. The verdict comes when everything was gone through.
    pub async fn advance(&mut self, sides: &mut Sides<'_>, rows: usize) -> Result<(Vec<Finding>, Option<Verdict>)> {
        let mut found = Vec::new();
        let mut left = rows;
        while left > 0 {
            let Some(kind) = self.kinds.last().copied() else { break };
            let page = expected(sides, kind, &self.after, left.min(PAGE)).await?;
            let compared = page.contents.len();
            for identity in page.contents.keys() {
                *self.groups.entry(sweep::group_of(identity.key().as_str())).or_default() += 1;
            }
            found.extend(differing(sides, kind, page.contents).await?);
            left -= compared.clamp(1, left);
            self.rows += compared as u64;
            match page.next {
                Some(next) => self.after = next,
                None => {
                    found.extend(orphans(sides, kind, &std::mem::take(&mut self.groups)).await?);
                    self.kinds.pop();
                    self.after = String::new();
                }
            }
        }
        self.findings += found.len() as u64;
        let verdict = if self.kinds.is_empty() { Some(self.verdict(sides.source).await?) } else { None };
        Ok((found, verdict))
    }

    async fn verdict(&self, source: &dyn Source) -> Result<Verdict> {
        let now = repeat!(source.bookmark())?;
        let equal = self.findings == 0 && now == self.begun_at;
        Ok(Verdict { equal_as_of: equal.then_some(now), findings: self.findings, rows: self.rows })
    }
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
    if contents.is_empty() {
        return Ok(Vec::new());
    }
    let first = against_cache(sides, kind, &contents).await?;
    if first.is_empty() {
        return Ok(Vec::new());
    }
    let keys: BTreeSet<String> = first.iter().map(|finding| finding.identity.key().as_str().to_owned()).collect();
    let keys: Vec<String> = keys.into_iter().collect();
    let suspects: BTreeSet<ElementIdentity> = first.into_iter().map(|finding| finding.identity).collect();
    let mut again = expected_by_key(sides, kind, &keys).await?;
    again.retain(|identity, _| suspects.contains(identity));
    against_cache(sides, kind, &again).await
}

async fn against_cache(
    sides: &mut Sides<'_>,
    kind: ElementKind,
    contents: &BTreeMap<ElementIdentity, Content>,
) -> Result<Vec<Finding>> {
    let keys: BTreeSet<&str> = contents.keys().map(|identity| identity.key().as_str()).collect();
    let keys: Vec<String> = keys.into_iter().map(str::to_owned).collect();
    let view = &mut *sides.view;
    let cached = repeat!(view.contents(kind, &keys))?;
    let difference = |(identity, content): (&ElementIdentity, &Content)| {
        let difference = match cached.get(identity) {
            None => Difference::Missing,
            Some(cached) => {
                let names = content.differences(cached);
                if names.is_empty() {
                    return None;
                }
                Difference::Changed(names)
            }
        };
        Some(Finding { kind, identity: identity.clone(), difference })
    };
    Ok(contents.iter().filter_map(difference).collect())
}

async fn orphans(sides: &mut Sides<'_>, kind: ElementKind, expected: &Groups) -> Result<Vec<Finding>> {
    let surplus = sweep::surplus(sides.source, sides.view, kind, expected).await?;
    if surplus.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<String> = surplus.iter().map(|identity| identity.key().as_str().to_owned()).collect();
    let present = expected_by_key(sides, kind, &keys).await?;
    let absent = surplus.into_iter().filter(|identity| !present.contains_key(identity));
    Ok(absent.map(|identity| Finding { kind, identity, difference: Difference::Orphaned }).collect())
}
