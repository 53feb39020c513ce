//! The comparison: every element of the source against what the cache holds of it, and the key sets of both against each other.
//!
//! It is the only thing that finds a change which left no timestamp, no episode and no count behind. It goes through the kinds
//! in the order of their keys and can stop after any page, so it runs in slices between the passes that follow changes.

mod context;
mod differences;
mod expected;
mod orphan_scan;
mod part;

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;

use self::differences::{compare_and_read_on, differing, excused};
use self::expected::{ExpectedContents, SmallKindPrefetch, expected};
use self::orphan_scan::{OrphanScan, Orphans, SeenElements, VISITED_FOR_A_ROW};
use self::part::{PAGE, Part, QUESTION, steps};
use super::key_sets::ElementHasher;
use crate::error::Result;
use crate::model::comparison::{ComparisonUnderWay, Excepted, Finding, Verdict};
use crate::model::element::{ElementIdentity, NodeIdentity};
use crate::model::excluded::Excluded;
use crate::model::kind::ElementKind;
use crate::model::pass::Cursor;
use crate::model::profile::{Identity, Profile};
use crate::source::Source;

pub(crate) use self::context::ComparisonContext;
pub(crate) use self::differences::look_again;

/// Findings that a verdict names; the rest is counted.
pub(crate) const LISTED: usize = 10_000;

/// What a comparison did in one go.
#[derive(Debug, Default)]
pub(crate) struct Advance {
    pub found: Vec<Finding>,
    /// What the cache lacks for a reason that is not in the source: it refused the row, or an end of it is not there. It is a
    /// difference only if another attempt mends it.
    pub excluded: Vec<Finding>,
    /// Kinds that were gone through to their end: all their orphans are found.
    pub completed: Vec<CompletedKind>,
    /// How many relationships of a completed kind wait for an end, by the end; absent where an earlier generation compared a part of
    /// the kind.
    pub waiting: BTreeMap<ElementKind, BTreeMap<NodeIdentity, u64>>,
    /// Whether it has gone through everything, so that its verdict can be asked for.
    pub is_over: bool,
}

/// A kind that was gone through to its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CompletedKind {
    pub kind: ElementKind,
    /// Whether the source was scanned for elements without key: it may have some that no page reaches.
    pub is_scanned: bool,
}

/// What the pages of a kind held.
#[derive(Debug, Clone, Copy, Default)]
struct Met {
    elements: u64,
    /// How many of them the cache cannot hold.
    unusable: u64,
}

/// A comparison under way.
#[derive(Debug)]
pub(crate) struct Comparison {
    standing: ComparisonUnderWay,
    begun_with: Option<u64>,
    listed: Vec<Finding>,
    /// What was found, up to as much as is listed: the second round does not find it again.
    named: BTreeSet<ElementIdentity>,
    /// What was seen of the source's elements of the kind under way.
    seen: SeenElements,
    /// The search for orphans of the kind under way, once its pages are compared.
    orphan_scan: Option<OrphanScan>,
    /// Whether all pages of the kind under way were compared here, and none by an earlier generation.
    is_whole: bool,
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
    /// What the pages of the kind under way held so far.
    met: Met,
    /// How many elements the source has of each kind at the comparison's bookmark; absent until they are needed.
    counts: Option<Vec<u64>>,
}

impl Comparison {
    /// Begins one. Nothing that was read earlier may be on its way to the cache. `order` is the number of the order that it
    /// begins with.
    pub(crate) async fn begin(source: &dyn Source, ordered: bool, order: u64) -> Result<Self> {
        let bookmark = source.bookmark().await?;
        let began_at = Utc::now();
        let standing = ComparisonUnderWay { began_at, bookmark, ordered, at_vectors: false, cursor: None, findings: 0, rows: 0 };
        Ok(Self::of(standing, Some(order)))
    }

    /// Goes on with one that an earlier generation began. It finds what is left to find, but proves nothing: what happened to
    /// the part that was compared before is not known.
    pub(crate) fn resume(standing: ComparisonUnderWay) -> Self {
        Self { is_whole: false, resumed: true, ..Self::of(standing, None) }
    }

    fn of(standing: ComparisonUnderWay, begun_with: Option<u64>) -> Self {
        Self {
            standing,
            begun_with,
            listed: Vec::new(),
            named: BTreeSet::new(),
            seen: SeenElements::default(),
            orphan_scan: None,
            is_whole: true,
            hasher: ElementHasher::default(),
            resumed: false,
            read: 0,
            excepted: Excepted::default(),
            compared: [0, 0],
            waiting: BTreeMap::new(),
            met: Met::default(),
            counts: None,
        }
    }

    /// Elements of the source that were compared so far.
    pub(crate) fn rows(&self) -> u64 {
        self.standing.rows
    }

    /// Says once in the log that it goes on.
    pub(super) fn tell_if_resumed(&mut self) {
        if std::mem::take(&mut self.resumed) {
            let step = self.standing.cursor.as_ref().map(|cursor| cursor.step.name());
            tracing::info!(rows = self.standing.rows, step, "comparison resumes");
        }
    }

    pub(crate) fn standing(&self) -> &ComparisonUnderWay {
        &self.standing
    }

    /// Compares about `rows` elements more. The kinds in `spared` are not scanned for elements without key while the source is
    /// written: it gets no proof then in any case.
    pub(crate) async fn advance(
        &mut self,
        sides: &mut ComparisonContext<'_>,
        rows: usize,
        spared: &BTreeSet<ElementKind>,
    ) -> Result<Advance> {
        let steps = steps(sides.profile);
        let (mut place, mut after) = self.place(sides.profile, &steps);
        let mut advance = Advance::default();
        let mut left = rows;
        let (mut ahead, mut together) = (None, SmallKindPrefetch::of(sides.source, sides.encoder, sides.profile).await?);
        while left > 0 {
            let Some(step) = steps.get(place).copied() else { break };
            if let Some(scan) = &mut self.orphan_scan {
                left = left.saturating_sub(scan.step(sides, step.kind, &self.hasher).await? + QUESTION);
                if scan.is_over() {
                    self.end_orphan_scan(sides.source, &mut advance).await?;
                    let elements = usize::try_from(self.met.elements).unwrap_or(usize::MAX);
                    let is_scanned = self.count_without_key(sides.source, sides.profile, step.kind, spared).await?;
                    advance.completed.push(CompletedKind { kind: step.kind, is_scanned });
                    left = left.saturating_sub(if is_scanned { elements / VISITED_FOR_A_ROW } else { 0 });
                    (place, after) = (place + 1, String::new());
                }
                continue;
            }
            let page = match ahead.take() {
                Some(page) => page,
                None => match together.page(&steps[place..], &after, left).await? {
                    Some(page) => page,
                    None => expected(sides.source, sides.encoder, step, &after, left.min(PAGE)).await?,
                },
            };
            left = left.saturating_sub(page.contents.len() + QUESTION);
            let suspects;
            (suspects, ahead) = compare_and_read_on(sides, step, &page, left.min(PAGE)).await?;
            self.note_page(sides, step, &page, &suspects, &mut advance).await?;
            match page.next {
                Some(next) => after = next,
                None if step.is_first_round() => self.end_pages(step.kind, &mut advance),
                None => (place, after) = (place + 1, String::new()),
            }
        }
        self.note_found(&advance.found);
        let next = steps.get(place);
        self.standing.at_vectors = next.is_some_and(|step| !step.is_first_round());
        self.standing.cursor = next.map(|step| Cursor { step: step.kind_step(sides.profile), after });
        Ok(Advance { is_over: next.is_none(), ..advance })
    }

    /// Sorts what of a page differs, and takes note of what the page holds.
    async fn note_page(
        &mut self,
        sides: &mut ComparisonContext<'_>,
        step: Part,
        page: &ExpectedContents,
        suspects: &[ElementIdentity],
        advance: &mut Advance,
    ) -> Result<()> {
        self.count_page(step, page);
        let mut differing = differing(sides, step.kind, suspects).await?;
        differing.retain(|finding| step.is_first_round() || !self.named.contains(&finding.identity));
        let room = LISTED.saturating_sub(self.named.len());
        self.named.extend(differing.iter().take(room).map(|finding| finding.identity.clone()));
        let (reasonable, differing) = excused(sides, step.kind, differing).await?;
        if step.is_first_round() {
            self.see(page, &reasonable);
            self.note_waiting(sides.excluded, &reasonable);
        }
        advance.excluded.extend(reasonable);
        advance.found.extend(differing);
        Ok(())
    }

    /// All pages of a kind are compared: what is left to look for is what only the cache holds.
    fn end_pages(&mut self, kind: ElementKind, advance: &mut Advance) {
        let by_end = std::mem::take(&mut self.waiting);
        if self.is_whole {
            advance.waiting.insert(kind, by_end);
        }
        self.orphan_scan = Some(OrphanScan::new(std::mem::take(&mut self.seen)));
    }

    async fn end_orphan_scan(&mut self, source: &dyn Source, advance: &mut Advance) -> Result<()> {
        let Some(scan) = self.orphan_scan.take() else { return Ok(()) };
        let Orphans { found, is_whole, is_even } = scan.end();
        // Where the source was written meanwhile, or something was found, that is why they are not even; nothing is proven then in
        // any case. Otherwise it is a riddle, and no proof. What is too much for one comparison, the next one finds.
        let is_riddle = !is_even && found.is_empty() && self.begun_with.is_some() && !self.found_any(advance);
        if !is_whole || (is_riddle && self.is_unmoved(source).await?) {
            self.begun_with = None;
        }
        advance.found.extend(found);
        Ok(())
    }

    fn found_any(&self, advance: &Advance) -> bool {
        self.standing.findings > 0 || !self.named.is_empty() || !advance.found.is_empty()
    }

    /// Takes note of differences.
    pub(crate) fn note_found(&mut self, found: &[Finding]) {
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
        let lacking: BTreeSet<&ElementIdentity> = lacking.iter().map(|finding| &finding.identity).collect();
        let held = page.contents.keys().filter(|identity| !lacking.contains(identity));
        held.for_each(|identity| self.seen.add(&self.hasher, identity));
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
    pub(crate) fn except(&mut self, excluded: &[Finding]) {
        for finding in excluded {
            let number = &mut self.compared[place_of(finding.kind)];
            *number = number.saturating_sub(1);
        }
        self.excepted.elements += excluded.len() as u64;
    }

    /// In the first round, each element is counted once.
    fn count_page(&mut self, part: Part, page: &ExpectedContents) {
        self.excepted.properties += page.excepted.properties;
        if !part.is_first_round() {
            return;
        }
        self.standing.rows += page.contents.len() as u64;
        self.compared[place_of(part.kind)] += page.contents.len() as u64;
        let read = page.contents.len() as u64 + page.excepted.elements + page.excepted.collapsed;
        self.read += read;
        self.met.elements += read;
        self.met.unusable += page.excepted.elements;
        self.excepted.elements += page.excepted.elements;
        self.excepted.collapsed += page.excepted.collapsed;
    }

    /// Counts the elements of a kind that no page reaches, because they have no key. Returns whether it took a scan: where the pages
    /// held as many elements as the source counts, and the cache can hold them all, there are none.
    async fn count_without_key(
        &mut self,
        source: &dyn Source,
        profile: &Profile,
        kind: ElementKind,
        spared: &BTreeSet<ElementKind>,
    ) -> Result<bool> {
        let (met, is_whole) = (std::mem::take(&mut self.met), std::mem::replace(&mut self.is_whole, true));
        if profile.kinds().into_iter().all(|kind| profile.identity(kind) != Identity::Property) {
            return Ok(false);
        }
        if self.is_unmoved(source).await? {
            let counted = self.count(source, profile, kind).await?;
            if is_whole && met.unusable == 0 && counted == Some(met.elements) {
                return Ok(false);
            }
        } else if spared.contains(&kind) {
            return Ok(false);
        }
        let without_key = source.count_without_key(kind).await?;
        self.excepted.elements += without_key;
        self.read += without_key;
        Ok(true)
    }

    /// How many elements the source has of a kind at the comparison's bookmark. Absent where it has moved on meanwhile.
    async fn count(&mut self, source: &dyn Source, profile: &Profile, kind: ElementKind) -> Result<Option<u64>> {
        if self.counts.is_none() {
            let counts = source.exact_counts().await?;
            self.counts = self.is_unmoved(source).await?.then_some(counts);
        }
        let place = profile.kinds().iter().position(|other| *other == kind);
        Ok(self.counts.as_ref().zip(place).and_then(|(counts, place)| counts.get(place).copied()))
    }

    /// Whether nothing was committed since the comparison began.
    async fn is_unmoved(&self, source: &dyn Source) -> Result<bool> {
        Ok(source.bookmark().await? == self.standing.bookmark)
    }

    /// What no page and no key meets. Where all that was compared is all that the cache holds, there is none.
    async fn foreign(&mut self, sides: &mut ComparisonContext<'_>) -> Result<BTreeMap<String, u64>> {
        let view = &mut *sides.view;
        if self.begun_with.is_some() && self.standing.findings == 0 && view.totals().await? == self.compared {
            return Ok(BTreeMap::new());
        }
        view.foreign().await
    }

    /// What it says, once it has gone through everything.
    pub(crate) async fn verdict(&mut self, sides: &mut ComparisonContext<'_>) -> Result<Verdict> {
        let foreign = self.foreign(sides).await?;
        self.standing.findings += foreign.values().sum::<u64>();
        let source = sides.source;
        let now = source.bookmark().await?;
        // What is of no kind yet was not compared.
        let outgrown = source.outgrown().await?.is_some();
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

/// The place of a kind's elements among nodes and relationships.
fn place_of(kind: ElementKind) -> usize {
    usize::from(matches!(kind, ElementKind::Relationship(_)))
}
