//! The comparison: every element of the source against what the cache holds of it, and the key sets of both against each other.
//!
//! It is the only thing that finds a change which left no timestamp, no episode and no count behind. It goes through the kinds
//! in the order of their keys and can stop after any page, so it runs in slices between the passes that follow changes.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;
use futures::future::try_join;

use super::bundles::{self, Read, bundled};
use super::cache_view::CacheView;
use super::key_sets::{Digests, ElementHasher, KeySets, LabelComparison};
use crate::error::Result;
use crate::model::comparison::{ComparisonUnderWay, Difference, Excepted, Finding, Verdict};
use crate::model::detail::Detail;
use crate::model::element::{ElementIdentity, ElementNumber, NodeIdentity, RelationshipIdentity, SourceNode, SourceRelationship};
use crate::model::excluded::Excluded;
use crate::model::kind::{ElementKind, KindName, NodeKindId, RelationshipKindId, Step};
use crate::model::pass::Cursor;
use crate::model::prepared::Cause;
use crate::model::profile::Profile;
use crate::repeat;
use crate::source::{Answered, Source};
use crate::transform::Transformer;
use crate::transform::comparison::Content;

/// Rows compared at once: a page of the source, and the reply of the cache for its keys.
const PAGE: usize = 1000;

/// The questions for a page take as long as so many of its rows: a comparison of many small kinds keeps its pace by them.
const QUESTION: usize = 20;

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
    /// What the cache lacks because it cannot hold it.
    pub excluded: &'a Excluded,
}

/// What a comparison did in one go.
#[derive(Debug)]
pub struct Advance {
    /// What differs.
    pub found: Vec<Finding>,
    /// What the cache lacks for a reason that is not in the source: it refused the row, or an end of it is not there. It is a
    /// difference only if another attempt mends it.
    pub excluded: Vec<Finding>,
    /// Kinds that were gone through to their end: all their orphans are found.
    pub completed: Vec<ElementKind>,
    /// How many relationships of a completed kind wait for an end, by the end; absent where an earlier generation compared a part of
    /// the kind.
    pub waiting: BTreeMap<ElementKind, BTreeMap<NodeIdentity, u64>>,
    /// Whether it has gone through everything, so that its verdict can be asked for.
    pub is_over: bool,
}

/// A comparison under way.
#[derive(Debug)]
pub struct Comparison {
    standing: ComparisonUnderWay,
    begun_with: Option<u64>,
    listed: Vec<Finding>,
    /// What was found, up to as much as is listed: the second round does not find it again.
    named: BTreeSet<ElementIdentity>,
    /// What was seen of the source's elements of the kind under way; absent where an earlier generation compared a part of the
    /// kind.
    seen: Option<Digests>,
    hasher: ElementHasher,
    /// Whether it was begun by an earlier generation and nobody was told yet.
    resumed: bool,
    /// Elements of the source that were read so far, those that are left out included.
    read: u64,
    /// What was left out by rule so far.
    excepted: Excepted,
    /// How many nodes and relationships were found on both sides, or differed.
    compared: [u64; 2],
    /// Relationships of the kind under way that wait for an end.
    waiting: BTreeMap<NodeIdentity, u64>,
}

impl Comparison {
    /// Begins one. Nothing that was read earlier may be on its way to the cache. `order` is the number of the order that it
    /// begins with.
    pub async fn begin(source: &dyn Source, ordered: bool, order: u64) -> Result<Self> {
        let bookmark = repeat!(source.bookmark())?;
        let began_at = Utc::now();
        let standing = ComparisonUnderWay { began_at, bookmark, ordered, at_vectors: false, cursor: None, findings: 0, rows: 0 };
        Ok(Self {
            standing,
            begun_with: Some(order),
            listed: Vec::new(),
            named: BTreeSet::new(),
            seen: Some(Digests::default()),
            hasher: ElementHasher::default(),
            resumed: false,
            read: 0,
            excepted: Excepted::default(),
            compared: [0, 0],
            waiting: BTreeMap::new(),
        })
    }

    /// Goes on with one that an earlier generation began. It finds what is left to find, but proves nothing: what happened to
    /// the part that was compared before is not known.
    pub fn resume(standing: ComparisonUnderWay) -> Self {
        Self {
            standing,
            begun_with: None,
            listed: Vec::new(),
            named: BTreeSet::new(),
            seen: None,
            hasher: ElementHasher::default(),
            resumed: true,
            read: 0,
            excepted: Excepted::default(),
            compared: [0, 0],
            waiting: BTreeMap::new(),
        }
    }

    /// Elements of the source that were compared so far.
    pub fn rows(&self) -> u64 {
        self.standing.rows
    }

    /// Says once in the log that it goes on.
    pub(super) fn tell_if_resumed(&mut self) {
        if std::mem::take(&mut self.resumed) {
            let step = self.standing.cursor.as_ref().map(|cursor| cursor.step.name());
            tracing::info!(rows = self.standing.rows, step, "comparison resumes");
        }
    }

    /// Where it stands.
    pub fn standing(&self) -> &ComparisonUnderWay {
        &self.standing
    }

    /// Compares about `rows` elements more.
    pub async fn advance(&mut self, sides: &mut Sides<'_>, rows: usize) -> Result<Advance> {
        let steps = steps(sides.profile);
        let (first, mut after) = self.place(sides.profile, &steps);
        let mut place = first;
        let (mut found, mut excluded, mut waiting) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut left = rows;
        let (mut ahead, mut together) = (None, Together::of(sides.source, sides.encoder, sides.profile).await?);
        while left > 0 {
            let Some(step) = steps.get(place).copied() else { break };
            let page = match ahead.take() {
                Some(page) => page,
                None => match together.page(&steps[place..], &after, left).await? {
                    Some(page) => page,
                    None => expected(sides.source, sides.encoder, step, &after, left.min(PAGE)).await?,
                },
            };
            let compared = page.contents.len();
            left -= (compared + QUESTION).min(left);
            self.count(step, &page);
            let suspects;
            (suspects, ahead) = compare_and_read_on(sides, step, &page, left.min(PAGE)).await?;
            let mut differing = differing(sides, step.kind, &suspects).await?;
            differing.retain(|finding| step.is_first_round() || !self.named.contains(&finding.identity));
            let room = LISTED.saturating_sub(self.named.len());
            self.named.extend(differing.iter().take(room).map(|finding| finding.identity.clone()));
            let (reasonable, differing) = excused(sides, step.kind, differing).await?;
            if step.is_first_round() {
                self.see(&page, &reasonable);
                self.note_waiting(sides.excluded, &reasonable);
            }
            excluded.extend(reasonable);
            found.extend(differing);
            match page.next {
                Some(next) => after = next,
                None => {
                    if step.is_first_round() {
                        let by_end = std::mem::take(&mut self.waiting);
                        if self.seen.is_some() {
                            waiting.insert(step.kind, by_end);
                        }
                        found.extend(self.orphans(sides, step.kind).await?);
                        let source = sides.source;
                        let without_key = repeat!(source.count_without_key(step.kind))?;
                        self.excepted.elements += without_key;
                        self.read += without_key;
                    }
                    (place, after) = (place + 1, String::new());
                }
            }
        }
        self.note_found(&found);
        let next = steps.get(place);
        self.standing.at_vectors = next.is_some_and(|step| !step.is_first_round());
        self.standing.cursor = next.map(|step| Cursor { step: step.kind_step(sides.profile), after });
        let is_over = next.is_none();
        let completed = steps[first..place].iter().filter(|step| step.is_first_round()).map(|step| step.kind).collect();
        Ok(Advance { found, excluded, completed, waiting, is_over })
    }

    /// Takes note of differences.
    pub fn note_found(&mut self, found: &[Finding]) {
        self.standing.findings += found.len() as u64;
        self.listed.extend(found.iter().take(LISTED - self.listed.len()).cloned());
    }

    /// Takes note of relationships that wait for an end that is listed.
    fn note_waiting(&mut self, excluded: &Excluded, lacking: &[Finding]) {
        for finding in lacking {
            let ElementIdentity::Relationship(relationship) = &finding.identity else { continue };
            if let Some(end) = excluded.listed_end(relationship) {
                *self.waiting.entry(end.clone()).or_default() += 1;
            }
        }
    }

    /// Remembers what of a page the cache is to hold.
    fn see(&mut self, page: &ExpectedContents, lacking: &[Finding]) {
        let Some(seen) = &mut self.seen else { return };
        let lacking: BTreeSet<&ElementIdentity> = lacking.iter().map(|finding| &finding.identity).collect();
        let held = page.contents.keys().filter(|identity| !lacking.contains(identity));
        held.for_each(|identity| seen.add(&self.hasher, identity, &[]));
    }

    fn place(&self, profile: &Profile, steps: &[Part]) -> (usize, String) {
        let Some(cursor) = &self.standing.cursor else { return (0, String::new()) };
        let is_here = |part: &Part| part.is_first_round() != self.standing.at_vectors && part.kind_step(profile) == cursor.step;
        match steps.iter().position(is_here) {
            Some(place) => (place, cursor.after.clone()),
            None => (0, String::new()),
        }
    }

    /// Counts elements that the cache cannot hold: they were compared, and they are left out.
    pub fn except(&mut self, excluded: &[Finding]) {
        for finding in excluded {
            let number = &mut self.compared[place_of(finding.kind)];
            *number = number.saturating_sub(1);
        }
        self.excepted.elements += excluded.len() as u64;
    }

    /// In the first round, each element is counted once.
    fn count(&mut self, part: Part, page: &ExpectedContents) {
        self.excepted.properties += page.excepted.properties;
        if !part.is_first_round() {
            return;
        }
        self.standing.rows += page.contents.len() as u64;
        self.compared[place_of(part.kind)] += page.contents.len() as u64;
        self.read += page.contents.len() as u64 + page.excepted.elements + page.excepted.collapsed;
        self.excepted.elements += page.excepted.elements;
        self.excepted.collapsed += page.excepted.collapsed;
    }

    /// What the source does not have: by the key sets of both sides, and then by key, on both.
    async fn orphans(&mut self, sides: &mut Sides<'_>, kind: ElementKind) -> Result<Vec<Finding>> {
        let seen = self.seen.replace(Digests::default());
        let found = {
            // What is listed is no reason for what the cache holds.
            let (source, encoder, excluded) = (sides.source, sides.encoder, &Excluded::default());
            let view = &mut *sides.view;
            let mut sets = KeySets { source, view, encoder, excluded, hasher: &self.hasher, labels: LabelComparison::Ignored };
            match seen {
                Some(seen) => sets.compare_seen(kind, &seen).await?,
                None => sets.compare(kind).await?,
            }
        };
        if found.more {
            // The next one finds the rest.
            self.begun_with = None;
        }
        let mut orphans = Vec::new();
        for suspects in found.orphaned.chunks(PAGE) {
            orphans.extend(differing_of(sides, kind, suspects).await?);
        }
        orphans.retain(|finding| finding.difference == Difference::Orphaned);
        if orphans.is_empty() && !found.suspects.is_empty() && self.begun_with.is_some() {
            return self.unexplained(sides, kind, &found.suspects).await;
        }
        Ok(orphans)
    }

    /// The two sides differ by their digests and in no element. Where the source was written meanwhile, that is why, and nothing is
    /// proven anyway. Otherwise all that may be different is compared whole; what is left is a riddle, and no proof.
    async fn unexplained(
        &mut self,
        sides: &mut Sides<'_>,
        kind: ElementKind,
        suspects: &[ElementIdentity],
    ) -> Result<Vec<Finding>> {
        let source = sides.source;
        // What was found already, a copy among it, explains the digests.
        let is_explained = self.standing.findings > 0 || !self.named.is_empty();
        if is_explained || repeat!(source.bookmark())? != self.standing.bookmark {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for suspects in suspects.chunks(PAGE) {
            found.extend(differing_of(sides, kind, suspects).await?);
        }
        self.begun_with = None;
        Ok(found)
    }

    /// What no page and no key meets. Where all that was compared is all that the cache holds, there is none.
    async fn foreign(&mut self, sides: &mut Sides<'_>) -> Result<BTreeMap<String, u64>> {
        let view = &mut *sides.view;
        if self.begun_with.is_some() && self.standing.findings == 0 && repeat!(view.totals())? == self.compared {
            return Ok(BTreeMap::new());
        }
        repeat!(view.foreign())
    }

    /// What it says, once it has gone through everything.
    pub async fn verdict(&mut self, sides: &mut Sides<'_>) -> Result<Verdict> {
        let foreign = self.foreign(sides).await?;
        self.standing.findings += foreign.values().sum::<u64>();
        let source = sides.source;
        let now = repeat!(source.bookmark())?;
        // What is of no kind yet was not compared.
        let outgrown = repeat!(source.outgrown())?.is_some();
        let ComparisonUnderWay { bookmark, findings, rows, .. } = self.standing.clone();
        let equal = self.begun_with.is_some() && findings == 0 && now == bookmark && !outgrown;
        Ok(Verdict {
            equal_as_of: equal.then_some(now),
            began_at: bookmark,
            findings,
            rows,
            begun_with: self.begun_with,
            listed: std::mem::take(&mut self.listed),
            read: self.read,
            excepted: self.excepted,
            foreign,
        })
    }
}

/// What the cache lacks and is not to be called a difference, and what differs. Where a row can be kept as far as its content says,
/// only its refusal by the cache or the lack of an end is a reason.
async fn excused(sides: &mut Sides<'_>, kind: ElementKind, found: Vec<Finding>) -> Result<(Vec<Finding>, Vec<Finding>)> {
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
            _ if matches!(own, Some(Cause::Cache | Cause::Graph)) || (own.is_some() && sides.excluded.is_ignored(name, key)) => {
                lacking.push(finding);
            }
            ElementIdentity::Node(_) => differing.push(finding),
            ElementIdentity::Relationship(relationship) => {
                let end = sides.excluded.listed_end(relationship);
                match end.and_then(|end| sides.excluded.cause_of(KindName::Label(end.label.as_str()), end.key.as_str())) {
                    // It would be there under its key.
                    Some(Cause::Content | Cause::Graph) => lacking.push(finding),
                    Some(Cause::Cache | Cause::End) => unclear.push(finding),
                    None if own == Some(Cause::End) => unclear.push(finding),
                    None => differing.push(finding),
                }
            }
        }
    }
    // Of another graph's nodes it is not known in which one they would have to be.
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
async fn ends_in_cache(sides: &mut Sides<'_>, relationships: &[Finding]) -> Result<BTreeSet<NodeIdentity>> {
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
            let found = repeat!(view.contents(ElementKind::Node(kind), Detail::Key, left))?;
            left = &left[found.keys..];
            let node = |identity| if let ElementIdentity::Node(node) = identity { Some(node) } else { None };
            there.extend(found.elements.into_keys().filter_map(node));
        }
    }
    Ok(there)
}

/// The place of a kind's elements among nodes and relationships.
fn place_of(kind: ElementKind) -> usize {
    usize::from(matches!(kind, ElementKind::Relationship(_)))
}

/// A part of what a comparison goes through.
#[derive(Debug, Clone, Copy)]
struct Part {
    kind: ElementKind,
    detail: Detail,
}

impl Part {
    fn is_first_round(self) -> bool {
        self.detail != Detail::Vectors
    }

    fn kind_step(self, profile: &Profile) -> Step {
        profile.step(self.kind)
    }
}

/// Everything but vectors goes first: it is read several times as fast, and what is changed by hand is a text far more often than
/// a vector without its text. Vectors follow in a second round of the same comparison, so equality is proven by both.
fn steps(profile: &Profile) -> Vec<Part> {
    let kinds = profile.kinds();
    let with_vectors = kinds.iter().copied().filter(|kind| !profile.vectors(*kind).is_empty());
    let second = with_vectors.map(|kind| Part { kind, detail: Detail::Vectors });
    kinds.iter().map(|kind| Part { kind: *kind, detail: Detail::WithoutVectors }).chain(second).collect()
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

/// Compares these elements, read by key on both sides, as many at once as the source's side bears.
async fn differing_of(sides: &mut Sides<'_>, kind: ElementKind, suspects: &[ElementIdentity]) -> Result<Vec<Finding>> {
    let keys: BTreeSet<&str> = suspects.iter().map(|identity| identity.key().as_str()).collect();
    let keys: Vec<String> = keys.into_iter().map(str::to_owned).collect();
    let mut left = &keys[..];
    let mut found = Vec::new();
    while !left.is_empty() {
        let (here, answered) = expected_by_key(sides, kind, left).await?;
        let view = &mut *sides.view;
        let there = repeat!(view.contents(kind, Detail::Whole, &left[..answered]))?;
        // Both sides were asked for these.
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
        // The keys stand in order.
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

/// Small kinds of a profile of many, which the source answers together: a question for each kind would take minutes.
struct Together<'a> {
    source: &'a dyn Source,
    encoder: &'a Transformer,
    profile: &'a Profile,
    /// How many elements the source has of each kind. Absent where each kind has a question of its own.
    counts: Option<Vec<u64>>,
    pages: BTreeMap<ElementKind, ExpectedContents>,
}

impl<'a> Together<'a> {
    async fn of(source: &'a dyn Source, encoder: &'a Transformer, profile: &'a Profile) -> Result<Self> {
        let counts = if profile.has_many_kinds() { Some(repeat!(source.counts())?) } else { None };
        Ok(Self { source, encoder, profile, counts, pages: BTreeMap::new() })
    }

    /// The whole of the next kind, if it is a small one. As many kinds are read with it as the comparison reaches with `left` rows.
    async fn page(&mut self, parts: &[Part], after: &str, left: usize) -> Result<Option<ExpectedContents>> {
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
        let Some(read) = bundles::read(self.source, &chosen, part.detail).await? else { return Ok(None) };
        let encoder = self.encoder;
        self.pages = chosen.iter().map(|kind| (*kind, ExpectedContents::nothing())).collect();
        match read {
            Read::Nodes(found) => self.pages.extend(
                found.into_iter().map(|(id, rows)| (ElementKind::Node(id), ExpectedContents::of_nodes(encoder, id, &rows, None))),
            ),
            Read::Relationships(found) => {
                self.pages.extend(found.into_iter().map(|(id, rows)| {
                    (ElementKind::Relationship(id), ExpectedContents::of_relationships(encoder, id, &rows, None))
                }))
            }
        }
        Ok(self.pages.remove(&part.kind))
    }
}

struct ExpectedContents {
    contents: BTreeMap<ElementIdentity, Content>,
    next: Option<String>,
    /// What is left out of it by rule.
    excepted: Excepted,
}

impl ExpectedContents {
    fn of(
        numbers: impl Iterator<Item = ElementNumber>,
        properties: impl Iterator<Item = usize>,
        contents: Vec<Option<(ElementIdentity, Content)>>,
        next: Option<String>,
    ) -> Self {
        let identified = contents.iter().flatten().count();
        let lost = |(all, content): (usize, &Option<(ElementIdentity, Content)>)| {
            content.as_ref().map_or(0, |(_, content)| all.saturating_sub(content.properties.len()))
        };
        let properties = properties.zip(&contents).map(lost).sum::<usize>() as u64;
        let elements = (contents.len() - identified) as u64;
        let contents = lowest(numbers.zip(contents));
        let collapsed = (identified - contents.len()) as u64;
        Self { contents, next, excepted: Excepted { elements, properties, collapsed } }
    }

    fn nothing() -> Self {
        Self { contents: BTreeMap::new(), next: None, excepted: Excepted::default() }
    }

    fn of_nodes(encoder: &Transformer, id: NodeKindId, rows: &[SourceNode], next: Option<String>) -> Self {
        let contents = rows.iter().map(|row| encoder.node_content(id, row)).collect();
        Self::of(rows.iter().map(|row| row.number), rows.iter().map(|row| row.properties.len()), contents, next)
    }

    fn of_relationships(
        encoder: &Transformer,
        id: RelationshipKindId,
        rows: &[SourceRelationship],
        next: Option<String>,
    ) -> Self {
        let contents = rows.iter().map(|row| encoder.relationship_content(id, row)).collect();
        Self::of(rows.iter().map(|row| row.number), rows.iter().map(|row| row.properties.len()), contents, next)
    }
}

/// A page of the source of about `rows` elements, as it has to stand in the cache. Of several elements with one identity the one with the lowest
/// number counts.
async fn expected(source: &dyn Source, encoder: &Transformer, part: Part, after: &str, rows: usize) -> Result<ExpectedContents> {
    let Part { kind, detail } = part;
    // A full page keeps its last key for the next one.
    let limit = rows + 1;
    match kind {
        ElementKind::Node(id) => {
            let page = repeat!(source.node_page(id, detail, after, limit))?;
            Ok(ExpectedContents::of_nodes(encoder, id, &page.rows, page.next))
        }
        ElementKind::Relationship(id) => {
            let page = repeat!(source.relationship_page(id, detail, after, limit))?;
            Ok(ExpectedContents::of_relationships(encoder, id, &page.rows, page.next))
        }
    }
}

/// What the cache is to hold of the first of these keys, and how many keys those are.
async fn expected_by_key(
    sides: &mut Sides<'_>,
    kind: ElementKind,
    keys: &[String],
) -> Result<(BTreeMap<ElementIdentity, Content>, usize)> {
    let (source, encoder) = (sides.source, sides.encoder);
    match kind {
        ElementKind::Node(id) => {
            let Answered { rows, keys } = repeat!(source.nodes_by_key(id, keys))?;
            Ok((lowest(rows.iter().map(|row| (row.number, encoder.node_content(id, row)))), keys))
        }
        ElementKind::Relationship(id) => {
            let Answered { rows, keys } = repeat!(source.relationships_by_key(id, keys))?;
            Ok((lowest(rows.iter().map(|row| (row.number, encoder.relationship_content(id, row)))), keys))
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

/// What of a page differs at a first look; meanwhile the source sends up to `limit` elements more, if the page has a next one.
async fn compare_and_read_on(
    sides: &mut Sides<'_>,
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
        let cached = repeat!(view.contents(part.kind, part.detail, left))?;
        left = &left[cached.keys..];
        for (identity, cached) in cached.elements {
            if contents.get(&identity).is_some_and(|content| changed(content, &cached).is_none()) {
                equal.insert(identity);
            }
        }
    }
    Ok(contents.keys().filter(|identity| !equal.contains(*identity)).cloned().collect())
}

/// What differs at a second look as well, of all that it holds: at the first one, the source may have been read just before a
/// change and the cache just after.
async fn differing(sides: &mut Sides<'_>, kind: ElementKind, suspects: &[ElementIdentity]) -> Result<Vec<Finding>> {
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = differing_of(sides, kind, suspects).await?;
    // What was deleted between the two looks is found with the other orphans.
    found.retain(|finding| finding.difference != Difference::Orphaned);
    Ok(found)
}
