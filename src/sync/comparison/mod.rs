//! The comparison: every element of the source is compared with what the cache holds of it, and the key sets of both sides with
//! each other.
//!
//! Only a comparison finds a change that left no timestamp, no episode and no count behind. It goes through the kinds in the
//! order of their keys and can stop after any page, so it runs in slices between the passes that follow changes.

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
use crate::model::comparison::{ComparisonUnderWay, Finding, ProofExceptions, Verdict};
use crate::model::element::{ElementIdentity, NodeIdentity};
use crate::model::kind::ElementKind;
use crate::model::pass::Cursor;
use crate::model::profile::{Identity, Profile};
use crate::model::quarantine_index::QuarantineIndex;
use crate::source::Source;

pub(crate) use self::context::ComparisonContext;
pub(crate) use self::differences::look_again;

/// The most findings that a verdict names; the rest is counted.
pub(crate) const LISTED: usize = 10_000;

/// The result of one step of a comparison.
#[derive(Debug, Default)]
pub(crate) struct ComparisonProgress {
    pub found: Vec<Finding>,
    /// Elements that the cache lacks for a reason that is not in the source: it refused the row, or an end of it is not there.
    /// Such an element is a difference only if another attempt mends it.
    pub excluded: Vec<Finding>,
    /// Kinds that this step finished: all their orphans are found.
    pub completed: Vec<CompletedKind>,
    /// The number of relationships of a completed kind that wait for an end, by that end; absent if an earlier generation
    /// compared a part of the kind.
    pub waiting: BTreeMap<ElementKind, BTreeMap<NodeIdentity, u64>>,
    /// Whether the comparison has gone through everything, so that its verdict can be read.
    pub is_over: bool,
}

/// A kind that was gone through to its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CompletedKind {
    pub kind: ElementKind,
    /// Whether the source was scanned for elements without key, because it may have some that no page reaches.
    pub is_scanned: bool,
    /// Whether the kind has more orphans than are found at once.
    pub is_cut: bool,
}

/// Counts of the elements in the pages of a kind.
#[derive(Debug, Clone, Copy, Default)]
struct Met {
    elements: u64,
    /// The number of elements that the cache cannot hold.
    unusable: u64,
}

/// A comparison under way.
#[derive(Debug)]
pub(crate) struct Comparison {
    standing: ComparisonUnderWay,
    begun_with: Option<u64>,
    /// Whether a kind had more orphans than are found at once.
    is_incomplete: bool,
    listed: Vec<Finding>,
    /// The findings, at most as many as are listed: the second round does not find them again.
    named: BTreeSet<ElementIdentity>,
    /// The elements of the source that were seen of the kind under way.
    seen: SeenElements,
    /// The search for orphans of the kind under way, once its pages are compared.
    orphan_scan: Option<OrphanScan>,
    /// Whether all pages of the kind under way were compared here, and none by an earlier generation.
    is_whole: bool,
    hasher: ElementHasher,
    /// Whether an earlier generation began the comparison, and the log does not say so yet.
    resumed: bool,
    /// Elements of the source that were read so far, including those that are left out.
    read: u64,
    /// The elements and properties that were left out by rule so far.
    excepted: ProofExceptions,
    /// The numbers of nodes and relationships that were found on both sides, or differed.
    compared: [u64; 2],
    /// Relationships of the kind under way that wait for an end.
    waiting: BTreeMap<NodeIdentity, u64>,
    /// The counts of the pages of the kind under way so far.
    met: Met,
    /// The source's count of each kind at the comparison's bookmark; absent until it is needed.
    counts: Option<Vec<u64>>,
}

impl Comparison {
    /// Begins a comparison of as many elements as the source has. Nothing that was read earlier may be on its way to the cache.
    /// `order` is the number of the order that the comparison begins with.
    pub(crate) async fn begin(source: &dyn Source, ordered: bool, order: u64, elements: u64) -> Result<Self> {
        let bookmark = source.bookmark().await?;
        let standing = ComparisonUnderWay {
            began_at: Utc::now(),
            bookmark,
            ordered,
            at_vectors: false,
            cursor: None,
            findings: 0,
            rows: 0,
            expected: Some(elements),
        };
        Ok(Self::of(standing, Some(order)))
    }

    /// Continues a comparison that an earlier generation began. It finds what is left to find, but proves nothing: the part that
    /// was compared before may have changed since.
    pub(crate) fn resume(standing: ComparisonUnderWay) -> Self {
        Self { is_whole: false, resumed: true, ..Self::of(standing, None) }
    }

    fn of(standing: ComparisonUnderWay, begun_with: Option<u64>) -> Self {
        Self {
            standing,
            begun_with,
            is_incomplete: false,
            listed: Vec::new(),
            named: BTreeSet::new(),
            seen: SeenElements::default(),
            orphan_scan: None,
            is_whole: true,
            hasher: ElementHasher::default(),
            resumed: false,
            read: 0,
            excepted: ProofExceptions::default(),
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

    /// Logs once that the comparison continues.
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
    /// written: there is no proof then in any case.
    pub(crate) async fn advance(
        &mut self,
        sides: &mut ComparisonContext<'_>,
        rows: usize,
        spared: &BTreeSet<ElementKind>,
    ) -> Result<ComparisonProgress> {
        let steps = steps(sides.profile);
        let (mut place, mut after) = self.place(sides.profile, &steps);
        let mut advance = ComparisonProgress::default();
        let mut left = rows;
        let (mut ahead, mut together) = (None, SmallKindPrefetch::of(sides.source, sides.encoder, sides.profile).await?);
        while left > 0 {
            let Some(step) = steps.get(place).copied() else { break };
            if let Some(scan) = &mut self.orphan_scan {
                left = left.saturating_sub(scan.step(sides, step.kind, &self.hasher).await? + QUESTION);
                if scan.is_over() {
                    let is_cut = self.end_orphan_scan(sides.source, &mut advance).await?;
                    let elements = usize::try_from(self.met.elements).unwrap_or(usize::MAX);
                    let is_scanned = self.count_without_key(sides.source, sides.profile, step.kind, spared).await?;
                    advance.completed.push(CompletedKind { kind: step.kind, is_scanned, is_cut });
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
        Ok(ComparisonProgress { is_over: next.is_none(), ..advance })
    }

    /// Sorts the differences of a page, and notes what the page holds.
    async fn note_page(
        &mut self,
        sides: &mut ComparisonContext<'_>,
        step: Part,
        page: &ExpectedContents,
        suspects: &[ElementIdentity],
        advance: &mut ComparisonProgress,
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

    /// Ends the pages of a kind. What only the cache holds is still to be found.
    fn end_pages(&mut self, kind: ElementKind, advance: &mut ComparisonProgress) {
        let by_end = std::mem::take(&mut self.waiting);
        if self.is_whole {
            advance.waiting.insert(kind, by_end);
        }
        self.orphan_scan = Some(OrphanScan::new(std::mem::take(&mut self.seen)));
    }

    /// Returns whether there were more orphans than are found at once.
    async fn end_orphan_scan(&mut self, source: &dyn Source, advance: &mut ComparisonProgress) -> Result<bool> {
        let Some(scan) = self.orphan_scan.take() else { return Ok(false) };
        let Orphans { found, is_whole, is_even } = scan.end();
        // If the source was written meanwhile, or something was found, that explains an uneven count, and nothing is proven in
        // any case. Otherwise the count is unexplained, and there is no proof. The next comparison finds what is too much for
        // this one.
        let is_riddle = !is_even && found.is_empty() && self.begun_with.is_some() && !self.found_any(advance);
        self.is_incomplete |= !is_whole;
        if !is_whole || (is_riddle && self.is_unmoved(source).await?) {
            self.begun_with = None;
        }
        advance.found.extend(found);
        Ok(!is_whole)
    }

    fn found_any(&self, advance: &ComparisonProgress) -> bool {
        self.standing.findings > 0 || !self.named.is_empty() || !advance.found.is_empty()
    }

    /// Notes differences for the verdict.
    pub(crate) fn note_found(&mut self, found: &[Finding]) {
        self.standing.findings += found.len() as u64;
        self.listed.extend(found.iter().take(LISTED - self.listed.len()).cloned());
    }

    /// Notes relationships that wait for a listed end.
    fn note_waiting(&mut self, excluded: &QuarantineIndex, lacking: &[Finding]) {
        for finding in lacking {
            let ElementIdentity::Relationship(relationship) = &finding.identity else { continue };
            if let Some(end) = excluded.listed_end(relationship) {
                *self.waiting.entry(end.clone()).or_default() += 1;
            }
        }
    }

    /// Remembers the elements of a page that the cache has to hold.
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

    /// Counts elements that the cache cannot hold: they were compared, and are left out now.
    pub(crate) fn except(&mut self, excluded: &[Finding]) {
        for finding in excluded {
            let number = &mut self.compared[place_of(finding.kind)];
            *number = number.saturating_sub(1);
        }
        self.excepted.elements += excluded.len() as u64;
    }

    /// Counts each element once, in the first round.
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

    /// Counts the elements of a kind that no page reaches, because they have no key. Returns whether this took a scan: if the
    /// pages held as many elements as the source counts, and the cache can hold them all, there are none.
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

    /// Counts the elements of a kind in the source at the comparison's bookmark. Absent if the source has moved on meanwhile.
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
        Ok(source.bookmark().await? == self.standing.bookmark && self.has_read_nothing_newer(source))
    }

    /// Whether no read was told of a later commit. The member of a cluster that is asked for the last commit may be behind those
    /// that answer the reads.
    fn has_read_nothing_newer(&self, source: &dyn Source) -> bool {
        source.newest_commit().is_none_or(|newest| self.standing.bookmark.includes(&newest))
    }

    /// Counts what no page and no key finds. If the cache holds exactly what was compared, there is nothing.
    async fn foreign(&mut self, sides: &mut ComparisonContext<'_>) -> Result<BTreeMap<String, u64>> {
        let view = &mut *sides.view;
        if self.begun_with.is_some() && self.standing.findings == 0 && view.totals().await? == self.compared {
            return Ok(BTreeMap::new());
        }
        view.foreign().await
    }

    /// Returns the verdict, once the comparison has gone through everything.
    pub(crate) async fn verdict(&mut self, sides: &mut ComparisonContext<'_>) -> Result<Verdict> {
        let foreign = self.foreign(sides).await?;
        self.standing.findings += foreign.values().sum::<u64>();
        let source = sides.source;
        let now = source.bookmark().await?;
        let is_unmoved = now == self.standing.bookmark && self.has_read_nothing_newer(source);
        // Elements that are of no kind yet were not compared.
        let outgrown = source.outgrown().await?.is_some();
        let ComparisonUnderWay { bookmark, findings, rows, .. } = self.standing.clone();
        let equal = self.begun_with.is_some() && findings == 0 && is_unmoved && !outgrown;
        Ok(Verdict {
            equal_as_of: equal.then_some(now),
            began_at: bookmark,
            findings,
            rows,
            begun_with: self.begun_with,
            is_incomplete: self.is_incomplete,
            listed: std::mem::take(&mut self.listed),
            read: self.read,
            excepted: self.excepted,
            foreign,
        })
    }
}

/// Returns the index of a kind's elements in the counts of nodes and relationships.
fn place_of(kind: ElementKind) -> usize {
    usize::from(matches!(kind, ElementKind::Relationship(_)))
}
