//! The unit that travels through the actors.

use std::collections::BTreeSet;

use super::comparison::ComparisonUnderWay;
use super::element::{ElementIdentity, RelationshipIdentity};
use super::guard::Guard;
use super::index::MirroredIndexes;
use super::kind_rows::KindRows;
use super::log_position::LogPosition;
use super::outside_profile::OutsideProfile;
use super::pass::{Cursor, PassUnderWay};
use super::pass_outcome::PassOutcome;
use super::prepared::QuarantineReview;
use super::shared_keys::SharedKeys;

/// One life of a pipeline's actors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Generation(pub u64);

impl Generation {
    /// The generation after this one.
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The rows that a pass read from the source.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceRows {
    /// Elements of one kind.
    Kind(KindRows),
    /// Elements of several kinds with few elements each, either all nodes or all relationships.
    Bundle(Vec<KindRows>),
    /// Elements that the source no longer has, looked up by key just now.
    Absent(Vec<ElementIdentity>),
    /// The result of a review of quarantined elements.
    Review(QuarantineReview),
}

impl SourceRows {
    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        match self {
            SourceRows::Kind(rows) => rows.len(),
            SourceRows::Bundle(parts) => parts.iter().map(KindRows::len).sum(),
            SourceRows::Absent(identities) => identities.len(),
            SourceRows::Review(_) => 0,
        }
    }
}

/// The content of a pass's batch: its begin, rows, or its end. `R` is [`SourceRows`] before the transformer, and the loader's
/// input after it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum BatchContent<R> {
    /// The pass begins: a full pass empties and indexes the graph.
    Begin(PassUnderWay),
    /// Rows to apply to the cache.
    Rows {
        /// The rows of the batch.
        rows: R,
        /// The number of rows that were read for them.
        read: u64,
        /// The cursor of the pass once they are applied. Absent for rows out of the strategy's order.
        cursor: Option<Cursor>,
        /// Whether the rows repair the cache: then they are written even if the cache seems to hold them.
        repairs: bool,
        /// The keys of new elements, if a change feed tells them.
        created: Option<BTreeSet<String>>,
    },
    /// Indices of the source that the cache should have as well.
    Indexes(MirroredIndexes),
    /// Everything was read: once this is applied, the pass is over.
    End(Box<PassEnd>),
}

/// The results at the end of a pass.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct PassEnd {
    /// Relationships with an endpoint that the cache cannot hold, after everything was read again.
    pub unresolved: Vec<RelationshipIdentity>,
    /// The content of the source besides the profile's kinds; only a full pass looks for it.
    pub outside_profile: Option<OutsideProfile>,
    /// The number of keys transferred from both sides to find what only one of them has.
    pub keys_listed: u64,
    /// The findings for the scheduler of the next pass.
    pub outcome: PassOutcome,
    /// The memory of the delete guard.
    pub guard: Guard,
    /// Keys that several elements share.
    pub duplicates: SharedKeys,
    /// The state of the comparison under way.
    pub comparison: Option<ComparisonUnderWay>,
    /// The place in the change feed after what it told. Absent if no feed told anything.
    pub position: Option<LogPosition>,
}

/// The content of a batch before the transformer.
pub(crate) type SourceContent = BatchContent<SourceRows>;
