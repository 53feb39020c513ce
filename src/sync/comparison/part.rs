//! The parts that a comparison goes through, one after the other.

use crate::model::kind::{ElementKind, Step};
use crate::model::profile::Profile;
use crate::model::projection::Projection;

/// Rows that are compared at once: a page of the source, and the cache's reply for its keys.
pub(super) const PAGE: usize = 1000;

/// The number of rows that take as long as the queries for a page: a comparison of many small kinds keeps its pace by them.
pub(super) const QUESTION: usize = 20;

/// A part of what a comparison goes through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) kind: ElementKind,
    pub(super) detail: Projection,
}

impl Part {
    pub(super) fn is_first_round(self) -> bool {
        self.detail != Projection::Vectors
    }

    pub(super) fn kind_step(self, profile: &Profile) -> Step {
        profile.step(self.kind)
    }
}

/// Everything but vectors goes first: it is read several times as fast, and a change by hand changes a text far more often than
/// a vector without its text. Vectors follow in a second round of the same comparison, so both rounds together prove equality.
pub(super) fn steps(profile: &Profile) -> Vec<Part> {
    let kinds = profile.kinds();
    let with_vectors = kinds.iter().copied().filter(|kind| !profile.vectors(*kind).is_empty());
    let second = with_vectors.map(|kind| Part { kind, detail: Projection::Vectors });
    kinds.iter().map(|kind| Part { kind: *kind, detail: Projection::WithoutVectors }).chain(second).collect()
}
