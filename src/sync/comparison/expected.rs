//! The contents that the cache has to hold, read from the source.

use std::collections::BTreeMap;

use super::super::bundles::bundled;
use super::context::ComparisonContext;
use super::part::{Part, QUESTION};
use crate::error::Result;
use crate::model::comparison::ProofExceptions;
use crate::model::element::{ElementIdentity, ElementNumber, Properties};
use crate::model::kind::ElementKind;
use crate::model::kind_rows::KindRows;
use crate::model::profile::Profile;
use crate::source::{KeyLookup, Page, Source};
use crate::transform::Encoder;
use crate::transform::comparison::Content;

/// Small kinds of a profile of many, which the source answers together: one query for each kind would take minutes.
pub(super) struct SmallKindPrefetch<'a> {
    source: &'a dyn Source,
    encoder: &'a Encoder,
    profile: &'a Profile,
    /// The source's count of each kind; absent if each kind has a query of its own.
    counts: Option<Vec<u64>>,
    pages: BTreeMap<ElementKind, ExpectedContents>,
}

impl<'a> SmallKindPrefetch<'a> {
    pub(super) async fn of(source: &'a dyn Source, encoder: &'a Encoder, profile: &'a Profile) -> Result<Self> {
        let counts = if profile.has_many_kinds() { Some(source.counts().await?) } else { None };
        Ok(Self { source, encoder, profile, counts, pages: BTreeMap::new() })
    }

    /// Returns the whole next kind if it is small. Reads with it as many kinds as the comparison reaches with `left` rows.
    pub(super) async fn page(&mut self, parts: &[Part], after: &str, left: usize) -> Result<Option<ExpectedContents>> {
        let (Some(counts), Some(part)) = (&self.counts, parts.first()) else { return Ok(None) };
        if !part.is_first_round() || !after.is_empty() {
            return Ok(None);
        }
        if let Some(page) = self.pages.remove(&part.kind) {
            return Ok(Some(page));
        }
        let kinds = self.profile.kinds();
        let counted = kinds.iter().copied().zip(counts.iter().copied()).skip_while(|(kind, _)| *kind != part.kind);
        let mut rows = 0;
        let reached: Vec<(ElementKind, u64)> = counted
            .take_while(|(_, count)| {
                let is_reached = rows < left;
                rows += QUESTION + usize::try_from(*count).unwrap_or(usize::MAX - QUESTION - rows);
                is_reached
            })
            .collect();
        let number = bundled(self.profile, reached.iter().copied());
        let chosen: Vec<ElementKind> = reached[..number].iter().map(|(kind, _)| *kind).collect();
        if chosen.is_empty() {
            return Ok(None);
        }
        let Some(read) = self.source.bundle(&chosen, part.detail).await? else { return Ok(None) };
        self.pages = chosen.iter().map(|kind| (*kind, ExpectedContents::nothing())).collect();
        self.pages.extend(read.iter().map(|rows| (rows.kind(), ExpectedContents::of(self.encoder, rows, None))));
        Ok(self.pages.remove(&part.kind))
    }
}

/// Elements with the contents that the cache has to hold.
pub(super) struct ExpectedContents {
    pub(super) contents: BTreeMap<ElementIdentity, Content>,
    pub(super) next: Option<String>,
    /// The elements and properties that are left out by rule.
    pub(super) excepted: ProofExceptions,
}

impl ExpectedContents {
    fn of(encoder: &Encoder, rows: &KindRows, next: Option<String>) -> Self {
        let contents = encoder.contents(rows);
        let identified = contents.iter().flatten().count();
        let lost = |((_, all), content): ((ElementNumber, &Properties), &Option<(ElementIdentity, Content)>)| {
            content.as_ref().map_or(0, |(_, content)| all.len().saturating_sub(content.properties.len()))
        };
        let properties = rows.elements().zip(&contents).map(lost).sum::<usize>() as u64;
        let elements = (contents.len() - identified) as u64;
        let contents = lowest(rows, contents);
        let collapsed = (identified - contents.len()) as u64;
        Self { contents, next, excepted: ProofExceptions { elements, properties, collapsed } }
    }

    fn nothing() -> Self {
        Self { contents: BTreeMap::new(), next: None, excepted: ProofExceptions::default() }
    }
}

/// Reads a page of about `rows` elements of the source, as the cache has to hold it. Of several elements with one identity, the
/// one with the lowest number counts.
pub(super) async fn expected(
    source: &dyn Source,
    encoder: &Encoder,
    part: Part,
    after: &str,
    rows: usize,
) -> Result<ExpectedContents> {
    let Part { kind, detail } = part;
    // A full page keeps its last key for the next one.
    let Page { rows, next } = source.page(kind, detail, after, rows + 1).await?;
    Ok(ExpectedContents::of(encoder, &rows, next))
}

/// Returns the contents that the cache has to hold for the first of these keys, and how many keys those are.
pub(super) async fn expected_by_key(
    sides: &mut ComparisonContext<'_>,
    kind: ElementKind,
    keys: &[String],
) -> Result<(BTreeMap<ElementIdentity, Content>, usize)> {
    let KeyLookup { rows, keys } = sides.source.by_key(kind, keys).await?;
    Ok((lowest(&rows, sides.encoder.contents(&rows)), keys))
}

/// Keeps, of several elements with one identity, the one with the lowest number.
fn lowest(rows: &KindRows, contents: Vec<Option<(ElementIdentity, Content)>>) -> BTreeMap<ElementIdentity, Content> {
    let mut kept: BTreeMap<ElementIdentity, (ElementNumber, Content)> = BTreeMap::new();
    for ((number, _), row) in rows.elements().zip(contents) {
        let Some((identity, content)) = row else { continue };
        match kept.get(&identity) {
            Some((known, _)) if *known <= number => {}
            _ => drop(kept.insert(identity, (number, content))),
        }
    }
    kept.into_iter().map(|(identity, (_, content))| (identity, content)).collect()
}
