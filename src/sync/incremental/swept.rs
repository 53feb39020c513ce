//! The sweep of kinds whose counts differ.

use std::collections::BTreeMap;

use super::{Incremental, keys};
use crate::error::Result;
use crate::model::bookmark::Bookmark;
use crate::model::kind::ElementKind;
use crate::sync::delete_guard::{GuardContext, weigh};
use crate::sync::follow::follow;
use crate::sync::keys::Keys;
use crate::sync::sweep::{KeySetDifference, find};
use crate::sync::unusable;

impl Incremental<'_, '_, '_> {
    /// Finds what only one side has of these kinds, reads what is missing, deletes what the guard allows, and remembers which
    /// differences remain and why. Returns the counts after it, if it deleted anything.
    pub(super) async fn sweep(
        &mut self,
        kinds: &[(ElementKind, i64)],
        counted_at: &Bookmark,
    ) -> Result<Option<(Vec<u64>, Vec<u64>)>> {
        if kinds.is_empty() {
            return Ok(None);
        }
        let mut gaps = BTreeMap::new();
        for (kind, _) in kinds {
            let found = find(self.reader.source, self.changes.view, *kind, None).await?;
            self.reader.keys_listed += found.listed;
            let (missing, orphaned) = (found.missing.len(), found.orphaned.len());
            if missing + orphaned > 0 {
                tracing::info!(kind = self.reader.profile.kind_name(*kind), missing, orphaned, "swept");
            }
            gaps.insert(*kind, found);
        }
        for (kind, gaps) in &mut gaps {
            unusable::leave_out_waiting(self.reader, *kind, gaps).await?;
        }
        let kinds = unusable::complete(self.reader, self.changes, kinds, &mut gaps, counted_at).await?;
        let counts = self.mend(&kinds, gaps.clone(), counted_at).await?;
        self.changes.memory.note_sweep();
        Ok(gaps.values().any(|gaps| !gaps.orphaned.is_empty()).then_some(counts))
    }

    /// Reads what is missing and what the rules lead to from it, and deletes what the guard allows. Returns the counts after it.
    pub(super) async fn mend(
        &mut self,
        kinds: &[(ElementKind, i64)],
        mut gaps: BTreeMap<ElementKind, KeySetDifference>,
        counted_at: &Bookmark,
    ) -> Result<(Vec<u64>, Vec<u64>)> {
        let (limit, allow) = (self.changes.limit, self.changes.allow_deletes);
        let (source, profile, guard) = (self.reader.source, self.reader.profile, &mut self.changes.memory.guard);
        let excluded = self.changes.excluded;
        weigh(&mut GuardContext { source, view: self.changes.view, profile, guard, limit, allow, excluded }, &mut gaps).await?;
        let mut wanted: Keys = gaps.iter().map(|(kind, gaps)| (*kind, keys(&gaps.missing))).collect();
        for (kind, keys) in follow(self.reader, &wanted).await? {
            wanted.entry(kind).or_default().extend(keys);
        }
        self.reader.repairs = true;
        self.reader.fetch(&wanted).await?;
        self.reader.repairs = false;
        for (kind, gaps) in &gaps {
            self.reader.delete_absent(*kind, gaps.orphaned.clone()).await?;
        }
        self.settle().await?;
        self.explain(kinds, &gaps, counted_at).await
    }

    /// Remembers the differences of counts that are explained. If the source has not moved on, every remaining difference is
    /// explained. If it has, counts say nothing about what is left: then a kind without gaps keeps its difference, unless it
    /// waits for a scan, and a kind with held deletes differs by what was not mended. Returns the current counts.
    async fn explain(
        &mut self,
        kinds: &[(ElementKind, i64)],
        gaps: &BTreeMap<ElementKind, KeySetDifference>,
        counted_at: &Bookmark,
    ) -> Result<(Vec<u64>, Vec<u64>)> {
        let (here, there) = self.counts().await?;
        let unmoved = self.bookmark().await? == *counted_at;
        let all = self.reader.profile.kinds();
        for (kind, before) in kinds {
            let Some((place, gaps)) = all.iter().position(|other| other == kind).zip(gaps.get(kind)) else { continue };
            let mended = gaps.orphaned.len() as i64 - gaps.missing.len() as i64;
            let is_untouched = gaps.orphaned.is_empty() && gaps.missing.is_empty();
            if unmoved {
                let rest = here[place].cast_signed() - there[place].cast_signed();
                self.tell_what_stands(*kind, rest);
                self.changes.memory.explain(*kind, rest);
            } else if (is_untouched && !self.changes.memory.is_unexplained(*kind)) || self.held(*kind) > 0 {
                self.changes.memory.explain(*kind, before + mended);
            }
        }
        Ok((here, there))
    }

    /// Logs a difference that stays. Elements that share a key make the rest positive; deletes that are held make it negative.
    fn tell_what_stands(&self, kind: ElementKind, rest: i64) {
        if !self.changes.memory.is_explained(kind, rest) {
            let (name, held) = (self.reader.profile.kind_name(kind), self.held(kind));
            tracing::info!(
                kind = name,
                quarantined = self.reader.listed(kind),
                held,
                rest,
                "counts still differ: shared keys, held deletes or quarantined elements"
            );
        }
    }
}
