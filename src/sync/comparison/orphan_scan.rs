//! The search for orphans: elements of a kind that the cache holds and the source does not.
//!
//! While the pages of the source pass, the search keeps a short hash of each element. Then it visits the elements of the cache
//! part by part: elements with an unknown hash are suspects, and are looked up by key on both sides. Each step is short, so that
//! passes run in between, whatever the size of the kind.

use super::super::cache_view::{CacheView, ScanCursor, ScannedElement};
use super::super::key_sets::ElementHasher;
use super::context::ComparisonContext;
use super::differences::differing_of;
use super::part::PAGE;
use crate::error::Result;
use crate::model::comparison::{Difference, Finding};
use crate::model::element::ElementIdentity;
use crate::model::kind::ElementKind;

/// Elements of the cache that are visited at once: some tenths of a second at most.
const PART: usize = 5_000;

/// The number of elements visited in the time of one compared row, which is read and looked up on both sides.
pub(super) const VISITED_FOR_A_ROW: usize = 10;

/// The most suspects that are remembered: some ten megabytes. The rest is left to the next comparison.
const MAX_SUSPECTS: usize = 50_000;

/// Hashes of the source's elements of a kind, 8 bytes each. The hash is keyed at random in each process; an orphan is taken for
/// an element of the source with a probability of one in 10¹² for a kind of ten million.
#[derive(Debug, Default)]
pub(super) struct SeenElements {
    hashes: Vec<u64>,
}

impl SeenElements {
    pub(super) fn add(&mut self, hasher: &ElementHasher, identity: &ElementIdentity) {
        self.hashes.push(hasher.short(identity));
    }
}

/// A search under way.
#[derive(Debug)]
pub(super) struct OrphanScan {
    seen: Vec<u64>,
    /// The beginning of the next part; absent once everything is visited.
    next: Option<ScanCursor>,
    visited: u64,
    /// Elements that are still to be looked up.
    suspects: Vec<ElementIdentity>,
    /// Whether there were more suspects than are remembered.
    more: bool,
    orphans: Vec<Finding>,
}

/// The result of a search for orphans.
#[derive(Debug)]
pub(super) struct Orphans {
    pub(super) found: Vec<Finding>,
    /// Whether these are all orphans of the kind.
    pub(super) is_whole: bool,
    /// Whether the cache held, besides the orphans, as many elements as the source had.
    pub(super) is_even: bool,
}

impl OrphanScan {
    pub(super) fn new(seen: SeenElements) -> Self {
        let mut seen = seen.hashes;
        seen.sort_unstable();
        let (suspects, orphans) = (Vec::new(), Vec::new());
        Self { seen, next: Some(ScanCursor::default()), visited: 0, suspects, more: false, orphans }
    }

    /// Whether there is nothing left to do.
    pub(super) fn is_over(&self) -> bool {
        self.next.is_none() && self.suspects.is_empty()
    }

    /// Takes the next step. Returns how many rows could be compared in the same time.
    pub(super) async fn step(
        &mut self,
        sides: &mut ComparisonContext<'_>,
        kind: ElementKind,
        hasher: &ElementHasher,
    ) -> Result<usize> {
        match self.next.take() {
            Some(from) => self.visit_part(sides.view, kind, &from, hasher).await,
            None => self.look_at_suspects(sides, kind).await,
        }
    }

    async fn visit_part(
        &mut self,
        view: &mut dyn CacheView,
        kind: ElementKind,
        from: &ScanCursor,
        hasher: &ElementHasher,
    ) -> Result<usize> {
        let before = self.visited;
        self.next = view.scan_part(kind, from, PART, &mut |keyed: ScannedElement| self.visit(hasher, keyed.identity)).await?;
        let visited = usize::try_from(self.visited - before).unwrap_or(usize::MAX);
        Ok(visited / VISITED_FOR_A_ROW)
    }

    fn visit(&mut self, hasher: &ElementHasher, identity: ElementIdentity) {
        self.visited += 1;
        if self.seen.binary_search(&hasher.short(&identity)).is_ok() {
            return;
        }
        if self.suspects.len() < MAX_SUSPECTS {
            self.suspects.push(identity);
        } else {
            self.more = true;
        }
    }

    /// An element that came to both sides after its page was read is no orphan.
    async fn look_at_suspects(&mut self, sides: &mut ComparisonContext<'_>, kind: ElementKind) -> Result<usize> {
        let some = self.suspects.split_off(self.suspects.len().saturating_sub(PAGE));
        let found = differing_of(sides, kind, &some).await?;
        self.orphans.extend(found.into_iter().filter(|finding| finding.difference == Difference::Orphaned));
        Ok(some.len())
    }

    pub(super) fn end(self) -> Orphans {
        let is_even = self.visited == (self.seen.len() + self.orphans.len()) as u64;
        Orphans { found: self.orphans, is_whole: !self.more, is_even }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::element::NodeIdentity;
    use crate::model::key::Key;
    use crate::model::kind::NodeKindId;
    use crate::model::name::Label;

    fn node(key: &str) -> ElementIdentity {
        ElementIdentity::Node(NodeIdentity { label: Label::parse("Entity").unwrap(), key: Key::parse(key).unwrap() })
    }

    #[test]
    fn what_the_pages_did_not_hold_is_suspected() {
        let hasher = ElementHasher::default();
        let mut seen = SeenElements::default();
        ["b", "a", "c"].iter().for_each(|key| seen.add(&hasher, &node(key)));
        let mut scan = OrphanScan::new(seen);
        ["a", "x", "c", "b"].iter().for_each(|key| scan.visit(&hasher, node(key)));
        assert_eq!(scan.suspects, [node("x")]);
        assert!(!scan.end().is_even, "the cache holds one more, and it is no orphan");
    }

    #[test]
    fn the_sides_are_even_if_the_cache_holds_the_orphans_beside_what_the_pages_held() {
        let hasher = ElementHasher::default();
        let mut seen = SeenElements::default();
        seen.add(&hasher, &node("a"));
        let mut scan = OrphanScan::new(seen);
        ["a", "x"].iter().for_each(|key| scan.visit(&hasher, node(key)));
        let difference = Difference::Orphaned;
        scan.orphans.push(Finding { kind: ElementKind::Node(NodeKindId(0)), identity: node("x"), difference });
        let Orphans { is_even, is_whole, .. } = scan.end();
        assert!(is_even && is_whole);
    }
}
